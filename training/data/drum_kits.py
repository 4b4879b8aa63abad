"""The hits of a SoundFont's drum kits, labelled by the key map of General MIDI."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.data.audio import Part
from training.data.files import Content
from training.data.inventory import Unusable
from training.data.soundfont import Preset, SoundFont, Voice, soundfont

# fmt: off
GENERAL_MIDI: Mapping[int, str] = {
    35: "kick", 36: "kick", 38: "snare", 40: "snare", 39: "clap", 37: "rim",
    41: "tom", 43: "tom", 45: "tom", 47: "tom", 48: "tom", 50: "tom",
    42: "closed-hat", 44: "closed-hat", 46: "open-hat",
    49: "crash", 52: "crash", 55: "crash", 57: "crash", 51: "ride", 53: "ride", 59: "ride",
    56: "cowbell", 69: "shaker", 70: "shaker", 82: "shaker",
}
# fmt: on
BRUSHES = range(40, 48)  # programs of kits whose keys 39 and 40 are a slap and a swirl of brushes
OTHER_MAPS = 48  # from this program on: orchestral, effects, marching; their keys are not General MIDI's
VELOCITIES = (127, 110, 90, 70, 50, 25)
SAMPLE_RATE = 44_100  # Hz, at which hits are rendered
SECONDS = 4.0


@dataclass(frozen=True)
class DrumHit:
    """A key of a kit at a velocity, and the class of drum that it is."""

    kit: Preset
    key: int
    velocity: int
    label: str
    voices: tuple[Voice, ...]

    @property
    def name(self) -> str:
        return f"kit {self.kit.program} key {self.key} velocity {self.velocity}"


def drum_hits(font: SoundFont) -> Iterator[DrumHit]:
    """Yields every hit of a SoundFont's kits that differs in more than its level from those before."""
    seen = set()
    for kit in font.drum_kits():
        if kit.program >= OTHER_MAPS:
            continue
        for key, label in GENERAL_MIDI.items():
            if kit.program in BRUSHES and key in (39, 40):
                continue
            for velocity in VELOCITIES:
                hit = DrumHit(kit, key, velocity, label, font.voices(kit, key, velocity))
                sound = (label, frozenset(replace(voice, gain=1.0) for voice in hit.voices))
                if hit.voices and sound not in seen:
                    seen.add(sound)
                    yield hit


def kin(font: SoundFont, hit: DrumHit) -> frozenset[str]:
    """The samples of a hit, and those of the same key struck hardest: all velocities of a drum belong together."""
    return frozenset(font.sample_hash(voice.sample) for voice in hit.voices + font.voices(hit.kit, hit.key, 127))


class DrumKits:
    """Reads the drum kits of SoundFonts as a `training.data.audio.Collection`."""

    def parts(self, path: Path) -> list[Part]:
        with soundfont(path) as font:
            hits = [Part(hit.name, hit.label, kin(font, hit)) for hit in drum_hits(font)]
            if not hits:
                raise Unusable("a SoundFont without drum kits (presets of bank 128 with keys of General MIDI)")
            return hits

    @contextmanager
    def open(self, path: Path, part: str, content: Content) -> Iterator[Any]:
        program, key, velocity = map(int, re.findall(r"\d+", part))
        with soundfont(path, content) as font:
            kit = next(kit for kit in font.drum_kits() if kit.program == program)
            yield Rendered(font.render(kit, key, velocity, SECONDS, SAMPLE_RATE), SAMPLE_RATE)


class Rendered:
    """Sound in memory, with what is used of an open `soundfile.SoundFile`."""

    def __init__(self, waveform: np.ndarray, samplerate: int) -> None:
        self.samplerate = samplerate
        self._waveform, self._at = waveform, 0

    def seek(self, frame: int) -> None:
        self._at = frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        piece = self._waveform[self._at : self._at + frames, None].astype(dtype)
        self._at += len(piece)
        return piece

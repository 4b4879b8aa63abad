"""The hits of a SoundFont's drum kits, labelled by the key map of General MIDI."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from training.data.soundfont import Preset, SoundFont, Voice

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


@dataclass(frozen=True)
class DrumHit:
    """A key of a kit at a velocity, and the class of drum that it is."""

    kit: Preset
    key: int
    velocity: int
    label: str
    voices: tuple[Voice, ...]


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
                voices = font.voices(kit, key, velocity)
                sound = (label, tuple(sorted((replace(voice, gain=1.0) for voice in voices), key=repr)))
                if voices and sound not in seen:
                    seen.add(sound)
                    yield DrumHit(kit, key, velocity, label, voices)

"""Notes: short sounds of one pitch each, their pitches and instruments, and windows aligned to their onsets.

They are recordings with the pitch in their names ("C#4.wav", "violin-69-soft.wav", "060.flac"), NSynth as its authors
ship it (Engel et al., 2017, arXiv:1704.01279), the melodic presets of SoundFonts, or all of these at once. The label
of a note is its MIDI note number. Its source is "FAMILY: INSTRUMENT".
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from explorer.sound.base import NOTE_NAMES
from explorer.sound.spectrum import LOUD_SECONDS, LOUDNESS
from training.data.audio import Cut, Part
from training.data.drum_kits import Rendered
from training.data.files import AUDIO, Content
from training.data.inventory import Unusable
from training.data.recordings import read_frames, resample
from training.data.soundfont import SOUNDFONTS, soundfont

VERSION = 1  # of the windows: raise it when the same recordings would give others
HELD_SECONDS = 0.75  # a key is held, or a longer recording heard, before it is released
RELEASE_SECONDS = 0.25  # in which a longer recording falls by 60 dB
FADE_OUT_SECONDS = 0.02
ONSET, ONSET_LEVEL = 64, 0.02  # sample of the window at which the sound first has that share of its peak
PEAK = 0.95
SILENCE = 1e-3  # peak
KEYS = range(36, 85)
VELOCITY = 100
CLEAR = 0.7  # periodicity of a clear pitch
TOLERANCE = 50.0  # cents
FEWEST = 40  # clear pitches of a preset

# fmt: off
GENERAL_MIDI = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe",
    "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects",
)
# fmt: on
NSYNTH = re.compile(r"(.+)_(?:acoustic|electronic|synthetic)_\d{3}-(\d{3})-\d{3}", re.ASCII)
NOTE = re.compile(r"(?<![A-Za-z0-9])([A-Ga-g])(#|♯|s|b|♭)?(-?\d)(?![A-Za-z0-9])", re.ASCII)
NUMBER = re.compile(r"(?<![A-Za-z0-9#])(\d{2,3})(?![A-Za-z0-9])", re.ASCII)


def pitch_of(name: str) -> int | None:
    """The MIDI note number that a file's name says: a note (C4 is 60), or the only number up to 127; None if neither.

    In names like NSynth's, "guitar_acoustic_010-060-127", it is the second of three numbers.
    """
    if nsynth := NSYNTH.fullmatch(name):
        pitch = int(nsynth[2])
    elif notes := NOTE.findall(name):
        letter, accidental, octave = notes[-1]
        shift = {"": 0, "b": -1, "♭": -1}.get(accidental, 1)
        pitch = NOTE_NAMES.index(letter.upper()) + shift + 12 * (int(octave) + 1)
    else:
        numbers = {int(number) for number in NUMBER.findall(name) if int(number) <= 127}
        if len(numbers) != 1:
            return None
        (pitch,) = numbers
    return pitch if 0 <= pitch <= 127 else None


def source_of(path: PurePosixPath) -> str:
    """ "FAMILY: INSTRUMENT" of a recording: as NSynth says it, else its folders, else its name before the pitch."""
    if nsynth := NSYNTH.fullmatch(path.stem):
        return f"{nsynth[1]}: {path.stem.split('-')[0]}"
    if folders := path.parts[:-1]:
        return f"{folders[0]}: {'/'.join(folders)}"
    found = list(NOTE.finditer(path.stem)) or list(NUMBER.finditer(path.stem))
    instrument = path.stem[: found[-1].start()].strip(" -_.") if found else path.stem
    return f"{instrument}: {instrument}"


def periodicity(waveform: np.ndarray, pitch: float, sample_rate: int) -> tuple[float, float]:
    """How clearly a note has a pitch, and how far it is off.

    Returns:
        The highest correlation of the note, from 0.03 to 0.75 s, with itself one period later, in [-1, 1], over
        periods within half a semitone of the pitch's; and that period's distance in cents.
    """
    x = waveform[round(0.03 * sample_rate) : round(HELD_SECONDS * sample_rate)].astype(np.float64)
    period = sample_rate / (440 * 2 ** ((pitch - 69) / 12))
    low, high = (period * 2 ** (cents / 1200) for cents in (-TOLERANCE, TOLERANCE))
    if len(x) < 2 * high or not x.any():
        return 0.0, 0.0
    fine = 8  # values of the correlation in a sample
    size = 2 ** math.ceil(math.log2(2 * len(x)))
    spectrum = np.abs(np.fft.rfft(x, size)) ** 2
    correlation = np.fft.irfft(np.pad(spectrum, (0, (fine - 1) * size // 2)))[: math.ceil(fine * high) + 2] * fine
    lags = np.arange(math.floor(fine * low), math.ceil(fine * high) + 1)
    energy = np.concatenate([[0.0], np.cumsum(x**2)])
    shift = np.round(lags / fine).astype(int)
    both = np.sqrt(energy[len(x) - shift] * (energy[-1] - energy[shift]))
    values = correlation[lags] / both.clip(1e-12)
    best = int(values.argmax())
    return float(values[best].clip(-1, 1)), float(1200 * np.log2(period * fine / lags[best]))


def shape_note(waveform: np.ndarray, rate: float, sample_rate: int, samples: int) -> np.ndarray:
    """Resamples a note, aligns its onset, releases it if it is long, and scales it to `LOUDNESS`.

    Returns:
        (samples,) float32 in [-PEAK, PEAK] that begins and ends softly.
    Raises:
        Unusable: if it is silent.
    """
    waveform = resample(waveform - waveform.mean(), round(rate), sample_rate) if len(waveform) else waveform
    peak = np.abs(waveform).max(initial=0)
    if peak < SILENCE:
        raise Unusable("silence")
    begin = int(np.flatnonzero(np.abs(waveform) > ONSET_LEVEL * peak)[0]) - ONSET
    note = np.pad(waveform[max(0, begin) :], (max(0, -begin), 0))[:samples].astype(np.float64)
    note = np.pad(note, (0, samples - len(note)))
    fade = round(FADE_OUT_SECONDS * sample_rate)
    note[-fade:] *= np.linspace(1, 0, fade)
    power = np.convolve(note**2, np.ones(round(LOUD_SECONDS * sample_rate)), "valid").max()
    loudness = math.sqrt(power / round(LOUD_SECONDS * sample_rate))
    peak = np.abs(note).max()
    if peak < SILENCE:
        raise Unusable("silence")
    return (note * min(LOUDNESS / loudness, PEAK / peak)).astype(np.float32)


def released(waveform: np.ndarray, rate: float) -> np.ndarray:
    """Lets a recording that sounds on after `HELD_SECONDS` die away."""
    since = (np.arange(len(waveform)) / rate - HELD_SECONDS).clip(0)
    faded: np.ndarray = waveform * 10 ** (-3 * since / RELEASE_SECONDS)
    return faded


def _label(name: str) -> str | None:
    pitch = pitch_of(name)
    return None if pitch is None or pitch not in KEYS else str(pitch)


def notes(samples: int) -> Cut:
    """The rule by which recordings and SoundFonts become one window of `samples` each."""

    def windows(sound: Any, sample_rate: int, length: int) -> Iterator[np.ndarray | str]:
        waveform = read_frames(sound, math.ceil((length / sample_rate + 0.5) * sound.samplerate))
        waveform = waveform if isinstance(sound, Rendered) else released(waveform, sound.samplerate)
        yield shape_note(waveform, sound.samplerate, sample_rate, length)

    return Cut(
        f"notes {VERSION}, {samples} samples",
        lambda rate: samples,
        windows,
        label_of=lambda path: _label(path.stem),
        suffixes=AUDIO | SOUNDFONTS,
        folder_label=lambda name: None,
        collections=dict.fromkeys(SOUNDFONTS, MelodicPresets()),
        source_of=source_of,
        fewest=FEWEST,
    )


class MelodicPresets:
    """Reads the melodic presets of SoundFonts as a `training.data.audio.Collection`, key by key.

    Copies of a preset are left out, and so are notes without a clear pitch.
    """

    def parts(self, path: Path) -> list[Part]:
        found, seen, hashes = [], set(), dict[int, str]()
        with soundfont(path) as font:
            for index, preset in enumerate(font.presets):
                if preset not in font.melodic():
                    continue
                family = GENERAL_MIDI[preset.program % 128 // 8]
                name = preset.name.replace("/", "-")
                source = f"{family}: {path.stem} {name} {preset.bank}:{preset.program}"
                for key in KEYS:
                    voices = font.voices(preset, key, VELOCITY)
                    if not voices or (key, voices) in seen:
                        continue
                    seen.add((key, voices))
                    for voice in voices:
                        hashes.setdefault(voice.sample, font.sample_hash(voice.sample))
                    # All samples together: many presets add the same plain wave to samples of their own.
                    kin = {source, " ".join(sorted(hashes[voice.sample] for voice in voices))}
                    found.append(Part(f"{name}, preset {index} key {key}", str(key), frozenset(kin), source))
        if not found:
            raise Unusable("a SoundFont without melodic presets (all of its presets are drum kits, or silent)")
        return found

    @contextmanager
    def open(self, path: Path, part: str, content: Content) -> Iterator[Any]:
        index, key = map(int, re.findall(r"\d+", part)[-2:])
        with soundfont(path, content) as font:
            rate = 16_000
            waveform = font.render(font.presets[index], key, VELOCITY, 1.3, rate, HELD_SECONDS)
            if periodicity(waveform, key, rate)[0] < CLEAR:
                raise Unusable("no clear pitch")
            yield Rendered(waveform, rate)

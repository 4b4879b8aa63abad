"""A sampled grand piano: notes -> waveform.

The samples are the Salamander Grand Piano V3 of Alexander Holm (CC BY 3.0): every third semitone, three velocity
layers, mono OGG Vorbis at 44.1 kHz in `samples/`, with `samples/manifest.json` beside them. `samples/make.py` made
both. With these files and the constants of `manifest()` the app's page plays the same notes by Web Audio. Both compute
a note as follows; the right column names the Web Audio node or call:

    layer   the first one with velocity <= layer.max_velocity
    sample  the one of that layer that is nearest in pitch
    rate    2 ** ((pitch - sample.pitch + sample.cents / 100) / 12)                 playbackRate
    level   gain * sample.gain * (velocity / 127) ** velocity_exponent
    shape   level until onset + duration, then level * exp(-t / release)            setTargetAtTime, release in s
            until the sample ends, or 7 * release after the key
    sum     of all notes, then the limiter f(x) = x where |x| <= knee, and beyond   WaveShaperNode
            sign(x) * (knee + (1 - knee) * tanh((|x| - knee) / (1 - knee)))

The gain is fixed and sounds are never normalised: a soft note stays soft. `sample.gain` corrects each recording to a
smooth balance from bass to treble, the same for the three layers of a pitch, so that level follows velocity without a
jump; `sample.cents` corrects it to the piano's own stretched tuning, in which A4 is 440 Hz, A1 10 cents flat and A6 15
cents sharp of equal temperament.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from scipy import fft

from explorer.sound.base import Note

SAMPLES = Path(__file__).resolve().parent / "samples"
SAMPLE_RATE = 44100

GAIN = 1.0  # MAESTRO performances then peak near -7 dBFS, and only their loudest moments reach the limiter
KNEE = 0.7  # below it the limiter is the identity
VELOCITY_EXPONENT = 1.2  # matches how the level of the recorded layers rises with velocity
RELEASE = 0.05  # seconds in which a released note decays to 1/e: -60 dB in 0.35 s
RELEASE_LENGTH = 7  # multiples of RELEASE after which it is silent
CUT = 0.01  # seconds of fade-out if a sound ends before its last note has decayed
CACHED_TONES = 192  # pairs of pitch and layer, about 0.7 MB each


@dataclass(frozen=True)
class Layer:
    """A velocity layer: the recordings for velocities up to `max_velocity`, above that of the previous layer."""

    name: str
    max_velocity: int


@dataclass(frozen=True)
class Sample:
    """One recorded note, with its corrections of tuning and level.

    Attributes:
        pitch: MIDI note number.
        layer: index of its layer.
        seconds: length, including the fade-out.
        cents: correction added to its pitch.
        gain: correction factor of its amplitude.
    """

    file: str
    pitch: int
    layer: int
    seconds: float
    cents: float
    gain: float


@dataclass(frozen=True)
class Piano:
    """The contents of `samples/manifest.json`."""

    layers: tuple[Layer, ...]
    samples: tuple[Sample, ...]

    def layer(self, velocity: int) -> int:
        """Index of the layer for a velocity."""
        return next((i for i, layer in enumerate(self.layers) if velocity <= layer.max_velocity), len(self.layers) - 1)

    def nearest(self, pitch: int, layer: int) -> Sample:
        """The sample of a layer that is nearest in pitch."""
        return min((s for s in self.samples if s.layer == layer), key=lambda s: abs(s.pitch - pitch))


@lru_cache(maxsize=1)
def piano() -> Piano:
    """The layers and samples of the manifest; reads no audio."""
    data = json.loads((SAMPLES / "manifest.json").read_text(encoding="utf-8"))
    return Piano(tuple(Layer(**x) for x in data["layers"]), tuple(Sample(**x) for x in data["samples"]))


def manifest() -> dict[str, Any]:
    """What a browser needs besides the audio files, as plain values; see the module's docstring."""
    return {
        "sample_rate": SAMPLE_RATE,
        "gain": GAIN,
        "knee": KNEE,
        "velocity_exponent": VELOCITY_EXPONENT,
        "release": RELEASE,
        "release_length": RELEASE_LENGTH,
        **asdict(piano()),
    }


def velocity_gain(velocity: float) -> float:
    """Amplitude of a note relative to velocity 127."""
    return (velocity / 127) ** VELOCITY_EXPONENT


def release(sample_rate: int) -> np.ndarray:
    """Levels (RELEASE_LENGTH * RELEASE * sample_rate,) of a note after its key is released; the last is 0: no click."""
    fall = np.exp(-np.arange(round(RELEASE_LENGTH * RELEASE * sample_rate)) / (RELEASE * sample_rate))
    return ((fall - fall[-1]) / (1 - fall[-1])).astype(np.float32)


def limit(waveform: np.ndarray) -> np.ndarray:
    """A memoryless soft limiter: the identity up to KNEE, a scaled tanh up to 1 beyond."""
    excess = np.abs(waveform) - np.float32(KNEE)
    over = excess > 0
    if not over.any():
        return waveform
    limited = waveform.copy()
    room = np.float32(1 - KNEE)
    limited[over] = np.copysign(np.float32(KNEE) + room * np.tanh(excess[over] / room), waveform[over])
    return limited


def synthesize(notes: Sequence[Note], seconds: float | None = None, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Plays notes on the sampled piano. The same notes give the same bits in any order.

    Args:
        seconds: length of the result; if None, until the last note has decayed.
    Returns:
        (round(seconds * sample_rate),) float32 in [-1, 1], never normalised.
    Raises:
        ValueError: if a note has a negative onset or duration, or a velocity outside 1 ... 127.
    """
    for note in notes:
        if not (note.onset >= 0 and note.duration >= 0 and 1 <= note.velocity <= 127):
            raise ValueError(f"cannot play {note}")
    fall = release(sample_rate)
    end = max((n.onset + n.duration for n in notes), default=0.0) + RELEASE_LENGTH * RELEASE
    size = round((end if seconds is None else seconds) * sample_rate)
    mix = np.zeros(size, np.float32)
    # A sum of floats depends on the order of its terms, so the order is fixed.
    for note in sorted(notes, key=lambda n: (n.onset, n.pitch, n.velocity, n.duration)):
        tone = _tone(note.pitch, piano().layer(note.velocity), sample_rate)
        start, held = round(note.onset * sample_rate), round(note.duration * sample_rate)
        level = np.float32(velocity_gain(note.velocity))
        space = mix[start : start + min(held, len(tone))]
        space += level * tone[: len(space)]
        tail = tone[held : held + len(fall)]
        space = mix[start + held : start + held + len(tail)]
        space += level * fall[: len(space)] * tail[: len(space)]
    if seconds is not None and seconds < end:
        fade = min(size, round(CUT * sample_rate))
        mix[size - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return limit(mix)


def _fast_sizes(least: int, ratio: float) -> tuple[int, int]:
    """Two FFT lengths with small prime factors, the first at least `least`; their ratio is within 0.3 cents of `ratio`.

    An FFT of another length takes about five times as long.
    """
    sizes = _smooth(least, math.ceil(1.1 * least))
    resized = _smooth(math.floor(sizes[0] / ratio / 1.01), math.ceil(sizes[-1] / ratio * 1.01))
    wrong = np.abs(np.log(sizes[:, None] / resized / ratio))
    i, k = np.unravel_index(wrong.argmin(), wrong.shape)
    return int(sizes[i]), int(resized[k])


def _smooth(low: int, high: int) -> np.ndarray:
    """The numbers from low to high without a prime factor above 11, sorted."""
    found = np.ones(1, np.int64)
    for prime in (2, 3, 5, 7, 11):
        powers = prime ** np.arange(int(math.log(high, prime)) + 1)
        products = np.outer(found, powers).ravel()
        found = products[products <= high]
    return np.sort(found[found >= low])


@lru_cache(maxsize=CACHED_TONES)
def _tone(pitch: int, layer: int, sample_rate: int) -> np.ndarray:
    """One undamped note at velocity 127, gains included: (samples,) float32, read-only.

    The pitch is shifted by resampling in the frequency domain, which leaves everything below Nyquist unchanged.
    """
    sample = piano().nearest(pitch, layer)
    recorded, rate = sf.read(SAMPLES / sample.file, dtype="float32")
    ratio = 2 ** ((pitch - sample.pitch + sample.cents / 100) / 12) * rate / sample_rate
    # An FFT treats a sound as periodic: zeros at the end keep it from leaking into the beginning.
    size, resized = _fast_sizes(len(recorded) + 1024, ratio)
    spectrum = fft.rfft(recorded, size)
    bins = min(len(spectrum), resized // 2 + 1)
    tone = fft.irfft(spectrum[:bins], resized)[: math.ceil(len(recorded) / ratio)]
    tone *= np.float32(GAIN * sample.gain / ratio)
    tone.flags.writeable = False
    return tone

"""Decodes recordings of any format that libsndfile reads to one channel, and resamples them.

Memory does not depend on what a file's header claims: sound is read in pieces of a known length.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from training.data.files import Content, explain, opened
from training.data.inventory import Unusable

SAMPLE_RATES = (1_000, 768_000)  # Hz; outside, a header is damaged, and resampling would need too much memory
MAX_CHANNELS = 32
MAX_SAMPLE = 1e6  # of float files; far more than any integer sample written as float
CANCELLED = 0.01  # power of the mean of the channels over the loudest channel's, below which they cancel each other
MAX_SECONDS = 600.0


@contextmanager
def recording(path: Path, content: Content | None = None) -> Iterator[Any]:
    """Opens a recording as a `soundfile.SoundFile`.

    Raises:
        Unusable: if it cannot be opened or read (inside the block too), has changed since `content` was read, or has an
            impossible sample rate or number of channels.
    """
    import soundfile

    try:
        with opened(path, content) as descriptor, soundfile.SoundFile(descriptor, closefd=False) as file:
            low, high = SAMPLE_RATES
            if not low <= file.samplerate <= high:
                raise Unusable(f"a sample rate outside {low // 1000} to {high // 1000} kHz")
            if file.channels > MAX_CHANNELS:
                raise Unusable(f"more than {MAX_CHANNELS} channels")
            yield file
    except soundfile.LibsndfileError as error:
        raise Unusable(f"not readable as sound ({error.error_string.strip().rstrip('.').lower()})") from None
    except soundfile.SoundFileError:
        raise Unusable("not readable as sound") from None
    except OSError as error:
        raise Unusable(explain(error)) from None


def read_frames(file: Any, frames: int) -> np.ndarray:
    """Reads the next frames of an open recording as one channel: (n,) float32, n <= frames."""
    return mono(file.read(frames, dtype="float32", always_2d=True))


def mono(waveform: np.ndarray) -> np.ndarray:
    """Mixes (frames, channels) down to (frames,): the mean, or the loudest channel if they cancel each other out.

    Raises:
        Unusable: if a sample is not finite, or far beyond full scale.
    """
    if not len(waveform):
        return np.zeros(0, np.float32)
    if not np.isfinite(waveform).all():
        raise Unusable("samples that are not finite numbers")
    if np.abs(waveform).max() > MAX_SAMPLE:
        raise Unusable("samples far beyond full scale")
    mean: np.ndarray = waveform.mean(1)
    if waveform.shape[1] == 1:
        return mean
    power = waveform.var(0)
    loudest = int(power.argmax())
    return waveform[:, loudest].copy() if mean.var() < CANCELLED * power[loudest] else mean


def resample(waveform: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Resamples (n,) to (about n * to / rate,), float32. The ratio is exact for usual rates, else to one in 10**8."""
    if rate == to:
        return waveform
    from scipy.signal import resample_poly

    ratio = Fraction(to, rate).limit_denominator(10_000)
    resampled: np.ndarray = resample_poly(
        waveform, ratio.numerator, ratio.denominator, window=_low_pass(max(ratio.numerator, ratio.denominator))
    )
    return resampled.astype(np.float32)


@lru_cache(maxsize=8)
def _low_pass(factor: int) -> np.ndarray:
    """The low-pass filter of `resample_poly`, which would otherwise design it anew at every call."""
    from scipy.signal import firwin

    taps: np.ndarray = firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))
    return taps.astype(np.float32)


def pieces(file: Any, seconds: float) -> Iterator[np.ndarray]:
    """Reads an open recording from its start in pieces of `seconds`, as one channel; the last may be shorter."""
    file.seek(0)
    begun = 0
    while True:
        end = round(seconds * file.samplerate * (begun + 1))
        frames = end - round(seconds * file.samplerate * begun)
        piece = read_frames(file, frames)
        if len(piece):
            yield piece
        if len(piece) < frames:
            return
        begun += 1


def read_audio(path: Path, sample_rate: int, seconds: float = MAX_SECONDS) -> np.ndarray:
    """Reads a recording, at most its first `seconds`, as one channel at `sample_rate`: (n,) float32.

    Raises:
        Unusable: as `recording` and `mono`.
    """
    with recording(path) as file:
        return resample(read_frames(file, math.ceil(seconds * file.samplerate)), file.samplerate, sample_rate)

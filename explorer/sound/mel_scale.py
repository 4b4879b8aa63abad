"""The mel scale: corner frequencies of its triangular bands, and the filter bank."""

from functools import lru_cache

import numpy as np


def mel_frequencies(sample_rate: int, n_mels: int) -> np.ndarray:
    """Corner frequencies (n_mels + 2,) in Hz: band b rises from corner b, peaks at b + 1 and falls to b + 2.

    Slaney's Auditory Toolbox (1998): linear below 1 kHz, logarithmic above.
    """
    knee, slope, step = 1000.0, 3 / 200, np.log(6.4) / 27
    top = sample_rate / 2
    highest = knee * slope + np.log(top / knee) / step if top > knee else top * slope
    mels = np.linspace(0, highest, n_mels + 2)
    return np.where(mels < knee * slope, mels / slope, knee * np.exp(step * (mels - knee * slope)))


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Triangular filters (n_mels, 1 + n_fft // 2) of unit area in Hz, float32, as `librosa.filters.mel`."""
    corners = mel_frequencies(sample_rate, n_mels)[:, None]
    bins = np.linspace(0, sample_rate / 2, 1 + n_fft // 2)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (corners[2:] - corners[:-2])
    return triangles.astype(np.float32)

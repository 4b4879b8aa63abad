"""The fast Griffin-Lim algorithm: magnitudes of a short-time Fourier transform to a waveform."""

import math

import numpy as np
import torch
from torch import Tensor

ITERATIONS = 24  # more make no audible difference on speech; each costs half a millisecond per second of sound


def griffin_lim(
    magnitude: Tensor, n_fft: int, hop_length: int, iterations: int = ITERATIONS, momentum: float = 0.99
) -> Tensor:
    """Estimates a waveform with the given magnitudes.

    After Perraudin, Balazs and Søndergaard (2013), "A fast Griffin-Lim algorithm". The initial phase is drawn from a
    fixed seed, so the same magnitudes give the same bits.

    Args:
        magnitude: (batch, 1 + n_fft // 2, frames), of a centred short-time Fourier transform with
            a periodic Hann window.
        momentum: 0 is the original algorithm of Griffin and Lim (1984).
    Returns:
        (batch, (frames - 1) * hop_length)
    """
    window = torch.hann_window(n_fft)
    start = np.random.RandomState(0).uniform(-math.pi, math.pi, magnitude.shape[1:]).astype(np.float32)
    phase = torch.polar(torch.ones(magnitude.shape[1:]), torch.from_numpy(start))
    before: Tensor | None = None
    for _ in range(iterations):
        waveform = torch.istft(magnitude * phase, n_fft, hop_length, window=window)
        now = torch.stft(waveform, n_fft, hop_length, window=window, pad_mode="constant", return_complex=True)
        ahead = now + momentum * (now if before is None else now - before)
        phase = ahead / ahead.abs().clamp_min(1e-9)
        before = now
    return torch.istft(magnitude * phase, n_fft, hop_length, window=window)

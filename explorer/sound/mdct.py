"""The modified discrete cosine transform: a waveform as the coefficients of sub-bands, with nothing added or lost.

After Princen, Johnson and Bradley (1987), "Subband/transform coding using filter bank designs based on time domain
aliasing cancellation". The window is a sine, and the first frame overlaps the last, so that the transform is
orthonormal: white noise has white coefficients, and the error of coefficients is that of samples.
"""

import math

import torch
from torch import Tensor


def basis(bands: int) -> Tensor:
    """(2 * bands, bands): the windowed cosine of each band, over two frames of `bands` samples each."""
    time, band = torch.arange(2 * bands, dtype=torch.float64)[:, None] + 0.5, torch.arange(bands) + 0.5
    window = (math.pi / (2 * bands) * time).sin()
    cosines = (math.pi / bands * (time + bands / 2) * band).cos()
    return (math.sqrt(2 / bands) * window * cosines).float()


def mdct(x: Tensor, basis: Tensor) -> Tensor:
    """(batch, samples) -> (batch, frames, bands), as many numbers; `samples` is divisible by the number of bands."""
    blocks = x.unflatten(1, (-1, basis.shape[1]))
    return torch.cat([blocks.roll(1, dims=1), blocks], dim=2) @ basis


def inverse_mdct(coefficients: Tensor, basis: Tensor) -> Tensor:
    """(batch, frames, bands) -> (batch, samples)."""
    first, second = (coefficients @ basis.T).chunk(2, dim=2)
    return (first.roll(-1, dims=1) + second).flatten(1)

"""Attributes of one-shots that the first numbers of a latent learn to control: pitch, decay, brightness and so on.

They resemble the measures of one-shots in `explorer.measures`, but are differentiable. Each number of the latent is
tied to one of them, after Pati and Lerch (2020), "Attribute-based Regularization of Latent Spaces", arXiv:2004.05485;
DrumGAN is conditioned on such features instead (Nistal et al., 2020, arXiv:2008.12073).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.one_shots import ONSET

NAMES = ("pitch", "decay", "brightness", "noisiness", "attack", "loudness")
FRAME, HOP = 1024, 256  # samples of a spectrogram's frame, and between two
ENVELOPE, STEP = 80, 16  # samples over which the power of the envelope is averaged, and between two of its values
LOWEST = 30.0  # Hz
ACTIVE_DB, DECAYED_DB = 25.0, 40.0  # below the loudest, at which a frame no longer counts and a sound has died away
EDGE_DB = 2.0  # softness of both
FEW = 8  # sounds of a label below which it is standardised by all
NARROWEST = 0.1  # smallest deviation of a label, as a share of that of all
CHUNK = 64  # sounds analysed at once


def attributes(x: Tensor, sample_rate: int) -> Tensor:
    """Attributes of sounds of one peak: (batch, samples) -> (batch, 6), in the order of `NAMES`, differentiable.

    pitch: mean of the octaves above 1 Hz, by the square of a partial's power, so that the strongest decides.
    decay: square root of the seconds in which the level is within 40 dB of the loudest.
    brightness: mean octave above 1 Hz of the spectral centroids of frames that are not silent, by magnitude.
    noisiness: mean spectral flatness of those frames, 0 to 1.
    attack: square root of the seconds from the onset to the loudest moment.
    loudness: logarithm of the mean power of those frames.

    The roots are between seconds, which have long tails, and logarithms, which differ much among the shortest sounds.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        power = F.avg_pool1d(x.square(), ENVELOPE, STEP, ENVELOPE // 2) + 1e-10  # (batch, steps)
        level = power / power.amax(1, keepdim=True)
        decibels = 10 * level.log10()
        seconds = STEP / sample_rate
        lasting = torch.sigmoid((decibels + DECAYED_DB) / EDGE_DB).sum(1) * seconds
        loudest = level.pow(8)
        time = (torch.arange(power.shape[1], device=x.device) * STEP - ONSET).clamp_min(0) / sample_rate
        rise = (loudest * time).sum(1) / loudest.sum(1)

        whole = torch.fft.rfft(x)
        partials = (whole.real.square() + whole.imag.square())[:, 1:]
        octaves = (torch.arange(1, partials.shape[1] + 1, device=x.device) * (sample_rate / x.shape[1])).log2()
        heard = partials * (octaves >= math.log2(LOWEST))
        strongest = (heard / heard.amax(1, keepdim=True).clamp_min(1e-10)).square() + 1e-12
        pitch = (strongest * octaves).sum(1) / strongest.sum(1)

        window = torch.hann_window(FRAME, device=x.device)
        spectrum = torch.stft(x, FRAME, HOP, window=window, pad_mode="constant", return_complex=True)
        energy = (spectrum.real.square() + spectrum.imag.square())[:, 1:] * (2 / FRAME) ** 2 + 1e-12
        frame = energy.sum(1)  # (batch, frames)
        active = torch.sigmoid((10 * (frame / frame.amax(1, keepdim=True)).log10() + ACTIVE_DB) / EDGE_DB)
        active = active / active.sum(1, keepdim=True)
        magnitude = energy.sqrt() * active[:, None]
        hertz = torch.arange(1, 1 + FRAME // 2, device=x.device) * (sample_rate / FRAME)
        centroid = (magnitude.sum(2) @ hertz) / magnitude.sum((1, 2))
        flatness = energy.log().mean(1).exp() / energy.mean(1)
        return torch.stack(
            [
                pitch,
                lasting.sqrt(),
                centroid.log2(),
                (flatness * active).sum(1),
                (rise + 0.001).sqrt(),
                (frame * active).sum(1).log(),
            ],
            dim=1,
        )


class Whitening(nn.Module):
    """Attributes as numbers that are independent, of mean 0 and variance 1 over the real sounds of each label.

    Attributes are standardised by the mean and deviation of their label. Then each is what the ones before it do not
    explain (Cholesky whitening, with one covariance within labels), so that independent normal numbers have the joint
    distribution of real attributes.

    Args:
        x: (n, samples), real sounds.
        condition: their one-hot labels (n, labels), or None for sounds without.
    """

    mean: Tensor
    deviation: Tensor
    inverse: Tensor

    def __init__(self, x: Tensor, condition: Tensor | None, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        found = torch.cat([attributes(part, sample_rate) for part in x.split(CHUNK)]).double()
        label = (torch.ones(len(x), 1) if condition is None else condition).double()
        count = label.sum(0)[:, None]
        mean = label.T @ found / count.clamp_min(1)
        square = (found - label @ mean).square()
        overall = square.mean(0).sqrt().clamp_min(1e-3)
        deviation = (label.T @ square / count.clamp_min(1)).sqrt().maximum(NARROWEST * overall)
        mean = torch.where(count < FEW, found.mean(0), mean)
        deviation = torch.where(count < FEW, overall, deviation)
        standard = (found - label @ mean) / (label @ deviation)
        equal = label @ (1 / count.clamp_min(1))  # weights with which all labels are equally likely
        covariance = (standard * equal).T @ standard / equal.sum()
        factor = torch.linalg.cholesky(covariance + 1e-3 * torch.eye(len(NAMES)))
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float())
        self.register_buffer("inverse", torch.linalg.inv(factor).float())

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """(batch, samples), one-hot labels (batch, labels) or None -> (batch, 6), differentiable."""
        with torch.autocast(x.device.type, enabled=False):
            label = torch.ones(len(x), 1, device=x.device) if condition is None else condition.float()
            standard = (attributes(x, self.sample_rate) - label @ self.mean) / (label @ self.deviation)
            return standard @ self.inverse.T

"""A learned vocoder: a small network from a log-mel spectrogram to a waveform in one pass.

After Vocos (Siuzdak, 2023, arXiv:2306.00814): ConvNeXt blocks at the frame rate predict the magnitude and phase of a
short-time Fourier transform, whose inverse is the waveform. Three things differ. The magnitude is predicted relative to
that of the nearest bands. The network gets a phase for every band as input: without it, a network that treats all
frames alike answers a steady tone with a frame that repeats every hop, so all pitches would become multiples of the
frame rate. And a few rounds of projection, after Griffin and Lim (1984), bring the result closer to the given log-mel.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.sound.mel_scale import mel_filters, mel_frequencies

LOUDEST = 7.0  # upper limit of predicted log-magnitudes; a full-scale sine has 5.5 at n_fft 1024
QUIET = 1e-4  # mel magnitude added to both sides of a ratio, so that silence is not amplified
MOMENTUM = 0.99  # of fast Griffin-Lim


@dataclass(frozen=True)
class VocoderConfig:
    """Parameters of the inverted spectrogram, as in `explorer.sound.mel.MelConfig`, and size of the network.

    Attributes:
        channels, blocks: width and number of the residual blocks.
        expansion: hidden channels of a block, as a multiple of `channels`.
        kernel: length of a block's depthwise convolution, in frames.
        rounds: of projection; each takes about a millisecond per second of sound.
    """

    sample_rate: int = 8000
    n_fft: int = 512
    hop_length: int = 128
    n_mels: int = 64
    floor: float = 2e-3
    channels: int = 192
    blocks: int = 6
    expansion: int = 3
    kernel: int = 7
    rounds: int = 5


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (batch, channels, 1, frames)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)
        return F.layer_norm(last, self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A ConvNeXt block (Liu et al., 2022, arXiv:2201.03545) along time: a depthwise and two pointwise convolutions.

    The convolutions are two-dimensional of height 1, since on a CPU torch has fast bfloat16 kernels only for those.
    """

    def __init__(self, channels: int, expansion: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, (1, kernel), padding=(0, kernel // 2), groups=channels)
        self.norm = ChannelNorm(channels)
        self.up = nn.Conv2d(channels, expansion * channels, 1)
        self.down = nn.Conv2d(expansion * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.scale * self.down(F.gelu(self.up(self.norm(self.depthwise(x)))))
        return out


class LearnedVocoder(nn.Module):
    """Inverts log-mels. The same log-mel gives the same bits in any batch, on an equal number of threads."""

    Config = VocoderConfig

    filters: Tensor
    nearest: Tensor
    window: Tensor

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = c = config
        bins = 1 + c.n_fft // 2
        self.enter = nn.Conv2d(3 * c.n_mels, c.channels, (1, c.kernel), padding=(0, c.kernel // 2))
        self.first_norm = ChannelNorm(c.channels)
        self.blocks = nn.Sequential(*(Block(c.channels, c.expansion, c.kernel, 1 / c.blocks) for _ in range(c.blocks)))
        self.last_norm = ChannelNorm(c.channels)
        self.head = nn.Conv2d(c.channels, 2 * bins, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                nn.init.trunc_normal_(layer.weight, std=0.02)
        corners = mel_frequencies(c.sample_rate, c.n_mels)
        nearest = _interpolation(np.linspace(0, c.sample_rate / 2, bins), corners[1:-1])
        filters = torch.from_numpy(mel_filters(c.sample_rate, c.n_fft, c.n_mels))
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("nearest", nearest, persistent=False)
        self.register_buffer("window", torch.hann_window(c.n_fft), persistent=False)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mels (batch, n_mels, frames) -> waveforms (batch, frames * hop_length), not limited to [-1, 1]."""
        # One at a time: the rounding of matrix products and convolutions depends on the batch size.
        return torch.cat([self.network(row, phase_clock(row, self.config)) for row in log_mel.split(1)])

    def network(self, log_mel: Tensor, angle: Tensor) -> Tensor:
        """As `forward`, given the `phase_clock` of the log-mels."""
        return self.settle(self._draw(log_mel, angle), log_mel, self.config.rounds)

    def draw(self, log_mel: Tensor) -> Tensor:
        """The network's waveforms, before the rounds of projection; shapes as `forward`."""
        return self._draw(log_mel, phase_clock(log_mel, self.config))

    def _draw(self, log_mel: Tensor, angle: Tensor) -> Tensor:
        c = self.config
        told = torch.cat([(log_mel + 3) / 3, angle.cos(), angle.sin()], dim=1)[:, :, None]  # a row of height 1
        x = self.first_norm(self.enter(told.contiguous(memory_format=torch.channels_last)))
        drawn = self.head(self.last_norm(self.blocks(x)))[:, :, 0].float()
        gain, turns = drawn.chunk(2, dim=1)
        # Filters of unit area in Hz have weights that add up to 1 / (distance of two bins in Hz).
        near = self.nearest @ log_mel + math.log(c.sample_rate / c.n_fft)
        magnitude = (near + gain).clamp(max=LOUDEST).exp()
        return self._waveform(torch.polar(magnitude, 2 * math.pi * turns))

    def settle(self, waveform: Tensor, log_mel: Tensor, rounds: int) -> Tensor:
        """Brings the log-mels of waveforms closer to given ones, by rounds of projection.

        A round is one of the fast Griffin-Lim algorithm (Perraudin, Balazs and Søndergaard, 2013), except that it does
        not replace magnitudes by the wanted ones but scales them band by band, which keeps the detail within a band.

        Args:
            waveform: (batch, frames * hop_length)
            log_mel: (batch, n_mels, frames)
        """
        c, frames = self.config, log_mel.shape[-1]
        wanted = (log_mel.exp() - c.floor).clamp_min(0) + QUIET
        before = None
        for _ in range(rounds):
            now = torch.stft(
                waveform, c.n_fft, c.hop_length, window=self.window, pad_mode="constant", return_complex=True
            )[..., :frames]
            lack = (wanted / (self.filters @ now.abs() + QUIET)).log()
            spectrum = now * (self.nearest @ lack).exp()
            if before is not None:
                ahead = now + MOMENTUM * (now - before)
                spectrum = spectrum.abs() * ahead / ahead.abs().clamp_min(1e-9)
            waveform, before = self._waveform(spectrum), now
        return waveform

    def _waveform(self, spectrum: Tensor) -> Tensor:
        c = self.config
        return torch.istft(
            spectrum, c.n_fft, c.hop_length, window=self.window, length=spectrum.shape[-1] * c.hop_length
        )


@torch.no_grad()
def phase_clock(log_mel: Tensor, config: VocoderConfig) -> Tensor:
    """A phase for every band and frame that advances at the frequency of the strongest partial near that band.

    Single-pass spectrogram inversion (Beauregard, Harish and Wyse, 2015) at the resolution of the bands: a peak's
    frequency is the centroid of its band and the two adjacent ones, accurate to about 1 Hz for a steady tone below
    1 kHz; the bands around a peak share its phase, and a peak that moves to another band keeps its phase.

    Args:
        log_mel: (batch, n_mels, frames)
    Returns:
        (batch, n_mels, frames), radians.
    """
    corners = torch.from_numpy(mel_frequencies(config.sample_rate, config.n_mels)).float().to(log_mel.device)
    level = (log_mel.float().exp() - config.floor).clamp_min(1e-6) * (corners[2:] - corners[:-2])[:, None]
    padded = F.pad(level, (0, 0, 1, 1))
    below, above = padded[:, :-2], padded[:, 2:]
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    frequency = (low * below + centre * level + high * above) / (below + level + above)
    # The louder neighbour of each band, if there is one; three doublings lead to a peak up to eight bands away.
    band = torch.arange(config.n_mels, device=log_mel.device)[:, None].expand_as(level)
    peak = band + (above > torch.maximum(level, below)).long() - (below > torch.maximum(level, above)).long()
    for _ in range(3):
        peak = peak.gather(1, peak)
    advance = 2 * math.pi * config.hop_length / config.sample_rate * frequency.gather(1, peak)
    speed = (advance[..., :-1].gather(1, peak[..., 1:]) + advance[..., 1:]) / 2
    if torch.compiler.is_exporting():  # to a program without NumPy
        angles = [torch.zeros_like(speed[..., 0])]
        for k in range(log_mel.shape[-1] - 1):
            angles.append(torch.remainder(angles[-1].gather(1, peak[..., k + 1]) + speed[..., k], 2 * math.pi))
        return torch.stack(angles, dim=-1)
    # Frame after frame in NumPy, batch and bands in one row: torch takes longer to begin so small a sum than to do it.
    batch, bands, frames = level.shape
    rows = peak + bands * torch.arange(batch, device=peak.device)[:, None, None]
    sources, ons = (a.permute(2, 0, 1).reshape(frames - 1, -1).cpu().numpy() for a in (rows[..., 1:], speed))
    angle = np.zeros((frames, batch * bands), np.float32)
    for before, now, source, on in zip(angle[:-1], angle[1:], sources, ons, strict=True):
        np.remainder(before[source] + on, 2 * math.pi, out=now)
    return torch.from_numpy(angle.T.reshape(batch, bands, frames)).to(log_mel.device)


def _interpolation(frequencies: np.ndarray, centres: np.ndarray) -> Tensor:
    """(len(frequencies), len(centres)) weights of linear interpolation, constant beyond the outermost centres."""
    columns = [np.interp(frequencies, centres, row) for row in np.eye(len(centres))]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))

"""WaveGAN: one latent, and optionally a label, -> the samples of a short sound.

After Donahue, McAuley and Puckette (2019), "Adversarial Audio Synthesis", arXiv:1802.04208. Their network for 16,384
samples is `WaveGANConfig(architecture="original", latent=100, prior="uniform", channels=(1024, 512, 256, 128, 64))`,
with `post_filter=512` for the optional filter.

The default differs in what drums need, hits of one level that are half noise and die away by 60 dB and more:

* It modulates every layer by latent and label, as SpectoGAN does, and draws noise from fixed noise, which it shapes.
* It draws the decay of each of the last channels, in decibels, at a lower rate, and multiplies.
* It reads its last but one layer at a speed of its own, which glides, see `PitchEnvelope`. Transposed convolutions keep
  waves of a few frequencies and cannot move them: 100 toms had ten pitches.
* It scales every sound to the same peak, after fades at both ends. So no sound is silent, clipped, or clicks.
* Its upsampling filters are smooth, see `Upsampling.smooth`, since others buzz (Pons et al., 2021, arXiv:2010.14356).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace, Prior
from explorer.sound.base import Settings, check_size
from explorer.sound.waveform import WaveformConfig, WaveformRepresentation

STRIDE, LENGTH = 4, 25  # of the upsamplings
FOLDED = 7  # taps that a filter of 25 has on an input of which every value is repeated 4 times
PEAK = 0.95
FADE_IN = (30, 40)  # samples between which a sound rises: recordings are aligned to begin at the 32nd
FADE_OUT = 800  # samples at the end in which it falls, 50 ms at 16 kHz
OCTAVES = 2.0  # between which and its negative a pitch envelope stays
GLIDES = (0.02, 0.1)  # seconds in which each of its glides falls to 1 / e
QUIETEST, LOUDEST = -12.0, 4.0  # natural logarithms of a channel's gain: -104 and 35 dB
SPECTRUM, SILENCE = 512, 1e-3  # of `features`: samples of a window, magnitude of what counts as silent
WIDEST, DEEPEST = 8192, 8  # upper limits: size of a layer, and number of `channels`


@dataclass(frozen=True)
class WaveGANConfig:
    """Shape of the network.

    Attributes:
        waveform: `samples` must be divisible by 4 to the power of the number of upsamplings.
        labels: of the condition; empty for an unconditional generator.
        condition: what a label is, e.g. "drum"; the app shows it beside the labels.
        latent, prior: length and distribution of the latent vector.
        architecture: "modulated" or "original", see above.
        channels: number of feature maps at each resolution, coarsest first. "modulated" upsamples by 4 between
            resolutions, "original" also after the last.
        style: length of the vector that modulates the layers.
        post_filter: length of a filter that "original" learns for its output, or 0 for none.
        pitch_envelope: whether "modulated" has one.
    """

    waveform: WaveformConfig = field(default_factory=WaveformConfig)
    labels: tuple[str, ...] = ()
    condition: str = "label"
    latent: int = 128
    prior: Prior = "normal"
    architecture: Literal["modulated", "original"] = "modulated"
    channels: tuple[int, ...] = (320, 192, 128, 64, 32, 16)
    style: int = 128
    post_filter: int = 0
    pitch_envelope: bool = True

    @staticmethod
    def upgrade(data: Mapping[str, Any]) -> dict[str, Any]:
        """Adds what older configurations lack: `pitch_envelope`."""
        return {"pitch_envelope": False, **data}

    def __post_init__(self) -> None:
        if self.architecture not in ("modulated", "original"):
            raise ValueError(f"architecture is 'modulated' or 'original', not {self.architecture!r}")
        if self.prior not in ("normal", "uniform"):
            raise ValueError(f"prior is 'normal' or 'uniform', not {self.prior!r}")
        if not isinstance(self.waveform, WaveformConfig):
            raise ValueError(f"waveform is an object, not {self.waveform!r}")
        if not isinstance(self.channels, tuple) or not 1 <= len(self.channels) <= DEEPEST:
            raise ValueError(f"channels are 1 to {DEEPEST} numbers, not {self.channels!r}")
        if not self.upsamplings:
            raise ValueError("channels of 'modulated' are at least two numbers, as it upsamples between them")
        sizes = (("latent", self.latent), ("style", self.style), *(("channels", c) for c in self.channels))
        for name, value in sizes:
            check_size(name, value, WIDEST)
        if type(self.pitch_envelope) is not bool:
            raise ValueError(f"pitch_envelope is true or false, not {self.pitch_envelope!r}")
        if type(self.post_filter) is not int or not 0 <= self.post_filter <= self.waveform.samples:
            raise ValueError(f"post_filter is a whole number from 0 to samples, not {self.post_filter!r}")
        if self.waveform.samples % STRIDE**self.upsamplings:
            raise ValueError(
                f"samples must be divisible by {STRIDE**self.upsamplings}, since there are {self.upsamplings} "
                f"upsamplings by {STRIDE}; {self.waveform.samples} is not"
            )

    @property
    def upsamplings(self) -> int:
        """How many times the network upsamples."""
        return len(self.channels) - (0 if self.architecture == "original" else 1)


class WaveGAN(Generator):
    """A linear layer from the latent to a coarse sequence, and convolutions that upsample it to the waveform."""

    family = "wavegan"
    Config = WaveGANConfig

    def __init__(self, config: WaveGANConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((config.latent,), config.prior)
        self.representation = WaveformRepresentation(config.waveform)
        self.condition = Condition(config.condition, config.labels) if config.labels else None
        self.embedding = nn.Linear(len(config.labels), config.style, bias=False) if config.labels else None
        inputs = config.latent + (config.style if config.labels else 0)
        steps = config.waveform.samples // STRIDE**config.upsamplings
        self.coarse = (config.channels[0], 1, steps)
        self.start = nn.Linear(inputs, config.channels[0] * steps)
        self.network = (Original if config.architecture == "original" else Modulated)(config, inputs)
        # The layout of the feature maps; otherwise each call would reorder the weights.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        if self.embedding is not None and condition is not None:
            z = torch.cat([z, self.embedding(condition)], dim=1)
        x = self.start(z).unflatten(1, self.coarse).contiguous(memory_format=torch.channels_last)
        output: Tensor = self.network(x, z)
        return output

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The logarithm of a spectrogram, since samples of two sounds differ by their phases above all."""
        return log_spectrogram(self(z, condition)).flatten(1)


class Original(nn.Module):
    """The layers of the paper after the first: (batch, channels, 1, steps) -> (batch, samples)."""

    def __init__(self, config: WaveGANConfig, inputs: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, (1, LENGTH), stride=(1, STRIDE), padding=(0, 11), output_padding=(0, 1))
            for a, b in pairwise((*config.channels, 1))
        )
        size = config.post_filter
        self.padding = ((size - 1) // 2, size // 2)
        self.post_filter = nn.Conv2d(1, 1, (1, size), bias=False) if size else None

    def forward(self, x: Tensor, inputs: Tensor) -> Tensor:
        for up in self.up:
            x = up(F.relu(x))
        x = torch.tanh(x)
        if self.post_filter is not None:
            x = self.post_filter(F.pad(x, self.padding)).clamp(-1, 1)
        return x[:, 0, 0]


class Modulated(nn.Module):
    """The default layers after the first: (batch, channels, 1, steps), (batch, inputs) -> (batch, samples)."""

    fades: Tensor

    def __init__(self, config: WaveGANConfig, inputs: int) -> None:
        super().__init__()
        channels, samples, style = config.channels, config.waveform.samples, config.style
        steps = [samples // STRIDE**k for k in range(config.upsamplings, -1, -1)]
        self.mapping = nn.Sequential(nn.Linear(inputs, style), nn.LeakyReLU(0.2), nn.Linear(style, style))
        self.norms = nn.ModuleList(Modulation(c, style) for c in channels[:-1])
        self.up = nn.ModuleList(Upsampling(a, b) for a, b in pairwise(channels))
        self.noisy = nn.ModuleList(Modulation(c, style, noise=n) for c, n in zip(channels[1:], steps[1:], strict=True))
        self.residual = nn.ModuleList(nn.Conv2d(c, c, (1, 5), padding=(0, 2)) for c in channels[1:-1])
        self.drawn = min(2, config.upsamplings)  # upsamplings after which decays are drawn, every 4 ms by default
        self.gains = nn.Conv2d(channels[self.drawn], channels[-1], 1)
        self.decay = nn.Parameter(torch.linspace(0, -6, steps[self.drawn]).repeat(channels[-1], 1))
        self.bent = max(1, config.upsamplings - 1)  # upsamplings after which the pitch envelope is applied
        self.pitch = PitchEnvelope(config.waveform, steps[self.bent], style) if config.pitch_envelope else None
        self.last = nn.Conv2d(channels[-1], 1, (1, 9), padding=(0, 4))
        self.register_buffer("fades", fades(samples), persistent=False)

    def forward(self, x: Tensor, inputs: Tensor) -> Tensor:
        style = F.leaky_relu(self.mapping(inputs), 0.2)
        decays = self.decay
        for i, (norm, up, noisy) in enumerate(zip(self.norms, self.up, self.noisy, strict=True)):
            x = up(F.leaky_relu(norm(x, style), 0.2))
            h = noisy(x, style)
            x = x + self.residual[i](F.leaky_relu(h, 0.2)) if i < len(self.residual) else h
            if i + 1 == self.drawn:
                decays = self.gains(x)[:, :, 0] + self.decay  # (batch, last channels, steps), natural logarithms
            if self.pitch is not None and i + 1 == self.bent:
                x = self.pitch(x, style)
        with torch.autocast(x.device.type, enabled=False):  # 8 bits of mantissa would be heard as noise
            gain = F.interpolate(decays.float().clamp(QUIETEST, LOUDEST).exp(), x.shape[-1], mode="linear")
            x = self.last(x.float() * gain[:, :, None])[:, 0, 0] * self.fades
            return x * (PEAK / x.abs().amax(1, keepdim=True).clamp_min(1e-9))


class Modulation(nn.Module):
    """Scales each step's feature vector to unit mean square, then applies a gain and bias computed from the style.

    With `noise`, the gain varies over that many steps by noise that is drawn once and then learned, of a strength that
    is computed from the style too.
    """

    def __init__(self, channels: int, style: int, noise: int = 0) -> None:
        super().__init__()
        self.affine = nn.Linear(style, (3 if noise else 2) * channels)
        nn.init.normal_(self.affine.weight, std=0.5 / style**0.5)
        nn.init.zeros_(self.affine.bias)
        # Laid out as the feature maps are, channels last, or each product with them would reorder it.
        drawn = torch.randn(channels, 1, noise).permute(1, 2, 0).contiguous().permute(2, 0, 1)
        self.noise = nn.Parameter(drawn) if noise else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = (x.square().mean(1, keepdim=True) + 1e-6).rsqrt()
        affine = self.affine(style)[:, :, None, None]
        if self.noise is None:
            gain, bias = affine.chunk(2, dim=1)
            return torch.addcmul(bias, x, (1 + gain) * scale)
        gain, bias, strength = affine.chunk(3, dim=1)
        return torch.addcmul(bias, x, torch.addcmul(1 + gain, strength, self.noise).mul_(scale))


class PitchEnvelope(nn.Module):
    """Reads (batch, channels, 1, steps) at a speed computed from the style, which glides as a struck skin's pitch does.

    The speed, in octaves, is a constant and two exponentials that die away. The onset stays where it is; what is read
    beyond the end comes back from it, so that no tone breaks off.
    """

    curves: Tensor

    def __init__(self, waveform: WaveformConfig, steps: int, style: int) -> None:
        super().__init__()
        rate = waveform.sample_rate * steps / waveform.samples
        self.onset = min(steps - 1, round(FADE_IN[0] * steps / waveform.samples))
        seconds = (torch.arange(steps) - self.onset).clamp_min(0) / rate
        curves = [torch.ones(steps), *((-seconds / glide).exp() for glide in GLIDES)]
        self.register_buffer("curves", torch.stack(curves), persistent=False)
        self.octaves = nn.Linear(style, len(curves))
        nn.init.normal_(self.octaves.weight, std=0.5 / style**0.5)
        nn.init.zeros_(self.octaves.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        batch, channels, _, steps = x.shape
        with torch.autocast(x.device.type, enabled=False):
            octaves = OCTAVES * (self.octaves(style.float()) @ self.curves / OCTAVES).tanh()
            at = octaves.exp2().cumsum(1)
            at = (self.onset + at - at[:, self.onset : self.onset + 1]).clamp_min(0) % (2 * (steps - 1))
            at = steps - 1 - (steps - 1 - at).abs()
            read = interpolate(x.permute(0, 2, 3, 1).reshape(batch, steps, channels).float(), at)
        return read.reshape(batch, 1, steps, channels).permute(0, 3, 1, 2)


def interpolate(x: Tensor, at: Tensor) -> Tensor:
    """Values of (batch, n, channels) at positions (batch, m) from 0 to n - 1, by cubic interpolation."""
    batch, n, _ = x.shape
    low = at.detach().floor()
    near = (low.long()[:, :, None] + torch.arange(-1, 3, device=x.device)).clamp(0, n - 1)
    rows = near + n * torch.arange(batch, device=x.device)[:, None, None]
    weights = catmull_rom(at - low).flatten(0, 1)
    # A bag is a weighted sum of rows, in one step.
    read = F.embedding_bag(rows.flatten(0, 1), x.flatten(0, 1), mode="sum", per_sample_weights=weights)
    return read.unflatten(0, (batch, -1))


def catmull_rom(t: Tensor) -> Tensor:
    """(..., 4) weights of four neighbours for a place t (...) from 0 to 1 between the two in the middle."""
    weights = (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    return torch.stack(weights, dim=-1)


class Upsampling(nn.Conv2d):
    """Upsamples by 4: (batch, before, 1, n) -> (batch, after, 1, 4 n), by a convolution of 7 to 4 phases.

    It begins as a convolution of 25 on the input with every value repeated 4 times (Aitken et al., 2017,
    arXiv:1707.02937: sub-pixel convolution that begins without a checkerboard), made smooth.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, STRIDE * after, (1, FOLDED), padding=(0, FOLDED // 2))
        taps = torch.randn(after, before, LENGTH) / math.sqrt(before * LENGTH)
        with torch.no_grad():
            self.weight.copy_(torch.einsum("oik,kpj->poij", taps, folding()).flatten(0, 1)[:, :, None])
            nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.smooth()

    @torch.no_grad()
    def smooth(self) -> None:
        """Changes the weights as little as it takes for a constant to become a constant and a ramp a ramp.

        Otherwise whatever changes slowly, such as a tail, comes out with a pattern of 4 samples: a buzz at the rate of
        the input and its multiples. Training calls this after every step.
        """
        assert self.bias is not None
        weight = self.weight.view(STRIDE, -1, self.in_channels, FOLDED)  # phases first
        tap = torch.arange(FOLDED, device=weight.device) - FOLDED // 2
        phase = (torch.arange(STRIDE, device=weight.device) - (STRIDE - 1) / 2) / STRIDE
        total = weight.sum(-1, keepdim=True)  # the response to 1
        mean = total.mean(0, keepdim=True)
        slope = (weight * tap).sum(-1, keepdim=True)  # the response to a ramp, at its middle
        wanted = slope.mean(0, keepdim=True) + mean * phase[:, None, None, None]
        weight += (mean - total) / FOLDED + (wanted - slope) * tap / tap.square().sum()
        bias = self.bias.view(STRIDE, -1)
        bias.copy_(bias.mean(0, keepdim=True).expand_as(bias))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, _, n = x.shape
        phases = super().forward(x).permute(0, 2, 3, 1)  # (batch, 1, n, 4 after): contiguous, by the memory format
        return phases.reshape(batch, 1, STRIDE * n, -1).permute(0, 3, 1, 2)


def folding() -> Tensor:
    """(25, 4, 7): 1 where a tap of the filter of 25 falls, for a phase of the output, on a value before repetition."""
    taps = torch.zeros(LENGTH, STRIDE, FOLDED)
    for k in range(LENGTH):
        for phase in range(STRIDE):
            taps[k, phase, (phase + k - LENGTH // 2) // STRIDE + FOLDED // 2] = 1
    return taps


def log_spectrogram(x: Tensor) -> Tensor:
    """(batch, samples) -> (batch, bins, frames), natural logarithms of magnitudes."""
    window = torch.hann_window(SPECTRUM, device=x.device)
    spectrum = torch.stft(x, SPECTRUM, window=window, pad_mode="constant", return_complex=True)
    return (spectrum.abs() * (4 / SPECTRUM) + SILENCE).log()


def fades(samples: int) -> Tensor:
    """(samples,): a gain that rises from 0 and falls to 0, so that no sound begins or ends with a click."""
    gain = torch.ones(samples)
    begin, end = (min(k, samples // 4) for k in FADE_IN)
    fall = min(FADE_OUT, samples // 2)
    gain[:begin] = 0
    gain[begin:end] = torch.linspace(0, math.pi / 2, end - begin).sin().square()
    gain[samples - fall :] = torch.linspace(0, math.pi / 2, fall).cos().square()
    return gain

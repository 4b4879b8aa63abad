"""DiffWave: noise becomes a short sound in a few steps of one network, which takes away some of the noise at each.

After Kong et al. (2021), "DiffWave: A Versatile Diffusion Model for Audio Synthesis", arXiv:2009.09761. Their network
for unconditional speech is `DiffWaveConfig(WaveformConfig(16_000, 16_000), architecture="original", bands=1,
channels=256, layers=36, cycle=12)`. Its latent is the noise itself, and it is sampled by DDIM: a place has one sound.

The default is a diffusion autoencoder (Preechakul et al., 2022, arXiv:2111.15640) of the same blocks:

* A small latent enters every block, beside the label, and it is what sliders move. The noise comes from a place's seeds
  alone and stays while they do; the setting "grain" turns it.
* It works on the coefficients of sub-bands (`explorer.sound.mdct`), by default 64 bands of 125 Hz in frames of 4 ms.
  White noise has white coefficients, so the seeds' noise is used as theirs.
* It works on the signed square roots of coefficients, each divided by its deviation over the training data: what is
  quiet, high or late counts as much as what is loud, and errors in silence are squared, so they are not heard.
* What it predicts is a gain of each coefficient of the mixture, and what is added. A hit is much like noise with an
  envelope, and the best estimate of such a sound in noise is a gain (a Wiener filter).
* Latent and label also draw curves over time, where the mixture enters: a convolution does not know how late it is.
* It predicts velocities on the cosine schedule (`explorer.generators.diffusion`), and is guided away from what it would
  make without latent and label (Ho and Salimans, 2022, arXiv:2207.12598), at twice the cost. A distilled network has
  learned its own guided sounds from their noise: it needs no guidance, and few steps.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from explorer.generators.base import Condition, Generator
from explorer.generators.diffusion import Noise, Process, Velocity, ddim
from explorer.generators.wavegan import PEAK, fades, log_spectrogram
from explorer.latent import LatentSpace
from explorer.sound.base import Settings, check_size
from explorer.sound.mdct import basis, inverse_mdct, mdct
from explorer.sound.waveform import WaveformConfig, WaveformRepresentation

POWER = 0.5  # of the magnitude of a coefficient
LEAST = 0.01  # least deviation of a coefficient, beside that of the loudest
HIGHEST = 16.0  # bound of estimates, in deviations: the farthest of 28 million coefficients of drums is at 15.3
CURVES, FINEST = 32, 63  # cosines over time, and how much finer they are at the beginning than at the end
QUIETEST = 1e-3  # peak below which a sound is not made louder
GRAINS = 8
GUIDANCE = ("2", "1", "1.5", "3")  # the default first; 1 is none
TIMES, WIDTH = 64, 512  # frequencies that embed a time, and numbers of its embedding
WIDEST, DEEPEST, LONGEST_CYCLE = 4096, 256, 20  # upper limits


@dataclass(frozen=True)
class DiffWaveConfig:
    """Shape of the network.

    Attributes:
        waveform: `samples` must be divisible by `bands`.
        labels: of the condition; empty for an unconditional generator.
        condition: what a label is, e.g. "drum"; the app shows it beside the labels.
        architecture: "autoencoder" or "original", see above.
        latent: length of the latent of "autoencoder".
        bands: number of sub-bands.
        channels, layers: number of feature maps, and of residual blocks.
        cycle: number of blocks in which the dilation doubles, before it starts at 1 again.
        style: length of the vector that latent and label become, which enters every block.
        distilled: whether the network has learned from guided sounds, so that there is no guidance to set.
    """

    waveform: WaveformConfig = field(default_factory=WaveformConfig)
    labels: tuple[str, ...] = ()
    condition: str = "label"
    architecture: Literal["autoencoder", "original"] = "autoencoder"
    latent: int = 16
    bands: int = 64
    channels: int = 96
    layers: int = 14
    cycle: int = 7
    style: int = 128
    distilled: bool = False

    @staticmethod
    def upgrade(data: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing was distilled before there was a field that says so."""
        return {"distilled": False, **data}

    def __post_init__(self) -> None:
        if self.architecture not in ("autoencoder", "original"):
            raise ValueError(f"architecture is 'autoencoder' or 'original', not {self.architecture!r}")
        if not isinstance(self.waveform, WaveformConfig):
            raise ValueError(f"waveform is an object, not {self.waveform!r}")
        limits = {"latent": WIDEST, "bands": WIDEST, "channels": WIDEST, "style": WIDEST, "layers": DEEPEST}
        for name, most in {**limits, "cycle": LONGEST_CYCLE}.items():
            check_size(name, getattr(self, name), most)
        if self.waveform.samples % self.bands:
            raise ValueError(f"samples must be divisible by bands, {self.bands}; {self.waveform.samples} is not")


class DiffWave(Generator):
    """Noise, a latent and a label -> a waveform, by the estimates of one network at several times."""

    family = "diffwave"
    Config = DiffWaveConfig

    def __init__(self, config: DiffWaveConfig) -> None:
        super().__init__()
        self.config = config
        self.representation = WaveformRepresentation(config.waveform)
        self.condition = Condition(config.condition, config.labels) if config.labels else None
        samples, original = config.waveform.samples, config.architecture == "original"
        self.process: Process = Noise() if original else Velocity()
        self.settings = {"steps": self.process.options}
        self.draft = {"steps": min(self.process.options, key=int)}
        self.distilled = config.distilled
        if original:
            self.latent = LatentSpace((samples,))
        else:
            self.latent = LatentSpace((config.latent,))
            self.noise = LatentSpace((samples,), stream=1)
            if not config.distilled:
                self.settings["guidance"] = GUIDANCE
            self.settings["grain"] = tuple(map(str, range(GRAINS)))
        inputs = len(config.labels) + (0 if original else config.latent)
        style = config.style if inputs else 0
        self.describe = (
            nn.Sequential(nn.Linear(inputs, style), nn.SiLU(), nn.Linear(style, style), nn.SiLU()) if inputs else None
        )
        self.nothing = nn.Parameter(torch.zeros(style)) if inputs else None  # the style of no latent and no label
        self.network = Denoiser(config, style)
        self.register_buffer("fades", fades(samples), persistent=False)
        if not original:
            self.register_buffer("basis", basis(config.bands), persistent=False)
            self.register_buffer("scale", torch.ones(config.bands, 1, samples // config.bands))
        # The layout of the feature maps; otherwise each call would reorder the weights.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    fades: Tensor
    basis: Tensor
    scale: Tensor

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings, noise: Tensor | None = None) -> Tensor:
        *_, last = self.estimates(z, condition, settings, noise)
        return self.waveform(last)

    def emerge(
        self, z: Tensor, condition: Tensor | None, settings: Settings, noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        """The noise, and then the estimate of each step."""
        return map(self.waveform, self.estimates(z, condition, settings, noise))

    def estimates(
        self, z: Tensor, condition: Tensor | None, settings: Settings, noise: Tensor | None
    ) -> Iterator[Tensor]:
        """As `emerge`, but points (batch, bands, 1, frames)."""
        process = self.process
        highest = 1.0 if self.config.architecture == "original" else HIGHEST
        # White noise is as good from any of its samples on, if it starts over at its end.
        start = z if noise is None else noise.roll(int(settings["grain"]) * noise.shape[1] // GRAINS, dims=1)
        style = self.style(None if self.noise is None else z, condition)
        nothing = None if self.nothing is None else self.nothing.expand(len(z), -1)
        guidance = float(settings.get("guidance", "1"))
        times = process.levels(settings["steps"])
        rates = list(zip(*(x.tolist() for x in process.rates(times)), strict=True))
        embedded = times.to(z).expand(len(z), -1).unbind(1)

        def estimate(mixed: Tensor, k: int) -> Tensor:
            predicted = self.network(mixed, embedded[k], style).float()
            if guidance != 1:
                predicted = torch.lerp(self.network(mixed, embedded[k], nothing).float(), predicted, guidance)
            return process.clean(mixed, predicted, *rates[k]).clamp(-highest, highest)

        yield self.bands(start)
        yield from ddim(estimate, self.bands(start), rates, process.multistep)

    def style(self, z: Tensor | None, condition: Tensor | None, dropped: Tensor | None = None) -> Tensor | None:
        """What latents (batch, latent) and labels (batch, labels) say to every block, (batch, style).

        Args:
            dropped: (batch, 1), the items for which it says nothing.
        """
        if self.describe is None or self.nothing is None:
            return None
        if z is not None and condition is not None:
            condition = condition * math.sqrt(z.shape[1])  # as long as a latent, or it would be drowned by it
        said: Tensor = self.describe(torch.cat([x for x in (z, condition) if x is not None], dim=1))
        return said if dropped is None else torch.where(dropped, self.nothing.to(said), said)

    def points(self, waveform: Tensor) -> Tensor:
        """What the network learns to find in noise: waveforms (batch, samples) -> (batch, bands, 1, frames)."""
        if self.config.architecture == "original":
            return self.bands(waveform)
        with torch.autocast(waveform.device.type, enabled=False):  # bfloat16 would add noise at -50 dB
            coefficients = mdct(waveform, self.basis).transpose(1, 2)[:, :, None]
        return coefficients.sign() * coefficients.abs() ** POWER / self.scale

    def waveform(self, points: Tensor) -> Tensor:
        """(batch, bands, 1, frames) -> (batch, samples) in [-1, 1]; those of the autoencoder all have one peak."""
        points = points.float()
        if self.config.architecture == "original":
            return points[:, :, 0].transpose(1, 2).flatten(1).clamp(-1, 1)
        x = points * self.scale
        x = x.sign() * x.abs() ** (1 / POWER)
        x = inverse_mdct(x[:, :, 0].transpose(1, 2), self.basis) * self.fades
        return x * (PEAK / x.abs().amax(1, keepdim=True).clamp_min(QUIETEST))

    def measure(self, waveforms: Tensor) -> None:
        """Divides points from now on by their deviations over waveforms (n, samples) like those to be learned."""
        self.scale.fill_(1)
        power = sum(self.points(x.float()).square().sum(0) for x in waveforms.split(256)) / len(waveforms)
        deviation = torch.as_tensor(power).sqrt()
        self.scale.copy_(deviation.clamp_min(LEAST * deviation.max()))

    def bands(self, x: Tensor) -> Tensor:
        """(batch, samples) -> (batch, bands, 1, frames)."""
        return x.unflatten(1, (-1, self.config.bands)).transpose(1, 2)[:, :, None]

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The logarithm of a spectrogram of the sound that the fewest steps make."""
        return log_spectrogram(self(z, condition, self.draft)).flatten(1)


class Denoiser(nn.Module):
    """The published network, or that of the autoencoder, which also draws curves and a gain, see above.

    Mixtures (batch, bands, 1, frames), times (batch,) and styles (batch, style) -> what it predicts of the mixtures.
    """

    frequencies: Tensor
    curves: Tensor

    def __init__(self, config: DiffWaveConfig, style: int) -> None:
        super().__init__()
        normed, channels = config.architecture == "original", config.channels
        self.enter = convolution(config.bands, channels, 1, normed=normed)
        self.time = nn.Sequential(nn.Linear(2 * TIMES, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, 2 ** (k % config.cycle), style, normed) for k in range(config.layers)
        )
        self.merge = convolution(channels, channels, 1, normed=normed)
        self.sketch = None if normed else nn.Linear(style, channels * CURVES)
        self.leave = nn.Conv2d(channels, config.bands if normed else 2 * config.bands, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        steps = Noise.STEPS - 1  # radians from time 0 to 1
        self.register_buffer("frequencies", steps * 10 ** -torch.linspace(0, 4, TIMES), persistent=False)
        if self.sketch is not None:
            late = torch.linspace(0, FINEST, config.waveform.samples // config.bands).log1p() / math.log1p(FINEST)
            self.register_buffer("curves", (math.pi * torch.arange(CURVES)[:, None] * late).cos(), persistent=False)

    def forward(self, mixed: Tensor, t: Tensor, style: Tensor | None) -> Tensor:
        angle = t[:, None] * self.frequencies
        time = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        x = self.enter(mixed.contiguous(memory_format=torch.channels_last))
        if self.sketch is not None and style is not None:
            x = x + (self.sketch(style).unflatten(1, (-1, CURVES)) @ self.curves)[:, :, None]
        x = F.relu(x)
        skips = torch.zeros_like(x)
        for block in self.blocks:
            x, skip = block(x, time, style)
            skips = skips + skip
        out: Tensor = self.leave(F.relu(self.merge(skips * len(self.blocks) ** -0.5)))
        if self.sketch is None:
            return out
        added, gain = out.float().chunk(2, dim=1)
        return added + gain * mixed


class ResidualBlock(nn.Module):
    """A dilated convolution of 3, gated; its output goes to the next block and, past all others, to the end."""

    def __init__(self, channels: int, dilation: int, style: int, normed: bool) -> None:
        super().__init__()
        self.time = nn.Linear(WIDTH, channels)
        self.dilated = convolution(channels, 2 * channels, 3, dilation, normed)
        self.style = nn.Linear(style, 2 * channels) if style else None
        self.leave = convolution(channels, 2 * channels, 1, normed=normed)

    def forward(self, x: Tensor, time: Tensor, style: Tensor | None) -> tuple[Tensor, Tensor]:
        h = self.dilated(x + self.time(time)[:, :, None, None])
        if self.style is not None and style is not None:
            h = h + self.style(style)[:, :, None, None]
        a, b = h.chunk(2, dim=1)
        residual, skip = self.leave(a.tanh() * b.sigmoid()).chunk(2, dim=1)
        return (x + residual) * math.sqrt(0.5), skip


def convolution(before: int, after: int, size: int, dilation: int = 1, normed: bool = False) -> nn.Module:
    """A convolution of `size` taps over time, of (batch, channels, 1, frames)."""
    layer = nn.Conv2d(before, after, (1, size), padding=(0, size // 2 * dilation), dilation=(1, dilation))
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return weight_norm(layer) if normed else layer

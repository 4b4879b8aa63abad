"""GANSynth: one latent, which is a timbre, and a pitch -> log-magnitude and instantaneous frequency of a note.

After Engel et al. (2019), "GANSynth: Adversarial Neural Audio Synthesis", arXiv:1902.08710. Their network for 4 s at
16 kHz, its progressive stages as a plain stack, is `GANSynthConfig(SpectrumConfig(n_fft=2048, hop_length=512,
frames=128), 24, 84, latent=256, architecture="original", channels=(256, 256, 256, 256, 128, 64, 32))`.

The default differs in what a small network on a CPU needs:

* It is told where the partials of the pitch lie, so that it has to learn their levels but not their places. Its phases
  advance as those of the nearest partial, plus a deviation that is learned: a vibrato, or strings that are stiff.
* It draws that deviation as a direction in the plane, whose angle has no edge between -1 and 1.
* It modulates every layer by latent and pitch, as SpectoGAN does, and ends with groups of bins as channels.
* Its notes have one loudness, as those that it is trained on: what is left to learn is how loud partials are beside
  each other.

A weighted mean of two pitches is a pitch between them.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Condition, Generator
from explorer.generators.spectogan import ConditionalNorm, UpBlock
from explorer.latent import LatentSpace
from explorer.sound.base import Settings, check_size, note_name
from explorer.sound.spectrum import LOUD_SECONDS, LOUDNESS, SpectrumConfig, SpectrumRepresentation, wrapped

GROUP = 4  # bins that the default network draws as channels of one row
FEATURES = 6  # of a bin at a pitch
WIDEST, DEEPEST = 4096, 12  # upper limits: size of a layer, and number of `channels`


@dataclass(frozen=True)
class GANSynthConfig:
    """Shape of the network.

    Attributes:
        spectrum: its sides must be divisible by 2 to the power of the number of upsamplings, which is one less than
            that of channels; in "harmonic" networks the bins by 4 times that.
        lowest, highest: MIDI note numbers of the outermost keys.
        latent: length of the latent vector.
        architecture: "harmonic" or "original", see above.
        channels: number of feature maps at each resolution, coarsest first; both sides double between resolutions.
        style: length of the vector that modulates the layers of "harmonic" networks.
    """

    spectrum: SpectrumConfig = field(default_factory=SpectrumConfig)
    lowest: int = 36
    highest: int = 84
    latent: int = 128
    architecture: Literal["harmonic", "original"] = "harmonic"
    channels: tuple[int, ...] = (256, 128, 80, 36, 20)
    style: int = 128

    def __post_init__(self) -> None:
        if self.architecture not in ("harmonic", "original"):
            raise ValueError(f"architecture is 'harmonic' or 'original', not {self.architecture!r}")
        if not isinstance(self.spectrum, SpectrumConfig):
            raise ValueError(f"spectrum is an object, not {self.spectrum!r}")
        if not all(type(key) is int for key in (self.lowest, self.highest)):
            raise ValueError("lowest and highest are MIDI note numbers")
        if not 0 <= self.lowest <= self.highest <= 127:
            raise ValueError(f"0 <= lowest <= highest <= 127 must hold, not {self.lowest} and {self.highest}")
        if not isinstance(self.channels, tuple) or not 2 <= len(self.channels) <= DEEPEST:
            raise ValueError(f"channels are 2 to {DEEPEST} whole numbers, not {self.channels!r}")
        sizes = (("latent", self.latent), ("style", self.style), *(("channels", c) for c in self.channels))
        for name, value in sizes:
            check_size(name, value, WIDEST)
        shrink = 2 ** (len(self.channels) - 1)
        for side, by in ((self.spectrum.bins, shrink * self.group), (self.spectrum.frames, shrink)):
            if side % by:
                raise ValueError(f"with {len(self.channels)} channels, {by} must divide the spectrum's side of {side}")

    @property
    def group(self) -> int:
        """Bins that are channels of one row."""
        return GROUP if self.architecture == "harmonic" else 1

    @property
    def coarse(self) -> tuple[int, int]:
        """Rows and frames of the coarsest resolution."""
        shrink = 2 ** (len(self.channels) - 1)
        return self.spectrum.bins // (shrink * self.group), self.spectrum.frames // shrink

    @property
    def pitches(self) -> range:
        """MIDI note numbers of the keys."""
        return range(self.lowest, self.highest + 1)


class GANSynth(Generator):
    """Notes of one length, of which the latent is the timbre and the condition the key."""

    family = "gansynth"
    Config = GANSynthConfig

    def __init__(self, config: GANSynthConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((config.latent,), "normal")
        self.representation = SpectrumRepresentation(config.spectrum)
        self.condition = Condition("pitch", tuple(map(note_name, config.pitches)), "pitch")
        self.network = (Original if config.architecture == "original" else Harmonic)(config)
        # The layout of the feature maps; otherwise each call would reorder the weights.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        output: Tensor = self.network(z, condition)
        return output

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The levels: phases say little of how similar two sounds are."""
        output: Tensor = self(z, condition)
        return output[:, 0].flatten(1)


class Original(nn.Module):
    """The layers of the paper: (batch, latent), (batch, pitches) -> (batch, 2, bins, frames)."""

    def __init__(self, config: GANSynthConfig) -> None:
        super().__init__()
        channels = config.channels
        self.first = nn.ConvTranspose2d(config.latent + len(config.pitches), channels[0], config.coarse)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1)
            for before, after in pairwise((channels[0], *channels))
            for a, b in ((before, after), (after, after))
        )[1:]
        self.last = nn.Conv2d(channels[-1], 2, 1)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        x = self.first(torch.cat([z, condition], dim=1)[:, :, None, None])
        x = pixel_norm(F.leaky_relu(x, 0.2))
        for i, convolution in enumerate(self.convolutions):
            if i % 2:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = pixel_norm(F.leaky_relu(convolution(x), 0.2))
        return torch.tanh(self.last(x))


def pixel_norm(x: Tensor) -> Tensor:
    """Scales each pixel's feature vector to unit mean square (Karras et al., 2018, arXiv:1710.10196)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Harmonic(nn.Module):
    """The default layers: (batch, latent), (batch, pitches) -> (batch, 2, bins, frames)."""

    def __init__(self, config: GANSynthConfig) -> None:
        super().__init__()
        channels, style = config.channels, config.style
        self.group, self.coarse = config.group, (channels[0], *config.coarse)
        self.representation = SpectrumRepresentation(config.spectrum)
        frames = round(LOUD_SECONDS * config.spectrum.sample_rate / config.spectrum.hop_length)
        self.loud_frames = min(max(1, frames), config.spectrum.frames)
        self.partials = Partials(config)
        self.embedding = nn.Linear(len(config.pitches), style, bias=False)
        inputs = config.latent + style
        self.start = nn.Linear(inputs, math.prod(self.coarse))
        self.mapping = nn.Sequential(nn.Linear(inputs, style), nn.LeakyReLU(0.2), nn.Linear(style, style))
        self.blocks = nn.ModuleList(UpBlock(a, b, style) for a, b in pairwise(channels))
        # Where the partials lie, for the input of the last block and for its output.
        self.places = nn.ModuleList(
            nn.Conv2d(FEATURES * self.group * bins, c, (3, 1), padding=(1, 0))
            for bins, c in zip((2, 1), channels[-2:], strict=True)
        )
        self.norm = ConditionalNorm(channels[-1], style)
        self.mix = nn.Conv2d(channels[-1], channels[-1], 3, padding=1)
        self.last = nn.Conv2d(channels[-1], 3 * self.group, 3, padding=1)
        with torch.no_grad():
            assert self.last.bias is not None
            self.last.bias.view(3, self.group).copy_(torch.tensor([[0.0], [1.0], [0.0]]))  # begins in tune

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        features, advance = self.partials(condition)
        inputs = torch.cat([z, self.embedding(condition)], dim=1)
        style = F.leaky_relu(self.mapping(inputs), 0.2)
        x = self.start(inputs).unflatten(1, self.coarse).contiguous(memory_format=torch.channels_last)
        for block in self.blocks[:-1]:
            x = block(x, style)
        x = self.blocks[-1](x + self.places[0](rows(features, 2 * self.group)), style)
        x = F.leaky_relu(self.norm(x + self.places[1](rows(features, self.group)), style), 0.2)
        x = self.last(F.leaky_relu(x + self.mix(x), 0.2))
        with torch.autocast(x.device.type, enabled=False):  # 8 bits of mantissa would be heard as noise
            level, along, across = _bins(x.float(), 3, self.group).unbind(1)
            deviation = torch.atan2(across, along + 1e-6) / math.pi
            return torch.stack([self.evened(torch.tanh(level)), wrapped(advance + deviation)], dim=1)

    def evened(self, level: Tensor) -> Tensor:
        """Levels (batch, bins, frames) at the gain at which a note's loudest part has `LOUDNESS`."""
        magnitude = self.representation.magnitude(level)
        # A Hann window's squares sum to three times the mean square, at the scale where a full-scale sine has 1.
        square = F.avg_pool1d(magnitude.square().sum(1), self.loud_frames, stride=1) / 3
        loudest = square.amax(1).clamp_min(self.representation.config.floor**2).sqrt()
        return self.representation.level(magnitude * (LOUDNESS / loudest)[:, None, None])


class Partials(nn.Module):
    """Where the partials of a pitch lie: (batch, pitches) -> features (batch, FEATURES, bins, 1), advance.

    The advance is how far the phase of each bin's nearest partial moves from frame to frame, in half turns in [-1, 1],
    (batch, bins, frames); in the first frame it is 0.
    """

    pitches: Tensor
    frequencies: Tensor
    later: Tensor

    def __init__(self, config: GANSynthConfig) -> None:
        super().__init__()
        c = config.spectrum
        self.width = c.sample_rate / c.n_fft  # of a bin, in Hz
        self.turns = 2 * c.hop_length / c.sample_rate  # half turns between frames, for each Hz
        self.register_buffer("pitches", torch.tensor(config.pitches, dtype=torch.float32), persistent=False)
        self.register_buffer("frequencies", torch.arange(1, c.bins + 1) * self.width, persistent=False)
        self.register_buffer("later", (torch.arange(c.frames) > 0).float(), persistent=False)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(condition.device.type, enabled=False):
            pitch = (condition.float() * self.pitches).sum(1, keepdim=True)
            lowest = 440 * torch.exp2((pitch - 69) / 12)
            along = self.frequencies / lowest  # 1, 2, 3, … at the partials
            partial = along.round().clamp_min(1)
            distance = (self.frequencies - partial * lowest) / self.width
            lobe = (distance.sinc() / (1 - distance.square())).abs()  # of a Hann window; at 1 bin it is a half
            lobe = torch.where((distance.abs() - 1).abs() < 1e-3, 0.5, lobe).clamp_min(1e-2)
            angle = math.pi * along
            features = [lobe.log() / math.log(100) + 1, torch.log2(along + 1) / 4]
            features += [(2 * angle).cos(), (2 * angle).sin(), angle.cos(), angle.sin()]
            advance = wrapped(partial * lowest * self.turns)[:, :, None] * self.later
            return torch.stack(features, dim=1)[..., None], advance


def rows(x: Tensor, group: int) -> Tensor:
    """Groups of bins as channels: (batch, n, bins, frames) -> (batch, n * group, bins // group, frames)."""
    return x.unflatten(2, (-1, group)).transpose(2, 3).flatten(1, 2)


def _bins(x: Tensor, planes: int, group: int) -> Tensor:
    """(batch, planes * group, rows, frames) -> (batch, planes, rows * group, frames)."""
    return x.unflatten(1, (planes, group)).transpose(2, 3).flatten(2, 3)

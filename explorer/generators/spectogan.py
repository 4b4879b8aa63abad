"""SpectoGAN: one latent, and optionally a label, -> a log-mel spectrogram.

After SpecGAN (Donahue, McAuley and Puckette, 2019, "Adversarial Audio Synthesis", arXiv:1802.04208). The architecture
of the original, a DCGAN (Radford et al., 2016, arXiv:1511.06434) with 5x5 filters, upsampling by 2 and a uniform prior,
is `SpectoGAN.Config(blocks="dcgan", channels=(512, 256, 128, 64), prior="uniform")`.
"""

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
from explorer.sound.mel import MelConfig, MelRepresentation

VOICE_SHARPNESS = 5.0  # of the softmax over voices; the larger, the more a morph jumps from one voice to another
WIDEST, DEEPEST = 4096, 12  # upper limits: size of a layer, and number of `channels`


@dataclass(frozen=True)
class SpectoGANConfig:
    """Shape of the network.

    Attributes:
        mel: the spectrogram; n_mels and frames must be divisible by 2 to the power of the number of upsamplings.
        labels: of the condition; empty for an unconditional generator.
        condition: what a label is, e.g. "digit"; the app shows it beside the labels.
        voices: whose recordings it learned, e.g. speakers; empty if that is not told apart. The first numbers of the
            latent, one for each voice, then choose among them: the largest wins.
        latent, prior: length and distribution of the latent vector.
        blocks: "residual": two 3x3 convolutions per block, modulated by latent and condition;
            "dcgan": one transposed 5x5 convolution per block, the original.
        channels: number of feature maps at each resolution, coarsest first. "residual" upsamples between resolutions,
            "dcgan" also after the last.
        style: length of the vector that modulates the residual blocks.
    """

    mel: MelConfig = field(default_factory=MelConfig)
    labels: tuple[str, ...] = ()
    condition: str = "label"
    voices: tuple[str, ...] = ()
    latent: int = 128
    prior: Prior = "normal"
    blocks: Literal["residual", "dcgan"] = "residual"
    channels: tuple[int, ...] = (256, 192, 128, 64, 32)
    style: int = 128

    @staticmethod
    def upgrade(data: Mapping[str, Any]) -> dict[str, Any]:
        """Adds what older configurations lack: `voices`, and `condition`, since labels were digits or words then."""
        found = data.get("labels")
        labels = found if isinstance(found, list | tuple) else ()
        condition = "digit" if all(str(label).isdecimal() for label in labels) else "word"
        return {"condition": condition, "voices": (), **data}

    def __post_init__(self) -> None:
        if self.blocks not in ("residual", "dcgan"):
            raise ValueError(f"blocks is 'residual' or 'dcgan', not {self.blocks!r}")
        if self.prior not in ("normal", "uniform"):
            raise ValueError(f"prior is 'normal' or 'uniform', not {self.prior!r}")
        if not isinstance(self.mel, MelConfig):
            raise ValueError(f"mel describes a spectrogram, it is not {self.mel!r}")
        if not isinstance(self.condition, str):
            raise ValueError(f"condition is a name, not {self.condition!r}")
        if not isinstance(self.labels, tuple) or not all(isinstance(label, str) for label in self.labels):
            raise ValueError(f"labels are names, not {self.labels!r}")
        if not isinstance(self.voices, tuple) or not all(isinstance(voice, str) for voice in self.voices):
            raise ValueError(f"voices are names, not {self.voices!r}")
        if self.voices and not (self.labels and len(self.voices) <= self.latent):
            raise ValueError("voices need labels, and at least as many numbers in the latent as there are voices")
        if not isinstance(self.channels, tuple) or not 1 <= len(self.channels) <= DEEPEST:
            raise ValueError(f"channels are 1 to {DEEPEST} whole numbers, not {self.channels!r}")
        for name, value in (("latent", self.latent), ("style", self.style), *(("channels", c) for c in self.channels)):
            check_size(name, value, WIDEST)


class SpectoGAN(Generator):
    """A linear layer from the latent to a coarse picture, and convolutional blocks that upsample it to a log-mel."""

    family = "spectogan"
    Config = SpectoGANConfig

    def __init__(self, config: SpectoGANConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((config.latent,), config.prior)
        self.representation = MelRepresentation(config.mel)
        self.condition = Condition(config.condition, config.labels) if config.labels else None
        if voices := len(config.voices):  # towards one and away from all others
            towards = F.pad(F.normalize(torch.eye(voices) - 1 / voices), (0, config.latent - voices))
            self.axes = {f"Voice {name}": vector for name, vector in zip(config.voices, towards, strict=True)}
        channels, original = config.channels, config.blocks == "dcgan"
        sides = (config.mel.n_mels, config.mel.frames)
        shrink = 2 ** (len(channels) - (0 if original else 1))
        if any(side % shrink for side in sides):
            raise ValueError(f"a spectrogram of {sides} cannot be halved {len(channels)} times")
        self.coarse = (channels[0], *(side // shrink for side in sides))  # (channels, bands, frames)
        pixels = self.coarse[1] * self.coarse[2]
        kinds = len(config.labels) * max(1, len(config.voices))
        self.embedding = nn.Linear(kinds, config.style, bias=False) if config.labels else None
        inputs = config.latent + (config.style if config.labels else 0)
        self.start = nn.Linear(inputs, channels[0] * pixels)
        self.mapping = None if original else nn.Linear(inputs, config.style)
        if original:
            sizes = (*channels, 1)
            self.blocks = nn.ModuleList(
                nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1) for a, b in pairwise(sizes)
            )
        else:
            self.blocks = nn.ModuleList(UpBlock(a, b, config.style) for a, b in pairwise(channels))
            self.last = ConditionalNorm(channels[-1], config.style)
            self.to_mel = nn.Conv2d(channels[-1], 1, 3, padding=1)
        # The layout of the feature maps; otherwise each call would reorder the weights.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        return self.network(z, condition)

    def network(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """As `generate`, which has no setting."""
        if self.embedding is not None and condition is not None:
            if voices := len(self.config.voices):
                condition = of_kinds(condition, (VOICE_SHARPNESS * z[:, :voices]).softmax(1))
            z = torch.cat([z, self.embedding(condition)], dim=1)
        x = self.start(z).unflatten(1, self.coarse).contiguous(memory_format=torch.channels_last)
        if self.mapping is None:
            for block in self.blocks:
                x = block(F.relu(x))
            return torch.tanh(x)
        style = F.leaky_relu(self.mapping(z), 0.2)
        for block in self.blocks:
            x = block(x, style)
        return torch.tanh(self.to_mel(F.leaky_relu(self.last(x, style), 0.2)))


def of_kinds(labels: Tensor, voices: Tensor) -> Tensor:
    """The weight of each label in each voice, label by label: (batch, labels), (batch, voices) -> (batch, both)."""
    return (labels[:, :, None] * voices[:, None, :]).flatten(1)


class ConditionalNorm(nn.Module):
    """Scales each pixel's feature vector to unit mean square, then applies a gain and bias computed from the style.

    Unlike batch norm it treats the items of a batch independently and keeps no running statistics.
    """

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.5 / style**0.5)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gain, bias = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        x = x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt()
        return torch.addcmul(bias, x, 1 + gain)


class UpBlock(nn.Module):
    """Residual block that doubles both sides, with modulated 3x3 convolutions (BigGAN, arXiv:1809.11096, fig. 15)."""

    def __init__(self, before: int, after: int, style: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = ConditionalNorm(before, style), ConditionalNorm(after, style)
        self.conv_1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv_2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.conv_1(_double(F.leaky_relu(self.norm_1(x, style), 0.2)))
        h = self.conv_2(F.leaky_relu(self.norm_2(h, style), 0.2))
        return h + _double(self.skip(x))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")

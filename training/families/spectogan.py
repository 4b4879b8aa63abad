"""Trains SpectoGAN: first a conditional variational autoencoder, then WGAN-GP with its decoder as the generator.

The critic is a projection critic (Miyato and Koyama, 2018, arXiv:1802.05637) with an auxiliary label classifier (Odena
et al., 2017, arXiv:1610.09585) of labels or, where the speakers are known, of labels and voices. Real and generated
spectrograms are augmented alike in time and gain before it sees them, so that it does not memorise a small training set
(DiffAugment: Zhao et al., 2020, arXiv:2006.10738), and it sees how those of one kind differ.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.checkpoint import config_from_dict
from explorer.generators.base import Generator
from explorer.generators.spectogan import VOICE_SHARPNESS, SpectoGAN, SpectoGANConfig
from training.data.audio import prepare
from training.networks import ConditionalCritic, DownBlock, draw_groups, group_variance, he_normal, posterior
from training.options import Number
from training.parallel import rand, randint, randn
from training.task import Batch, Prepared, TrainingRecipe
from training.wgan_gp import AdversarialTask

WIDTH = 256  # features of critic and encoder
SMALLEST_VARIANCE = 1e-4  # of a pixel in a group, so that gradients stay finite
VIEW = MappingProxyType({"frames": 2, "bands": 0})  # how far the critic's views are moved; in pitch, voices would blur


class SpectoTask(AdversarialTask):
    """Trains SpectoGAN on mel spectrograms of short recordings, conditional on their labels if they have any."""

    family = "spectogan"
    summary = "a generator of short sounds (mel spectrograms), on a folder of recordings (e.g. spoken digits)"
    preparation = (
        "labels=A,B,... uses only these labels, in this order; sample_rate=HZ (default: 16000 if most files have that "
        "much, or else 8000); n_mels=N mel bands (default: 64); voices=no does not tell speakers apart, which is done "
        "where every file is named DIGIT_SPEAKER_TAKE"
    )
    numbers = MappingProxyType(
        {
            # With squared errors the evidence bound for Gaussian errors of standard deviation s has weight `2 * s**2`,
            # some 0.05 here, at which the latent collapses.
            "kl_weight": Number("weight, per pixel, of the KL divergence in the warm start", low=0)
        }
    )
    defaults = TrainingRecipe(
        batch_size=32,
        warm_steps=800,
        steps=4900,
        cooldown=700,
        critic_steps=2,
        warm_lr=5e-4,
        generator_lr=2e-4,
        critic_lr=4e-4,
        penalty_weight=10.0,
        penalty_every=4,
        auxiliary_weight=1.0,
        reconstruction_weight=1.0,
        reconstruction_every=8,
        ema_decay=0.998,
        snapshot_every=400,
        state_every=200,
        extra={"kl_weight": 0.01},
    )
    fine_tuning = replace(
        defaults,
        warm_steps=0,
        steps=400,
        head_start=100,
        cooldown=200,
        reconstruction_weight=0.0,
        generator_lr=1e-4,
        critic_lr=4e-4,
        ema_decay=0.98,
        snapshot_every=100,
        state_every=100,
    )

    def prepare(
        self, folder: Path, cache: Path, options: Mapping[str, str], like: SpectoGANConfig | None = None
    ) -> Prepared:
        return prepare(folder, cache, options, *((like.mel, like.labels, like.voices) if like else ()))

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        known = {name: data.meta[name] for name in ("mel", "labels", "voices") if name in data.meta}
        return SpectoGAN(config_from_dict(SpectoGAN.Config, {**asdict(SpectoGAN.Config()), **known, **overrides}))

    def critic(self, generator: Generator) -> nn.Module:
        kinds = len(generator.config.labels) * max(1, len(generator.config.voices))
        planes, *sides = generator.representation.shape
        return ConditionalCritic(Trunk((2 * planes, *sides)), WIDTH, kinds)

    def encoder(self, generator: Generator) -> nn.Module:
        return Encoder(generator.representation.shape, generator.latent.size)

    def draw(self, tensors: Mapping[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        """Groups of recordings of one label in one voice; every recording is equally likely."""
        if "condition" not in tensors:
            return super().draw(tensors, n, rng)
        condition = tensors["condition"]
        return draw_groups(condition, condition.new_ones(len(condition)), n, rng)

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        return Batch(tensors["x"][index], tensors["condition"][index] if "condition" in tensors else None)

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error plus the weighted KL divergence from the prior (Kingma and Welling, 2014).

        Where the voice is known the latent is given it, and the encoder learns to name it.
        """
        encoded = encoder(batch.x)
        labels, voices = _labels_and_voices(generator, batch.condition)
        figures = {}
        if voices is None:
            z, divergence = posterior(encoded, rng)
        else:
            n = voices.shape[1]
            of_voice, rest = encoded.float().unflatten(1, (2, -1)).split([n, encoded.shape[1] // 2 - n], dim=2)
            z, divergence = posterior(rest.flatten(1), rng)
            z = _choosing(voices, torch.cat([randn((len(z), n), rng), z], dim=1))
            figures["voice_loss"] = F.cross_entropy(VOICE_SHARPNESS * of_voice[:, 0], voices)
        output = generator(z, labels)
        # Not the absolute error: half of all pixels are silence, so it leads to their median -1, where tanh is flat
        # and the gradient vanishes.
        error = (output.float() - batch.x).square().mean()
        pixels = batch.x[0].numel()
        loss = error + recipe.extra["kl_weight"] * (divergence + sum(figures.values())) / pixels
        return loss, {"error": error, "divergence": divergence, **figures}

    def real_view(self, batch: Batch, encoder: nn.Module | None, rng: torch.Generator) -> Tensor:
        return _view(batch.x, rng)

    def fake_view(self, generator: Generator, z: Tensor, condition: Tensor | None, rng: torch.Generator) -> Tensor:
        labels, voices = _labels_and_voices(generator, condition)
        if voices is not None:
            z = _choosing(voices, z)
        return _view(generator(z, labels).float(), rng)


def _labels_and_voices(generator: Generator, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """What the data's condition asks for: labels (batch, labels), and voices (batch, voices) or None without."""
    voices = len(generator.config.voices)
    if condition is None or not voices:
        return condition, None
    both = condition.unflatten(1, (-1, voices))
    return both.sum(2), both.sum(1)


def _choosing(voices: Tensor, z: Tensor) -> Tensor:
    """Makes latents (batch, latent) choose the voices asked for (batch, voices), one-hot; where all are, any may be.

    The largest of a latent's first numbers changes places with that of the voice. Since every voice is equally likely
    under the prior, these are draws from the prior given the voice.
    """
    top = z[:, : voices.shape[1]].argmax(1, keepdim=True)
    index = torch.where(voices.amax(1, keepdim=True) > 0.5, voices.argmax(1, keepdim=True), top)
    return z.scatter(1, top, z.gather(1, index)).scatter(1, index, z.gather(1, top))


def _view(x: Tensor, rng: torch.Generator) -> Tensor:
    """What the critic sees: items (batch, 1, n_mels, frames), augmented, and how a group differs, pixel by pixel.

    Returns:
        (batch, 2, n_mels, frames).
    """
    deviation = (group_variance(x) + SMALLEST_VARIANCE).sqrt()
    return torch.cat([augment(x, rng, **VIEW), deviation], dim=1)


def augment(x: Tensor, rng: torch.Generator, frames: int = 4, bands: int = 1, gain: float = 0.1) -> Tensor:
    """Shifts each item in time and pitch and changes its loudness, differentiably, by random amounts.

    Args:
        x: (batch, 1, n_mels, frames) in [-1, 1], where -1 is silence.
        frames, bands: the largest shift. In time the gap is filled with silence, in pitch with the value at the edge.
        gain: the largest relative change of the distance from silence.
    """
    stretch = 1 + gain * (2 * rand((len(x), 1, 1, 1), rng) - 1)
    return (_move(x, frames, bands, rng) + 1) * stretch - 1


def _move(x: Tensor, frames: int, bands: int, rng: torch.Generator) -> Tensor:
    n, _, height, width = x.shape
    across = randint(-frames, frames + 1, (n, 1), rng)
    up = randint(-bands, bands + 1, (n, 1), rng)
    columns = (torch.arange(width, device=x.device) + across + frames).clamp(0, width + 2 * frames - 1)
    rows = (torch.arange(height, device=x.device) + up).clamp(0, height - 1)
    padded = F.pad(x[:, 0], (frames, frames), value=-1.0)
    item = torch.arange(n, device=x.device)[:, None, None]
    return padded[item, rows[:, :, None], columns[:, None, :]][:, None]


class Trunk(nn.Module):
    """Convolutional features of spectrograms: (batch, 1, bands, frames) -> (batch, width).

    There is no normalisation, so that no item of a batch affects another.
    """

    def __init__(
        self, shape: tuple[int, ...], channels: tuple[int, ...] = (64, 128, 192, 256), width: int = WIDTH
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(shape[0], channels[0], 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(channels)))
        coarse = [side // 2 ** len(channels) for side in shape[1:]]
        self.last = nn.Linear(channels[-1] * coarse[0] * coarse[1], width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.blocks(self.first(x.contiguous(memory_format=torch.channels_last)))
        return F.leaky_relu(self.last(F.leaky_relu(h, 0.2).flatten(1)), 0.2)


class Encoder(nn.Module):
    """The VAE's encoder: (batch, 1, bands, frames) -> (batch, 2 * latent), mean and log-variance of the latent."""

    def __init__(self, shape: tuple[int, ...], latent: int) -> None:
        super().__init__()
        self.trunk = Trunk(shape)
        self.head = nn.Linear(WIDTH, 2 * latent)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))

"""Trains GANSynth: first a conditional variational autoencoder, then WGAN-GP with its decoder as the generator.

Critic and encoder see log-magnitude and, under a soft mask, the frequency as a deviation from that of the nearest
partial: where it is nearly silent, frequency is noise. The critic is a projection critic (Miyato and Koyama, 2018,
arXiv:1802.05637) with an auxiliary pitch classifier and the deviation within groups of notes of one pitch (Karras et
al., 2018, arXiv:1710.10196).

That a latent is one timbre on all keys is learned twice: the autoencoder reconstructs a note from another key of the
same instrument, and the encoder has to find in a generated note the latent that it was made from.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.checkpoint import config_from_dict
from explorer.generators.base import Generator
from explorer.generators.gansynth import GANSynth, GANSynthConfig, Partials, rows
from explorer.sound.spectrum import SpectrumConfig, SpectrumRepresentation
from training import parallel
from training.data.audio import Waveforms, agreed, load_waveforms
from training.data.pitched import KEYS, notes
from training.latents import draw_latents
from training.networks import GROUP, DownBlock, draw_groups, group_variance, he_normal, posterior
from training.options import Number
from training.parallel import randint, randn
from training.runs import TrainingError
from training.task import Batch, DataError, Prepared, TrainingRecipe
from training.wgan_gp import WGANGP, AdversarialTask, Networks

NEAR = 12  # rows of an instrument, sorted by pitch, between a note and the one it is reconstructed from
AUDIBLE, SOFTNESS = 1e-3, 0.6  # magnitude (of a full-scale sine: 1) at which the mask is a half; its width in nepers
EQUALISER = 0.01  # deviation of each of three curves, as a share of the distance from silence
BANDS = 4  # whose levels over time the critic sees
PLANES = 3  # of a view


@dataclass(frozen=True)
class NoteBatch(Batch):
    """A batch with another note of each one's instrument, and its pitch."""

    other: Tensor = field(kw_only=True)
    other_condition: Tensor = field(kw_only=True)


class SynthTask(AdversarialTask):
    """Trains GANSynth on notes, conditional on their pitches."""

    family = "gansynth"
    summary = "an instrument (spectra with frequency), on folders of notes, NSynth, or SoundFonts"
    preparation = "labels=60,62,... uses only these keys, as MIDI note numbers; sample_rate=HZ (default: 16000)"
    many_sources = True
    numbers = MappingProxyType(
        {
            "kl_weight": Number("weight, per pixel, of the KL divergence in the warm start", low=0),
            "frequency_weight": Number("weight of errors of frequency beside those of level", low=0),
            "consistency_weight": Number("weight of the distance between a latent and the one heard", low=0),
        }
    )
    defaults = TrainingRecipe(
        batch_size=64,
        warm_steps=2000,
        steps=12_000,
        cooldown=3000,
        critic_steps=2,
        warm_lr=5e-4,
        generator_lr=2e-4,
        critic_lr=2e-4,
        penalty_weight=10.0,
        penalty_every=2,
        auxiliary_weight=1.0,
        reconstruction_weight=4.0,
        reconstruction_every=4,
        ema_decay=0.999,
        snapshot_every=1000,
        state_every=500,
        extra={"kl_weight": 0.1, "frequency_weight": 0.05, "consistency_weight": 0.2},
    )
    fine_tuning = replace(
        defaults,
        batch_size=32,
        warm_steps=0,
        steps=400,
        head_start=100,
        cooldown=200,
        reconstruction_weight=0.0,
        generator_lr=1e-4,
        ema_decay=0.98,
        snapshot_every=100,
        state_every=100,
        extra={**defaults.extra, "consistency_weight": 0.0},
    )

    spectrum = SpectrumConfig()  # that of the objective's generator

    def prepare(
        self, folders: Any, cache: Path, options: Mapping[str, str], like: GANSynthConfig | None = None
    ) -> Prepared:
        spectrum = like.spectrum if like else SpectrumConfig()
        rate = {"sample_rate": str(spectrum.sample_rate)}
        options = agreed(options, rate) if like else {**rate, **options}
        keys = like.pitches if like else KEYS
        clips = load_waveforms(folders, cache, options, notes(spectrum.samples))
        if outside := [label for label in clips.meta["labels"] if int(label) not in keys]:
            raise DataError(
                f"the checkpoint has the keys {keys[0]} to {keys[-1]}, not {', '.join(outside)}; leave them out with "
                "--prepare labels=…"
            )
        train, valid = _tensors(clips, "train", keys), _tensors(clips, "valid", keys)
        return Prepared(train, valid, {**clips.meta, "lowest": keys[0], "highest": keys[-1]})

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        known = {"lowest": data.meta["lowest"], "highest": data.meta["highest"]}
        made = GANSynth(config_from_dict(GANSynthConfig, {**asdict(GANSynthConfig()), **overrides, **known}))
        expected, found = made.config.spectrum, (data.meta["sample_rate"], data.train["x"].shape[1])
        if (expected.sample_rate, expected.samples) != found:
            raise ValueError(f"the notes have {found[1]} samples at {found[0]} Hz, the spectrum {expected.samples}")
        return made

    def objective(
        self, recipe: TrainingRecipe, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> WGANGP:
        if recipe.batch_size % (size := GROUP * parallel.world_size()):
            raise TrainingError(
                f"--batch-size is a multiple of {size}, since the critic compares {GROUP} notes of one pitch; "
                f"{recipe.batch_size} is not"
            )
        made = super().objective(recipe, data, config, device, bfloat16)
        self.spectrum = made.generator.config.spectrum
        return made

    def critic(self, generator: Generator) -> nn.Module:
        return Critic(generator.config)

    def encoder(self, generator: Generator) -> nn.Module:
        return Encoder(generator.config)

    def draw(self, tensors: Mapping[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        """Groups of notes of one pitch; families are equally likely, and so are the instruments of a family."""
        return draw_groups(tensors["condition"], tensors["weight"], n, rng)

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> NoteBatch:
        moved = tensors["rank"][index] + randint(-NEAR, NEAR + 1, (len(index),), rng)
        other = tensors["order"][moved.clamp(tensors["first"][index], tensors["last"][index])]
        waveforms = tensors["x"][torch.cat([index, other])].float()
        x = SpectrumRepresentation(self.spectrum).analyse(waveforms)
        condition = tensors["condition"]
        return NoteBatch(x[: len(index)], condition[index], other=x[len(index) :], other_condition=condition[other])

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of level, error of frequency where it is heard, and the weighted KL divergence."""
        assert isinstance(batch, NoteBatch)
        seen = view(batch.other, batch.other_condition, generator.config)
        z, divergence = posterior(encoder(seen), rng)
        output = generator(z, batch.condition).float()
        error = (output[:, 0] - batch.x[:, 0]).square().mean()
        heard = audible(batch.x[:, 0], generator.config.spectrum)
        turned = 1 - torch.cos(math.pi * (output[:, 1] - batch.x[:, 1]))
        frequency = (heard * turned).sum() / heard.sum().clamp_min(1)
        pixels = heard[0].numel()
        loss = error + recipe.extra["frequency_weight"] * frequency + recipe.extra["kl_weight"] * divergence / pixels
        return loss, {"error": error, "frequency_error": frequency, "divergence": divergence}

    def matching_loss(
        self, networks: Networks, tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """How far the latent that the encoder hears in generated notes is from the one that they were made from."""
        generator, _, encoder = networks
        weight = recipe.extra["consistency_weight"]
        if encoder is None or not weight:
            return {}
        n = max(1, recipe.batch_size // parallel.world_size() // 2)
        condition = tensors["condition"][self.draw(tensors, n, rng)]
        z = draw_latents(generator.latent, n, rng)
        heard = encoder(view(generator(z, condition), condition, generator.config)).float().chunk(2, dim=1)[0]
        return {"consistency_loss": weight * (heard - z).square().mean()}

    def real_view(self, batch: Batch, encoder: nn.Module | None, rng: torch.Generator) -> Tensor:
        assert isinstance(encoder, Encoder)
        assert batch.condition is not None
        return equalised(view(batch.x, batch.condition, encoder.config), rng)

    def fake_view(self, generator: Generator, z: Tensor, condition: Tensor | None, rng: torch.Generator) -> Tensor:
        assert condition is not None
        return equalised(view(generator(z, condition), condition, generator.config), rng)


def _tensors(clips: Waveforms, split: str, keys: range) -> dict[str, Tensor]:
    """The tensors of a split; families, and the instruments of each, share the weight equally.

    "order" sorts the notes by instrument and pitch, "rank" is their place there, and "first" and "last" are those of
    their instrument's outermost notes.
    """
    x, labels, sources = (getattr(clips, f"{split}{part}") for part in ("", "_labels", "_sources"))
    families = [source.split(": ")[0] for source in clips.meta["sources"]]
    pitch = torch.tensor([int(label) for label in clips.meta["labels"]])[labels] - keys[0]
    order = torch.argsort(sources * 128 + pitch, stable=True)
    last = torch.searchsorted(sources[order], sources, right=True) - 1
    first = torch.searchsorted(sources[order], sources)
    present = set(sources.tolist())
    instruments = {family: sum(families[k] == family for k in present) for family in {families[k] for k in present}}
    share = torch.tensor([1 / instruments[f] if k in present else 0.0 for k, f in enumerate(families)])
    weight = share[sources] / (last - first + 1) / max(1, len(instruments))
    condition = F.one_hot(pitch, len(keys)).float()
    places = {"order": order, "rank": torch.argsort(order), "first": first, "last": last}
    return {"x": x, "condition": condition, "weight": weight, **places}


def audible(level: Tensor, spectrum: SpectrumConfig) -> Tensor:
    """A soft mask of what is heard: the first plane of spectra, of any shape -> [0, 1]."""
    magnitude = SpectrumRepresentation(spectrum).magnitude(level) + spectrum.floor
    return torch.sigmoid((magnitude.log() - math.log(AUDIBLE)) / SOFTNESS)


def view(x: Tensor, condition: Tensor, config: GANSynthConfig) -> Tensor:
    """What critic and encoder see: (batch, 2, bins, frames), (batch, pitches) -> (batch, 3, bins, frames).

    The planes are level, and the phase's advance beyond the nearest partial's as cosine and sine under a soft mask.
    """
    with torch.autocast(x.device.type, enabled=False):
        level, frequency = x.float().unbind(1)
        _, advance = _partials(config, x.device)(condition)
        heard, angle = audible(level, config.spectrum), math.pi * (frequency - advance)
        return torch.stack([level, heard * angle.cos(), heard * angle.sin()], dim=1)


@lru_cache(maxsize=8)  # or each step would wait for a copy to the device
def _partials(config: GANSynthConfig, device: torch.device) -> Partials:
    return Partials(config).to(device)


def equalised(seen: Tensor, rng: torch.Generator) -> Tensor:
    """Changes the level of each view by a random smooth curve over frequency, differentiably.

    No curve is constant: notes all have one loudness, which a random gain would hide from the critic.
    """
    along = torch.linspace(0, math.pi, seen.shape[2], device=seen.device)
    curves = torch.cos(torch.arange(1, 4, device=seen.device)[:, None] * along)
    curve = EQUALISER * (randn((len(seen), 3), rng) @ curves)[:, None, :, None]
    return torch.cat([(seen[:, :1] + 1) * (1 + curve) - 1, seen[:, 1:]], dim=1)


def deviation(x: Tensor) -> Tensor:
    """Mean standard deviation within groups (`group_variance`): (batch, …) -> (batch,)."""
    return (group_variance(x.float().flatten(1)) + 1e-8).sqrt().mean(1)


def envelopes(seen: Tensor, spectrum: SpectrumConfig) -> Tensor:
    """Log power over time, of bands and of all: views (batch, 3, bins, frames) -> (batch, BANDS + 1, frames).

    Silence is -1 and a full-scale sine near 1.

    Convolutions hardly see that a level ripples from frame to frame.
    """
    with torch.autocast(seen.device.type, enabled=False):
        power = SpectrumRepresentation(spectrum).magnitude(seen[:, 0].float()).square()
        bands = [band.sum(1) for band in (*power.tensor_split(BANDS, dim=1), power)]
        return (torch.stack(bands, dim=1) + spectrum.floor**2).log() / -math.log(spectrum.floor) + 1


class Trunk(nn.Module):
    """Convolutional features of views, (batch, 3, bins, frames): (batch, channels, rows, frames).

    It mirrors the generator: as many channels at every resolution, from the last to the coarsest.
    """

    def __init__(self, config: GANSynthConfig) -> None:
        super().__init__()
        channels = config.channels[-2::-1]
        self.group = config.group
        self.first = nn.Conv2d(PLANES * self.group, channels[0], 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(channels)))
        self.shape = (channels[-1], *config.coarse)

    def forward(self, seen: Tensor) -> Tensor:
        x = self.first(rows(seen, self.group).contiguous(memory_format=torch.channels_last))
        return F.leaky_relu(self.blocks(x), 0.2)


class Critic(nn.Module):
    """Scores how real a note is for its pitch, and classifies its pitch (auxiliary classifier)."""

    def __init__(self, config: GANSynthConfig, width: int = 256) -> None:
        super().__init__()
        self.trunk = Trunk(config)
        self.spectrum = config.spectrum
        self.last = nn.Linear(math.prod(self.trunk.shape) + 1 + (BANDS + 1) * self.spectrum.frames, width)
        self.score = nn.Linear(width, 1)
        self.projection = nn.Linear(len(config.pitches), width, bias=False)
        self.classify = nn.Linear(math.prod(self.trunk.shape), len(config.pitches))
        he_normal(self)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, bins, frames), (batch, pitches) -> scores (batch,), logits (batch, pitches)."""
        h = self.trunk(x).flatten(1)
        statistics = torch.cat([deviation(h)[:, None], envelopes(x, self.spectrum).flatten(1)], dim=1)
        both = F.leaky_relu(self.last(torch.cat([h, statistics.to(h)], dim=1)), 0.2)
        return self.score(both)[:, 0] + (self.projection(condition) * both).sum(1), self.classify(h)


class Encoder(nn.Module):
    """The VAE's encoder: (batch, 3, bins, frames) -> (batch, 2 * latent), mean and log-variance of the latent."""

    def __init__(self, config: GANSynthConfig, width: int = 256) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.last = nn.Linear(math.prod(self.trunk.shape), width)
        self.head = nn.Linear(width, 2 * config.latent)
        he_normal(self)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(F.leaky_relu(self.last(self.trunk(x).flatten(1)), 0.2))
        return out

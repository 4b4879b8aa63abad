"""How PianoGAN is trained: a warm start as note autoencoder and rectified flow, then WGAN-GP on notes and codes.

The warm start teaches two things at once: the decoder (with an encoder that is used nowhere else) to read four notes
off each step of a noisy code, and the mover to carry noise to codes (flow matching: Lipman et al., 2023,
arXiv:2210.02747). The adversarial phase then runs the generator as it will be played, in its few steps, and a critic
that sees the decoded notes beside the codes teaches it what those few steps miss. Beside the critic the generator is
pulled to where windows are described as real ones are (`window_statistics.Descriptors`): the critic alone goes round in
circles about them (EXPERIMENTS.md).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Generator
from explorer.generators.pianogan import FOLD, PianoGAN, PianoGANConfig, ResidualBlock, fold, unfold
from explorer.sound.notes import CHANNELS, CHORD_BELOW, KEYS, LOWEST, NOTES, STEP, encode_notes
from training import parallel
from training.data import midi
from training.families.window_statistics import (
    Descriptors,
    NoteAttributes,
    Novelty,
    WindowStatistics,
    quantile_distance,
)
from training.initialize import he_normal
from training.latents import balanced_latents, draw_latents
from training.options import Number
from training.parallel import rand, randn
from training.task import Batch, DataError, Prepared, Task, TrainingRecipe

# How far a window is changed at most, either way. Little: held-out music is to be met in its own keys and tempi.
TRANSPOSE, TEMPO, LOUDNESS = 2.5, 0.05, 4.0  # semitones, logarithm, velocity
REAL = 16  # windows of the training set are described for each generated one that is compared with them


class PianoTask(Task):
    """Notes in windows of 256."""

    family = "pianogan"
    summary = "256 piano notes, from a folder of MIDI (MAESTRO)"
    numbers = MappingProxyType(
        {
            "code_noise": Number("deviation of the noise on codes in the warm start", low=0),
            "matching_weight": Number("weight of the distance between generated and real windows' descriptions", low=0),
            "matching_windows": Number(
                "windows generated for that at each step: few are mostly noise, and each takes 15 MB of memory",
                low=1,
                high=4096,
            ),
        }
    )
    defaults = TrainingRecipe(
        batch_size=64,
        warm_steps=2200,
        steps=3000,
        critic_steps=2,
        warm_lr=1e-3,
        generator_lr=1e-4,
        critic_lr=2e-4,
        cooldown=1500,
        penalty_weight=10.0,
        penalty_every=8,
        reconstruction_weight=1.0,
        reconstruction_every=8,
        ema_decay=0.99,
        extra={"code_noise": 0.5, "matching_weight": 5000.0, "matching_windows": 128.0},
    )
    fine_tuning = replace(
        defaults,
        warm_steps=400,
        steps=200,
        head_start=100,
        cooldown=100,
        warm_lr=2e-4,
        generator_lr=5e-5,
        reconstruction_every=4,
        snapshot_every=100,
        state_every=100,
    )

    def __init__(self) -> None:
        self.descriptors = Descriptors()
        self.real: Tensor | None = None  # descriptions of real windows, each number in ascending order

    def prepare(self, folder: Path, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        if options:
            raise DataError(f"pianogan has no preparation option {', '.join(options)}")
        return midi.prepare(folder, cache)

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        return PianoGAN(replace(PianoGANConfig(), **overrides))

    def critic(self, generator: Generator) -> nn.Module:
        return PianoCritic(_code_size(generator))

    def encoder(self, generator: Generator) -> nn.Module | None:
        size = _code_size(generator)
        return NoteEncoder(size, generator.config.decoder_width) if size else None

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        """Windows of 256 notes, each transposed, quickened and strengthened a little, as another pianist might."""
        at = tensors["start"][index][:, None] + torch.arange(NOTES, device=index.device)
        pitch, velocity = (tensors[name][at].int() for name in ("pitch", "velocity"))

        def shift(most: float) -> Tensor:
            return (rand((len(index), 1), rng) * 2 - 1) * most

        pitch = pitch + shift(TRANSPOSE).round().int()
        low, high = pitch.amin(1, keepdim=True) - LOWEST, pitch.amax(1, keepdim=True) - LOWEST - KEYS + 1
        pitch = pitch - low.clamp_max(0) - high.clamp_min(0)  # back onto the keyboard, as a whole
        velocity = (velocity + shift(LOUDNESS).round().int()).clamp(1, 127)
        tempo = shift(TEMPO).exp()
        return Batch(encode_notes(pitch, tensors["step"][at] * tempo, tensors["duration"][at] * tempo, velocity))

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(generator, PianoGAN)
        codes = encoder(fold(batch.x))
        some = codes[::2]  # notes are learned sooner than the flow, so they get less of the time
        decoded = generator.decoder(some + recipe.extra["code_noise"] * randn(some.shape, rng)).float()
        notes, figures = reconstruction_loss(decoded, batch.x[::2])
        flow = flow_loss(generator, codes.detach().float(), rng)
        return notes + flow, {**figures, "flow": flow}

    def real_view(self, batch: Batch, encoder: nn.Module | None, rng: torch.Generator) -> Tensor:
        if encoder is None:
            return fold(batch.x)
        return _view(batch.x, encoder(fold(batch.x)))

    def fake_view(self, generator: Generator, z: Tensor, condition: Tensor | None, rng: torch.Generator) -> Tensor:
        assert isinstance(generator, PianoGAN)
        if generator.config.architecture == "dcgan":
            return fold(generator(z))
        codes = generator.codes(z)
        return _view(ascending(generator.harden(generator.playable(generator.decoder(codes)))), codes)

    def matching_loss(
        self, generator: Generator, tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> Tensor | None:
        numbers = {**self.defaults.extra, "matching_weight": 0.0, **recipe.extra}  # a run may be older than they
        weight, pairs = numbers["matching_weight"], 2 * parallel.ranks()
        windows = max(1, int(numbers["matching_windows"]) // pairs) * pairs
        if not weight:
            return None
        z = balanced_latents(generator.latent, windows // parallel.ranks(), rng)
        found = self.described(self.fake_view(generator, z, None, rng))
        if self.real is None:
            self.real = self.real_descriptions(tensors, REAL * windows, recipe.seed, rng.device)
        return weight * quantile_distance(found, parallel.gathered(found), self.real)

    def described(self, view: Tensor) -> Tensor:
        """Views as the critic sees them -> (batch, numbers)."""
        notes = unfold(view[:, : FOLD * CHANNELS])
        found: Tensor = self.descriptors.to(view.device)(*shares(notes))
        return found

    @torch.no_grad()
    def real_descriptions(self, tensors: Mapping[str, Tensor], windows: int, seed: int, device: torch.device) -> Tensor:
        """(windows, numbers), each column ascending. The same for every step of a run, resumed or not."""
        rng = torch.Generator(device).manual_seed(seed)
        size = (64 // parallel.ranks(),)
        draws = (parallel.randint(0, len(tensors["start"]), size, rng) for _ in range(math.ceil(windows / 64)))
        found = [self.described(fold(self.batch(tensors, index, rng).x)) for index in draws]
        return parallel.gathered(torch.cat(found)).sort(0).values


def shares(x: Tensor) -> tuple[Tensor, Tensor]:
    """Notes (batch, 91, 256) as shares of keys (batch, 88, 256) in [0, 1], and times (batch, 3, 256)."""
    return (x[:, :KEYS] + 1) / 2, x[:, KEYS:]


def _code_size(generator: Generator) -> int:
    config: PianoGANConfig = generator.config
    return config.code_size if config.architecture == "flow" else 0


def _view(x: Tensor, codes: Tensor) -> Tensor:
    """Notes (batch, 91, 256) and codes (batch, code, 1, 64) -> (batch, 4 * 91 + code, 1, 64)."""
    return torch.cat([fold(x), codes.float()], dim=1)


def ascending(x: Tensor) -> Tensor:
    """Notes (batch, 91, 256) with those of a chord in the order of their keys, as real ones are written; steps stay."""
    chord = x[:, STEP] < CHORD_BELOW
    order = ((~chord).cumsum(1) * KEYS + x[:, :KEYS].argmax(1)).argsort(dim=1, stable=True)
    moved = x.gather(2, order[:, None].expand_as(x))
    return torch.cat([moved[:, :STEP], x[:, STEP : STEP + 1], moved[:, STEP + 1 :]], dim=1)


def reconstruction_loss(decoded: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy of the pitches plus the weighted distance of step, duration and velocity.

    Args:
        decoded: (batch, 91, 256), the decoder's output before softmax and tanh; x: the notes it should give.
    """
    keys = x[:, :KEYS].argmax(1)
    times, found = x[:, KEYS:], decoded[:, KEYS:].tanh()
    pitch = F.cross_entropy(decoded[:, :KEYS], keys)
    distance = F.smooth_l1_loss(found, times, beta=0.1, reduction="none").mean((0, 2))
    chord = ((found[:, 0] < CHORD_BELOW) == (times[:, 0] < CHORD_BELOW)).float().mean()
    figures = {
        "pitch_accuracy": (decoded[:, :KEYS].argmax(1) == keys).float().mean(),
        "chord_accuracy": chord,
        "step_error": distance[0],
        "duration_error": distance[1],
        "velocity_error": distance[2],
    }
    return pitch + 5 * (2 * distance[0] + distance[1] + distance[2]), figures


def flow_loss(generator: PianoGAN, codes: Tensor, rng: torch.Generator) -> Tensor:
    """Squared distance of the mover's velocity from that of the straight way from noise to codes, at a random time.

    Times are logit-normal, which puts more of them in the middle (Esser et al., 2024, arXiv:2403.03206).
    """
    noise = generator.field(draw_latents(generator.latent, len(codes), rng))
    t = randn((len(codes),), rng).sigmoid()
    way = codes - noise
    velocity: Tensor = generator.mover(noise + t[:, None, None, None] * way, t).float()
    return (velocity - way).square().mean()


class NoteEncoder(nn.Module):
    """Folded notes (batch, 364, 1, 64) -> codes (batch, code, 1, 64), each channel with mean 0 and variance 1."""

    def __init__(self, code_size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(FOLD * CHANNELS, width, (1, 3), padding=(0, 1)),
            ResidualBlock(width),
            ResidualBlock(width),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, code_size, 1),
            nn.BatchNorm2d(code_size, affine=False),
        )

    def forward(self, notes: Tensor) -> Tensor:
        codes: Tensor = self.layers(notes)
        return codes


class PianoCritic(nn.Module):
    """Scores views (batch, 4 * 91 + code, 1, 64): convolutions down to 8 steps, and statistics of the whole window.

    The statistics are what it learns from first: convolutions alone needed thousands of updates to see what gives
    generated music away (EXPERIMENTS.md). No norm couples items or hides their level.
    """

    def __init__(self, code_size: int, width: int = 192) -> None:
        super().__init__()
        self.attributes = NoteAttributes()
        self.novelty = Novelty()
        self.statistics = WindowStatistics()
        inputs = FOLD * (CHANNELS + NoteAttributes.SIZE + Novelty.SIZE) + code_size
        self.enter = nn.Conv2d(inputs, width, (1, 3), padding=(0, 1))
        self.blocks = nn.ModuleList(CriticBlock(width) for _ in range(3))
        self.pooled = nn.Conv2d(4 * width, width, 1)
        self.leave = nn.Linear(width * 8 + width, 1)
        self.judge = nn.Sequential(
            nn.Linear(WindowStatistics.SIZE + 8 * Novelty.SIZE + NOTES, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )
        he_normal(self)

    def forward(self, view: Tensor, condition: Tensor | None = None) -> tuple[Tensor, None]:
        keys, times = shares(unfold(view[:, : FOLD * CHANNELS]))
        attributes, (novelty, returns) = self.attributes(keys, times), self.novelty(keys)
        x = F.leaky_relu(self.enter(torch.cat([view, fold(attributes), fold(novelty)], dim=1)), 0.2)
        means = [x.mean(3, keepdim=True)]
        for block in self.blocks:
            x = block(x)
            means.append(x.mean(3, keepdim=True))
        whole = F.leaky_relu(self.pooled(torch.cat(means, dim=1)), 0.2)
        local = self.leave(torch.cat([x.flatten(1), whole.flatten(1)], dim=1))
        seen = torch.cat([self.statistics(keys, attributes), F.avg_pool1d(novelty, 32).flatten(1) * 4, returns], dim=1)
        return (local + self.judge(seen)).squeeze(1), None


class CriticBlock(nn.Module):
    """Residual, halving the time steps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, width, (1, 5), padding=(0, 2))
        self.second = nn.Conv2d(width, width, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.second(F.leaky_relu(self.wide(x), 0.2)), 0.2)
        return F.avg_pool2d((x + h) * 0.7, (1, 2))

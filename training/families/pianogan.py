"""Trains PianoGAN: a warm start, then WGAN-GP with distances between sets of windows.

`autoregressive`: the warm start is all: the generator learns how likely each note is after those before it.

`flow`: the warm start trains two parts at once. The decoder, with an encoder, learns to decode four notes from each
step of a noisy code. The mover learns to transport noise to codes (flow matching: Lipman et al., 2023,
arXiv:2210.02747). In the adversarial phase the generator runs in the few flow steps that it is played with, and the
critic sees the decoded notes and the codes. A matching loss also brings statistics of generated windows
(`window_statistics.Descriptors`) to those of real ones, which the critic alone did not achieve (EXPERIMENTS.md).
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
from explorer.generators.note_tokens import tokens
from explorer.generators.performer import Course
from explorer.generators.pianogan import AUTOREGRESSIVE, FOLD, PianoGAN, PianoGANConfig, ResidualBlock, fold, unfold
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
from training.latents import balanced_latents, draw_latents
from training.networks import he_normal
from training.options import Number
from training.parallel import rand, randn
from training.runs import TrainingError
from training.task import Batch, DataError, Prepared, TrainingRecipe
from training.wgan_gp import WGANGP, AdversarialTask, Networks

# Largest augmentation of a window, up or down: semitones, logarithm of tempo, velocity. Small, so that keys and tempi
# stay those of real music; an autoregressive network would otherwise know the training set by heart.
AUGMENTED, AUGMENTED_MORE = (2.5, 0.05, 4.0), (6.5, 0.1, 6.0)
PERFORMER = {"latent_size": Course.SIZE, "width": 128, "blocks": 3, "decoder_width": 160}  # of an autoregressive piano
MEASURED = 4096  # windows whose course is measured
COURSE_SHARE = 0.9  # of the variance of a course that is told; the rest is noise, so that it need not be met exactly
DROPOUT = 0.05
REAL_PER_GENERATED = 16  # real windows whose descriptors are computed, for each generated window of a step


class PianoTask(AdversarialTask):
    """Trains PianoGAN on windows of 256 notes."""

    family = "pianogan"
    summary = "a generator of piano music, 256 notes at a time, on a folder of MIDI files (e.g. MAESTRO)"
    numbers = MappingProxyType(
        {
            "code_noise": Number("standard deviation of the noise on codes in the warm start", low=0),
            "matching_weight": Number(
                "weight of the matching loss between statistics of generated and real windows", low=0
            ),
            "matching_windows": Number(
                "windows generated at each step for the matching loss: few make it noisy, each takes 15 MB of memory",
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
        self.real: Tensor | None = None  # descriptors of real windows, (windows, numbers), each column sorted
        self.performed = False  # whether notes have touch and the lengths that the pedal gives

    def prepare(self, folder: Path, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        if options:
            raise DataError(f"pianogan has no preparation options: leave out --prepare {', '.join(options)}")
        return midi.prepare(folder, cache)

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        self.performed = overrides.get("architecture") == AUTOREGRESSIVE
        usual = PERFORMER if self.performed else {}
        generator = PianoGAN(replace(PianoGANConfig(), **{**usual, **overrides}))
        if self.performed:
            generator.performer.dropout = DROPOUT
            self._measure(generator, data.train)
        return generator

    @torch.no_grad()
    def _measure(self, generator: PianoGAN, tensors: Mapping[str, Tensor]) -> None:
        """Shows real windows to the generator's `Course`, spread evenly over the training set."""
        even = torch.linspace(0, len(tensors["start"]) - 1, MEASURED).long()
        rng = torch.Generator().manual_seed(0)
        generator.course.measure(torch.cat([tokens(self.batch(tensors, index, rng).x) for index in even.split(256)]))

    def objective(
        self, recipe: TrainingRecipe, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> WGANGP:
        if config.get("architecture") == AUTOREGRESSIVE and recipe.steps:
            raise TrainingError(
                "an autoregressive piano learns in its warm start alone: give its length by --warm-steps, and --steps 0"
            )
        return super().objective(recipe, data, config, device, bfloat16)

    def critic(self, generator: Generator) -> nn.Module:
        return PianoCritic(_code_size(generator))

    def encoder(self, generator: Generator) -> nn.Module | None:
        if self.performed:
            return nn.Identity()  # notes are learned as they are
        size = _code_size(generator)
        return NoteEncoder(size, generator.config.decoder_width) if size else None

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        """Windows of 256 notes, each with small random changes of key, tempo and velocity."""
        at = tensors["start"][index][:, None] + torch.arange(NOTES, device=index.device)
        pitch, velocity = (tensors[name][at].int() for name in ("pitch", "velocity"))

        def shift(most: float) -> Tensor:
            return (rand((len(index), 1), rng) * 2 - 1) * most

        transpose, faster, louder = AUGMENTED_MORE if self.performed else AUGMENTED
        pitch = pitch + shift(transpose).round().int()
        low, high = pitch.amin(1, keepdim=True) - LOWEST, pitch.amax(1, keepdim=True) - LOWEST - KEYS + 1
        pitch = pitch - low.clamp_max(0) - high.clamp_min(0)  # shift the whole window back onto the keyboard
        velocity = (velocity + shift(louder).round().int()).clamp(1, 127)
        tempo = shift(faster).exp()
        step = tensors["step"][at] * tempo
        if self.performed:
            return Batch(encode_notes(pitch, step, tensors["sounding"][at] * tempo, velocity, tensors["touch"][at]))
        return Batch(encode_notes(pitch, step, tensors["duration"][at] * tempo, velocity))

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(generator, PianoGAN)
        if self.performed:
            notes = tokens(batch.x)
            with torch.autocast(notes.device.type, enabled=False):
                course = generator.course(notes)
            blurred = COURSE_SHARE**0.5 * course + (1 - COURSE_SHARE) ** 0.5 * randn(course.shape, rng)
            losses = generator.performer.likelihoods(notes, blurred)
            return torch.stack(list(losses.values())).sum(), losses
        codes = encoder(fold(batch.x))
        half = codes[::2]  # notes are learned sooner than the flow, so half of the batch is enough
        decoded = generator.decoder(half + recipe.extra["code_noise"] * randn(half.shape, rng)).float()
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
        self, networks: Networks, tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> dict[str, Tensor]:
        # The recipe of an older run may lack some.
        numbers = {**self.defaults.extra, "matching_weight": 0.0, **recipe.extra}
        losses: dict[str, Tensor] = {}
        generator = networks.generator
        if weight := numbers["matching_weight"]:
            pairs = 2 * parallel.world_size()
            windows = max(1, int(numbers["matching_windows"]) // pairs) * pairs
            z = balanced_latents(generator.latent, windows // parallel.world_size(), rng)
            found = self.described(self.fake_view(generator, z, None, rng))
            if self.real is None:
                self.real = self.real_descriptions(tensors, REAL_PER_GENERATED * windows, recipe.seed, rng.device)
            losses["matching_loss"] = weight * quantile_distance(found, parallel.gathered(found), self.real)
        return losses

    def described(self, view: Tensor) -> Tensor:
        """The descriptors (batch, numbers) of the critic's inputs."""
        notes = unfold(view[:, : FOLD * CHANNELS])
        found: Tensor = self.descriptors.to(view.device)(*shares(notes))
        return found

    @torch.no_grad()
    def real_descriptions(self, tensors: Mapping[str, Tensor], windows: int, seed: int, device: torch.device) -> Tensor:
        """The descriptors (windows, numbers) of real windows, each column sorted; the same at every step of a run."""
        rng = torch.Generator(device).manual_seed(seed)
        size = (64 // parallel.world_size(),)
        draws = (parallel.randint(0, len(tensors["start"]), size, rng) for _ in range(math.ceil(windows / 64)))
        found = [self.described(fold(self.batch(tensors, index, rng).x)) for index in draws]
        return parallel.gathered(torch.cat(found)).sort(0).values


def shares(x: Tensor) -> tuple[Tensor, Tensor]:
    """Splits notes (batch, 91, 256) into key probabilities (batch, 88, 256) in [0, 1], and step, duration and
    velocity (batch, 3, 256)."""
    return (x[:, :KEYS] + 1) / 2, x[:, KEYS:]


def _code_size(generator: Generator) -> int:
    config: PianoGANConfig = generator.config
    return config.code_size if config.architecture == "flow" else 0


def _view(x: Tensor, codes: Tensor) -> Tensor:
    """The critic's input, (batch, 4 * 91 + code, 1, 64): notes (batch, 91, 256) and codes (batch, code, 1, 64)."""
    return torch.cat([fold(x), codes.float()], dim=1)


def ascending(x: Tensor) -> Tensor:
    """Sorts the notes of each chord by key, as in real data. Notes are (batch, 91, 256); steps stay in place."""
    chord = x[:, STEP] < CHORD_BELOW
    order = ((~chord).cumsum(1) * KEYS + x[:, :KEYS].argmax(1)).argsort(dim=1, stable=True)
    moved = x.gather(2, order[:, None].expand_as(x))
    return torch.cat([moved[:, :STEP], x[:, STEP : STEP + 1], moved[:, STEP + 1 :]], dim=1)


def reconstruction_loss(decoded: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy of the pitches plus weighted smooth L1 distances of step, duration and velocity.

    Args:
        decoded: (batch, 91, 256), the decoder's output before softmax and tanh.
        x: (batch, 91, 256), the notes to reconstruct.
    Returns:
        The loss, and values to log.
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
    """The flow matching loss: squared error of the mover's velocity on the straight line from noise to codes.

    Times are logit-normal, so that most are in the middle (Esser et al., 2024, arXiv:2403.03206).
    """
    noise = generator.field(draw_latents(generator.latent, len(codes), rng))
    t = randn((len(codes),), rng).sigmoid()
    line = codes - noise
    velocity: Tensor = generator.mover(noise + t[:, None, None, None] * line, t).float()
    return (velocity - line).square().mean()


class NoteEncoder(nn.Module):
    """Encodes folded notes (batch, 364, 1, 64) as codes (batch, code, 1, 64), each channel of mean 0 and variance 1."""

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
    """The critic of notes and codes, (batch, 4 * channels + code, 1, 64): convolutions, and statistics of the window.

    Convolutions alone did not learn, in thousands of updates, what distinguishes generated music (EXPERIMENTS.md).
    There is no normalisation: it would let items of a batch affect each other's scores.
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
        self.judge = nn.Sequential(  # scores the statistics; no judge, but saved states have this name
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
    """A residual block that halves the number of time steps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, width, (1, 5), padding=(0, 2))
        self.second = nn.Conv2d(width, width, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.second(F.leaky_relu(self.wide(x), 0.2)), 0.2)
        return F.avg_pool2d((x + h) * 0.7, (1, 2))

"""What one family brings to the training loop.

A family's file holds its critic, its encoder (if it warm-starts), its default `TrainingRecipe` and a `Task`.
The loop knows none of them by name. Nothing here, nor in a `Task` after `prepare`, imports more than torch, numpy and
safetensors, so that training from a prepared cache runs on a bare GPU machine.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from explorer.generators.base import Generator


@dataclass(frozen=True)
class TrainingRecipe:
    """Every number of a run. A family has its defaults; the command line changes single ones.

    Attributes:
        objective: "wgan-gp", or "non-saturating" for the original GAN loss without a penalty, to see the difference.
        warm_steps: steps of the warm start (generator and encoder reconstruct), before the adversarial ones.
        steps: adversarial generator steps.
        head_start: the first so many steps of either phase, in which the generator stays as it is and what learns
            with it catches up: the encoder, then the critic. For runs from a checkpoint's weights.
        critic_steps: critic updates per generator step (n_critic).
        generator_lr, critic_lr, warm_lr: Adam; two time scales.
        cooldown: the last so many adversarial steps, in which generator_lr and critic_lr fall linearly to zero.
        penalty_weight: lambda of the gradient penalty.
        penalty_every: lazy penalty: on every k-th critic step, weighted k-fold (StyleGAN2, appendix B).
        auxiliary_weight: of the critic's classifier head, where it has one.
        reconstruction_weight: of the warm start's loss during the adversarial phase.
        reconstruction_every: lazy as the penalty: on every k-th step, weighted k-fold.
        ema_decay: of the generator's weights that are exported, per generator step.
        snapshot_every, state_every: steps (of either phase) between snapshots and between saved states.
        extra: a family's own numbers, by name.
    """

    objective: Literal["wgan-gp", "non-saturating"] = "wgan-gp"
    batch_size: int = 64
    warm_steps: int = 0
    steps: int = 10_000
    head_start: int = 0
    critic_steps: int = 5
    warm_lr: float = 1e-3
    generator_lr: float = 1e-4
    critic_lr: float = 1e-4
    cooldown: int = 0
    penalty_weight: float = 10.0
    penalty_every: int = 1
    auxiliary_weight: float = 0.0
    reconstruction_weight: float = 0.0
    reconstruction_every: int = 1
    ema_decay: float = 0.999
    seed: int = 0
    snapshot_every: int = 1000
    state_every: int = 250
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on: tensors of equal first dimension, and what is known of them.

    `train` and `valid` hold e.g. {"x": (n, ...), "label": (n,)}; `meta` is JSON-able: sources, counts, skipped files,
    labels, statistics; `meta["inventory"]` is the count of the files found, for `training.data.inventory.table`.
    """

    train: Mapping[str, Tensor]
    valid: Mapping[str, Tensor]
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """x: (batch, *representation.shape) in [-1, 1]; condition: (batch, classes) one-hot, or None."""

    x: Tensor
    condition: Tensor | None = None


class Task(ABC):
    """One family, as the loop sees it."""

    family: ClassVar[str]
    defaults: ClassVar[TrainingRecipe]
    fine_tuning: ClassVar[TrainingRecipe]  # the defaults of a run from a checkpoint's weights

    @abstractmethod
    def prepare(self, folder: Path, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        """Reads a folder of recordings or MIDI, or its cache if nothing changed.

        Corrupt files are skipped, counted and named in `meta`.

        Args:
            like: the Config of a checkpoint's generator that the data has to fit.
        Raises:
            DataError: if the folder holds no usable file, or does not fit.
        """

    @abstractmethod
    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        """A fresh generator for this data; `overrides` replace fields of its Config."""

    @abstractmethod
    def critic(self, generator: Generator) -> nn.Module:
        """(view, condition) -> (scores (batch,), class logits (batch, classes) or None). Treats items apart."""

    def encoder(self, generator: Generator) -> nn.Module | None:
        """The network that warm-starts with the generator, or None."""
        return None

    @abstractmethod
    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        """Items of a prepared set, augmented as far as an augmented item is real too."""

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The warm start's loss, and figures for the log."""
        raise NotImplementedError(f"{self.family} has no warm start")

    def real_view(self, batch: Batch, encoder: nn.Module | None, rng: torch.Generator) -> Tensor:
        """What the critic sees of real items: (batch, ...). By default the items."""
        return batch.x

    def fake_view(self, generator: Generator, z: Tensor, condition: Tensor | None, rng: torch.Generator) -> Tensor:
        """What the critic sees of generated items, shaped as `real_view`. By default the items."""
        output: Tensor = generator(z, condition)
        return output

    def matching_loss(
        self, generator: Generator, tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> Tensor | None:
        """What the generator's loss has beside the critic: how far what it makes is, as a set, from a prepared set
        (feature matching: Salimans et al., 2016, arXiv:1606.03498). None for nothing."""
        return None

    def adversarial_parameters(self, generator: Generator) -> list[nn.Parameter]:
        """The parameters that the adversarial phase trains. By default all."""
        return list(generator.parameters())


class DataError(Exception):
    """Training data that cannot be used; the message names the folder or file."""

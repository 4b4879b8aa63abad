"""What one family brings to the training loop.

A family's file holds its critic, its encoder (if it warm-starts), its default `TrainingRecipe` and a `Task`.
Loop and objective know none of them by name. Nothing here, nor in a `Task` after `prepare`, imports more than torch,
numpy and safetensors, so that training from a prepared cache runs on a bare GPU machine.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from explorer.generators.base import Generator
from training.options import Number, check, count, one_of, real


@dataclass(frozen=True)
class TrainingRecipe:
    """Every number of a run. A family has its defaults; the command line changes single ones.

    What each means stands beside it, for `--help` too. `extra` holds a family's own numbers by name (`Task.numbers`).

    Raises:
        ValueError: naming the number that is out of its range.
    """

    objective: Literal["wgan-gp", "non-saturating"] = one_of(
        "wgan-gp",
        ("wgan-gp", "non-saturating"),
        "what to train with; the second is the original GAN loss without a penalty, for comparison",
    )
    batch_size: int = count(64, "items in a batch, over all processes", low=1, high=2**16)
    warm_steps: int = count(0, "steps of the warm start, in which generator and encoder learn to reconstruct")
    steps: int = count(10_000, "steps of the generator against the critic, after the warm start")
    head_start: int = count(
        0,
        "the first so many steps of either phase, in which the generator stays as it is and what learns with it "
        "catches up: the encoder, then the critic",
    )
    critic_steps: int = count(5, "updates of the critic for each of the generator", low=1, high=10_000)
    warm_lr: float = real(1e-3, "Adam's learning rate in the warm start")
    generator_lr: float = real(1e-4, "Adam's learning rate for the generator")
    critic_lr: float = real(1e-4, "Adam's learning rate for the critic")
    cooldown: int = count(0, "the last so many steps, in which both learning rates fall linearly to zero")
    penalty_weight: float = real(10.0, "weight of the gradient penalty (lambda)")
    penalty_every: int = count(
        1, "the penalty is taken at every N-th update of the critic, and weighted N times as much", low=1
    )
    auxiliary_weight: float = real(0.0, "weight of the critic's classifier of labels, where it has one")
    reconstruction_weight: float = real(0.0, "weight of the warm start's loss in the steps after it")
    reconstruction_every: int = count(1, "that loss is taken at every N-th step, and weighted N times as much", low=1)
    ema_decay: float = real(
        0.999, "decay, per step, of the moving average of the generator's weights that is exported", high=1, below=True
    )
    seed: int = count(0, "of the first weights and of all that is drawn", high=2**63 - 1)
    snapshot_every: int = count(1000, "steps between snapshots", low=1)
    state_every: int = count(250, "steps between saved states, which --resume goes on from", low=1)
    extra: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        if not isinstance(self.extra, Mapping):
            raise ValueError(f"extra holds numbers by name, not {self.extra!r}")
        for name, value in self.extra.items():
            Number("").check(f"extra {name}", value)


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
    """One family, as the objective and the command line see it.

    Attributes:
        summary: what is trained, from what data, in a few words for `--help`.
        defaults, fine_tuning: the numbers of a run from noise, and of one from a checkpoint's weights.
        numbers: the family's own numbers, which `defaults.extra` has values for.
    """

    family: ClassVar[str]
    summary: ClassVar[str]
    defaults: ClassVar[TrainingRecipe]
    fine_tuning: ClassVar[TrainingRecipe]
    numbers: ClassVar[Mapping[str, Number]] = MappingProxyType({})

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

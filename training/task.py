"""The part of training that differs between families: `Task`, and the recipe and data it works with.

A family's file holds its critic, its encoder (if it has a warm start), its default `TrainingRecipe` and its `Task`.
The loop and the objective work with any of them. Nothing here, nor in a `Task` after `prepare`, imports more than
torch, numpy and safetensors, so that training from prepared data runs on a machine without libraries for sound.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from explorer.generators.base import Generator
from training import parallel
from training.objective import Objective
from training.options import Number, check, count, one_of, real
from training.runs import TrainingError

WARM, ADVERSARIAL = "warm", "adversarial"  # phases


@dataclass(frozen=True)
class TrainingRecipe:
    """The hyperparameters of a GAN's run. Each family has its own defaults; the command line changes single ones.

    The text beside each field is its help. `extra` holds the numbers that only one family has (`Task.numbers`).

    Raises:
        ValueError: naming the number that is out of its range.
    """

    objective: Literal["wgan-gp", "non-saturating"] = one_of(
        "wgan-gp",
        ("wgan-gp", "non-saturating"),
        "the GAN loss: wgan-gp, or the original non-saturating one without gradient penalty, for comparison",
    )
    batch_size: int = count(64, "items in a batch, over all processes", low=1, high=2**16)
    warm_steps: int = count(0, "steps of the warm start, in which generator and encoder learn to reconstruct the data")
    steps: int = count(10_000, "generator steps of adversarial training, after the warm start")
    head_start: int = count(
        0,
        "steps at the start of each phase in which only the encoder (warm start) or only the critic (adversarial "
        "training) learns and the generator does not change",
    )
    critic_steps: int = count(5, "critic updates for each generator step", low=1, high=10_000)
    warm_lr: float = real(1e-3, "Adam's learning rate in the warm start")
    warm_cooldown: int = count(
        0, "steps at the end of the warm start in which its learning rate falls linearly to zero"
    )
    generator_lr: float = real(1e-4, "Adam's learning rate for the generator")
    critic_lr: float = real(1e-4, "Adam's learning rate for the critic")
    cooldown: int = count(
        0, "steps at the end in which the learning rates of generator and critic fall linearly to zero"
    )
    penalty_weight: float = real(10.0, "weight of the gradient penalty (lambda)")
    penalty_every: int = count(
        1, "compute the gradient penalty only at every N-th critic update, with N times the weight", low=1
    )
    auxiliary_weight: float = real(0.0, "weight of the label classification loss, if the critic has a label classifier")
    reconstruction_weight: float = real(0.0, "weight of the warm start's loss during adversarial training")
    reconstruction_every: int = count(1, "compute that loss only at every N-th step, with N times the weight", low=1)
    ema_decay: float = real(
        0.999, "decay per step of the EMA of the generator's weights, which is what is exported", high=1, below=True
    )
    seed: int = count(0, "seed of the initial weights and of all random numbers", high=2**63 - 1)
    snapshot_every: int = count(1000, "steps between snapshots", low=1)
    state_every: int = count(250, "steps between saved states, from which --resume continues", low=1)
    extra: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        if not isinstance(self.extra, Mapping):
            raise ValueError(f"extra must hold numbers by name, not {self.extra!r}")
        for name, value in self.extra.items():
            Number("").check(f"extra {name}", value)

    @property
    def phases(self) -> dict[str, int]:
        """Steps of each phase, in their order."""
        return {WARM: self.warm_steps, ADVERSARIAL: self.steps}


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to train on: tensors by name, and facts about them.

    The tensors of each split have equal first dimensions, e.g. {"x": (n, ...), "condition": (n, labels)}. `meta` can be
    written as JSON: labels, counts, skipped files; `meta["inventory"]` is for `training.data.inventory.table`.
    """

    train: Mapping[str, Tensor]
    valid: Mapping[str, Tensor]
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """A batch: x (batch, *representation.shape) in [-1, 1], and one-hot labels `condition` (batch, labels) or None."""

    x: Tensor
    condition: Tensor | None = None


class Task(ABC):
    """How one family is trained: its data, its generator, its objective and its recipes.

    GANs extend `training.wgan_gp.AdversarialTask`, which brings the objective.

    Attributes:
        summary: what is trained from what data, for `--help` after "train".
        preparation: the options that `prepare` takes, for `--help`.
        many_sources: whether `prepare` takes a tuple of folders and files instead of one folder.
        Recipe: class of the recipes: a dataclass of numbers (`training.options`) with at least `phases`, `seed`,
            `extra`, `state_every` and `snapshot_every`.
        defaults, fine_tuning: the recipes for training from random weights and from a checkpoint's.
        numbers: the hyperparameters that only this family has; `defaults.extra` holds their values.
    """

    family: ClassVar[str]
    summary: ClassVar[str]
    preparation: ClassVar[str] = "this family has none"
    many_sources: ClassVar[bool] = False
    Recipe: ClassVar[type[Any]] = TrainingRecipe
    defaults: ClassVar[Any]
    fine_tuning: ClassVar[Any]
    numbers: ClassVar[Mapping[str, Number]] = MappingProxyType({})

    @abstractmethod
    def prepare(self, folder: Path, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        """Reads a folder of recordings or MIDI files, or what was cached of it if the files are the same.

        Unusable files are skipped, and counted in `meta["inventory"]` with the reason.

        Args:
            options: as in `preparation`.
            like: the Config of a checkpoint to fine-tune, which the data must fit.
        Raises:
            DataError: if the folder has no usable file, an option is unknown, or the data does not fit `like`.
        """

    @abstractmethod
    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        """A generator with new weights for this data; `overrides` replace fields of its Config."""

    @abstractmethod
    def objective(
        self, recipe: Any, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> Objective:
        """The objective of a new run; networks are initialised from `recipe.seed` alone.

        Args:
            recipe: a `Recipe`.
            config: fields of the generator's Config to change from what the task chooses.
            bfloat16: whether to run forward and backward passes under autocast; weights stay float32.
        Raises:
            TrainingError: if recipe and configuration are impossible together.
        """


def initialised(
    task: Task,
    recipe: Any,
    data: Prepared,
    config: Mapping[str, Any],
    *others: Callable[[Generator], nn.Module | None],
) -> tuple[Any, ...]:
    """A task's generator, and what `others` make for it, with weights from `recipe.seed` alone, on all processes.

    Args:
        config: fields of the generator's Config to change from what the task chooses.
    Raises:
        TrainingError: if the configuration is impossible, or the batch size is no multiple of the number of processes.
    """
    if recipe.batch_size % parallel.world_size():
        n = parallel.world_size()
        raise TrainingError(
            f"a batch of {recipe.batch_size} cannot be shared by {n} processes: choose a --batch-size divisible by {n}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        try:
            generator = task.generator(data, config)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"--config does not fit {task.family}: {error}") from None
        made = generator, *(make(generator) for make in others)
    parallel.same_weights(module for module in made if module is not None)
    return made


class DataError(Exception):
    """Training data cannot be used. The message names the folder or file, and says what to do."""

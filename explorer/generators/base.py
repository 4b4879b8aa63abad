"""The base class of all generators, and their conditions."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.latent import LatentSpace
from explorer.sound.base import Representation, Settings, chosen


@dataclass(frozen=True)
class Condition:
    """The second input of a conditional generator, besides the latent: one of several labels, e.g. the digit to speak.

    Attributes:
        name: what a label is, in the singular: "digit".
        labels: the possible labels, each once.
        kind: "choice" for labels without an order; "pitch" for an ordered scale, shown as keys.
    """

    name: str
    labels: tuple[str, ...]
    kind: Literal["choice", "pitch"] = "choice"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a condition has a name, not {self.name!r}")
        if not isinstance(self.labels, tuple) or not all(isinstance(label, str) and label for label in self.labels):
            raise ValueError(f"labels are texts, not {self.labels!r}")
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"a condition has at least one label, and each once, not {self.labels!r}")
        if self.kind not in ("choice", "pitch"):
            raise ValueError(f"the kind of a condition is 'choice' or 'pitch', not {self.kind!r}")

    def turn(self, number: int) -> str:
        """The label of a sound, by its number in a series: labels in turn, but of a scale always the one in its middle,
        since pitch would hide what else differs."""
        return self.labels[len(self.labels) // 2 if self.kind == "pitch" else number % len(self.labels)]

    def encode(self, label: str) -> Tensor:
        """One-hot weights (len(labels),) of a label. A weighted mean of two such vectors blends two labels.

        Raises:
            ValueError: naming the labels, if this is none of them.
        """
        if label not in self.labels:
            raise ValueError(f"no {self.name} {label!r}; this model knows {', '.join(self.labels)}")
        return F.one_hot(torch.tensor(self.labels.index(label)), len(self.labels)).float()


class Generator(nn.Module, ABC):
    """A network from a latent, and a condition in some families, to an encoded sound.

    A family implements `generate` and sets the attributes below. In eval mode a generator is a pure function: the same
    latent gives the same bits whatever the batch around it, the output is finite and in [-1, 1], and no global random
    state is read or written. `tests/contract` checks this for every family.

    Attributes:
        latent: shape and prior of `z`.
        representation: turns the output into a `Sound`.
        condition: None for an unconditional generator.
        noise: a second latent, which `generate` takes as `noise`; None for most families. A place draws it from its
            seeds alone: neither truncation nor an offset changes it.
        axes: directions that the network has by construction, as unit vectors (*latent.shape) by title, e.g. towards
            each of the voices it learned; none for most families.
        settings: options of generating, by name, the default first; a name must not be one of the representation's
            settings too.
        draft: of some settings, the option with which an output is made soonest, e.g. {"steps": "2"}: the app plays it
            while a slider moves. The last options of these settings take longest. Empty where nothing is gained.
        traceable: whether an output is made by tensor operations alone, which can be written to an ONNX file.
        distilled: whether the network has learned to make in few steps what another one makes in many.

    What a family calls `network`, be it a method or a module, is traced while the app plays it, see `explorer.tracing`;
    so it must take tensors alone and never branch on their numbers. `generate` does the rest.
    """

    family: ClassVar[str]
    Config: ClassVar[type[Any]]  # a frozen dataclass of plain, JSON-able values

    config: Any
    latent: LatentSpace
    representation: Representation
    condition: Condition | None = None
    noise: LatentSpace | None = None
    axes: Mapping[str, Tensor] = MappingProxyType({})
    settings: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    draft: Settings = MappingProxyType({})
    traceable: bool = True
    distilled: bool = False

    @abstractmethod
    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        """Computes the output; called by `forward` with checked arguments and an option for every setting.

        In eval mode the batch has one item, in training mode any number.
        """

    def forward(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        settings: Settings | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Generates a batch; in eval mode item by item.

        The order of summation in matrix products and convolutions depends on the batch size, so otherwise the last bits
        of an item would depend on the other items.

        Args:
            z: (batch, *latent.shape)
            condition: (batch, len(labels)), each row non-negative with sum 1; required if, and only if,
                the generator has a `condition`.
            settings: the chosen option for some of `self.settings`; the rest take their default.
            noise: (batch, *noise.shape) if the generator has a `noise`; that of seed 0 for every item if None.
        Returns:
            (batch, *representation.shape), in [-1, 1].
        Raises:
            ValueError: if a condition or noise is missing or superfluous, or there is no such setting or option.
        """
        options, second = self._checked(z, condition, settings, noise)
        if self.training or len(z) < 2:
            return self.generate(z, condition, options, *second)
        inputs = [x if x is None else x.split(1) for x in (condition, *second)]
        rows = zip(z.split(1), *([None] * len(z) if x is None else x for x in inputs), strict=True)
        return torch.cat([self.generate(item, c, options, *n) for item, c, *n in rows])

    def stages(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        settings: Settings | None = None,
        noise: Tensor | None = None,
    ) -> list[Tensor]:
        """What an output emerges from, step by step, the output itself last; that alone, where nothing comes before.

        Args and errors as of `forward`, for a batch of one item; each stage is (1, *representation.shape).
        """
        options, second = self._checked(z, condition, settings, noise)
        return list(self.emerge(z, condition, options, *second))

    def emerge(
        self, z: Tensor, condition: Tensor | None, settings: Settings, noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yields what `stages` returns; a family whose outputs emerge in steps implements it."""
        yield self.generate(z, condition, settings, *(() if noise is None else (noise,)))

    @classmethod
    def warm_up(cls) -> None:
        """Does once, in the background when the app starts, what would keep the first sound waiting; often nothing."""

    @classmethod
    def emerges(cls) -> bool:
        """Whether the family's outputs emerge in steps."""
        return cls.emerge is not Generator.emerge

    def _checked(
        self, z: Tensor, condition: Tensor | None, settings: Settings | None, noise: Tensor | None
    ) -> tuple[dict[str, str], tuple[Tensor, ...]]:
        """The option of every setting, and what `generate` takes beside z and condition."""
        if (condition is None) != (self.condition is None):
            raise ValueError(
                "this generator needs a condition" if condition is None else "this generator takes no condition"
            )
        options = chosen(self.settings, settings)
        if self.noise is None:
            if noise is not None:
                raise ValueError("this generator takes no noise")
            return options, ()
        if noise is None:
            noise = self.noise.from_seed(0).to(z).expand(len(z), *self.noise.shape)
        return options, (noise,)

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (batch, n) that principal directions are computed from; by default the flattened output."""
        return self(z, condition).flatten(1)

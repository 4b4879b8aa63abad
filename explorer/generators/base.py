"""What every generator is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    """What a conditional generator is told besides the latent, e.g. the digit to speak.

    Attributes:
        name: what the choices are, in the singular: "digit".
        choices: the labels, each once.
        kind: "choice" for labels that stand side by side; "pitch" for an ordered scale, shown as keys.
    """

    name: str
    choices: tuple[str, ...]
    kind: Literal["choice", "pitch"] = "choice"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a condition has a name, not {self.name!r}")
        if not isinstance(self.choices, tuple) or not all(isinstance(label, str) and label for label in self.choices):
            raise ValueError(f"labels are texts, not {self.choices!r}")
        if not self.choices or len(set(self.choices)) < len(self.choices):
            raise ValueError(f"a condition has at least one label, and each once, not {self.choices!r}")
        if self.kind not in ("choice", "pitch"):
            raise ValueError(f"the kind of a condition is 'choice' or 'pitch', not {self.kind!r}")

    def encode(self, label: str) -> Tensor:
        """One-hot weights (len(choices),) of a label. A mix of two such vectors blends two classes.

        Raises:
            ValueError: naming the choices, if the label is none of them.
        """
        if label not in self.choices:
            raise ValueError(f"no {self.name} {label!r}; this model knows {', '.join(self.choices)}")
        return F.one_hot(torch.tensor(self.choices.index(label)), len(self.choices)).float()


class Generator(nn.Module, ABC):
    """A latent, and perhaps a condition, to an encoded sound.

    A family writes `generate` and sets the attributes below. In eval mode a generator is a pure function: the same
    latent gives the same bits whatever the batch around it, the output is finite and in [-1, 1], and no global random
    state is read or written. `tests/contract` holds every family to this.

    Attributes:
        settings: choices that generating leaves open, each name with its options, the default first; no name may also
            be one of the representation's.
    """

    family: ClassVar[str]
    Config: ClassVar[type[Any]]  # a frozen dataclass of plain, JSON-able values

    config: Any
    latent: LatentSpace
    representation: Representation
    condition: Condition | None = None
    settings: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @abstractmethod
    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        """What a family computes: the arguments of `forward`, checked, with an option for every setting.

        In eval mode the batch has one item, in training mode any number.
        """

    def forward(self, z: Tensor, condition: Tensor | None = None, settings: Settings | None = None) -> Tensor:
        """Generates a batch; in eval mode one item after the other.

        Libraries for matrix products and convolutions choose another order of summation for another batch size, so an
        item's last bits would depend on its neighbours.

        Args:
            z: (batch, *latent.shape)
            condition: (batch, len(choices)), each row non-negative with sum 1; required if, and only if,
                the generator has a `condition`.
            settings: options of some `settings`; the rest take their default.
        Returns:
            (batch, *representation.shape), in [-1, 1].
        Raises:
            ValueError: if a condition is missing or superfluous, or there is no such setting or option.
        """
        if (condition is None) != (self.condition is None):
            raise ValueError(
                "this generator needs a condition" if condition is None else "this generator takes no condition"
            )
        options = chosen(self.settings, settings)
        if self.training or len(z) < 2:
            return self.generate(z, condition, options)
        conditions = [None] * len(z) if condition is None else condition.split(1)
        return torch.cat([self.generate(item, c, options) for item, c in zip(z.split(1), conditions, strict=True)])

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(batch, n): what principal directions are taken of. By default the flattened output."""
        return self(z, condition).flatten(1)

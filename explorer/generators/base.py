"""What every generator is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.latent import LatentSpace
from explorer.sound.base import Representation


@dataclass(frozen=True)
class Condition:
    """What a conditional generator is told besides the latent, e.g. the digit to speak."""

    name: str
    choices: tuple[str, ...]

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

    In eval mode it is a pure function: the same latent gives the same bits whatever the batch around it,
    the output is finite and in [-1, 1], and no global random state is read or written.
    `tests/contract` holds every family to this.
    """

    family: ClassVar[str]
    Config: ClassVar[type[Any]]  # a frozen dataclass of plain, JSON-able values

    config: Any
    latent: LatentSpace
    representation: Representation
    condition: Condition | None = None

    @abstractmethod
    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Generates a batch.

        Args:
            z: (batch, *latent.shape)
            condition: (batch, len(choices)), each row non-negative with sum 1; required if, and only if,
                the generator has a `condition`.
        Returns:
            (batch, *representation.shape), in [-1, 1].
        """

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(batch, n): what principal directions are taken of. By default the flattened output."""
        return self(z, condition).flatten(1)


class RowwiseLinear(nn.Linear):
    """A linear layer that in eval mode takes one row at a time.

    Matrix libraries choose another order of summation for another number of rows, so the last bits of a
    row would depend on the batch it came in. Narrow convolutions do not have this flaw; a generator with wide ones
    takes the whole network one item at a time.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training or len(x) == 1:
            return super().forward(x)
        return torch.cat([super(RowwiseLinear, self).forward(row) for row in x.split(1)])

"""The interface between the training loop and what is trained (after `loss.py` of StyleGAN3's code).

An `Objective` owns its networks, optimizers, losses and phases. `training.loop` calls its steps, averages and logs the
losses, saves and resumes, and needs to know nothing of the networks. WGAN-GP (`training.wgan_gp`), the vocoder
(`training.vocoder`), denoising (`training.denoising`) and the judge (`training.evaluation.judge`) are objectives.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explorer.generators.base import Generator
from training import parallel


@dataclass(frozen=True)
class Schedule:
    """How many steps a run has, and how often it saves.

    Attributes:
        phases: the number of steps of each phase by name, in order.
        state_every, snapshot_every: steps between saved states and between snapshots.
    """

    phases: Mapping[str, int]
    state_every: int
    snapshot_every: int

    @property
    def steps(self) -> int:
        """The number of steps of all phases together."""
        return sum(self.phases.values())

    def phase(self, step: int) -> str:
        """The name of the phase that a step belongs to."""
        end = 0
        for name, steps in self.phases.items():
            end += steps
            if step < end:
                return name
        raise ValueError(f"step {step} is beyond the last, {end - 1}")

    def ends_phase(self, step: int) -> bool:
        """Whether a phase, or the run, ends after `step` steps."""
        return step == self.steps or (0 < step < self.steps and self.phase(step) != self.phase(step - 1))

    def saves_state(self, step: int) -> bool:
        """Whether the state is saved after `step` steps."""
        return step % self.state_every == 0 or self.ends_phase(step)

    def takes_snapshot(self, step: int) -> bool:
        """Whether a snapshot is taken after `step` steps."""
        return step % self.snapshot_every == 0 or self.ends_phase(step)


class Objective(ABC):
    """Networks with their optimizers, and one training step.

    Attributes:
        optimizers: by name; the loop saves them with the networks of `modules`.
        rng: the only source of randomness; its state is saved, so that a resumed run draws the same numbers.
        bfloat16: whether forward and backward passes run under autocast; weights stay float32.
        step: the number of steps done.
    """

    def __init__(self, schedule: Schedule, seed: int, device: torch.device, bfloat16: bool) -> None:
        self.schedule, self.seed, self.device, self.bfloat16 = schedule, seed, device, bfloat16
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.rng = torch.Generator(device).manual_seed(seed)
        self.step = 0

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """All networks to save, by name. Averaged weights for export are one of them, e.g. "ema"."""

    @abstractmethod
    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Does one step of the current phase on the training set `data`; returns its losses, scalars on the device."""

    @abstractmethod
    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        """A scalar from one forward pass on `items` items, which `training.machine` times to choose the precision."""

    @property
    def phase(self) -> str:
        """The name of the phase of the next step."""
        return self.schedule.phase(self.step)

    def shown(self) -> Generator | None:
        """The generator to take snapshots of, or None if the objective trains no generator."""
        return None

    def autocast(self) -> torch.autocast:
        """A context for forward passes: bfloat16 if the run uses it, else float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def descend(self, optimizer: str, loss: Tensor, clip: float | None = None) -> None:
        """One optimizer step on a loss, with the norm of its gradient clipped to `clip`."""
        chosen = self.optimizers[optimizer]
        chosen.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(chosen)
        if clip is not None:
            nn.utils.clip_grad_norm_([p for group in chosen.param_groups for p in group["params"]], clip)
        chosen.step()

    def set_rate(self, optimizer: str, rate: float) -> None:
        """Sets an optimizer's learning rate. Compute `rate` from the step alone: no scheduler state is saved."""
        for group in self.optimizers[optimizer].param_groups:
            group["lr"] = rate


@torch.no_grad()
def average_weights(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Moves the EMA weights of a network by `1 - decay` of the way to its current ones."""
    # Not torch's AveragedModel: its first update only copies, and every update reads a counter from the device.
    for mean, weight in zip(average.parameters(), current.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)
    for copied, statistic in zip(average.buffers(), current.buffers(), strict=True):
        copied.copy_(statistic)  # batch norm statistics are averages already; averaging them again would lag

"""What a run trains, as the loop sees it (after `loss.py` of StyleGAN3's code).

An `Objective` owns its networks, optimizers and phases, and names its losses. `training.loop` drives it, averages the
figures, saves and resumes, and knows no network. WGAN-GP (`training.wgan_gp`), the learned inversion
(`training.vocoder`) and the judge (`training.evaluation.judge`) are objectives; a denoising one would have a single
phase and one optimizer, and its noise and times would come from `rng`.
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
    """How long a run is.

    Attributes:
        phases: steps of each phase by its name, in their order.
        state_every, snapshot_every: steps between saved states and between snapshots.
    """

    phases: Mapping[str, int]
    state_every: int
    snapshot_every: int

    @property
    def steps(self) -> int:
        """Of all phases."""
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

    def saves(self, step: int) -> bool:
        """Whether the state is saved after `step` steps."""
        return step % self.state_every == 0 or self.ends_phase(step)

    def shows(self, step: int) -> bool:
        """Whether a snapshot is taken after `step` steps."""
        return step % self.snapshot_every == 0 or self.ends_phase(step)


class Objective(ABC):
    """Networks, their optimizers, and what each step of training does to them.

    Attributes:
        optimizers: by name; the loop saves them with the networks of `modules`.
        rng: the only source of randomness of a run; its state is saved, so that a resumed run draws the same numbers.
        bfloat16: whether forward and backward passes run under autocast; weights stay float32.
        step: steps that are done.
    """

    def __init__(self, schedule: Schedule, seed: int, device: torch.device, bfloat16: bool) -> None:
        self.schedule, self.seed, self.device, self.bfloat16 = schedule, seed, device, bfloat16
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.rng = torch.Generator(device).manual_seed(seed)
        self.step = 0

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """The networks by name: what is saved. What is exported has a name of its own, e.g. "ema"."""

    @abstractmethod
    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One step of the current phase on the training set `data`; its figures as scalars, still on the device."""

    @abstractmethod
    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        """A scalar from one forward pass of the networks on so many items, to measure what precision is fast here."""

    @property
    def phase(self) -> str:
        """The name of the phase of the next step."""
        return self.schedule.phase(self.step)

    def shown(self) -> Generator | None:
        """The generator that snapshots are taken of, or None if there is nothing to show."""
        return None

    def autocast(self) -> torch.autocast:
        """The precision of forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def descend(self, optimizer: str, loss: Tensor, clip: float | None = None) -> None:
        """One update by the gradients of a loss, whose norm is cut to `clip`."""
        learner = self.optimizers[optimizer]
        learner.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(learner)
        if clip is not None:
            nn.utils.clip_grad_norm_([p for group in learner.param_groups for p in group["params"]], clip)
        learner.step()

    def set_rate(self, optimizer: str, rate: float) -> None:
        """Changes the learning rate. From the step alone, so that a resumed run needs no scheduler's state."""
        for group in self.optimizers[optimizer].param_groups:
            group["lr"] = rate

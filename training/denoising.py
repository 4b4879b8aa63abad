"""The objective of diffusion models: a network learns to find points in noise.

In a second phase, if it has steps, the network learns from itself: from noise and the sounds that it has made of it, in
many steps and with guidance. Between these two the way is straight, so few steps follow it, and guidance is part of it
(rectified flow: Liu et al., 2023, arXiv:2209.03003; two-stage distillation of guidance: Meng et al., 2023,
arXiv:2210.03142).
"""

from abc import abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from explorer.generators.base import Generator
from training import parallel
from training.objective import Objective, Schedule, average_weights
from training.options import Number, check, count, real
from training.task import Batch, Prepared, Task, initialised

WARM_UP = 100  # steps in which the learning rate rises from zero
LONGEST_STEP = 1.0  # norm to which gradients are clipped
DENOISING, DISTILLATION = "denoising", "distillation"  # phases
TAUGHT = 128  # sounds that are made at once to learn from


@dataclass(frozen=True)
class DenoisingRecipe:
    """The hyperparameters of a run that denoises. The text beside each field is its help.

    Raises:
        ValueError: naming the number that is out of its range.
    """

    batch_size: int = count(64, "items in a batch, over all processes", low=1, high=2**16)
    steps: int = count(100_000, "steps of training")
    cooldown: int = count(20_000, "steps at the end in which the learning rate falls linearly to zero")
    lr: float = real(4e-4, "Adam's learning rate, after a linear warm-up of 100 steps")
    dropout: float = real(0.1, "share of items that are denoised without latent and label, for guidance", high=1)
    distil_steps: int = count(0, "steps after these, of learning to make in two what it made in sixteen, with guidance")
    distil_items: int = count(16_384, "number of its own sounds that it learns from in these steps", low=1)
    kl_weight: float = real(1e-3, "weight of each nat of divergence of encoded latents beyond free_nats")
    free_nats: float = real(12.0, "mean KL divergence of encoded latents, in nats for each item, that costs nothing")
    ema_decay: float = real(
        0.999, "decay per step of the EMA of the generator's weights, which is what is exported", high=1, below=True
    )
    seed: int = count(0, "seed of the initial weights and of all random numbers", high=2**63 - 1)
    snapshot_every: int = count(5000, "steps between snapshots", low=1)
    state_every: int = count(1000, "steps between saved states, from which --resume continues", low=1)
    extra: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        for name, value in self.extra.items():
            Number("").check(f"extra {name}", value)

    @property
    def phases(self) -> dict[str, int]:
        """Steps of each phase, in their order."""
        return {DENOISING: self.steps, DISTILLATION: self.distil_steps}


class DenoisingTask(Task):
    """A family that is trained by denoising: its encoder, if its generator has a latent to encode, and its loss."""

    Recipe = DenoisingRecipe
    defaults: ClassVar[DenoisingRecipe]
    fine_tuning: ClassVar[DenoisingRecipe]

    def objective(
        self, recipe: DenoisingRecipe, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> "Denoising":
        generator, encoder = initialised(self, recipe, data, config, self.encoder)
        return Denoising(self, recipe, generator, encoder, device, bfloat16)

    def encoder(self, generator: Generator) -> nn.Module | None:
        """The network that learns with the generator to encode items as its latents, or None without one."""
        return None

    @abstractmethod
    def draw(self, tensors: Mapping[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        """Indices (n,) of the items of a batch."""

    @abstractmethod
    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        """The items `index` of a prepared set."""

    @abstractmethod
    def loss(
        self,
        generator: Generator,
        encoder: nn.Module | None,
        batch: Batch,
        recipe: DenoisingRecipe,
        rng: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to descend, and values to log."""

    def teach(self, teacher: Generator, n: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Rows to learn from in the second phase: `n` noises, and what the teacher makes of them."""
        raise NotImplementedError

    def distillation_loss(
        self, generator: Generator, taught: Mapping[str, Tensor], rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of rows of `teach`, and values to log."""
        raise NotImplementedError


class Denoising(Objective):
    """Descends the loss of a `DenoisingTask`.

    Attributes:
        ema: the generator with EMA weights, used for snapshots and export.
        encoder: None without one.
        teacher: the generator at the end of the first phase; None without a second.
    """

    def __init__(
        self,
        task: DenoisingTask,
        recipe: DenoisingRecipe,
        generator: Generator,
        encoder: nn.Module | None,
        device: torch.device,
        bfloat16: bool,
    ) -> None:
        schedule = Schedule(recipe.phases, recipe.state_every, recipe.snapshot_every)
        super().__init__(schedule, recipe.seed, device, bfloat16)
        self.task, self.recipe = task, recipe
        self.generator, self.encoder = generator, encoder
        learning = [module for module in (generator, encoder) if module is not None]
        for module in learning:
            module.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.ema = deepcopy(generator).eval().requires_grad_(False)
        parameters = [p for module in learning for p in module.parameters()]
        self.optimizers[DENOISING] = torch.optim.Adam(parameters, recipe.lr, (0.9, 0.99), fused=True)
        self.teacher: Generator | None = None
        self.taught: dict[str, Tensor] = {}
        if recipe.distil_steps:
            self.teacher = deepcopy(self.ema)
            parameters = list(generator.parameters())
            self.optimizers[DISTILLATION] = torch.optim.Adam(parameters, recipe.lr, (0.9, 0.99), fused=True)

    def modules(self) -> dict[str, nn.Module]:
        named = {"generator": self.generator, "ema": self.ema, "encoder": self.encoder, "teacher": self.teacher}
        return {name: module for name, module in named.items() if module is not None}

    def shown(self) -> Generator:
        return self.ema

    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        """The loss of some items."""
        return self._loss(data, items)[0]

    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        recipe, phase, items = self.recipe, self.phase, self.recipe.batch_size // parallel.world_size()
        if phase == DENOISING:
            done, cooldown = self.step, recipe.cooldown
            loss, figures = self._loss(data, items)
        else:
            done, cooldown = self.step - recipe.steps, recipe.distil_steps // 2
            loss, figures = self._distillation_loss(items)
        left = (recipe.phases[phase] - done) / max(1, cooldown)
        self.set_rate(phase, recipe.lr * min(1.0, left, (done + 1) / WARM_UP))
        self.descend(phase, loss, clip=LONGEST_STEP)
        # In a short run, averaging over at most its last tenth removes the initial weights.
        average_weights(self.ema, self.generator, min(recipe.ema_decay, (1 + done) / (10 + done)))
        return figures

    def _distillation_loss(self, items: int) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.taught:
            self.prepare_distillation()
        index = parallel.randint(0, self.recipe.distil_items, (items,), self.rng)
        with self.autocast():
            return self.task.distillation_loss(
                self.generator, {name: rows[index] for name, rows in self.taught.items()}, self.rng
            )

    @torch.no_grad()
    def prepare_distillation(self) -> None:
        """Lets the teacher make what is learned from; it is the same for a resumed run."""
        assert self.teacher is not None
        if self.step == self.recipe.steps:
            for module in (self.teacher, self.generator):
                module.load_state_dict(self.ema.state_dict())
        rng = torch.Generator(self.device).manual_seed(self.seed)
        sizes = [min(TAUGHT, self.recipe.distil_items - k) for k in range(0, self.recipe.distil_items, TAUGHT)]
        with self.autocast():
            made = [self.task.teach(self.teacher, n, rng) for n in sizes]
        self.taught = {name: torch.cat([rows[name] for rows in made]) for name in made[0]}

    def _loss(self, data: Mapping[str, Tensor], items: int) -> tuple[Tensor, dict[str, Tensor]]:
        index = self.task.draw(data, items, self.rng)
        batch = self.task.batch(data, index, self.rng)
        with self.autocast():
            return self.task.loss(self.generator, self.encoder, batch, self.recipe, self.rng)

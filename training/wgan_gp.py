"""WGAN-GP: the Wasserstein loss with gradient penalty, and the objective that all GAN families use.

Gulrajani et al. (2017), "Improved Training of Wasserstein GANs", arXiv:1704.00028. For comparison there is also the
original loss of Goodfellow et al. (2014), arXiv:1406.2661, in its non-saturating form.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Generator
from training import parallel
from training.latents import draw_latents
from training.objective import Objective, Schedule, average_weights
from training.parallel import rand
from training.runs import TrainingError
from training.task import WARM, Batch, Prepared, Task, TrainingRecipe, initialised


def critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The critic's loss: mean fake score minus mean real score.

    Its negative estimates the Wasserstein-1 distance as far as the critic is 1-Lipschitz.
    """
    return fake_scores.mean() - real_scores.mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """The generator's loss: minus the mean score of fakes."""
    return -fake_scores.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """Mean squared difference of the critic's gradient norm from 1, at random points between real and fake.

    Algorithm 1, lines 4-7 of Gulrajani et al. (2017).

    Args:
        critic: (batch, ...) -> (batch,). No item may change another's score: no batch norm.
        real, fake: (batch, ...), same shape. No gradient flows to `fake`.
        rng: for the random mixing weights; the global state if None.
    Returns:
        A scalar >= 0, without its weight.
    Raises:
        ValueError: if the shapes differ.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real has shape {tuple(real.shape)}, fake has {tuple(fake.shape)}")
    share = rand((len(real), *(1,) * (real.ndim - 1)), rng).to(real)
    between = torch.lerp(real.detach(), fake.detach().to(real), share).requires_grad_()
    scores = critic(between)
    (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    # .norm, not sqrt of a sum: its gradient at zero is zero instead of NaN.
    return (slope.flatten(1).float().norm(dim=1) - 1).square().mean()


def original_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The discriminator's loss of the original GAN: binary cross entropy with scores as logits of "real"."""
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


def original_generator_loss(fake_scores: Tensor) -> Tensor:
    """The non-saturating generator loss: minus the log of the probability that a fake is real."""
    return F.softplus(-fake_scores).mean()


class AdversarialTask(Task):
    """A family that is trained as a GAN: its critic and, where it has one, its warm start and what the critic sees."""

    defaults: ClassVar[TrainingRecipe]
    fine_tuning: ClassVar[TrainingRecipe]

    def objective(
        self, recipe: TrainingRecipe, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> "WGANGP":
        generator, critic, encoder = initialised(self, recipe, data, config, self.critic, self.encoder)
        assert critic is not None
        if encoder is None and recipe.warm_steps:
            raise TrainingError(f"this configuration of {self.family} has no warm start: add --warm-steps 0")
        return WGANGP(self, recipe, Networks(generator, critic, encoder), device, bfloat16)

    @abstractmethod
    def critic(self, generator: Generator) -> nn.Module:
        """A critic with new weights: (view, condition) -> (scores (batch,), label logits (batch, labels) or None).

        No item of a batch may change another's score, so no batch norm; but items may within groups of consecutive
        ones that divide the batch (minibatch deviation), since real and generated items are never in one group.
        """

    def encoder(self, generator: Generator) -> nn.Module | None:
        """The network that learns with the generator in the warm start, or None without a warm start."""
        return None

    def draw(self, tensors: Mapping[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        """Indices (n,) of the items of a batch. By default every item is equally likely."""
        return parallel.randint(0, len(next(iter(tensors.values()))), (n,), rng)

    @abstractmethod
    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        """The items `index` of a prepared set, augmented only in ways that keep them realistic."""

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the warm start, and values to log."""
        raise NotImplementedError(f"{self.family} has no warm start")

    def real_view(self, batch: Batch, encoder: nn.Module | None, rng: torch.Generator) -> Tensor:
        """The critic's input for real items, (batch, ...). By default the items themselves."""
        return batch.x

    def fake_view(self, generator: Generator, z: Tensor, condition: Tensor | None, rng: torch.Generator) -> Tensor:
        """The critic's input for generated items, of the shape of `real_view`. By default the generator's output."""
        output: Tensor = generator(z, condition)
        return output

    def matching_loss(
        self, networks: "Networks", tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """Distances between generated and real items by name, which are added to the generator's loss.

        For example feature matching: Salimans et al. (2016), arXiv:1606.03498.
        """
        return {}

    def begin_adversarial(self, networks: "Networks", ema: Generator) -> None:
        """Called once, before the first adversarial step; for weights that start from those of the warm start.

        Args:
            ema: the generator with EMA weights.
        """

    def adversarial_parameters(self, generator: Generator) -> list[nn.Parameter]:
        """The generator's parameters that adversarial training changes. By default all."""
        return list(generator.parameters())


class Networks(NamedTuple):
    """The networks that learn together; encoder is None without a warm start."""

    generator: Generator
    critic: nn.Module
    encoder: nn.Module | None


class WGANGP(Objective):
    """WGAN-GP (algorithm 1 of Gulrajani et al., 2017) for any `Task`, after an optional warm start.

    In the warm start generator and encoder learn to reconstruct the data as an autoencoder. Then critic and generator
    are updated in turns.

    Attributes:
        ema: the generator with EMA weights, used for snapshots and export.
        encoder: None without a warm start.
    """

    def __init__(
        self,
        task: AdversarialTask,
        recipe: TrainingRecipe,
        networks: Networks,
        device: torch.device,
        bfloat16: bool,
    ) -> None:
        schedule = Schedule(recipe.phases, recipe.state_every, recipe.snapshot_every)
        super().__init__(schedule, recipe.seed, device, bfloat16)
        self.task, self.recipe = task, recipe
        self.networks = networks
        self.generator, self.critic, self.encoder = networks
        for module in (self.generator, self.critic, self.encoder):
            if module is not None:
                module.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.ema = deepcopy(self.generator).eval().requires_grad_(False)
        parameters = task.adversarial_parameters(self.generator)
        self.optimizers["critic"] = _adam(list(self.critic.parameters()), recipe.critic_lr, (0.0, 0.9))
        if self.encoder is not None:
            both = [*self.generator.parameters(), *self.encoder.parameters()]
            self.optimizers["warm"] = _adam(both, recipe.warm_lr, (0.9, 0.99))
            if recipe.reconstruction_weight > 0:
                parameters = [*parameters, *self.encoder.parameters()]
        self.optimizers["generator"] = _adam(parameters, recipe.generator_lr, (0.0, 0.9))

    def modules(self) -> dict[str, nn.Module]:
        named = {"generator": self.generator, "ema": self.ema, "critic": self.critic, "encoder": self.encoder}
        return {name: module for name, module in named.items() if module is not None}

    def shown(self) -> Generator:
        return self.ema

    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.warm_step(data) if self.phase == WARM else self.adversarial_step(data)

    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        """The critic's mean score of real items minus that of generated ones; of a warm start alone, its loss."""
        batch = self._batch(data, items)
        if self.encoder is not None and not self.recipe.steps:
            with self.autocast():
                return self.task.warm_loss(self.generator, self.encoder, batch, self.recipe, self.rng)[0]
        z = draw_latents(self.generator.latent, items, self.rng)
        with self.autocast():
            real = self.task.real_view(batch, self.encoder, self.rng)
            fake = self.task.fake_view(self.generator, z, batch.condition, self.rng)
            scores = [self.critic(view, batch.condition)[0].float().mean() for view in (real, fake)]
        return scores[0] - scores[1]

    def warm_step(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One reconstruction step of generator and encoder."""
        assert self.encoder is not None
        left = (self.recipe.warm_steps - self.step) / max(1, self.recipe.warm_cooldown)
        self.set_rate("warm", self.recipe.warm_lr * min(1.0, left))
        batch = self._batch(data)
        self.generator.requires_grad_(self.step >= self.recipe.head_start)
        with self.autocast():
            loss, figures = self.task.warm_loss(self.generator, self.encoder, batch, self.recipe, self.rng)
        self.descend("warm", loss)
        self.generator.requires_grad_(True)
        # A warm start is short: averaging over at most its last tenth removes the initial weights from the EMA.
        average_weights(self.ema, self.generator, min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step)))
        return {"reconstruction_loss": loss, **figures}

    def adversarial_step(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`critic_steps` updates of the critic, then one of the generator (none during the head start)."""
        recipe = self.recipe
        if self.step == recipe.warm_steps:
            self.task.begin_adversarial(self.networks, self.ema)
        left = min(1.0, (self.schedule.steps - self.step) / max(1, recipe.cooldown))
        self.set_rate("critic", recipe.critic_lr * left)
        self.set_rate("generator", recipe.generator_lr * left)
        figures: dict[str, Tensor] = {}
        for k in range(recipe.critic_steps):
            figures |= self._critic_update(data, self.step * recipe.critic_steps + k)
        if self.step - recipe.warm_steps >= recipe.head_start:
            figures |= self._generator_update(data)
        return figures

    def _critic_update(self, data: Mapping[str, Tensor], update: int) -> dict[str, Tensor]:
        """One critic update. `update` is its number in the run, for the penalty of every N-th update."""
        batch = self._batch(data)
        with self.autocast(), torch.no_grad():
            real = self.task.real_view(batch, self.encoder, self.rng)
            fake = self.task.fake_view(self.generator, self._latents(), batch.condition, self.rng)
        with self.autocast():
            loss, figures = self._critic_loss(real, fake, batch, update)
        self.descend("critic", loss)
        return figures

    def _critic_loss(self, real: Tensor, fake: Tensor, batch: Batch, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        # Real and fake in one pass, which is faster: no item changes another's score.
        both = None if batch.condition is None else torch.cat([batch.condition, batch.condition])
        scores, logits = self.critic(torch.cat([real, fake]), both)
        real_scores, fake_scores = scores.float().chunk(2)
        if recipe.objective == "wgan-gp":
            loss = critic_loss(real_scores, fake_scores)
            figures = {"critic_loss": loss, "wasserstein": -loss}
        else:
            loss = original_critic_loss(real_scores, fake_scores)
            figures = {"critic_loss": loss}
        if recipe.objective == "wgan-gp" and update % recipe.penalty_every == 0:
            penalty = gradient_penalty(lambda x: self.critic(x, batch.condition)[0].float(), real, fake, self.rng)
            figures["penalty"] = penalty
            loss = loss + recipe.penalty_weight * recipe.penalty_every * penalty
            figures["critic_loss"] = loss
        if logits is not None and batch.condition is not None:
            figures["real_class_loss"] = F.cross_entropy(logits.float().chunk(2)[0], batch.condition)
            loss = loss + recipe.auxiliary_weight * figures["real_class_loss"]
        return loss, figures

    def _generator_update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        recipe, figures = self.recipe, dict[str, Tensor]()
        batch = self._batch(data)
        self.critic.requires_grad_(False)
        with self.autocast():
            fake = self.task.fake_view(self.generator, self._latents(), batch.condition, self.rng)
            scores, logits = self.critic(fake, batch.condition)
            adversarial = generator_loss if recipe.objective == "wgan-gp" else original_generator_loss
            loss = figures["generator_loss"] = adversarial(scores.float())
            if logits is not None and batch.condition is not None:
                figures["fake_class_loss"] = F.cross_entropy(logits.float(), batch.condition)
                loss = loss + recipe.auxiliary_weight * figures["fake_class_loss"]
            others = self.task.matching_loss(self.networks, data, recipe, self.rng)
            loss, figures = sum(others.values(), loss), figures | others
            reconstructs = recipe.reconstruction_weight > 0 and self.step % recipe.reconstruction_every == 0
            if reconstructs and self.encoder is not None:
                batch = self._batch(data)
                reconstruction, _ = self.task.warm_loss(self.generator, self.encoder, batch, recipe, self.rng)
                figures["reconstruction_loss"] = reconstruction
                loss = loss + recipe.reconstruction_weight * recipe.reconstruction_every * reconstruction
        self.descend("generator", loss)
        self.critic.requires_grad_(True)
        average_weights(self.ema, self.generator, recipe.ema_decay)
        return figures

    def _batch(self, data: Mapping[str, Tensor], size: int | None = None) -> Batch:
        index = self.task.draw(data, size or self._local_batch(), self.rng)
        return self.task.batch(data, index, self.rng)

    def _latents(self) -> Tensor:
        return draw_latents(self.generator.latent, self._local_batch(), self.rng)

    def _local_batch(self) -> int:
        return self.recipe.batch_size // parallel.world_size()


def _adam(parameters: list[nn.Parameter], lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)

"""Trains DiffWave: the network learns to find a sound in noise, from the noise, its latent and its label.

An encoder learns with it to say what is in the sound in a small latent (diffusion autoencoder: Preechakul et al., 2022,
arXiv:2111.15640). They draw latents from a second diffusion model; here a KL divergence keeps them near a standard
normal prior, from which a place draws its latent. Some nats of it are free (Kingma et al., 2016, arXiv:1606.04934,
appendix C.8): the network has the noisy sound too, and otherwise learns to do without a latent that says nothing yet.
The encoder is told the label, so that the latent need not say it: at the prior, it would say another.
"original" has no encoder, as its latent is the noise.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Generator
from explorer.generators.diffwave import HIGHEST, DiffWave
from training import parallel
from training.denoising import Denoising, DenoisingRecipe, DenoisingTask
from training.families.one_shots import OneShotTask
from training.families.wavegan import WIDTH, Encoder, Trunk, view
from training.networks import posterior
from training.parallel import rand, randint, randn
from training.runs import TrainingError
from training.task import Batch, Prepared

TEACHER = {"steps": "16", "guidance": "2", "grain": "0"}  # settings of the sounds that it is distilled from
MEASURED = 4096  # items at most of which the deviations of coefficients are measured
FARTHEST_MOVE = 8  # samples
FARTHEST = 4.0  # standard deviations of the prior


class DiffWaveTask(OneShotTask, DenoisingTask):
    """Trains DiffWave on short sounds that begin at once, conditional on their labels if they have any."""

    family = "diffwave"
    summary = "a diffusion model of one-shots (waveforms), on folders of short recordings or SoundFonts (e.g. drums)"
    generator_class = DiffWave
    defaults = DenoisingRecipe()
    fine_tuning = replace(defaults, steps=2000, cooldown=1000, lr=1e-4, snapshot_every=500, state_every=250)

    def objective(
        self, recipe: DenoisingRecipe, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> Denoising:
        if recipe.distil_steps and config.get("architecture") == "original":
            raise TrainingError("the architecture 'original' cannot be distilled: leave out --distil-steps")
        config = {**config, "distilled": bool(recipe.distil_steps)}  # whatever the checkpoint is that a run starts from
        return super().objective(recipe, data, config, device, bfloat16)

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        generator = super().generator(data, overrides)
        assert isinstance(generator, DiffWave)
        if generator.noise is not None:
            items = len(data.train["x"])
            measured = torch.arange(0, items, math.ceil(items / MEASURED))
            generator.measure(self.batch(data.train, measured, torch.Generator()).x)
        return generator

    def encoder(self, generator: Generator) -> nn.Module | None:
        assert isinstance(generator, DiffWave)
        if generator.noise is None:
            return None
        samples = generator.representation.shape[0]
        trunk = Trunk(samples, channels=(8, 16, 32, 64), wave=8)
        return BoundedEncoder(samples, generator.latent.size, trunk, len(generator.config.labels))

    @staticmethod
    def weights(generator: DiffWave) -> Tensor:
        """(bands, 1, 1), mean 1: of each sub-band's error, so that equal steps of hearing count equally.

        By the equivalent rectangular bandwidths of Glasberg and Moore (1990). The tone of a kick or a tom is in one or
        two of 64 bands, and is heard as much as the hiss in all others.
        """
        config = generator.config
        if config.architecture == "original":
            return torch.ones(1, 1, 1)
        nyquist = config.waveform.sample_rate / 2000  # kHz
        density = 1 / (1 + 4.37 * nyquist * (torch.arange(config.bands) + 0.5) / config.bands)
        return (density / density.mean())[:, None, None]

    def loss(
        self,
        generator: Generator,
        encoder: nn.Module | None,
        batch: Batch,
        recipe: DenoisingRecipe,
        rng: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared error of what the network predicts, plus the weighted KL divergence of the encoded latents."""
        assert isinstance(generator, DiffWave)
        process, n = generator.process, len(batch.x)
        points = generator.points(disguised(batch.x, rng))
        t = process.time(rand((n,), rng))
        noise = randn(points.shape, rng)
        alpha, sigma = (rate[:, None, None, None] for rate in process.rates(t))
        z, divergence = (None, None) if encoder is None else posterior(encoder(view(batch.x), batch.condition), rng)
        style = generator.style(z, batch.condition, rand((n, 1), rng) < recipe.dropout)
        predicted = generator.network(alpha * points + sigma * noise, t, style).float()
        errors = (predicted - process.target(points, noise, alpha, sigma)).square()
        error = (errors * self.weights(generator).to(errors)).mean()
        if divergence is None:
            return error, {"error": error}
        # By the mean of the whole batch, or the result would depend on the number of processes.
        beyond = parallel.average(divergence.detach().clone()) > recipe.free_nats
        cost = recipe.kl_weight * (divergence - recipe.free_nats) * beyond
        return error + cost, {"error": error, "divergence": divergence}

    def teach(self, teacher: Generator, n: int, rng: torch.Generator) -> dict[str, Tensor]:
        assert isinstance(teacher, DiffWave)
        assert teacher.noise is not None
        noise, z = (
            torch.randn((n, space.size), generator=rng, device=rng.device) for space in (teacher.noise, teacher.latent)
        )
        made = {"noise": noise.half(), "z": z}
        if labels := len(teacher.config.labels):
            drawn = torch.randint(labels, (n,), generator=rng, device=rng.device)
            made["condition"] = F.one_hot(drawn, labels).float()
        *_, point = teacher.estimates(z, made.get("condition"), TEACHER, noise)
        return {**made, "point": point.half()}

    def distillation_loss(
        self, generator: Generator, taught: Mapping[str, Tensor], rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared error as in `loss`, between noises and what the teacher found in them.

        A quarter of the items is at the first step of a draft; another is at its second, after the network's own first.
        """
        assert isinstance(generator, DiffWave)
        process, network = generator.process, generator.network
        points, noise = taught["point"].float(), generator.bands(taught["noise"].float())
        style = generator.style(taught["z"], taught.get("condition"))
        assert style is not None
        t = process.time(rand((len(points),), rng))
        first, second = process.levels(generator.draft["steps"]).to(t)
        own = slice(1, None, 4)
        t[::4], t[own] = first, second
        alpha, sigma = (rate[:, None, None, None] for rate in process.rates(t))
        mixed = alpha * points + sigma * noise
        target = process.target(points, noise, alpha, sigma)
        predicted = network(noise[own], first.expand(len(t[own])), style[own]).float().detach()
        # At the first step all is noise. The second is to lead to the point from where the first led.
        missed = process.clean(noise[own], predicted, 0.0, 1.0).clamp(-HIGHEST, HIGHEST) - points[own]
        mixed[own] += alpha[own] * missed
        target[own] += alpha[own].square() / sigma[own] * missed
        errors = (network(mixed, t, style).float() - target).square()
        error = (errors * self.weights(generator).to(errors)).mean()
        return error, {"error": error}


def disguised(x: Tensor, rng: torch.Generator) -> Tensor:
    """(batch, samples), some upside down, moved by up to half a millisecond: it is not heard, nor learned by heart."""
    sign = 1 - 2 * (rand((len(x), 1), rng) < 0.5).to(x)
    moved = torch.arange(x.shape[1], device=x.device) + randint(-FARTHEST_MOVE, FARTHEST_MOVE + 1, (len(x), 1), rng)
    return sign * x.gather(1, moved % x.shape[1])


class BoundedEncoder(Encoder):
    """An encoder whose means stay within `FARTHEST` and whose variances stay below the prior's.

    While divergence costs nothing, nothing else would hold them: without bounds it rose to 10^8 nats in 140 steps.
    """

    def __init__(self, samples: int, latent: int, trunk: Trunk, labels: int) -> None:
        super().__init__(samples, latent, trunk)
        self.label = nn.Linear(labels, WIDTH, bias=False) if labels else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        h = self.trunk(x)
        if self.label is not None:
            h = h + self.label(condition)
        mean, raw = self.head(F.leaky_relu(h, 0.2)).float().chunk(2, dim=1)
        return torch.cat([FARTHEST * (mean / FARTHEST).tanh(), -F.softplus(-raw)], dim=1)

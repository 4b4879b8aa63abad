"""The training command on the points of test_loop, in double precision and without batch norm: run by torchrun.

Adam divides each gradient by its own size, so in single precision the last bits of a small one, which depend on the
order of sums, would show in the weights.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import Critic, Points, PointsTask, silent
from torch import Tensor, nn

import training.commands
import training.families
from explorer.generators.base import Generator
from explorer.sound.base import Settings
from training import parallel
from training.__main__ import main
from training.families.window_statistics import quantile_distance
from training.latents import balanced_latents
from training.task import Batch, Prepared, TrainingRecipe
from training.wgan_gp import Networks


class PrecisePoints(Points):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Softplus(), nn.Linear(8, 2))

    def forward(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        settings: Settings | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        return super().forward(z.double(), condition, settings, noise)


class PrecisePointsTask(PointsTask):
    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        return PrecisePoints(Points.Config()).double()

    def critic(self, generator: Generator) -> nn.Module:
        return Critic().double()

    def encoder(self, generator: Generator) -> nn.Module:
        return nn.Linear(2, 3).double()

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        batch = super().batch(tensors, index, rng)
        assert batch.condition is not None
        return Batch(batch.x.double(), batch.condition.double())

    def matching_loss(
        self, networks: Networks, tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> dict[str, Tensor]:
        z = balanced_latents(networks.generator.latent, 16 // parallel.world_size(), rng)
        x = networks.generator(z, parallel.local_rows(torch.eye(2).double().repeat(8, 1)))
        return {"matching_loss": quantile_distance(x, parallel.gathered(x), tensors["x"].double().sort(0).values)}


def train(folder: Path, steps: int) -> int:
    """Starts or resumes a run, to `steps` adversarial steps after three of warm start."""
    argv = [
        "spectogan",
        "--data",
        ".",
        "--out",
        str(folder),
        "--precision",
        "float32",
        "--steps",
        str(steps),
        "--device",
        "cpu",
        *(["--resume"] if (folder / "run.json").exists() else []),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.families.TASKS, "spectogan", PrecisePointsTask)
        patch.setattr(training.commands, "snapshot", silent)
        return main(argv)


if __name__ == "__main__":
    sys.exit(train(Path(sys.argv[1]), int(sys.argv[2])))

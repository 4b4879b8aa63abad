"""A family may bring an objective and a recipe of its own: the loop and the commands know neither."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from poor_task import PoorTask
from torch import Tensor, nn
from toy_poor import SAMPLE_RATE, SAMPLES

import training.__main__
from explorer import checkpoint
from explorer.generators.base import Generator
from training.families import TASKS
from training.objective import Objective, Schedule
from training.options import check, count, real
from training.parallel import rand, randint
from training.task import Prepared, Task


@dataclass(frozen=True)
class DenoisingRecipe:
    """Every number of a denoising run: one phase, one learning rate."""

    batch_size: int = count(4, "items in a batch", low=1)
    steps: int = count(3, "steps of denoising")
    lr: float = real(1e-2, "Adam's learning rate")
    seed: int = count(0, "seed of all random numbers")
    state_every: int = count(1, "steps between saved states", low=1)
    snapshot_every: int = count(1, "steps between snapshots", low=1)
    extra: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    @property
    def phases(self) -> dict[str, int]:
        return {"denoising": self.steps}


class Denoising(Objective):
    """The squared distance of what a generator makes of noise from recordings."""

    def __init__(self, generator: Generator, recipe: DenoisingRecipe, device: torch.device, bfloat16: bool) -> None:
        schedule = Schedule(recipe.phases, recipe.state_every, recipe.snapshot_every)
        super().__init__(schedule, recipe.seed, device, bfloat16)
        self.recipe, self.generator = recipe, generator.train()
        self.ema = deepcopy(generator).eval().requires_grad_(False)
        self.optimizers["generator"] = torch.optim.Adam(self.generator.parameters(), lr=recipe.lr)

    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "ema": self.ema}

    def shown(self) -> Generator:
        return self.ema

    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        x = data["x"][randint(0, len(data["x"]), (items,), self.rng)]
        z = rand((items, *self.generator.latent.shape), self.rng) * 2 - 1
        with self.autocast():
            output: Tensor = self.generator(z)
        return (output.float() - x).square().mean()

    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        loss = self.probe(data, self.recipe.batch_size)
        self.descend("generator", loss)
        self.ema.load_state_dict(self.generator.state_dict())
        return {"denoising_loss": loss}


class DenoisingTask(Task):
    """The poor toy's data and generator, trained by denoising."""

    family, summary = PoorTask.family, PoorTask.summary
    Recipe = DenoisingRecipe
    defaults, fine_tuning = DenoisingRecipe(), DenoisingRecipe(steps=1)

    def prepare(self, folder: Path, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        return PoorTask().prepare(folder, cache, options, like)

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        return PoorTask().generator(data, overrides)

    def objective(
        self, recipe: Any, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> Objective:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return Denoising(self.generator(data, config), recipe, device, bfloat16)


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, DenoisingTask.family, DenoisingTask)
    monkeypatch.setattr("training.export.measured", lambda generator, samples, progress: ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings of a tone each."""
    (tmp_path / "sounds").mkdir()
    for k in range(3):
        wave = np.sin(2 * np.pi * 200 * (k + 1) * np.arange(SAMPLES) / SAMPLE_RATE)
        soundfile.write(tmp_path / "sounds" / f"{k}.wav", wave / 2, SAMPLE_RATE)
    return tmp_path / "sounds"


def train(*argv: str) -> int:
    return training.__main__.main([DenoisingTask.family, *argv, "--threads", "1"])


def test_a_denoising_family_trains_resumes_exports_and_is_fine_tuned(folder: Path, tmp_path: Path) -> None:
    run, shelf = tmp_path / "run", tmp_path / "shelf"
    assert train("--data", str(folder), "--out", str(run), "--lr", "0.02") == 0
    assert train("--out", str(run), "--resume", "--steps", "5") == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["step"], line["phase"]) for line in lines] == [(step, "denoising") for step in (1, 2, 3, 4, 5)]
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["recipe"]["lr"] == 0.02
    for command in ("export", "snapshots"):
        assert training.__main__.main([command, str(run), "--name", "toy", "--checkpoints", str(shelf)]) == 0
    loaded, _ = checkpoint.load(shelf / "toy.safetensors")
    assert loaded.family == DenoisingTask.family
    origin = str(shelf / "toy.safetensors")
    assert train("--data", str(folder), "--out", str(tmp_path / "tuned"), "--init-from", origin) == 0


def test_only_the_recipe_of_the_family_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        train("--help")
    offered = capsys.readouterr().out
    assert "--lr" in offered
    assert "--critic-steps" not in offered

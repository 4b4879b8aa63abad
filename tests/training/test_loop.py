"""The training loop, on a family small enough to train in a test: points on a line from a one-number latent."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Representation, Settings, Sound
from training.latents import balanced_latents
from training.loop import train
from training.objective import Objective
from training.parallel import randn
from training.runs import METRICS, PREVIOUS_STATE, STATE, TrainingError, load_state
from training.task import Batch, Prepared, TrainingRecipe
from training.wgan_gp import WGANGP, AdversarialTask

RECIPE = TrainingRecipe(
    batch_size=8,
    warm_steps=3,
    steps=6,
    critic_steps=2,
    penalty_every=2,
    auxiliary_weight=0.1,
    reconstruction_weight=0.1,
    state_every=2,
    snapshot_every=100,
)


class TwoNumbers(Representation):
    """A representation of two numbers, without sound."""

    shape, sample_rate, seconds = (2,), 100, 0.01

    def encode(self, sound: Sound) -> Tensor:
        return torch.from_numpy(sound.waveform.copy())

    def decode(self, x: Tensor, settings: Mapping[str, str] | None = None) -> Sound:
        return Sound(lambda: x.numpy().astype(np.float32), 100, 0.01)


class Points(Generator):
    family = "points"

    @dataclass(frozen=True)
    class Config:
        width: int = 4

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config, self.latent, self.representation = config, LatentSpace((3,)), TwoNumbers()
        self.condition = Condition("side", ("left", "right"))
        self.net = nn.Sequential(nn.Linear(5, config.width), nn.BatchNorm1d(config.width), nn.Linear(config.width, 2))

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        assert condition is not None
        return torch.tanh(self.net(torch.cat([z, condition], dim=1)))


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.score, self.side = nn.Linear(4, 32), nn.Linear(32, 1), nn.Linear(32, 2)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.nn.functional.softplus(self.body(torch.cat([x, condition], dim=1)))
        return self.score(h)[:, 0], self.side(h)


class PointsTask(AdversarialTask):
    family, summary, defaults = "points", "points on a line", RECIPE

    def prepare(self, folder: Path, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        rng = np.random.RandomState(0)
        label = torch.arange(64) % 2
        x = torch.from_numpy(rng.normal(0, 0.1, (64, 2)).astype(np.float32)) + (label[:, None] - 0.5)
        return Prepared({"x": x, "label": label}, {}, {})

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        return Points(replace(Points.Config(), **overrides))

    def critic(self, generator: Generator) -> nn.Module:
        return Critic()

    def encoder(self, generator: Generator) -> nn.Module:
        return nn.Linear(2, 3)

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        x = tensors["x"][index]
        noise = randn(x.shape, rng)
        return Batch(x + 0.01 * noise, torch.nn.functional.one_hot(tensors["label"][index], 2).float())

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (generator(encoder(batch.x), batch.condition) - batch.x).square().mean()
        return loss, {}


def fresh(recipe: TrainingRecipe = RECIPE) -> tuple[WGANGP, Prepared]:
    task = PointsTask()
    data = task.prepare(Path(), Path(), {})
    return task.objective(recipe, data, {}, torch.device("cpu"), bfloat16=False), data


def silent(objective: Objective, folder: Path) -> None:
    """A snapshot function that writes nothing."""


def weights(run: WGANGP) -> dict[str, Tensor]:
    return {f"{m}.{k}": v for m, module in run.modules().items() for k, v in module.state_dict().items()}


def assert_equal_runs(a: WGANGP, b: WGANGP) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert [k for k in ours if not torch.equal(ours[k], theirs[k])] == []


def interrupted(folder: Path, after: int) -> None:
    """A run that was stopped after some steps and is resumed by nobody yet."""
    warm = min(after, RECIPE.warm_steps)
    run, data = fresh(replace(RECIPE, warm_steps=warm, steps=after - warm))
    train(run, data.train, folder, silent)


@pytest.mark.parametrize("after", [2, 3, 5, 8])
def test_resuming_gives_the_weights_of_an_unbroken_run_bit_for_bit(tmp_path: Path, after: int) -> None:
    whole, data = fresh()
    (tmp_path / "whole").mkdir()
    train(whole, data.train, tmp_path / "whole", silent)
    (tmp_path / "broken").mkdir()
    interrupted(tmp_path / "broken", after)
    resumed, data = fresh()
    load_state(resumed, tmp_path / "broken")
    assert resumed.step == after
    train(resumed, data.train, tmp_path / "broken", silent)
    assert_equal_runs(whole, resumed)


def test_both_rates_fall_linearly_to_zero_over_the_last_steps(tmp_path: Path) -> None:
    run, data = fresh(replace(RECIPE, steps=6, cooldown=4, critic_steps=1, generator_lr=0.5, critic_lr=2.0))
    used: dict[str, list[float]] = {"generator": [], "critic": [], "warm": []}
    for name, rates in used.items():
        run.optimizers[name].register_step_pre_hook(lambda o, *_, rates=rates: rates.append(o.param_groups[0]["lr"]))
    train(run, data.train, tmp_path, silent)
    assert used["critic"] == [2.0, 2.0, 2.0, 1.5, 1.0, 0.5]
    assert used["generator"] == [0.5, 0.5, 0.5, 0.375, 0.25, 0.125]
    assert used["warm"] == [RECIPE.warm_lr] * 3


def test_a_run_resumed_while_it_cools_down_gives_the_same_bits(tmp_path: Path) -> None:
    recipe = replace(RECIPE, cooldown=4, state_every=7, snapshot_every=7)
    whole, data = fresh(recipe)
    (tmp_path / "whole").mkdir()
    train(whole, data.train, tmp_path / "whole", silent)

    def killer(run: Objective, folder: Path) -> None:
        if run.step == 7:
            raise KeyboardInterrupt

    broken, data = fresh(recipe)
    with pytest.raises(KeyboardInterrupt):
        train(broken, data.train, tmp_path, killer)
    resumed, data = fresh(recipe)
    load_state(resumed, tmp_path)
    assert resumed.step == 7
    train(resumed, data.train, tmp_path, silent)
    assert_equal_runs(whole, resumed)


def test_a_head_start_lets_the_encoder_and_then_the_critic_learn_before_the_generator(tmp_path: Path) -> None:
    moved = []
    run, data = fresh(replace(RECIPE, warm_steps=3, steps=3, head_start=2, snapshot_every=1))
    seen = {name: module.state_dict() for name, module in deepcopy(run.modules()).items()}

    def look(run: Objective, folder: Path) -> None:
        now = deepcopy({name: module.state_dict() for name, module in run.modules().items()})
        moved.append(
            {
                name
                for name in now
                if any(not torch.equal(now[name][k], seen[name][k]) for k in now[name] if k.endswith("weight"))
            }
            - {"ema"}
        )
        seen.update(now)

    train(run, data.train, tmp_path, look)
    assert moved == [
        set(),
        {"encoder"},
        {"encoder"},
        {"encoder", "generator"},
        {"critic"},
        {"critic"},
        {"critic", "generator", "encoder"},
    ]


def test_a_killed_process_loses_only_the_steps_since_its_last_state(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, signal, sys, torch
        torch.set_num_threads({torch.get_num_threads()})  # sums depend on it, in their last bits
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_loop, training.loop as loop
        run, data = test_loop.fresh()
        step = run.adversarial_step
        def fatal(tensors):
            if run.step == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(tensors)
        run.adversarial_step = fatal
        loop.train(run, data.train, Path(sys.argv[1]), test_loop.silent)
    """)
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        check=False,
        timeout=600,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed, data = fresh()
    load_state(resumed, tmp_path)
    assert resumed.step == 6
    train(resumed, data.train, tmp_path, silent)
    (tmp_path / "whole").mkdir()
    whole, data = fresh()
    train(whole, data.train, tmp_path / "whole", silent)
    assert_equal_runs(whole, resumed)
    steps = [json.loads(line)["step"] for line in (tmp_path / METRICS).read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    whole = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(whole[: len(whole) // 2])
    run, _ = fresh()
    load_state(run, tmp_path)
    assert run.step == 4
    (tmp_path / PREVIOUS_STATE).unlink()
    with pytest.raises(TrainingError, match="no state to be read"):
        load_state(run, tmp_path)


@contextmanager
def no_room() -> Iterator[None]:
    """Inside, no file grows beyond 8 kB: the disk is all but full. Not for the whole test: pytest writes files too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_reported_and_the_last_state_is_kept(tmp_path: Path) -> None:
    interrupted(tmp_path, 4)
    run, data = fresh()
    load_state(run, tmp_path)
    with no_room(), pytest.raises(TrainingError, match=r"the state of step 6 cannot be written .* make room in"):
        train(run, data.train, tmp_path, silent)
    again, _ = fresh()
    load_state(again, tmp_path)
    assert again.step == 4
    assert not list(tmp_path.glob("*.partial"))


def test_a_nan_stops_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    interrupted(tmp_path, 4)
    run, data = fresh()
    load_state(run, tmp_path)
    data.train["x"][:] = torch.nan
    with pytest.raises(TrainingError, match=r"no longer finite at step \d+"):
        train(run, data.train, tmp_path, silent)
    again, _ = fresh()
    load_state(again, tmp_path)
    assert again.step == 4
    assert all(bool(v.isfinite().all()) for v in weights(again).values())


def test_the_ema_copies_batch_norm_statistics(tmp_path: Path) -> None:
    run, data = fresh()
    train(run, data.train, tmp_path, silent)
    for average, current in zip(run.ema.buffers(), run.generator.buffers(), strict=True):
        assert torch.equal(average, current)


def test_the_ema_follows_its_formula(tmp_path: Path) -> None:
    run, data = fresh(replace(RECIPE, warm_steps=0, steps=1, ema_decay=0.75))
    before = [p.clone() for p in run.generator.parameters()]
    train(run, data.train, tmp_path, silent)
    for start_value, end, average in zip(before, run.generator.parameters(), run.ema.parameters(), strict=True):
        torch.testing.assert_close(average, 0.75 * start_value + 0.25 * end)


def test_training_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    run, data = fresh()
    train(run, data.train, tmp_path, silent)
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state(legacy=False)["state"]["key"]).all()


def test_the_critic_learns_to_separate_and_the_generator_moves_toward_the_data(tmp_path: Path) -> None:
    recipe = replace(
        RECIPE,
        batch_size=64,
        warm_steps=0,
        steps=800,
        critic_steps=5,
        penalty_every=1,
        auxiliary_weight=0.0,
        reconstruction_weight=0.0,
        generator_lr=1e-3,
        critic_lr=5e-3,
        state_every=1000,
        ema_decay=0.995,
    )
    run, data = fresh(recipe)
    train(run, data.train, tmp_path, silent)
    condition = torch.eye(2).repeat(100, 1)
    z = torch.from_numpy(np.random.RandomState(1).standard_normal((200, 3)).astype(np.float32))
    with torch.no_grad():
        made = run.ema(z, condition)
    for side, centre in ((0, -0.5), (1, 0.5)):
        assert made[side::2].mean(0).numpy() == pytest.approx([centre, centre], abs=0.15)


def test_the_original_loss_trains_without_a_penalty(tmp_path: Path) -> None:
    run, data = fresh(replace(RECIPE, objective="non-saturating", warm_steps=0, reconstruction_weight=0.0))
    train(run, data.train, tmp_path, silent)
    last = json.loads((tmp_path / METRICS).read_text().splitlines()[-1])
    assert "penalty" not in last
    assert last["critic_loss"] > 0  # a cross entropy, where the Wasserstein loss may have either sign


@pytest.mark.parametrize("n", [8, 24, 60])
def test_balanced_latents_are_normal_antithetic_and_orthogonal(n: int) -> None:
    rng = torch.Generator().manual_seed(0)
    sets = [balanced_latents(LatentSpace((4, 3)), n, rng).flatten(1) for _ in range(200)]
    for z in sets:
        assert torch.equal(z[: n // 2], -z[n // 2 :])
        among = z[: min(n // 2, 12)]
        torch.testing.assert_close(among @ among.T, torch.diag(among.square().sum(1)), atol=1e-4, rtol=0)
    firsts = torch.stack([z[k % 2 * n // 2] for k, z in enumerate(sets)]).flatten()  # of different sets, so independent
    assert stats.kstest(firsts, "norm").pvalue > 0.01
    assert stats.kstest([z[0].square().sum() for z in sets], "chi2", args=(12,)).pvalue > 0.01

"""A run on two processes, started by torchrun as a user starts it, against the same run on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from precise_points import train

from training import parallel
from training.runs import METRICS, TrainingError, last_state, read_run

HERE = Path(__file__).parent


def train_on_two_processes(folder: Path, steps: int) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(HERE / "precise_points.py"),
        str(folder),
        str(steps),
    ]
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_a_run_continued_on_one_and_two_processes_equals_a_run_on_one(tmp_path: Path) -> None:
    assert train(tmp_path / "alone", 6) == 0
    assert train(tmp_path / "turns", 1) == 0
    train_on_two_processes(tmp_path / "turns", 4)
    assert last_state(tmp_path / "turns")["step"] == 7
    assert read_run(tmp_path / "turns")["hardware"].startswith("2 x ")
    assert train(tmp_path / "turns", 6) == 0
    alone, turns = (last_state(tmp_path / name) for name in ("alone", "turns"))
    assert torch.equal(alone["rng"], turns["rng"])
    for name, weights in alone["modules"].items():
        for key, weight in weights.items():
            torch.testing.assert_close(turns["modules"][name][key], weight, rtol=0, atol=1e-12)
    lines = [
        [json.loads(line) for line in (tmp_path / name / METRICS).read_text().splitlines()]
        for name in ("alone", "turns")
    ]
    assert lines[1][-1]["step"] == lines[0][-1]["step"] == 9
    assert [line["step"] for line in lines[1]] == sorted({line["step"] for line in lines[1]})


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    monkeypatch.setattr(parallel, "rank", lambda: 1)


@pytest.mark.usefixtures("second_of_two")
def test_each_rank_draws_the_whole_batch_and_keeps_its_rows() -> None:
    mine = parallel.randn((3, 2), torch.Generator().manual_seed(0))
    assert torch.equal(mine, torch.randn((6, 2), generator=torch.Generator().manual_seed(0))[3:])


@pytest.mark.usefixtures("second_of_two")
def test_a_batch_size_that_ranks_cannot_share_is_an_error() -> None:
    from test_loop import RECIPE, fresh

    with pytest.raises(TrainingError, match="a batch of 7 cannot be shared by 2 processes"):
        fresh(RECIPE.__class__(batch_size=7))

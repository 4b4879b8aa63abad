"""The provenance of exported checkpoints, their snapshots and loss curves."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from poor_task import PoorTask
from toy import ToyConfig, make

from explorer import checkpoint
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.shelf import read_level, snapshots
from explorer.ui import models
from training.__main__ import main
from training.export import averaged_metrics, choose_steps, export_snapshots
from training.families import TASKS
from training.runs import TrainingError, portable


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "toy", PoorTask)  # a recipe of GANs is all that is asked of it here


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the toy to step 900, whose first snapshot is lost, beside a folder with the checkpoint of step 850."""
    folder = tmp_path / "run"
    (folder / "snapshots").mkdir(parents=True)
    about = {
        "family": "toy",
        "config": asdict(ToyConfig()),
        "recipe": {"seed": 3, "warm_steps": 100, "steps": 800},
        "data": {"folder": "/somewhere/secret/clips"},
        "command": "train --out /somewhere/secret/run",
        "hardware": "abacus",
    }
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    for step in (100, 300, 500, 900):
        checkpoint.save(folder / "snapshots" / f"{step:07d}.safetensors", make(step), dtype=torch.bfloat16)
    lines = [
        {"step": step, "phase": "warm" if step <= 100 else "adversarial", "seconds": 1.0, "wasserstein": step / 3}
        for step in range(10, 910, 10)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    checkpoint.save(tmp_path / "shelf" / "toy.safetensors", make(850), provenance={"step": 850})
    return folder


@pytest.fixture
def shelf(run: Path) -> Path:
    return run.parent / "shelf"


def test_an_export_without_directions_states_its_level_and_command_in_its_card(run: Path, shelf: Path) -> None:
    state = {"step": 900, "device": "cpu", "rng": torch.get_rng_state(), "optimizers": {}}
    torch.save({**state, "modules": {"ema": make().state_dict()}}, run / "state.pt")
    assert main(["export", str(run), "--name", "new", "--checkpoints", str(shelf), "--no-directions"]) == 0
    assert checkpoint.load(shelf / "new.safetensors")[1] == ()
    assert read_level(shelf / "new.safetensors") is not None
    card = (shelf / "new.md").read_text(encoding="utf-8")
    assert "`train --out run; python -m training export run --name new`" in card
    (told,) = (model for model in models.described(Engine(shelf)) if model["name"] == "new")
    assert told["about"] == "Sounds of 2 labels, 0.5 s each, learned from clips"
    assert told["licence"] == ""  # not filled in yet


def test_a_recorded_command_keeps_its_options_but_no_path_of_the_data() -> None:
    told = portable("python -m training x --data ../../data/fsdd --out runs/a; python -m training x --out /tmp/b")
    assert told == "python -m training x --data fsdd --out runs/a; python -m training x --out b"


def test_the_snapshot_of_initial_weights_is_made_again_from_the_seed(run: Path, shelf: Path) -> None:
    export_snapshots(run, "toy", shelf)
    first, _ = checkpoint.load(shelf / "snapshots" / "toy" / "0.safetensors")
    for name, weight in make(3).state_dict().items():
        torch.testing.assert_close(first.state_dict()[name], weight, atol=1e-2, rtol=0)


def test_a_fine_tuned_run_has_no_snapshot_of_initial_weights(run: Path, shelf: Path) -> None:
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**about, "init_from": {"name": "x"}}), encoding="utf-8")
    assert [path.stem for path in export_snapshots(run, "toy", shelf)] == ["100", "300", "500"]


def test_snapshots_after_the_checkpoint_s_step_are_left_out(run: Path, shelf: Path) -> None:
    export_snapshots(run, "toy", shelf)
    assert snapshots(shelf, "toy") == [0, 100, 300, 500]
    lines = (shelf / "snapshots" / "toy" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["step"] == 850


def test_snapshots_of_an_older_export_are_removed(run: Path, shelf: Path) -> None:
    checkpoint.save(shelf / "snapshots" / "toy" / "7.safetensors", make())
    export_snapshots(run, "toy", shelf, count=3)
    assert snapshots(shelf, "toy") == [0, 100]


def test_snapshots_name_no_path_of_the_machine(run: Path, shelf: Path) -> None:
    for path in [*export_snapshots(run, "toy", shelf), shelf / "snapshots" / "toy" / "metrics.jsonl"]:
        assert b"secret" not in path.read_bytes()


def test_a_checkpoint_of_another_run_gets_no_snapshots(run: Path, shelf: Path) -> None:
    checkpoint.save(shelf / "other.safetensors", make(notes=5), provenance={"step": 850})
    with pytest.raises(TrainingError, match="not from the run"):
        export_snapshots(run, "other", shelf)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        export_snapshots(run, "missing", shelf)


@pytest.mark.parametrize(
    ("count", "chosen"),
    [
        (3, [0, 64]),  # the beginning and the boundary of the phases, whatever else
        (4, [0, 8, 64]),  # ln 9 is nearly the middle between ln 1 and ln 65, ln 256 that between ln 65 and ln 1025
        (5, [0, 8, 64, 256]),
        (99, [0, 1, 4, 8, 16, 64, 128, 256, 512]),  # all there are
    ],
)
def test_snapshot_steps_are_evenly_spaced_in_their_logarithm(count: int, chosen: list[int]) -> None:
    assert choose_steps([0, 1, 4, 8, 16, 64, 128, 256, 512, 2000], last=1024, count=count, boundary=64) == chosen


def test_averaged_metrics_are_means_of_neighbouring_lines_of_one_phase() -> None:
    lines = [
        {"step": step, "phase": "warm" if step < 4 else "adversarial", "seconds": 9.0, "loss": float(step)}
        for step in range(1, 8)
    ]
    lines[4]["penalty"] = 0.25  # lazy: not in every line
    assert averaged_metrics(lines, most=4) == [
        {"step": 2, "phase": "warm", "loss": 1.5},
        {"step": 3, "phase": "warm", "loss": 3.0},
        {"step": 5, "phase": "adversarial", "loss": 4.5, "penalty": 0.25},
        {"step": 7, "phase": "adversarial", "loss": 6.5},
    ]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_curves_of_a_run_are_drawn_for_print(run: Path, tmp_path: Path, kind: str, start: bytes) -> None:
    assert main(["curves", str(run), "--out", str(tmp_path / f"curves.{kind}")]) == 0
    assert (tmp_path / f"curves.{kind}").read_bytes().startswith(start)


def test_curves_without_metrics_or_with_an_unknown_suffix_are_an_error(run: Path, tmp_path: Path) -> None:
    assert main(["curves", str(tmp_path), "--out", str(tmp_path / "curves.png")]) == 2
    assert main(["curves", str(run), "--out", str(tmp_path / "curves.txt")]) == 2

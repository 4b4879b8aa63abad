"""The folder of a run: its lock, its data set, its precision, and the messages when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import test_loop
import torch
from test_loop import PointsTask, silent

import training.commands
import training.families
from explorer.generators import FAMILIES
from training.__main__ import main
from training.runs import LOCK, RUN, TrainingError, fingerprint, has_state, last_state, locked, same_data
from training.task import Prepared
from training.wgan_gp import WGANGP

BASE = ["spectogan", "--data", ".", "--device", "cpu"]
FLOAT = ["--precision", "float32"]
HOLDER = """
    import sys, time
    from pathlib import Path
    from training.runs import locked
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.families.TASKS, "spectogan", PointsTask)
    monkeypatch.setitem(FAMILIES, "spectogan", test_loop.Points)
    monkeypatch.setattr(training.commands, "snapshot", silent)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder `run` until it is killed or its input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["spectogan", "vocoder"])
def test_a_second_run_into_a_folder_is_refused_while_the_first_is_alive(
    command: str, holder: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "still alive" in said
    assert str(holder.pid) in said
    assert said.count("\n") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_a_killed_run_leaves_no_lock(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait(timeout=60)
    assert (tmp_path / "run" / LOCK).exists()
    assert main([*BASE, *FLOAT, "--out", str(tmp_path / "run")]) == 0


def test_a_new_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert not (tmp_path / "a").exists()


def test_the_lock_is_released_after_the_run(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "figure").touch()
        with pytest.raises(TrainingError, match="still alive"), locked(tmp_path / "run"):
            pass
    with locked(tmp_path / "run"):
        pass


def test_fingerprints_of_equal_data_agree_despite_rounding() -> None:
    x = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert same_data(fingerprint({"x": x}), fingerprint({"x": x + 1e-6}))


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.zeros(100, 8), "label": torch.arange(100)},
        {"x": torch.ones(100, 4), "label": torch.arange(100)},
        {"x": torch.ones(100, 8), "label": torch.arange(100).flip(0)},
        {"x": torch.ones(100, 8), "label": torch.arange(100).bitwise_xor(torch.tensor([1] + [0] * 99))},
        {"x": torch.ones(100, 8)},
    ],
    ids=["values", "shape", "order", "one number", "names"],
)
def test_other_data_has_another_fingerprint(other: Mapping[str, torch.Tensor]) -> None:
    known = fingerprint({"x": torch.ones(100, 8), "label": torch.arange(100)})
    assert not same_data(known, fingerprint(other))


class OtherPoints(PointsTask):
    def prepare(self, *args: Any, **options: Any) -> Prepared:
        data = super().prepare(*args, **options)
        return Prepared({**data.train, "x": data.train["x"] + 0.1}, {}, {})


def test_resuming_on_other_data_is_refused_without_changed_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main([*BASE, *FLOAT, *out, "--steps", "1"]) == 0
    record = (tmp_path / "run" / RUN).read_text()
    monkeypatch.setitem(training.families.TASKS, "spectogan", OtherPoints)
    capsys.readouterr()
    assert main([*BASE, *out, "--resume", "--steps", "2"]) == 2
    assert "--changed-data" in capsys.readouterr().err
    assert (tmp_path / "run" / RUN).read_text() == record
    assert main([*BASE, *out, "--resume", "--steps", "2", "--changed-data"]) == 0
    assert main([*BASE, *out, "--resume", "--steps", "3"]) == 0


def test_a_resume_without_its_data_folder_advises_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "here").mkdir()
    out = ["--out", str(tmp_path / "run"), *FLOAT, "--device", "cpu"]
    assert main(["spectogan", "--data", str(tmp_path / "here"), *out, "--steps", "1"]) == 0
    (tmp_path / "here").rename(tmp_path / "there")
    capsys.readouterr()
    assert main(["spectogan", *out, "--resume"]) == 2
    said = capsys.readouterr().err
    assert "here does not exist any more" in said
    assert "--data" in said
    assert main(["spectogan", *out, "--resume", "--data", str(tmp_path / "there")]) == 0


def test_ctrl_c_while_preparing_data_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(PointsTask):
        def prepare(self, *args: Any, **options: Any) -> Prepared:
            raise KeyboardInterrupt

    monkeypatch.setitem(training.families.TASKS, "spectogan", Slow)
    assert main([*BASE, "--out", str(tmp_path / "run")]) == 130
    said = capsys.readouterr().err
    assert "while preparing" in said
    assert "--resume" not in said


def test_ctrl_c_before_the_first_saved_state_does_not_advise_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.commands, "snapshot", interrupt)
    assert main([*BASE, *FLOAT, "--out", str(tmp_path / "run")]) == 130
    said = capsys.readouterr().err
    assert "before anything was saved" in said
    assert "--resume" not in said
    monkeypatch.setattr(training.commands, "snapshot", silent)
    assert main([*BASE, *FLOAT, "--out", str(tmp_path / "run")]) == 0  # the same command again


def test_ctrl_c_while_training_saves_and_says_how_to_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(PointsTask):
        def critic(self, generator: Any) -> Any:
            critic = super().critic(generator)
            critic.register_forward_pre_hook(lambda *_: os.kill(os.getpid(), signal.SIGINT))
            return critic

    monkeypatch.setitem(training.families.TASKS, "spectogan", Interrupted)
    out = ["--out", str(tmp_path / "run")]
    # The second signal within a step would end it at once: the critic is asked once only.
    numbers = ["--warm-steps", "0", "--critic-steps", "1", "--head-start", "9", "--penalty-every", "2"]
    assert main([*BASE, *FLOAT, *out, *numbers, "--objective", "non-saturating"]) == 130
    assert f"--out {tmp_path / 'run'} --resume" in capsys.readouterr().err
    assert has_state(tmp_path / "run")


def test_a_run_prints_a_summary_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--out", str(tmp_path / "run"), "--steps", "1", "--threads", "1"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert "64 train" in lines["data"]
    assert "generator" in lines["parameters"]
    assert "1 CPU thread(s)" in lines["device"]
    assert "measured: float32" in lines["precision"]
    assert lines["steps"] == "3 warm, then 1 adversarial"
    assert str(tmp_path / "run") in lines["writes"]
    assert {"family", "to"} <= set(lines)


def test_a_resumed_run_keeps_its_precision_on_the_same_processor_and_reports_a_change_on_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main([*BASE, *out, "--steps", "1", "--precision", "bfloat16"]) == 0
    assert json.loads((tmp_path / "run" / RUN).read_text())["precision"] == "bfloat16"
    capsys.readouterr()
    assert main([*BASE, *out, "--resume", "--steps", "2"]) == 0
    assert "bfloat16 (as before in this run)" in capsys.readouterr().out
    monkeypatch.setattr(training.machine, "processor", lambda device: "abacus")
    monkeypatch.setattr(training.machine, "time_precisions", lambda *_: {"float32": 1.0, "bfloat16": 9.0})
    assert main([*BASE, *out, "--resume", "--steps", "3"]) == 0
    assert "float32 (measured: " in (said := capsys.readouterr().out)
    assert "the run used bfloat16" in said
    assert json.loads((tmp_path / "run" / RUN).read_text())["precision"] == "float32"


def test_resuming_a_finished_run_says_that_there_is_nothing_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = ["--out", str(tmp_path / "run"), *FLOAT]
    assert main([*BASE, *out, "--steps", "1"]) == 0
    with caplog.at_level("INFO"):
        assert main([*BASE, *out, "--resume", "--steps", "1"]) == 0
    assert "nothing to do" in caplog.text


@pytest.mark.parametrize(
    ("slow", "wanted"),
    [("bfloat16", "float32"), ("float32", "bfloat16")],
)
def test_the_faster_precision_is_chosen(
    slow: str, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(objective: WGANGP, data: object, items: int) -> torch.Tensor:
        rounds = 200 if objective.bfloat16 == (slow == "bfloat16") else 1
        x = torch.ones(64, 64, requires_grad=True)
        return torch.stack([(x @ x).sum() for _ in range(rounds)]).sum()

    monkeypatch.setattr(WGANGP, "probe", busy)
    assert main([*BASE, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert f"{wanted} (measured" in capsys.readouterr().out


def test_timing_the_precisions_does_not_change_the_run(tmp_path: Path) -> None:
    states, time_precisions = [], training.machine.time_precisions
    for precision in ("auto", "float32"):
        out = tmp_path / precision
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training.machine, "CLEARLY_SLOWER", 0.0)  # whatever is measured, float32 is taken
            patch.setattr(training.machine, "FEW_ITEMS", 3)
            patch.setattr(
                training.machine, "time_precisions", lambda *args: {**time_precisions(*args), "bfloat16": 1e9}
            )
            assert main([*BASE, "--out", str(out), "--precision", precision, "--steps", "2"]) == 0
        states.append(last_state(out)["modules"])
    for name, weights in states[0].items():
        for key, weight in weights.items():
            assert torch.equal(states[1][name][key], weight)

"""Any number and any text on the training command line: one line on stderr, exit code 2, nothing half-written."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import test_loop
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_loop import PointsTask, interrupted, no_room, silent

import training.commands
import training.families
from explorer.generators import FAMILIES
from training.__main__ import main
from training.machine import MAX_THREADS
from training.options import MAX_COUNT
from training.runs import METRICS, RUN, STATE
from training.task import TrainingRecipe

NUMBERS = [f"--{f.name.replace('_', '-')}" for f in fields(TrainingRecipe) if "number" in f.metadata]
BASE = ["spectogan", "--data", ".", "--precision", "float32", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _points() -> Iterator[None]:
    """The command trains points on a line: no data to read, networks of a few numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.families.TASKS, "spectogan", PointsTask)
        patch.setitem(FAMILIES, "spectogan", test_loop.Points)
        patch.setattr(training.commands, "snapshot", silent)
        yield


def code(*argv: str) -> int:
    try:
        return main(argv)
    except SystemExit as done:  # argparse's own
        return int(str(done.code))


def assert_refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a command was refused with."""
    capsys.readouterr()
    assert code(*argv) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: ")
    return said.err


TEXTS = st.one_of(
    st.integers().map(str),
    st.integers(-3, 3).map(str),
    st.floats().map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["nan", "inf", "-inf", "1e999", "1" * 5000, "0x10", "1_000", "٣", "", " "]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flag=st.sampled_from([*NUMBERS, "--threads", "--extra=x", "--extra"]), text=TEXTS)
@example(flag="--batch-size", text="0")
@example(flag="--steps", text="-5")
@example(flag="--ema-decay", text="2")
@example(flag="--critic-lr", text="nan")
@example(flag="--threads", text="-1")
def test_any_text_for_a_number_is_accepted_or_refused_in_one_line(
    flag: str, text: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("any")
    capsys.readouterr()
    done = code(*BASE, "--out", str(folder / "run"), "--dry-run", f"{flag}={text}")
    torch.set_num_threads(threads)
    assert done in (0, 2)
    if done == 2:
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert not said.out
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "option",
    [
        "--batch-size=0",
        "--threads=-1",
        f"--threads={MAX_THREADS + 1}",
        "--steps=-5",
        "--warm-lr=nan",
        "--critic-lr=inf",
        "--generator-lr=-1",
        "--critic-steps=0",
        "--ema-decay=1",
        "--penalty-every=0",
        "--state-every=0",
        f"--steps={MAX_COUNT + 1}",
        f"--seed={2**63}",
        "--config=channels",
        "--config=width=[]",
        "--config=width=x",
        "--config=mel=7",
        "--extra=x=abc",
        "--extra=x=1",
        "--device=tpu",
        "--device=meta",
        "--device=cuda:99",
        "--device=",
        "--precision=float64",
        "--init-from=nothing",
        "--out=",
        "--nonsense",
    ],
)
def test_impossible_options_are_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(capsys, *BASE, "--out", str(tmp_path / "run"), option)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["pianogan", "vocoder", "judge"])
@pytest.mark.parametrize("data", ["missing", "file", "empty"])
def test_a_folder_that_is_no_data_is_refused(
    command: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    assert_refused(capsys, command, "--data", str(tmp_path / data), "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["export", "RUN", "--name", "x"],
        ["export", "RUN", "--name", "../x"],
        ["export", "RUN", "--name", ""],
        ["snapshots", "RUN", "--name", "x", "--count", "0"],
        ["snapshots", "RUN", "--name", "x"],
        ["curves", "RUN", "--out", "RUN/x.png"],
        ["curves", "RUN", "--out", "x.txt"],
        ["evaluate", "RUN", "--data", "RUN"],
        ["evaluate", "spoken-digits", "--data", "RUN", "--samples", "-1"],
        ["evaluate", "spoken-digits", "--data", "RUN", "--json", "RUN/no/x.json"],
        ["evaluate", "spoken-digits", "--data", "RUN"],
        ["inversion", "spoken-digits", "--data", "RUN", "--clips", "x"],
        ["inversion", "RUN", "--data", "RUN"],
        ["judge", "--data", "RUN", "--out", "RUN"],
        ["nonsense"],
        [],
    ],
    ids=" ".join,
)
def test_other_commands_refuse_impossible_options(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(capsys, *(part.replace("RUN", str(tmp_path)) for part in argv))
    assert list(tmp_path.iterdir()) == []


def test_an_out_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").write_text("mine")
    assert_refused(capsys, *BASE, "--out", str(tmp_path / "run"))
    assert (tmp_path / "run").read_text() == "mine"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of five steps, of nine."""
    assert main([*BASE, "--out", str(tmp_path / "run"), "--steps", "2"]) == 0
    return tmp_path / "run"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "{", "\x00", '{"family": 3}', '{"recipe": [], "config": {}}', "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_a_damaged_run_json_is_named(text: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / RUN).write_text(text)
    assert RUN in assert_refused(capsys, "spectogan", "--out", str(run), "--resume")


@pytest.mark.parametrize("field", ["recipe", "config", "data", "command", "hardware", "family", "threads", "precision"])
@pytest.mark.parametrize("value", [None, 3, {"x": 1}, [1]], ids=str)
def test_a_run_json_with_fields_of_wrong_types_is_refused_or_harmless(
    field: str, value: object, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((run / RUN).read_text())
    (run / RUN).write_text(json.dumps({**about, field: value}))
    if code("spectogan", "--out", str(run), "--resume", "--dry-run") == 0:
        assert (field, value) in [("config", {"x": 1}), ("threads", 3)]  # made anew
    else:
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04"], ids=repr)
def test_a_damaged_state_is_named(content: bytes, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in run.glob("state*.pt"):
        path.write_bytes(content)
    assert STATE in assert_refused(capsys, "spectogan", "--out", str(run), "--resume")


def test_a_file_that_is_no_state_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in run.glob("state*.pt"):
        torch.save([1, 2], path)
    assert "not the state of a run" in assert_refused(capsys, "spectogan", "--out", str(run), "--resume")


def test_damaged_lines_of_metrics_are_left_out_and_the_others_kept(run: Path) -> None:
    with (run / METRICS).open("ab") as file:
        file.write(b'[]\n{"step": "x"}\n\xff\n{"step": 4')
    assert main(["spectogan", "--out", str(run), "--resume", "--steps", "4"]) == 0
    steps = [json.loads(line)["step"] for line in (run / METRICS).read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 7


def test_a_full_disk_is_reported_in_one_line_and_the_state_is_kept(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / STATE).read_bytes()
    with no_room():
        assert code("spectogan", "--out", str(run), "--resume", "--steps", "6") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert (run / STATE).read_bytes() == before
    assert not list(run.glob(".*.partial"))


def test_a_run_without_a_state_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path, 4)
    assert "holds no run" in assert_refused(capsys, "spectogan", "--out", str(tmp_path), "--resume")

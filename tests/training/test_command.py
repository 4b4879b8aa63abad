"""The help and the errors of the trainers' command line."""

from pathlib import Path

import pytest
from precise_points import train

from training.__main__ import main

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_help_equals_its_golden_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wanted change: COLUMNS=100 python -m training [COMMAND] --help > tests/golden/training[-COMMAND].txt"""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit, match="0"):
        main(["spectogan", "--help"])
    assert capsys.readouterr().out == (GOLDEN / "training-spectogan.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["export", "evaluate", "curves", "judge"])
def test_the_help_of_a_command_ends_with_an_example_of_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f" {command} " in " ".join(capsys.readouterr().out.split()).partition("example: ")[2]


def test_a_folder_that_cannot_be_written_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert train(tmp_path / "file" / "run", 1) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in said] == [True]

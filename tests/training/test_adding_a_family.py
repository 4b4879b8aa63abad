"""A family is a generator, a task and its name in two lists: the poor toy has no more, and goes the whole way."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from poor_task import PoorTask
from toy_poor import SAMPLE_RATE, SAMPLES

import explorer.__main__
import training.__main__
from explorer import checkpoint
from explorer.shelf import read_card
from training.families import TASKS

NAME = "half-seconds"


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, PoorTask.family, PoorTask)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings in no sub-folder, of a tone each."""
    folder = tmp_path_factory.mktemp("recordings")
    for k in range(6):
        wave = np.sin(2 * np.pi * 200 * (k + 1) * np.arange(SAMPLES) / SAMPLE_RATE) * np.hanning(SAMPLES)
        soundfile.write(folder / f"{k}.wav", wave / 2, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def shelf(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and snapshots, from a run beside it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, PoorTask.family, PoorTask)
        # A direction is worth its time here, not its precision.
        patch.setattr("training.export.measured", lambda generator, samples, progress: ())
        assert train("--data", str(folder), "--out", str(home / "run")) == 0
        at = ["--name", NAME, "--checkpoints", str(home / "shelf")]
        assert training.__main__.main(["export", str(home / "run"), *at]) == 0
        assert training.__main__.main(["snapshots", str(home / "run"), *at]) == 0
    return home / "shelf"


def train(*argv: str) -> int:
    return training.__main__.main([PoorTask.family, *argv, "--threads", "1", "--precision", "float32"])


def test_a_run_counts_its_files_and_keeps_its_figures_and_snapshots(shelf: Path) -> None:
    run = shelf.parent / "run"
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert about["data"]["inventory"]["found"] == 6
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"critic_loss", "wasserstein", "penalty", "generator_loss"} <= set(lines[-1])
    assert {path.suffix for path in (run / "snapshots").glob("0000002*")} == {".safetensors", ".png", ".wav"}


def test_training_changes_the_weights_that_are_exported(shelf: Path) -> None:
    first, _ = checkpoint.load(shelf / "snapshots" / NAME / "0.safetensors")
    last, _ = checkpoint.load(shelf.parent / "run" / "snapshots" / "0000002.safetensors")
    assert not torch.equal(first.state_dict()["layer.weight"], last.state_dict()["layer.weight"])


def test_what_was_exported_is_listed(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explorer.__main__.main(["list", "--json", "--checkpoints", str(shelf)]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["name"], card["family"], card["labels"], card["seconds"]) == (NAME, "poor-toy", None, 0.5)


def test_what_was_exported_is_rendered_to_every_file_that_a_waveform_can_be(shelf: Path, tmp_path: Path) -> None:
    ask = ["render", NAME, "--seeds", "7", "--checkpoints", str(shelf), "--out", str(tmp_path)]
    assert explorer.__main__.main([*ask, "--formats", "wav,png,npz,json"]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".wav", ".png", ".npz", ".json"}
    waveform, rate = soundfile.read(next(tmp_path.glob("*.wav")))
    assert (len(waveform), rate) == (SAMPLES, SAMPLE_RATE)
    assert np.abs(waveform).max() > 0


def test_what_was_exported_has_its_training_replayed_step_by_step(shelf: Path, tmp_path: Path) -> None:
    ask = ["render", f"{NAME}@1", "--seeds", "7", "--checkpoints", str(shelf), "--out", str(tmp_path)]
    assert explorer.__main__.main(ask) == 0


def test_what_was_exported_can_be_fine_tuned(shelf: Path, folder: Path, tmp_path: Path) -> None:
    origin = shelf / f"{NAME}.safetensors"
    assert train("--data", str(folder), "--out", str(tmp_path / "run"), "--init-from", str(origin)) == 0
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert about["init_from"] == {"name": NAME, "sha256": read_card(origin).sha256}


def test_a_run_goes_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--out", str(tmp_path / "run")]
    assert train("--data", str(folder), *at) == 0
    assert train("--resume", "--steps", "3", *at) == 0
    assert "2 done" in capsys.readouterr().out


def test_what_nothing_can_measure_is_said_in_a_line(
    shelf: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training.__main__.main(["evaluate", str(shelf / f"{NAME}.safetensors"), "--data", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "what can be measured are" in line


def test_the_command_has_the_family_and_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        train("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "train half seconds of sound, from a folder of recordings".casefold() in said.casefold()
    assert "items in a batch, over all processes (default: 4)" in said


def test_a_family_of_many_sources_trains_on_all_of_them_and_resumes_without_naming_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "0.wav").write_bytes((folder / "1.wav").read_bytes())
    data, out = ["--data", str(folder), str(other / "0.wav")], ["--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match="2"):
        train(*data, *out)
    capsys.readouterr()
    monkeypatch.setattr(PoorTask, "many_sources", True)
    assert train(*data, *out) == 0
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert about["data"]["inventory"]["found"] == 7
    assert about["data"]["folders"] == [str(folder), str(other / "0.wav")]
    assert train(*out, "--resume", "--steps", "3") == 0

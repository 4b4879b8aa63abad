"""`python -m training push`, against a local double of the Hub: what it publishes is loaded again by hf://."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import hub
import pytest
import torch
from huggingface_hub import ModelCard, constants
from poor_task import PoorTask
from toy import ToyConfig, make

from explorer.engine import Engine
from explorer.hub import fetch
from explorer.recipe import Recipe
from training.__main__ import main
from training.families import TASKS

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's use of httpx


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub.Hub]:
    """A double that huggingface_hub uses, which has read its variables already."""
    with hub.running() as double:
        lead(monkeypatch, double.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
        yield double


def lead(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run of the toy to step 850."""
    monkeypatch.setitem(TASKS, "toy", PoorTask)  # a recipe of GANs is all that is asked of it here
    monkeypatch.setattr("training.export.measured", lambda generator, samples, progress: ())
    folder = tmp_path / "run"
    folder.mkdir()
    about = {
        "family": "toy",
        "config": asdict(ToyConfig()),
        "recipe": {"seed": 3, "warm_steps": 100, "steps": 750},
        "data": {"folder": "/somewhere/secret/clips"},
        "command": "train --out /somewhere/secret/run",
        "hardware": "abacus",
    }
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    (folder / "metrics.jsonl").write_text('{"step": 10, "phase": "x", "wasserstein": 1.0}\n', encoding="utf-8")
    state = {"step": 850, "device": "cpu", "rng": torch.zeros(1), "optimizers": {}}
    torch.save({**state, "modules": {"ema": make(850).state_dict()}}, folder / "state.pt")
    return folder


def pushed(run: Path, *argv: str) -> int:
    return main(["push", str(run), "me/voices", "--checkpoints", str(run.parent / "shelf"), *argv])


def test_what_is_published_is_loaded_again_and_has_a_card_with_figures(
    double: hub.Hub, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pushed(run, "--private", "--license", "cc-by-4.0") == 0
    address = capsys.readouterr().out.splitlines()[-1]
    assert address.startswith("hf://me/voices@")
    wanted = double.created["models/me/voices"]
    assert wanted.get("private") or wanted["visibility"] == "private"  # as older and newer clients say it
    files = double.repositories["models/me/voices"]
    names = {"README.md", "voices.safetensors", "voices.sounds.png", "voices.curves.png"}
    assert files.keys() - {".gitattributes"} == names
    assert b"secret" not in b"".join(files.values())
    card = ModelCard(files["README.md"].decode())
    assert card.data.to_dict()["license"] == "cc-by-4.0"
    assert "850 of 850" in card.text
    assert all(f"]({name})" in card.text for name in names if name.endswith(".png"))
    there, here = (Engine(folder).render(Recipe("voices", seed=7)) for folder in (fetch(address), run.parent / "shelf"))
    assert there.waveform.tobytes() == here.waveform.tobytes()


def test_a_card_that_was_filled_in_is_kept_and_other_models_stay(double: hub.Hub, run: Path) -> None:
    assert pushed(run) == 0
    double.repositories["models/me/voices"] |= {"other.safetensors": b"\0", "snapshots/voices/1.safetensors": b"\0"}
    (run.parent / "shelf" / "voices.md").write_text("# My own words", encoding="utf-8")
    assert pushed(run) == 0
    files = double.repositories["models/me/voices"]
    assert b"# My own words" in files["README.md"]
    assert "other.safetensors" in files
    assert "snapshots/voices/1.safetensors" not in files


def test_a_branch_is_made_and_the_main_one_stays_as_it_is(double: hub.Hub, run: Path) -> None:
    assert pushed(run, "--revision", "better") == 0
    assert "voices.safetensors" in double.repositories["models/me/voices@better"]
    assert "voices.safetensors" not in double.repositories["models/me/voices"]
    assert [card.name for card in Engine(fetch("hf://me/voices@better")).cards()] == ["voices"]


def test_a_dry_run_asks_the_hub_nothing(double: hub.Hub, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pushed(run, "--dry-run") == 0
    assert "voices.safetensors" in capsys.readouterr().out
    assert double.asked == []


@pytest.mark.parametrize("fault", ["no token", "no network", "no run", "not a name"])
def test_what_goes_wrong_is_one_line_and_nothing_is_published(
    double: hub.Hub, run: Path, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if fault == "no token":
        monkeypatch.setenv("HF_TOKEN", "wrong")
    elif fault == "no network":
        lead(monkeypatch, "http://127.0.0.1:9")
    elif fault == "no run":
        (run / "state.pt").write_bytes(b"half")
    argv = ["push", str(run), "voices" if fault == "not a name" else "me/voices"]
    assert main([*argv, "--checkpoints", str(run.parent / "shelf")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert "Traceback" not in "".join(error)
    assert double.repositories == {}

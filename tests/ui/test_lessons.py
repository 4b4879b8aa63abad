"""What the server offers to the lessons: data of a checkpoint, and distances of sounds."""

import json
from pathlib import Path

import pytest
import torch
from toy import make, write

from explorer import checkpoint
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.recipe import Recipe, RecipeError
from explorer.ui.learn import Lessons


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A toy checkpoint of step 90, with snapshots of steps 0 and 30 and metrics of its training."""
    checkpoint.save(tmp_path / "toy.safetensors", make(), provenance={"step": 90})
    for step in (30, 0):
        checkpoint.save(tmp_path / "snapshots" / "toy" / f"{step}.safetensors", make(step), dtype=torch.int8)
    lines = [
        {"step": 10, "phase": "warm", "reconstruction_loss": 3.0},
        {"step": 90, "phase": "adversarial", "wasserstein": 0.5, "penalty": 0.1},
    ]
    (tmp_path / "snapshots" / "toy" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("model", ["toy", "toy@30"])
def test_a_checkpoint_and_its_snapshots_have_the_same_lesson_data(folder: Path, model: str) -> None:
    assert Lessons(Engine(folder)).lesson_data(Recipe(model).to_json()) == {
        "model": "toy",
        "size": 6,
        "steps": [0, 30],
        "last": 90,
        "inversion": None,
        "curves": [("reconstruction_loss", [(10, 3.0)]), ("wasserstein", [(90, 0.5)])],
        "game": 10,
    }


def test_a_checkpoint_without_snapshots_and_provenance_has_no_steps_and_no_curves(tmp_path: Path) -> None:
    write(tmp_path)
    found = Lessons(Engine(tmp_path)).lesson_data(Recipe("toy").to_json())
    assert (found["steps"], found["last"], found["curves"]) == ([], None, [])


def test_a_damaged_file_of_metrics_is_ignored(folder: Path) -> None:
    (folder / "snapshots" / "toy" / "metrics.jsonl").write_text('{"step": 1, "wasser', encoding="utf-8")
    assert Lessons(Engine(folder)).lesson_data(Recipe("toy").to_json())["curves"] == []


def test_half_way_the_latent_is_shorter_on_a_line_but_not_on_an_arc(tmp_path: Path) -> None:
    write(tmp_path, latent=4096)
    recipes = [Recipe("toy", seed=1), *(Recipe("toy", seed=1, seed_b=2, t=0.5, path=path) for path in ("arc", "line"))]
    lengths = Lessons(Engine(tmp_path)).measure([recipe.to_json() for recipe in recipes])["lengths"]
    assert lengths == pytest.approx([1, 1, 0.5**0.5], abs=0.03)


def test_distances_are_root_mean_square_differences_of_outputs_from_the_first(folder: Path) -> None:
    engine, recipes = Engine(folder), [Recipe("toy", seed=seed) for seed in (1, 2)]
    first, second = (engine.output(recipe).numpy() for recipe in recipes)
    found = Lessons(engine).measure([recipe.to_json() for recipe in recipes])["distances"]
    assert found == pytest.approx([0, ((first - second) ** 2).mean() ** 0.5])


@pytest.mark.parametrize(
    "request_", [None, [], ["model=toy"] * 9, "model=toy", ["model=toy", "model=toy@30"], [7], ["{"], ["model=none"]]
)
def test_recipes_that_cannot_be_compared_are_refused(folder: Path, request_: object) -> None:
    with pytest.raises((ValueError, RecipeError, CheckpointError)):
        Lessons(Engine(folder)).measure(request_)

"""What the server offers to the lessons: data of a checkpoint, and distances of sounds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import make, write

from explorer import checkpoint
from explorer.checkpoint import CheckpointError
from explorer.directions import Direction
from explorer.engine import Engine
from explorer.generators.diffwave import DiffWave, DiffWaveConfig
from explorer.measures import measure
from explorer.recipe import Recipe, RecipeError
from explorer.sound.waveform import WaveformConfig
from explorer.ui import handlers
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
        "labelled": {"model": "toy", "labels": ["low", "high"]},
        "direction": None,
        "figures": None,
        "collapsed": None,
        "emerging": None,
        "distilled": None,
        "rivals": None,
    }


def test_a_checkpoint_without_snapshots_and_provenance_has_no_steps_and_no_curves(tmp_path: Path) -> None:
    write(tmp_path)
    found = Lessons(Engine(tmp_path)).lesson_data(Recipe("toy").to_json())
    assert (found["steps"], found["last"], found["curves"]) == ([], None, [])


def test_a_damaged_file_of_metrics_is_ignored(folder: Path) -> None:
    (folder / "snapshots" / "toy" / "metrics.jsonl").write_text('{"step": 1, "wasser', encoding="utf-8")
    assert Lessons(Engine(folder)).lesson_data(Recipe("toy").to_json())["curves"] == []


def test_the_direction_that_explains_most_of_its_measure_is_the_one_that_is_taught(folder: Path) -> None:
    directions = [
        Direction(name, torch.eye(6)[k], name.title(), "dB", {"per_step": 2.0, "r2": r2})
        for k, (name, r2) in enumerate((("loudness", 0.3), ("brightness", 0.6), ("pitch", 0.2)))
    ]
    checkpoint.save(folder / "toy.safetensors", make(), directions=(*directions, Direction("pc1", torch.eye(6)[3])))
    assert Lessons(Engine(folder)).lesson_data(Recipe("toy").to_json())["direction"] == {
        "model": "toy",
        "name": "brightness",
        "title": "Brightness",
        "unit": "dB",
        "step": 2.0,
        "r2": 0.6,
    }


def test_figures_are_shown_by_step_until_the_weights_are_replaced(folder: Path) -> None:
    engine = Engine(folder)
    rows = {"90": {"frechet": 2.0, "ndb": 0.1}, "0": {"frechet": 9.0}}
    real = {"training, recordings": {"frechet": 0.0}, "validation, recordings": {"frechet": 1.5}}
    figures = {"sha256": engine.model("toy").card.sha256, "data": "notes", "samples": 20, "steps": rows, "real": real}
    (folder / "snapshots" / "toy" / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    found = Lessons(engine).lesson_data(Recipe("toy@30").to_json())["figures"]
    assert found["steps"] == [(0, {"frechet": 9.0}), (90, {"frechet": 2.0})]
    assert found["real"] == {"frechet": 1.5}
    write(folder, "toy", seed=4)
    assert Lessons(engine).lesson_data(Recipe("toy").to_json())["figures"] is None


def test_a_checkpoint_for_lessons_is_played_by_name_but_not_listed(folder: Path) -> None:
    write(folder / "lessons", "stuck", seed=5)
    engine = Engine(folder)
    assert engine.names() == ["toy"]
    assert Lessons(engine).lesson_data(Recipe("toy").to_json())["collapsed"] == "stuck"
    assert torch.isfinite(engine.output(Recipe("stuck", seed=1))).all()
    assert Lessons(engine).lesson_data(Recipe("stuck").to_json())["model"] == "stuck"  # a link may lead to it


@pytest.fixture
def slow(folder: Path) -> Path:
    """Beside the toy, a checkpoint of the same labels, in another order, that makes its sounds in steps."""
    config = DiffWaveConfig(
        WaveformConfig(8000, 512), ("high", "low"), latent=4, bands=16, channels=4, layers=1, style=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checkpoint.save(folder / "slow.safetensors", DiffWave(config))
    return folder


@pytest.mark.parametrize("model", ["toy", "slow"])
def test_lessons_on_steps_borrow_a_checkpoint_that_has_them_and_one_of_the_same_labels_without(
    slow: Path, model: str
) -> None:
    found = Lessons(Engine(slow)).lesson_data(Recipe(model).to_json())
    few, usual, many = ({"steps": steps} for steps in ("2", "8", "32"))
    assert found["emerging"] == {"model": "slow", "few": few, "usual": usual, "many": many, "labels": ["high", "low"]}
    assert found["distilled"] is None
    rivals = found["rivals"]
    assert (rivals["steps"], rivals["once"], set(rivals["labels"])) == ("slow", "toy", {"low", "high"})


@pytest.mark.parametrize("model", ["toy", "slow", "taught"])
def test_steps_are_taught_by_a_checkpoint_that_needs_them(slow: Path, model: str) -> None:
    (slow / "lessons").mkdir()
    (slow / "slow.safetensors").rename(slow / "lessons" / "slow.safetensors")
    write(slow / "lessons", "stuck", seed=5)
    generator, _ = checkpoint.load(slow / "lessons" / "slow.safetensors")
    checkpoint.save(slow / "taught.safetensors", DiffWave(replace(generator.config, distilled=True)))
    found = Lessons(Engine(slow)).lesson_data(Recipe(model).to_json())
    assert [found[lesson]["model"] for lesson in ("emerging", "distilled")] == ["slow", "taught"]
    assert (found["model"], found["collapsed"]) == (model, "stuck")


def test_stages_end_with_the_sound_of_the_place_and_a_moving_slider_gets_its_draft(slow: Path) -> None:
    engine, recipe = Engine(slow), Recipe("slow", seed=3, label="low")
    view = handlers.make_view(engine, recipe)
    stages = Lessons(engine).stages(recipe.to_json())["stages"]
    whole, draft = handlers.show(engine, view), handlers.show(engine, view, draft=True)
    assert [stage["step"] for stage in stages] == list(range(9))
    assert stages[-1]["pcm"] == whole["pcm"]
    two = handlers.show(engine, handlers.make_view(engine, replace(recipe, settings=(("steps", "2"),))))
    assert (draft["pcm"], draft["recipe"]) == (two["pcm"], whole["recipe"])
    assert [(sent["draft"], sent["made_with"]) for sent in (whole, draft, two)] == [
        (False, "steps 8"),
        (True, "steps 2"),
        (False, "steps 2"),
    ]


def test_a_sound_that_is_made_at_once_has_one_stage_and_no_draft(folder: Path) -> None:
    engine = Engine(folder)
    view = handlers.make_view(engine, Recipe("toy"))
    assert len(Lessons(engine).stages(Recipe("toy").to_json())["stages"]) == 1
    draft, full = (handlers.show(engine, view, draft=draft) for draft in (True, False))
    # The search for directions, in the background, may end between the two.
    assert draft == full | {"searching": draft["searching"]}


def test_half_way_the_latent_is_shorter_on_a_line_but_not_on_an_arc(tmp_path: Path) -> None:
    write(tmp_path, latent=4096)
    recipes = [Recipe("toy", seed=1), *(Recipe("toy", seed=1, seed_b=2, t=0.5, path=path) for path in ("arc", "line"))]
    lengths = Lessons(Engine(tmp_path)).compare([recipe.to_json() for recipe in recipes])["lengths"]
    assert lengths == pytest.approx([1, 1, 0.5**0.5], abs=0.03)


def test_distances_are_root_mean_square_differences_of_outputs_from_the_first(folder: Path) -> None:
    engine, recipes = Engine(folder), [Recipe("toy", seed=seed) for seed in (1, 2)]
    first, second = (engine.output(recipe).numpy() for recipe in recipes)
    found = Lessons(engine).compare([recipe.to_json() for recipe in recipes])["distances"]
    assert found == pytest.approx([0, ((first - second) ** 2).mean() ** 0.5])


def test_truncation_halves_distances_of_latents_and_measures_are_those_of_the_sounds(folder: Path) -> None:
    engine = Engine(folder)
    recipes = [Recipe("toy", seed=seed, truncation=t) for t in (1.0, 0.5) for seed in (1, 2)]
    whole, half = (engine.latent(recipes[k]) - engine.latent(recipes[k + 1]) for k in (0, 2))
    torch.testing.assert_close(half, whole / 2)
    lessons, texts = Lessons(engine), [recipe.to_json() for recipe in recipes]
    outputs = [engine.output(recipe) for recipe in recipes]
    assert lessons.compare(texts)["pairs"] == pytest.approx(
        [float((outputs[k] - outputs[k + 1]).square().mean().sqrt()) for k in (0, 2)]
    )
    assert lessons.measure(texts)["measures"] == [measure(engine.render(recipe)) for recipe in recipes]


@pytest.mark.parametrize(
    "request_", [None, [], ["model=toy"] * 9, "model=toy", ["model=toy", "model=toy@30"], [7], ["{"], ["model=none"]]
)
def test_recipes_that_cannot_be_compared_are_refused(folder: Path, request_: object) -> None:
    with pytest.raises((ValueError, RecipeError, CheckpointError)):
        Lessons(Engine(folder)).compare(request_)

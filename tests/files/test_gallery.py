"""Files of named recipes, and the gallery: which seeds it lists and when it is shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import write

from explorer import shelf
from explorer.__main__ import main
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import gallery
from explorer.files.gallery import NamedRecipe
from explorer.recipe import Recipe, RecipeError

SEEDS = 40


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path)
    return Engine(tmp_path)


@pytest.fixture
def places(engine: Engine) -> tuple[NamedRecipe, ...]:
    return gallery.gallery(engine, "toy", SEEDS)


def test_a_gallery_begins_with_the_sound_nearest_to_the_medians(
    places: tuple[NamedRecipe, ...],
) -> None:
    assert places[0].name == "Most typical"
    register = [{"register": x, "loudness": y} for x, y in ((1.0, 5.0), (2.0, 9.0), (3.0, 6.0), (4.0, 1.0), (9.0, 7.0))]
    assert gallery._most_typical(register) == 2  # at both medians
    register[2]["loudness"] = float("nan")  # undefined
    assert gallery._most_typical(register) != 2


def test_a_gallery_goes_on_with_consecutive_seeds_and_every_label_in_turn(places: tuple[NamedRecipe, ...]) -> None:
    assert [p.recipe.seed for p in places[1:9]] == list(range(8))
    assert [p.recipe.label for p in places[1:9]] == ["low", "high"] * 4


@pytest.mark.parametrize(("title", "column"), [("Register", "pitch"), ("Loudness", "velocity")])
def test_an_extreme_is_the_lowest_or_highest_of_all_seeds(
    engine: Engine, places: tuple[NamedRecipe, ...], title: str, column: str
) -> None:
    def value(seed: int) -> float:
        notes = engine.render(Recipe("toy", seed=seed, label=("low", "high")[seed % 2])).notes or ()
        return float(np.mean([getattr(note, column) for note in notes]))

    values = [value(seed) for seed in range(SEEDS)]
    seeds = {words: p.recipe.seed for p in places for words in p.name.split(", ")}
    assert (seeds[f"{title}: lowest"], seeds[f"{title}: highest"]) == (np.argmin(values), np.argmax(values))


def test_a_constant_measure_has_no_extremes(places: tuple[NamedRecipe, ...]) -> None:
    """The toy's notes all have the same length and step."""
    assert not any(word in p.name for p in places for word in ("Note length", "Notes per second", "Chords"))


def test_a_seed_is_listed_once_among_the_extremes(places: tuple[NamedRecipe, ...]) -> None:
    seeds = [p.recipe.seed for p in places[9:]]
    assert len(seeds) == len(set(seeds))


def test_named_recipes_are_read_back_as_written() -> None:
    kept = (
        NamedRecipe("Éclat", Recipe("toy", seed=3, offsets=(("pc1", 0.1),)), "2026-01-02T03:04:05Z"),
        NamedRecipe("", Recipe("b")),
    )
    assert gallery.loads(gallery.dumps(kept)) == kept


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[", "not a file of places"),
        ([], "an object with a list of 'places'"),
        ({"places": []}, "have version None"),
        ({"version": 1, "places": [3]}, "place 1 is not an object"),
        (
            {"version": 1, "places": [{"recipe": {"model": "toy"}}, {"recipe": {"model": "toy", "t": 2}}]},
            "place 2: t must",
        ),
        ({"version": 1, "places": [{"name": "x" * 1001, "recipe": {"model": "toy"}}]}, "at most 1000 characters"),
        ({"version": 1, "places": [{}] * 10_001}, "10,001 places are too many"),
    ],
    ids=["cut short", "a list", "no version", "no object", "out of range", "a long name", "too many"],
)
def test_other_files_are_refused_with_a_reason(data: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        gallery.loads(data if isinstance(data, str) else json.dumps(data))


def test_a_checkpoint_without_a_gallery_shows_its_first_seeds(engine: Engine) -> None:
    assert [p.name for p in gallery.shown(engine, "toy")] == [f"Seed {seed}" for seed in range(8)]


def test_the_command_writes_the_gallery_that_is_shown(
    tmp_path: Path, engine: Engine, places: tuple[NamedRecipe, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "toy", "--samples", "64", "--checkpoints", str(tmp_path)]) == 0
    assert "toy.gallery.json" in capsys.readouterr().out
    assert gallery.shown(engine, "toy") == gallery.gallery(engine, "toy", 64)


def test_a_gallery_made_for_other_weights_is_not_shown(
    tmp_path: Path, engine: Engine, places: tuple[NamedRecipe, ...]
) -> None:
    (tmp_path / "toy.gallery.json").write_text(gallery.dumps(places), encoding="utf-8")
    write(tmp_path, seed=1)
    assert [p.name for p in gallery.shown(engine, "toy")] == [f"Seed {seed}" for seed in range(8)]


def test_an_error_names_a_broken_gallery(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "toy.gallery.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^toy\.gallery\.json: not a file of places"):
        gallery.shown(engine, "toy")


@pytest.mark.parametrize("name", sorted(shelf.find_checkpoints(shelf.DEFAULT_FOLDER)))
def test_a_shipped_gallery_fits_the_shipped_weights(name: str) -> None:
    """After another checkpoint or other directions: python -m explorer gallery NAME"""
    card = shelf.read_card(shelf.find_checkpoints(shelf.DEFAULT_FOLDER)[name])
    places = gallery.loads(gallery.path_of(card).read_text(encoding="utf-8"))
    assert {p.recipe.weights for p in places} == {card.sha256}

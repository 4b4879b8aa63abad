"""What the panel Places asks of the server, without a browser."""

import json
from pathlib import Path

import pytest
from toy import write

from explorer.engine import Engine
from explorer.files.gallery import NamedRecipe, dumps
from explorer.recipe import Recipe, RecipeError
from explorer.ui import handlers, places


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path / "models")
    return Engine(tmp_path / "models")


def test_a_file_of_one_recipe_is_none_of_places(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "place.json"
    path.write_text(Recipe("toy").to_json())
    assert places.opened(engine, path) is None


def test_places_of_a_file_are_settled_so_that_one_sound_is_kept_once(engine: Engine, tmp_path: Path) -> None:
    recipe = Recipe("toy", seed=3)
    path = tmp_path / "favourites.json"
    path.write_text(
        dumps([NamedRecipe("bare", recipe), NamedRecipe("settled", handlers.settle(engine, recipe).recipe)])
    )
    bare, settled = places.opened(engine, path) or []
    assert bare["recipe"] == settled["recipe"]
    assert (bare["name"], settled["name"]) == ("bare", "settled")


def test_a_place_on_weights_that_are_not_here_is_kept_as_it_is(engine: Engine, tmp_path: Path) -> None:
    elsewhere = Recipe("opera", weights="0123456789ab", seed=3)
    path = tmp_path / "favourites.json"
    path.write_text(dumps([NamedRecipe("aria", elsewhere)]))
    found = places.opened(engine, path) or []
    assert Recipe.from_json(found[0]["recipe"]) == elsewhere


def test_a_broken_file_of_places_is_named_without_its_folder(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "favourites.json"
    path.write_text(json.dumps({"version": 1, "places": [{"recipe": {"model": "toy", "t": "far"}}]}))
    with pytest.raises(RecipeError, match=r"^favourites\.json: place 1: t must be a number"):
        places.opened(engine, path)

"""Places of the section "Browse", without a browser: files that are opened, and variations."""

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


def test_a_file_of_one_recipe_is_not_a_file_of_places(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "place.json"
    path.write_text(Recipe("toy").to_json())
    assert places.read_places(engine, path) is None


def test_places_of_a_file_are_completed_so_that_equal_sounds_have_equal_recipes(engine: Engine, tmp_path: Path) -> None:
    recipe = Recipe("toy", seed=3)
    path = tmp_path / "favourites.json"
    path.write_text(
        dumps([NamedRecipe("bare", recipe), NamedRecipe("completed", handlers.make_view(engine, recipe).recipe)])
    )
    bare, completed = places.read_places(engine, path) or []
    assert bare["recipe"] == completed["recipe"]
    assert (bare["name"], completed["name"]) == ("bare", "completed")


def test_a_place_of_an_unknown_checkpoint_stays_as_it_is(engine: Engine, tmp_path: Path) -> None:
    elsewhere = Recipe("opera", weights="0123456789ab", seed=3)
    path = tmp_path / "favourites.json"
    path.write_text(dumps([NamedRecipe("aria", elsewhere)]))
    found = places.read_places(engine, path) or []
    assert Recipe.from_json(found[0]["recipe"]) == elsewhere


def test_an_error_in_a_file_of_places_names_the_file_without_its_folder(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "favourites.json"
    path.write_text(json.dumps({"version": 1, "places": [{"recipe": {"model": "toy", "t": "far"}}]}))
    with pytest.raises(RecipeError, match=r"^favourites\.json: place 1: t must be a number"):
        places.read_places(engine, path)


def test_variations_are_places_of_ordinary_recipes_and_a_bounded_number(engine: Engine) -> None:
    link = Recipe("toy", seed=3).to_url()
    found = places.variations_of(engine, [link, 0.3, [100, 101]])["places"]
    recipes = [Recipe.from_json(place["recipe"]) for place in found]
    assert [{seed for seed, _ in recipe.mix} for recipe in recipes] == [{3, 100}, {3, 101}]
    assert all(handlers.make_view(engine, recipe).recipe == recipe for recipe in recipes)
    for request in (None, [link, 0.3], [link, 0.3, list(range(10))], [link, 0.3, 7]):
        with pytest.raises(ValueError, match=r"a list of (3 values|at most 9)"):
            places.variations_of(engine, request)
    for seeds in ([-1], ["7"], [[7]], [1.5]):
        with pytest.raises(RecipeError, match="seed"):
            places.variations_of(engine, [link, 0.3, seeds])

"""A recipe finds its sound again in later years: today's sounds beside those that were kept when they were new."""

import json
from typing import Any

import make_sounds
import numpy as np
import pytest

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER

KEPT = np.load(make_sounds.FILE)
RECIPES: list[dict[str, Any]] = json.loads(str(KEPT["recipes"]))
# Seconds and velocities of notes, or natural logarithms of mel magnitude. Between kinds of CPU they differ by 1e-5, and
# by the 0.004 of a 16-bit float; 0.02 of a logarithm is 0.2 dB.
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(DEFAULT_FOLDER)


@pytest.mark.parametrize("number", range(len(RECIPES)), ids=lambda i: f"{RECIPES[i]['model']}-{i}")
def test_a_shipped_checkpoint_sounds_as_it_did(engine: Engine, number: int) -> None:
    recipe = Recipe.from_dict(RECIPES[number])
    np.testing.assert_allclose(
        make_sounds.picture(engine, recipe), KEPT[str(number)].astype(np.float32), rtol=0, atol=TOLERANCE
    )


def test_every_shipped_checkpoint_has_three_places(engine: Engine) -> None:
    assert sorted(recipe["model"] for recipe in RECIPES) == sorted(engine.names() * 3)

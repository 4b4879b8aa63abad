"""A recipe gives the same sound in later years: today's sounds of the shipped checkpoints against stored ones."""

import json
from typing import Any

import make_sounds
import numpy as np
import pytest

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER

STORED = np.load(make_sounds.FILE)
RECIPES: list[dict[str, Any]] = json.loads(str(STORED["recipes"]))
# In seconds and velocities of notes, or natural logarithms of mel magnitude. Kinds of CPU differ by 1e-5, and rounding
# to 16 bit by 0.004; 0.02 in the logarithm is 0.2 dB.
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(DEFAULT_FOLDER)


@pytest.mark.parametrize("number", range(len(RECIPES)), ids=lambda i: f"{RECIPES[i]['model']}-{i}")
def test_a_shipped_checkpoint_sounds_as_it_did(engine: Engine, number: int) -> None:
    recipe = Recipe.from_dict(RECIPES[number])
    np.testing.assert_allclose(
        make_sounds.reference(engine, recipe), STORED[str(number)].astype(np.float32), rtol=0, atol=TOLERANCE
    )


def test_every_shipped_checkpoint_has_three_places(engine: Engine) -> None:
    assert sorted(recipe["model"] for recipe in RECIPES) == sorted(engine.names() * 3)

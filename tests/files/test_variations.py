"""Recipes near a place."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy import write
from toy_poor import write as write_poor

from explorer.engine import Engine
from explorer.files.variations import variations
from explorer.recipe import MAX_MIXED, Recipe, RecipeError

OFFSETS = (("z0", 1.5),)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path)
    write_poor(tmp_path)
    return Engine(tmp_path)


def latent(engine: Engine, recipe: Recipe) -> torch.Tensor:
    return engine.latent(engine.complete(recipe))


def test_a_variation_turns_towards_its_seed_by_that_share_of_a_right_angle(engine: Engine) -> None:
    for seed, varied in zip((100, 101), variations(engine, Recipe("toy", seed=7), 0.3, (100, 101)), strict=True):
        origin, other = (np.random.RandomState(s).standard_normal(6) for s in (7, seed))
        expected = np.cos(np.radians(27)) * origin + np.sin(np.radians(27)) * other
        assert latent(engine, varied).numpy() == pytest.approx(expected, abs=1e-3)


def test_a_variation_under_a_uniform_prior_goes_on_a_line(engine: Engine) -> None:
    ends = [latent(engine, Recipe("poor", seed=seed)) for seed in (7, 100)]
    (varied,) = variations(engine, Recipe("poor", seed=7), 0.25, (100,))
    torch.testing.assert_close(latent(engine, varied), 0.75 * ends[0] + 0.25 * ends[1], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("toy", seed=3, seed_b=4, t=0.4, truncation=0.8, offsets=OFFSETS, label="high"),
        Recipe("toy", seed=3, seed_b=4, t=0.5, path="line"),
        Recipe("toy", seed=3, seed_b=3, t=0.5),
        Recipe("toy", mix=((1, 2.0), (2, -1.0)), offsets=OFFSETS),
        Recipe("poor", seed=3, seed_b=4, t=0.4, offsets=OFFSETS),
    ],
)
def test_at_distance_0_it_is_the_place_itself(engine: Engine, recipe: Recipe) -> None:
    (same,) = variations(engine, recipe, 0.0, (100,))
    torch.testing.assert_close(latent(engine, same), latent(engine, recipe), atol=2e-3, rtol=0)
    assert (same.label, same.offsets) == (engine.complete(recipe).recipe.label, recipe.offsets)


def test_one_can_always_go_on_from_a_variation(engine: Engine) -> None:
    recipe = Recipe("toy", seed=7)
    for seed in range(100, 120):
        (following,) = variations(engine, recipe, 0.2, (seed,))
        assert len(following.mix) <= MAX_MIXED
        cosine = torch.cosine_similarity(latent(engine, recipe), latent(engine, following), dim=0)
        assert cosine > 0.7
        recipe = following


@pytest.mark.parametrize("distance", [-0.1, 1.1, float("nan"), True, "far", None])
def test_a_distance_out_of_range_is_refused(engine: Engine, distance: float) -> None:
    with pytest.raises(RecipeError, match="distance must be"):
        variations(engine, Recipe("toy"), distance, (1,))

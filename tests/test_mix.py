"""Mixes of several seeds: their latents under each prior, and their recipes as links and JSON."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from toy import write

from explorer.engine import Engine
from explorer.latent import LatentSpace
from explorer.recipe import Recipe, RecipeError


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path)
    write(tmp_path, "cube", prior="uniform")
    return Engine(tmp_path)


@pytest.mark.parametrize("weights", [(1, 1), (1, -1, 1), (0.6, 0.1, 0.1, 0.2), (1e-300, 3e-300)])
def test_a_mix_has_the_distribution_of_a_normal_prior(weights: tuple[float, ...]) -> None:
    space = LatentSpace((40_000,))
    z = space.mix([space.from_seed(seed) for seed in range(len(weights))], weights)
    assert stats.kstest(z.numpy(), "norm").pvalue > 0.01


def test_a_mix_under_a_uniform_prior_is_the_mean_clamped_to_the_cube() -> None:
    space, a, b = LatentSpace((3,), "uniform"), torch.tensor([0.5, 0.9, -1.0]), torch.tensor([-0.5, 0.1, 1.0])
    torch.testing.assert_close(space.mix([a, b], (3, 1)), torch.tensor([0.25, 0.7, -0.5]))
    torch.testing.assert_close(space.mix([a, b], (2, -1)), torch.tensor([1.0, 1.0, -1.0]))


def test_the_average_of_two_orthogonal_latents_is_the_middle_of_their_arc() -> None:
    space, a, b = LatentSpace((2,)), torch.tensor([3.0, 4.0]), torch.tensor([-4.0, 3.0])
    torch.testing.assert_close(space.mix([a, b], (1, 1)), space.interpolate(a, b, torch.tensor([0.5]), "arc")[0])


@pytest.mark.parametrize("model", ["toy", "cube"])
@pytest.mark.parametrize("weight", [1.0, 0.3, 7.0])
def test_a_mix_of_one_seed_is_that_seed_bit_for_bit(engine: Engine, model: str, weight: float) -> None:
    space = engine.model(model).generator.latent
    assert space.mix([space.from_seed(7)], (weight,)).equal(space.from_seed(7))
    assert engine.complete(Recipe(model, seed=1, mix=((7, weight),))) == engine.complete(Recipe(model, seed=7))


def test_a_mix_replaces_the_interpolation_and_truncation_and_offsets_apply_to_it(engine: Engine) -> None:
    recipe = Recipe("toy", seed=1, seed_b=2, t=0.5, mix=((3, 1.0), (7, 1.0)), truncation=0.5, offsets=(("z1", 2.0),))
    space = engine.model("toy").generator.latent
    expected = (space.from_seed(3) + space.from_seed(7)) / math.sqrt(2) * 0.5
    expected[1] += 2
    torch.testing.assert_close(engine.latent(recipe), expected)
    assert engine.complete(recipe) == engine.complete(
        Recipe("toy", mix=((7, 1.0), (3, 1.0)), truncation=0.5, offsets=(("z1", 2.0),))
    )


def test_a_mix_gives_the_same_sound_by_link_and_json(engine: Engine) -> None:
    recipe = Recipe("toy", mix=((3, 1 / 3), (7, -0.1), (2**32 - 1, 0.7)))
    sounds = [
        engine.render(r).waveform
        for r in (recipe, Recipe.from_url(recipe.to_url()), Recipe.from_json(engine.complete(recipe).recipe.to_json()))
    ]
    np.testing.assert_array_equal(sounds[0], sounds[1])
    np.testing.assert_array_equal(sounds[0], sounds[2])


@pytest.mark.parametrize("mix", [((3, 1.0), (7, -1.0)), ((3, 0.1), (7, 0.2), (9, -0.3))])
def test_weights_that_cancel_in_a_mean_are_refused(engine: Engine, mix: tuple[tuple[int, float], ...]) -> None:
    with pytest.raises(RecipeError, match="cancel"):
        engine.render(Recipe("cube", mix=mix))
    assert np.isfinite(engine.render(Recipe("toy", mix=mix)).waveform).all()

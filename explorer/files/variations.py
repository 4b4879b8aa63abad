"""Variations of a place: recipes at a chosen distance from it, each towards another seed.

>>> variations(engine, Recipe("spoken-digits", seed=7), 0.3, seeds=range(100, 109))
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import torch

from explorer.engine import Engine
from explorer.recipe import MAX_MIXED, Place, Recipe, checked_number

DIGITS = 4  # of a weight, as the page has them


def variations(engine: Engine, recipe: Recipe, distance: float, seeds: Iterable[int]) -> tuple[Recipe, ...]:
    """For each seed the recipe of a mix of a place and that seed; label, settings and offsets stay.

    Under a normal prior the latent turns towards the seed's by `distance` times a right angle, which is the angle of
    two random latents; under a uniform one it goes by `distance` on a line. A mix has at most MAX_MIXED seeds: of a
    place that is mixed of so many already, the seed with the smallest weight is left out.

    Args:
        distance: 0 (the place itself) to 1 (the seed itself).
    Raises:
        CheckpointError, RecipeError: as `Engine.complete`; also if the distance or a seed is out of range.
    """
    distance = checked_number("distance", distance, 0, 1)
    place = engine.complete(recipe)
    space = engine.model(recipe.model).generator.latent
    weights, scale = _as_mix(engine, place)
    keep, add = 1 - distance, distance
    if space.prior == "normal":
        keep, add = math.cos(math.pi / 2 * distance), math.sin(math.pi / 2 * distance)
    largest = sorted(weights, key=lambda seed: -abs(weights[seed]))[: MAX_MIXED - 1]
    kept = list(zip(largest, space.shares([weights[seed] for seed in largest]), strict=True))
    return tuple(
        replace(
            place.recipe,
            seed=0,
            seed_b=None,
            t=0.0,
            path=None,
            mix=tuple((s, round(w, DIGITS)) for s, w in [*((s, keep * w) for s, w in kept), (seed, add)]),
            truncation=min(round(place.recipe.truncation * scale, DIGITS), 2.0),
        )
        for seed in seeds
    )


def _as_mix(engine: Engine, place: Place) -> tuple[dict[int, float], float]:
    """A place's weights by seed, and the factor that its truncation needs for the mix to be the same latent."""
    recipe = place.recipe
    if recipe.mix:
        return dict(recipe.mix), 1.0
    if recipe.seed_b is None or recipe.seed_b == recipe.seed:
        return {recipe.seed: 1.0}, 1.0
    space = engine.model(recipe.model).generator.latent
    start, end = (space.from_seed(seed).double() for seed in (recipe.seed, recipe.seed_b))
    between = space.interpolate(start, end, torch.tensor([recipe.t]), recipe.path)[0]
    basis = torch.stack([start.flatten(), end.flatten()], 1)
    shares = torch.linalg.lstsq(basis, between.flatten()[:, None]).solution[:, 0].tolist()
    scale = math.hypot(*shares) if space.prior == "normal" else math.fsum(shares)
    return dict(zip((recipe.seed, recipe.seed_b), shares, strict=True)), scale

"""What the lessons say of shipped files, measured."""

import numpy as np
import torch

from explorer import shelf
from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.ui.learn import Lessons


def test_the_collapsed_checkpoint_hardly_listens_to_its_latent() -> None:
    engine = Engine()

    def spread(model: str) -> float:
        x = torch.stack([engine.output(Recipe(model, seed=seed, label="3")).flatten() for seed in range(8)])
        return float(torch.pdist(x).mean()) / x.shape[1] ** 0.5

    name = Lessons(engine).lesson_data(Recipe("spoken-digits").to_json())["collapsed"]
    assert abs(spread(name) - 0.06) < 0.01  # as lesson 9 says
    assert abs(spread("spoken-digits") - 0.33) < 0.02
    assert (shelf.DEFAULT_FOLDER / shelf.LESSONS / f"{name}.safetensors").stat().st_size < 600_000


def test_what_is_shown_as_falling_falls_and_noise_is_not_named() -> None:
    figures = Lessons(Engine()).lesson_data(Recipe("spoken-digits").to_json())["figures"]
    frechet = [row["frechet"] for _, row in figures["steps"]]
    assert np.all(np.diff(frechet) < 0)
    assert figures["steps"][0][1]["named"] < 0.05
    assert figures["real"]["named"] >= 0.97

"""What the lessons say of shipped files, measured."""

from typing import Any

import numpy as np
import torch

from explorer import shelf
from explorer.engine import Engine
from explorer.generators.wavegan import log_spectrogram
from explorer.recipe import Recipe
from explorer.ui.learn import Lessons


def test_the_collapsed_checkpoint_hardly_listens_to_its_latent() -> None:
    engine = Engine()

    def spread(model: str) -> float:
        x = torch.stack([engine.output(Recipe(model, seed=seed, label="3")).flatten() for seed in range(8)])
        return float(torch.pdist(x).mean()) / x.shape[1] ** 0.5

    name = Lessons(engine).lesson_data(Recipe("spoken-digits").to_json())["collapsed"]
    assert abs(spread(name) - 0.06) < 0.01  # as its card says
    assert abs(spread("spoken-digits") - 0.29) < 0.02
    assert (shelf.DEFAULT_FOLDER / shelf.LESSONS / f"{name}.safetensors").stat().st_size < 600_000


def test_few_steps_are_enough_for_the_distilled_network_alone() -> None:
    engine = Engine()
    data = Lessons(engine).lesson_data(Recipe("drums-diffwave").to_json())
    assert data["distilled"]["model"] == "drums-diffwave"

    def missed(found: dict[str, Any]) -> list[float]:
        """Of the log-spectrogram that more steps make, by the first and by the last of few steps; mean of labels."""
        shares = []
        for seed, label in enumerate(found["labels"]):
            recipes = (
                Recipe(found["model"], seed=seed, label=label, settings=tuple(found[x].items()))
                for x in ("few", "usual")
            )
            few, more = ([log_spectrogram(torch.tensor(x.waveform)) for x in engine.stages(r)] for r in recipes)
            shares.append([float((x - more[-1]).norm() / more[-1].norm()) for x in (few[1], few[-1])])
        return list(np.mean(shares, axis=0))

    first, last = missed(data["emerging"])  # 0.145, 0.055
    at_once, _ = missed(data["distilled"])  # 0.018
    assert first > 5 * at_once
    assert last > 2 * at_once
    assert (shelf.DEFAULT_FOLDER / shelf.LESSONS / f"{data['emerging']['model']}.safetensors").stat().st_size < 3e6


def test_what_is_shown_as_falling_falls_and_noise_is_not_named() -> None:
    figures = Lessons(Engine()).lesson_data(Recipe("spoken-digits").to_json())["figures"]
    frechet = [row["frechet"] for _, row in figures["steps"]]
    assert np.all(np.diff(frechet) < 0)
    assert figures["steps"][0][1]["named"] < 0.05
    assert figures["real"]["named"] >= 0.97

"""Latent measures on generators whose geometry is known."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Settings, Sound
from training.evaluation.latent_space import draw, entropy_left, path_table, separability_table


class Plane(Generator):
    """A generator that returns its latent or, if steep, only the sign of its first number."""

    family = "plane"

    @dataclass(frozen=True)
    class Config:
        steep: bool = False

    def __init__(self, config: Config, labels: int = 0) -> None:
        super().__init__()
        self.config, self.latent = config, LatentSpace((4,))
        self.condition = Condition("digit", tuple(map(str, range(labels)))) if labels else None

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        return torch.tanh(10 * z[:, :1]) if self.config.steep else z


def ignore(_: int) -> None:
    pass


def test_the_straight_line_is_the_shortest_path_of_a_linear_generator() -> None:
    rows = path_table(Plane(Plane.Config()), ignore).rows
    assert rows["line"]["length"] == pytest.approx(1, abs=1e-3)
    assert rows["arc"]["length"] > 1.02


def test_a_step_function_has_most_of_its_path_length_in_few_points() -> None:
    rows = path_table(Plane(Plane.Config(steep=True)), ignore).rows
    assert rows["line"]["steepest"] > 0.5
    assert rows["line"]["length"] > 1.5


def test_a_generator_that_ignores_its_latent_has_paths_of_length_zero() -> None:
    generator = Plane(Plane.Config())
    generator.forward = lambda z, *_: torch.ones(len(z), 2)  # type: ignore[method-assign]
    assert path_table(generator, ignore).rows["arc"] == {"length": 0, "steepest": 0}


def test_progress_counts_six_calls_a_pair() -> None:
    counts: list[int] = []
    path_table(Plane(Plane.Config()), counts.append, pairs=10)
    assert sum(counts) == 60


def test_seeds_get_the_labels_in_turn() -> None:
    _, condition, labels = draw(Plane(Plane.Config(), labels=3), range(7))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert condition is not None
    assert condition.argmax(1).tolist() == labels.tolist()


def test_consecutive_seeds_are_drawn_as_the_explorer_draws_them() -> None:
    generator = Plane(Plane.Config())
    z, condition, _ = draw(generator, range(3, 5))
    assert torch.equal(z[1], generator.latent.from_seed(4))
    assert condition is None


NO_LABELS = np.zeros(600, dtype=int)


def test_separability_is_near_zero_bits_for_an_attribute_linear_in_the_latent() -> None:
    z = np.random.RandomState(0).standard_normal((600, 8))
    assert entropy_left(z, NO_LABELS, z[:, 2] + 5) < 0.05


@pytest.mark.parametrize(
    "values",
    [np.random.RandomState(1).standard_normal(600), np.ones(600), np.full(600, np.nan)],
    ids=["noise", "constant", "unknown"],
)
def test_entropy_is_one_bit_for_attributes_independent_of_the_latent(values: np.ndarray) -> None:
    z = np.random.RandomState(0).standard_normal((600, 8))
    assert entropy_left(z, NO_LABELS, values) > 0.9


def test_separability_is_measured_within_each_label() -> None:
    z, labels = np.random.RandomState(0).standard_normal((600, 4)), np.arange(600) % 2
    # Between the labels lies a gulf that the latent knows nothing of.
    assert entropy_left(z, labels, z[:, 0] + 1000 * labels) < 0.05


def test_separability_has_a_column_for_each_measure_of_the_sounds() -> None:
    z = torch.from_numpy(np.random.RandomState(0).standard_normal((60, 4)))
    # Louder with the first number: what is measured of a tone but its loudness stays.
    tone = np.sin(np.arange(800) * 0.5).astype(np.float32)
    sounds = [Sound(partial(np.multiply, tone, np.exp(x[0].item())), 8000, 0.1) for x in z]
    row = separability_table(z, NO_LABELS[:60], sounds).rows["latent"]
    assert set(row) == {"duration", "loudness", "brightness", "pitch"}
    assert row["loudness"] < 0.5 < row["duration"]

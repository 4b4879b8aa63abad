"""Principal directions, on linear generators whose singular vectors are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.directions import principal
from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Sound

STRETCH = torch.tensor([8.0, 4.0, 2.0, 1.0])


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.from_numpy(np.random.RandomState(seed).standard_normal((rows, columns))))[0].float()


class Anything:
    sample_rate, seconds = 100, 0.01

    def __init__(self, size: int) -> None:
        self.shape, self.settings = (size,), {}

    def encode(self, sound: Sound) -> Tensor:
        raise NotImplementedError

    def decode(self, x: Tensor, settings: Mapping[str, str] | None = None) -> Sound:
        raise NotImplementedError


class Linear(Generator):
    """z -> U diag(STRETCH) V^T z, plus a large offset for each class."""

    family, Config = "linear", dict

    def __init__(self, outputs: int, classes: int = 0, shape: tuple[int, ...] = (10,)) -> None:
        super().__init__()
        self.latent, self.representation = LatentSpace(shape), Anything(outputs)
        self.condition = Condition("class", tuple(map(str, range(classes)))) if classes else None
        self.right = orthogonal(self.latent.size, len(STRETCH), seed=1)
        self.matrix = orthogonal(outputs, len(STRETCH), seed=2) * STRETCH @ self.right.T
        self.offsets = 100 * orthogonal(outputs, max(classes, 1), seed=3).T

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        x = z.flatten(1) @ self.matrix.T
        return x if condition is None else x + condition @ self.offsets


def likeness(generator: Linear, **options: Any) -> Tensor:
    """|cosine| between each found direction and the singular vector it should be."""
    vectors = torch.stack([d.vector.flatten() for d in principal(generator, **options)])
    return (vectors * generator.right.T[: len(vectors)]).sum(1).abs()


@pytest.mark.parametrize("outputs", [20, 3000], ids=["fewer outputs than samples", "more outputs than samples"])
def test_the_directions_of_a_linear_generator_are_its_singular_vectors(outputs: int) -> None:
    assert float(likeness(Linear(outputs), count=4).min()) > 0.99


def test_the_offset_of_a_class_is_no_direction() -> None:
    assert float(likeness(Linear(20, classes=5), count=4).min()) > 0.99


def test_a_latent_with_several_axes_has_directions_of_its_shape() -> None:
    generator = Linear(20, shape=(2, 5))
    assert {tuple(d.vector.shape) for d in principal(generator)} == {(2, 5)}
    assert float(likeness(generator, count=4).min()) > 0.99


def test_what_a_direction_explains_is_its_share_of_the_variance() -> None:
    expected = (STRETCH.square() / STRETCH.square().sum()).tolist()
    found = [d.measures["explained"] for d in principal(Linear(20), count=4)]
    assert found == pytest.approx(expected, abs=0.05)


def test_a_linear_generator_is_predicted_entirely() -> None:
    assert [d.measures["r2"] for d in principal(Linear(20), count=4)] == pytest.approx([1.0] * 4, abs=1e-3)


def test_directions_have_norm_one_and_a_fixed_sign() -> None:
    for direction in principal(Linear(20), count=4):
        assert float(direction.vector.norm()) == pytest.approx(1, abs=1e-5)
        assert float(direction.vector[direction.vector.abs().argmax()]) > 0


def test_there_are_no_more_directions_than_the_latent_has_dimensions() -> None:
    assert len(principal(Linear(20, shape=(5,)), count=12)) == 5


def test_directions_are_the_same_each_time_and_leave_the_global_random_state_alone() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = principal(Linear(20)), principal(Linear(20))
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(first, second, strict=True))
    assert torch.equal(before, torch.get_rng_state())
    assert (np.random.get_state()[1] == numpy_before).all()

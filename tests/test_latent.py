"""The latent space: latents from seeds, interpolation, remoteness and moves."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from explorer.latent import MAX_SEED, LatentSpace, Prior

SPACE = LatentSpace((128,))
SEEDS = st.integers(0, MAX_SEED)
PATHS = st.sampled_from(["arc", "line"])
PathName = Literal["arc", "line"]


@given(SEEDS, SEEDS, PATHS)
def test_both_ends_of_an_interpolation_are_exact(a: int, b: int, path: PathName) -> None:
    start, end = SPACE.from_seed(a), SPACE.from_seed(b)
    points = SPACE.interpolate(start, end, torch.tensor([0.0, 0.5, 1.0]), path)
    assert torch.equal(points[0], start)
    assert torch.equal(points[2], end)


@given(SEEDS, SEEDS, st.floats(0, 1))
def test_an_arc_between_equally_long_latents_keeps_their_norm(a: int, b: int, t: float) -> None:
    start, end = SPACE.from_seed(a), SPACE.from_seed(b)
    end = end * (start.norm() / end.norm())
    between = SPACE.interpolate(start, end, torch.tensor([t]), "arc")[0]
    assert float(between.norm()) == pytest.approx(float(start.norm()), rel=1e-4)


@given(SEEDS, SEEDS, st.floats(0, 1))
def test_an_arc_changes_the_norm_linearly(a: int, b: int, t: float) -> None:
    start, end = SPACE.from_seed(a), SPACE.from_seed(b)
    between = SPACE.interpolate(start, end, torch.tensor([t]), "arc")[0]
    expected = (1 - t) * float(start.norm()) + t * float(end.norm())
    assert float(between.norm()) == pytest.approx(expected, rel=1e-4)


@given(st.floats(0.01, 3.1), st.floats(0, 1))
def test_an_arc_turns_at_a_constant_rate(angle: float, t: float) -> None:
    space = LatentSpace((2,))
    start, end = torch.tensor([1.0, 0.0]), torch.tensor([math.cos(angle), math.sin(angle)])
    x, y = space.interpolate(start, end, torch.tensor([t]), "arc")[0].tolist()
    assert math.atan2(y, x) == pytest.approx(t * angle, abs=2e-4)


@given(SEEDS, SEEDS, st.floats(0, 1), PATHS)
def test_interpolating_backwards_passes_the_same_points(a: int, b: int, t: float, path: PathName) -> None:
    start, end = SPACE.from_seed(a), SPACE.from_seed(b)
    there = SPACE.interpolate(start, end, torch.tensor([t]), path)
    back = SPACE.interpolate(end, start, torch.tensor([1 - t]), path)
    torch.testing.assert_close(there, back, rtol=0, atol=1e-4)


def test_the_middle_of_a_line_is_the_mean() -> None:
    start, end = SPACE.from_seed(1), SPACE.from_seed(2)
    middle = SPACE.interpolate(start, end, torch.tensor([0.5]), "line")[0]
    torch.testing.assert_close(middle, (start + end) / 2)


@pytest.mark.parametrize("factor", [-1.0, 1.0, 2.0, 0.0], ids=["opposite", "same", "parallel", "zero"])
def test_parallel_opposite_and_zero_latents_are_interpolated_linearly(factor: float) -> None:
    start = SPACE.from_seed(3)
    t = torch.linspace(0, 1, 5)
    points = SPACE.interpolate(start, factor * start, t, "arc")
    torch.testing.assert_close(points, (1 - t + factor * t)[:, None] * start)


def test_an_arc_from_zero_to_zero_is_zero() -> None:
    points = SPACE.interpolate(torch.zeros(128), torch.zeros(128), torch.linspace(0, 1, 5), "arc")
    assert bool((points == 0).all())


def test_the_default_path_is_an_arc_for_a_normal_and_a_line_for_a_uniform_prior() -> None:
    assert LatentSpace((4,), "normal").default_path == "arc"
    assert LatentSpace((4,), "uniform").default_path == "line"


def test_a_line_never_leaves_the_cube_of_a_uniform_prior() -> None:
    space = LatentSpace((100,), "uniform")
    points = space.interpolate(space.from_seed(1), space.from_seed(2), torch.linspace(0, 1, 101))
    assert float(points.abs().max()) <= 1


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(ValueError, match="'arc' or 'line'"):
        SPACE.interpolate(torch.zeros(128), torch.ones(128), torch.tensor([0.5]), "bow")  # type: ignore[arg-type]


def test_a_seed_gives_the_random_stream_that_numpy_has_frozen() -> None:
    # The first numbers of RandomState(0).standard_normal(), as printed in NumPy's documentation for years.
    assert LatentSpace((3,)).from_seed(0).tolist() == pytest.approx([1.76405235, 0.40015721, 0.97873798], rel=1e-6)


@given(SEEDS)
def test_a_latent_has_the_shape_and_type_of_its_space(seed: int) -> None:
    z = LatentSpace((2, 5)).from_seed(seed)
    assert z.shape == (2, 5)
    assert z.dtype == torch.float32


def test_samples_follow_the_prior() -> None:
    normal = LatentSpace((50,)).sample(2000, np.random.RandomState(0))
    uniform = LatentSpace((50,), "uniform").sample(2000, np.random.RandomState(0))
    assert (float(normal.mean()), float(normal.std())) == pytest.approx((0, 1), abs=0.02)
    assert (float(uniform.min()), float(uniform.max())) == pytest.approx((-1, 1), abs=0.01)
    assert float(uniform.square().mean()) == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.0, True, "1", None])
def test_invalid_seeds_are_refused(seed: object) -> None:
    with pytest.raises(ValueError, match="whole number from 0 to 4294967295"):
        SPACE.from_seed(seed)  # type: ignore[arg-type]


def test_a_latent_neither_reads_nor_changes_the_global_random_state() -> None:
    np.random.seed(1)
    before = np.random.get_state(legacy=False)["state"]["key"].copy()
    first = SPACE.from_seed(9)
    np.random.seed(2)
    assert torch.equal(first, SPACE.from_seed(9))
    np.random.seed(1)
    SPACE.from_seed(9)
    assert (np.random.get_state(legacy=False)["state"]["key"] == before).all()


@pytest.mark.parametrize("norm", [0.0, 9.0, 11.3, 13.0, 100.0])
def test_remoteness_of_a_normal_latent_is_the_quantile_of_its_norm(norm: float) -> None:
    z = SPACE.from_seed(7)
    assert SPACE.remoteness(z * norm / z.norm()) == pytest.approx(stats.chi(128).cdf(norm), abs=1e-5)


def test_remoteness_of_a_uniform_latent_is_the_share_of_the_prior_with_a_smaller_norm() -> None:
    space = LatentSpace((4, 10), "uniform")
    z = space.sample(20_000, np.random.RandomState(0))
    ranks = z.flatten(1).norm(dim=1).argsort().argsort() / len(z)
    for row, share in zip(z[:20], ranks[:20].tolist(), strict=True):
        assert space.remoteness(row) == pytest.approx(share, abs=0.03)


def test_remoteness_is_one_outside_of_the_cube_of_a_uniform_prior() -> None:
    assert LatentSpace((3,), "uniform").remoteness(torch.tensor([0.0, 1.01, 0.0])) == 1


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_a_step_is_one_standard_deviation_of_the_position_along_the_vector(prior: Prior) -> None:
    space = LatentSpace((40,), prior)
    vector = LatentSpace((40,)).from_seed(1)
    vector = vector / vector.norm()
    along = space.sample(20_000, np.random.RandomState(0)) @ vector
    assert space.std == pytest.approx(float(along.std()), rel=0.02)
    step = space.move(torch.zeros(40), vector, 1.0)
    torch.testing.assert_close(step, vector * space.std)


def test_a_move_under_a_normal_prior_is_a_plain_sum_bit_for_bit() -> None:
    z, vector = SPACE.from_seed(1), torch.eye(128)[3]
    assert torch.equal(SPACE.move(z, vector, 2.5), z + 2.5 * vector)
    assert SPACE.room(z, vector) == (math.inf, math.inf)


@given(SEEDS, st.integers(0, 9), st.floats(-100, 100))
def test_a_move_never_leaves_the_cube_of_a_uniform_prior(seed: int, k: int, amount: float) -> None:
    space = LatentSpace((2, 5), "uniform")
    z = space.move(space.from_seed(seed), torch.eye(10)[k].reshape(2, 5), amount)
    assert float(z.abs().max()) <= 1


@given(SEEDS, st.integers(0, 9))
def test_moves_within_room_change_a_raw_dimension_linearly_and_beyond_it_not_at_all(seed: int, k: int) -> None:
    space, vector = LatentSpace((10,), "uniform"), torch.eye(10)[k]
    z = space.from_seed(seed)
    back, ahead = space.room(z, vector)
    amounts = torch.linspace(-back, ahead, 9).tolist()
    values = torch.stack([space.move(z, vector, amount)[k] for amount in amounts])
    torch.testing.assert_close(values, torch.linspace(-1, 1, 9), atol=1e-5, rtol=0)
    assert torch.equal(space.move(z, vector, ahead + 1), space.move(z, vector, ahead + 2))


def test_room_ends_where_the_last_component_is_clamped() -> None:
    space, z = LatentSpace((2,), "uniform"), torch.tensor([0.5, 0.0])
    back, ahead = space.room(z, torch.tensor([0.8, -0.6]))
    assert (back * space.std, ahead * space.std) == pytest.approx((1.5 / 0.8, 1 / 0.6))

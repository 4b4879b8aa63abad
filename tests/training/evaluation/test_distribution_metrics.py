"""The statistics of `training.evaluation.distribution_metrics`, against closed forms and independent libraries."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score

from training.evaluation import distribution_metrics

RNG = np.random.RandomState(0)


def whitened(n: int, d: int, rng: np.random.RandomState) -> np.ndarray:
    """(n, d) with a sample mean of exactly 0 and a sample covariance of exactly 1, up to rounding."""
    x = rng.standard_normal((n, d))
    x -= x.mean(0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T


def clusters(centres: list[float], each: int, rng: np.random.RandomState) -> np.ndarray:
    """(len(centres) * each, 2): tight clusters on a line, far apart."""
    x = np.repeat(np.array(centres), each)[:, None] * np.array([[100.0, 0.0]])
    return x + rng.uniform(-1, 1, x.shape)


@pytest.mark.parametrize("classes", [2, 10])
def test_inception_score_of_clear_and_even_classes_is_their_number(classes: int) -> None:
    assert distribution_metrics.inception_score(np.tile(np.eye(classes), (3, 1))) == pytest.approx(classes, rel=1e-6)


def test_inception_score_is_one_if_all_items_have_the_same_prediction() -> None:
    assert distribution_metrics.inception_score(np.tile([0.7, 0.2, 0.1], (5, 1))) == pytest.approx(1)


def test_modified_inception_score_is_the_mean_over_all_pairs() -> None:
    p = RNG.dirichlet(np.ones(4), size=6)
    pairs = [(a * np.log(a / b)).sum() for a in p for b in p]
    assert distribution_metrics.modified_inception_score(p) == pytest.approx(np.exp(np.mean(pairs)))


def test_am_score_is_zero_for_clear_items_of_the_right_frequencies() -> None:
    even = np.tile(np.eye(3), (4, 1))
    assert distribution_metrics.am_score(even, even[::-1]) == pytest.approx(0, abs=1e-9)


def test_am_score_of_uniform_predictions_is_the_log_of_the_number_of_classes() -> None:
    assert distribution_metrics.am_score(np.eye(10), np.full((5, 10), 0.1)) == pytest.approx(np.log(10))


def test_am_score_rises_with_a_wrong_mix_of_classes() -> None:
    mixed = np.repeat(np.eye(2), (1, 3), axis=0)  # a quarter and three quarters, instead of halves
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert distribution_metrics.am_score(np.eye(2), mixed) == pytest.approx(expected)


def test_frechet_distance_of_axis_aligned_gaussians_has_its_closed_form() -> None:
    a, b = whitened(50, 3, RNG), whitened(40, 3, RNG)
    wide, narrow, shift = np.array([3.0, 2, 1]), np.array([1.0, 2, 5]), np.array([1.0, -2, 0])
    expected = np.square(shift).sum() + np.square(wide - narrow).sum()
    assert distribution_metrics.frechet_distance(a * wide + shift, b * narrow) == pytest.approx(expected)


def test_frechet_distance_agrees_with_the_matrix_root_of_scipy() -> None:
    a, b = RNG.standard_normal((60, 5)) @ RNG.standard_normal((5, 5)), RNG.standard_normal((30, 5)) + 1
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(cov_a @ cov_b))
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert distribution_metrics.frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_of_a_set_from_itself_is_zero_even_if_it_is_flat() -> None:
    flat = np.hstack([RNG.standard_normal((9, 2)), np.zeros((9, 20))])  # a singular covariance
    assert distribution_metrics.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_refuses_a_single_item() -> None:
    with pytest.raises(ValueError, match="two items"):
        distribution_metrics.frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_no_bin_differs_between_a_set_and_itself() -> None:
    x = RNG.standard_normal((200, 4))
    assert distribution_metrics.different_bins(x, x) == 0


def test_every_bin_differs_if_all_items_fall_into_one_of_many() -> None:
    real = clusters([0, 1, 2, 3], 50, RNG)
    assert distribution_metrics.different_bins(real, clusters([0], 200, RNG), bins=4) == 1


@pytest.mark.parametrize(("in_first", "share"), [(63, 0.0), (64, 1.0)])
def test_bins_differ_once_the_z_test_is_significant(in_first: int, share: float) -> None:
    # Of 100 each: 50 against 64 is z = 2.00, against 63 it is 1.85; the border is at 1.96.
    fake = np.concatenate([clusters([0], in_first, RNG), clusters([1], 100 - in_first, RNG)])
    assert distribution_metrics.different_bins(clusters([0, 1], 50, RNG), fake, bins=2) == share


def test_a_set_has_full_precision_and_recall_for_itself() -> None:
    x = RNG.standard_normal((50, 3))
    assert distribution_metrics.precision_recall(x, x) == (1, 1)


def test_sets_far_apart_have_neither_precision_nor_recall() -> None:
    x = RNG.standard_normal((50, 3))
    assert distribution_metrics.precision_recall(x, x + 100) == (0, 0)


def test_a_set_that_misses_half_of_the_modes_is_precise_but_recalls_half() -> None:
    real, one_mode = clusters([0, 1], 100, RNG), clusters([0], 100, np.random.RandomState(1))
    precision, recall = distribution_metrics.precision_recall(real, one_mode, k=20)
    assert precision > 0.98
    assert recall == pytest.approx(0.5, abs=0.01)


def test_precision_is_the_share_within_the_third_neighbour_of_a_real_item() -> None:
    real, fake = RNG.standard_normal((80, 3)), RNG.standard_normal((90, 3)) * 1.5
    radius = np.sort(np.linalg.norm(real[:, None] - real, axis=2))[:, 3]  # the first is the item itself
    inside = np.linalg.norm(fake[:, None] - real, axis=2) <= radius
    assert distribution_metrics.precision_recall(real, fake)[0] == pytest.approx(inside.any(1).mean())


def test_precision_needs_more_items_than_neighbours() -> None:
    with pytest.raises(ValueError, match="3-th neighbour"):
        distribution_metrics.precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))


def test_nearest_distances_are_those_to_the_closest_centre() -> None:
    found = distribution_metrics.nearest_distances(np.array([[0.0, 0], [3, 4], [10, 1]]), np.array([[0.0, 0], [10, 0]]))
    assert found == pytest.approx([0, 5, 1])


def test_an_item_is_not_its_own_neighbour() -> None:
    line = np.arange(100.0)[:, None]
    assert distribution_metrics.nearest_distances(line, line, itself=True) == pytest.approx(np.ones(len(line)))


def test_spread_is_measured_from_the_mean_of_each_class() -> None:
    x = whitened(40, 3, RNG)
    two = np.concatenate([x, 2 * x + 50])  # variances 3 and 12 in all
    assert distribution_metrics.spread(two, np.repeat([0, 1], 40)) == pytest.approx(np.sqrt((3 + 12) / 2))


def test_conditional_entropy_is_entropy_less_mutual_information() -> None:
    labels, predictions = RNG.randint(0, 3, 500), RNG.randint(0, 2, 500)
    share = np.bincount(labels) / 500
    expected = -(share * np.log2(share)).sum() - mutual_info_score(labels, predictions) / np.log(2)
    assert distribution_metrics.conditional_entropy(labels, predictions) == pytest.approx(expected)


def test_conditional_entropy_is_zero_if_the_prediction_determines_the_label() -> None:
    labels = np.array([0, 1, 1, 2])
    assert distribution_metrics.conditional_entropy(labels, labels) == 0


def test_sets_of_one_distribution_are_not_told_apart_and_a_smoother_one_is() -> None:
    real, other = RNG.standard_normal((2, 200, 30))
    smooth = (other + np.roll(other, 1, axis=1)) / 2**0.5  # each number has the same distribution
    assert distribution_metrics.two_sample_accuracy(real, other) == pytest.approx(0.5, abs=0.1)
    assert distribution_metrics.two_sample_accuracy(real, smooth) > 0.7
    assert np.isnan(distribution_metrics.two_sample_accuracy(real, other[:1]))

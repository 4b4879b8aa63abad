from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import ArrayLike

from training.evaluation import music

RNG = np.random.RandomState


def window(
    pitches: ArrayLike, step: ArrayLike = 0.25, duration: ArrayLike = 0.2, velocity: ArrayLike = 64
) -> np.ndarray:
    """256 notes that repeat the given ones."""
    rows = np.zeros((256, 4))
    for column, values in enumerate((pitches, step, duration, velocity)):
        rows[:, column] = np.resize(values, 256)
    return rows


def walks(n: int, seed: int, spread: float = 3.0) -> np.ndarray:
    """Windows of random walks, alike in kind and different in place."""
    rng = RNG(seed)
    made = np.stack([window(60) for _ in range(n)])
    made[..., 0] = np.clip(
        np.round(60 + rng.normal(0, 6, (n, 1)) + np.cumsum(rng.normal(0, spread, (n, 256)), 1) / 4), 21, 108
    )
    made[..., 1] = np.exp(rng.normal(-2, 0.4, (n, 256)))
    made[..., 3] = rng.randint(40, 90, (n, 256))
    return made


def test_white_keys_are_all_in_one_key() -> None:
    assert music.in_key_ratio(window([60, 62, 64, 65, 67, 69, 71, 72])[None]) == 1


def test_the_chromatic_scale_is_seven_twelfths_in_key() -> None:
    pitches = window(range(60, 72))
    pitches[252:, 0] = [60, 61, 62, 63]  # 256 is 21 octaves and four notes
    assert music.in_key_ratio(pitches[None])[0] == pytest.approx(7 / 12, abs=0.01)


def test_chords_of_four_have_a_chord_rate_of_three_in_four() -> None:
    notes = window([60, 64, 67, 72], step=[0.5, 0, 0, 0])
    assert music.chord_rate(notes[None])[0] == pytest.approx(192 / 255)


def test_notes_that_touch_no_other_have_no_polyphony() -> None:
    assert music.polyphony_rate(window([60, 62], step=0.3, duration=0.2)[None])[0] == 0


def test_notes_that_last_half_into_the_next_are_polyphonic_for_half_the_time() -> None:
    rate = music.polyphony_rate(window([60, 62], step=0.2, duration=0.3)[None])[0]
    assert rate == pytest.approx(0.5, abs=0.01)


def test_histograms_and_transitions_sum_to_one() -> None:
    for name, values in music.features(walks(3, 0)).items():
        if values.shape[1] > 1:
            np.testing.assert_allclose(values.sum(1), 1, err_msg=name)


def test_there_are_thirteen_features() -> None:
    assert len(music.features(walks(2, 0))) == 13


def test_pitch_count_and_range_are_those_of_the_window() -> None:
    found = music.features(window([60, 64, 67])[None])
    assert (found["pitch_count"][0, 0], found["pitch_range"][0, 0]) == (3, 7)


def test_two_sets_of_one_kind_overlap_almost_wholly() -> None:
    assert music.mean_overlap(music.features(walks(80, 0)), music.features(walks(80, 1))) > 0.93


def test_a_set_far_away_does_not_overlap() -> None:
    far = walks(40, 1)
    far[..., 2] = 7.0
    area, divergence = music.overlap(music.features(walks(40, 0)), music.features(far))["mean_note_length"]
    assert area < 0.05
    assert divergence > 1


def test_identical_interval_pairs_do_not_diverge_and_foreign_ones_do_by_one_bit() -> None:
    up = window(range(60, 72))[None]
    assert music.interval_pairs_divergence(up, up) == 0
    foreign = music.interval_pairs_divergence(window([60, 60, 61])[None], window([60, 67])[None])
    assert foreign == pytest.approx(1)


def test_a_classifier_cannot_tell_sets_of_one_kind_apart() -> None:
    assert music.two_sample_accuracy(walks(100, 0), walks(100, 1)) < 0.65


def test_a_classifier_tells_other_walks_apart() -> None:
    assert music.two_sample_accuracy(walks(60, 0), walks(60, 1, spread=12.0)) > 0.9


def test_statistics_of_monotonous_windows_are_finite() -> None:
    assert np.isfinite(music.statistics(np.stack([window(60, step=0.0), window(60)]))).all()


@pytest.mark.parametrize("name", music.BASELINES)
def test_baselines_keep_shape_and_use_only_real_notes(name: str) -> None:
    real = walks(10, 0)
    made = music.BASELINES[name](real, RNG(0))
    assert made.shape == real.shape
    for column in range(4):
        assert set(made[..., column].ravel()) <= set(real[..., column].ravel())


def test_markov_windows_only_make_moves_that_are_real() -> None:
    real = walks(10, 0)
    made = music.markov(real, RNG(0))
    ends = set(real[:, -1, 0])
    moves = {pair for w in real for pair in pairwise(w[:, 0])}
    found = {pair for w in made for pair in pairwise(w[:, 0])}
    assert all(pair in moves or pair[0] in ends for pair in found)

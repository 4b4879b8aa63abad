"""The classifier of `training.evaluation.blind`, on windows whose difference is known."""

from pathlib import Path

import numpy as np
import pytest

import training
from training.evaluation import blind
from training.evaluation.music import DURATION, PITCH, STEP, VELOCITY

RNG = np.random.RandomState
ROOT = Path(training.__file__).parent


def played(n: int, seed: int, together: float = 0.01) -> np.ndarray:
    """Windows of chords of four notes that are spread over about `together` seconds."""
    rng = RNG(seed)
    windows = np.zeros((n, 256, 4))
    windows[..., PITCH] = np.clip(60 + rng.normal(0, 6, (n, 256)).cumsum(1) / 8, 21, 108).round()
    windows[..., STEP] = rng.exponential(together, (n, 256))
    windows[:, ::4, STEP] = 0.2 + rng.exponential(0.1, (n, 64))
    windows[:, 0, STEP] = 0
    windows[..., DURATION] = np.exp(rng.normal(-1.5, 0.5, (n, 256)))
    windows[..., VELOCITY] = rng.randint(40, 90, (n, 256))
    return windows


def features(windows: np.ndarray) -> np.ndarray:
    return np.stack([blind.plain(window) for window in windows])


def test_windows_of_one_kind_are_not_told_apart_and_chords_without_touch_are() -> None:
    real, other, stiff = features(played(80, 0)), features(played(80, 1)), features(played(80, 2, together=0.0))
    pieces, others = np.arange(80), np.arange(80, 160)
    assert blind.two_sample_accuracy(real, other, pieces, others) < 0.7
    assert blind.two_sample_accuracy(real, stiff, pieces, others) > 0.95


def test_what_is_learned_of_a_piece_does_not_count() -> None:
    # Each piece has a mark that says nothing of the next: by windows it would be told always.
    rng = RNG(0)
    mark = rng.normal(size=(40, 8))
    x = np.repeat(mark, 10, axis=0) + rng.normal(0, 0.01, (400, 8))
    pieces = np.repeat(np.arange(40), 10)
    assert blind.two_sample_accuracy(x[:200], x[200:], pieces[:200], pieces[200:]) < 0.75
    windows = np.arange(400)
    assert blind.two_sample_accuracy(x[:200], x[200:], windows[:200], windows[200:]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("pieces", [[0] * 20, [*([0] * 19), 1]])
def test_with_one_piece_nothing_can_be_left_out(pieces: list[int]) -> None:
    x = RNG(0).normal(size=(20, 3))
    told = blind.two_sample_accuracy(x, x, np.array(pieces), np.zeros(20, dtype=int))
    assert np.isnan(told)


def test_a_constant_number_and_one_that_is_missing_tell_nothing() -> None:
    x = RNG(0).normal(size=(60, 3))
    x[:, 1], x[:, 2] = 1, np.nan
    assert blind.two_sample_accuracy(x[:30], x[30:], np.arange(30), np.arange(30, 60)) < 0.8


def test_snapping_brings_a_chord_to_its_first_note_and_keeps_the_rest() -> None:
    window = played(1, 0, together=0.002)
    snapped = blind.snapped(window)[0]
    onset, before = snapped[:, STEP].cumsum(), window[0, :, STEP].cumsum()
    assert (snapped[:, STEP] > 0).sum() == 63
    np.testing.assert_allclose(np.unique(onset), before[::4] - before[0])
    for column in (PITCH, DURATION, VELOCITY):
        np.testing.assert_array_equal(np.sort(snapped[:, column]), np.sort(window[0, :, column]))


def test_notes_thirty_milliseconds_apart_are_no_chord() -> None:
    window = played(1, 0)
    window[..., STEP] = 0.03
    assert (blind.snapped(window)[0, 1:, STEP] > 0).all()


def test_the_clock_cannot_be_read_from_blurred_windows() -> None:
    windows = np.round(played(4, 0) / blind.CLOCK_SECONDS) * blind.CLOCK_SECONDS
    blurred = blind.blurred(windows, RNG(0))
    ticks = blurred[..., STEP] / blind.CLOCK_SECONDS
    assert np.abs(ticks - ticks.round()).mean() > 0.15
    moved = blurred[..., STEP].cumsum(1) - windows[..., STEP].cumsum(1)
    assert np.abs(moved).max() < 2 * blind.CLOCK_SECONDS


@pytest.mark.parametrize("of", [blind.plain, blind.unseen])
def test_any_notes_have_as_many_features(of: blind.Features) -> None:
    at_once = np.stack([np.resize(np.arange(21, 109), 256), np.zeros(256), np.full(256, 0.1), np.full(256, 64.0)], 1)
    one_key = np.stack([np.full(256, 60), np.full(256, 0.2), np.full(256, 0.1), np.full(256, 64.0)], axis=1)
    found = [of(window) for window in (played(1, 0)[0], at_once, one_key)]
    assert len({len(numbers) for numbers in found}) == 1
    assert not any(np.isinf(numbers).any() for numbers in found)


def test_training_sees_none_of_it() -> None:
    outside = [path for path in ROOT.rglob("*.py") if path.parent.name != "evaluation"]
    assert outside
    for path in outside:
        source = path.read_text(encoding="utf-8")
        assert "evaluation.blind" not in source, path.name
        assert "evaluation.form" not in source, path.name

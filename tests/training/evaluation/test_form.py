"""Measures of form, of music whose form is known."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from training.evaluation import form
from training.evaluation.form import MEASURES, SHUFFLES, Strokes

RNG = np.random.RandomState
C_MAJOR = [60, 62, 64, 65, 67, 69, 71, 72]


def window(pitches: ArrayLike, step: ArrayLike = 0.25, velocity: ArrayLike = 64) -> np.ndarray:
    """256 notes that repeat the given ones, each as long as a quarter of a second."""
    rows = np.zeros((256, 4))
    for column, values in enumerate((pitches, step, 0.25, velocity)):
        rows[:, column] = np.resize(values, 256)
    rows[0, 1] = 0
    return rows


def piece(seed: int) -> np.ndarray:
    """A window as pieces are: with a theme, steps, chords of thirds, a rhythm and phrases, in a key of its own."""
    rng, notes, time = RNG(seed), [], 0.0
    theme = np.cumsum(rng.choice([-2, -1, 0, 1, 2], 16)) + rng.randint(7)
    rhythm = rng.uniform(0.15, 0.5, 5)
    scale = (np.arange(7) * 2 - (np.arange(7) > 2) + rng.randint(12)).tolist()
    for k in range(100):
        degree, loud = theme[k % 16] + 14, 60 + 20 * np.sin(k / 5)
        for third in (0, 2, 4)[: 1 + 2 * (k % 2)]:
            octave, step = divmod(int(degree) - third, 7)
            late = rng.uniform(0, 0.02)
            notes.append((time + late, 48 + 12 * octave + scale[step], 0.4, loud + (10 if third == 0 else 0)))
        time += rhythm[k % 5] * rng.uniform(0.99, 1.01)
    onset, pitch, duration, velocity = np.array(notes)[:256].T
    return form.as_window(onset, pitch, duration, np.round(velocity))[:180]


@pytest.fixture(scope="module")
def pieces() -> np.ndarray:
    return np.stack([piece(seed) for seed in range(40)])


# These pieces change no key, have a bass that jumps between chords, and do not leap.
@pytest.mark.parametrize("name", sorted(MEASURES.keys() - {"near_keys", "bass_steps", "bass_leaps", "top_leaps"}))
def test_each_measure_tells_pieces_from_shuffled_ones(name: str, pieces: np.ndarray) -> None:
    shuffled = SHUFFLES[MEASURES[name].shuffled](pieces, RNG(0))
    assert form.roc_auc(form.measured(pieces, name), form.measured(shuffled, name)) > 0.65


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_shuffling_keeps_the_notes_of_all_windows(shuffle: str, pieces: np.ndarray) -> None:
    made = SHUFFLES[shuffle](pieces, RNG(0))
    assert not np.array_equal(made, pieces)
    for column in range(4):
        np.testing.assert_array_equal(np.sort(made[..., column], axis=None), np.sort(pieces[..., column], axis=None))


def test_a_canon_comes_back_all_the_time_and_a_row_of_different_intervals_never() -> None:
    canon = window([60, 62, 64, 60, 64, 65, 67])
    assert form.recurring_intervals(canon) == 1
    # The second differences of squares never repeat, so neither do the intervals.
    assert form.recurrence(np.diff(np.arange(20) ** 2)) == 0


def test_a_pattern_comes_back_in_another_key() -> None:
    motif = np.array([60, 64, 62, 67])
    there, back = window(np.concatenate([motif, motif + 17]))[:8], window(np.concatenate([motif, motif[::-1] + 5]))[:8]
    assert form.recurring_intervals(there) == pytest.approx(2 / 5)  # two of five runs of three intervals
    assert form.recurring_intervals(back) == 0


def test_a_rhythm_comes_back_at_another_tempo() -> None:
    slow = np.array([1.0, 0.5, 0.25, 0.5, 0.7, 1.4])
    both = window(60, step=np.concatenate([slow, slow / 2]))
    assert form.recurring_rhythms(both) == 1


def test_touch_inside_a_stroke_changes_neither_lines_nor_pulse() -> None:
    together = window([48, 64, 72], step=[0.3, 0, 0])
    rolled = window([48, 64, 72], step=[0.28, 0.01, 0.01])
    for name in ("top", "bass", "first", "velocity"):
        np.testing.assert_array_equal(getattr(Strokes.of(together), name), getattr(Strokes.of(rolled), name))
    assert form.pulse_strength(rolled) == pytest.approx(form.pulse_strength(together), abs=0.05)


@pytest.mark.parametrize("period", [0.2, 0.5, 0.9])
def test_a_metronome_has_a_pulse_of_one_that_holds(period: float) -> None:
    metronome = window(60, step=period)
    assert form.pulse_strength(metronome) == pytest.approx(1, abs=0.08)
    assert form.pulse_holds(metronome) == pytest.approx(1, abs=0.01)
    strongest = form.LAGS[form.pulse(Strokes.of(metronome).onset).argmax()]
    assert strongest / period == pytest.approx(round(strongest / period), abs=0.05)


def test_random_onsets_have_hardly_a_pulse_and_it_does_not_hold() -> None:
    windows = [window(60, step=0.05 + RNG(seed).exponential(0.25, 256)) for seed in range(8)]
    assert np.mean([form.pulse_strength(w) for w in windows]) < 0.45
    assert abs(np.mean([form.pulse_holds(w) for w in windows])) < 0.3
    assert np.mean([form.pulse(Strokes.of(w).onset) for w in windows]) == pytest.approx(0, abs=0.1)


def test_a_piece_in_one_key_holds_it_and_one_that_leaves_it_does_not() -> None:
    scale = np.array([*C_MAJOR, 60, 64, 67, 72])
    assert form.KEY_FITS[form.key_fit(window(scale)).argmax()].argmax() == 0  # C is the tonic
    assert form.key_holds(window(scale)) > 0.95
    away = np.concatenate([np.resize(scale + shift, 64) for shift in (0, 6, 0, 6)])
    assert form.key_holds(window(away)) < 0


@pytest.mark.parametrize(("shift", "near"), [(7, 1.0), (5, 1.0), (6, 0.0), (2, 0.0)])
def test_a_fifth_away_is_near(shift: int, near: float) -> None:
    scale = np.array([*C_MAJOR, 60, 64, 67, 72])
    assert form.near_keys(window(np.concatenate([np.resize(scale + k, 64) for k in (0, shift, 0, shift)]))) == near


def test_a_piece_in_one_key_has_no_change_of_key() -> None:
    assert np.isnan(form.near_keys(window([60, 64, 67])))


@pytest.mark.parametrize(
    ("chord", "share"),
    [([60, 64, 67], 1), ([60, 64, 67, 70], 1), ([64, 70, 72], 1), ([60, 61, 62], 0), ([60, 65, 71], 0)],
)
def test_triads_and_sevenths_are_chords_of_thirds_and_clusters_are_not(chord: list[int], share: float) -> None:
    assert form.chords_of_thirds(window(chord, step=[0.3] + [0] * (len(chord) - 1))[: 4 * len(chord)]) == share


def test_single_notes_are_no_chords() -> None:
    assert np.isnan(form.chords_of_thirds(window(C_MAJOR)))
    assert len(form.measured(window(C_MAJOR)[None], "thirds")) == 0


def test_scales_are_steps_and_tenths_are_leaps() -> None:
    assert form.steps(np.arange(60, 84)) == 1
    assert form.leaps(np.arange(60, 84)) == 0
    assert form.leaps(np.tile([60, 76], 8)) == 1


def test_a_slow_rise_is_all_swell_and_an_alternation_none() -> None:
    assert form.swell(np.sin(np.arange(200) / 30)) == pytest.approx(1, abs=0.05)
    assert form.swell(np.tile([40, 80], 50)) == pytest.approx(0, abs=1e-9)


def test_a_top_note_that_is_louder_by_ten_is() -> None:
    assert form.voicing(window([48, 60, 72], step=[0.3, 0.01, 0], velocity=[50, 54, 62])[:255]) == pytest.approx(10)


def test_notes_that_last_two_steps_are_two_at_once() -> None:
    notes = window(C_MAJOR, step=0.125)
    # The first is alone, and the last has no time left.
    assert form.polyphony(notes[None])[0] == pytest.approx((255 * 2 - 1) / 255)


def test_a_window_whose_notes_are_all_at_once_can_be_measured() -> None:
    for name in MEASURES:
        assert len(form.measured(window(range(21, 109), step=0)[None], name)) <= 1


def test_a_measure_tells_ordered_sets_and_not_equal_ones() -> None:
    assert form.roc_auc(np.arange(5.0), np.arange(5.0) + 10) == 1
    assert form.roc_auc(np.arange(5.0) + 10, np.arange(5.0)) == 1
    assert form.roc_auc(np.arange(5.0), np.arange(5.0)) == 0.5

"""The sampled piano, tested by measurements of its waveforms."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from explorer.sound.base import Note
from explorer.sound.synth import KNEE, SAMPLE_RATE, limit, synthesize


def peak_frequency(waveform: np.ndarray, near: float) -> float:
    """Hz of the strongest partial within a semitone of `near`: a parabola through the peak of a padded spectrum."""
    size = 2**20
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), size))
    bins = np.arange(len(spectrum)) * SAMPLE_RATE / size
    window = np.flatnonzero(np.abs(np.log2(bins.clip(1) / near)) < 1 / 12)
    k = window[spectrum[window].argmax()]
    below, at, above = np.log(spectrum[k - 1 : k + 2])
    return float((k + (below - above) / (2 * (below - 2 * at + above))) * SAMPLE_RATE / size)


def cents(pitch: int, velocity: int = 80) -> float:
    """Deviation of a key's fundamental from equal temperament, in cents."""
    equal = 440 * 2 ** ((pitch - 69) / 12)
    return 1200 * math.log2(peak_frequency(synthesize([Note(pitch, 0.0, 3.0, velocity)]), equal) / equal)


@pytest.mark.parametrize("velocity", [30, 80, 120])
def test_a4_is_within_five_cents_of_440_hz(velocity: int) -> None:
    assert abs(cents(69, velocity)) < 5


@pytest.mark.parametrize("pitch", [45, 52, 57, 60, 62, 67, 73, 81])
def test_the_middle_of_the_keyboard_is_in_tune(pitch: int) -> None:
    assert abs(cents(pitch)) < 15  # a piano's octaves are stretched by a few cents


def test_a_higher_velocity_is_always_louder() -> None:
    levels = [float(np.square(synthesize([Note(60, 0.0, 1.0, v)])).mean()) for v in range(10, 128, 3)]
    assert (np.diff(levels) > 0).all()


def test_the_order_of_the_notes_does_not_change_a_bit() -> None:
    notes = [Note(60 + k, 0.1 * (k % 5), 0.3, 40 + k) for k in range(20)]
    assert_array_equal(synthesize(notes), synthesize(notes[::-1]))


def test_a_note_starts_at_its_onset_and_falls_silent_after_its_release() -> None:
    waveform = synthesize([Note(60, 0.5, 0.5, 100)], seconds=3.0)
    assert len(waveform) == 3 * SAMPLE_RATE
    onset, end = round(0.5 * SAMPLE_RATE), round(1.36 * SAMPLE_RATE)
    assert not waveform[:onset].any()
    assert np.abs(waveform[onset : onset + 2000]).max() > 0.01
    assert not waveform[end:].any()


def test_no_note_ends_in_a_click() -> None:
    waveform = synthesize([Note(36, 0.0, 0.2, 127)])
    release = waveform[round(0.2 * SAMPLE_RATE) :]
    steps = np.abs(np.diff(release))
    assert steps.max() <= np.abs(np.diff(waveform[: round(0.2 * SAMPLE_RATE)])).max()
    assert abs(release[-1]) < 1e-4


def test_all_keys_at_once_stay_within_full_scale() -> None:
    waveform = synthesize([Note(pitch, 0.0, 1.0, 127) for pitch in range(21, 109)])
    assert 0.9 < np.abs(waveform).max() <= 1
    assert waveform.dtype == np.float32


def test_the_limiter_is_the_identity_below_its_knee_and_monotonic_above() -> None:
    quiet = np.linspace(-KNEE, KNEE, 101, dtype=np.float32)
    assert_array_equal(limit(quiet), quiet)
    loud = limit(np.linspace(KNEE, 10, 1000, dtype=np.float32))
    assert (np.diff(loud) >= 0).all()
    assert loud.max() <= 1


@pytest.mark.parametrize("bad", [Note(60, -0.1, 1.0, 80), Note(60, 0.0, 1.0, 0), Note(60, 0.0, math.nan, 80)])
def test_a_note_that_cannot_be_played_is_refused(bad: Note) -> None:
    with pytest.raises(ValueError, match="cannot play"):
        synthesize([bad])

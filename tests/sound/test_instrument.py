"""Tones and pieces, measured: pitch in cents, clicks, levels, and how long a tone can be held."""

import numpy as np
import pytest

from explorer.sound.base import Note
from explorer.sound.instrument import MAX_NOTES, PEAK, Tone, on_keys, play, tone

RATE, SAMPLES = 16_000, 16_384
TIME = np.arange(SAMPLES) / RATE


def hertz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def recorded(pitch: int, partials: int = 1, decay: float = 0.0, level: float = 0.2) -> np.ndarray:
    """A note with vibrato-free partials in odd phases, held for 0.75 s, then released as NSynth's are."""
    partial = np.arange(1, partials + 1)[:, None]
    waves = np.sin(2 * np.pi * hertz(pitch) * partial * TIME + partial**2) / partial
    shape = np.exp(-decay * TIME) * np.where(TIME > 0.75, 10 ** (-12 * (TIME - 0.75)), 1) * np.minimum(1, TIME / 0.02)
    return np.asarray(level * waves.sum(0) * shape, np.float32)


def cents(waveform: np.ndarray, pitch: int) -> float:
    """How far the strongest frequency is from a pitch: the peak of a padded spectrum."""
    size = 1 << 21
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), size))
    return float(1200 * np.log2(spectrum.argmax() * RATE / size / hertz(pitch)))


def piece(*notes: Note, **options: float) -> np.ndarray:
    return play(notes, {n.pitch: tone(recorded(n.pitch, **options), RATE, n.pitch) for n in notes}, RATE)  # type: ignore[arg-type]


@pytest.mark.parametrize("pitch", range(36, 85, 6))
def test_a_note_held_beyond_its_sound_keeps_its_pitch(pitch: int) -> None:
    assert abs(cents(piece(Note(pitch, 0, 4, 100))[:48_000], pitch)) < 1
    beyond = piece(Note(pitch, 0, 4, 100), partials=5)[32_000:64_000]  # past the end of the recorded sound
    assert abs(cents(beyond, pitch)) < 2


@pytest.mark.parametrize("pitch", [36, 60, 84])
def test_a_steady_tone_keeps_its_level_and_a_plucked_one_goes_on_to_decay(pitch: int) -> None:
    for decay, steady in ((0.0, True), (3.0, False)):
        found = tone(recorded(pitch, 4, decay), RATE, pitch)
        held = found.held(3 * RATE)
        levels = [np.std(held[i : i + 4000]) for i in (8000, 28_000, 40_000)]
        per_second = np.diff(np.log(levels)) / (np.diff([8000, 28_000, 40_000]) / RATE)
        np.testing.assert_allclose(per_second, -decay, atol=0.15)
        assert (tone(recorded(pitch, 4, decay), RATE, pitch, decaying=False).loop is not None) == steady


def test_what_is_never_twice_alike_can_be_held_too() -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLES).astype(np.float32) * 0.1
    held = tone(noise, RATE, 60).held(3 * RATE)
    levels = [np.std(part) for part in np.split(held[2000:46_000], 22)]
    assert min(levels) / max(levels) > 0.8


def test_a_sound_without_a_steady_part_ends_by_itself() -> None:
    click = tone(recorded(60, 3, decay=80), RATE, 60)
    assert click.loop is None
    assert len(click.held(10 * RATE)) == SAMPLES


@pytest.mark.parametrize("pitch", [45, 57, 69])
@pytest.mark.parametrize("duration", [0.0, 0.0123, 0.3, 0.7501, 2.0])
def test_there_is_no_click_at_the_edges_of_a_note(pitch: int, duration: float) -> None:
    """A click is heard where a tone has no partials: above them nothing is louder than -50 dB of its level."""
    onset = 0.1001
    waveform = piece(Note(pitch, onset, duration, 100), Note(pitch, onset + duration, 0.4, 100), partials=2)
    loud = np.abs(waveform).max()
    padded = np.pad(waveform, 4096)
    spectrum = np.fft.rfft(padded)
    spectrum[: round(2500 * len(padded) / RATE)] = 0
    assert np.abs(np.fft.irfft(spectrum)).max() < loud * 10 ** (-50 / 20)


def test_keys_that_were_recorded_at_other_levels_are_equally_loud() -> None:
    levels = {}
    for pitch in range(36, 85):
        level = 0.04 + 0.4 * (pitch - 36) / 48
        waveform = play([Note(pitch, 0, 2, 100)], {pitch: tone(recorded(pitch, level=level), RATE, pitch)}, RATE)
        levels[pitch] = 20 * np.log10(np.std(waveform[8000:24_000]))
    assert max(levels.values()) - min(levels.values()) < 3


def test_velocity_is_level() -> None:
    loud, soft = (np.abs(piece(Note(60, 0, 1, velocity))).max() for velocity in (127, 40))
    assert 20 * np.log10(loud / soft) == pytest.approx(1.2 * 20 * np.log10(127 / 40), abs=0.1)


def test_a_piece_is_the_sum_of_its_notes_whatever_their_order_and_stays_below_full_scale() -> None:
    notes = [Note(60 + i, 0.1 * i, 2.0, 127) for i in range(12)]
    tones = {n.pitch: tone(recorded(n.pitch), RATE, n.pitch) for n in notes}
    whole = play(notes, tones, RATE)
    np.testing.assert_array_equal(whole, play(notes[::-1], tones, RATE))
    assert np.abs(whole).max() == pytest.approx(PEAK)
    parts = sum(np.pad(x, (0, len(whole) - len(x))) for x in (play([n], tones, RATE) for n in notes))
    np.testing.assert_allclose(whole / np.abs(whole).max(), parts / np.abs(parts).max(), atol=1e-5)


def test_notes_outside_of_the_keys_move_by_octaves_and_are_counted() -> None:
    notes = [Note(pitch, i, 1, 80) for i, pitch in enumerate((21, 60, 72, 108))]
    played, moved = on_keys(notes, range(48, 73))
    assert ([n.pitch for n in played], moved) == ([57, 60, 72, 72], 2)
    with pytest.raises(ValueError, match="no key in any octave for MIDI note 61"):
        on_keys([Note(61, 0, 1, 80)], [60, 62])


def test_a_key_struck_again_is_released_first_and_twice_at_once_is_one_note() -> None:
    notes = [Note(60, 0, 3, 80), Note(72, 1, 2, 90), Note(60, 1, 1, 70)]
    played, _ = on_keys(notes, range(60, 72))
    assert played == (Note(60, 0, 1, 80), Note(60, 1, 2, 90))


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ([], "has no notes"),
        ([Note(60, 0, 1, 80)] * (MAX_NOTES + 1), "20,001 notes; at most 20,000"),
        ([Note(60, 1e6, 1, 80)], "16,667 minutes; at most 35"),
        ([Note(60, float("inf"), 1, 80)], "minutes; at most 35"),
        ([Note(60, float("nan"), 1, 80)], "minutes; at most 35"),
    ],
)
def test_a_piece_that_would_take_too_long_is_refused(notes: list[Note], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        play(notes, {60: Tone(np.zeros(1, np.float32), RATE, 1.0)}, RATE)

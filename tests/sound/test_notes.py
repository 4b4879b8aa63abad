"""Notes as tensors: the scales of the channels, the canonical order, and playable notes."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from explorer.sound import synth
from explorer.sound.base import Note, Sound
from explorer.sound.notes import (
    DURATION,
    KEYS,
    LOWEST,
    NOTES,
    RESTRIKE_SECONDS,
    SAMPLE_RATE,
    STEP,
    VELOCITY,
    NotesRepresentation,
    PerformanceRepresentation,
    canonical,
    decode_notes,
    encode_notes,
    playable,
)


def sound_of(notes: Iterable[Note]) -> Sound:
    return Sound(lambda: np.zeros(1, np.float32), SAMPLE_RATE, 1.0, notes=tuple(notes))


@pytest.fixture
def piece() -> tuple[Note, ...]:
    """256 notes in chords of one to three, none struck again while held."""
    rng = np.random.RandomState(3)
    notes: list[Note] = []
    onset = 0.0
    while len(notes) < NOTES:
        size = min(rng.randint(1, 4), NOTES - len(notes))
        for pitch in sorted(rng.choice(np.arange(21, 109), size, replace=False)):
            notes.append(Note(int(pitch), onset, rng.uniform(0.02, 0.04), int(rng.randint(1, 128))))
        onset += float(np.exp(rng.uniform(np.log(0.05), np.log(4))))
    return tuple(notes)


def columns(*rows: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(c, dtype=float) for c in zip(*rows, strict=True))


def test_an_encoded_piece_has_the_stated_shape_and_range(piece: tuple[Note, ...]) -> None:
    x = NotesRepresentation().encode(sound_of(piece))
    assert x.shape == NotesRepresentation().shape == (91, 256)
    assert x.abs().max() <= 1


def test_every_note_has_one_key(piece: tuple[Note, ...]) -> None:
    x = NotesRepresentation().encode(sound_of(piece))
    assert torch.equal((x[:KEYS] == 1).sum(0), torch.ones(NOTES, dtype=torch.int64))


def test_decoding_inverts_encoding(piece: tuple[Note, ...]) -> None:
    found = NotesRepresentation().decode(NotesRepresentation().encode(sound_of(piece))).notes
    assert found is not None
    assert [(n.pitch, n.velocity) for n in found] == [(n.pitch, n.velocity) for n in piece]
    np.testing.assert_allclose([n.onset for n in found], [n.onset for n in piece], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose([n.duration for n in found], [n.duration for n in piece], rtol=1e-5)


def test_encoding_inverts_decoding(piece: tuple[Note, ...]) -> None:
    representation = NotesRepresentation()
    x = representation.encode(sound_of(piece))
    torch.testing.assert_close(representation.encode(representation.decode(x)), x, atol=2e-4, rtol=0)


def test_notes_of_a_chord_get_exactly_one_onset() -> None:
    table = canonical(*columns((64, 1.010, 0.5, 60), (60, 1.0, 0.5, 60), (67, 1.029, 0.5, 60), (72, 1.5, 0.5, 60)))
    assert table.pitch.tolist() == [60, 64, 67, 72]
    assert table.step.tolist() == [0, 0, 0, 0.5]


def test_a_run_of_close_notes_does_not_become_one_chord() -> None:
    times = [0.0, 0.02, 0.04, 0.06]
    table = canonical(*columns(*((60 + k, t, 0.1, 60) for k, t in enumerate(times))))
    assert np.count_nonzero(table.step) == 1  # 0.04 is too late for the first chord and starts the second


def test_a_key_struck_again_is_released_first() -> None:
    table = canonical(*columns((60, 0.0, 3.0, 60), (62, 0.5, 1.0, 60), (60, 1.0, 1.0, 60)))
    assert table.duration.tolist() == [1.0, 1.0, 1.0]


def test_a_key_struck_twice_in_a_chord_becomes_its_longest_note() -> None:
    table = canonical(*columns((60, 0.0, 1.0, 60), (60, 0.01, 2.0, 60)))
    assert table.duration.tolist() == [2.0]


def test_pitches_outside_of_the_piano_are_dropped() -> None:
    assert canonical(*columns((20, 0.0, 1.0, 60), (109, 0.0, 1.0, 60), (21, 0.1, 1.0, 60))).pitch.tolist() == [21]


def test_the_table_of_no_notes_is_empty() -> None:
    assert len(canonical(*np.zeros((4, 0))).pitch) == 0


def test_a_piece_with_too_few_notes_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="256 notes are needed, this sound has 1"):
        NotesRepresentation().encode(sound_of([Note(60, 0.0, 1.0, 60)]))


@pytest.mark.parametrize(("step", "expected"), [(0.0, -1.0), (0.03, -0.5), (4.0, 1.0), (99.0, 1.0)])
def test_steps_are_scaled_with_a_gap_below_the_shortest(step: float, expected: float) -> None:
    x = encode_notes(*(torch.tensor([v]) for v in (60.0, step, 1.0, 64.0)))
    assert x[STEP, 0].item() == pytest.approx(expected, abs=1e-6)


def test_durations_are_logarithmic() -> None:
    lengths = torch.tensor([0.02, 0.4, 8.0])  # factors of 20
    x = encode_notes(torch.full((3,), 60), lengths, lengths, torch.full((3,), 64))
    assert x[DURATION].tolist() == pytest.approx([-1, 0, 1], abs=1e-6)


def test_velocities_span_the_whole_range() -> None:
    x = encode_notes(torch.full((3,), 60), torch.ones(3), torch.ones(3), torch.tensor([1, 64, 127]))
    assert x[VELOCITY].tolist() == [-1, 0, 1]


def test_the_strongest_pitch_channel_is_the_key() -> None:
    x = torch.full((91, NOTES), -0.9)
    x[40] = -0.8
    assert decode_notes(x)[:, 0].unique().tolist() == [LOWEST + 40]


def test_anything_in_range_decodes_to_256_playable_notes() -> None:
    x = torch.rand(91, NOTES, generator=torch.Generator().manual_seed(0)) * 2 - 1
    notes = NotesRepresentation().decode(x).notes
    assert notes is not None
    assert len(notes) == NOTES
    assert all(21 <= n.pitch <= 108 and 1 <= n.velocity <= 127 and n.duration > 0 for n in notes)


def test_no_key_is_struck_while_it_is_held() -> None:
    x = torch.rand(91, NOTES, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ends: dict[int, float] = {}
    for note in NotesRepresentation().decode(x).notes or ():
        assert note.onset >= ends.get(note.pitch, 0) - 1e-9
        ends[note.pitch] = note.onset + note.duration


def test_a_key_that_occurs_twice_in_a_chord_is_struck_again_later() -> None:
    notes = playable([(60, 0.0, 1.0, 64, 0.0), (60, 0.0, 1.0, 64, 0.0)])
    assert [n.onset for n in notes] == [0.0, RESTRIKE_SECONDS]
    assert notes[0].duration == RESTRIKE_SECONDS


def test_even_rhythm_keeps_the_pitches_and_makes_steps_equal(piece: tuple[Note, ...]) -> None:
    representation = NotesRepresentation()
    notes = representation.decode(representation.encode(sound_of(piece)), {"rhythm": "even"}).notes
    assert notes is not None
    assert [n.pitch for n in notes] == [n.pitch for n in piece]
    assert np.ptp(np.diff([n.onset for n in notes])) < 1e-9


def test_touch_and_pedal_survive_encoding() -> None:
    rng = np.random.RandomState(0)
    onset = np.sort(rng.uniform(0, 30, NOTES))  # some in chords, by chance
    pitch = np.arange(NOTES) * 37 % 64 + 30  # a key comes back after 64 notes
    length = rng.uniform(0.1, 20, NOTES)
    notes = [Note(*row, 64) for row in zip(pitch.tolist(), onset.tolist(), length.tolist(), strict=True)]
    found = PerformanceRepresentation().decode(PerformanceRepresentation().encode(sound_of(notes))).notes
    assert found is not None
    assert [n.pitch for n in found] == pitch.tolist()
    np.testing.assert_allclose([n.onset for n in found], onset - onset[0], atol=1e-4)
    until_struck_again = np.append(onset[64:], np.full(64, np.inf)) - onset
    expected = np.minimum(np.minimum(length, until_struck_again), 8.0)  # the longest length that can be encoded
    np.testing.assert_allclose([n.duration for n in found], expected, rtol=1e-3)


def test_any_performance_in_range_decodes_to_256_playable_notes() -> None:
    x = torch.rand(92, NOTES, generator=torch.Generator().manual_seed(0)) * 2 - 1
    notes = PerformanceRepresentation().decode(x).notes
    assert notes is not None
    assert len(notes) == NOTES
    ends: dict[int, float] = {}
    for note in notes:
        assert note.duration > 0
        assert note.onset >= ends.get(note.pitch, 0) - 1e-9
        ends[note.pitch] = note.onset + note.duration


def test_the_pedal_does_not_ring_past_the_next_stroke_of_the_key() -> None:
    notes = columns((60, 0.0, 0.1, 60, 3.0), (60, 0.5, 0.1, 60, 2.0), (64, 0.5, 0.1, 60, 2.5))
    table = canonical(*notes)
    assert table.duration.tolist() == [0.1, 0.1, 0.1]
    assert table.sounding.tolist() == [0.5, 2.0, 2.5]


def test_the_waveform_has_the_stated_length(piece: tuple[Note, ...]) -> None:
    sound = NotesRepresentation().decode(NotesRepresentation().encode(sound_of(piece[:NOTES])))
    assert len(sound.waveform) == round(sound.seconds * SAMPLE_RATE)


def test_the_sample_rate_is_that_of_the_piano() -> None:
    assert SAMPLE_RATE == synth.SAMPLE_RATE

"""MIDI files: notes are read back as written, by this package and by an independent one."""

import struct
from pathlib import Path

import mido
import pretty_midi
import pytest
import symusic
import torch

from explorer.sound.base import Note
from explorer.sound.midi import FREE, MAX_EVENTS, quantised, read_midi, texts, write_midi
from explorer.sound.notes import KEYS, NotesRepresentation
from explorer.sound.notes import NOTES as PIECE

NOTES = (Note(60, 0.0, 0.5, 64), Note(64, 0.0, 0.5137, 1), Note(21, 0.3333, 0.05, 127), Note(108, 61.2345, 2.0, 100))


def test_notes_are_read_back_to_the_millisecond(tmp_path: Path) -> None:
    write_midi(NOTES, tmp_path / "a.mid")
    back = read_midi(tmp_path / "a.mid")
    assert [(n.pitch, n.velocity) for n in back] == [(n.pitch, n.velocity) for n in NOTES]
    for found, wanted in zip(back, NOTES, strict=True):
        assert found.onset == pytest.approx(wanted.onset, abs=1e-3)
        assert found.duration == pytest.approx(wanted.duration, abs=1e-3)


def test_another_library_reads_the_same_notes(tmp_path: Path) -> None:
    write_midi(NOTES, tmp_path / "a.mid")
    score = symusic.Score(tmp_path / "a.mid", ttype="second")
    (track,) = score.tracks  # type: ignore[attr-defined] # symusic's Score is generic by hand
    found = sorted((round(n.start, 2), n.pitch, n.velocity) for n in track.notes)
    assert found == sorted((round(n.onset, 2), n.pitch, n.velocity) for n in NOTES)


def test_a_text_in_any_language_is_stored_with_the_notes(tmp_path: Path) -> None:
    text = '{"model": "naïve-ピアノ"}'
    write_midi(NOTES, tmp_path / "a.mid", text)
    assert next(texts((tmp_path / "a.mid").read_bytes())) == text


def test_a_key_struck_again_while_held_is_released_first(tmp_path: Path) -> None:
    write_midi([Note(60, 0.0, 2.0, 80), Note(60, 1.0, 0.5, 70)], tmp_path / "a.mid")
    first, second = read_midi(tmp_path / "a.mid")
    assert (first.onset, first.duration) == pytest.approx((0.0, 1.0))
    assert (second.onset, second.duration) == pytest.approx((1.0, 0.5))


def test_a_note_lasts_until_key_and_pedal_are_up(tmp_path: Path) -> None:
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(0)
    times = ((60, 0.0, 0.5), (62, 0.25, 1.25), (64, 1.5, 2.0), (65, 2.25, 2.5), (67, 2.75, 3.0))
    piano.notes = [pretty_midi.Note(80, pitch, start, end) for pitch, start, end in times]
    pedal = ((0.1, 127), (0.2, 90), (1.0, 20), (2.3, 64))
    piano.control_changes = [pretty_midi.ControlChange(64, value, time) for time, value in pedal]
    midi.instruments.append(piano)
    midi.write(str(tmp_path / "a.mid"))
    ends = [note.onset + note.duration for note in read_midi(tmp_path / "a.mid")]
    assert ends == pytest.approx([1.0, 1.25, 2.0, 3.0, 3.0], abs=2e-3)


def test_a_strangers_file_with_too_many_notes_or_events_is_refused_before_it_is_read(tmp_path: Path) -> None:
    write_midi([Note(60 + i % 12, i * 0.1, 0.05, 80) for i in range(30)], tmp_path / "a.mid")
    assert len(read_midi(tmp_path / "a.mid", 30)) == 30
    with pytest.raises(ValueError, match="30 notes; at most 29"):
        read_midi(tmp_path / "a.mid", 29)
    pedal = b"\0\xb0\x40\x7f" * (MAX_EVENTS + 1)
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480)
    (tmp_path / "a.mid").write_bytes(head + b"MTrk" + struct.pack(">I", len(pedal)) + pedal)
    with pytest.raises(ValueError, match="events; at most"):
        read_midi(tmp_path / "a.mid", 30)


@pytest.mark.parametrize("content", [b"", b"MThd", b"not midi at all" * 20])
def test_an_error_names_a_broken_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mid").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.mid"):
        read_midi(tmp_path / "bad.mid")


def track(*events: bytes, ticks: int = 480) -> bytes:
    body = b"".join(events) + b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, ticks) + b"MTrk" + struct.pack(">I", len(body)) + body


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"


@pytest.mark.parametrize(
    "content",
    [
        track(b"\x00\xff\x59\x02\xee\x00", NOTE),
        track(b"\x00\xff\x51\x03\x00\x00\x00", NOTE, ticks=0),
        track(NOTE, ticks=0),
        track(b"\x00\xff\x58\x01\x04", NOTE),
        track(b"\x00\x3c\x40", NOTE),
    ],
    ids=["a key of 18 flats", "a tempo of 0", "0 ticks", "half a time signature", "no status"],
)
def test_an_error_names_a_file_with_an_invalid_event(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.mid").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.mid: not a MIDI file, or a damaged one"):
        read_midi(tmp_path / "odd.mid")


def test_texts_of_another_file_are_refused() -> None:
    with pytest.raises(ValueError, match="no MIDI header"):
        list(texts(b"RIFF"))


def on_sixteenths(path: Path) -> tuple[list[int], float]:
    """By mido: the ticks of all onsets of a file of 480 ticks per beat, and its tempo."""
    file = mido.MidiFile(path)
    assert file.ticks_per_beat == 480
    tempo = next(mido.tempo2bpm(event.tempo) for event in file.tracks[0] if event.type == "set_tempo")
    time, onsets = 0, []
    for event in file.tracks[1]:
        time += event.time
        if event.type == "note_on" and event.velocity:
            onsets.append(time)
    return onsets, tempo


def test_the_even_rhythm_lies_on_eighths(tmp_path: Path) -> None:
    representation = NotesRepresentation()
    x = torch.rand(representation.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[:KEYS] = -1
    x[torch.arange(PIECE) % KEYS, torch.arange(PIECE)] = 1
    sound = representation.decode(x, {"rhythm": "even"})
    assert sound.notes is not None
    write_midi(sound.notes, tmp_path / "a.mid", tempo=sound.tempo)
    onsets, tempo = on_sixteenths(tmp_path / "a.mid")
    assert onsets == [240 * i for i in range(PIECE)]
    assert tempo == pytest.approx(150, abs=0.01)


@pytest.mark.parametrize("tempo", [20.0, 97.3, 150.0, 400.0])
def test_quantised_notes_lie_on_sixteenths_at_their_nearest(tmp_path: Path, tempo: float) -> None:
    write_midi(quantised(NOTES, tempo), tmp_path / "a.mid", tempo=tempo)
    onsets, _ = on_sixteenths(tmp_path / "a.mid")
    assert all(onset % 120 == 0 for onset in onsets)
    back = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments[0].notes
    for found, wanted in zip(sorted(back, key=lambda n: n.start), sorted(NOTES, key=lambda n: n.onset), strict=True):
        assert abs(found.start - wanted.onset) <= 7.5 / tempo + 1e-3
        assert found.end - found.start >= 15 / tempo - 1e-3


@pytest.mark.parametrize("tempo", [0.0, -1.0, 1e9, float("nan"), float("inf")])
def test_a_tempo_that_no_piece_has_is_refused(tempo: float) -> None:
    with pytest.raises(ValueError, match="the tempo is from 20 to 400"):
        quantised(NOTES, tempo)


def test_a_free_piece_says_that_its_bar_lines_are_only_a_ruler(tmp_path: Path) -> None:
    write_midi(NOTES, tmp_path / "free.mid", "{}")
    write_midi(quantised(NOTES, 120), tmp_path / "grid.mid", "{}", 120)
    assert list(texts((tmp_path / "free.mid").read_bytes())) == ["{}", FREE]
    assert list(texts((tmp_path / "grid.mid").read_bytes())) == ["{}"]

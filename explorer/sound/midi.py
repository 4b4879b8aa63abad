"""Writes and reads notes as standard MIDI files, with pretty_midi.

Notes are free, and a file's bars and beats only a ruler; or they lie on a grid of sixteenths at the file's tempo.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pretty_midi

from explorer.sound.base import Note

RESOLUTION, FREE_TEMPO = 1000, 120.0  # of free notes: their times are rounded to within a quarter of a millisecond
GRID_RESOLUTION = 480  # ticks per beat
MIN_TEMPO, MAX_TEMPO = 20.0, 400.0  # beats per minute
FREE = "Free rhythm: the bar lines are only a ruler."
META, TEXT, SYSTEM = 0xFF, 0x01, 0xF0  # status bytes: meta events, text among them, and system events


def quantised(notes: Sequence[Note], tempo: float) -> tuple[Note, ...]:
    """Notes whose onsets and ends are moved to the nearest sixteenth; each stays at least one sixteenth long.

    Args:
        tempo: beats per minute, MIN_TEMPO ... MAX_TEMPO.
    Raises:
        ValueError: if the tempo is out of range.
    """
    if not MIN_TEMPO <= tempo <= MAX_TEMPO:
        raise ValueError(f"the tempo is from {MIN_TEMPO:g} to {MAX_TEMPO:g} beats per minute, not {tempo:g}")
    sixteenth = 15 / tempo
    moved = []
    for note in notes:
        onset, end = (round(time / sixteenth) for time in (note.onset, note.onset + note.duration))
        moved.append(replace(note, onset=onset * sixteenth, duration=max(1, end - onset) * sixteenth))
    return tuple(moved)


def write_midi(
    notes: Sequence[Note], file: Path | BinaryIO, text: str | None = None, tempo: float | None = None
) -> None:
    """Writes one piano track.

    MIDI knows only key presses and releases. A key that is struck again while it is held is released first, and notes
    of one key at the same onset become one, with the longest duration.

    Args:
        text: stored as a text event at the start.
        tempo: beats per minute of notes on a grid; None for free notes, which a second text event says.
    """
    midi = pretty_midi.PrettyMIDI(
        resolution=GRID_RESOLUTION if tempo else RESOLUTION, initial_tempo=tempo or FREE_TEMPO
    )
    tick = midi.tick_to_time(1)
    last_of_key: dict[int, pretty_midi.Note] = {}
    played = []
    for note in sorted(notes, key=lambda n: (n.onset, n.duration)):
        start, end = (round(time / tick) * tick for time in (note.onset, note.onset + note.duration))
        struck = pretty_midi.Note(note.velocity, note.pitch, start, max(end, start + tick))
        before = last_of_key.get(note.pitch)
        if before is not None and before.start == start:
            before.velocity, before.end = struck.velocity, max(before.end, struck.end)
            continue
        if before is not None:
            before.end = min(before.end, start)
        last_of_key[note.pitch] = struck
        played.append(struck)
    piano = pretty_midi.Instrument(program=0, name="Piano")
    piano.notes = played
    midi.instruments.append(piano)
    midi.text_events += [_text(words) for words in (text, None if tempo else FREE) if words is not None]
    midi.write(file if not isinstance(file, Path) else str(file))


def write_drums(notes: Sequence[Note], tempo: float, file: BinaryIO, text: str) -> None:
    """Writes one track of drums, on channel 10, whose pitches are General MIDI drum notes.

    Args:
        tempo: beats per minute.
        text: stored as a text event at the start.
    """
    midi = pretty_midi.PrettyMIDI(resolution=RESOLUTION, initial_tempo=tempo)
    drums = pretty_midi.Instrument(program=0, is_drum=True, name="Drums")
    drums.notes = [pretty_midi.Note(n.velocity, n.pitch, n.onset, n.onset + n.duration) for n in notes]
    midi.instruments.append(drums)
    midi.text_events.append(_text(text))
    midi.write(file)


def _text(text: str) -> pretty_midi.Text:
    """A text event at the start. pretty_midi writes Latin-1, other programs expect UTF-8: each UTF-8 byte is passed as
    a Latin-1 character."""
    return pretty_midi.Text(text.encode("utf-8").decode("latin-1"), 0.0)


def read_midi(path: Path) -> tuple[Note, ...]:
    """The notes of all tracks but drums, sorted by onset, then pitch.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a MIDI file; the message names it.
    """
    try:
        midi = pretty_midi.PrettyMIDI(str(path))
    except FileNotFoundError:
        raise
    except (
        Exception
    ) as error:  # mido and pretty_midi raise many kinds, e.g. for a key signature of 18 flats or a tempo of 0
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: not a MIDI file, or a damaged one ({reason})") from None
    notes = (
        Note(n.pitch, float(n.start), float(n.end - n.start), n.velocity)
        for instrument in midi.instruments
        if not instrument.is_drum
        for n in instrument.notes
    )
    return tuple(sorted(notes, key=lambda n: (n.onset, n.pitch)))


def texts(data: bytes) -> Iterator[str]:
    """The text events of a MIDI file, track by track, each up to its first damaged event.

    mido and pretty_midi fail on the whole file if any event is damaged, and take minutes for a large one.

    Raises:
        ValueError: if this is not a MIDI file.
    """
    if data[:4] != b"MThd":
        raise ValueError("no MIDI header")
    at = 0
    while len(data) - at >= 8:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        at += 8
        if name == b"MTrk":
            yield from _texts_of_track(data[at : at + size])
        at += size


def _texts_of_track(track: bytes) -> Iterator[str]:
    at, status = 0, 0
    try:
        while at < len(track):
            _, at = _variable_length(track, at)  # ticks since the previous event
            if track[at] >= 0x80:  # otherwise the status of the previous event applies (running status)
                status, at = track[at], at + 1
            if status == META:
                kind, (size, at) = track[at], _variable_length(track, at + 1)
                if kind == TEXT:
                    yield track[at : at + size].decode("utf-8", errors="replace")
                at, status = at + size, 0
            elif status >= SYSTEM:
                size, at = _variable_length(track, at)
                at, status = at + size, 0
            elif status:
                at += 1 if 0xC0 <= status < 0xE0 else 2  # program changes and channel pressure have one data byte
            else:
                return
    except IndexError:  # the track ends inside an event
        return


def _variable_length(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number (up to four bytes of 7 bits each), and the position after it."""
    value = 0
    for end in range(at, at + 4):
        value = value << 7 | data[end] & 0x7F
        if data[end] < 0x80:
            return value, end + 1
    raise IndexError("a number of more than four bytes")

"""Writes and reads notes as standard MIDI files, with pretty_midi.

Notes are free, and a file's bars and beats only a ruler; or they lie on a grid of sixteenths at the file's tempo.
"""

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import mido
import pretty_midi

from explorer.sound.base import Note

RESOLUTION, FREE_TEMPO = 1000, 120.0  # of free notes: their times are rounded to within a quarter of a millisecond
GRID_RESOLUTION = 480  # ticks per beat
MIN_TEMPO, MAX_TEMPO = 20.0, 400.0  # beats per minute
FREE = "Free rhythm: the bar lines are only a ruler."
META, TEXT, SYSTEM, NOTE_ON = 0xFF, 0x01, 0xF0, 0x90  # status bytes: meta events, text among them, system events, ...
PEDAL = 64  # the controller's number
MAX_BYTES, MAX_EVENTS = 4 << 20, 200_000  # of a stranger's file


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


def write_drums(notes: Sequence[Note], tempo: float, seconds: float, file: BinaryIO, text: str) -> None:
    """Writes one track of drums, on channel 10, whose pitches are General MIDI drum notes.

    Args:
        tempo: beats per minute.
        seconds: where the track ends, so that programs that repeat it keep its last rest.
        text: stored as a text event at the start.
    """
    midi = pretty_midi.PrettyMIDI(resolution=RESOLUTION, initial_tempo=tempo)
    drums = pretty_midi.Instrument(program=0, is_drum=True, name="Drums")
    drums.notes = [pretty_midi.Note(n.velocity, n.pitch, n.onset, n.onset + n.duration) for n in notes]
    midi.instruments.append(drums)
    midi.text_events.append(_text(text))
    midi.write(stream := io.BytesIO())
    stream.seek(0)
    written = mido.MidiFile(file=stream)
    *events, end = written.tracks[-1]
    end.time = max(midi.time_to_tick(seconds) - sum(event.time for event in events), 0)
    written.save(file=file)


def _text(text: str) -> pretty_midi.Text:
    """A text event at the start. pretty_midi writes Latin-1, other programs expect UTF-8: each UTF-8 byte is passed as
    a Latin-1 character."""
    return pretty_midi.Text(text.encode("utf-8").decode("latin-1"), 0.0)


def read_midi(path: Path, most: int | None = None) -> tuple[Note, ...]:
    """The notes of all tracks but drums, sorted by onset, then pitch. They last until their key and the sustain pedal
    are up.

    Args:
        most: number of notes of a file from a stranger: a file with more, or of more than `MAX_EVENTS` events, is
            refused before it is read, so that time and memory are bounded.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a MIDI file, or has too many notes; the message names it.
    """
    data = path.read_bytes() if most is None else _few_events(path, most)
    try:
        midi = pretty_midi.PrettyMIDI(io.BytesIO(data))
    except (
        Exception
    ) as error:  # mido and pretty_midi raise many kinds, e.g. for a key signature of 18 flats or a tempo of 0
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: not a MIDI file, or a damaged one ({reason})") from None
    notes = [note for instrument in midi.instruments if not instrument.is_drum for note in _damped(instrument)]
    return tuple(sorted(notes, key=lambda n: (n.onset, n.pitch)))


def _few_events(path: Path, most: int) -> bytes:
    """The bytes of a file. Raises ValueError as `read_midi`."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}: too large; at most {MAX_BYTES >> 20} MB of MIDI are read")
    struck = events = 0
    try:
        for status, content in _events(data):
            events += 1
            struck += status & 0xF0 == NOTE_ON and content[1:2] != b"\0"
    except ValueError as error:
        raise ValueError(f"{path}: not a MIDI file ({error})") from None
    if struck > most or events > MAX_EVENTS:
        what, limit = (f"{struck:,} notes", most) if struck > most else (f"{events:,} events", MAX_EVENTS)
        raise ValueError(f"{path}: {what}; at most {limit:,} can be played")
    return data


def _damped(instrument: pretty_midi.Instrument) -> Iterator[Note]:
    """The notes of a track, until key and pedal are up. A pedal that is never released ends with the last note."""
    pedal = sorted((c.time, c.value >= 64) for c in instrument.control_changes if c.number == PEDAL)
    times, last = [time for time, _ in pedal], max((note.end for note in instrument.notes), default=0.0)
    lifted = [last] * len(pedal)  # when the pedal, as each event leaves it, is up
    for i in reversed(range(len(pedal))):
        lifted[i] = (lifted[i + 1] if i + 1 < len(pedal) else last) if pedal[i][1] else pedal[i][0]
    for note in instrument.notes:
        i = bisect_right(times, note.end) - 1
        end = max(note.end, lifted[i]) if i >= 0 else note.end
        yield Note(note.pitch, float(note.start), float(end - note.start), note.velocity)


def texts(data: bytes) -> Iterator[str]:
    """The text events of a MIDI file, track by track, each up to its first damaged event.

    mido and pretty_midi fail on the whole file if any event is damaged, and take minutes for a large one.

    Raises:
        ValueError: if this is not a MIDI file.
    """
    for status, content in _events(data):
        if status == META and content[:1] == bytes([TEXT]):
            yield content[1:].decode("utf-8", errors="replace")


def _events(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Status and content of the events of a MIDI file, track by track, each up to its first damaged event. The content
    of a meta event begins with its kind. Raises ValueError if this is not a MIDI file."""
    if data[:4] != b"MThd":
        raise ValueError("no MIDI header")
    at = 0
    while len(data) - at >= 8:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        at += 8
        if name == b"MTrk":
            yield from _events_of_track(data[at : at + size])
        at += size


def _events_of_track(track: bytes) -> Iterator[tuple[int, bytes]]:
    at, status = 0, 0
    try:
        while at < len(track):
            _, at = _variable_length(track, at)  # ticks since the previous event
            if track[at] >= 0x80:  # otherwise the status of the previous event applies (running status)
                status, at = track[at], at + 1
            if status == META:
                kind, (size, at) = track[at : at + 1], _variable_length(track, at + 1)
                yield status, kind + track[at : at + size]
                at, status = at + size, 0
            elif status >= SYSTEM:
                size, at = _variable_length(track, at)
                yield status, track[at : at + size]
                at, status = at + size, 0
            elif status:
                size = 1 if 0xC0 <= status < 0xE0 else 2  # program changes and channel pressure have one data byte
                yield status, track[at : at + size]
                at += size
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

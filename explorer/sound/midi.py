"""Notes as a standard MIDI file, and back, by way of pretty_midi."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pretty_midi

from explorer.sound.base import Note

RESOLUTION = 1000  # ticks in a beat of half a second: times are kept to a quarter of a millisecond
TICK = 0.5 / RESOLUTION


def write_midi(notes: Sequence[Note], file: Path | BinaryIO, text: str | None = None) -> None:
    """Writes one piano track.

    MIDI knows only keys that go down and up. A key that is struck again while it is held goes up first, and of
    notes that strike one key at the same instant the longest is kept.

    Args:
        text: travels with the notes as a text event at the start.
    """
    last_of_key: dict[int, pretty_midi.Note] = {}
    played = []
    for note in sorted(notes, key=lambda n: (n.onset, n.duration)):
        start, end = (round(time / TICK) * TICK for time in (note.onset, note.onset + note.duration))
        struck = pretty_midi.Note(note.velocity, note.pitch, start, max(end, start + TICK))
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
    midi = pretty_midi.PrettyMIDI(resolution=RESOLUTION, initial_tempo=120)
    midi.instruments.append(piano)
    if text is not None:
        # pretty_midi writes Latin-1 where today's programs expect UTF-8: these characters become its bytes.
        midi.text_events.append(pretty_midi.Text(text.encode("utf-8").decode("latin-1"), 0.0))
    midi.write(file if not isinstance(file, Path) else str(file))


def read_midi(path: Path) -> tuple[Note, ...]:
    """The notes of all tracks but drums, by onset, then pitch.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a MIDI file; the message names it.
    """
    notes = (
        Note(n.pitch, float(n.start), float(n.end - n.start), n.velocity)
        for instrument in _parse(path).instruments
        if not instrument.is_drum
        for n in instrument.notes
    )
    return tuple(sorted(notes, key=lambda n: (n.onset, n.pitch)))


def read_text(path: Path) -> str | None:
    """The first text event, or None. Raises as `read_midi` does."""
    events = _parse(path).text_events
    return events[0].text.encode("latin-1").decode("utf-8", errors="replace") if events else None


def _parse(path: Path) -> pretty_midi.PrettyMIDI:
    try:
        return pretty_midi.PrettyMIDI(str(path))
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: not a MIDI file, or a broken one ({error or type(error).__name__})") from None

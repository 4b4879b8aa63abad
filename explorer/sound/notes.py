"""`NotesRepresentation`: 256 piano notes, in order of onset, as a tensor (91, 256).

A note is a column: 88 pitch channels that are 1 at its key and -1 elsewhere, then its step (time since the previous
onset), duration and velocity. Notes within `CHORD_SECONDS` of the first of them are a chord: they get one onset and are
sorted by pitch, so that a piece has exactly one encoding.

A duration is the time a key is held. The sustain pedal is ignored: it prolongs the sound, not the time a key is held.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.sound.base import Note, Representation, Settings, Sound, chosen

NOTES = 256
LOWEST, KEYS = 21, 88
STEP, DURATION, VELOCITY, TOUCH = KEYS, KEYS + 1, KEYS + 2, KEYS + 3  # channels after the pitches
CHANNELS = KEYS + 3  # without touch
PERFORMED = KEYS + 4  # with touch

CHORD_SECONDS = 0.03  # separates, in MAESTRO, gaps within chords from gaps between notes
RESTRIKE_SECONDS = 0.04  # longer than CHORD_SECONDS, so that both strokes stay separate notes when encoded again
SHORTEST_SECONDS = 0.02  # between two strokes of a key
STEP_SECONDS = (CHORD_SECONDS, 4.0)
DURATION_SECONDS = (SHORTEST_SECONDS, 8.0)
# Steps within a chord are -1, all others at least -0.5: the gap keeps the two apart in a network's output.
SHORTEST_STEP, CHORD_BELOW = -0.5, -0.75

EVEN_STEP, EVEN_DURATION = 0.2, 0.25
EVEN_TEMPO = 150.0  # beats per minute, at which a step is an eighth
SAMPLE_RATE = 44100
TAIL_SECONDS = 0.5  # for the last note to decay


@dataclass(frozen=True)
class NoteTable:
    """Notes as columns, each (n,).

    Attributes:
        pitch: MIDI pitch.
        step: seconds since the previous onset, where all notes of a chord have the onset of its first.
        duration: seconds that the key is held.
        velocity: 1-127.
        touch: seconds from the first note of the chord to this one, at most `CHORD_SECONDS`.
        sounding: seconds until the note is damped: when its key and the sustain pedal are up, or it is struck again.
    """

    pitch: np.ndarray
    step: np.ndarray
    duration: np.ndarray
    velocity: np.ndarray
    touch: np.ndarray
    sounding: np.ndarray


def canonical(
    pitch: np.ndarray,
    onset: np.ndarray,
    duration: np.ndarray,
    velocity: np.ndarray,
    sounding: np.ndarray | None = None,
) -> NoteTable:
    """Brings notes into their canonical order: by onset, with one onset per chord, then by pitch.

    Pitches outside of the piano's 88 keys are dropped, a key struck twice in a chord becomes one note (the longest),
    and a key that is struck again while it is held is released first. The first step is 0.

    Args:
        pitch, onset, duration, velocity: (n,) each, in any order; seconds.
        sounding: (n,), seconds until the note is damped; None without a pedal.
    """
    keep = (pitch >= LOWEST) & (pitch < LOWEST + KEYS)
    notes = np.stack([pitch, onset, duration, velocity, duration if sounding is None else sounding])[:, keep]
    notes = notes[:, np.lexsort((notes[0], notes[1]))]
    starts = _chord_starts(notes[1])
    order = np.lexsort((-notes[2], notes[0], starts))
    notes, starts = notes[:, order], starts[order]
    once = np.ones(len(starts), dtype=bool)
    once[1:] = (np.diff(starts) > 0) | (np.diff(notes[0]) != 0)
    (pitch, onset, duration, velocity, sounding), starts = notes[:, once], starts[once]
    return NoteTable(
        pitch,
        np.diff(starts, prepend=starts[:1]),
        until_struck_again(pitch, starts, duration),
        velocity,
        onset - starts,
        until_struck_again(pitch, onset, sounding),
    )


def until_struck_again(pitch: np.ndarray, onset: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """Durations (n,), each at most the time until the next onset of the same key."""
    by_key = np.lexsort((onset, pitch))
    same, room = np.diff(pitch[by_key]) == 0, np.diff(onset[by_key])
    most = duration[by_key]
    most[:-1] = np.where(same, np.minimum(most[:-1], room), most[:-1])
    shortened = np.empty_like(most)
    shortened[by_key] = most
    return shortened


def _chord_starts(onset: np.ndarray) -> np.ndarray:
    """Sorted onsets (n,) -> (n,): the onset of the first note of each note's chord."""
    starts, start = [], -math.inf
    for time in onset.tolist():
        if time - start > CHORD_SECONDS:
            start = time
        starts.append(start)
    return np.asarray(starts, dtype=onset.dtype)


def encode_notes(
    pitch: Tensor, step: Tensor, duration: Tensor, velocity: Tensor, touch: Tensor | None = None
) -> Tensor:
    """Columns of notes (..., n) each -> (..., 91, n), with touch (..., 92, n), in [-1, 1]; times are clipped to their
    ranges."""
    keys = torch.nn.functional.one_hot(pitch.long() - LOWEST, KEYS).to(step.dtype).mul(2).sub(1).movedim(-1, -2)
    low, high = STEP_SECONDS
    scaled = (step.clamp(low, high) / low).log() / math.log(high / low)
    step = torch.where(step > CHORD_SECONDS / 2, SHORTEST_STEP + (1 - SHORTEST_STEP) * scaled, -1.0)
    low, high = DURATION_SECONDS
    duration = (duration.clamp(low, high) / low).log() / math.log(high / low) * 2 - 1
    velocity = (velocity.to(step.dtype) - 1) / 63 - 1
    times = [step, duration, velocity]
    if touch is not None:
        times.append(touch.to(step.dtype).clamp(0, CHORD_SECONDS) / CHORD_SECONDS * 2 - 1)
    return torch.cat([keys, torch.stack(times, dim=-2)], dim=-2)


def decode_notes(x: Tensor) -> Tensor:
    """(..., 91 or 92, n) in [-1, 1] -> (..., n, 5): MIDI pitch, step and duration in seconds, velocity 1-127, touch in
    seconds (0 without its channel), as float64.

    The key is the largest pitch channel. Steps below `CHORD_BELOW`, and the first one, become exactly 0. In each chord
    the least touch is 0.
    """
    pitch = x[..., :KEYS, :].argmax(-2).double() + LOWEST
    times = x[..., KEYS:, :].double().clamp(-1, 1)
    low, high = STEP_SECONDS
    scaled = ((times[..., 0, :] - SHORTEST_STEP) / (1 - SHORTEST_STEP)).clamp_min(0)
    step = torch.where(times[..., 0, :] < CHORD_BELOW, 0.0, low * (scaled * math.log(high / low)).exp())
    step[..., 0] = 0.0
    low, high = DURATION_SECONDS
    duration = low * ((times[..., 1, :] + 1) / 2 * math.log(high / low)).exp()
    velocity = ((times[..., 2, :] + 1) * 63 + 1).round()
    touch = torch.zeros_like(step)
    if x.shape[-2] == PERFORMED:
        touch = (times[..., 3, :] + 1) / 2 * CHORD_SECONDS
        chord = (step > 0).cumsum(-1)
        first = torch.full_like(touch, CHORD_SECONDS).scatter_reduce(-1, chord, touch, "amin")
        touch = touch - first.gather(-1, chord)
    return torch.stack([pitch, step, duration, velocity, touch], dim=-1)


class NotesRepresentation(Representation):
    """256 notes as a tensor (91, 256).

    `decode(encode(sound))` keeps every pitch and velocity. Onsets are accurate to 1e-4 s per second if steps are
    between 30 ms and 4 s and the notes of a chord start together (otherwise they move to the start of the chord).
    Durations between 20 ms and 8 s are as accurate, unless the key is struck again earlier.
    """

    decoded_name = "notes"
    full_scale = (127.0, STEP_SECONDS[1], DURATION_SECONDS[1], 127.0, CHORD_SECONDS)

    sample_rate = SAMPLE_RATE
    seconds = 25.0  # average of 256 notes in MAESTRO; a piece lasts as long as its steps add up to

    @property
    def shape(self) -> tuple[int, ...]:
        return (CHANNELS, NOTES)

    @property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        """`rhythm`: "played", or "even" for constant steps and durations, so that only pitches and velocities vary."""
        return {"rhythm": ("played", "even")}

    def encode(self, sound: Sound) -> Tensor:
        """Encodes the first 256 notes as (91, 256).

        Raises:
            ValueError: if the sound has fewer notes.
        """
        columns = np.array([(n.pitch, n.onset, n.duration, n.velocity) for n in sound.notes or ()], dtype=np.float64)
        table = canonical(*columns.reshape(-1, 4).T)
        if len(table.pitch) < NOTES:
            raise ValueError(f"{NOTES} notes are needed, this sound has {len(table.pitch)}")
        return self.encode_table(table)

    def encode_table(self, table: NoteTable) -> Tensor:
        """The first 256 notes of a table of at least as many."""
        parts = (table.pitch, table.step, table.duration, table.velocity)
        return encode_notes(*(torch.from_numpy(part[:NOTES].copy()) for part in parts)).float()

    def decode_tensor(self, x: Tensor) -> Tensor:
        """(1, 91 or 92, 256) -> (1, 256, 5), float32: the columns of `decode_notes`."""
        return decode_notes(x).float()

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        columns = decode_notes(x.detach().cpu())
        even = chosen(self.settings, settings)["rhythm"] == "even"
        if even:
            columns[:, 1], columns[:, 2] = EVEN_STEP, EVEN_DURATION
            columns[0, 1] = 0.0
            columns[:, 4] = 0.0
        notes = playable(columns.tolist())
        seconds = max(n.onset + n.duration for n in notes) + TAIL_SECONDS

        def synthesize() -> np.ndarray:
            from explorer.sound import synth  # needs libraries that training does not

            return synth.synthesize(notes, seconds, SAMPLE_RATE)

        tempo = EVEN_TEMPO if even else None
        return Sound(synthesize, SAMPLE_RATE, seconds, notes=notes, played_by="piano", tempo=tempo)


class PerformanceRepresentation(NotesRepresentation):
    """256 notes as they are performed, as a tensor (92, 256): with touch, and with the lengths that the pedal gives.

    A duration is the time until a note is damped: until its key and the sustain pedal are up, or it is struck again.
    Lengths, rather than pedal events, make any player of MIDI sound alike, and stay with their notes when these move.
    `TOUCH` is a note's delay, up to 30 ms, after the first of its chord; within that, onsets are exact.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        return (PERFORMED, NOTES)

    def encode_table(self, table: NoteTable) -> Tensor:
        parts = (table.pitch, table.step, table.sounding, table.velocity, table.touch)
        return encode_notes(*(torch.from_numpy(part[:NOTES].copy()) for part in parts)).float()


def playable(columns: Sequence[Sequence[float]]) -> tuple[Note, ...]:
    """Rows of pitch, step, duration, velocity and touch -> as many notes, by onset, that can be played on a piano.

    A key that occurs twice in a chord is struck again `RESTRIKE_SECONDS` later, and a key that is struck while it is
    held is released first: neither a piano nor a MIDI file can hold one key twice.
    """
    onsets: list[float] = []
    held = [duration for _, _, duration, _, _ in columns]
    onset, start, chord, last = 0.0, -math.inf, set[int](), dict[int, int]()
    for i, (pitch, step, _, _, touch) in enumerate(columns):
        key = int(pitch)
        onset += step
        if onset - start > CHORD_SECONDS:  # a new chord, as in `canonical`
            start, chord = onset, set()
        elif key in chord:
            onset = start = start + RESTRIKE_SECONDS
            chord = set()
        chord.add(key)
        struck = onset + touch
        if key in last:
            before = last[key]
            struck = max(struck, onsets[before] + SHORTEST_SECONDS)
            held[before] = min(held[before], struck - onsets[before])
        last[key] = i
        onsets.append(struck)
    notes = [
        Note(int(pitch), onset, duration, int(velocity))
        for (pitch, _, _, velocity, _), onset, duration in zip(columns, onsets, held, strict=True)
    ]
    return tuple(sorted(notes, key=lambda n: (n.onset, n.pitch)))

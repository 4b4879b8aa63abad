"""An instrument from one sound a key: tones that are held for any time, and pieces that are played with them.

A tone is a sound as an instrument plays it. The app's page and samplers play the same tones in the same way:

    level   gain * (velocity / 127) ** velocity_exponent, where the gain makes all tones equally loud
    held    the samples up to the loop's end, then the loop again and again; without a loop until the samples end
    decay   level * exp(-decay * t), where t is the time since the loop's start
    shape   level until the note's end, then level * exp(-t / release), until 7 * release after it

Velocity and release are those of `explorer.sound.synth`. A piece is the sum of its notes, turned down as a whole to a
peak of `PEAK` if it would exceed that.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from explorer.sound import synth
from explorer.sound.base import Note
from explorer.sound.notes import until_struck_again

PEAK = 0.89  # of a piece: -1 dBFS
MAX_NOTES = 20_000  # of a piece
MAX_SAMPLES = 1 << 25  # of a piece: 35 minutes at 16 kHz, 128 MB
LOUDNESS, LOUD_SECONDS = 0.15, 0.2  # root mean square of the loudest part of a tone at velocity 127
MOST_GAIN = 10.0  # in either direction
ATTACK, END = 0.002, 0.01  # seconds of fade at the start, and at the end of a sound without a loop

# Where a sound is steady: it is like itself some time before, apart from a decay.
COMPARED = 0.025, 4  # what is compared: seconds, and periods of the pitch, whichever is longer
SHORTEST_LOOP = 0.1  # seconds
EARLIEST, LATEST, ENDS = 0.15, 0.95, 6  # a loop's start and end, as shares of the sound; number of ends tried
STEADY = 0.9  # least correlation of a loop that samplers, which know no decay, may repeat ...
LEVEL_DB = 1.5  # ... and the most that its level may change
FASTEST = 12.0  # decay that is not a release, in nepers a second


@dataclass(frozen=True)
class Tone:
    """What one key plays.

    Attributes:
        samples: (n,) float32 in [-1, 1]; with a loop, from its start on without decay, up to its end.
        loop: (start, end) in samples, the end being `n`; None if it cannot be held.
        decay: of the level from the loop's start on, in nepers a second, >= 0.
        gain: at velocity 127.
    """

    samples: np.ndarray
    sample_rate: int
    gain: float
    loop: tuple[int, int] | None = None
    decay: float = 0.0

    def held(self, size: int) -> np.ndarray:
        """The first samples while the key is held, (size,) float32; fewer if the tone ends before."""
        if self.loop is None:
            return self.samples[:size]
        start, end = self.loop
        held = np.concatenate([self.samples[:size], np.resize(self.samples[start:end], max(size - end, 0))])
        if self.decay:
            held[start:] *= np.exp(np.arange(len(held[start:])) * (-self.decay / self.sample_rate)).astype(np.float32)
        return held


def tone(waveform: np.ndarray, sample_rate: int, pitch: int, decaying: bool = True) -> Tone:
    """The tone of a sound (samples,) of this pitch: its loop if it has a steady part, and its gain.

    Args:
        decaying: whether what plays it knows the decay; otherwise it has a loop only if its level stays.
    """
    x = np.array(waveform, np.float32)
    fade = _rise(min(len(x), round(ATTACK * sample_rate)))
    x[: len(fade)] *= fade
    found = _find_loop(x, sample_rate, 440 * 2 ** ((pitch - 69) / 12))
    if found is not None and not decaying:
        start, end, like, growth = found
        change = 20 / math.log(10) * abs(growth) * (end - start) / sample_rate
        found = (start, end, like, 0.0) if like >= STEADY and change < LEVEL_DB else None
    if found is None:
        fade = _rise(min(len(x), round(END * sample_rate)))
        x[len(x) - len(fade) :] *= fade[::-1]
        return Tone(x, sample_rate, _gain(x, sample_rate))
    start, end, _, growth = found
    x = x[:end]
    size = round(min(COMPARED[0] * sample_rate, start, (end - start) / 2))
    level = np.exp(np.arange(-size, end - start) * (-growth / sample_rate)).astype(np.float32)
    before = x[start - size : start] * level[:size]
    x[start:] *= level[size:]
    close_loop(x, before)
    looped = Tone(x.clip(-1, 1), sample_rate, 1.0, (start, end), max(-growth, 0.0))
    return replace(looped, gain=_gain(looped.held(2 * end), sample_rate))  # as it is heard


def _rise(size: int) -> np.ndarray:
    return np.square(np.sin(np.arange(size) * (math.pi / 2 / max(size, 1)))).astype(np.float32)


def _gain(x: np.ndarray, sample_rate: int) -> float:
    size = max(1, min(len(x), round(LOUD_SECONDS * sample_rate)))
    energy = np.concatenate([[0.0], np.cumsum(np.square(x, dtype=np.float64))])
    loudness = math.sqrt(max(float((energy[size:] - energy[:-size]).max(initial=0.0)) / size, 1e-12))
    return min(max(LOUDNESS / loudness, 1 / MOST_GAIN), MOST_GAIN)


def _find_loop(x: np.ndarray, sample_rate: int, frequency: float) -> tuple[int, int, float, float] | None:
    """Start and end of the best loop, how alike both are (their correlation), and the growth of the level between them
    in nepers a second; None if no part of the sound is steady."""
    seconds, periods = COMPARED
    size = round(max(seconds, periods / frequency) * sample_rate)
    first, shortest = max(size, round(EARLIEST * len(x))), round(SHORTEST_LOOP * sample_rate)
    ends = np.unique(np.linspace(first + shortest, LATEST * len(x), ENDS).round().astype(int))
    if first + shortest >= LATEST * len(x):
        return None
    ends = ends[ends <= len(x)]
    energy = np.concatenate([[0.0], np.cumsum(np.square(x, dtype=np.float64))])
    energy = np.maximum(energy[size:] - energy[:-size], 1e-12)  # of the samples before each one, from `size` on
    transformed = fft.next_fast_len(len(x), real=True)
    before = fft.rfft(np.stack([x[end - size : end] for end in ends]), transformed)
    starts = np.arange(first, ends[-1] - shortest + 1)
    products = fft.irfft(fft.rfft(x, transformed) * before.conj(), transformed)[:, starts - size]
    ratio = energy[ends - size, None] / energy[starts - size]
    length = (ends[:, None] - starts) / sample_rate
    possible = length >= SHORTEST_LOOP
    like = products / np.sqrt(energy[ends - size, None] * energy[starts - size])
    growth = np.log(ratio) / (2 * np.where(possible, length, 1.0))
    possible &= (np.abs(growth) <= FASTEST) & (energy[ends - size, None] > size * 1e-8)
    if not possible.any():
        return None
    score = np.where(possible, like - 0.1 * np.abs(growth) + 0.05 * length, -np.inf)
    i, j = np.unravel_index(int(score.argmax()), score.shape)
    return int(starts[j]), int(ends[i]), float(like[i, j]), float(growth[i, j])


def close_loop(x: np.ndarray, new: np.ndarray) -> None:
    """Fades in place from the end of a sound x to `new`, what comes before its loop's start, with constant power."""
    size = len(new)
    old = x[len(x) - size :]
    like = float(old @ new) / max(float(np.linalg.norm(old) * np.linalg.norm(new)), 1e-12)
    rise = _rise(size)
    power = np.square(rise) + np.square(1 - rise) + 2 * max(like, 0.0) * rise * (1 - rise)
    x[len(x) - size :] = (old * (1 - rise) + new * rise) / np.sqrt(power)


def on_keys(notes: Sequence[Note], keys: Collection[int]) -> tuple[tuple[Note, ...], int]:
    """Moves notes outside of an instrument's keys by octaves to the nearest key of their name.

    A key that is struck again while it is held is released first; struck twice at once it is one note, the longest.

    Returns:
        The notes by onset, and how many were moved.
    Raises:
        ValueError: if there is no key of that name.
    """
    nearest: dict[int, int] = {}
    for pitch in {note.pitch for note in notes}:
        same = [key for key in keys if (key - pitch) % 12 == 0]
        if not same:
            raise ValueError(f"this instrument has no key in any octave for MIDI note {pitch}")
        nearest[pitch] = min(same, key=lambda key: (abs(key - pitch), key))
    longest: dict[tuple[int, float], Note] = {}
    for note in notes:
        moved = replace(note, pitch=nearest[note.pitch])
        longest.setdefault((moved.pitch, moved.onset), moved)
        if moved.duration > longest[moved.pitch, moved.onset].duration:
            longest[moved.pitch, moved.onset] = moved
    played = sorted(longest.values(), key=lambda note: (note.onset, note.pitch))
    columns = [np.array([getattr(note, name) for note in played]) for name in ("pitch", "onset", "duration")]
    durations = until_struck_again(*columns).tolist()
    outside = sum(nearest[note.pitch] != note.pitch for note in notes)
    return tuple(replace(note, duration=held) for note, held in zip(played, durations, strict=True)), outside


def length(notes: Sequence[Note], sample_rate: int) -> int:
    """The length of a piece in samples, with the release of its last note.

    Raises:
        ValueError: if there are no notes, more than MAX_NOTES, or they last longer than MAX_SAMPLES.
    """
    if not notes:
        raise ValueError("this piece has no notes")
    if len(notes) > MAX_NOTES:
        raise ValueError(f"this piece has {len(notes):,} notes; at most {MAX_NOTES:,} can be played")
    seconds = max(note.onset + note.duration for note in notes) + synth.RELEASE_LENGTH * synth.RELEASE
    if not seconds * sample_rate <= MAX_SAMPLES:
        minutes = MAX_SAMPLES / sample_rate / 60
        raise ValueError(f"this piece lasts {seconds / 60:,.0f} minutes; at most {minutes:.0f} can be played")
    return round(seconds * sample_rate)


def play(notes: Sequence[Note], tones: Mapping[int, Tone], sample_rate: int) -> np.ndarray:
    """Plays notes, all of them on keys of the instrument. The same notes give the same bits in any order.

    Args:
        tones: by MIDI note number.
    Returns:
        (samples,) float32, with a peak of at most PEAK.
    Raises:
        ValueError: as `length`.
    """
    mix = np.zeros(length(notes, sample_rate), np.float32)
    release = synth.release(sample_rate)
    by_key: dict[int, list[Note]] = {}
    for note in sorted(notes, key=lambda n: (n.onset, n.velocity, n.duration)):
        by_key.setdefault(note.pitch, []).append(note)
    for pitch in sorted(by_key):  # one after another, so that only one long tone is in memory
        longest = max(note.duration for note in by_key[pitch])
        whole = tones[pitch].held(round(longest * sample_rate) + len(release))
        for note in by_key[pitch]:
            start, held = round(note.onset * sample_rate), round(note.duration * sample_rate)
            level = np.float32(tones[pitch].gain * synth.velocity_gain(note.velocity))
            part = level * whole[: held + len(release)]
            part[held:] *= release[: max(len(part) - held, 0)]
            space = mix[start : start + len(part)]
            space += part[: len(space)]
    peak = float(np.abs(mix).max())
    return mix * np.float32(PEAK / peak) if peak > PEAK else mix

"""A part of a sound as a seamless loop, and its WAV file, which tells samplers that it is one.

>>> cut = cut_loop(engine.render(place), 0.2, 0.6)
>>> Path("loop.wav").write_bytes(encode(engine, place, cut))
"""

from dataclasses import dataclass

import numpy as np

from explorer.engine import Engine
from explorer.files import formats, instruments
from explorer.recipe import Place, RecipeError, checked_number
from explorer.sound.base import Sound
from explorer.sound.instrument import close_loop

SHORTEST, LONGEST = 0.02, 30.0  # seconds of a loop
FADE = 0.02  # seconds in which its end fades into what precedes its start; at most half of it
SNAP = 0.01  # seconds within which the nearest rising zero crossing is looked for
PITCH = 60  # MIDI note of a sound without a key


@dataclass(frozen=True)
class Loop:
    """A loop: `waveform` (samples,) float32, cut from `start` to `end`, in samples of the whole sound."""

    waveform: np.ndarray
    sample_rate: int
    start: int
    end: int


def cut_loop(sound: Sound, start: float, end: float) -> Loop:
    """Cuts a loop from a sound, between the rising zero crossings nearest to two times in seconds. Its end fades into
    what precedes its start, so it starts at the earliest so long after the sound's beginning.

    Raises:
        RecipeError: if a time is not in the sound, or the loop is too short or too long.
    """
    rate = sound.sample_rate
    start, end = (checked_number(name, x, 0, sound.seconds) for name, x in (("start", start), ("end", end)))
    if not SHORTEST <= end - start <= LONGEST:
        raise RecipeError(f"a loop takes from {SHORTEST:g} to {LONGEST:g} s, not {end - start:.3g} s")
    x = sound.waveform
    fade = round(min(FADE, (end - start) / 4) * rate)
    first = _crossing(x, max(round(start * rate), fade), fade, round(SNAP * rate))
    last = min(_crossing(x, round(end * rate), first + 2 * fade, round(SNAP * rate)), len(x))
    waveform = np.array(x[first:last], np.float32)
    close_loop(waveform, x[first - fade : first])
    rounded = formats.pcm16(waveform).astype(np.float32) / 32768  # at once, so that the page plays the file's samples
    return Loop(rounded, rate, first, last)


def _crossing(x: np.ndarray, near: int, least: int, within: int) -> int:
    """The rising zero crossing nearest to a sample, not before `least`; that sample itself if none is so near."""
    low = max(near - within, least, 1)
    part = x[low - 1 : near + within + 1]
    found = np.flatnonzero((part[:-1] < 0) & (part[1:] >= 0)) + low
    return int(found[np.abs(found - near).argmin()]) if len(found) else max(near, least)


def encode(engine: Engine, place: Place, loop: Loop) -> bytes:
    """The bytes of a loop's WAV file: 16 bit as rendered, its title what it is, the recipe of the whole sound its
    comment, and a `smpl` chunk that repeats all of it."""
    keys = instruments.keys_of(engine.model(place.recipe.model))
    pitch = next((pitch for pitch, label in keys.items() if label == place.recipe.label), PITCH)
    start, end = (at / loop.sample_rate for at in (loop.start, loop.end))
    sound = Sound(lambda: loop.waveform, loop.sample_rate, len(loop.waveform) / loop.sample_rate)
    wav = formats.wav(sound, place.recipe.to_json(), f"Loop from {start:.3f} to {end:.3f} s of the sound")
    return formats.with_loop(wav, loop.sample_rate, pitch, (0, len(loop.waveform)))


def name(engine: Engine, place: Place, loop: Loop) -> str:
    """The name of a loop's file: that of the sound, and its start and end in milliseconds."""
    start, end = (round(1000 * at / loop.sample_rate) for at in (loop.start, loop.end))
    return f"{formats.stem(engine, place.recipe)}-loop{start}-{end}ms.wav"

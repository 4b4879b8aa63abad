"""The way between two seeds: its steps, and files of the whole of it.

    >>> way = steps(engine, Recipe("spoken-digits", seed=7, seed_b=8, label="3"), 9, "equal")
    >>> write(engine, there_and_back(way), Path("morph.wav"))

A file of the whole way holds the recipe of its start, second seed included, and opens in the app at A. Like every
file of this package it says nothing of when it was made, and is there as a whole or not at all.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from explorer import atomic
from explorer.engine import Engine
from explorer.files import formats
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Sound

T = TypeVar("T")
Spacing = Literal["t", "equal"]
Progress = Callable[[int, int], None]  # of how many things are done, out of how many; it may raise, to cancel

MAX_STEPS = 100  # as one WAV of a piano, 40 minutes and half a gigabyte
CROSSFADE = 0.04  # seconds, as in the app's player
FINE, LEAST = 4, 32  # points at which a way is measured: so many for each step, and at least so many
FRAME_MS = 400  # that a step of an animation stands
MEMBERS = ("wav", "mid")  # of a zip, where the sounds have them
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell


def steps(
    engine: Engine, recipe: Recipe, count: int, spacing: Spacing = "t", progress: Progress | None = None
) -> tuple[Recipe, ...]:
    """Recipes along the way from `seed` (t = 0) to `seed_b` (t = 1), both ends included.

    Args:
        recipe: what all steps share; its own t and mix are not looked at.
        count: 2 ... MAX_STEPS.
        spacing: "t" for equal steps of t. "equal" for equal lengths of the way that the generator's output takes:
            the Euclidean distances between outputs are added up along a fine grid of t, and the sum is inverted.
    Raises:
        CheckpointError, RecipeError: as `Engine.complete`; also if there is no second seed, or `count` is out of range.
    """
    if recipe.seed_b is None:
        raise RecipeError("a way needs a second seed")
    if not 2 <= count <= MAX_STEPS:
        raise RecipeError(f"a way has from 2 to {MAX_STEPS} steps, not {count}")
    if spacing not in ("t", "equal"):
        raise RecipeError(f"the spacing is 't' or 'equal', not {spacing!r}")
    recipe = replace(recipe, mix=())
    engine.complete(replace(recipe, t=1.0))
    ts = np.linspace(0, 1, count)
    if spacing == "equal":
        ts = _equal(engine, recipe, count, progress)
    return tuple(replace(recipe, t=float(t)) for t in ts)


def _equal(engine: Engine, recipe: Recipe, count: int, progress: Progress | None) -> np.ndarray:
    """(count,) values of t from 0 to 1, between which the output goes equally far."""
    grid = np.linspace(0, 1, max(LEAST, FINE * (count - 1)) + 1)
    lengths = np.zeros(len(grid))
    before = engine.output(replace(recipe, t=0.0))
    for i, t in _counted(enumerate(grid), len(grid), progress):
        output = engine.output(replace(recipe, t=float(t)))
        lengths[i] = lengths[i - 1] + float((output - before).norm())
        before = output
    wanted = np.linspace(0, 1, count)
    if lengths[-1] <= 1e-4 * float(before.norm()):  # nothing but rounding: both ends are the same
        return wanted
    ts = np.interp(wanted * lengths[-1], lengths, grid)
    ts[0], ts[-1] = 0, 1
    return ts


def there_and_back(way: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """To the other end and back again, up to the step before the first: ready to be looped."""
    return (*way, *way[-2:0:-1])


def joined(sounds: Sequence[Sound], crossfade: float = CROSSFADE) -> Sound:
    """Sounds one after another, each going over into the next at equal power; notes follow one another likewise.

    Should two sounds add up to more than full scale where they meet, the whole is turned down to full scale.

    Args:
        crossfade: seconds by which two neighbours overlap, at most half of the shortest sound; 0 for a plain cut.
    Raises:
        ValueError: if there is no sound, or their sample rates differ.
    """
    rates = {sound.sample_rate for sound in sounds}
    if len(rates) != 1:
        raise ValueError("only sounds of one sample rate can be joined")
    (rate,) = rates
    sizes = [round(sound.seconds * rate) for sound in sounds]
    fade = min(round(crossfade * rate), min(sizes) // 2)
    starts = [sum(sizes[:i]) - i * fade for i in range(len(sizes))]
    size = starts[-1] + sizes[-1]

    def synthesize() -> np.ndarray:
        rise = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)).astype(np.float32)
        mix = np.zeros(size, np.float32)
        for i, sound in enumerate(sounds):
            part = np.zeros(sizes[i], np.float32)
            part[: len(sound.waveform)] = sound.waveform[: sizes[i]]
            if i > 0:
                part[:fade] *= rise
            if i < len(sounds) - 1:
                part[sizes[i] - fade :] *= rise[::-1]
            mix[starts[i] : starts[i] + sizes[i]] += part
        return mix / max(np.float32(1), np.abs(mix).max())

    notes = None
    if all(sound.notes is not None for sound in sounds):
        later = [
            replace(note, onset=note.onset + start / rate)
            for start, sound in zip(starts, sounds, strict=True)
            for note in sound.notes or ()
        ]
        notes = tuple(sorted(later, key=lambda note: (note.onset, note.pitch)))
    played_by = sounds[0].played_by if len({sound.played_by for sound in sounds}) == 1 else None
    return Sound(synthesize, rate, size / rate, notes, played_by=played_by)


def available(sound: Sound) -> tuple[str, ...]:
    """What a way of such sounds can be written as."""
    return tuple(name for name in WRITERS if name != "mid" or sound.notes is not None)


def write(engine: Engine, way: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes a way as the file's suffix, one of WRITERS, says.

    Raises:
        ValueError: if there is no such kind of file, or the sounds have nothing to write in it.
        OSError: if the folder cannot be written to.
        What `progress` raises; then there is no file, or the one that was there before.
    """
    name = path.suffix.removeprefix(".").lower()
    if name not in WRITERS:
        raise ValueError(f"no format {name!r}; there are {', '.join(WRITERS)}")
    WRITERS[name](engine, way, path, progress)


def write_joined(engine: Engine, way: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes all steps, one after another, as one WAV or MIDI file."""
    as_notes = path.suffix.lower() == ".mid"
    sounds = [sound if as_notes else _heard(sound) for sound in _sounds(engine, way, progress)]
    formats.save(joined(sounds), _start(engine, way), path)


def write_zip(
    engine: Engine, way: Sequence[Recipe], path: Path, progress: Progress | None = None, names: Sequence[str] = MEMBERS
) -> None:
    """Writes a file of each step, with its recipe inside, into one archive.

    Args:
        names: formats of the files; MIDI is left out where there are no notes.
    """
    with atomic.replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for i, recipe in _counted(enumerate(way, 1), len(way), progress):
            place = engine.complete(recipe)
            sound = engine.render(place)
            for name in (name for name in names if name != "mid" or sound.notes is not None):
                member = zipfile.ZipInfo(f"{i:03d}-t{recipe.t:.3f}.{name}", ZIP_DATE)
                member.compress_type = zipfile.ZIP_DEFLATED
                member.external_attr = 0o644 << 16
                archive.writestr(member, formats.encode(sound, place.recipe, name))


def write_morph(engine: Engine, way: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes a picture of all steps side by side, as png, svg or pdf."""
    from explorer.files import figures

    sounds = list(_sounds(engine, way, progress))
    picture = figures.morph(sounds, [recipe.t for recipe in way])
    name = path.suffix.removeprefix(".").lower()
    atomic.write_bytes(path, formats.printed(picture, name, _start(engine, way).to_json()))


def animate(engine: Engine, way: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes a GIF that shows the steps one after another, again and again."""
    from PIL import Image

    from explorer.files import figures

    sounds = [engine.render(recipe) for recipe in way]
    frames = []
    pictures = figures.frames(sounds, [f"t = {recipe.t:.2f}" for recipe in way])
    for picture in _counted(pictures, len(way), progress):
        stream = io.BytesIO()
        picture.savefig(stream, format="png", dpi=100)
        frame = Image.open(stream).convert("RGB")
        # 256 colours that cover the range, or the rare ends of the colour map would be lost
        frames.append(frame.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE))
    with atomic.replacing(path) as partial:
        frames[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=FRAME_MS,
            loop=0,
            comment=_start(engine, way).to_json().encode(),
        )


Writer = Callable[[Engine, Sequence[Recipe], Path, Progress | None], None]
WRITERS: Mapping[str, Writer] = {
    "wav": write_joined,
    "mid": write_joined,
    "zip": write_zip,
    "gif": animate,
    "png": write_morph,
    "svg": write_morph,
    "pdf": write_morph,
}


def _start(engine: Engine, way: Sequence[Recipe]) -> Recipe:
    """The way's first recipe with nothing left open, but still with its second seed."""
    return replace(engine.complete(replace(way[0], t=1.0)).recipe, t=0.0)


def _sounds(engine: Engine, way: Sequence[Recipe], progress: Progress | None) -> Iterator[Sound]:
    return map(engine.render, _counted(way, len(way), progress))


def _heard(sound: Sound) -> Sound:
    """The sound with its waveform computed now, while a bar moves."""
    waveform = sound.waveform
    return replace(sound, synthesize=lambda: waveform)


def _counted(things: Iterable[T], total: int, progress: Progress | None) -> Iterator[T]:
    """The things, each reported when the next one is asked for."""
    for done, thing in enumerate(things, 1):
        yield thing
        if progress is not None:
            progress(done, total)

"""Morphs: sequences of places between two seeds, and files of a whole morph.

    >>> morph = steps(engine, Recipe("spoken-digits", seed=7, seed_b=8, label="3"), 9, "equal")
    >>> write(engine, there_and_back(morph), Path("morph.wav"))

A file of a morph contains the recipe of its first step, second seed included, so the app opens it at A. As with every
file of this package, equal recipes give equal bytes, without a date, and a file is written completely or not at all.
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
Progress = Callable[[int, int], None]  # called with (done, total); it may raise to cancel

MAX_STEPS = 100  # of the piano, as one WAV: 40 minutes and half a gigabyte
CROSSFADE = 0.04  # seconds, as in the app's player
POINTS_PER_STEP, MIN_POINTS = 4, 32  # of the grid of t on which equal spacing is measured
FRAME_MS = 400  # for which an animation shows each step
ZIP_FORMATS = ("wav", "mid")  # of the files in a ZIP archive


def steps(
    engine: Engine, recipe: Recipe, count: int, spacing: Spacing = "t", progress: Progress | None = None
) -> tuple[Recipe, ...]:
    """Recipes from `seed` (t = 0) to `seed_b` (t = 1), both included.

    Args:
        recipe: what all steps share; its own t and mix are ignored.
        count: number of steps, 2 ... MAX_STEPS.
        spacing: "t" for equal steps of t; "equal" for steps between which the generator's output changes equally much.
            That is measured by the cumulative Euclidean distance between outputs on a fine grid of t, inverted.
    Raises:
        CheckpointError, RecipeError: as `Engine.complete`; also if there is no second seed, or `count` is out of range.
    """
    if recipe.seed_b is None:
        raise RecipeError("a morph needs a second seed")
    if not 2 <= count <= MAX_STEPS:
        raise RecipeError(f"a morph has from 2 to {MAX_STEPS} steps, not {count}")
    if spacing not in ("t", "equal"):
        raise RecipeError(f"the spacing is 't' or 'equal', not {spacing!r}")
    recipe = replace(recipe, mix=())
    engine.complete(replace(recipe, t=1.0))
    ts = np.linspace(0, 1, count)
    if spacing == "equal":
        ts = _equal_spacing(engine, recipe, count, progress)
    return tuple(replace(recipe, t=float(t)) for t in ts)


def _equal_spacing(engine: Engine, recipe: Recipe, count: int, progress: Progress | None) -> np.ndarray:
    """(count,) values of t from 0 to 1 between which the generator's output changes equally much."""
    grid = np.linspace(0, 1, max(MIN_POINTS, POINTS_PER_STEP * (count - 1)) + 1)
    lengths = np.zeros(len(grid))
    before = engine.output(replace(recipe, t=0.0))
    for i, t in _reported(enumerate(grid), len(grid), progress):
        output = engine.output(replace(recipe, t=float(t)))
        lengths[i] = lengths[i - 1] + float((output - before).norm())
        before = output
    wanted = np.linspace(0, 1, count)
    if lengths[-1] <= 1e-4 * float(before.norm()):  # rounding errors only: both ends are the same
        return wanted
    ts = np.interp(wanted * lengths[-1], lengths, grid)
    ts[0], ts[-1] = 0, 1
    return ts


def there_and_back(morph: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The morph and its way back, without repeating the first step, so that it can be looped."""
    return (*morph, *morph[-2:0:-1])


def joined(sounds: Sequence[Sound], crossfade: float = CROSSFADE) -> Sound:
    """Joins sounds one after another with equal-power crossfades; their notes are shifted along.

    If the sum exceeds full scale within a crossfade, the whole is scaled down to full scale.

    Args:
        crossfade: seconds by which neighbours overlap, at most half of the shortest sound; 0 for a plain cut.
    Raises:
        ValueError: if there are no sounds, or their sample rates differ.
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
    """Formats that a morph of such sounds can be written as."""
    return tuple(name for name in WRITERS if name != "mid" or sound.notes is not None)


def write(engine: Engine, morph: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes a morph in the format of the file's suffix, one of WRITERS.

    Raises:
        ValueError: if there is no such format, or the sounds cannot be written in it.
        OSError: if the folder cannot be written to.
        Whatever `progress` raises; then a file that existed before stays as it was.
    """
    name = path.suffix.removeprefix(".").lower()
    if name not in WRITERS:
        raise ValueError(f"no format {name!r}; there are {', '.join(WRITERS)}")
    WRITERS[name](engine, morph, path, progress)


def write_joined(engine: Engine, morph: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes all steps, joined, as one WAV or MIDI file."""
    as_notes = path.suffix.lower() == ".mid"
    sounds = [sound if as_notes else _computed(sound) for sound in _sounds(engine, morph, progress)]
    formats.save(joined(sounds), _start(engine, morph), path)


def write_zip(
    engine: Engine,
    morph: Sequence[Recipe],
    path: Path,
    progress: Progress | None = None,
    names: Sequence[str] = ZIP_FORMATS,
) -> None:
    """Writes one ZIP archive with the files of each step, which contain its recipe.

    Args:
        names: formats of the files; "mid" is skipped for sounds without notes.
    """
    with atomic.replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for i, recipe in _reported(enumerate(morph, 1), len(morph), progress):
            place = engine.complete(recipe)
            sound = engine.render(place)
            for name in (name for name in names if name != "mid" or sound.notes is not None):
                member = formats.zip_member(f"{i:03d}-t{recipe.t:.3f}.{name}")
                archive.writestr(member, formats.encode(sound, place.recipe, name))


def write_picture(engine: Engine, morph: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes a picture of all steps side by side, as PNG, SVG or PDF."""
    from explorer.files import figures

    sounds = list(_sounds(engine, morph, progress))
    picture = figures.morph(sounds, [recipe.t for recipe in morph])
    name = path.suffix.removeprefix(".").lower()
    atomic.write_bytes(path, formats.printed(picture, name, _start(engine, morph).to_json()))


def write_gif(engine: Engine, morph: Sequence[Recipe], path: Path, progress: Progress | None = None) -> None:
    """Writes a GIF that shows the steps one after another, in a loop."""
    from PIL import Image

    from explorer.files import figures

    sounds = [engine.render(recipe) for recipe in morph]
    frames = []
    pictures = figures.frames(sounds, [f"t = {recipe.t:.2f}" for recipe in morph])
    for picture in _reported(pictures, len(morph), progress):
        stream = io.BytesIO()
        picture.savefig(stream, format="png", dpi=100)
        frame = Image.open(stream).convert("RGB")
        # 256 colours that cover the whole range; the default would lose the rare colours at its ends
        frames.append(frame.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE))
    with atomic.replacing(path) as partial:
        frames[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=FRAME_MS,
            loop=0,
            comment=_start(engine, morph).to_json().encode(),
        )


Writer = Callable[[Engine, Sequence[Recipe], Path, Progress | None], None]
WRITERS: Mapping[str, Writer] = {
    "wav": write_joined,
    "mid": write_joined,
    "zip": write_zip,
    "gif": write_gif,
    "png": write_picture,
    "svg": write_picture,
    "pdf": write_picture,
}


def _start(engine: Engine, morph: Sequence[Recipe]) -> Recipe:
    """The completed recipe of the morph's first step, which keeps the second seed."""
    return replace(engine.complete(replace(morph[0], t=1.0)).recipe, t=0.0)


def _sounds(engine: Engine, morph: Sequence[Recipe], progress: Progress | None) -> Iterator[Sound]:
    return map(engine.render, _reported(morph, len(morph), progress))


def _computed(sound: Sound) -> Sound:
    """The same sound with its waveform computed now, so that a progress bar can count it."""
    waveform = sound.waveform
    return replace(sound, synthesize=lambda: waveform)


def _reported(things: Iterable[T], total: int, progress: Progress | None) -> Iterator[T]:
    """Yields the things; reports each one when the next is asked for."""
    for done, thing in enumerate(things, 1):
        yield thing
        if progress is not None:
            progress(done, total)

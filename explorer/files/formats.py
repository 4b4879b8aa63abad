"""Saves a sound in one of several file formats, each with the recipe inside, and reads the recipe back.

    wav        16-bit PCM as rendered; the recipe is the comment (RIFF INFO, ICMT)
    ready.wav  the sound made ready to use by `ready`, which its title (INAM) says; the recipe as in wav
    mid        the notes; the recipe is the first text event; the tempo is that of their grid, if they lie on one
    png        the picture of `figures.figure`; the recipe is a text chunk
    svg        the same for print; the recipe is its description (Dublin Core)
    pdf        likewise; the recipe is its subject (document information dictionary)
    npz        arrays: waveform, sample_rate, recipe, and notes or log_mel, frequencies and hop_length
    json       the recipe alone

Files hold no date: the same sound and recipe give the same bytes.
"""

import hashlib
import io
import json
import re
import struct
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from explorer import atomic
from explorer.engine import Engine
from explorer.files import readers, ready
from explorer.kit import Kit
from explorer.recipe import Recipe, RecipeError
from explorer.song import Song
from explorer.sound.base import Sound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date that the ZIP format knows
MAX_TOLD, MAX_STEM = 3, 120  # offsets that a file's name tells, and characters of it
_matplotlib_lock = threading.Lock()  # for saving figures, since matplotlib's rcParams are global

Encoder = Callable[[Sound, str], bytes]  # (sound, recipe as JSON) -> the bytes of a file


def available(sound: Sound) -> tuple[str, ...]:
    """The formats a sound can be saved in."""
    return tuple(name for name in FORMATS if name != "mid" or sound.notes is not None)


def encode(sound: Sound, recipe: Recipe, name: str) -> bytes:
    """Encodes a sound as the bytes of a file in one of FORMATS.

    Raises:
        ValueError: if there is no such format, or it is "mid" and the sound has no notes.
    """
    if name not in FORMATS:
        raise ValueError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    if name not in available(sound):
        raise ValueError(f"{recipe.model!r} makes no notes, so there is nothing to save as {name}")
    return FORMATS[name](sound, recipe.to_json())


def on_grid(sound: Sound, tempo: float) -> Sound:
    """The sound with its notes moved to the nearest sixteenth, for MIDI files alone: its waveform stays as it is.

    Args:
        tempo: beats per minute.
    Raises:
        ValueError: if it has no notes, or the tempo is out of range.
    """
    from explorer.sound import midi

    if sound.notes is None:
        raise ValueError("this sound has no notes to move to a grid")
    return replace(sound, notes=midi.quantised(sound.notes, tempo), tempo=tempo)


def save(sound: Sound, recipe: Recipe, path: Path) -> Path:
    """Writes a sound to a file, atomically, in the format that the file's name ends with.

    Returns:
        The file's path: as `atomic.add_bytes`, which keeps a file of this name that has other content.
    Raises:
        ValueError: as `encode` does; then nothing is written.
        OSError: if the folder cannot be written to.
    """
    name = path.name.lower()
    fitting = [known for known in FORMATS if name.endswith(f".{known}")]
    return atomic.add_bytes(path, encode(sound, recipe, max(fitting, key=len, default=path.suffix.removeprefix("."))))


def write_wav(path: Path, sound: Sound) -> None:
    """Writes a WAV file without a recipe, e.g. of a training run."""
    atomic.write_bytes(path, wav(sound))


def read_recipe(path: Path) -> Recipe:
    """The recipe inside a file that this app saved; of a morph, the recipe of its start; of a song, its timbre.

    Raises:
        RecipeError: naming the file without its folder, if it is missing, broken, of another format, or holds no
            recipe, or a kit.
    """
    saved = read_saved(path)
    if isinstance(saved, Kit):
        raise RecipeError(
            f"{path.name}: holds a kit of {len(saved.pads)} sounds, not one; `kit --recipe` or the app opens it"
        )
    return saved.timbre if isinstance(saved, Song) else saved


def read_saved(path: Path) -> Recipe | Kit | Song:
    """What is inside a file that this app saved. Raises RecipeError as `read_recipe`."""
    text = readers.find_recipe(path)
    try:
        data = json.loads(text)
        file = data.pop("instrument", None)  # beside the recipe of a whole instrument
        kind = Kit if "pads" in data else Song if "piece" in data else Recipe
        saved: Recipe | Kit | Song = kind.from_dict(data)
        saved.to_json().encode("utf-8")
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error}") from None
    except (ValueError, RecursionError):  # a lone surrogate; a value nested too deep for JSON
        raise RecipeError(f"{path.name}: its recipe holds a value that no recipe can have") from None
    if isinstance(saved, Recipe) and path.suffix.lower() == ".zip" and file is None:
        return replace(saved, t=0.0)  # found is a morph's last step, meant its start
    return saved


def stem(engine: Engine, recipe: Recipe, to: int | None = None, tempo: float | None = None) -> str:
    """The file name of a place, without suffix: the model, the label and the seed, then whatever is not as usual.

    What words cannot tell exactly, such as many offsets, is told by six digits of a hash, so that equal names are equal
    places of one checkpoint.

    Args:
        recipe: completed.
        to: the second seed, for files of a whole morph that starts at this recipe.
        tempo: of the grid to which notes were moved.
    Raises:
        CheckpointError: as `Engine.complete`.
    """
    usual = engine.complete(Recipe(recipe.model, seed_b=1, t=0.5)).recipe
    exact = len(recipe.offsets) <= MAX_TOLD and len({weight for _, weight in recipe.mix}) <= 1

    def told(x: float, sign: str = "") -> str:
        nonlocal exact
        exact = exact and float(f"{x:g}") == x
        return f"{x:{sign}g}"

    place = "-".join(["mix", *(str(seed) for seed, _ in recipe.mix)]) if recipe.mix else f"seed{recipe.seed:04d}"
    parts = [recipe.model, recipe.label, place]
    if recipe.seed_b is not None:
        parts.append(f"to{recipe.seed_b:04d}-t{told(recipe.t)}")
    if to is not None:
        parts.append(f"to{to:04d}")
    if recipe.path not in (None, usual.path):
        parts.append(recipe.path)
    if recipe.label_b is not None:
        parts.append(f"{recipe.label_b}-blend{told(recipe.blend)}")
    if recipe.truncation != 1:
        parts.append(f"trunc{told(recipe.truncation)}")
    parts += [f"{name}{told(x, '+')}" for name, x in recipe.offsets[:MAX_TOLD]]
    parts += [option for name, option in recipe.settings if option != dict(usual.settings)[name]]
    if tempo is not None:
        parts.append(f"{told(tempo)}bpm")
    name = safe_name("-".join(part for part in parts if part))
    if not exact or len(name) > MAX_STEM:
        digest = hashlib.sha256(f"{recipe.to_json()} {to} {tempo}".encode()).hexdigest()
        name = f"{name[:MAX_STEM]}-{digest[:6]}"
    return name


def safe_name(text: str) -> str:
    """A text as part of a file name: whatever lies between letters, digits and . + - becomes one underscore."""
    return re.sub(r"[^\w.+-]+", "_", text)


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A ZIP archive of files, given as name and bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files:
            archive.writestr(zip_member(name), data)
    return stream.getvalue()


def write_all(files: Iterable[tuple[str, bytes]], folder: Path) -> int:
    """Writes files, given as name and bytes, into a folder and returns their number. All are made before the first is
    written, so that an error leaves nothing half-written.

    Raises:
        FileExistsError: if the folder has a file of one of these names and other content; then nothing is written.
    """
    made = list(files)
    for name, data in made:
        if (folder / name).exists() and (folder / name).read_bytes() != data:
            raise FileExistsError(f"{folder} holds another {name}: choose another folder, so that nothing is lost")
    for name, data in made:
        atomic.write_bytes(folder / name, data)
    return len(made)


def zip_member(name: str) -> zipfile.ZipInfo:
    """A compressed member of a ZIP archive, without a date."""
    member = zipfile.ZipInfo(name, ZIP_DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def pcm16(waveform: np.ndarray) -> np.ndarray:
    """(samples,) in [-1, 1] as int16, rounded as libsndfile does, so that the page plays the bits of the WAV file."""
    return np.floor(waveform * 32768.0).clip(-32768, 32767).astype("<i2")


def wav(sound: Sound, comment: str | None = None, title: str | None = None) -> bytes:
    """A sound as a WAV file of 16 bit."""
    stream = io.BytesIO()
    with sf.SoundFile(stream, "w", sound.sample_rate, channels=1, format="WAV", subtype="PCM_16") as file:
        if comment is not None:
            file.comment = comment
        if title is not None:
            file.title = title
        file.write(sound.waveform)
    return stream.getvalue()


def with_loop(data: bytes, sample_rate: int, pitch: int, loop: tuple[int, int] | None) -> bytes:
    """A WAV file with a chunk `smpl` that tells samplers its MIDI note and its loop from a sample up to another."""
    loops = [(0, 0, loop[0], loop[1] - 1, 0, 0)] if loop else []  # forward, without an end
    content = struct.pack("<9I", 0, 0, round(1e9 / sample_rate), pitch, 0, 0, 0, len(loops), 0)
    content += b"".join(struct.pack("<6I", *loop) for loop in loops)
    chunk = b"smpl" + struct.pack("<I", len(content)) + content
    return data[:4] + struct.pack("<I", len(data) + len(chunk) - 8) + data[8:] + chunk


def _ready_wav(sound: Sound, comment: str) -> bytes:
    return wav(ready.ready(sound), comment, ready.WORDS)


def _mid(sound: Sound, recipe: str) -> bytes:
    from explorer.sound import midi

    stream = io.BytesIO()
    midi.write_midi(sound.notes or (), stream, recipe, sound.tempo)
    return stream.getvalue()


def printed(figure: "Figure", name: str, recipe: str) -> bytes:
    """Encodes a figure as png, svg or pdf, with a recipe (JSON) inside for `read_recipe`."""
    from matplotlib import rc_context

    plain = json.dumps(json.loads(recipe))  # ASCII only, so that the text encoding of XML and PDF does not matter
    metadata = {
        "png": {readers.PNG_KEY: recipe, "Software": None},
        "svg": {"Description": plain, "Date": None, "Creator": None},
        "pdf": {"Subject": plain, "CreationDate": None, "Creator": None, "Producer": None},
    }[name]
    stream = io.BytesIO()
    with _matplotlib_lock, rc_context({"svg.hashsalt": "recipe"}):  # otherwise the ids in an SVG are random
        figure.savefig(stream, format=name, metadata=metadata)
    return stream.getvalue()


def _picture(name: str) -> Callable[[Sound, str], bytes]:
    def encode_picture(sound: Sound, recipe: str) -> bytes:
        from explorer.files import figures

        return printed(figures.figure(sound), name, recipe)

    return encode_picture


def _npz(sound: Sound, recipe: str) -> bytes:
    arrays: dict[str, Any] = {
        "waveform": sound.waveform,
        "sample_rate": np.array(sound.sample_rate),
        "recipe": np.array(recipe),
    }
    if sound.notes is not None:
        rows = [(n.pitch, n.onset, n.duration, n.velocity) for n in sound.notes]
        arrays["notes"] = np.array(rows, dtype=np.float64).reshape(-1, 4)
    if sound.log_mel is not None:
        arrays["log_mel"] = sound.log_mel.values
        arrays["frequencies"] = sound.log_mel.frequencies
        arrays["hop_length"] = np.array(sound.log_mel.hop_length)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _json(sound: Sound, recipe: str) -> bytes:
    return (json.dumps(json.loads(recipe), indent=2, ensure_ascii=False) + "\n").encode("utf-8")


FORMATS: Mapping[str, Encoder] = {
    "wav": wav,
    "ready.wav": _ready_wav,
    "mid": _mid,
    "png": _picture("png"),
    "svg": _picture("svg"),
    "pdf": _picture("pdf"),
    "npz": _npz,
    "json": _json,
}

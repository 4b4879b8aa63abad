"""Files of a sound, each with the recipe inside, so that every one of them finds its sound again.

    wav   16-bit PCM; the recipe is the comment (RIFF INFO, ICMT)
    mid   the notes; the recipe is the first text event
    png   the picture of `figures.figure`; the recipe is a text chunk
    svg   the same for print; the recipe is its description (Dublin Core)
    pdf   likewise; the recipe is its subject (document information dictionary)
    npz   the numbers: waveform, sample_rate, recipe, and notes or log_mel, frequencies and hop_length
    json  the recipe alone

A file says nothing of when it was made: the same sound and recipe give the same bytes.
"""

import html
import io
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Sound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_KEY = "recipe"
ONE_AT_A_TIME = threading.Lock()  # figures that are printed: matplotlib's settings are the process's


@dataclass(frozen=True)
class Format:
    """One kind of file: from a sound and its recipe as JSON to bytes, and from a file to that JSON, if it has any."""

    encode: Callable[[Sound, str], bytes]
    read: Callable[[Path], str | None]


def available(sound: Sound) -> tuple[str, ...]:
    """The formats a sound can be saved in."""
    return tuple(name for name in FORMATS if name != "mid" or sound.notes is not None)


def encode(sound: Sound, recipe: Recipe, name: str) -> bytes:
    """The bytes of a file in one of FORMATS.

    Raises:
        ValueError: if there is no such format, or the sound has nothing to write in it.
    """
    if name not in FORMATS:
        raise ValueError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    if name not in available(sound):
        raise ValueError(f"{recipe.model!r} makes no notes, so there is nothing to save as {name}")
    return FORMATS[name].encode(sound, recipe.to_json())


def save(sound: Sound, recipe: Recipe, path: Path) -> None:
    """Writes a file in the format of its suffix, in one piece: what was there stays until the new one is complete.

    Raises:
        ValueError: as `encode` does; then nothing is written.
        OSError: if the folder cannot be written to.
    """
    _write(path, encode(sound, recipe, path.suffix.removeprefix(".").lower()))


def write_wav(path: Path, sound: Sound) -> None:
    """Writes a sound that has no recipe, such as one of a training run."""
    _write(path, _wav(sound))


def read_recipe(path: Path) -> Recipe:
    """The recipe inside a file that `save` wrote.

    Raises:
        RecipeError: naming the file, if it is missing or broken, or holds no recipe.
    """
    name = path.suffix.removeprefix(".").lower()
    if name not in FORMATS:
        raise RecipeError(f"{path}: a recipe is read from {', '.join(FORMATS)} files")
    try:
        text = FORMATS[name].read(path)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, KeyError, EOFError) as error:
        raise RecipeError(f"{path}: not a {name} file, or a broken one ({error})") from None
    if not text:
        raise RecipeError(f"{path}: holds no recipe")
    try:
        return Recipe.from_json(text)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def stem(recipe: Recipe, to: int | None = None) -> str:
    """The name of a completed recipe's files, without the ending: one for each place that one command can ask for.

    Args:
        to: the seed where a whole way ends that begins with this recipe.
    """
    place = "-".join(["mix", *(str(seed) for seed, _ in recipe.mix)]) if recipe.mix else f"seed{recipe.seed:04d}"
    parts = [recipe.model, recipe.label, place]
    if recipe.seed_b is not None:
        parts.append(f"to{recipe.seed_b:04d}-t{recipe.t:g}")
    if to is not None:
        parts.append(f"to{to:04d}")
    return re.sub(r"[^\w.+-]", "_", "-".join(part for part in parts if part))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _wav(sound: Sound, comment: str | None = None) -> bytes:
    stream = io.BytesIO()
    with sf.SoundFile(stream, "w", sound.sample_rate, channels=1, format="WAV", subtype="PCM_16") as file:
        if comment is not None:
            file.comment = comment
        file.write(sound.waveform)
    return stream.getvalue()


def _mid(sound: Sound, recipe: str) -> bytes:
    from explorer.sound import midi

    stream = io.BytesIO()
    midi.write_midi(sound.notes or (), stream, recipe)
    return stream.getvalue()


def printed(figure: "Figure", name: str, recipe: str) -> bytes:
    """A figure as png, svg or pdf, with a recipe (JSON) inside, from which `read_recipe` reads it."""
    from matplotlib import rc_context

    plain = json.dumps(json.loads(recipe))  # ASCII alone, so that neither XML nor PDF has to say how it is encoded
    metadata = {
        "png": {PNG_KEY: recipe, "Software": None},
        "svg": {"Description": plain, "Date": None, "Creator": None},
        "pdf": {"Subject": plain, "CreationDate": None, "Creator": None, "Producer": None},
    }[name]
    stream = io.BytesIO()
    with ONE_AT_A_TIME, rc_context({"svg.hashsalt": "recipe"}):  # or an SVG names its parts differently each time
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


def _read_wav(path: Path) -> str | None:
    """The comment; libsndfile itself reads none longer than 2,040 bytes."""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("no RIFF WAVE header")
    info = next((body[4:] for name, body in _chunks(data[12:]) if name == b"LIST" and body[:4] == b"INFO"), b"")
    comment = next((body for name, body in _chunks(info) if name == b"ICMT"), b"")
    return comment.rstrip(b"\0").decode("utf-8")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of RIFF chunks, each padded to an even length."""
    while len(data) >= 8:
        size = int.from_bytes(data[4:8], "little")
        yield data[:4], data[8 : 8 + size]
        data = data[8 + size + size % 2 :]


def _read_mid(path: Path) -> str | None:
    from explorer.sound import midi

    return midi.read_text(path)


def _read_png(path: Path) -> str | None:
    from PIL import Image

    with Image.open(path) as image:
        return image.info.get(PNG_KEY)


def _read_svg(path: Path) -> str | None:
    found = re.search("<dc:description>(.*?)</dc:description>", path.read_text(encoding="utf-8"), re.DOTALL)
    return html.unescape(found[1]) if found else None


def _read_pdf(path: Path) -> str | None:
    found = re.search(rb"/Subject \(((?:[^\\()]|\\.)*)\)", path.read_bytes(), re.DOTALL)
    return re.sub(rb"\\(.)", rb"\1", found[1]).decode("ascii") if found else None


def _read_npz(path: Path) -> str | None:
    with np.load(path) as arrays:
        return str(arrays["recipe"]) if "recipe" in arrays else None


def _read_json(path: Path) -> str | None:
    return path.read_text(encoding="utf-8")


FORMATS: Mapping[str, Format] = {
    "wav": Format(_wav, _read_wav),
    "mid": Format(_mid, _read_mid),
    "png": Format(_picture("png"), _read_png),
    "svg": Format(_picture("svg"), _read_svg),
    "pdf": Format(_picture("pdf"), _read_pdf),
    "npz": Format(_npz, _read_npz),
    "json": Format(_json, _read_json),
}

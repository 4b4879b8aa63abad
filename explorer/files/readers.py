"""Finds the recipe inside a file of any content.

Each reader takes an open file and yields the texts in it that may be a recipe. Files come from strangers, so a reader
looks only at the part where `formats` and `morphs` put the recipe, keeps to the limits below, and decodes neither sound
nor picture: time and memory are bounded, however large a file is or claims to be. Readers raise whatever their library
raises for a damaged file; `find_recipe` turns that into a RecipeError.
"""

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from explorer.recipe import RecipeError

MAX_RECIPE = 1 << 20  # bytes of a recipe as JSON; one with offsets along 512 raw dimensions has 15,000
MAX_READ = 4 << 20  # bytes read from a file in one call, and in most formats in all
MAX_GIF = 1 << 18  # bytes; Pillow joins comments in quadratic time
MAX_CHUNKS = 10_000  # of a WAV file
# Of what a PDF's streams hold: pypdf undoes their prediction in Python, byte by byte.
PDF_LIMITS: Mapping[str, Any] = {
    f"{what}_maximum_{length}length": MAX_RECIPE
    for what, length in (
        ("zlib", "output_"),
        ("zlib", "recovery_input_"),
        ("lzw", "output_"),
        ("run_length", "output_"),
        ("stream_decoding_work", ""),
    )
}
PNG_KEY = "recipe"
DESCRIPTION = "http://purl.org/dc/elements/1.1/ description"  # the element's name in expat: namespace, space, name

Reader = Callable[[BinaryIO], Iterator[str]]


class _SmallReads(io.BufferedReader):
    """Refuses to read more than MAX_READ bytes in one call: zipfile reads an archive's whole directory in one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise ValueError(f"more than {MAX_READ} bytes requested")
        return super().read(MAX_READ if size is None or size < 0 else size)


def find_recipe(path: Path) -> str:
    """The recipe inside a file, as JSON text of an object with a "model", not validated any further.

    Raises:
        RecipeError: naming the file, if it cannot be read, is not what its suffix says, or holds no recipe.
    """
    kind = path.suffix.removeprefix(".").lower()
    can_open = f"a recipe is found in files that this app saved: {', '.join(READERS)}"
    if kind not in READERS:
        raise RecipeError(f"{path.name}: files of this kind cannot be opened; {can_open}")
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait without end
            raise OSError("it is a folder, a pipe or a device")
        file = _SmallReads(io.FileIO(path))
    except FileNotFoundError:
        raise RecipeError(f"{path.name}: no such file") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path.name}: cannot be read, {getattr(error, 'strerror', None) or error}") from None
    with file:
        try:
            text = next(filter(_is_recipe, _first(READERS[kind](file))), None)
        except Exception:  # five libraries, each with its own errors for damaged files
            raise RecipeError(f"{path.name}: damaged, or not in the {kind.upper()} format; {can_open}") from None
    if text is None:
        raise RecipeError(f"{path.name}: holds no recipe; {can_open}")
    return text


def _first(texts: Iterator[str]) -> Iterator[str]:
    """The texts up to MAX_READ characters in all: JSON that is no recipe costs a hundred times what its bytes do."""
    read = 0
    for text in texts:
        read += len(text)
        if read > MAX_READ:
            return
        yield text


def _is_recipe(text: str) -> bool:
    """Whether a text is a JSON object with a "model", unlike comments of other programs."""
    if len(text) > MAX_RECIPE or not text.lstrip().startswith("{"):
        return False
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "model" in data


def _wav(file: BinaryIO) -> Iterator[str]:
    """Comments of RIFF INFO; libsndfile reads only comments of up to 2,040 bytes."""
    header = file.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        raise ValueError("no RIFF WAVE header")
    for name, size in _chunks(file):
        if name == b"LIST" and file.read(4) == b"INFO":
            info = io.BytesIO(file.read(min(max(size - 4, 0), MAX_READ)))
            for key, length in _chunks(info):
                if key == b"ICMT":
                    yield info.read(length).rstrip(b"\0").decode("utf-8", errors="replace")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and size of each RIFF chunk, with the file positioned at its content; chunks are padded to even size."""
    for _ in range(MAX_CHUNKS):
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        if len(name) < 4:
            return
        start = file.tell()
        yield name, size
        file.seek(start + size + size % 2)


def _mid(file: BinaryIO) -> Iterator[str]:
    from explorer.sound.midi import texts

    return texts(file.read(MAX_RECIPE))


def _png(file: BinaryIO) -> Iterator[str]:
    from PIL.PngImagePlugin import PngImageFile

    # Not Image.open: it also tries other formats, and refuses large pictures, which are not decoded here.
    with PngImageFile(io.BytesIO(file.read(MAX_READ))) as image:
        yield str(image.info.get(PNG_KEY, ""))


def _gif(file: BinaryIO) -> Iterator[str]:
    from PIL.GifImagePlugin import GifImageFile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about large pictures
        image = GifImageFile(io.BytesIO(file.read(MAX_GIF)))
    with image:
        yield image.info.get("comment", b"").decode("utf-8", errors="replace")


def _svg(file: BinaryIO) -> Iterator[str]:
    """Dublin Core descriptions. Refuses documents that declare entities, which may expand exponentially."""
    found: list[str] = []
    parts: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def refuse_declarations(name: str, system: str | None, public: str | None, has_internal_subset: bool) -> None:
        if has_internal_subset:
            raise ValueError("declarations inside the document")

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if name == DESCRIPTION:
            parts.clear()
            parser.CharacterDataHandler = parts.append

    def end(name: str) -> None:
        if name == DESCRIPTION:
            parser.CharacterDataHandler = None
            found.append("".join(parts))

    parser.StartDoctypeDeclHandler = refuse_declarations
    parser.StartElementHandler, parser.EndElementHandler = start, end
    for _ in range(4):  # few pieces: expat before 2.6 rescans a long token for each piece
        parser.Parse(file.read(MAX_READ // 4), False)
        yield from found
        found.clear()


def _pdf(file: BinaryIO) -> Iterator[str]:
    from pypdf import PdfReader, apply_configuration

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings about a file must not fill the terminal
    data = io.BytesIO(file.read(MAX_READ) + file.read(MAX_READ))  # a morph of 199 piano sounds has 4 MB
    with apply_configuration(**PDF_LIMITS):
        metadata = PdfReader(data, strict=True).metadata  # strict: otherwise it searches the whole of a damaged file
        subject = str(metadata.subject or "") if metadata else ""
    yield subject


def _npz(file: BinaryIO) -> Iterator[str]:
    import numpy as np
    from numpy.lib import format as npy

    with zipfile.ZipFile(file) as archive:
        if "recipe.npy" not in archive.namelist():
            return
        member = io.BytesIO(_member(archive, archive.getinfo("recipe.npy")))
    npy.read_magic(member)
    shape, _, dtype = npy.read_array_header_1_0(member)
    if shape == () and dtype.kind == "U" and 0 < dtype.itemsize <= 4 * MAX_RECIPE:
        yield str(np.frombuffer(member.read(dtype.itemsize), dtype)[0])


def _zip(file: BinaryIO) -> Iterator[str]:
    """The recipe of a morph's last step, the one that always holds both seeds; the last file of a kit's hits."""
    with zipfile.ZipFile(file) as archive:
        for last in archive.infolist()[-1:]:
            kind = Path(last.filename).suffix.removeprefix(".")
            if kind in ("wav", "mid", "json"):
                yield from READERS[kind](io.BytesIO(_member(archive, last)))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The first MAX_READ bytes of a file in an archive. Only deflate is decompressed no further than requested."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("an unknown kind of compression")
    with archive.open(info) as file:
        return file.read(MAX_READ)


def _json(file: BinaryIO) -> Iterator[str]:
    yield file.read(MAX_RECIPE + 1).decode("utf-8-sig")


READERS: Mapping[str, Reader] = {
    "wav": _wav,
    "mid": _mid,
    "png": _png,
    "svg": _svg,
    "pdf": _pdf,
    "npz": _npz,
    "json": _json,
    "gif": _gif,
    "zip": _zip,
}

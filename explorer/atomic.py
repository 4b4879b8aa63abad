"""Atomic writes: a file is complete or not there at all.

Each writer writes a partial file of its own beside the target and renames it to the target once it is complete. After
an error or on a full disk the old target stays; of two processes that write the same name, the last one wins.
"""

import filecmp
import itertools
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

NAME = re.compile(r"(.+?)((?:\.[A-Za-z]\w*)+)")  # of a file, without and with its suffixes
SUFFIX = ".partial"  # of files being written, and of those that a killed process leaves behind


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; it replaces `path` at the end and is deleted after an error.

    Makes the folder if there is none.

    Raises:
        OSError: if the folder cannot be made or written to, or the disk is full.
    """
    with _partial(path) as partial:
        yield partial
        _flush(partial)
        partial.replace(path)


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file


def add(made: Path, path: Path) -> Path:
    """Moves a finished file to `path` or, as long as there is a file of other content, to NAME-2, NAME-3, …

    Returns:
        Where it is now; an equal file that was there already stays.
    """
    split = NAME.fullmatch(path.name)
    stem, suffixes = split.groups() if split else (path.name, "")
    for number in itertools.count(2):
        if not path.exists():
            return made.rename(path)
        if path.is_file() and filecmp.cmp(made, path, shallow=False):
            made.unlink()
            return path
        path = path.with_name(f"{stem}-{number}{suffixes}")
    raise AssertionError("numbers do not end")


def add_bytes(path: Path, data: bytes) -> Path:
    """Writes bytes to a new file, atomically; returns its path as `add`. Raises OSError as `replacing`."""
    with _partial(path) as partial:
        partial.write_bytes(data)
        _flush(partial)
        return add(partial, path)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes bytes atomically. Raises OSError as `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically, in UTF-8. Raises OSError as `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file atomically. Raises OSError as `replacing`, also in place of safetensors' own error."""
    with replacing(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # as any new file has it; safetensors' own could be read by nobody else
        try:
            save_file(dict(tensors), partial, dict(metadata) if metadata is not None else None)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None
        partial.chmod(mode)

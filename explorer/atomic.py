"""Atomic writes: a file is complete or not there at all.

Each writer writes a partial file of its own beside the target and renames it to the target once it is complete. After
an error or on a full disk the old target stays; of two processes that write the same name, the last one wins.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

SUFFIX = ".partial"  # of files being written, and of those that a killed process leaves behind


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; it replaces `path` at the end and is deleted after an error.

    Makes the folder if there is none.

    Raises:
        OSError: if the folder cannot be made or written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
        try:
            save_file(dict(tensors), partial, dict(metadata) if metadata is not None else None)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None

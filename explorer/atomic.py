"""Files that are complete or not there at all.

Each writer works on a file of its own beside the target, which takes the target's place once it is whole. An error, a
full disk or a second process that writes the same name leaves what was there before.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

SUFFIX = ".partial"  # of the files being written; what a killed process leaves behind has it too


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which replaces `path` at the end; after an error it is deleted. Makes the folder.

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
    """Raises OSError as `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """In UTF-8. Raises OSError as `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file. Raises OSError as `replacing`, also where safetensors has an error type of its own."""
    with replacing(path) as partial:
        try:
            save_file(dict(tensors), partial, dict(metadata) if metadata is not None else None)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None

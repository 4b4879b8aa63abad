"""The cache of prepared data: safetensors files, named by a hash of everything that decides their content.

A file's metadata name what it holds (`kind`), the version of the code (`version`) and that hash (`key`). A cached file
with other metadata, or a damaged one, is prepared again; one that the user gave as `--data` is refused.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from explorer.atomic import replacing
from training.data.files import Content, File
from training.data.inventory import Inventory
from training.task import DataError

BLOCK = 1024  # rows copied at once

log = logging.getLogger(__name__)


def key_of(
    kind: str, version: Any, options: Any, contents: Mapping[File, Content], roles: Sequence[Any], inventory: Inventory
) -> str:
    """The hash of everything that decides a prepared set.

    That is: names and contents of the files used, their roles (label and split), options, version, and skipped files.
    """
    files = [(file.name.as_posix(), content.sha256) for file, content in contents.items()]
    said = [kind, version, options, files, roles, inventory.to_dict()]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def path_of(cache: Path, kind: str, key: str) -> Path:
    return cache / f"{kind}-{key[:16]}.safetensors"


def read(path: Path, kind: str, version: int, key: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors and `meta` of a prepared file. Tensors are memory-mapped: read from disk when they are used.

    Args:
        key: the hash that the file must have; None for any.
    Raises:
        DataError: if the file is damaged, or of another kind, version or key.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            meta = json.loads(about["meta"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = (about["kind"], about["version"], about["key"])
        if said[:2] != (kind, str(version)) or not isinstance(meta, dict):
            raise DataError(
                f"{path}: made by another version of this program, or no prepared {kind}; prepare the folder again"
            )
        if key is not None and said[2] != key:
            raise DataError(f"{path}: prepared from other files")
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a file of prepared {kind} ({_plain(error)})") from None
    return tensors, meta


def _plain(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__


def metadata(kind: str, version: int, key: str, meta: Mapping[str, Any]) -> dict[str, str]:
    return {"kind": kind, "version": str(version), "key": key, "meta": json.dumps(meta)}


class RowStore:
    """Stores rows of equal length on disk, as float16, until their final order is known.

    The file has no name, so that nothing is left behind however the process ends.

    Raises:
        DataError: from every method, if the disk is full or the folder cannot be written to.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self.length, self.rows, self.folder = length, 0, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as error:
            raise write_error(self.folder, error) from None

    def __enter__(self) -> "RowStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def append(self, row: np.ndarray) -> None:
        """Adds a row (length,) at the end."""
        assert row.shape == (self.length,)
        try:
            self.file.write(row.astype(np.float16).tobytes())
        except OSError as error:
            raise write_error(self.folder, error) from None
        self.rows += 1

    def truncate(self, rows: int) -> None:
        """Removes all but the first `rows` rows."""
        self.file.seek(rows * self.length * 2)
        self.file.truncate()
        self.rows = rows

    def write(
        self,
        path: Path,
        orders: Mapping[str, Sequence[int]],
        others: Mapping[str, Tensor],
        about: Mapping[str, str],
    ) -> None:
        """Writes the rows as a safetensors file without holding them in memory.

        Args:
            orders: by name of a tensor, the indices of the rows that it consists of.
            others: int64 tensors to write beside them.
            about: the metadata.
        """
        assert all(tensor.dtype == torch.long for tensor in others.values())
        size = 2 * self.length
        header: dict[str, Any] = {"__metadata__": dict(about)}
        at = 0
        for (
            name,
            tensor,
        ) in others.items():  # the widest numbers first, so that each tensor is aligned to the size of its numbers
            end = at + 8 * tensor.numel()
            header[name] = {"dtype": "I64", "shape": list(tensor.shape), "data_offsets": [at, end]}
            at = end
        for name, order in orders.items():
            end = at + size * len(order)
            header[name] = {"dtype": "F16", "shape": [len(order), self.length], "data_offsets": [at, end]}
            at = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        try:
            self.file.flush()
            with replacing(path) as partial, partial.open("wb") as out:
                out.write(len(text).to_bytes(8, "little") + text)
                for tensor in others.values():
                    out.write(tensor.numpy().astype("<i8").tobytes())
                for order in orders.values():
                    if order:
                        rows = np.memmap(self.file, np.float16, "r", shape=(self.rows, self.length))
                        for k in range(0, len(order), BLOCK):
                            out.write(rows[order[k : k + BLOCK]].tobytes())
                        del rows
        except OSError as error:
            raise write_error(self.folder, error) from None


def write_error(folder: Path, error: OSError) -> DataError:
    """What to say if prepared data cannot be written to a folder."""
    return DataError(
        f"prepared data cannot be written to {folder} ({error.strerror or error}): make room there, or choose another "
        "--cache"
    )


def found(path: Path, kind: str, version: int, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Reads a cached file; None if there is none, or (with a warning) if it must be prepared again."""
    if not os.path.lexists(path):
        return None
    try:
        return read(path, kind, version, key)
    except DataError as error:
        log.warning("%s; preparing it again", error)
        return None

"""Folders of MIDI as tables of notes: MAESTRO as its authors ship it (any version), or any folder of .mid and .midi.

The notes of all pieces of a split lie end to end; windows of 256 are cut when a batch is drawn.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from explorer.sound.notes import NOTES, NoteTable, canonical
from training.task import DataError, Prepared

VERSION = 1  # of the cache: counted up when the tables change
SUFFIXES = (".mid", ".midi")
VALIDATION_SHARE = 10  # one file in ten, where no csv says which
NAMED_SKIPS = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A file and the split it belongs to."""

    path: Path
    split: str


def find_pieces(folder: Path) -> list[Piece]:
    """The MIDI files of a folder, each with its split: "train" or "valid".

    A `maestro-*.csv` decides where there is one (its test rows are left out); else a tenth of the files, chosen by the
    hash of their relative path, is for validation.

    Raises:
        DataError: if the folder does not exist or holds no MIDI, or its csv is none of MAESTRO's.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    tables = sorted(folder.glob("maestro-*.csv"))
    pieces = list(_maestro(folder, tables[-1])) if tables else list(_plain(folder))
    if not pieces:
        raise DataError(f"{folder}: no {' or '.join(SUFFIXES)} file in it")
    return pieces


def _maestro(folder: Path, table: Path) -> Iterator[Piece]:
    splits = {"train": "train", "validation": "valid"}
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if missing := sorted({"split", "midi_filename"} - set(rows.fieldnames or ())):
            raise DataError(f"{table}: no column {' or '.join(missing)}")
        for row in rows:
            if row["split"] in splits:
                yield Piece(folder / row["midi_filename"], splits[row["split"]])


def _plain(folder: Path) -> Iterator[Piece]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            digest = hashlib.sha256(path.relative_to(folder).as_posix().encode()).digest()
            yield Piece(path, "valid" if digest[0] % VALIDATION_SHARE == 0 else "train")


def read_notes(path: Path) -> NoteTable:
    """The notes of a MIDI file, drums left out.

    Raises:
        DataError: if the file cannot be parsed or holds fewer than 256 notes.
    """
    from symusic import Score

    try:
        score: Any = Score(path, ttype="second")
        tracks = [track.notes.numpy() for track in score.tracks if not track.is_drum]
    except Exception as error:  # the parser's C++ exceptions arrive as many types
        raise DataError(f"{path}: not readable as MIDI ({str(error).strip() or type(error).__name__})") from None
    columns = [
        np.concatenate([t[name] for t in tracks]) if tracks else np.zeros(0)
        for name in ("pitch", "time", "duration", "velocity")
    ]
    # A float32 second is exact to 0.1 ms in a long piece; differences are taken in float64.
    table = canonical(*(column.astype(np.float64) for column in columns))
    if len(table.pitch) < NOTES:
        raise DataError(f"{path}: {len(table.pitch)} piano notes, {NOTES} are needed")
    return table


def prepare(folder: Path, cache: Path) -> Prepared:
    """Reads a folder, or its cache in `cache` if the same files were read before.

    `folder` may also name such a cache file itself: for machines that have no MIDI library, or no MIDI.

    Returns:
        Tables of notes by split, one row a note: `pitch` and `velocity` uint8, `step` and `duration` float32 seconds,
        `start` int64, the first note of the window of 256 that an index draws (spread evenly over its piece).
    Raises:
        DataError: if no file can be used.
    """
    if folder.suffix == ".safetensors":
        return _load(folder)
    pieces = find_pieces(folder)
    path = cache / f"notes-{_key(folder, pieces)}.safetensors"
    if path.exists():
        try:
            return _load(path)
        except DataError as error:
            log.warning("%s; preparing it again", error)
    prepared = _read(folder, pieces)
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    tensors = {
        f"{split}.{name}": tensor
        for split, part in (("train", prepared.train), ("valid", prepared.valid))
        for name, tensor in part.items()
    }
    save_file(tensors, partial, {"meta": json.dumps(prepared.meta)})
    partial.replace(path)
    return prepared


def _key(folder: Path, pieces: list[Piece]) -> str:
    digest = hashlib.sha256(f"{VERSION}".encode())
    for piece in pieces:
        size = piece.path.stat().st_size if piece.path.exists() else -1
        digest.update(f"{piece.path.relative_to(folder).as_posix()}\0{size}\0{piece.split}\n".encode())
    return digest.hexdigest()[:16]


def _load(path: Path) -> Prepared:
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["meta"])
            parts: dict[str, dict[str, Tensor]] = {"train": {}, "valid": {}}
            for key in file.keys():  # noqa: SIM118
                split, _, name = key.partition(".")
                parts[split][name] = file.get_tensor(key)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a cache of prepared notes ({error})") from None
    return Prepared(parts["train"], parts["valid"], meta)


def _read(folder: Path, pieces: list[Piece]) -> Prepared:
    tables: dict[str, list[NoteTable]] = {"train": [], "valid": []}
    skipped: list[str] = []
    for piece in pieces:
        try:
            tables[piece.split].append(read_notes(piece.path))
        except DataError as error:
            skipped.append(str(error).replace(f"{folder}/", "", 1))
    if not any(tables.values()):
        raise DataError(f"{folder}: none of its {len(pieces)} files can be used; the first: {skipped[0]}")
    if not tables["train"]:  # a folder of a few files, all of which fell to validation
        tables["train"] = tables["valid"]
    if not tables["valid"]:
        tables["valid"] = tables["train"][-1:]
    meta = {
        "source": folder.name,
        "files": {split: len(part) for split, part in tables.items()},
        "notes": {split: sum(len(t.pitch) for t in part) for split, part in tables.items()},
        "skipped_files": len(skipped),
        "skipped": skipped[:NAMED_SKIPS],
    }
    return Prepared(_join(tables["train"]), _join(tables["valid"]), meta)


def _join(tables: list[NoteTable]) -> dict[str, Tensor]:
    def column(name: str, kind: type) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(t, name) for t in tables]).astype(kind))

    starts, begin = [], 0
    for table in tables:
        n = len(table.pitch)
        starts.append(begin + np.arange(n) * (n - NOTES + 1) // n)
        begin += n
    return {
        "start": torch.from_numpy(np.concatenate(starts)),
        "pitch": column("pitch", np.uint8),
        "step": column("step", np.float32),
        "duration": column("duration", np.float32),
        "velocity": column("velocity", np.uint8),
    }


def windows(tensors: dict[str, Tensor], count: int) -> Tensor:
    """`count` windows spread evenly over a split: (count, 256, 4) float64 of pitch, step, duration, velocity."""
    rows = torch.linspace(0, len(tensors["start"]) - 1, count).long()
    at = tensors["start"][rows][:, None] + torch.arange(NOTES)
    return torch.stack([tensors[name][at].double() for name in ("pitch", "step", "duration", "velocity")], dim=-1)

"""Prepares folders of MIDI files as tables of notes: MAESTRO (any version), or any other folder.

The notes of all pieces of a split are stored one after another; windows of 256 are cut when a batch is drawn.
"""

import csv
import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from explorer.atomic import write_tensors
from explorer.sound.notes import CHORD_SECONDS, KEYS, LOWEST, NOTES, NoteTable, canonical
from training.data import cache as prepared_files
from training.data.files import MIDI, Content, File, explain, find, opened, read_contents
from training.data.inventory import Inventory, Unusable
from training.data.labels import Assignment, Split, repair, splits_by_folder
from training.task import DataError, Prepared

KIND = "notes"
VERSION = 3  # of the prepared files: raise it when the same MIDI would give other tables
VALIDATION_SHARE = 10  # one in so many files, if neither a table nor folders give the split
MAX_BYTES = 32_000_000  # of a file; the longest pieces have less than a hundredth
MAX_NOTES_PER_SECOND = 500  # over a whole piece; no pianist plays a tenth of it
COLUMNS = {
    "start": torch.int64,
    "pitch": torch.uint8,
    "step": torch.float32,
    "duration": torch.float32,
    "velocity": torch.uint8,
    "touch": torch.float32,
    "sounding": torch.float32,
}


def find_pieces(folder: Path, inventory: Inventory) -> dict[File, Assignment]:
    """Finds the MIDI files of a folder for training and validation, with their splits; all others are counted.

    A `maestro-*.csv` decides split and order if there is one. Otherwise top folders named after splits decide (see
    `training.data.labels`). Otherwise a tenth of the files, chosen by a hash of their path in the folder, is for
    validation.

    Raises:
        DataError: if the folder does not exist or has no usable MIDI file, or its csv does not have MAESTRO's columns.
    """
    files = find(folder, MIDI, inventory)
    tables = sorted(folder.glob("maestro-*.csv"))
    splits = _maestro(files, tables[-1], inventory) if tables else _plain(files)
    pieces = {}
    for file, split in splits.items():
        if split == "test":
            inventory.use("test")
        else:
            pieces[file] = Assignment(None, split, file.name.as_posix())
    if not pieces:
        raise _nothing(folder, inventory)
    return pieces


def _maestro(files: list[File], table: Path, inventory: Inventory) -> dict[File, Split]:
    known: Mapping[str, Split] = {"train": "train", "validation": "valid", "test": "test"}
    by_name = {file.name: file for file in files}
    splits: dict[File, Split] = {}
    missing = 0
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if lacking := sorted({"split", "midi_filename"} - set(rows.fieldnames or ())):
                raise DataError(f"{table}: no column {' or '.join(lacking)}")
            for row in rows:
                split = known.get(row["split"] or "")
                file = by_name.get(PurePosixPath(row["midi_filename"] or ""))
                if split and file:
                    splits[file] = split
                elif split in ("train", "valid"):
                    missing += 1
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{table}: not readable as a table ({error})") from None
    for file in files:
        if file not in splits:
            inventory.skip(file.name, f"not in {table.name}")
    if missing:
        inventory.note(f"{missing:,} pieces of {table.name} for training or validation cannot be found here")
    return splits


def _plain(files: list[File]) -> dict[File, Split]:
    by_folder = splits_by_folder([file.name for file in files])
    return {file: by_folder[file.name] if by_folder else _by_hash(file.name) for file in files}


def _by_hash(name: PurePosixPath) -> Split:
    digest = hashlib.sha256(os.fsencode(name.as_posix())).digest()
    return "valid" if digest[0] % VALIDATION_SHARE == 0 else "train"


def read_notes(path: Path, content: Content | None = None) -> tuple[NoteTable, bool]:
    """Reads the notes of a MIDI file without drums; also returns whether damaged values were corrected.

    Values above 127 are the most common damage; if a file cannot be read because of them, they are read as 127.

    Raises:
        Unusable: if the file cannot be read, its times mean nothing, or it holds fewer than 256 notes.
    """
    data = _bytes(path, content)
    score, mended = _parse(data)
    if not score.ticks_per_quarter:
        raise Unusable("no ticks in a quarter note, so its notes have no times")
    if any(tempo.mspq <= 0 for tempo in score.tempos):
        raise Unusable("a tempo of zero, so its notes have no times")
    tracks = [_with_pedal(track) for track in score.tracks if not track.is_drum]
    columns = [
        np.concatenate([t[name] for t in tracks]) if tracks else np.zeros(0)
        for name in ("pitch", "time", "duration", "velocity", "sounding")
    ]
    if not all(np.isfinite(column).all() and (column >= 0).all() for column in columns):
        raise Unusable("notes at impossible times")
    if not len(columns[0]) and any(len(track.notes) for track in score.tracks):
        raise Unusable("nothing but drums")
    times = columns[1]
    if len(times) >= NOTES and len(times) > MAX_NOTES_PER_SECOND * (times.max() - times.min()):
        # The tempo is so close to zero that all notes fall together.
        raise Unusable(f"more than {MAX_NOTES_PER_SECOND} notes a second")
    # In a long piece float32 seconds are exact to 0.1 ms only, so differences are taken in float64.
    table = canonical(*(column.astype(np.float64) for column in columns))
    if len(table.pitch) < NOTES:
        raise Unusable(f"fewer than {NOTES} piano notes")
    return table, mended


def _with_pedal(track: Any) -> dict[str, np.ndarray]:
    """The notes of a track as columns, with `sounding`: seconds until the key and the sustain pedal are both up."""
    notes, pedals = track.notes.numpy(), track.pedals.numpy()
    end = notes["time"].astype(np.float64) + notes["duration"]
    down, up = pedals["time"].astype(np.float64), pedals["time"].astype(np.float64) + pedals["duration"]
    order = np.argsort(down)
    down, up = down[order], np.maximum.accumulate(up[order]) if len(up) else up
    last = np.searchsorted(down, end, side="right") - 1  # the last press of the pedal before the key is released
    caught = np.where(last >= 0, up[last], 0.0) if len(up) else np.zeros(len(end))
    return {**notes, "sounding": np.maximum(end, caught) - notes["time"]}


def _bytes(path: Path, content: Content | None) -> bytes:
    """Reads a file, without the RIFF header that .rmi files have."""
    try:
        with opened(path, content) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unusable(explain(error)) from None
    if len(data) > MAX_BYTES:
        raise Unusable(f"larger than {MAX_BYTES // 1_000_000} MB")
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        at = 12
        while at + 8 <= len(data):
            name, size = struct.unpack_from("<4sI", data, at)
            if name == b"data":
                return data[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
    return data


def _parse(data: bytes) -> tuple[Any, bool]:
    from symusic import Score

    for mend in (False, True):
        try:
            return Score.from_midi(data, ttype="second", sanitize_data=mend), mend
        except Exception as error:  # the parser's C++ exceptions arrive as many types
            if "Division type" in str(error):
                raise Unusable("times in SMPTE frames, not in beats") from None
    raise Unusable("damaged, or not a MIDI file")


def prepare(folder: Path, cache: Path) -> Prepared:
    """Prepares a folder of MIDI files, or reads it from the cache if files of the same contents were prepared before.

    `folder` may also be a prepared file itself, for machines without a MIDI library.

    Returns:
        Tables of notes by split, one row per note, with the columns of `NoteTable`: `pitch` and `velocity` uint8, the
        others float32 seconds; and `start` int64. `start[i]` is the first note of the window of 256 notes that index i
        draws; starts are spread evenly over each piece.
        `meta["inventory"]` is for `inventory.table`.
    Raises:
        DataError: if no file can be used, or `folder` is a file without such tables.
    """
    if folder.suffix == ".safetensors" and not folder.is_dir():
        return _prepared(folder, *prepared_files.read(folder, KIND, VERSION))
    inventory = Inventory("notes")
    pieces = find_pieces(folder, inventory)
    contents = read_contents(pieces, inventory)
    if not contents:
        raise _nothing(folder, inventory)
    roles = [pieces[file].split for file in contents]
    key = prepared_files.key_of(KIND, VERSION, None, contents, roles, inventory)
    path = prepared_files.path_of(cache, KIND, key)
    if cached := prepared_files.found(path, KIND, VERSION, key):
        try:
            return _prepared(path, *cached, folder.name)
        except DataError as error:
            prepared_files.log.warning("%s; preparing it again", error)
    tensors, meta = _read(folder, contents, pieces, inventory)
    try:
        write_tensors(path, tensors, prepared_files.metadata(KIND, VERSION, key, meta))
    except OSError as error:
        raise prepared_files.write_error(cache, error) from None
    return _prepared(path, *prepared_files.read(path, KIND, VERSION, key), folder.name)


def _nothing(folder: Path, inventory: Inventory) -> DataError:
    total = inventory.to_dict()["found"]
    if not total:
        return DataError(f"{folder}: no MIDI file in it; files may be {', '.join(sorted(MIDI))}")
    return DataError(f"{folder}: none of its {total} files can be used: {inventory.why_unusable()}")


def _prepared(
    path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], source: str | None = None
) -> Prepared:
    """Checks the tensors of a prepared file. Raises DataError if they are not tables as `prepare` returns them."""
    parts = {s: {name: tensors.get(f"{s}.{name}") for name in COLUMNS} for s in ("train", "valid")}
    checked: dict[str, dict[str, Tensor]] = {}
    for split, part in parts.items():
        columns = {name: tensor for name, tensor in part.items() if tensor is not None}
        if len(columns) < len(COLUMNS) or not _right(columns):
            raise DataError(f"{path}: not a file of prepared notes: its {split} tables are damaged or of another kind")
        checked[split] = columns
    return Prepared(checked["train"], checked["valid"], {**meta, "source": source or meta.get("source", path.stem)})


def _right(columns: Mapping[str, Tensor]) -> bool:
    count = len(columns["pitch"]) if columns["pitch"].ndim else 0
    if count < NOTES or any(t.dtype != COLUMNS[name] or t.shape != (count,) for name, t in columns.items()):
        return False
    ranges = {
        "start": (0, count - NOTES),
        "pitch": (LOWEST, LOWEST + KEYS - 1),
        "step": (0, float(np.finfo(np.float32).max)),
        "duration": (0, float(np.finfo(np.float32).max)),
        "velocity": (1, 127),
        "touch": (0, CHORD_SECONDS + 1e-6),
        "sounding": (0, float(np.finfo(np.float32).max)),
    }
    # NaN is in no range.
    return all(
        low <= columns[name].min().item() <= columns[name].max().item() <= high for name, (low, high) in ranges.items()
    )


def _read(
    folder: Path, contents: Mapping[File, Content], pieces: Mapping[File, Assignment], inventory: Inventory
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads every piece; returns tensors by "split.column", and `meta`."""
    usable: dict[File, NoteTable] = {}
    repaired_values = 0
    for file, content in tqdm(contents.items(), desc=f"reading {folder.name}", unit="file", leave=False):
        try:
            usable[file], mended = read_notes(file.path, content)
            repaired_values += mended
        except Unusable as error:
            inventory.skip(file.name, str(error))
    if not usable:
        raise _nothing(folder, inventory)
    if repaired_values:
        inventory.note(f"{repaired_values} files had values above 127, which were read as 127")
    before = [pieces[file] for file in usable]
    after = repair(before)
    if before != after:
        inventory.note("one piece moved from validation to training, because training had none")
    tables: dict[str, list[NoteTable]] = {"train": [], "valid": []}
    for table, role in zip(usable.values(), after, strict=True):
        tables[role.split].append(table)
        inventory.use(role.split, len(table.pitch))
    files = {split: len(part) for split, part in tables.items()}
    if not tables["valid"]:
        tables["valid"] = tables["train"][-1:]
        inventory.note("no piece is left for validation: the last training piece is used for it too")
    meta = {
        "source": folder.name,
        "files": files,
        "notes": {split: sum(len(t.pitch) for t in part) for split, part in tables.items()},
        "skipped_files": sum(map(len, inventory.skipped.values())),
        "skipped": inventory.named(),
        "inventory": inventory.to_dict(),
    }
    joined = {f"{split}.{name}": t for split, part in tables.items() for name, t in _join(part).items()}
    return joined, meta


def _join(tables: list[NoteTable]) -> dict[str, Tensor]:
    starts, begin = [], 0
    for table in tables:
        n = len(table.pitch)
        starts.append(begin + np.arange(n) * (n - NOTES + 1) // n)
        begin += n
    columns = {"start": starts, **{f.name: [getattr(table, f.name) for table in tables] for f in fields(NoteTable)}}
    return {name: torch.from_numpy(np.concatenate(columns[name])).to(kind) for name, kind in COLUMNS.items()}


def windows(
    tensors: Mapping[str, Tensor], count: int, columns: Sequence[str] = ("pitch", "step", "duration", "velocity")
) -> Tensor:
    """Takes windows spread evenly over a split: (count, 256, columns) float64, of columns of `NoteTable`."""
    at = tensors["start"][_evenly(tensors, count)][:, None] + torch.arange(NOTES)
    return torch.stack([tensors[name][at].double() for name in columns], dim=-1)


def pieces(tensors: Mapping[str, Tensor], count: int) -> Tensor:
    """The number of the piece that each of as many `windows` is of: (count,), from 0."""
    jumps = tensors["start"].diff(prepend=tensors["start"][:1]) > 1  # from the last window of a piece to the next piece
    return jumps.cumsum(0)[_evenly(tensors, count)]


def _evenly(tensors: Mapping[str, Tensor], count: int) -> Tensor:
    return torch.linspace(0, len(tensors["start"]) - 1, count).long()

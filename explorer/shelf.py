"""What is in a folder of checkpoints.

`NAME.safetensors` is a checkpoint, or a part such as a vocoder, or a judge. `snapshots/NAME` holds how NAME came to be:
`STEP.safetensors`, the weights at that step of its training, without directions and parts, and `metrics.jsonl`, the
figures of the run. A snapshot is called NAME@STEP.
"""

import hashlib
import json
import re
from functools import lru_cache
from os.path import isfile  # unlike Path.is_file it takes a name of any length
from pathlib import Path
from typing import Any

from explorer import checkpoint
from explorer.checkpoint import Card, CheckpointError, config_from_dict
from explorer.sound.base import Representation

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "checkpoints"  # where a wheel puts them
DEFAULT_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "checkpoints"
SNAPSHOTS, METRICS = "snapshots", "metrics.jsonl"
STEP = re.compile("0|[1-9][0-9]{0,8}")  # in the name of a snapshot
FOREIGN = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".h5", ".onnx")  # weights in formats that are not read


def find(folder: Path) -> dict[str, Path]:
    """Every checkpoint of a generator in a folder, by name; a file that cannot be read counts as one, so that choosing
    it says what is wrong."""
    found = {}
    for path in _files(folder):
        try:
            generates = "family" in checkpoint.read_metadata(path)
        except CheckpointError:
            generates = True
        if generates:
            found[path.stem] = path
    return found


def nothing_found(folder: Path) -> str:
    """Why there is nothing to play in a folder, in one sentence that does not name it."""
    foreign = sorted({path.suffix for path in folder.glob("*") if path.suffix in FOREIGN})
    if foreign:
        kinds = " and ".join(foreign)
        return (
            f"there is no checkpoint here: only .safetensors files of this project's format are read, not {kinds}; "
            "`python -m training export` writes one from a run"
        )
    return "there is no checkpoint here: none of the files is called NAME.safetensors"


def locate(folder: Path, name: str) -> Path | None:
    """Where the checkpoint NAME of a folder lies, or its snapshot NAME@STEP; None if it has none of this name."""
    path = folder / f"{name}.safetensors"
    if path.parent == folder and isfile(path):  # a name from a link must not lead out of the folder
        return path
    model, at, step = name.rpartition("@")
    if not at or not STEP.fullmatch(step) or not (final := locate(folder, model)) or final.parent != folder:
        return None
    path = folder / SNAPSHOTS / model / f"{step}.safetensors"
    return path if isfile(path) else None


def snapshots(folder: Path, name: str) -> list[int]:
    """The steps of training at which the weights of a checkpoint were kept beside it, ascending; the last, which are
    the checkpoint's own, are not among them."""
    if locate(folder, name) is None:
        return []
    return sorted(
        int(path.stem) for path in (folder / SNAPSHOTS / name).glob("*.safetensors") if STEP.fullmatch(path.stem)
    )


def read_card(path: Path) -> Card:
    """What a checkpoint is, without building its weights. Raises CheckpointError as `checkpoint.load` does."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        raise CheckpointError(f"{path.name}: no such checkpoint") from None
    return _read_card(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _read_card(path: Path, _mtime: int, _size: int) -> Card:
    """Keyed by time and size too: a checkpoint that was replaced is read anew."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read: {error.strerror}") from None
    return checkpoint.read_card(path, digest.hexdigest())


def find_parts(folder: Path, representation: Representation) -> dict[str, Any]:
    """The parts in a folder that fit a representation, such as a vocoder of its spectrograms, by name: of each the
    first by the name of its file, which may be a checkpoint that carries it."""
    found: dict[str, Any] = {}
    for path in _files(folder):
        try:
            metadata = checkpoint.read_metadata(path)
            for name, kind in representation.part_types.items():
                if name not in found and name in metadata:
                    config = config_from_dict(kind.Config, json.loads(metadata[name]))
                    if representation.fits(name, config):
                        found[name] = checkpoint.load_part(path, name, kind)
        except (CheckpointError, ValueError, TypeError, RecursionError):
            continue  # what is wrong with a file is said where it is played
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("."))

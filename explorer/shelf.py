"""Finds the checkpoints, snapshots and parts in a folder.

`NAME.safetensors` is a checkpoint, or a part such as a vocoder, or a judge. `snapshots/NAME` holds the history of NAME:
`STEP.safetensors`, the weights at that step of its training, without directions and parts, `metrics.jsonl`, the
metrics of the run, and `figures.json`, what `python -m training evaluate --snapshots` measured of each. A snapshot is
called NAME@STEP. `lessons/NAME.safetensors` is a checkpoint that only a lesson plays: found by name, but not listed.
"""

import difflib
import hashlib
import json
import re
from functools import lru_cache
from os.path import isfile  # unlike Path.is_file it takes a name of any length
from pathlib import Path
from typing import Any

from explorer import checkpoint
from explorer.checkpoint import Card, CheckpointError, config_from_dict
from explorer.sound import level
from explorer.sound.base import Representation
from explorer.sound.level import Level

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "checkpoints"  # where the wheel installs them
DEFAULT_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "checkpoints"
# Where new checkpoints go: not into the package that pip installed.
OWN_FOLDER = Path("checkpoints") if DEFAULT_FOLDER == _INSTALLED else DEFAULT_FOLDER
MAX_NAME = 255  # characters of a checkpoint's name
MAX_CARD = 1 << 20  # characters of a card that are read
SNAPSHOTS, METRICS, FIGURES = "snapshots", "metrics.jsonl", "figures.json"
LESSONS = "lessons"
STEP = re.compile("0|[1-9][0-9]{0,8}")  # in the name of a snapshot
FOREIGN = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".h5", ".onnx")  # other formats of weights, which are not read


def find_checkpoints(folder: Path) -> dict[str, Path]:
    """The path of every checkpoint of a generator in a folder, by name. Unreadable files count too, so that opening
    one shows what is wrong with it."""
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
    """A sentence on why a folder has no checkpoints, for visitors, without the folder's name."""
    foreign = sorted({path.suffix for path in folder.glob("*") if path.suffix in FOREIGN})
    if foreign:
        kinds = " and ".join(foreign)
        return (
            f"there is no checkpoint here: only .safetensors files of this project's format are read, not {kinds}; "
            "`python -m training export` writes one from a run"
        )
    return "there is no checkpoint here: none of the files is called NAME.safetensors"


def locate(folder: Path, name: str) -> Path | None:
    """The path of the checkpoint NAME, the snapshot NAME@STEP, or the lessons' checkpoint NAME in a folder; None if
    there is no such file."""
    if len(name) > MAX_NAME:
        return None
    for inside in (folder, folder / LESSONS):
        path = inside / f"{name}.safetensors"
        if path.parent == inside and isfile(path):  # a name from a link must not lead out of the folder
            return path
    model, at, step = name.rpartition("@")
    final = folder / f"{model}.safetensors"
    if not at or not STEP.fullmatch(step) or final.parent != folder or not isfile(final):
        return None
    path = folder / SNAPSHOTS / model / f"{step}.safetensors"
    return path if isfile(path) else None


def no_checkpoint(name: str, *folders: Path) -> str:
    """A sentence on a checkpoint that is in none of some folders: what was meant, perhaps, and what there is."""
    names = list(dict.fromkeys(name for folder in folders for name in sorted(find_checkpoints(folder))))
    close = difflib.get_close_matches(name[:MAX_NAME], names, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    there = f"there are: {', '.join(names)}" if names else nothing_found(folders[0])
    return f"no checkpoint {name!r:.100}; {meant}{there}"


def resolve(text: str, *folders: Path) -> Path:
    """The path of a checkpoint or a part that is given by its file, or by its name in the first folder that has it.

    Raises:
        CheckpointError: if it is neither; the message says what there is.
    """
    for folder in folders:
        if (path := locate(folder, text)) is not None:
            return path
    if isfile(text):
        return Path(text)
    if Path(text).name != text or text.endswith(".safetensors"):
        raise CheckpointError(f"{Path(text).name}: no such checkpoint")
    raise CheckpointError(no_checkpoint(text, *folders))


def snapshots(folder: Path, name: str) -> list[int]:
    """The training steps of a checkpoint's snapshots, ascending; the final weights, the checkpoint itself, are not
    among them."""
    if locate(folder, name) is None:
        return []
    return sorted(
        int(path.stem) for path in (folder / SNAPSHOTS / name).glob("*.safetensors") if STEP.fullmatch(path.stem)
    )


def card_path(path: Path) -> Path:
    """The path of the model card beside a checkpoint."""
    return path.with_suffix(".md")


def card_text(path: Path) -> str:
    """The text of the model card beside a checkpoint, its first MAX_CARD characters; "" if there is none."""
    try:
        with card_path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_CARD)
    except OSError:
        return ""


def read_level(path: Path) -> Level | None:
    """The level that the card beside a checkpoint states; None if it states none."""
    return level.find(card_text(path))


def read_card(path: Path) -> Card:
    """Reads the card of a checkpoint without loading its weights. Raises CheckpointError as `checkpoint.load`."""
    checkpoint.require_file(path)
    stat = path.stat()
    return _read_card(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _read_card(path: Path, _mtime: int, _size: int) -> Card:
    """Time and size are part of the cache's key, so that a replaced checkpoint is read anew."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read: {error.strerror}") from None
    return checkpoint.read_card(path, digest.hexdigest())


def find_parts(folder: Path, representation: Representation) -> dict[str, Any]:
    """The parts in a folder that fit a representation, such as a vocoder for its spectrograms, by name.

    A part may be a file of its own or inside a checkpoint; of several, the first by file name is taken.
    """
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
            continue  # opening the file says what is wrong with it
    return found


def _files(folder: Path) -> list[Path]:
    """The checkpoints of a folder by name, which is not the order of their files: "a" is before "a-b"."""
    found = (path for path in folder.glob("*.safetensors") if not path.name.startswith("."))
    return sorted(found, key=lambda path: path.stem)

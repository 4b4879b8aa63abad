"""Decides the label and the split of each recording from its path.

A recording's label is the name of the sub-folder it is in; sub-folders win over file names. The layouts of three data
sets are known, each only if the whole folder has it:

- Free Spoken Digit Dataset: every recording is `DIGIT_SPEAKER_TAKE` and they lie in one folder (itself, or
  `recordings`). Takes 5-9 are for validation and 0-4 are the test set, if that leaves more than half of every digit to
  train on; if not, the last number is taken to mean something else, and the split is by a hash of the speaker.
- SC09: every recording is named like `Eight_004ae714_nohash_0`, in a folder `train`, `valid` or `test`, or in none.
- Speech Commands: sub-folders of files named like `004ae714_nohash_0`; `validation_list.txt` and `testing_list.txt`
  decide the split if they exist.

Otherwise the top folders decide the split if all of them are named after splits (train, training; valid, validation,
val, dev; test, testing) and one is for training; the folders below them decide the label. Otherwise a tenth is for
validation, chosen by a hash of the speaker if the file name has one, or of the file name: the same on every machine,
whatever else is in the folder. Digit words become digits ("eight" is "8").
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from training.task import DataError

Split = Literal["train", "valid", "test"]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LISTS: Mapping[str, Split] = {"validation_list.txt": "valid", "testing_list.txt": "test"}
SPLIT_FOLDERS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
NOISE = "_background_noise_"
FSDD = re.compile(r"(\d)_([^_]+)_(0|[1-9]\d*)", re.ASCII)
SC09 = re.compile(r"([A-Za-z]+)_([0-9a-f]{8})_nohash_\d+", re.ASCII)
SPEECH_COMMANDS = re.compile(r"([0-9a-f]{8})_nohash_\d+", re.ASCII)
VALIDATION_SHARE = 10  # one in so many groups is for validation

LabelOf = Callable[[PurePosixPath], str | None]
K = TypeVar("K")


@dataclass(frozen=True)
class Assignment:
    """The label of a recording (None if unlabelled), its split, and its group.

    All recordings of a group, such as a speaker, are in the same split. The source is what makes the sound, e.g. an
    instrument, where that matters. The voice is the speaker, where the file name tells it.
    """

    label: str | None
    split: Split
    group: str
    source: str = ""
    voice: str = ""


def assign(
    names: Sequence[PurePosixPath],
    lists: Mapping[str, Split] | None = None,
    label_of: LabelOf | None = None,
    folder_label: Callable[[str], str | None] | None = None,
) -> dict[PurePosixPath, Assignment | str]:
    """Decides each recording's label and split; for those that cannot be used, gives the reason instead.

    Args:
        names: paths inside the folder.
        lists: what `read_lists` found.
        label_of: reads a label from a file name, used if there are no sub-folders (drum kits, notes with their pitch
            in the name); it returns None if the name holds no label.
        folder_label: the label that a sub-folder's name stands for; by default `label_name`.
    """
    known = [name for name in names if NOISE not in name.parts]
    result: dict[PurePosixPath, Assignment | str] = {
        name: "background noise of Speech Commands" for name in names if NOISE in name.parts
    }
    result |= _fsdd(known) or _sc09(known) or _folders(known, lists or {}, label_of, folder_label or label_name)
    return {name: result[name] for name in names}


def read_lists(folder: Path) -> dict[str, Split]:
    """Reads Speech Commands' two lists: the split by path inside the folder; empty if there are no lists.

    Raises:
        DataError: if one of them cannot be read.
    """
    lists: dict[str, Split] = {}
    for name, split in LISTS.items():
        if (folder / name).is_file():
            try:
                lines = (folder / name).read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise DataError(f"{folder / name}: not readable as a list of recordings ({error})") from None
            lists |= dict.fromkeys((line.strip() for line in lines), split)
    return lists


def _fsdd(names: Sequence[PurePosixPath]) -> dict[PurePosixPath, Assignment | str] | None:
    matches = {name: FSDD.fullmatch(name.stem) for name in names}
    if not names or not all(matches.values()) or {name.parts[:-1] for name in names} - {(), ("recordings",)}:
        return None
    if len({name.parts[:-1] for name in names}) > 1:
        return None
    found = {name: (match[1], match[2], int(match[3])) for name, match in matches.items() if match}
    takes = Counter(digit for digit, _, _ in found.values())
    training = Counter(digit for digit, _, take in found.values() if take >= 10)
    if any(2 * training[digit] <= count for digit, count in takes.items()):
        return {name: Assignment(digit, by_hash(who), who, voice=who) for name, (digit, who, _) in found.items()}

    def split(take: int) -> Split:
        return "test" if take < 5 else "valid" if take < 10 else "train"

    return {name: Assignment(digit, split(take), name.stem, voice=who) for name, (digit, who, take) in found.items()}


def _sc09(names: Sequence[PurePosixPath]) -> dict[PurePosixPath, Assignment | str] | None:
    matches = {name: SC09.fullmatch(name.stem) for name in names}
    folders = {name.parent.name for name in names}
    if not names or not all(matches.values()) or not folders <= {"train", "valid", "test", ""}:
        return None
    return {
        name: Assignment(label_name(m[1]), SPLIT_FOLDERS.get(name.parent.name) or by_hash(m[2]), m[2])
        for name, m in matches.items()
        if m
    }


def _folders(
    names: Sequence[PurePosixPath],
    lists: Mapping[str, Split],
    label_of: LabelOf | None,
    folder_label: Callable[[str], str | None],
) -> dict[PurePosixPath, Assignment | str]:
    splits = splits_by_folder(names)
    labels: dict[PurePosixPath, str | None] = {}
    for name in names:
        parents = name.parts[1:-1] if splits else name.parts[:-1]
        labels[name] = folder_label(parents[-1]) if parents else None
    no_label = "not in a sub-folder, while others are, so it has no label"
    if not any(labels.values()) and label_of is not None:
        labels = {name: label_of(name) for name in names}
        no_label = "its name holds no label that is known, while the names of others do"
    labelled = any(labels.values())
    result: dict[PurePosixPath, Assignment | str] = {}
    for name, label in labels.items():
        if labelled and label is None:
            result[name] = no_label
            continue
        if label is not None and not label.isprintable():
            result[name] = "in a sub-folder whose name is not plain text"
            continue
        speaker = SPEECH_COMMANDS.fullmatch(name.stem)
        group = speaker[1] if speaker else name.stem
        if splits:
            split = splits[name]
        elif lists and speaker:
            split = lists.get(name.as_posix(), "train")
        else:
            split = by_hash(group)
        result[name] = Assignment(label, split, group)
    return result


def splits_by_folder(names: Sequence[PurePosixPath]) -> dict[PurePosixPath, Split] | None:
    """The split of each file by its top folder, or None if the top folders are not named after splits."""
    if not all(len(name.parts) > 1 for name in names):
        return None
    tops = {name: name.parts[0].lower() for name in names}
    if not set(tops.values()) <= set(SPLIT_FOLDERS):
        return None
    splits = {name: SPLIT_FOLDERS[top] for name, top in tops.items()}
    return splits if "train" in splits.values() and len(set(splits.values())) > 1 else None


def by_hash(group: str) -> Split:
    """The split of a group by its hash: a tenth of all groups is for validation."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).hexdigest()
    return "valid" if int(digest, 16) % VALIDATION_SHARE == 0 else "train"


def related(kin: Mapping[K, Iterable[str]]) -> dict[K, str]:
    """Groups items that share any kin, directly or by others; each group is named by the first of its kin."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for names in kin.values():
        first, *others = sorted(names)
        for other in others:
            low, high = sorted((root(first), root(other)))
            parents[high] = low
    return {item: root(min(names)) for item, names in kin.items()}


def repair(assignments: Sequence[Assignment]) -> list[Assignment]:
    """Gives every label something to train on.

    If a label has recordings for validation but none for training, its first group moves to training as a whole.
    """
    repaired = list(assignments)
    for label in dict.fromkeys(a.label for a in assignments):
        mine = [a for a in repaired if a.label == label]
        if any(a.split == "train" for a in mine):
            continue
        if moved := next((a.group for a in mine if a.split == "valid"), None):
            repaired = [replace(a, split="train") if a.group == moved and a.split == "valid" else a for a in repaired]
    return repaired


def label_name(text: str) -> str:
    """Normalises a label: lower case, digit words as digits."""
    text = text.strip().lower()
    return str(WORDS.index(text)) if text in WORDS else text


def in_order(labels: Iterable[str | None]) -> list[str]:
    """Sorts labels and removes duplicates: numbers by value, then words alphabetically."""
    return sorted(
        {label for label in labels if label is not None},
        key=lambda label: (int(label), "") if label.isdecimal() and label.isascii() else (10**9, label),
    )

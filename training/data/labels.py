"""Decides from a recording's path what it is called (its label) and what it is for (its split).

Sub-folders win over names: where recordings lie in two or more folders, the folder that a recording lies in is its
label. The layouts of three data sets are known, each only if the whole folder has it:

- Free Spoken Digit Dataset: every recording is `DIGIT_SPEAKER_TAKE` and they lie in one folder (itself, or
  `recordings`). Takes 5-9 validate and 0-4 are its test set, if that leaves more than half of every digit to train on;
  if not, the takes mean something else.
- SC09: every recording is `Eight_004ae714_nohash_0`, and lies in a folder `train`, `valid` or `test`, or in none.
- Speech Commands: sub-folders of `004ae714_nohash_0`; `validation_list.txt` and `testing_list.txt` decide if they are
  there.

Else the top folders decide the split if they are called train and valid, validation, val, dev, test or testing, and
nothing else; what lies below them decides the label. Else a tenth validates, chosen by a hash of the speaker where the
name tells one, or of the name: the same on every machine, whatever else is in the folder. Digit words become digits.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

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
VALIDATING = 10  # one group in so many

LabelOf = Callable[[PurePosixPath], str | None]


@dataclass(frozen=True)
class Assignment:
    """What a recording is called (None if nobody knows) and what it is for.

    `group` is what stays in one split: the speaker where the name tells one.
    """

    label: str | None
    split: Split
    group: str


def assign(
    names: Sequence[PurePosixPath], lists: Mapping[str, Split] | None = None, label_of: LabelOf | None = None
) -> dict[PurePosixPath, Assignment | str]:
    """For each recording of a folder its label and split, or in words why it has none.

    Args:
        names: paths inside the folder.
        lists: what `read_lists` found.
        label_of: reads a label off a path, for folders in which sub-folders say nothing (kits of drums, notes with
            pitches in their names); None if the path does not tell.
    """
    known = [name for name in names if NOISE not in name.parts]
    result: dict[PurePosixPath, Assignment | str] = {
        name: "background noise of Speech Commands" for name in names if NOISE in name.parts
    }
    result |= _fsdd(known) or _sc09(known) or _folders(known, lists or {}, label_of)
    return {name: result[name] for name in names}


def read_lists(folder: Path) -> dict[str, Split]:
    """The splits of Speech Commands' two lists, by path inside the folder; empty without them.

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
        return {name: Assignment(digit, by_hash(who), who) for name, (digit, who, _) in found.items()}

    def split(take: int) -> Split:
        return "test" if take < 5 else "valid" if take < 10 else "train"

    return {name: Assignment(digit, split(take), name.stem) for name, (digit, _, take) in found.items()}


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
    names: Sequence[PurePosixPath], lists: Mapping[str, Split], label_of: LabelOf | None
) -> dict[PurePosixPath, Assignment | str]:
    splits = splits_by_folder(names)
    labels: dict[PurePosixPath, str | None] = {}
    for name in names:
        parents = name.parts[1:-1] if splits else name.parts[:-1]
        labels[name] = label_name(parents[-1]) if parents else None
    if not any(labels.values()) and label_of is not None:
        labels = {name: label_of(name) for name in names}
    labelled = any(labels.values())
    result: dict[PurePosixPath, Assignment | str] = {}
    for name, label in labels.items():
        if labelled and label is None:
            result[name] = "in no sub-folder that says what it is, unlike others"
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
    """The split of each file by its top folder, or None if the top folders are not called after splits."""
    if not all(len(name.parts) > 1 for name in names):
        return None
    tops = {name: name.parts[0].lower() for name in names}
    if not set(tops.values()) <= set(SPLIT_FOLDERS):
        return None
    splits = {name: SPLIT_FOLDERS[top] for name, top in tops.items()}
    return splits if "train" in splits.values() and len(set(splits.values())) > 1 else None


def by_hash(group: str) -> Split:
    """A tenth of all groups validates."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).hexdigest()
    return "valid" if int(digest, 16) % VALIDATING == 0 else "train"


def repair(assignments: Sequence[Assignment]) -> list[Assignment]:
    """The same with something to train on for every label: of a label that has recordings for validation alone, the
    first one moves to training, with all of its group (a speaker stays on one side)."""
    repaired = list(assignments)
    for label in dict.fromkeys(a.label for a in assignments):
        mine = [a for a in repaired if a.label == label]
        if any(a.split == "train" for a in mine):
            continue
        if moved := next((a.group for a in mine if a.split == "valid"), None):
            repaired = [replace(a, split="train") if a.group == moved and a.split == "valid" else a for a in repaired]
    return repaired


def label_name(text: str) -> str:
    """A label as it is written everywhere: in lower case, digit words as digits."""
    text = text.strip().lower()
    return str(WORDS.index(text)) if text in WORDS else text


def in_order(labels: Iterable[str | None]) -> list[str]:
    """Each label once: numbers by their value, then words by the alphabet."""
    return sorted(
        {label for label in labels if label is not None},
        key=lambda label: (int(label), "") if label.isdecimal() and label.isascii() else (10**9, label),
    )

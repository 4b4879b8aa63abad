"""The count of a folder's audio and MIDI files: what each is used for, or why it is not used."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from training.task import DataError

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
EXAMPLES = 3  # names kept for each reason
NAMED = 50  # files that are named one by one in all
LABELS_SHOWN = 40


class Unusable(DataError):
    """A file that cannot be used. The message is the reason, in the same words for every file of its kind."""


class Inventory:
    """Counts every file found as train, validation, test or skipped for a reason.

    Files and what is made of them (`unit`, e.g. "windows") are counted apart: a long recording gives many windows.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.files: Counter[str] = Counter()
        self.items: Counter[str] = Counter()
        self.labels: dict[str, Counter[str]] = {}
        self.skipped: dict[str, list[str]] = {}
        self.dropped: Counter[str] = Counter()
        self.notes: list[str] = []

    def use(self, split: str, items: int = 0, label: str | None = None) -> None:
        """Counts a file of a split, and the items made of it."""
        self.files[split] += 1
        self.items[split] += items
        if label is not None:
            self.labels.setdefault(label, Counter())[split] += 1

    def skip(self, name: PurePath, reason: str) -> None:
        """Counts a file that is not used."""
        self.skipped.setdefault(reason, []).append(printable(name))

    def drop(self, reason: str, items: int = 1) -> None:
        """Counts parts of a file that are not used, though others of it are."""
        self.dropped[reason] += items

    def note(self, text: str) -> None:
        """Adds a sentence below the table."""
        self.notes.append(printable(text))

    def reasons(self) -> str:
        """All reasons with their counts in one line, for an error message."""
        return "; ".join(f"{len(names)} × {reason} (e.g. {names[0]})" for reason, names in self.skipped.items())

    def named(self) -> list[str]:
        """The first skipped files, each as "name: reason"."""
        return [f"{name}: {reason}" for reason, names in self.skipped.items() for name in names][:NAMED]

    def to_dict(self, labels: Iterable[str] = ()) -> dict[str, Any]:
        """For JSON: what `table` takes. `labels` gives the order of the labels."""
        return {
            "unit": self.unit,
            "found": self.files.total() + sum(map(len, self.skipped.values())),
            "files": {split: self.files[split] for split in SPLITS},
            "items": {split: self.items[split] for split in SPLITS},
            "labels": {label: {s: self.labels.get(label, Counter())[s] for s in SPLITS} for label in labels},
            "skipped": {
                reason: {"files": len(names), "examples": names[:EXAMPLES]} for reason, names in self.skipped.items()
            },
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
        }


def table(inventory: Mapping[str, Any]) -> str:
    """`Inventory.to_dict()` as lines of text: the files of the first column add up to those found."""
    unit = inventory["unit"]
    lines = [f"{'':<12}{'files':>9}  {unit:>9}"]
    for split, name in SPLITS.items():
        count = inventory["files"][split]
        if split == "test":
            if count:
                lines.append(f"{name:<12}{count:>9,}  {'kept out':>9}")
        else:
            lines.append(f"{name:<12}{count:>9,}  {inventory['items'][split]:>9,}")
    heading = "skipped"
    for reason, group in sorted(inventory["skipped"].items(), key=lambda pair: (-pair[1]["files"], pair[0])):
        lines.append(f"{heading:<12}{group['files']:>9,}  {reason}, e.g. {group['examples'][0]}")
        heading = ""
    lines.append(f"{'found':<12}{inventory['found']:>9,}")
    lines += [f"{count:,} {unit} left out: {reason}" for reason, count in inventory["dropped"].items()]
    if inventory["labels"]:
        shown = [
            f"{printable(label)} {count['train']:,} + {count['valid']:,}"
            for label, count in list(inventory["labels"].items())[:LABELS_SHOWN]
        ]
        more = len(inventory["labels"]) - len(shown)
        lines.append(
            "labels, files of train + validation: " + ", ".join(shown) + (f", and {more} more" if more > 0 else "")
        )
    return "\n".join([*lines, *inventory["notes"]])


def printable(text: PurePath | str) -> str:
    """A text that any terminal can print: bytes that are no UTF-8 and control characters are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))

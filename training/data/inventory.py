"""The inventory of a folder: how many of its audio and MIDI files are used for what, and why others are not."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from training.task import DataError

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
EXAMPLES = 3  # file names kept for each reason
NAMED = 50  # at most so many skipped files are listed by name
LABELS_SHOWN = 40


class Unusable(DataError):
    """A file cannot be used. The message is the reason, equal for all files with the same problem."""


class Inventory:
    """Counts every file as training, validation, test or skipped with a reason.

    The items made of the files (`unit`, e.g. "windows") are counted too: a long recording gives many windows.
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
        """Counts a file of a split, and the number of items made of it."""
        self.files[split] += 1
        self.items[split] += items
        if label is not None:
            self.labels.setdefault(label, Counter())[split] += 1

    def skip(self, name: PurePath, reason: str) -> None:
        """Counts a file that is not used, under a reason."""
        self.skipped.setdefault(reason, []).append(printable(name))

    def drop(self, reason: str, items: int = 1) -> None:
        """Counts items of a file that are not used although the file is."""
        self.dropped[reason] += items

    def note(self, text: str) -> None:
        """Adds a sentence to print below the table."""
        self.notes.append(printable(text))

    def reasons(self) -> str:
        """All reasons with their counts in one line, for an error message."""
        return "; ".join(f"{len(names)} × {reason} (e.g. {names[0]})" for reason, names in self.skipped.items())

    def why_unusable(self) -> str:
        """Why no file is left to train on: the reasons, and how many files are kept out for testing."""
        kept_out = f"{self.files['test']} are kept out for testing" if self.files["test"] else ""
        return "; ".join(filter(None, [self.reasons(), kept_out]))

    def named(self) -> list[str]:
        """The first skipped files, each as "name: reason"."""
        return [f"{name}: {reason}" for reason, names in self.skipped.items() for name in names][:NAMED]

    def to_dict(self, labels: Iterable[str] = ()) -> dict[str, Any]:
        """The counts as plain values for JSON and for `table`, with `labels` in the given order."""
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
    """Formats `Inventory.to_dict()` as a table; the files in its first column add up to those found."""
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
    """Escapes control characters and bytes that are not UTF-8, so that any terminal can print the text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))

"""Tables of figures: as text for the terminal, as Markdown for model cards, as plain values for JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column of a table: one kind of figure.

    Attributes:
        key: its name in JSON.
        title: its heading.
        percent: whether 1 is written as 100 %.
        ideal: the best value or direction, "high", "low", "1", …; empty if there is none.
        whole: whether it counts something.
    """

    key: str
    title: str
    percent: bool = False
    ideal: str = ""
    whole: bool = False

    def text(self, value: float | None) -> str:
        if value is None:
            return "–"
        if self.whole:
            return f"{value:,.0f}"
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


@dataclass(frozen=True)
class Target:
    """The range that a figure should be in: at least `low`, at most `high`, or both."""

    low: float | None = None
    high: float | None = None

    def text(self, column: Column) -> str:
        if self.low is None:
            return f"≤ {column.text(self.high)}"
        if self.high is None:
            return f"≥ {column.text(self.low)}"
        return f"{column.text(self.low).removesuffix(' %')}–{column.text(self.high)}"

    def met(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Table:
    """A table of figures. Its rows are, from the top: ideal, targets, real data, the model, and baselines.

    Attributes:
        rows: figures by column key, by name of the row; figures that make no sense in a row are missing.
        targets: by column key.
        notes: explanations of the figures, printed below.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[str, float]]
    targets: Mapping[str, Target]
    notes: tuple[str, ...] = ()

    def judged(self) -> list[tuple[str, Column, Target, float]]:
        """The model's figures that have a target: name, column, target and value.

        They are those of the row "model", or of every row of a table that has a row for each measure instead.
        """
        rows = {"": self.rows["model"]} if "model" in self.rows else self.rows
        return [
            (name or column.title, column, self.targets[column.key], row[column.key])
            for name, row in rows.items()
            for column in self.columns
            if column.key in self.targets and column.key in row
        ]

    def text(self) -> str:
        """The table as text with aligned columns."""
        cells = list(self._cells())
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [self.title, "─" * len(self.title)]
        for first, *others in cells:
            aligned = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *aligned]).rstrip())
        return "\n".join([*lines, *(f"* {note}" for note in self.notes)])

    def markdown(self) -> str:
        head, *body = self._cells()
        lines = [f"**{self.title}**", "", _row(head), "|---|" + "---:|" * (len(head) - 1), *map(_row, body)]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "title": self.title,
            "columns": {column.key: column.title for column in self.columns},
            "targets": {key: {"low": target.low, "high": target.high} for key, target in self.targets.items()},
            "rows": {name: dict(row) for name, row in self.rows.items()},
            "notes": list(self.notes),
        }

    def _cells(self) -> Iterable[list[str]]:
        yield ["", *(column.title for column in self.columns)]
        if any(column.ideal for column in self.columns):
            yield ["ideal", *(column.ideal for column in self.columns)]
        if self.targets:
            yield ["target", *(self.targets[c.key].text(c) if c.key in self.targets else "" for c in self.columns)]
        for name, row in self.rows.items():
            yield [name, *(column.text(row.get(column.key)) for column in self.columns)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"

"""Tables of figures, for the terminal, for model cards and for programs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """One kind of figure.

    Attributes:
        key: its name for programs.
        title: its name for people.
        percent: whether 1 is written as 100 %.
        ideal: which way is better, or what is best: "high", "low", "1", …; empty if neither.
    """

    key: str
    title: str
    percent: bool = False
    ideal: str = ""

    def text(self, value: float | None) -> str:
        if value is None:
            return "–"
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


@dataclass(frozen=True)
class Target:
    """What a figure should be: at least `low`, at most `high`, or between them."""

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
    """Rows of figures, best read from the top: what is wanted, what reality has, what the model has, what is easy.

    Attributes:
        rows: by name, figures by their column's key; what a row lacks has no meaning there.
        targets: by column's key.
        notes: what a reader must know to read the figures rightly.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[str, float]]
    targets: Mapping[str, Target]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Aligned columns."""
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

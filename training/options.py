"""Dataclass fields with a range and a help text, from which checks and command-line flags are made."""

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_COUNT = 10**9  # the largest whole number by default: more than any run needs, far from overflow


@dataclass(frozen=True)
class Number:
    """The meaning and range of a number."""

    help: str
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    below: bool = False  # whether `high` itself is excluded

    def check(self, name: str, value: object) -> None:
        """Raises ValueError, naming the number, if the value is not in its range."""
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not -math.inf < value < math.inf:
            raise ValueError(f"{name} must be a {'whole ' if self.whole else ''}number, not {value!r}")
        if value < self.low or value > self.high or (self.below and value == self.high):
            raise ValueError(f"{name} must be {self.range()}, not {value!r}")

    def range(self) -> str:
        """The range in words, e.g. "at least 1"."""
        upper = f"{'below' if self.below else 'at most'} {self.high:g}"
        if self.high == MAX_COUNT or math.isinf(self.high):
            return f"at least {self.low:g}"
        return upper if math.isinf(self.low) else f"at least {self.low:g} and {upper}"

    def parser(self, name: str) -> Callable[[str], float]:
        """A function that parses and checks the text after a command-line flag, for argparse."""

        def parse(text: str) -> float:
            try:
                value = int(text) if self.whole else float(text)
            except ValueError:
                value = math.nan
            try:
                self.check(name, text if math.isnan(value) else value)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from None
            return value

        return parse


def count(default: int, help: str, low: int = 0, high: int = MAX_COUNT) -> Any:
    """A dataclass field for a whole number from `low` to `high`."""
    return field(default=default, metadata={"number": Number(help, low, high, whole=True)})


def real(default: float, help: str, high: float = math.inf, below: bool = False) -> Any:
    """A dataclass field for a finite number from 0 to `high`; without `high` itself if `below`."""
    return field(default=default, metadata={"number": Number(help, 0.0, high, below=below)})


def one_of(default: str, choices: tuple[str, ...], help: str) -> Any:
    """A dataclass field for one of several strings."""
    return field(default=default, metadata={"choices": choices, "help": help})


def check(instance: Any) -> None:
    """Raises ValueError, naming the field, if a field of a dataclass is out of its range; for `__post_init__`."""
    for item in dataclasses.fields(instance):
        value = getattr(instance, item.name)
        if "number" in item.metadata:
            item.metadata["number"].check(item.name, value)
        elif "choices" in item.metadata and value not in item.metadata["choices"]:
            raise ValueError(f"{item.name} must be one of {', '.join(item.metadata['choices'])}, not {value!r}")


def add_arguments(group: Any, kind: type, defaults: Any) -> None:
    """Adds a flag for each number and choice of a dataclass. A flag that is not used parses as None, see `given`.

    Args:
        group: an argparse parser or group.
        defaults: an instance whose values the help shows as defaults.
    """
    for item in dataclasses.fields(kind):
        value = getattr(defaults, item.name)
        default = f" (default: {f'{value:g}' if isinstance(value, float) else value})"
        flag = f"--{item.name.replace('_', '-')}"
        if "number" in item.metadata:
            number: Number = item.metadata["number"]
            group.add_argument(flag, type=number.parser(flag), metavar="N", help=f"{number.help}{default}")
        elif "choices" in item.metadata:
            group.add_argument(flag, choices=item.metadata["choices"], help=f"{item.metadata['help']}{default}")


def given(args: argparse.Namespace, kind: type) -> Mapping[str, Any]:
    """The fields of a dataclass whose flags were used on the command line."""
    names = (f.name for f in dataclasses.fields(kind) if f.metadata)
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}

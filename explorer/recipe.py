"""The exact, shareable description of one sound.

A `Recipe` names the weights, a point in their latent space, the label and how the output is decoded; a sound depends on
nothing else. It is written as the query of a link, as JSON, and inside every saved file. Fields may be left open, such
as the label: `Model.complete` fills them in, and the result is a `Place`.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from explorer.latent import MAX_SEED, Path

VERSION = 1
SEED = re.compile("[0-9]{1,10}")  # a seed as a key of a mix
MAX_MIXED, MAX_WEIGHT = 8, 100.0  # number of seeds in a mix, and size of a weight
MAX_NAME = 255  # characters of a name that is read: a model, a label, a direction, a setting or its option
MAX_MESSAGE = 400  # characters of an error message, which may quote a file of any size
PAIRS = ("mix", "offsets", "settings")  # fields of pairs, written as JSON objects
MAX_OFFSET = 100.0  # far beyond what a generator was trained on, and small enough to keep sums finite


class RecipeError(ValueError):
    """A recipe that cannot be read or holds a value out of range; the message says which, in one line of at most
    MAX_MESSAGE characters, whatever it quotes."""

    def __init__(self, message: str) -> None:
        line = " ".join(message[: 2 * MAX_MESSAGE].split())
        super().__init__(line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…")


def checked_number(name: str, value: Any, low: float, high: float) -> float:
    """The value as a float. Raises RecipeError unless it is a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{name} must be a number, not {value!r}")
    if not low <= value <= high:  # true for NaN too
        raise RecipeError(f"{name} must be between {low:g} and {high:g}, not {value!s:.24}")
    return float(value)


def _seed(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        raise RecipeError(f"{name} must be a whole number from 0 to {MAX_SEED}, not {value!r}")


def _mix(pairs: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    """The pairs sorted by seed, with the weights of equal seeds added and zero weights removed."""
    weights: dict[int, float] = {}
    for seed, weight in pairs:
        _seed("a mixed seed", seed)
        name = f"weight of seed {seed}"
        both = weights.get(seed, 0.0) + checked_number(name, weight, -MAX_WEIGHT, MAX_WEIGHT)
        weights[seed] = checked_number(name, both, -MAX_WEIGHT, MAX_WEIGHT)
    mix = tuple(sorted((seed, weight) for seed, weight in weights.items() if weight != 0))
    if pairs and not mix:
        raise RecipeError("the weights of this mix cancel each other: nothing is left of it")
    if len(mix) > MAX_MIXED:
        raise RecipeError(f"a mix has at most {MAX_MIXED} seeds, not {len(mix)}")
    return mix


@dataclass(frozen=True)
class Recipe:
    """The description of one sound.

    The latent is the point `t` of the interpolation from `seed` to `seed_b`, times `truncation`, moved by each offset
    along the unit vector of its direction ("z7" is a raw dimension, counted from 0). A `mix` replaces the
    interpolation.

    Attributes:
        model: name of the checkpoint.
        weights: SHA-256 of the checkpoint file, or its first digits; empty accepts any weights.
        seed, seed_b: 0 ... 2**32 - 1. Without `seed_b`, `t` has no effect.
        t: in [0, 1].
        path: of the interpolation: "arc", "line", or None for the default of the model's prior.
        mix: pairs (seed, weight), sorted by seed, of which `LatentSpace.mix` makes one latent: an average, a
            difference, a point between four seeds. If not empty, `seed`, `seed_b`, `t` and `path` have no effect.
        truncation: in [0, 2], scales the latent: below 1 sounds become more typical, above 1 less.
        offsets: pairs (direction, amount), in standard deviations of the prior, sorted by name.
        label: what the generator is conditioned on, or None for the model's first label.
        label_b, blend: a second label and its weight in [0, 1].
        settings: pairs (name, option) of generating and decoding, such as ("inversion", "griffin-lim").
    Raises:
        RecipeError: if a value is of the wrong kind or out of range, NaN included.
    """

    model: str
    weights: str = ""
    seed: int = 0
    seed_b: int | None = None
    t: float = 0.0
    path: Path | None = None
    mix: tuple[tuple[int, float], ...] = ()
    truncation: float = 1.0
    offsets: tuple[tuple[str, float], ...] = ()
    label: str | None = None
    label_b: str | None = None
    blend: float = 0.0
    settings: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in ("model", "weights", "label", "label_b"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name.startswith("label")):
                raise RecipeError(f"{name} must be text, not {value!r}")
        _seed("seed", self.seed)
        if self.seed_b is not None:
            _seed("seed_b", self.seed_b)
        if self.path not in (None, "arc", "line"):
            raise RecipeError(f"path must be 'arc' or 'line', not {self.path!r}")
        for name, high in (("t", 1.0), ("truncation", 2.0), ("blend", 1.0)):
            object.__setattr__(self, name, checked_number(name, getattr(self, name), 0.0, high))
        object.__setattr__(self, "mix", _mix(self.mix))
        offsets = {str(name): checked_number(f"offset {name}", x, -MAX_OFFSET, MAX_OFFSET) for name, x in self.offsets}
        # Sorted and without zeros, so that recipes of the same sound are equal.
        object.__setattr__(self, "offsets", tuple(sorted((n, x) for n, x in offsets.items() if x != 0)))
        for name, option in self.settings:
            if not isinstance(option, str):
                raise RecipeError(f"setting {name} must be text, not {option!r}")
        object.__setattr__(self, "settings", tuple(sorted(dict(self.settings).items())))

    def to_full_dict(self) -> dict[str, Any]:
        """All fields as plain values for JSON, so that a reader need not know the defaults."""
        values = asdict(self)
        for name in PAIRS:
            values[name] = {str(key): value for key, value in values[name]}
        return {"version": VERSION, **values}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without fields at their default."""
        default = Recipe(model="").to_full_dict()
        return {k: v for k, v in self.to_full_dict().items() if k in ("version", "model") or v != default[k]}

    @classmethod
    def from_dict(cls, data: Any) -> "Recipe":
        """Parses what `to_dict` and `to_full_dict` write.

        Raises:
            RecipeError: also for an unknown field, since ignoring it would give another sound.
        """
        if not isinstance(data, dict) or not isinstance(data.get("model"), str):
            raise RecipeError("a recipe is an object with at least a 'model'")
        if data.get("version", VERSION) != VERSION:
            raise RecipeError(f"this recipe has version {data['version']!r}; this program reads version {VERSION}")
        values = {k: v for k, v in data.items() if k != "version"}
        if unknown := sorted(set(values) - {f.name for f in fields(cls)}):
            raise RecipeError(f"a recipe has no field {', '.join(unknown)}")
        for name in PAIRS:
            if name in values:
                if not isinstance(values[name], dict):
                    raise RecipeError(f"{name} must be an object, not {values[name]!r}")
                values[name] = tuple(values[name].items())
        if not all(isinstance(seed, str) and SEED.fullmatch(seed) for seed, _ in values.get("mix", ())):
            raise RecipeError("a mix names its seeds by whole numbers")
        pairs = (*values.get("offsets", ()), *values.get("settings", ()))
        for name in (*values.values(), *(part for pair in pairs for part in pair)):
            if isinstance(name, str) and len(name) > MAX_NAME:
                raise RecipeError(f"a name has at most {MAX_NAME} characters, not {len(name):,}")
        values["mix"] = tuple((int(seed), weight) for seed, weight in values.get("mix", ()))
        return cls(**values)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Parses what `to_json` writes. Raises RecipeError as `from_dict`, and if the text is not JSON."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"not a recipe: {error}") from None
        return cls.from_dict(data)

    def to_url(self, base: str = "") -> str:
        """A link: `base` and the recipe as its query. Floats are written so that they read back exactly."""
        flat: dict[str, str] = {}
        for name, value in self.to_dict().items():
            if isinstance(value, dict):
                flat |= {f"{name}.{key}": str(x) for key, x in value.items()}
            else:
                flat[name] = str(value)
        return f"{base}?{urlencode(flat)}"

    @classmethod
    def from_url(cls, text: str) -> "Recipe":
        """Parses what `to_url` writes: a whole link or its query alone; ignores unknown parameters, such as the page's
        theme.

        Raises:
            RecipeError: if a value cannot be read, or no model is named.
        """
        try:
            query = urlsplit(text).query if "?" in text else text
        except ValueError as error:
            raise RecipeError(f"not a link: {error}") from None
        types = {f.name: f.type for f in fields(cls)}
        data: dict[str, Any] = {}
        for key, value in parse_qsl(query, keep_blank_values=True):
            name, dot, part = key.partition(".")
            try:
                if name in PAIRS and dot:
                    data.setdefault(name, {})[part] = value if name == "settings" else float(value)
                elif name in ("version", "seed", "seed_b"):
                    data[name] = int(value)
                elif name in ("t", "truncation", "blend"):
                    data[name] = float(value)
                elif name in types:
                    data[name] = value
            except ValueError:
                raise RecipeError(f"{key} must be a number, not {value!r}") from None
        return cls.from_dict(data)


@dataclass(frozen=True)
class Place:
    """A completed recipe, the same for all recipes of one sound.

    Only `Model.complete` makes places: it checks the recipe, fills in the full hash of the weights, the label, the path
    and every setting, and removes values without effect. So equal places are equal sounds, and a function that takes a
    `Place` need not check it. To get another place, change the `recipe` and complete it.
    """

    recipe: Recipe

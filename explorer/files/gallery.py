"""Files of named recipes, and the gallery: the recipes that the app suggests for a checkpoint.

Such a file is JSON, {"version": 1, "places": [{"name": …, "time": …, "recipe": {…}}, …]}. The app exports its
favourites in this format, and `NAME.gallery.json` beside a checkpoint has it too, its recipes with the weights' hash.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer.checkpoint import Card, CheckpointError
from explorer.engine import Engine
from explorer.measures import MEASURES, measure
from explorer.recipe import Recipe, RecipeError

VERSION = 1
MAX_PLACES = 10_000  # in one file
MAX_NAME = 1000  # characters
FIRST = 8  # seeds 0, 1, … at the start of a gallery

Progress = Callable[[int, int], None]  # called with (done, total)


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with a name, and the time it was saved as a favourite (ISO 8601; empty if it was not)."""

    name: str
    recipe: Recipe
    time: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, **({"time": self.time} if self.time else {}), "recipe": self.recipe.to_dict()}


def dumps(places: Sequence[NamedRecipe]) -> str:
    """The text of a file of places: indented JSON."""
    data = {"version": VERSION, "places": [place.to_dict() for place in places]}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def loads(text: str) -> tuple[NamedRecipe, ...]:
    """Parses what `dumps` writes.

    Raises:
        RecipeError: if this is not a file of places, or one of another version; names the first invalid place.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"not a file of places: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("places"), list):
        raise RecipeError("a file of places is an object with a list of 'places'")
    if data.get("version") != VERSION:
        raise RecipeError(f"these places have version {data.get('version')!r}; this program reads version {VERSION}")
    if len(data["places"]) > MAX_PLACES:
        raise RecipeError(f"{len(data['places']):,} places are too many; a file holds at most {MAX_PLACES:,}")
    return tuple(_place(number, entry) for number, entry in enumerate(data["places"], start=1))


def _place(number: int, entry: Any) -> NamedRecipe:
    if not isinstance(entry, dict):
        raise RecipeError(f"place {number} is not an object with a 'recipe'")
    name, time = entry.get("name", ""), entry.get("time", "")
    if not isinstance(name, str) or not isinstance(time, str) or max(len(name), len(time)) > MAX_NAME:
        raise RecipeError(f"name and time of place {number} must be texts of at most {MAX_NAME} characters")
    try:
        named = NamedRecipe(name, Recipe.from_dict(entry.get("recipe")), time)
        json.dumps(named.to_dict(), ensure_ascii=False).encode("utf-8")
    except RecipeError as error:
        raise RecipeError(f"place {number}: {error}") from None
    except (ValueError, RecursionError):  # a lone surrogate; a value nested too deep for JSON
        raise RecipeError(f"place {number} holds an invalid value") from None
    return named


def consecutive(engine: Engine, name: str, count: int = FIRST) -> tuple[NamedRecipe, ...]:
    """The seeds 0, 1, … of a checkpoint, with labels by `Condition.turn`. Raises CheckpointError as `Engine.model`."""
    return tuple(NamedRecipe(f"Seed {seed}", _recipe(engine, name, seed)) for seed in range(count))


def gallery(engine: Engine, name: str, seeds: int, progress: Progress | None = None) -> tuple[NamedRecipe, ...]:
    """The gallery of a checkpoint: the most typical seed of 0 … `seeds` - 1, which the app opens with, the first seeds,
    then those with the lowest and the highest value of each measure. Nothing is picked by ear. The most typical seed
    is nearest to the median of every measure. A seed that is extreme in several measures appears once among these.

    Args:
        progress: called with (done, total) sounds.

    Raises:
        CheckpointError: as `Engine.model`.
    """
    recipes = [_recipe(engine, name, seed) for seed in range(seeds)]
    rows = []
    for seed, sound in enumerate(engine.render_all(recipes)):
        rows.append(measure(sound))
        if progress is not None:
            progress(seed + 1, seeds)
    titles: dict[int, list[str]] = {}  # by seed
    for key in rows[0]:
        values = {
            seed: row[key] for seed, row in enumerate(rows) if row[key] == row[key]
        }  # without NaN, an undefined measure
        if len(set(values.values())) > 1:
            for word, extreme in (("lowest", min), ("highest", max)):
                seed = extreme(values, key=values.__getitem__)
                titles.setdefault(seed, []).append(f"{MEASURES[key].title}: {word}")
    return (
        NamedRecipe("Most typical", recipes[_most_typical(rows)]),
        *consecutive(engine, name, min(FIRST, seeds)),
        *(NamedRecipe(", ".join(words), recipes[seed]) for seed, words in titles.items()),
    )


def _most_typical(rows: Sequence[Mapping[str, float]]) -> int:
    """The row that is nearest to the medians: its largest distance, as a share of the ranks of all rows, is smallest.

    An undefined measure (NaN) counts as farthest.
    """
    farthest = np.zeros(len(rows))
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        away = np.abs(values - np.nanmedian(values)) if np.isfinite(values).any() else np.zeros(len(rows))
        ranks = np.searchsorted(np.sort(away), away) / len(rows)  # NaN is sorted last
        farthest = np.maximum(farthest, np.where(np.isnan(away), 1, ranks))
    return int(farthest.argmin())


def path_of(card: Card) -> Path:
    """The path of a checkpoint's gallery, beside it."""
    return card.path.with_suffix(".gallery.json")


def shown(engine: Engine, name: str) -> tuple[NamedRecipe, ...]:
    """The gallery stored beside a checkpoint; its first seeds if there is none for these weights.

    Raises:
        CheckpointError: as `Engine.model`; also if the gallery cannot be read, naming its file.
    """
    card = engine.model(name).card
    path = path_of(card)
    try:
        places = loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return consecutive(engine, name)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a RecipeError is one
        raise CheckpointError(f"{path.name}: {error}") from None
    fitting = tuple(p for p in places if p.recipe.model == name and p.recipe.weights == card.sha256)
    return fitting or consecutive(engine, name)


def _recipe(engine: Engine, name: str, seed: int) -> Recipe:
    condition = engine.model(name).generator.condition
    return engine.complete(Recipe(name, seed=seed, label=condition.turn(seed) if condition else None)).recipe

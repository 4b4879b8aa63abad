"""The server's part of the section "Browse": the gallery of a checkpoint, variations of a place, files of places."""

import json
from pathlib import Path
from typing import Any

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import gallery, samples
from explorer.files.gallery import NamedRecipe
from explorer.files.variations import variations
from explorer.recipe import RecipeError
from explorer.ui import handlers
from explorer.ui.panels import checked_list, saved

MAX_BYTES = 8 << 20  # of a file of places, enough for ten thousand places
MAX_VARIATIONS = 9  # in one request


def gallery_of(engine: Engine, model: Any) -> dict[str, Any]:
    """The places of a checkpoint's gallery, as JSON values, and what its labels are called. Raises CheckpointError."""
    condition = engine.model(str(model)).generator.condition
    found = [_as_json(engine, place) for place in gallery.shown(engine, str(model))]
    return {"places": found, "condition": condition.name if condition else ""}


def variations_of(engine: Engine, request: Any) -> dict[str, Any]:
    """Takes [recipe, distance, seeds]; returns {"places": [...]}, one for each seed, as `variations` has them.

    Raises:
        CheckpointError, RecipeError: as `variations`.
        ValueError: if the request is of another form.
    """
    text, distance, seeds = checked_list(request, 3)
    if not isinstance(seeds, list) or len(seeds) > MAX_VARIATIONS:
        raise ValueError(f"the seeds must be a list of at most {MAX_VARIATIONS}")
    found = variations(engine, handlers.read(text), distance, seeds)
    return {"places": [_as_json(engine, NamedRecipe("", recipe)) for recipe in found]}


def samples_of(engine: Engine, text: Any) -> dict[str, Any]:
    """Takes a file of places, as text; returns {"name", "data": the archive of `samples.pack` in base64}.

    Raises:
        CheckpointError, RecipeError: as `samples.pack`; also if the text is no such file.
    """
    data = samples.pack(engine, gallery.loads(str(text)))
    return saved("favourites.zip", data)


def read_places(engine: Engine, path: Path) -> list[dict[str, Any]] | None:
    """Reads the places in a file; None if it is not a file of places.

    Raises:
        RecipeError: naming the file without its folder, if its places cannot be read.
    """
    if path.suffix.lower() != ".json":
        return None
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"{path.name} is too large; a file of places has at most {MAX_BYTES >> 20} MB")
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "places" not in data:
        return None
    try:
        return [_as_json(engine, place) for place in gallery.loads(text)]
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error}") from None


def _as_json(engine: Engine, named: NamedRecipe) -> dict[str, Any]:
    """A named recipe as the page stores it: completed if possible, so that each sound is stored only once."""
    try:
        recipe = handlers.make_view(engine, named.recipe).recipe
    except (RecipeError, CheckpointError):  # the page shows the error in place of its picture
        recipe = named.recipe
    return {"name": named.name, "time": named.time, "recipe": recipe.to_json()}

"""What the panel Places asks of the server: the gallery of a checkpoint, and the places in a file that was opened."""

import json
from pathlib import Path
from typing import Any

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import gallery
from explorer.files.gallery import NamedRecipe
from explorer.recipe import RecipeError
from explorer.ui import handlers

MAX_BYTES = 8 << 20  # of a file of places: ten thousand of 800 bytes each


def greeting(engine: Engine, model: Any) -> dict[str, Any]:
    """The gallery of a checkpoint. Raises CheckpointError."""
    return {"places": [_sent(engine, place) for place in gallery.shown(engine, str(model))]}


def opened(engine: Engine, path: Path) -> list[dict[str, Any]] | None:
    """The places in a file; None if it is none of places.

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
        return [_sent(engine, place) for place in gallery.loads(text)]
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error}") from None


def _sent(engine: Engine, named: NamedRecipe) -> dict[str, Any]:
    """A named recipe as the page keeps it: settled where it can be, so that one sound is kept but once."""
    try:
        recipe = handlers.settle(engine, named.recipe).recipe
    except (RecipeError, CheckpointError):  # told where its picture would be
        recipe = named.recipe
    return {"name": named.name, "time": named.time, "recipe": recipe.to_json()}

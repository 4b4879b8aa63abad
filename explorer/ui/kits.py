"""The server's part of the pads: kits, the sounds of their pads, and their files."""

from dataclasses import replace
from typing import Any

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import kits
from explorer.kit import MAX_SECONDS, PADS, Kit
from explorer.recipe import RecipeError
from explorer.ui import handlers
from explorer.ui.handlers import NAMED_WEIGHTS, View
from explorer.ui.panels import Answer, ServerFunction, checked_list, error_message, saved, server_function

AT_ONCE = 2  # requests of all visitors, of up to PADS sounds each
LIVE_SECONDS = 10.0  # that a pad may wait to sound


class KitServer:
    """The functions that the pads call. Every request comes from a browser and is checked here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def functions(self) -> tuple[ServerFunction, ...]:
        """The functions that the page can call."""
        return (
            server_function(self.new_kit, AT_ONCE),
            server_function(self.open_kit, AT_ONCE),
            server_function(self.hits, AT_ONCE, live_seconds=LIVE_SECONDS),
            server_function(self.save_kit, AT_ONCE),
        )

    def new_kit(self, model: Any) -> Answer:
        """Takes a checkpoint's name; returns {"kit": its first kit}."""
        return {"kit": as_json(kits.new(self._engine, str(model)))}

    def open_kit(self, text: Any) -> Answer:
        """Takes a kit as JSON or as the query of a link; returns {"kit": the same, completed}."""
        return {"kit": as_json(kits.complete(self._engine, read(text)))}

    def hits(self, request: Any) -> Answer:
        """Takes a list of at most PADS recipes; returns {"hits": […]}, each as `handlers.show` returns it, with the
        place's own recipe, or {"error": message} if it cannot be played on a pad."""
        if not isinstance(request, list) or len(request) > PADS:
            raise ValueError(f"the request must be a list of at most {PADS} recipes")
        return {"hits": [self._hit(text) for text in request]}

    def save_kit(self, request: Any) -> Answer:
        """Takes [kit, format of `kits.FORMATS`]; returns {"name", "data": the file in base64}."""
        text, name = checked_list(request, 2)
        kit, name = read(text), str(name)
        data = kits.encode(self._engine, kit, name)
        return saved(f"{kits.stem(kit)}.{name}", data)

    def _hit(self, text: Any) -> Answer:
        try:
            recipe = handlers.read(text)
            model = self._engine.model(recipe.model)
            if model.generator.representation.seconds > MAX_SECONDS:
                raise RecipeError(f"a sound of {recipe.model!r} is too long for a pad")
            place = model.complete(recipe)
            shown = replace(place.recipe, weights=place.recipe.weights[:NAMED_WEIGHTS])
            return handlers.show(self._engine, View(model, place, shown))
        except (ValueError, CheckpointError) as error:
            return {"error": error_message(error)}


def read(text: Any) -> Kit:
    """Parses the kit that a page sends, as JSON or as a link. Raises RecipeError."""
    if not isinstance(text, str) or len(text) > handlers.MAX_TEXT:
        raise RecipeError(f"a kit must be a text of at most {handlers.MAX_TEXT:,} characters")
    return Kit.from_json(text) if text.lstrip().startswith("{") else Kit.from_url(text)


def as_json(kit: Kit) -> dict[str, Any]:
    """A completed kit as the page keeps it."""
    pads = tuple(replace(pad, weights=pad.weights[:NAMED_WEIGHTS]) for pad in kit.pads)
    return replace(kit, pads=pads).to_dict()

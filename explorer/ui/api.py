"""The API: a few functions for programs, over HTTP and, if asked for, over MCP.

A program posts {"data": [argument, …]} to /gradio_api/run/NAME, or uses one of gradio's clients. Every result carries
the completed recipe of its sound, which gives the same sound again, here and in the app. What is wrong with a call is
one sentence. Calls wait in queues of their own, so they keep no slider waiting.
"""

import functools
import json
import math
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

import gradio as gr
from gradio.events import api

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import formats, morphs
from explorer.measures import MEASURES, measure
from explorer.recipe import Recipe, RecipeError
from explorer.ui import handlers
from explorer.ui.between import MAX_STEPS
from explorer.ui.cache import FileCache
from explorer.ui.panels import Queue, error_message

AT_ONCE, WAITING = 2, 32  # calls of all programs, for each function
MORPHS_AT_ONCE, MORPHS_WAITING = 1, 4  # one may take a minute
MCP = "GRADIO_MCP_SERVER"  # gradio's environment variable

T = TypeVar("T")
AsRecipe = str | dict[str, Any]  # a recipe as its JSON object, as the text of that, or as a link
Answer = dict[str, Any]


class Refused(gr.Error):
    """What is wrong with a call, in one sentence."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error_message(error), print_exception=False)

    def __str__(self) -> str:  # gradio's has quotation marks
        return str(self.message)


class Api:
    """The functions of the API. gradio reads their types and docstrings, a line for each argument, to document them.

    Args:
        engine: makes the sounds.
        cache: takes the files.
    """

    def __init__(self, engine: Engine, cache: FileCache) -> None:
        self._engine, self._cache = engine, cache

    def add(self) -> None:
        """Adds the functions to the app that is being built."""
        _add(self.models, Queue(1, WAITING))
        _add(self.render, Queue(AT_ONCE, WAITING))
        _add(self.morph, Queue(MORPHS_AT_ONCE, MORPHS_WAITING))
        _add(self.measure, Queue(AT_ONCE, WAITING))

    def models(self) -> list[dict[str, Any]]:
        """Lists the models: for each its name, what it makes, and the labels, directions and settings of its recipes.

        Its "recipe" is that of seed 0; change any field for another sound: "seed" (0 to 4294967295), "label", a second
        seed "seed_b" with a position "t" (0 to 1) between them, "truncation" (0 to 2), "offsets" along directions.
        A model that cannot be used has an "error" instead.

        Example: models() returns [{"name": "NAME", "labels": ["0", "1"], "seconds": 1.02, "recipe": {…}, …}, …]

        Returns:
            models: a list of objects
        """
        return [self._about(name) for name in self._engine.names()]

    def render(
        self, recipe: AsRecipe, format: Literal["wav", "ready.wav", "mid", "png", "svg", "pdf", "npz", "json"] = "wav"
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Renders the sound of a recipe to a file, which carries the recipe too.

        Example: render({"model": "NAME", "seed": 7, "label": "3"}, "wav")
        Example: render("?model=NAME&seed=7&seed_b=8&t=0.5&offsets.pc1=1.5", "png")

        Args:
            recipe: an object as `models` returns it, at least {"model": NAME}; its JSON; or a link from the app
            format: wav, ready.wav (for samplers), mid (of models that make notes), png, svg, pdf, npz (arrays) or json

        Returns:
            file: the file, with its address as "url"
            recipe: the completed recipe, which gives exactly this sound again
        """
        place = self._engine.complete(_read(recipe))
        file = self._file(
            place.recipe.to_json(),
            handlers.file_name(self._engine, place, str(format)),
            lambda: handlers.encode(self._engine, place, str(format)),
        )
        return file, self._told(place.recipe)

    def morph(
        self,
        recipe: AsRecipe,
        steps: int = 9,
        spacing: Literal["t", "equal"] = "t",
        format: Literal["wav", "mid", "zip", "gif", "png", "svg", "pdf"] = "wav",
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Renders the way from seed to seed_b of a recipe, step by step, to one file. It may take a minute.

        Example: morph({"model": "NAME", "seed": 7, "seed_b": 8}, 9, "equal", "wav")

        Args:
            recipe: as for `render`, with a second seed "seed_b"
            steps: how many sounds, both ends included, from 2 to 25
            spacing: t for equal steps between the seeds, equal for steps that change the sound equally much
            format: wav or mid (all steps joined), zip (a file for each step), gif, png, svg or pdf

        Returns:
            file: the file, with its address as "url"
            recipes: the completed recipe of each step
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= MAX_STEPS:
            raise ValueError(f"a morph has from 2 to {MAX_STEPS} steps here, not {steps!r}")
        if str(format) not in morphs.WRITERS:
            raise ValueError(f"no format {format!r}; there are {', '.join(morphs.WRITERS)}")
        way = morphs.steps(self._engine, _read(recipe), steps, spacing)
        places = [self._engine.complete(step) for step in way]
        start = self._engine.complete(replace(way[0], mix=()))
        key = json.dumps([place.recipe.to_json() for place in places])

        def write() -> bytes:
            with tempfile.TemporaryDirectory(prefix="morph-", dir=os.environ.get("GRADIO_TEMP_DIR")) as folder:
                path = Path(folder) / f"morph.{format}"
                morphs.write(self._engine, way, path)
                return path.read_bytes()

        file = self._file(key, f"{formats.stem(self._engine, start.recipe, way[0].seed_b)}.{format}", write)
        return file, [self._told(place.recipe) for place in places]

    def measure(self, recipe: AsRecipe) -> dict[str, Any]:
        """Measures the sound of a recipe, such as its pitch, loudness and brightness, or the density of its notes.

        Example: measure({"model": "NAME", "seed": 7}) returns
        {"measures": {"pitch": {"value": 45.1, "unit": "semitones"}, …}, "heard": {"3": 0.99, …}, "recipe": {…}, …}

        Args:
            recipe: as for `render`

        Returns:
            result: "measures", null where undefined; "heard", the judge's probability of each label; and "recipe"
        """
        place = self._engine.complete(_read(recipe))
        found = measure(self._engine.render(place))
        return {
            "measures": {
                name: {"value": value if math.isfinite(value) else None, "unit": MEASURES[name].unit}
                for name, value in found.items()
            },
            "heard": self._engine.hear(place),
            "recipe": self._told(place.recipe),
        }

    def _told(self, recipe: Recipe) -> dict[str, Any]:
        """A completed recipe for a program, without its path where the model takes that by itself: gradio's Python
        client takes a "path" for that of a file, and tries to fetch it."""
        told = recipe.to_dict()
        if recipe.path == self._engine.complete(replace(recipe, path=None)).recipe.path:
            told.pop("path", None)
        return told

    def _about(self, name: str) -> Answer:
        try:
            model = self._engine.model(name)
            place = model.complete(Recipe(name))
            sound = self._engine.render(place)
        except CheckpointError as error:
            return {"name": name, "error": error_message(error)}
        return {
            "name": name,
            "family": model.card.family,
            "labels": list(model.card.labels or ()),
            "latent": model.generator.latent.size,
            "sample_rate": sound.sample_rate,
            "seconds": sound.seconds,
            "formats": list(formats.available(sound)),
            "directions": {d.name: d.title or d.name for d in model.shipped},
            "settings": {setting: list(options) for setting, options in model.settings.items()},
            "recipe": self._told(place.recipe),
        }

    def _file(self, key: str, name: str, encode: Callable[[], bytes]) -> Answer:
        """A file of the cache as gradio's clients know one."""
        path = self._cache.find(key, name) or self._cache.write(key, name, encode())
        return {
            "path": str(path),
            "url": f"/gradio_api/file={path}",
            "orig_name": name,
            "size": path.stat().st_size,
            "meta": {"_type": "gradio.FileData"},
        }


def _read(recipe: Any) -> Recipe:
    """Parses a recipe of a program. Raises RecipeError."""
    if isinstance(recipe, dict):
        return Recipe.from_dict(recipe)
    if not isinstance(recipe, str):
        raise RecipeError("a recipe is an object with at least a 'model', its JSON, or a link")
    return handlers.read(recipe)


def _add(function: Callable[..., T], queue: Queue) -> None:
    @functools.wraps(function)
    async def call(*args: Any) -> T:
        try:
            return await queue.run(function, *args)
        except Exception as error:
            raise Refused(error) from None

    named: Callable[..., Awaitable[T]] = call
    # Without gradio's queue a call is answered where it is asked, by any replica, and MCP makes no request to itself.
    api(named, api_name=function.__name__, queue=False, concurrency_limit=None)


def speak_mcp() -> None:
    """Has gradio's MCP server write objects as JSON, not as Python does. Raises ImportError without `mcp`."""
    import_module("mcp")  # `gradio.mcp` can be imported without it, and fails later
    from gradio import mcp as server

    class Server(server.GradioMCPServer):
        def postprocess_output_data(self, data: Any, root_url: str) -> Any:
            return super().postprocess_output_data([_text(value) for value in data], root_url)

    server.GradioMCPServer = Server  # type: ignore[misc]


def _text(value: Any) -> Any:
    """A value as JSON, unless it is a file."""
    return value if isinstance(value, dict) and "meta" in value else json.dumps(value, ensure_ascii=False)

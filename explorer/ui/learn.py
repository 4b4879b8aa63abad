"""The server's part of the section "Learn": what a checkpoint offers to the lessons, and how sounds compare."""

import json
from typing import Any

import torch

from explorer import shelf
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.shelf import METRICS, SNAPSHOTS
from explorer.ui import handlers
from explorer.ui.panels import Answer, ServerFunction, server_function

MAX_COMPARED = 8  # recipes in one request
CURVES = ("reconstruction_loss", "wasserstein")  # what falls first; the other may rise while sounds get better


class Lessons:
    """The functions that the lessons call. Every request comes from a browser and is checked here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def functions(self) -> tuple[ServerFunction, ...]:
        """The functions that the page can call."""
        return server_function(self.lesson_data, 1), server_function(self.measure, 1)

    def lesson_data(self, request: Any) -> Answer:
        """What the checkpoint of a recipe offers to the lessons; a snapshot's checkpoint is the one it was taken from.

        Returns:
            "model": the checkpoint's name; "size": how many numbers its latent has; "steps": training steps of its
            snapshots, ascending; "last": its own training step, or None if unknown; "curves": pairs of a metric's name
            and [(step, value), …]; "game": the last step of the warm start, or None; "inversion":
            {"model", "methods"} of a checkpoint with several methods of inversion, or None.
        """
        name = handlers.read(request).model
        model = self._engine.model(name)
        final = name if name in self._engine.names() else name.rpartition("@")[0]
        steps = shelf.snapshots(self._engine.folder, final)
        lines = self._metrics(final) if steps else []
        return {
            "model": final,
            "size": model.generator.latent.size,
            "steps": steps,
            "last": self._engine.model(final).card.provenance.get("step"),
            "curves": _curves(lines),
            "game": _game(lines),
            "inversion": self._inversion(final),
        }

    def measure(self, request: Any) -> Answer:
        """Lengths of latents and distances of outputs, for a list of recipes of one checkpoint.

        Returns:
            "lengths": root mean square of each latent, which is near 1 for a normal prior;
            "distances": root mean square difference of each output of the generator from the first one.
        Raises:
            ValueError: if the request is not a list of 1 to MAX_COMPARED recipes of one model.
        """
        if not isinstance(request, list) or not 0 < len(request) <= MAX_COMPARED:
            raise ValueError(f"the request must be a list of 1 to {MAX_COMPARED} recipes")
        recipes = [handlers.read(text) for text in request]
        if len({recipe.model for recipe in recipes}) > 1:
            raise ValueError("the recipes must be of one model")
        places = [self._engine.complete(recipe) for recipe in recipes]
        outputs = [self._engine.output(place) for place in places]
        return {
            "lengths": [_rms(self._engine.latent(place)) for place in places],
            "distances": [_rms(output - outputs[0]) for output in outputs],
        }

    def _metrics(self, name: str) -> list[dict[str, Any]]:
        path = self._engine.folder / SNAPSHOTS / name / METRICS
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                line |= {metric: float(line[metric]) for metric in CURVES if metric in line}
                line["step"] = int(line["step"])
            return lines
        except (OSError, ValueError, KeyError, TypeError):  # a user's own snapshots may lack the file
            return []

    def _inversion(self, first: str) -> dict[str, Any] | None:
        """The first checkpoint with several methods of inversion; the given one is tried before the others."""
        for name in (first, *self._engine.names()):
            try:
                methods = self._engine.model(name).settings.get("inversion", ())
            except CheckpointError:
                continue
            if len(methods) > 1:
                return {"model": name, "methods": list(methods)}
        return None


def _curves(lines: list[dict[str, Any]]) -> list[tuple[str, list[tuple[int, float]]]]:
    """Pairs of a metric's name and its values [(step, value), …], without metrics that no line has."""
    found = [(metric, [(line["step"], line[metric]) for line in lines if metric in line]) for metric in CURVES]
    return [(metric, points) for metric, points in found if points]


def _game(lines: list[dict[str, Any]]) -> int | None:
    """The last step of a run's first phase, the warm start; None if it has only one phase."""
    first = next((i for i, line in enumerate(lines) if line.get("phase") != lines[0].get("phase")), None)
    return None if first is None else int(lines[first - 1]["step"])


def _rms(x: torch.Tensor) -> float:
    return float(x.square().mean().sqrt())

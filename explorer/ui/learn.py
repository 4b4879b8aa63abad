"""The server's part of the section "Learn": what a checkpoint offers to the lessons, and how sounds compare."""

import json
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch

from explorer import shelf
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.measures import measure
from explorer.model import Model
from explorer.shelf import FIGURES, LESSONS, METRICS, SNAPSHOTS
from explorer.ui import handlers
from explorer.ui.panels import Answer, ServerFunction, server_function

MAX_COMPARED = 8  # recipes in one request
CURVES = ("reconstruction_loss", "wasserstein")  # what falls first; the other may rise while sounds get better
# Of what `evaluate --snapshots` measures, what the lessons explain, in this order.
SHOWN = ("frechet", "named", "accuracy", "precision", "recall", "spread", "nearest")
UNHEARD = ("validation", "held out")  # beginnings of the names of rows of real recordings that training left out


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
            {"model", "methods"} of a checkpoint with several methods of inversion, or None; "labelled": {"model",
            "labels"} of one with labels, or None; "direction": {"model", "name", "title", "unit", "step", "r2"} of
            the direction that explains most of the measure it is named after, or None; "figures": what `python -m
            training evaluate --snapshots` measured, {"data", "samples", "steps": [(step, {figure: value}), …], "real":
            the same of unheard recordings}, or None; "collapsed": a checkpoint of `lessons`, or None.
            The others' "model" is the present checkpoint if it has what the lesson needs, or else the first that has.
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
            "inversion": self._first(final, _methods),
            "labelled": self._first(final, _labels),
            "direction": self._first(final, _direction),
            "figures": self._figures(final),
            "collapsed": next(iter(sorted(shelf.find_checkpoints(self._engine.folder / LESSONS))), None),
        }

    def measure(self, request: Any) -> Answer:
        """Lengths of latents and distances of outputs, for a list of recipes of one checkpoint.

        Returns:
            "lengths": root mean square of each latent, which is near 1 for a normal prior;
            "distances": root mean square difference of each output of the generator from the first one;
            "pairs": mean distance of two outputs in the first and in the second half of the list, 0 of fewer than two;
            "measures": of each sound, by name (`explorer.measures`).
        Raises:
            ValueError: if the request is not a list of 1 to MAX_COMPARED recipes of one model.
        """
        if not isinstance(request, list) or not 0 < len(request) <= MAX_COMPARED:
            raise ValueError(f"the request must be a list of 1 to {MAX_COMPARED} recipes")
        recipes = [handlers.read(text) for text in request]
        if len({recipe.model for recipe in recipes}) > 1:
            raise ValueError("the recipes must be of one model")
        places = [self._engine.complete(recipe) for recipe in recipes]
        outputs, half = [self._engine.output(place) for place in places], len(places) // 2
        return {
            "lengths": [_rms(self._engine.latent(place)) for place in places],
            "distances": [_rms(output - outputs[0]) for output in outputs],
            "pairs": [_mean_distance(outputs[:half]), _mean_distance(outputs[half:])],
            "measures": [measure(self._engine.render(place)) for place in places],
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

    def _figures(self, name: str) -> dict[str, Any] | None:
        path = self._engine.folder / SNAPSHOTS / name / FIGURES
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["sha256"] != self._engine.model(name).card.sha256:  # of other weights
                return None
            steps = sorted((int(step), _shown(row)) for step, row in found["steps"].items())
            unheard = [row for row_name, row in found["real"].items() if row_name.startswith(UNHEARD)]
            real = _shown(unheard[-1])
            return {"data": str(found["data"]), "samples": found["samples"], "steps": steps, "real": real}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None

    def _first(self, name: str, of: Callable[[Model], dict[str, Any] | None]) -> dict[str, Any] | None:
        """What `of` finds in the given checkpoint or else in the first other one that has it, with the "model"."""
        for model in (name, *self._engine.names()):
            try:
                found = of(self._engine.model(model))
            except CheckpointError:
                continue
            if found is not None:
                return {"model": model, **found}
        return None


def _methods(model: Model) -> dict[str, Any] | None:
    methods = model.settings.get("inversion", ())
    return {"methods": list(methods)} if len(methods) > 1 else None


def _labels(model: Model) -> dict[str, Any] | None:
    condition = model.generator.condition
    return None if condition is None or len(condition.labels) < 2 else {"labels": list(condition.labels)}


def _direction(model: Model) -> dict[str, Any] | None:
    measured = [d for d in model.shipped if {"per_step", "r2"} <= set(d.measures)]
    if not measured:
        return None
    best = max(measured, key=lambda d: d.measures["r2"])
    step, r2 = best.measures["per_step"], best.measures["r2"]
    return {"name": best.name, "title": best.title, "unit": best.unit, "step": step, "r2": r2}


def _shown(row: dict[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in SHOWN if name in row}


def _curves(lines: list[dict[str, Any]]) -> list[tuple[str, list[tuple[int, float]]]]:
    """Pairs of a metric's name and its values [(step, value), …], without metrics that no line has."""
    found = [(metric, [(line["step"], line[metric]) for line in lines if metric in line]) for metric in CURVES]
    return [(metric, points) for metric, points in found if points]


def _game(lines: list[dict[str, Any]]) -> int | None:
    """The last step of a run's first phase, the warm start; None if it has only one phase."""
    first = next((i for i, line in enumerate(lines) if line.get("phase") != lines[0].get("phase")), None)
    return None if first is None else int(lines[first - 1]["step"])


def _mean_distance(outputs: list[torch.Tensor]) -> float:
    distances = [_rms(a - b) for a, b in combinations(outputs, 2)]
    return sum(distances) / max(1, len(distances))


def _rms(x: torch.Tensor) -> float:
    return float(x.square().mean().sqrt())

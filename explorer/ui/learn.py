"""The server's part of the section "Learn": what a checkpoint offers to the lessons, and how sounds compare."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import torch

from explorer import shelf
from explorer.checkpoint import Card, CheckpointError
from explorer.engine import Engine
from explorer.generators import FAMILIES
from explorer.measures import measure
from explorer.model import Model
from explorer.recipe import Place
from explorer.shelf import FIGURES, LESSONS, METRICS, SNAPSHOTS
from explorer.ui import handlers
from explorer.ui.panels import Answer, ServerFunction, server_function

MAX_COMPARED = 8  # recipes in one request
MAX_STAGES = 33  # that are sent; of more, as many that are evenly spread
CURVES = ("reconstruction_loss", "wasserstein")  # what falls first; the other may rise while sounds get better
# Of what `evaluate --snapshots` measures, what the lessons explain, in this order; not how often pieces are told from
# real ones by numbers near those that the piano learned from, which flatters it.
SHOWN = (
    "frechet",
    "named",
    "accuracy",
    "kept",
    "overlap_area",
    "told",
    "precision",
    "recall",
    "spread",
    "nearest",
)
UNHEARD = ("validation", "held out")  # beginnings of the names of rows of real recordings that training left out


class Lessons:
    """The functions that the lessons call. Every request comes from a browser and is checked here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def functions(self) -> tuple[ServerFunction, ...]:
        """The functions that the page can call."""
        functions = (self.lesson_data, self.compare, self.measure, self.stages)
        return tuple(server_function(function, 1) for function in functions)

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
            the same of unheard recordings}, or None; "collapsed": a checkpoint of `lessons`, or None; "emerging":
            {"model", "few", "usual", "many", "labels"} of one that makes its sounds in steps, the first three being
            settings with the fewest, the usual and the most steps, or None; "distilled": the same of one that has
            learned to do with few; "rivals": {"steps", "once", "labels"}, the names of one that makes its sounds in
            steps and of one that makes them at once, of the same labels, or None.
            The others' "model" is the present checkpoint if it has what the lesson needs, or else the first that has.
        """
        name = handlers.read(request).model
        model = self._engine.model(name)
        final = name if name in self._engine.names() else name.rpartition("@")[0] or name  # one of `lessons`
        steps = shelf.snapshots(self._engine.folder, final)
        lines = self._metrics(final) if steps else []
        for_lessons = _cards(self._engine.folder / LESSONS)
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
            "collapsed": next((card.name for card in for_lessons if not _emerges(card)), None),
            "emerging": self._first(final, _emerging, for_lessons),
            "distilled": self._first(final, _distilled),
            "rivals": self._rivals(final),
        }

    def compare(self, request: Any) -> Answer:
        """Lengths of latents and distances of outputs, for a list of recipes of one checkpoint.

        Returns:
            "lengths": root mean square of each latent, which is near 1 for a normal prior;
            "distances": root mean square difference of each output of the generator from the first one;
            "pairs": mean distance of two outputs in the first and in the second half of the list, 0 of fewer than two.
        Raises:
            ValueError: if the request is not a list of 1 to MAX_COMPARED recipes of one model.
        """
        places = self._places(request)
        if len({place.recipe.model for place in places}) > 1:
            raise ValueError("the recipes must be of one model")
        outputs, half = [self._engine.output(place) for place in places], len(places) // 2
        return {
            "lengths": [_rms(self._engine.latent(place)) for place in places],
            "distances": [_rms(output - outputs[0]) for output in outputs],
            "pairs": [_mean_distance(outputs[:half]), _mean_distance(outputs[half:])],
        }

    def measure(self, request: Any) -> Answer:
        """Takes a list of 1 to MAX_COMPARED recipes; returns {"measures": those of each sound, by name}, see
        `explorer.measures`. Raises ValueError for another request."""
        return {"measures": [measure(self._engine.render(place)) for place in self._places(request)]}

    def stages(self, text: Any) -> Answer:
        """Takes a recipe; returns {"stages": […]}, at most MAX_STAGES of the sounds from which its own emerges, each as
        of `handlers.sound_sent`, the last one its own."""
        place = self._engine.complete(handlers.read(text))
        sounds, model = self._engine.stages(place), self._engine.model(place.recipe.model)
        spread = torch.linspace(0, len(sounds) - 1, min(len(sounds), MAX_STAGES)).round().int().tolist()
        return {"stages": [{"step": k, **handlers.sound_sent(model, sounds[k])} for k in spread]}

    def _places(self, request: Any) -> list[Place]:
        if not isinstance(request, list) or not 0 < len(request) <= MAX_COMPARED:
            raise ValueError(f"the request must be a list of 1 to {MAX_COMPARED} recipes")
        return [self._engine.complete(handlers.read(text)) for text in request]

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

    def _first(
        self, name: str, of: Callable[[Model], dict[str, Any] | None], preferred: Sequence[Card] = ()
    ) -> dict[str, Any] | None:
        """What `of` finds in the given checkpoint or else in the first other one that has it, with the "model"."""
        for model in (name, *(card.name for card in preferred), *self._engine.names()):
            try:
                found = of(self._engine.model(model))
            except CheckpointError:
                continue
            if found is not None:
                return {"model": model, **found}
        return None

    def _rivals(self, name: str) -> dict[str, Any] | None:
        """The given checkpoint, if possible, and another one of the same labels: one makes its sounds in steps, one at
        once."""
        cards = [self._engine.model(name).card, *_cards(self._engine.folder)]
        for a, b in product(cards, cards):
            if a.labels and set(a.labels) == set(b.labels or ()) and _emerges(a) and not _emerges(b):
                return {"steps": a.name, "once": b.name, "labels": list(a.labels)}
        return None


def _cards(folder: Path) -> list[Card]:
    cards = []
    for _, path in sorted(shelf.find_checkpoints(folder).items()):
        with suppress(CheckpointError):
            cards.append(shelf.read_card(path))
    return cards


def _methods(model: Model) -> dict[str, Any] | None:
    methods = model.settings.get("inversion", ())
    return {"methods": list(methods)} if len(methods) > 1 else None


def _labels(model: Model) -> dict[str, Any] | None:
    condition = model.generator.condition
    return None if condition is None or len(condition.labels) < 2 else {"labels": list(condition.labels)}


def _emerges(card: Card) -> bool:
    return FAMILIES[card.family].emerges()


def _emerging(model: Model, distilled: bool = False) -> dict[str, Any] | None:
    if not _emerges(model.card) or model.generator.distilled != distilled:
        return None
    few, options = model.generator.draft, model.generator.settings
    usual, many = ({name: options[name][at] for name in few} for at in (0, -1))
    return {"few": dict(few), "usual": usual, "many": many, "labels": list(model.card.labels or ())}


_distilled = partial(_emerging, distilled=True)


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

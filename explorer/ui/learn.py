"""What the lessons ask of the server: what a checkpoint has for them, and what is to be measured of their sounds."""

import json
from collections.abc import Callable
from typing import Any

import torch

from explorer import shelf
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.shelf import METRICS, SNAPSHOTS
from explorer.ui import handlers
from explorer.ui.panels import Answer, answering

COMPARED = 8  # sounds at once, at most
CURVES = ("wasserstein", "reconstruction_loss")


class Lessons:
    """The functions that the lessons call, on an engine. Each takes what the browser sent, unchecked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def functions(self) -> tuple[Callable[[Any], Answer], ...]:
        """What the page may call."""
        return answering(self.equipment, 1), answering(self.measure, 1)

    def equipment(self, request: Any) -> Answer:
        """What the checkpoint of a recipe, or that of which it plays a snapshot, has for the lessons.

        Returns:
            "model": its name; "size": numbers in its latent; "steps": of its snapshots, ascending, and "last": its
            own, if it says; "curves": pairs of a figure's name and [(step, value), …]; "inversion": a checkpoint and
            the ways of inversion that one can choose from there, or None.
        """
        name = handlers.read(request).model
        model = self._engine.model(name)
        final = name if name in self._engine.names() else name.rpartition("@")[0]
        steps = shelf.snapshots(self._engine.folder, final)
        return {
            "model": final,
            "size": model.generator.latent.size,
            "steps": steps,
            "last": self._engine.model(final).card.provenance.get("step"),
            "curves": self._curves(final) if steps else [],
            "inversion": self._inversion(final),
        }

    def measure(self, request: Any) -> Answer:
        """How recipes of one checkpoint compare.

        Returns:
            "lengths": of their latents, as the root mean square of the numbers, which is near 1 for a normal prior;
            "distances": of the generator's outputs from the first one, root mean square.
        Raises:
            ValueError: if that is no list of up to COMPARED recipes of one model.
        """
        if not isinstance(request, list) or not 0 < len(request) <= COMPARED:
            raise ValueError(f"a list of at most {COMPARED} recipes is needed")
        recipes = [handlers.read(text) for text in request]
        if len({recipe.model for recipe in recipes}) > 1:
            raise ValueError("recipes of one model are needed")
        places = [self._engine.complete(recipe) for recipe in recipes]
        outputs = [self._engine.output(place) for place in places]
        return {
            "lengths": [_rms(self._engine.latent(place)) for place in places],
            "distances": [_rms(output - outputs[0]) for output in outputs],
        }

    def _curves(self, name: str) -> list[tuple[str, list[tuple[int, float]]]]:
        path = self._engine.folder / SNAPSHOTS / name / METRICS
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [
                (figure, [(int(line["step"]), float(line[figure])) for line in lines if figure in line])
                for figure in CURVES
                if any(figure in line for line in lines)
            ]
        except (OSError, ValueError, KeyError, TypeError):  # snapshots of one's own may lack them
            return []

    def _inversion(self, first: str) -> dict[str, Any] | None:
        """The first checkpoint, beginning with the given one, whose sound can be found again in several ways."""
        for name in (first, *self._engine.names()):
            try:
                ways = self._engine.model(name).settings.get("inversion", ())
            except CheckpointError:
                continue
            if len(ways) > 1:
                return {"model": name, "ways": list(ways)}
        return None


def _rms(x: torch.Tensor) -> float:
    return float(x.square().mean().sqrt())

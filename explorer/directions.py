"""Directions in latent space worth a slider.

Principal directions are found without labels, after GANSpace (Härkönen et al., 2020, arXiv:2004.02546):
not of the prior, which is the same in every direction, but of what the generator makes of it.

Measured directions are named after what they change: the loudness of a word, the notes per second of a piece. Each
is the least-squares fit of that measure over latents of the prior. For a normal prior this is the mean gradient of the
measure, however crooked it is (Stein's lemma; Brillinger, 1982, "A generalized linear model with Gaussian regressor
variables").
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.generators.base import Generator
from explorer.measures import MEASURES, measure

Progress = Callable[[int, int], None]  # told how many are done, and of how many

SEARCHED = 512  # latents that the directions of a checkpoint without any are found from
BATCH = 64
HELD = "-only"  # ends the name of the variant that leaves the other measures alone
FRESH = 0.25  # share of the latents that is kept from the fit, to try it on
WORTH_SHIPPING = 0.15  # R²
WORTH_SAYING = 0.15  # standard deviations of another measure per step
LEFT_OVER = 0.1  # share of a direction's effect that must be left when the others are held


@dataclass(frozen=True)
class Direction:
    """A unit vector in latent space.

    What was measured of it, each key only where it applies, on latents that no fit has seen:

        per_step: by how much one step, a standard deviation of the prior, changes what the direction is named after,
            in `unit`; positive.
        r2: how well it holds, 0 to 1: the share of the named measure's variance (for a principal direction: of its
            coordinate's) that the position along this direction tells.
        explained: the share of the output's variance that lies along a principal direction.
        leak.NAME: by how much one step also moves another measure of `explorer.measures.MEASURES`, in the standard
            deviations of that measure.

    Attributes:
        name: stable, used in recipes: "pc1", "loudness", or "loudness-only", which holds the other measures.
        vector: (*latent.shape), norm 1. A step along it is one standard deviation of the prior, see `LatentSpace.move`.
        title: what the slider says.
        unit: of `per_step`; empty for a principal direction.
        measures: what was measured of it.
    """

    name: str
    vector: Tensor = field(repr=False, compare=False)
    title: str = ""
    unit: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = (self.name, self.title, self.unit)
        if not all(isinstance(text, str) for text in texts) or not self.name:
            raise ValueError(f"name, title and unit of a direction are texts, not {texts!r}")
        if not isinstance(self.measures, Mapping) or not all(
            isinstance(x, int | float) and math.isfinite(x) for x in self.measures.values()
        ):
            raise ValueError(f"the measures of direction {self.name!r} are finite numbers, not {self.measures!r}")

    @property
    def leaks(self) -> dict[str, float]:
        """What one step also moves enough to be said, strongest first: {"duration": 0.31}."""
        found = {k.removeprefix("leak."): v for k, v in self.measures.items() if k.startswith("leak.")}
        return {k: v for k, v in sorted(found.items(), key=lambda x: -abs(x[1])) if abs(v) >= WORTH_SAYING}

    def to_dict(self) -> dict[str, Any]:
        """All but the vector, as plain values."""
        return {"name": self.name, "title": self.title, "unit": self.unit, "measures": dict(self.measures)}


def describe(direction: Direction) -> str:
    """One line: "Notes per second, +2.1 notes/s per step, R² 0.84, also Note length −0.62 sd"."""
    return ", ".join(filter(None, (direction.title or direction.name, details(direction))))


def details(direction: Direction, most: int | None = None) -> str:
    """`describe` without the title, for where that stands already; empty if nothing was measured.

    Args:
        most: of what it also moves, only so many, the strongest; all if None.
    """
    parts, measures = [], direction.measures
    if "per_step" in measures:
        parts.append(f"{_signed(measures['per_step'])} {direction.unit} per step")
    if "explained" in measures:
        parts.append(f"{measures['explained']:.0%} of what varies")
    if "r2" in measures:
        parts.append(f"R² {measures['r2']:.2f}")
    if leaks := list(direction.leaks.items())[:most]:
        parts.append(
            "also "
            + ", ".join(f"{MEASURES[name].title if name in MEASURES else name} {_signed(x)} sd" for name, x in leaks)
        )
    return ", ".join(parts)


def _signed(x: float) -> str:
    """Two significant figures, without an exponent: +120, −0.031."""
    return np.format_float_positional(x, 2, fractional=False, trim="-", sign=True).replace("-", "−")


@torch.no_grad()
def principal(
    generator: Generator, count: int = 12, samples: int = 1024, seed: int = 0, progress: Progress | None = None
) -> tuple[Direction, ...]:
    """The directions along which a generator's features change most.

    Takes the principal components of `generator.features` over latents of the prior, then the latent vector that
    best predicts each component's coordinate (least squares). Conditions are drawn evenly and their mean effect
    is taken out first, so that a direction is a way of speaking, not another word.

    Args:
        count: how many; fewer if the latent or the features have fewer.
        samples: latents to look at.
        progress: told how many of how many are done.
    """
    z, label, weights = _draw(generator, samples, seed)
    batches = _batches(samples, progress)
    x = torch.cat([generator.features(z[i], weights[i] if weights is not None else None) for i in batches]).double()
    for c in label.unique():
        x[label == c] -= x[label == c].mean(0)
    flat = z.flatten(1).double()
    count = min(count, flat.shape[1], x.shape[1], samples - 1)
    if x.shape[1] > samples:  # the smaller of the two matrices with the same spectrum
        values, left = torch.linalg.eigh(x @ x.T)
    else:
        values, right = torch.linalg.eigh(x.T @ x)
        left = x @ right / values.clamp_min(1e-12).sqrt()
    order = values.argsort(descending=True)[:count]
    coordinates = left[:, order] * values[order].clamp_min(0).sqrt()
    solution = torch.linalg.lstsq(flat, coordinates).solution  # (latent.size, count)
    fitted = int(samples * (1 - FRESH))  # the vectors are of all latents, how well they hold is of fresh ones
    tried = flat[fitted:] @ torch.linalg.lstsq(flat[:fitted], coordinates[:fitted]).solution
    explained = values[order] / values.clamp_min(0).sum()
    found = []
    for k in range(count):
        vector = solution[:, k]
        # An eigenvector's sign is free; fix it, so that a slider's right is the same on every machine.
        vector = vector * torch.sign(vector[vector.abs().argmax()]) / vector.norm().clamp_min(1e-12)
        r2 = _r2(tried[:, k], coordinates[fitted:, k])
        measures = {"explained": round(float(explained[k]), 4), "r2": round(r2, 4)}
        found.append(
            Direction(
                f"pc{k + 1}", vector.float().reshape(generator.latent.shape), f"Direction {k + 1}", measures=measures
            )
        )
    return tuple(found)


@torch.no_grad()
def measured(
    generator: Generator, samples: int = 4096, seed: int = 1, progress: Progress | None = None
) -> tuple[Direction, ...]:
    """The directions named after what they change, best R² first; then the principal ones; then the named ones again,
    with the other measures held.

    Renders `samples` latents, evenly over the conditions, whose mean effect on each measure is taken out first. A
    quarter of them serves only to say how well the directions hold. What does not hold is left out: a measure that no
    direction tells, a principal coordinate that no direction leads along.

    To hold the others, a direction gives up its share in the span of the others' gradients: to first order a step
    then changes none of them. Where almost nothing is left there is no such variant.

    Args:
        samples: more than the latent has numbers, and better ten times as many.
        progress: told how many of how many sounds are done; there are some more than `samples`.
    """
    more = min(samples, 2048)  # latents for the principal directions

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, samples + more)

    z, label, weights = _draw(generator, samples, seed)
    found: list[dict[str, float]] = []
    for i in _batches(samples, lambda done, _: tell(done)):
        output = generator(z[i], weights[i] if weights is not None else None)
        found += [measure(generator.representation.decode(x)) for x in output]
    flat = z.flatten(1).double() / generator.latent.std  # in steps of a slider
    fresh = torch.arange(samples) >= samples * (1 - FRESH)
    responses = []
    for name in found[0]:
        values = torch.tensor([row[name] for row in found], dtype=torch.float64)
        if (response := _respond(name, flat, values, label, fresh)) is not None:
            responses.append(response)
    responses.sort(key=lambda r: -r.r2(r.gradient))
    named, held = [], []
    for r in responses:
        others = [o.gradient for o in responses if o is not r]
        named.append(_named(r, r.gradient, r.name, MEASURES[r.name].title, responses))
        alone = _without(r.gradient, others)
        if others and alone.norm() > LEFT_OVER * r.gradient.norm():
            held.append(_named(r, alone, r.name + HELD, f"{MEASURES[r.name].title} only", responses))
    shape = generator.latent.shape
    beside = [
        replace(d, measures={**d.measures, **_leaks(d.vector.flatten().double(), responses)})
        for d in principal(generator, samples=more, progress=lambda done, _: tell(samples + done))
        if d.measures["r2"] >= WORTH_SHIPPING
    ]
    return tuple(replace(d, vector=d.vector.reshape(shape)) for d in (*named, *beside, *held))


class Search:
    """The principal directions of a generator, found by an executor once somebody asks for them."""

    def __init__(self, generator: Generator, executor: Executor) -> None:
        self._generator, self._executor = generator, executor
        self._starting = threading.Lock()
        self._found: Future[tuple[Direction, ...]] | None = None
        self.share_done = 0.0

    def begin(self) -> Future[tuple[Direction, ...]]:
        """The directions to come; the search starts with the first call."""
        with self._starting:
            if self._found is None:
                self._found = self._executor.submit(self._find)
            return self._found

    def _find(self) -> tuple[Direction, ...]:
        return principal(self._generator, samples=SEARCHED, progress=self._tell)

    def _tell(self, done: int, total: int) -> None:
        self.share_done = done / total


@dataclass(frozen=True)
class _Response:
    """How one measure follows the latent: a linear fit, and fresh latents (n, size) with their values (n,)."""

    name: str
    gradient: Tensor
    spread: float
    fresh: Tensor
    values: Tensor

    def per_step(self, vector: Tensor) -> float:
        """The mean change along a unit vector: what the fit says, put right by what it leaves of the fresh values."""
        along = self.fresh @ vector
        left = self.values - self.fresh @ self.gradient
        return float(self.gradient @ vector + along @ left / (along @ along))

    def r2(self, vector: Tensor) -> float:
        """The share of the fresh values' variance that the position along a vector tells."""
        return _r2(self.fresh @ vector, self.values)


def _respond(name: str, z: Tensor, values: Tensor, label: Tensor, fresh: Tensor) -> _Response | None:
    """The fit of one measure, its classes' means taken out; None if it does not follow the latent."""
    known = values.isfinite()
    if known[~fresh].sum() < 2 or known[fresh].sum() < 2:
        return None
    values = values.clone()
    for c in label.unique():
        values[label == c] -= values[known & ~fresh & (label == c)].mean()
    known = values.isfinite()  # nor is a value whose class has no mean
    spread = float(values[known].std())
    if not spread > 1e-9:
        return None
    gradient = torch.linalg.lstsq(z[known & ~fresh], values[known & ~fresh, None]).solution[:, 0]
    response = _Response(name, gradient, spread, z[known & fresh], values[known & fresh])
    return response if response.r2(gradient) >= WORTH_SHIPPING else None


def _r2(a: Tensor, b: Tensor) -> float:
    """The squared correlation of two vectors; 0 if one is constant."""
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) ** 2 / (a.square().sum() * b.square().sum()).clamp_min(1e-300))


def _without(gradient: Tensor, others: list[Tensor]) -> Tensor:
    """What is left of a gradient outside the span of the others."""
    if not others:
        return gradient
    basis = torch.linalg.qr(torch.stack([o / o.norm() for o in others], dim=1)).Q
    return gradient - basis @ (basis.T @ gradient)


def _named(r: _Response, vector: Tensor, name: str, title: str, responses: list[_Response]) -> Direction:
    vector = vector / vector.norm()
    measures = {"per_step": float(f"{r.per_step(vector):.4g}"), "r2": round(r.r2(vector), 4)}
    return Direction(
        name,
        vector.float(),
        title,
        MEASURES[r.name].unit,
        measures | _leaks(vector, [o for o in responses if o is not r]),
    )


def _leaks(vector: Tensor, responses: list[_Response]) -> dict[str, float]:
    return {f"leak.{r.name}": round(r.per_step(vector) / r.spread, 3) for r in responses}


def _batches(samples: int, progress: Progress | None) -> Iterator[Tensor]:
    """The numbers 0 ... samples - 1 in batches; tells of each one when the next is asked for."""
    for batch in torch.arange(samples).split(BATCH):
        yield batch
        if progress is not None:
            progress(int(batch[-1]) + 1, samples)


def _draw(generator: Generator, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Latents (samples, *latent.shape), the number of each one's condition, evenly, and its weights if it has any."""
    z = generator.latent.sample(samples, np.random.RandomState(seed))
    if generator.condition is None:
        return z, torch.zeros(samples, dtype=torch.long), None
    classes = len(generator.condition.choices)
    label = torch.arange(samples) % classes
    return z, label, torch.nn.functional.one_hot(label, classes).float()

"""Principal and measured directions in latent space, which the app's sliders follow.

Principal directions need no labels and no measures, after GANSpace (Härkönen et al., 2020, arXiv:2004.02546): they are
those along which the generator's features vary most. The prior itself has none: it is the same in every direction.

Measured directions are named after what they change: the loudness of a sound, the notes per second of a piece. Each
is the least-squares fit of that measure over latents of the prior. For a normal prior this is the mean gradient of the
measure, however nonlinear it is (Stein's lemma; Brillinger, 1982, "A generalized linear model with Gaussian regressor
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

Progress = Callable[[int, int], None]  # called with (done, total)

SEARCH_SAMPLES = 512  # latents used to find the directions of a checkpoint that ships none
BATCH = 64
ONLY = "-only"  # suffix of a direction's name for the variant that holds the other measures constant
HELD_OUT = 0.25  # share of the latents held out of the fit, to validate it
MIN_R2 = 0.15  # R² below which a direction is left out
CLEAR = 0.3  # R² from which a measured direction comes before those that the generator has by construction
MIN_LEAK = 0.15  # standard deviations of another measure per step, below which a leak is not mentioned
MIN_REMAINDER = 0.1  # share of a gradient's norm that must remain once the other measures are held constant


@dataclass(frozen=True)
class Direction:
    """A unit vector in latent space.

    Attributes:
        name: stable, used in recipes: "pc1", "loudness", or "loudness-only", which holds the other measures constant.
        vector: (*latent.shape), norm 1. A step along it is one standard deviation of the prior, see `LatentSpace.move`.
        title: the slider's label.
        unit: of `per_step`; empty for a principal direction.
        measures: how it affects the sound, on latents held out of the fit; a key is absent where it does not apply:
            per_step: change of the measure it is named after, per step, in `unit`; positive.
            r2: share, 0 to 1, of that measure's variance that the position along the direction explains; for a
                principal direction, of its coordinate's variance.
            explained: share of the features' variance along a principal direction.
            leak.NAME: change of another measure of `explorer.measures.MEASURES` per step, in the standard deviations
                of that measure.
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
        """Other measures that a step changes by MIN_LEAK or more, strongest first: {"duration": 0.31}."""
        found = {k.removeprefix("leak."): v for k, v in self.measures.items() if k.startswith("leak.")}
        return {k: v for k, v in sorted(found.items(), key=lambda x: -abs(x[1])) if abs(v) >= MIN_LEAK}

    def to_dict(self) -> dict[str, Any]:
        """All fields but the vector, as plain values for JSON."""
        return {"name": self.name, "title": self.title, "unit": self.unit, "measures": dict(self.measures)}


def describe(direction: Direction) -> str:
    """A direction in one line: "Notes per second, +2.1 notes/s per step, R² 0.84, also Note length −0.62 sd"."""
    return ", ".join(filter(None, (direction.title or direction.name, details(direction))))


def details(direction: Direction, most: int | None = None) -> str:
    """`describe` without the title; empty if the direction was not measured.

    Args:
        most: how many leaks to mention, the strongest first; all if None.
    """
    parts, measures = [], direction.measures
    if "per_step" in measures:
        parts.append(f"{_signed(measures['per_step'])} {direction.unit} per step")
    if "explained" in measures:
        parts.append(f"{100 * measures['explained']:.0f} % of what varies")
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
    generator: Generator, count: int = 12, samples: int = 1024, progress: Progress | None = None
) -> tuple[Direction, ...]:
    """The directions along which a generator's features change most.

    Takes the principal components of `generator.features` over latents of the prior, then the latent vector that
    best predicts each component's coordinate (least squares). Every label is used equally often and its mean is
    subtracted first, so that a direction changes how a label sounds, not which label it sounds like.

    Args:
        count: how many directions; fewer if the latent or the features have fewer dimensions.
        samples: number of latents drawn.
        progress: called with (done, total) latents.
    """
    z, label, weights = _draw(generator, samples, seed=0)
    batches = _batches(samples, progress)
    x = torch.cat([generator.features(z[i], weights[i] if weights is not None else None) for i in batches]).double()
    for c in label.unique():
        x[label == c] -= x[label == c].mean(0)
    flat = z.flatten(1).double()
    count = min(count, flat.shape[1], x.shape[1], samples - 1)
    if x.shape[1] > samples:  # of the two matrices with the same eigenvalues, the smaller
        values, left = torch.linalg.eigh(x @ x.T)
    else:
        values, right = torch.linalg.eigh(x.T @ x)
        left = x @ right / values.clamp_min(1e-12).sqrt()
    order = values.argsort(descending=True)[:count]
    coordinates = left[:, order] * values[order].clamp_min(0).sqrt()
    solution = torch.linalg.lstsq(flat, coordinates).solution  # (latent.size, count)
    # The vectors are fitted to all latents; r2 is that of a second fit, validated on the held-out ones.
    fitted = int(samples * (1 - HELD_OUT))
    tried = flat[fitted:] @ torch.linalg.lstsq(flat[:fitted], coordinates[:fitted]).solution
    explained = values[order] / values.clamp_min(0).sum()
    found = []
    for k in range(count):
        vector = solution[:, k]
        # An eigenvector's sign is arbitrary; fix it, so that a slider goes the same way on every machine.
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
def measured(generator: Generator, samples: int, progress: Progress | None = None) -> tuple[Direction, ...]:
    """The measured directions, best R² first; the principal ones; the "-only" variants of the measured ones.

    Those that the generator has by construction (`Generator.axes`) come before measured ones with an R² below CLEAR.

    Renders `samples` latents, every label equally often, the k-th with the noise of seed k if there is one, and
    subtracts each label's mean from each measure. A quarter of them is held out to validate the fits. Directions with
    an R² below MIN_R2 are left out.

    A "-only" variant is the measure's gradient without its projection onto the span of the other gradients: to first
    order a step changes none of the other measures. It is left out where almost nothing of the gradient remains.

    Args:
        samples: more than the latent has dimensions, and better ten times as many.
        progress: called with (done, total) sounds; the total includes those rendered for the principal directions.
    """
    principal_samples = min(samples, 2048)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, samples + principal_samples)

    z, label, weights = _draw(generator, samples, seed=1)
    rows: list[dict[str, float]] = []
    for i in _batches(samples, lambda done, _: report(done)):
        noise = None if generator.noise is None else generator.noise.from_seeds(i.tolist())
        output = generator(z[i], weights[i] if weights is not None else None, noise=noise)
        rows += [measure(generator.representation.decode(x)) for x in output]
    flat = z.flatten(1).double() / generator.latent.std  # in steps of a slider
    held_out = torch.arange(samples) >= samples * (1 - HELD_OUT)
    responses = []
    for name in rows[0]:
        values = torch.tensor([row[name] for row in rows], dtype=torch.float64)
        if (response := _fit(name, flat, values, label, held_out)) is not None:
            responses.append(response)
    responses.sort(key=lambda r: -r.r2(r.gradient))
    plain, isolated = [], []
    for r in responses:
        others = [o.gradient for o in responses if o is not r]
        plain.append(_measured_direction(r, r.gradient, r.name, MEASURES[r.name].title, responses))
        rest = _outside_span(r.gradient, others)
        if others and rest.norm() > MIN_REMAINDER * r.gradient.norm():
            isolated.append(_measured_direction(r, rest, r.name + ONLY, f"{MEASURES[r.name].title} only", responses))
    isolated = [d for d in isolated if d.measures["r2"] >= MIN_R2]
    shape = generator.latent.shape
    built = [Direction(title.lower().replace(" ", "-"), vector, title) for title, vector in generator.axes.items()]
    components = [
        d
        for d in principal(generator, samples=principal_samples, progress=lambda done, _: report(samples + done))
        if d.measures["r2"] >= MIN_R2
    ]

    def leaking(d: Direction) -> Direction:
        return replace(d, measures={**d.measures, **_leaks(d.vector.flatten().double(), responses)})

    clear = sum(d.measures["r2"] >= CLEAR for d in plain)
    every = (*plain[:clear], *map(leaking, built), *plain[clear:], *map(leaking, components), *isolated)
    return tuple(replace(d, vector=d.vector.reshape(shape)) for d in every)


class Search:
    """A search for a generator's principal directions, run in the background once somebody asks for them."""

    def __init__(self, generator: Generator, executor: Executor) -> None:
        self._generator, self._executor = generator, executor
        self._starting = threading.Lock()
        self._found: Future[tuple[Direction, ...]] | None = None
        self.share_done = 0.0

    def begin(self) -> Future[tuple[Direction, ...]]:
        """Starts the search if it has not started yet, and returns its future result."""
        with self._starting:
            if self._found is None:
                self._found = self._executor.submit(self._find)
            return self._found

    def _find(self) -> tuple[Direction, ...]:
        return principal(self._generator, samples=SEARCH_SAMPLES, progress=self._report)

    def _report(self, done: int, total: int) -> None:
        self.share_done = done / total


@dataclass(frozen=True)
class _Response:
    """The linear fit of one measure over the latent, with held-out latents (n, size) and their values (n,)."""

    name: str
    gradient: Tensor
    spread: float
    held_out: Tensor
    values: Tensor

    def per_step(self, vector: Tensor) -> float:
        """Mean change per step along a unit vector: that of the fit, corrected by its residuals on held-out latents."""
        along = self.held_out @ vector
        residual = self.values - self.held_out @ self.gradient
        return float(self.gradient @ vector + along @ residual / (along @ along))

    def r2(self, vector: Tensor) -> float:
        """Share of the held-out values' variance that the position along a vector explains."""
        return _r2(self.held_out @ vector, self.values)


def _fit(name: str, z: Tensor, values: Tensor, label: Tensor, held_out: Tensor) -> _Response | None:
    """Fits one measure after subtracting each label's mean; None if its held-out R² is below MIN_R2.

    Args:
        held_out: (n,) bool, the latents held out of the fit.
    """
    known = values.isfinite()
    if known[~held_out].sum() < 2 or known[held_out].sum() < 2:
        return None
    values = values.clone()
    for c in label.unique():
        values[label == c] -= values[known & ~held_out & (label == c)].mean()
    known = values.isfinite()  # a value whose label has no mean is unknown too
    spread = float(values[known].std())
    if not spread > 1e-9:
        return None
    gradient = torch.linalg.lstsq(z[known & ~held_out], values[known & ~held_out, None]).solution[:, 0]
    response = _Response(name, gradient, spread, z[known & held_out], values[known & held_out])
    return response if response.r2(gradient) >= MIN_R2 else None


def _r2(a: Tensor, b: Tensor) -> float:
    """Squared correlation of two vectors; 0 if one is constant."""
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) ** 2 / (a.square().sum() * b.square().sum()).clamp_min(1e-300))


def _outside_span(gradient: Tensor, others: list[Tensor]) -> Tensor:
    """A gradient without its projection onto the span of the others."""
    if not others:
        return gradient
    basis = torch.linalg.qr(torch.stack([o / o.norm() for o in others], dim=1)).Q
    return gradient - basis @ (basis.T @ gradient)


def _measured_direction(r: _Response, vector: Tensor, name: str, title: str, responses: list[_Response]) -> Direction:
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
    """Entries `leak.NAME` of `Direction.measures`."""
    return {f"leak.{r.name}": round(r.per_step(vector) / r.spread, 3) for r in responses}


def _batches(samples: int, progress: Progress | None) -> Iterator[Tensor]:
    """Indices 0 ... samples - 1 in batches; reports each batch as done when the next one is requested."""
    for batch in torch.arange(samples).split(BATCH):
        yield batch
        if progress is not None:
            progress(int(batch[-1]) + 1, samples)


def _draw(generator: Generator, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Latents (samples, *latent.shape), their label indices (samples,), in turn, and one-hot conditions, if any.

    Of more labels than half the samples, some that are spread evenly are used.
    """
    z = generator.latent.sample(samples, np.random.RandomState(seed))
    if generator.condition is None:
        return z, torch.zeros(samples, dtype=torch.long), None
    classes = len(generator.condition.labels)
    used = max(1, min(classes, samples // 2))  # twice each, since the mean of a label is subtracted
    label = torch.linspace(0, classes - 1, used).round().long()[torch.arange(samples) % used]
    return z, label, torch.nn.functional.one_hot(label, classes).float()

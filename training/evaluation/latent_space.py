"""How good a latent space is to move in."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from explorer.generators.base import Generator
from explorer.latent import Path
from explorer.measures import measure
from explorer.sound.base import Sound
from training.evaluation.distribution_metrics import conditional_entropy
from training.evaluation.tables import Column, Table

BATCH = 16  # on one thread as fast as any larger one, and the bar moves often
PAIRS = 128
STEP = 0.01  # smaller, and the rounding of 32-bit floats and of notes would be measured too
FOLDS = 5

Progress = Callable[[int], object]  # told how many more sounds are done


def draw(generator: Generator, seeds: range) -> tuple[Tensor, Tensor | None, np.ndarray]:
    """The latents of seeds, with the labels given out evenly: the k-th seed takes the k-th, round and round.

    Returns:
        z (n, *latent.shape), the condition (n, choices) or None, and the labels' indices (n,), 0 without a condition.
    """
    z = torch.stack([generator.latent.from_seed(seed) for seed in seeds])
    if generator.condition is None:
        return z, None, np.zeros(len(seeds), dtype=int)
    labels = np.arange(len(seeds)) % len(generator.condition.labels)
    return z, torch.eye(len(generator.condition.labels))[labels], labels


@torch.inference_mode()
def outputs(generator: Generator, z: Tensor, condition: Tensor | None, progress: Progress) -> Iterator[Tensor]:
    """The generator's output (*representation.shape) for each latent (n, *latent.shape)."""
    for start in range(0, len(z), BATCH):
        part = slice(start, start + BATCH)
        yield from generator(z[part], None if condition is None else condition[part])
        progress(len(z[part]))


@torch.inference_mode()
def _features(generator: Generator, z: Tensor, condition: Tensor | None, progress: Progress) -> Tensor:
    found = []
    for start in range(0, len(z), BATCH):
        part = slice(start, start + BATCH)
        found.append(generator.features(z[part], None if condition is None else condition[part]))
        progress(len(found[-1]))
    return torch.cat(found).double()


def path_table(generator: Generator, progress: Progress, pairs: int = PAIRS) -> Table:
    """Path length of arc and line, between `pairs` of consecutive seeds. Calls the generator 6 times a pair.

    Karras et al. (2019), arXiv:1812.04948, section 4.1, measure the squared distance of the outputs at t and t + step
    over step^2. Here the distance is one of the generator's own features, and is divided by the squared distance of
    the two ends: 1 is the shortest there is, a crossfade of the outputs at constant speed.
    """
    z, condition, _ = draw(generator, range(2 * pairs))
    starts, ends = z[0::2], z[1::2]
    condition = None if condition is None else condition[:pairs]  # both ends of a way speak the same label
    far = _features(generator, starts, condition, progress) - _features(generator, ends, condition, progress)
    t = torch.from_numpy(np.random.RandomState(0).uniform(0, 1 - STEP, pairs).astype(np.float32))
    rows: dict[str, dict[str, float]] = {}
    paths: tuple[Path, ...] = ("arc", "line")
    for path in paths:
        here, ahead = (
            torch.cat(
                [
                    generator.latent.interpolate(a, b, when[None], path)
                    for a, b, when in zip(starts, ends, times, strict=True)
                ]
            )
            for times in (t, t + STEP)
        )
        near = _features(generator, ahead, condition, progress) - _features(generator, here, condition, progress)
        squared = near.square().sum(1) / STEP**2
        steepest = squared.topk(max(1, pairs // 20)).values.sum() / squared.sum().clamp_min(1e-12)
        length = squared.mean() / far.square().sum(1).mean().clamp_min(1e-12)
        rows[path] = {"length": float(length), "steepest": float(steepest)}
    columns = (Column("length", "path length", ideal="1"), Column("steepest", "in the steepest 5 %", True, "5 %"))
    return Table(
        "Ways through latent space",
        columns,
        rows,
        {},
        (
            f"path length: squared speed of the output along the way over the squared distance of its ends, "
            f"{pairs} ways (perceptual path length, Karras et al. 2019, on the generator's own features, in steps of "
            f"{STEP:g}); 1 is a crossfade; notes change in jumps, which count the more the smaller the steps",
            "in the steepest 5 %: how much of that squared speed falls on a twentieth of the places; more means jumps",
            "there is no row for a mapping space: the ways one can go in the explorer are those of the latent itself",
        ),
    )


def separability_table(z: Tensor, labels: np.ndarray, sounds: Sequence[Sound]) -> Table:
    """Whether a plane in latent space parts sounds with more of what can be measured of them from those with less.

    Linear separability after Karras et al. (2019), arXiv:1812.04948, section 4.2: the entropy that is left of an
    attribute's side (more or less) once a linear classifier has seen the latent. As there, the less certain half of
    the items, here those nearest to the median, is left out. Unlike there, the classifier is scored on items it was
    not fitted to, and attributes are taken from the mean of the item's label, since a conditional generator is told
    the label and not by the latent.

    Args:
        z: (n, *latent.shape). labels: (n,) indices. sounds: what became of the latents.
    """
    flat, measured = z.flatten(1).numpy(), [measure(sound) for sound in sounds]
    attributes = {name: np.array([m[name] for m in measured]) for name in measured[0]}
    rows = {"latent": {name: entropy_left(flat, labels, values) for name, values in attributes.items()}}
    rows["chance"] = dict.fromkeys(attributes, 1.0)
    columns = tuple(Column(name, name, ideal="0") for name in attributes)
    return Table(
        "Linear separability, bits left unknown",
        columns,
        rows,
        {},
        (
            "what a linear classifier of the latent leaves unknown of whether a sound has much or little of something, "
            "cross-validated; 0: one direction governs it, 1: none tells anything of it",
            "measured within each label: a conditional generator is told the label, so the latent need not tell it",
        ),
    )


def entropy_left(z: np.ndarray, labels: np.ndarray, values: np.ndarray) -> float:
    """What the latents z (n, size) leave unknown of the side on which the values (n,) lie, in bits, 0 to 1.

    See `separability_table`. A value that is NaN is left out; values without two sides leave all unknown.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    known = np.isfinite(values)
    z, labels, values = z[known], labels[known], values[known].copy()
    for label in np.unique(labels):
        values[labels == label] -= values[labels == label].mean()
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)) if len(values) else np.zeros(3)
    clear = (values < low) | (values > high)
    side = values[clear] > middle
    if min(np.bincount(side, minlength=2)) < FOLDS:
        return 1.0
    guess = cross_val_predict(LogisticRegression(max_iter=1000), z[clear], side, cv=FOLDS)
    return min(1.0, conditional_entropy(side, guess))

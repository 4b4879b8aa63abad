"""Measures of a latent space: path length and linear separability, after StyleGAN."""

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

BATCH = 16  # on one thread larger batches are no faster, and the progress bar would move less often
PAIRS = 128
STEP = 0.01  # of t; with smaller steps rounding would be measured too
FOLDS = 5

Progress = Callable[[int], object]  # called with the number of sounds finished since the last call


def draw(generator: Generator, seeds: range) -> tuple[Tensor, Tensor | None, np.ndarray]:
    """The latents of seeds, with labels in turn: the k-th seed gets label k, starting over after the last.

    Returns:
        z (n, *latent.shape), the condition (n, labels) or None, and the labels' indices (n,), 0 without a condition.
    """
    z = torch.stack([generator.latent.from_seed(seed) for seed in seeds])
    if generator.condition is None:
        return z, None, np.zeros(len(seeds), dtype=int)
    labels = np.arange(len(seeds)) % len(generator.condition.labels)
    return z, torch.eye(len(generator.condition.labels))[labels], labels


@torch.inference_mode()
def outputs(generator: Generator, z: Tensor, condition: Tensor | None, progress: Progress) -> Iterator[Tensor]:
    """Yields the generator's output (*representation.shape) for each latent of (n, *latent.shape).

    The noise of the k-th, where there is one, is that of seed k.
    """
    for start in range(0, len(z), BATCH):
        part = slice(start, start + BATCH)
        noise = None if generator.noise is None else generator.noise.from_seeds(range(len(z))[part])
        yield from generator(z[part], None if condition is None else condition[part], noise=noise)
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
    """Perceptual path length of arcs and lines between pairs of consecutive seeds. Generates 6 times for each pair.

    Karras et al. (2019), arXiv:1812.04948, section 4.1, measure the squared distance of the outputs at t and t + step
    over step^2. Here the distance is between the generator's own features, and is divided by the squared distance of
    the two ends: 1, the smallest possible, is a crossfade of the features at constant speed.
    """
    z, condition, _ = draw(generator, range(2 * pairs))
    starts, ends = z[0::2], z[1::2]
    condition = None if condition is None else condition[:pairs]  # both ends have the same label
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
        "Paths through latent space",
        columns,
        rows,
        {},
        (
            f"path length: squared speed of the output along the path over the squared distance of its ends, mean of "
            f"{pairs} paths (perceptual path length, Karras et al. 2019, on the generator's own features, in steps of "
            f"{STEP:g}); 1 is a crossfade; notes change in jumps, which count more in smaller steps",
            "in the steepest 5 %: share of the squared speed that falls on 5 % of the points; more means jumps",
            "there is no row for a mapped latent (StyleGAN's w): the explorer moves in z itself",
        ),
    )


def separability_table(z: Tensor, labels: np.ndarray, sounds: Sequence[Sound]) -> Table:
    """Linear separability: how well a linear classifier of the latent predicts whether a measure of the sound is high.

    After Karras et al. (2019), arXiv:1812.04948, section 4.2: the conditional entropy of whether a measure is high or
    low, given the prediction of a linear classifier of the latent. As there, the less certain half of the items, here
    those nearest to the median, is left out. Unlike there, the classifier is cross-validated, and measures are taken
    relative to the mean of the item's label, since the label of a conditional generator does not depend on the latent.

    Args:
        z: (n, *latent.shape). labels: (n,) indices. sounds: of the latents.
    """
    flat, measured = z.flatten(1).numpy(), [measure(sound) for sound in sounds]
    attributes = {name: np.array([m[name] for m in measured]) for name in measured[0]}
    rows = {"latent": {name: entropy_left(flat, labels, values) for name, values in attributes.items()}}
    rows["chance"] = dict.fromkeys(attributes, 1.0)
    columns = tuple(Column(name, name, ideal="0") for name in attributes)
    return Table(
        "Linear separability, conditional entropy in bits",
        columns,
        rows,
        {},
        (
            "entropy of whether a measure of the sound is high or low, given the prediction of a linear classifier of "
            "the latent, cross-validated; 0: one direction determines the measure, 1: no direction predicts it",
            "measured within each label, since the label is given to the generator beside the latent",
        ),
    )


def entropy_left(z: np.ndarray, labels: np.ndarray, values: np.ndarray) -> float:
    """Conditional entropy of whether values (n,) are high or low, given a linear classifier of latents z (n, size).

    In bits, 0 to 1.

    See `separability_table`. NaN values are left out. Without enough high and low values the result is 1.
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

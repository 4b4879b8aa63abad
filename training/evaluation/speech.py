"""Measures a generator of speech with a judge that was trained on real recordings only.

Real, baseline and generated sounds are measured alike: the judge listens to the sound, and its outputs are compared.
Except for the recordings themselves, all sounds come from spectrograms through the model's own inversion.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from explorer.directions import Direction
from explorer.generators.base import Generator
from explorer.judge import Judge
from explorer.sound.base import Sound
from training.data.audio import load_waveforms
from training.evaluation import distribution_metrics
from training.evaluation.judge import accuracy, find_judge
from training.evaluation.latent_space import PAIRS, Progress, draw, outputs, path_table, separability_table
from training.evaluation.tables import Column, Table, Target
from training.task import DataError

SAMPLES = 2048
DIRECTION_SEEDS = 50  # sounds that are moved along each direction
SIGMAS = 2.0  # how far, in standard deviations of the latent
COLUMNS = (
    Column("named", "named", True, "high"),
    Column("accuracy", "right", True, "high"),
    Column("is", "IS", ideal="high"),
    Column("mis", "mIS", ideal="high"),
    Column("am", "AM", ideal="low"),
    Column("frechet", "Fréchet", ideal="low"),
    Column("frechet_few", "of few", ideal="low"),
    Column("ndb", "NDB/K", ideal="low"),
    Column("precision", "precision", ideal="high"),
    Column("recall", "recall", ideal="high"),
    Column("spread", "spread", ideal="1"),
    Column("mel_spread", "spread, mel", ideal="1"),
    Column("nearest", "nearest", ideal="1"),
    Column("mel_nearest", "nearest, mel", ideal="1"),
    Column("told", "told from real", True, "50 %"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgedSounds:
    """What is measured of a set of sounds, one per row: intended labels, outputs of the judge, and spectrograms.

    `labels` (n,) are indices of the intended labels, or None if there are none; `probabilities` (n, labels) and
    `features` (n, k) are the judge's; `mel` (n, bands * frames) is the spectrogram of the sound in [-1, 1].
    """

    labels: np.ndarray | None
    probabilities: np.ndarray
    features: np.ndarray
    mel: np.ndarray

    def stratified_subsample(self, count: int) -> "JudgedSounds":
        """At most `count` sounds, with the same shares of labels as in all."""
        if count >= len(self.mel):
            return self
        # Sorted by label first: a stride through labels in turn would miss some of them.
        by_class = np.argsort(self.classes, kind="stable")
        rows = by_class[np.linspace(0, len(self.mel) - 1, count).astype(int)]
        labels = None if self.labels is None else self.labels[rows]
        return JudgedSounds(labels, self.probabilities[rows], self.features[rows], self.mel[rows])

    @property
    def classes(self) -> np.ndarray:
        """Label indices (n,): the intended ones or, if there are none, those that the judge recognises."""
        return self.probabilities.argmax(1) if self.labels is None else self.labels


def speech_tables(
    generator: Generator,
    directions: tuple[Direction, ...],
    folder: Path,
    cache: Path,
    judge_file: Path | None,
    samples: int,
) -> list[Table]:
    """Measures a generator of speech against the recordings of a folder, which must have its labels.

    Args:
        directions: along which to check whether sounds keep their label.
        judge_file: a judge; None for the one in the cache, which is trained first if needed.
    Raises:
        DataError: if the folder has no labels, or no recordings for validation.
        CheckpointError: if the judge cannot be read, or knows other labels or another sample rate.
    """
    representation, condition = generator.representation, generator.condition
    options = {"sample_rate": str(representation.sample_rate)}
    clips = load_waveforms(folder, cache, options | ({"labels": ",".join(condition.labels)} if condition else {}))
    if not clips.meta["labels"] or not len(clips.valid):
        raise DataError(f"{folder}: to measure speech, labels (sub-folders) and recordings for validation are needed")
    judge = find_judge(clips, cache, judge_file)
    log.info("judge: %.1f %% of %d validation recordings right", 100 * accuracy(judge, clips), len(clips.valid))
    train, valid = (_sounds(part, representation.sample_rate) for part in (clips.train, clips.valid))
    train_labels, valid_labels = clips.train_labels.numpy(), clips.valid_labels.numpy()
    half = min(samples // 2, len(train))
    picked = np.linspace(0, len(train) - 1, half).astype(int)
    z, weights, labels = draw(generator, range(samples))
    moves = 1 + 2 * len(directions)
    total = 2 * samples + len(valid) + 3 * half + 6 * PAIRS + 2 * moves * DIRECTION_SEEDS
    with tqdm(total=total, unit="sound", dynamic_ncols=True) as bar:

        def judged(x: Tensor, labels: np.ndarray | None) -> JudgedSounds:
            return judge_sounds(generator, judge, [_decode(generator, item, bar.update) for item in x], labels)

        bar.set_description("real")
        real = judge_sounds(generator, judge, train, train_labels)
        held_out = judge_sounds(generator, judge, valid, valid_labels)
        mel = _encode(generator, train)
        inverted = judged(mel[picked], train_labels[picked])
        reference = judged(_encode(generator, valid), valid_labels)
        bar.set_description("baselines")
        rng = np.random.RandomState(0)
        made = {name: make(mel, train_labels, train_labels[picked], rng) for name, make in BASELINES.items()}
        baselines = {name: judged(x, train_labels[picked]) for name, x in made.items()}
        bar.set_description("model")
        made["model"] = torch.stack(list(outputs(generator, z, weights, bar.update)))
        sounds = [_decode(generator, x, bar.update) for x in made["model"]]
        model = judge_sounds(generator, judge, sounds, None if condition is None else labels)
        bar.set_description("paths")
        paths = path_table(generator, bar.update)
        bar.set_description("directions")
        kept = label_kept_table(generator, judge, directions, bar.update)
    scale = _Scale(judge, real, reference)
    rows = {
        "training, recordings": scale.row(real, itself=True),
        "validation, recordings": scale.row(held_out),
        "training, inverted": scale.row(inverted, itself=None),
        "validation, inverted": scale.row(reference),
        "model": scale.row(model),
        **{name: scale.row(sounds) for name, sounds in baselines.items()},
    }
    # Of spectrograms as they are made, so that it is not about inversion.
    spectrograms = {name: x.flatten(1).numpy() for name, x in made.items()} | {"validation, recordings": held_out.mel}
    for name, mels in spectrograms.items():
        told = distribution_metrics.two_sample_accuracy(real.mel, mels)
        if np.isfinite(told):
            rows[name]["told"] = told
    held_out_row = rows["validation, inverted"]
    targets = {
        "accuracy": Target(low=0.98),
        "is": Target(low=0.9 * held_out_row["is"]),
        "frechet_few": Target(high=4 * held_out_row["frechet_few"]),
        "precision": Target(low=0.7),
        "recall": Target(low=0.5),
        "nearest": Target(low=0.8),
        "mel_nearest": Target(low=0.8),
        "told": Target(high=max(0.72, rows["validation, recordings"].get("told", 0.0))),
    }
    inversions = ", ".join(f"{name}: {options[0]}" for name, options in representation.settings.items())
    notes = (
        f"{samples:,} sounds of the seeds 0 to {samples - 1}, labels in turn; all rows are measured against the "
        f"{len(train):,} training recordings; {len(valid):,} recordings are for validation",
        "the judge is our own, trained on these training recordings: compare figures within this table only, not with "
        "published ones",
        f"inverted: the recording's spectrogram, turned back into sound as the model's are ({inversions}); targets are "
        "relative to validation, inverted",
        f"of few: Fréchet distance of at most {len(valid):,} sounds, as many as for validation, since it falls as sets "
        "grow",
        "precision, recall: k-NN with k = 3, equally many of both sets",
        "spread: within a label, over that of the training recordings; nearest: mean distance to the nearest training "
        "recording, over that of validation, inverted (below 1: nearer to the training set than unheard speech is); "
        "by the judge's features and by spectrogram",
        "told from real: balanced accuracy, cross-validated, of a support vector machine that tells spectrograms, as "
        "they are made, from those of training recordings by 60 principal axes of both",
        "Gaussian: drawn from one normal distribution of spectrograms per label; two clips: the mean of two training "
        "spectrograms of one label",
    )
    separable = separability_table(z, model.classes, sounds)
    return [Table("Speech", COLUMNS, rows, targets, notes), paths, separable, kept]


class _Scale:
    """The reference of all rows: the training recordings, and validation as the unit of nearest distances."""

    def __init__(self, judge: Judge, real: JudgedSounds, reference: JudgedSounds) -> None:
        self.judge, self.real, self.few = judge, real, len(reference.mel)
        self.spread = distribution_metrics.spread(real.features, real.classes)
        self.mel_spread = distribution_metrics.spread(real.mel, real.classes)
        self.nearest = distribution_metrics.nearest_distances(reference.features, real.features).mean()
        self.mel_nearest = distribution_metrics.nearest_distances(reference.mel, real.mel).mean()

    def row(self, sounds: JudgedSounds, itself: bool | None = False) -> dict[str, float]:
        """The figures of a set of sounds.

        Args:
            itself: True if they are the training recordings, of which none counts as its own neighbour; None if they
                are made from them, so that the nearest one is meaningless.
        """
        real, count = self.real, len(sounds.mel)
        precision, recall = distribution_metrics.precision_recall(
            real.stratified_subsample(count).features, sounds.stratified_subsample(len(real.mel)).features
        )
        row = {
            "named": float(self.judge.knows(sounds.features).mean()),
            "is": distribution_metrics.inception_score(sounds.probabilities),
            "mis": distribution_metrics.modified_inception_score(sounds.probabilities),
            "am": distribution_metrics.am_score(real.probabilities, sounds.probabilities),
            "frechet": distribution_metrics.frechet_distance(real.features, sounds.features),
            "frechet_few": distribution_metrics.frechet_distance(
                real.features, sounds.stratified_subsample(self.few).features
            ),
            "ndb": distribution_metrics.different_bins(real.features, sounds.features),
            "precision": precision,
            "recall": recall,
            "spread": distribution_metrics.spread(sounds.features, sounds.classes) / self.spread,
            "mel_spread": distribution_metrics.spread(sounds.mel, sounds.classes) / self.mel_spread,
        }
        if sounds.labels is not None:
            row["accuracy"] = float((sounds.probabilities.argmax(1) == sounds.labels).mean())
        if itself is not None:
            for name, a, b, unit in (
                ("nearest", sounds.features, real.features, self.nearest),
                ("mel_nearest", sounds.mel, real.mel, self.mel_nearest),
            ):
                row[name] = float(distribution_metrics.nearest_distances(a, b, itself=itself).mean() / unit)
        return row


def judge_sounds(generator: Generator, judge: Judge, sounds: list[Sound], labels: np.ndarray | None) -> JudgedSounds:
    """Passes sounds through the judge and the generator's representation."""
    probabilities, features = judge.hear(np.stack([sound.waveform for sound in sounds]))
    return JudgedSounds(labels, probabilities, features, _encode(generator, sounds).flatten(1).numpy())


def label_kept_table(
    generator: Generator, judge: Judge, directions: tuple[Direction, ...], progress: Progress
) -> Table:
    """The share of sounds whose label, by the judge, stays the same at +-2 standard deviations along each direction."""
    z, condition, _ = draw(generator, range(DIRECTION_SEEDS))

    def classes(at: Tensor) -> np.ndarray:
        at = at.clamp(-1, 1) if generator.latent.prior == "uniform" else at
        moved = [_decode(generator, x, progress) for x in outputs(generator, at, condition, progress)]
        return judge.hear(np.stack([sound.waveform for sound in moved]))[0].argmax(1)

    before = classes(z)
    rows: dict[str, dict[str, float]] = {f"{sign}{SIGMAS:g} sigma": {} for sign in "-+"}
    for direction in directions:
        for row, amount in zip(rows.values(), (-SIGMAS, SIGMAS), strict=True):
            row[direction.name] = float((classes(z + amount * direction.vector) == before).mean())
    columns = tuple(Column(direction.name, direction.name, True, "100 %") for direction in directions)
    return Table(
        "Same label along each direction",
        columns,
        rows,
        {},
        (f"share of {DIRECTION_SEEDS} sounds (seeds from 0) that have the same label, by the judge, after the move",),
    )


def gaussian(mel: Tensor, labels: np.ndarray, wanted: np.ndarray, rng: np.random.RandomState) -> Tensor:
    """Baseline: draws from a normal distribution of spectrograms for each label, with its full covariance.

    Args:
        mel: (n, *shape) in [-1, 1], of the labels (n,). wanted: (m,) labels to draw.
    Returns:
        (m, *shape) in [-1, 1].
    """
    made = torch.empty(len(wanted), *mel.shape[1:])
    for label in np.unique(wanted):
        own, rows = mel[labels == label], np.flatnonzero(wanted == label)
        # Sums of the centred items with normal weights have their covariance, whatever its rank.
        weights = rng.standard_normal((len(rows), len(own))) / max(1, len(own) - 1) ** 0.5
        mean = own.mean(0)
        made[rows] = mean + torch.einsum("mn,n...->m...", torch.from_numpy(weights).float(), own - mean)
    return made.clamp(-1, 1)


def blended(mel: Tensor, labels: np.ndarray, wanted: np.ndarray, rng: np.random.RandomState) -> Tensor:
    """Baseline: the mean of two spectrograms of each wanted label. Arguments and result as `gaussian`."""
    pairs = np.stack([rng.choice(np.flatnonzero(labels == label), 2) for label in wanted])
    return mel[pairs].mean(1)


BASELINES = {"Gaussian": gaussian, "two clips": blended}


def _sounds(clips: Tensor, sample_rate: int) -> list[Sound]:
    """Makes a Sound of each row of (n, samples)."""
    return [Sound(partial(np.asarray, clip), sample_rate, len(clip) / sample_rate) for clip in clips.float().numpy()]


@torch.inference_mode()
def _decode(generator: Generator, x: Tensor, progress: Progress) -> Sound:
    sound = generator.representation.decode(x)
    sound.waveform  # noqa: B018 - synthesised now, so that progress is counted
    progress(1)
    return sound


def _encode(generator: Generator, sounds: list[Sound]) -> Tensor:
    """The representations (n, *representation.shape) of sounds."""
    return torch.stack([generator.representation.encode(sound) for sound in sounds])

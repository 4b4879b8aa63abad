"""How good speech is, by a judge that was trained on real recordings only.

Real clips, baselines and generated ones all go the same way: sound, judge, statistics; and all but the recordings
themselves are spectrograms that were turned into sound by the model's own inversion.
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
KEEPERS = 50  # seeds that are moved along each direction
SIGMAS = 2.0
COLUMNS = (
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
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heard:
    """Sounds as the figures see them, one a row: what was meant, what the judge hears, and the spectrogram.

    `labels` (n,) indices or None if nothing was meant; `probabilities` (n, classes); `features` (n, k) of the judge;
    `mel` (n, bands * frames), of the sound, in [-1, 1].
    """

    labels: np.ndarray | None
    probabilities: np.ndarray
    features: np.ndarray
    mel: np.ndarray

    def some(self, count: int) -> "Heard":
        """`count` of them, of every class its share, or all if there are no more."""
        if count >= len(self.mel):
            return self
        # Labels that go round would be hit unevenly by a stride through the sounds as they come.
        by_class = np.argsort(self.classes, kind="stable")
        rows = by_class[np.linspace(0, len(self.mel) - 1, count).astype(int)]
        labels = None if self.labels is None else self.labels[rows]
        return Heard(labels, self.probabilities[rows], self.features[rows], self.mel[rows])

    @property
    def classes(self) -> np.ndarray:
        """(n,) what was meant or, where nothing was, what the judge hears."""
        return self.probabilities.argmax(1) if self.labels is None else self.labels


def speech_tables(
    generator: Generator,
    directions: tuple[Direction, ...],
    folder: Path,
    cache: Path,
    judge_file: Path | None,
    samples: int,
) -> list[Table]:
    """Measures a generator of speech against the recordings of a folder, which must hold its labels.

    Args:
        directions: along which it is checked whether a word stays what it is.
        judge_file: None for one that is kept in the cache, and trained if it is not there yet.
    Raises:
        DataError: if the folder has no labels, or nothing to validate with.
        CheckpointError: if the judge cannot be read, or knows other labels or another sample rate.
    """
    representation, condition = generator.representation, generator.condition
    options = {"sample_rate": str(representation.sample_rate)}
    clips = load_waveforms(folder, cache, options | ({"labels": ",".join(condition.labels)} if condition else {}))
    if not clips.meta["labels"] or not len(clips.valid):
        raise DataError(f"{folder}: labels and recordings for validation are needed to measure speech")
    judge = find_judge(clips, cache, judge_file)
    log.info("judge: %.1f %% of %d validation recordings right", 100 * accuracy(judge, clips), len(clips.valid))
    train, valid = (_sounds(part, representation.sample_rate) for part in (clips.train, clips.valid))
    train_labels, valid_labels = clips.train_labels.numpy(), clips.valid_labels.numpy()
    half = min(samples // 2, len(train))
    picked = np.linspace(0, len(train) - 1, half).astype(int)
    z, weights, labels = draw(generator, range(samples))
    moves = 1 + 2 * len(directions)
    total = 2 * samples + len(valid) + 3 * half + 6 * PAIRS + 2 * moves * KEEPERS
    with tqdm(total=total, unit="sound", dynamic_ncols=True) as bar:

        def hear(x: Tensor, labels: np.ndarray | None) -> Heard:
            return listen(generator, judge, [_decode(generator, item, bar.update) for item in x], labels)

        bar.set_description("real")
        real = listen(generator, judge, train, train_labels)
        held_out = listen(generator, judge, valid, valid_labels)
        mel = _encode(generator, train)
        inverted = hear(mel[picked], train_labels[picked])
        reference = hear(_encode(generator, valid), valid_labels)
        bar.set_description("baselines")
        rng = np.random.RandomState(0)
        baselines = {
            name: hear(make(mel, train_labels, train_labels[picked], rng), train_labels[picked])
            for name, make in BASELINES.items()
        }
        bar.set_description("model")
        sounds = [_decode(generator, x, bar.update) for x in outputs(generator, z, weights, bar.update)]
        model = listen(generator, judge, sounds, None if condition is None else labels)
        bar.set_description("paths")
        ways = path_table(generator, bar.update)
        bar.set_description("directions")
        kept = keeping_table(generator, judge, directions, bar.update)
    scale = _Scale(real, reference)
    rows = {
        "training, recordings": scale.row(real, itself=True),
        "validation, recordings": scale.row(held_out),
        "training, inverted": scale.row(inverted, itself=None),
        "validation, inverted": scale.row(reference),
        "model": scale.row(model),
        **{name: scale.row(heard) for name, heard in baselines.items()},
    }
    asked = rows["validation, inverted"]
    targets = {
        "accuracy": Target(low=0.98),
        "is": Target(low=0.9 * asked["is"]),
        "frechet_few": Target(high=4 * asked["frechet_few"]),
        "precision": Target(low=0.7),
        "recall": Target(low=0.5),
        "nearest": Target(low=0.8),
        "mel_nearest": Target(low=0.8),
    }
    ways_back = ", ".join(f"{name}: {options[0]}" for name, options in representation.settings.items())
    notes = (
        f"{samples:,} sounds of the seeds 0 to {samples - 1}, labels given out evenly; everything is measured against "
        f"the {len(train):,} training recordings, {len(valid):,} recordings validate",
        "the judge is our own, trained on these training recordings: the figures compare within this table, not with "
        "published ones",
        f"inverted: the recording's spectrogram, turned back into sound as the model's are ({ways_back}); targets are "
        "relative to validation, inverted",
        f"of few: Fréchet distance of no more than {len(valid):,} sounds, as many as validate, since it falls as sets "
        "grow",
        "precision, recall: k-NN with k = 3, equally many of both sets",
        "spread: within a label, over that of the training recordings; nearest: mean distance to the nearest training "
        "recording, over that of validation, inverted (below 1: nearer to the training set than unheard speech is); "
        "by the judge's features and by spectrogram",
        "Gaussian: drawn from one normal distribution of spectrograms per label; two clips: the mean of two training "
        "spectrograms of one label",
    )
    separable = separability_table(z, model.classes, sounds)
    return [Table("Speech", COLUMNS, rows, targets, notes), ways, separable, kept]


class _Scale:
    """What rows are measured against: all of the training recordings, and validation for the two ratios."""

    def __init__(self, real: Heard, reference: Heard) -> None:
        self.real, self.few = real, len(reference.mel)
        self.spread = distribution_metrics.spread(real.features, real.classes)
        self.mel_spread = distribution_metrics.spread(real.mel, real.classes)
        self.nearest = distribution_metrics.nearest_distances(reference.features, real.features).mean()
        self.mel_nearest = distribution_metrics.nearest_distances(reference.mel, real.mel).mean()

    def row(self, heard: Heard, itself: bool | None = False) -> dict[str, float]:
        """The figures of a set.

        Args:
            itself: True if it is the training recordings: none is its own neighbour; None if it is made from them, so
                that the nearest recording says nothing.
        """
        real, count = self.real, len(heard.mel)
        precision, recall = distribution_metrics.precision_recall(
            real.some(count).features, heard.some(len(real.mel)).features
        )
        row = {
            "is": distribution_metrics.inception_score(heard.probabilities),
            "mis": distribution_metrics.modified_inception_score(heard.probabilities),
            "am": distribution_metrics.am_score(real.probabilities, heard.probabilities),
            "frechet": distribution_metrics.frechet_distance(real.features, heard.features),
            "frechet_few": distribution_metrics.frechet_distance(real.features, heard.some(self.few).features),
            "ndb": distribution_metrics.different_bins(real.features, heard.features),
            "precision": precision,
            "recall": recall,
            "spread": distribution_metrics.spread(heard.features, heard.classes) / self.spread,
            "mel_spread": distribution_metrics.spread(heard.mel, heard.classes) / self.mel_spread,
        }
        if heard.labels is not None:
            row["accuracy"] = float((heard.probabilities.argmax(1) == heard.labels).mean())
        if itself is not None:
            for name, a, b, unit in (
                ("nearest", heard.features, real.features, self.nearest),
                ("mel_nearest", heard.mel, real.mel, self.mel_nearest),
            ):
                row[name] = float(distribution_metrics.nearest_distances(a, b, itself=itself).mean() / unit)
        return row


def listen(generator: Generator, judge: Judge, sounds: list[Sound], labels: np.ndarray | None) -> Heard:
    """Sounds as the judge and the generator's representation have them."""
    probabilities, features = judge.hear(np.stack([sound.waveform for sound in sounds]))
    return Heard(labels, probabilities, features, _encode(generator, sounds).flatten(1).numpy())


def keeping_table(generator: Generator, judge: Judge, directions: tuple[Direction, ...], progress: Progress) -> Table:
    """The share of sounds that the judge takes for the same word at +-2 standard deviations along each direction."""
    z, condition, _ = draw(generator, range(KEEPERS))

    def classes(at: Tensor) -> np.ndarray:
        at = at.clamp(-1, 1) if generator.latent.prior == "uniform" else at
        heard = [_decode(generator, x, progress) for x in outputs(generator, at, condition, progress)]
        return judge.hear(np.stack([sound.waveform for sound in heard]))[0].argmax(1)

    before = classes(z)
    rows: dict[str, dict[str, float]] = {f"{sign}{SIGMAS:g} sigma": {} for sign in "-+"}
    for direction in directions:
        for row, amount in zip(rows.values(), (-SIGMAS, SIGMAS), strict=True):
            row[direction.name] = float((classes(z + amount * direction.vector) == before).mean())
    columns = tuple(Column(direction.name, direction.name, True, "100 %") for direction in directions)
    return Table(
        "Same word along each direction",
        columns,
        rows,
        {},
        (f"share of {KEEPERS} sounds (seeds from 0) that the judge takes for the same word after the move",),
    )


def gaussian(mel: Tensor, labels: np.ndarray, wanted: np.ndarray, rng: np.random.RandomState) -> Tensor:
    """Draws of each label's own normal distribution of spectrograms, with all of its covariance.

    Args:
        mel: (n, *shape) in [-1, 1], of the labels (n,). wanted: (m,) labels.
    Returns:
        (m, *shape) in [-1, 1].
    """
    made = torch.empty(len(wanted), *mel.shape[1:])
    for label in np.unique(wanted):
        own, rows = mel[labels == label], np.flatnonzero(wanted == label)
        # Normal weights on the centred items have their covariance, whatever its rank.
        weights = rng.standard_normal((len(rows), len(own))) / max(1, len(own) - 1) ** 0.5
        mean = own.mean(0)
        made[rows] = mean + torch.einsum("mn,n...->m...", torch.from_numpy(weights).float(), own - mean)
    return made.clamp(-1, 1)


def blended(mel: Tensor, labels: np.ndarray, wanted: np.ndarray, rng: np.random.RandomState) -> Tensor:
    """The mean of two spectrograms of each wanted label. Arguments and result as `gaussian`."""
    pairs = np.stack([rng.choice(np.flatnonzero(labels == label), 2) for label in wanted])
    return mel[pairs].mean(1)


BASELINES = {"Gaussian": gaussian, "two clips": blended}


def _sounds(clips: Tensor, sample_rate: int) -> list[Sound]:
    """(n, samples) -> n sounds."""
    return [Sound(partial(_itself, clip), sample_rate, len(clip) / sample_rate) for clip in clips.float().numpy()]


def _itself(waveform: np.ndarray) -> np.ndarray:
    return waveform


@torch.inference_mode()
def _decode(generator: Generator, x: Tensor, progress: Progress) -> Sound:
    sound = generator.representation.decode(x)
    sound.waveform  # noqa: B018 - synthesised now, where the progress is counted
    progress(1)
    return sound


def _encode(generator: Generator, sounds: list[Sound]) -> Tensor:
    """-> (n, *representation.shape)"""
    return torch.stack([generator.representation.encode(sound) for sound in sounds])

"""Measures a generator of one-shots, such as drum hits, whose classes are its labels, against recordings.

Features are statistics of a sound that no generator is trained on (`features`). The judge, a classifier of them, learns
from recordings alone. Recordings, baselines and generated sounds are measured alike.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from explorer.generators.base import Generator
from explorer.sound.mel_scale import mel_filters
from training.data.audio import load_waveforms
from training.data.one_shots import one_shots
from training.evaluation import distribution_metrics
from training.evaluation.latent_space import PAIRS, draw, outputs, path_table
from training.evaluation.speech import gaussian
from training.evaluation.tables import Column, Table, Target
from training.task import DataError

SAMPLES_PER_LABEL = 100
FOLDS = 5
MIN_HELD_OUT = 10
COMPONENTS = 24  # of the judge's view of the features; few enough for a covariance from a hundred recordings
DEVIATIONS = 3.0  # from the mean of recordings, to which features are limited
BANDS, WINDOW, HOP = 40, 512, 128
FLOOR = 55.0  # dB below the peak; what lies lower tells the precision of a file, not a sound
FRAMES_OF_SPANS = np.array([0, 2, 4, 8, 16, 32, 64, 128])  # at which the spans begin that features describe
CEPSTRUM = 13
LOW_END, LOW_BANDS = (30.0, 800.0), 14  # Hz
QUIET = 10 ** (-40 / 20)  # peak of a silent sound
CLICK = 10 ** (-50 / 20)  # of the first or the last sample
CLIPPED, IN_A_ROW = 0.9999, 3  # so many samples at full scale
FAULTS = 1000  # sounds searched for faults
COLUMNS = (
    Column("accuracy", "right", True, "high"),
    Column("worst", "worst label", True, "high"),
    Column("told", "told from real", True, "50 %"),
    Column("frechet", "Fréchet", ideal="low"),
    Column("precision", "precision", ideal="high"),
    Column("recall", "recall", ideal="high"),
    Column("spread", "spread", ideal="1"),
    Column("nearest", "nearest", ideal="1"),
)


@dataclass(frozen=True)
class OneShots:
    """Sounds (n, samples) in [-1, 1], the index of each one's label (n,), and their features (n, d)."""

    waveforms: np.ndarray
    labels: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: np.ndarray) -> "OneShots":
        return OneShots(self.waveforms[index], self.labels[index], self.features[index])


class Judge:
    """A classifier of sounds (logistic regression), trained on recordings, and its view of their features."""

    def __init__(self, real: OneShots) -> None:
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline

        components = min(COMPONENTS, *real.features.shape)
        self._view = make_pipeline(*standardised(), PCA(components, random_state=0)).fit(real.features)
        self._classifier = _classifier().fit(real.features, real.labels)

    def view(self, sounds: OneShots) -> np.ndarray:
        """(n, COMPONENTS) principal components of standardised features."""
        seen: np.ndarray = self._view.transform(sounds.features)
        return seen

    def hear(self, sounds: OneShots) -> np.ndarray:
        """The label (n,) that each sound is heard as."""
        heard: np.ndarray = self._classifier.predict(sounds.features)
        return heard


def one_shot_tables(
    generator: Generator,
    folders: Path | Sequence[Path],
    cache: Path,
    samples: int | None = None,
    others: Path | None = None,
) -> list[Table]:
    """Measures a generator of labelled waveforms against the one-shots of folders, which must have its labels.

    Args:
        samples: to generate, labels in turn; by default 100 for each label.
        others: one-shots of other libraries than the generator has learnt from, to measure beside it.
    Raises:
        DataError: if a folder cannot be used, or has too few recordings for training or for validation.
    """
    condition, representation = generator.condition, generator.representation
    assert condition is not None
    options = {"sample_rate": str(representation.sample_rate), "labels": ",".join(condition.labels)}
    cut = one_shots(representation.shape[-1])
    clips = load_waveforms(folders, cache, options, cut)
    of_label = np.bincount(clips.train_labels, minlength=len(condition.labels))
    if len(clips.valid) < MIN_HELD_OUT or len(of_label) < 2 or of_label.min() < 2 or of_label.max() < FOLDS:
        raise DataError(
            f"too few one-shots to measure anything: {len(clips.valid)} held out for validation, and "
            f"{', '.join(f'{label} {n}' for label, n in zip(condition.labels, of_label, strict=True))} for training; "
            f"at least {MIN_HELD_OUT} and, of two or more labels, 2 of each and {FOLDS} of one are needed"
        )
    rate = representation.sample_rate
    real = _measured(clips.train.float().numpy(), clips.train_labels.numpy(), rate)
    sets = {"held out, recordings": _measured(clips.valid.float().numpy(), clips.valid_labels.numpy(), rate)}
    if others is not None:
        # Without `labels`, as they need not have all of them.
        loaded = load_waveforms(others, cache, {"sample_rate": options["sample_rate"]}, cut)
        sets["other libraries"] = _of_labels(loaded, condition.labels, rate)
    judge = Judge(real)
    count = samples or SAMPLES_PER_LABEL * len(condition.labels)
    z, weights, labels = draw(generator, range(count))
    with tqdm(total=count + 6 * PAIRS, desc="model", unit="sound", dynamic_ncols=True) as bar:
        made = [representation.decode(x).waveform for x in outputs(generator, z, weights, bar.update)]
        bar.set_description("paths")
        paths = path_table(generator, bar.update)
    rng = np.random.RandomState(0)
    normal = gaussian(torch.from_numpy(real.waveforms), real.labels, labels, rng).numpy()
    sets["model"] = _measured(np.stack(made), labels, rate)
    sets["Gaussian"] = _measured(normal, labels, rate)
    sets["names shuffled"] = OneShots(real.waveforms, rng.permutation(real.labels), real.features)
    scale = _Scale(judge, real, sets["held out, recordings"])
    rows = {"training, recordings": scale.real_row()}
    rows |= {name: scale.row(sounds, itself=name == "names shuffled") for name, sounds in sets.items()}
    targets = {
        "accuracy": Target(low=rows["held out, recordings"]["accuracy"]),
        "worst": Target(low=0.6),
        "told": Target(high=0.8),
        "precision": Target(low=0.6),
        "recall": Target(low=0.5),
        "spread": Target(low=0.8, high=1.2),
    }
    notes = (
        f"{count:,} sounds of the seeds 0 to {count - 1}, labels in turn; {len(real):,} recordings for training, "
        f"{len(clips.valid):,} held out",
        "right: share of each label's sounds that a judge trained on the training recordings hears as such, mean over "
        "the labels; of these recordings themselves by five-fold cross-validation; worst label: the lowest share, by "
        "chance where a label has few recordings",
        "told from real: accuracy of gradient boosting, cross-validated on equally many sounds of each label of a set "
        "and of the training recordings; 50 % is guessing, and less is found where recordings are much alike",
        "Fréchet, precision, recall (k-NN with k = 3): on at most as many sounds of each label as are held out",
        "spread: within a label, over that of the training recordings; nearest: mean distance to the nearest training "
        "recording, over that of recordings held out",
        "Gaussian: drawn from one normal distribution of waveforms per label; names shuffled: training recordings",
    )
    first = Table("One-shots", COLUMNS, rows, targets, notes)
    return [
        first,
        _by_label(judge, sets, condition.labels),
        faults_table(real.waveforms, sets["model"].waveforms),
        paths,
    ]


def features(waveforms: np.ndarray, sample_rate: int) -> np.ndarray:
    """Statistics of sounds (n, samples) that do not depend on their level: (n, d) float64.

    Levels of mel bands in spans of time that double, and how they vary; the envelope, and how long it stays within some
    dB of its peak; cepstral coefficients; centres of the spectrum; zero crossings; and fine bands of the low end, where
    kicks and toms differ.
    """
    return np.stack([_features(waveform.astype(np.float64), sample_rate) for waveform in waveforms])


def _features(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    from scipy.fft import dct

    filters = mel_filters(sample_rate, WINDOW, BANDS)
    # Without what lies 60 dB below the peak, where files of 16 bits hold zeros and generators do not.
    audible = np.where(np.abs(waveform) < 1e-3 * np.abs(waveform).max(), 0, waveform)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, WINDOW // 2), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    level = _decibels(power @ filters.T)  # (frames, bands)
    envelope = _decibels(power.sum(1))
    starts = FRAMES_OF_SPANS[len(level) > FRAMES_OF_SPANS][1:]
    means = np.stack([span.mean(0) for span in np.split(level, starts)])
    shares = 10 ** (means / 10)
    found = [
        means.ravel(),
        level.std(0),
        [span.mean() for span in np.split(envelope, starts)],
        np.log1p([(envelope > -decibels).sum() for decibels in (3, 10, 20, 40, 60)]),
        [envelope.argmax()],
        dct(means.mean(0))[:CEPSTRUM] / 2,
        shares @ np.arange(BANDS) / shares.sum(1),
        [(np.diff(np.sign(part)) != 0).mean() for part in np.array_split(audible[: 16 * HOP], 4)],
    ]
    eighth, half = len(waveform) // 8, len(waveform) // 2
    for part in (waveform[:eighth], waveform[:half], waveform[eighth:half]):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), len(waveform))) ** 2 + 1e-20
        frequency = np.fft.rfftfreq(len(waveform), 1 / sample_rate)
        edges = np.searchsorted(frequency, np.geomspace(*LOW_END, LOW_BANDS + 1))
        low = np.array([spectrum[i : j + 1].sum() for i, j in pairwise(edges)])
        loudest = frequency[edges[0] + spectrum[edges[0] : edges[-1]].argmax()]
        found += [10 * np.log10(np.maximum(low / spectrum.sum(), 10 ** (-FLOOR / 10))), [np.log2(loudest)]]
        found += [[np.log2((frequency * spectrum).sum() / spectrum.sum() + 1)]]
    return np.concatenate(found).round(2)  # what is finer tells files from one another, not sounds


def _decibels(power: np.ndarray) -> np.ndarray:
    """Relative to the largest, from -FLOOR to 0."""
    top = power.max() + 1e-20
    decibels: np.ndarray = 10 * np.log10(np.maximum(power / top, 10 ** (-FLOOR / 10)))
    return decibels


def two_sample_accuracy(real: OneShots, sounds: OneShots) -> float | None:
    """The share that gradient boosting tells apart, cross-validated on equally many of each label of both sets.

    None if they are too few.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    a, b = matched(real.labels, sounds.labels)
    if len(a) < FOLDS:
        return None
    x = np.concatenate([real.features[a], sounds.features[b]])
    y = np.repeat([0, 1], [len(a), len(b)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_score(HistGradientBoostingClassifier(max_iter=60, random_state=0), x, y, cv=folds)
    return float(scores.mean())


def faults(waveforms: np.ndarray) -> dict[str, int]:
    """How many sounds (n, samples) are silent, clipped, or begin or end with a click."""
    full = np.abs(waveforms) >= CLIPPED
    in_a_row = np.lib.stride_tricks.sliding_window_view(full, IN_A_ROW, axis=1)
    return {
        "silent": int((np.abs(waveforms).max(1) < QUIET).sum()),
        "clipped": int(np.all(in_a_row, axis=2).any(1).sum()),
        "clicking": int((np.abs(waveforms[:, [0, -1]]).max(1) > CLICK).sum()),
    }


def _measured(waveforms: np.ndarray, labels: np.ndarray, sample_rate: int) -> OneShots:
    return OneShots(waveforms, labels, features(waveforms, sample_rate))


def _of_labels(clips: Any, labels: Sequence[str], sample_rate: int) -> OneShots:
    """All recordings of a folder that have one of the labels, those for validation too."""
    names = clips.meta["labels"]
    waveforms = torch.cat([clips.train, clips.valid]).float().numpy()
    index = torch.cat([clips.train_labels, clips.valid_labels]).numpy()
    kept = [row for row, k in enumerate(index) if names and names[k] in labels]
    if not kept:
        raise DataError(f"--others has no one-shot of {', '.join(labels)}")
    return _measured(waveforms[kept], np.array([labels.index(names[index[row]]) for row in kept]), sample_rate)


def _classifier() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*standardised(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced"))


def standardised() -> tuple[Any, Any]:
    """Steps that standardise features. A feature that hardly varies in recordings must not outweigh all others."""
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    return StandardScaler(), FunctionTransformer(np.clip, kw_args={"a_min": -DEVIATIONS, "a_max": DEVIATIONS})


def matched(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two sets with equally many of each label: as many as the smaller one has, spread evenly."""
    rows_a, rows_b = [], []
    for label in np.unique(a):
        ours, theirs = np.flatnonzero(a == label), np.flatnonzero(b == label)
        count = min(len(ours), len(theirs))
        rows_a.append(ours[np.linspace(0, len(ours) - 1, count).astype(int)])
        rows_b.append(theirs[np.linspace(0, len(theirs) - 1, count).astype(int)])
    return np.concatenate(rows_a), np.concatenate(rows_b)


class _Scale:
    """What all rows are measured against: the training recordings, in numbers those held out."""

    def __init__(self, judge: Judge, real: OneShots, held_out: OneShots) -> None:
        self.judge, self.real, self.held_out = judge, real, held_out
        self.view = judge.view(real)
        # Not 0, if all recordings are copies of one another.
        self.spread = max(distribution_metrics.spread(self.view, real.labels), 1e-9)
        self.nearest = max(distribution_metrics.nearest_distances(judge.view(held_out), self.view).mean(), 1e-9)

    def row(self, sounds: OneShots, itself: bool = False) -> dict[str, float]:
        """The figures of a set of sounds; `itself`: it consists of the training recordings."""
        view = self.judge.view(sounds)
        few, _ = matched(sounds.labels, self.held_out.labels)
        of_real, _ = matched(self.real.labels, sounds.labels[few])
        row = _accuracy(self.judge.hear(sounds), sounds.labels)
        row["spread"] = distribution_metrics.spread(view, sounds.labels) / self.spread
        if min(len(few), len(of_real)) > 3:
            row["frechet"] = distribution_metrics.frechet_distance(self.view[of_real], view[few])
            row["precision"], row["recall"] = distribution_metrics.precision_recall(self.view[of_real], view[few])
        if not itself:
            row |= _told(self.real, sounds)
            row["nearest"] = float(distribution_metrics.nearest_distances(view, self.view).mean() / self.nearest)
        return row

    def real_row(self) -> dict[str, float]:
        """The training recordings: heard by judges of the other folds, told from each other."""
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
            heard = cross_val_predict(_classifier(), self.real.features, self.real.labels, cv=folds)
        halves = np.random.RandomState(0).permutation(len(self.real))
        nearest = distribution_metrics.nearest_distances(self.view, self.view, itself=True).mean()
        return {
            **_accuracy(heard, self.real.labels),
            **_told(self.real.rows(halves[::2]), self.real.rows(halves[1::2])),
            "spread": 1.0,
            "nearest": float(nearest / self.nearest),
        }


def _accuracy(heard: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The share of each label that is heard right: their mean and the lowest."""
    shares = [float((heard[labels == label] == label).mean()) for label in np.unique(labels)]
    return {"accuracy": float(np.mean(shares)), "worst": min(shares)}


def _told(real: OneShots, sounds: OneShots) -> dict[str, float]:
    told = two_sample_accuracy(real, sounds)
    return {} if told is None else {"told": told}


def _by_label(judge: Judge, sets: dict[str, OneShots], labels: Sequence[str]) -> Table:
    rows: dict[str, dict[str, float]] = {}
    for name in ("held out, recordings", "other libraries", "model"):
        if name in sets:
            heard, wanted = judge.hear(sets[name]), sets[name].labels
            rows[name] = {labels[k]: float((heard[wanted == k] == k).mean()) for k in np.unique(wanted)}
    return Table("Right by label", tuple(Column(label, label, True, "high") for label in labels), rows, {})


def faults_table(real: np.ndarray, model: np.ndarray) -> Table:
    """Faults of the first 1,000 sounds of each, (n, samples)."""
    columns = (
        Column("sounds", "sounds", whole=True),
        *(Column(name, name, ideal="0", whole=True) for name in ("silent", "clipped", "clicking")),
    )
    rows = {}
    for name, waveforms in (("training, recordings", real[:FAULTS]), ("model", model[:FAULTS])):
        rows[name] = {"sounds": float(len(waveforms)), **{k: float(v) for k, v in faults(waveforms).items()}}
    note = "silent: peak under -40 dB; clipped: 3 samples in a row at full scale; clicking: first or last over -50 dB"
    return Table("Faults", columns, rows, {}, (note,))

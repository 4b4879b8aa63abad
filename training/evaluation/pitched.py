"""Measures a generator of pitched notes, whose latents are timbres and whose labels are keys, against instruments.

Features are statistics of a sound that no generator is trained on. They are taken relative to the mean of real notes on
the same key, so that the notes of a timbre compare with each other. Instruments, baselines and generated timbres are
measured alike. Classifiers never know a timbre that they are tested on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from explorer.generators.base import Generator
from explorer.sound.base import note_name
from training.data.audio import Waveforms, load_waveforms
from training.data.pitched import CLEAR, notes, periodicity, pitch_of
from training.evaluation import blind, one_shots
from training.evaluation.distribution_metrics import (
    frechet_distance,
    nearest_distances,
    nearest_rows,
    precision_recall,
    spread,
)
from training.evaluation.latent_space import PAIRS, Progress, outputs, path_table
from training.evaluation.one_shots import COMPONENTS, faults_table, matched, standardised
from training.evaluation.speech import gaussian
from training.evaluation.tables import Column, Table, Target
from training.task import DataError

TIMBRES = 40
FEWEST = 4  # timbres on either side of a comparison
MOST = 6000  # training notes that are measured
TOLD_KEYS = 12  # on which sets are told apart; more say little, as timbres are what is counted
CENTS = 20.0  # from the key's pitch, within which a note is in tune
OCTAVE = 12
NOISE = 10 ** (-30 / 20)  # of a baseline, beside the note's own root mean square
PARTIALS, SPANS = 20, ((0.03, 0.2), (0.2, 0.7))  # seconds
NEIGHBOURS = 3  # k of precision and recall
FLOOR = 60.0  # dB below a span's energy
COLUMNS = (
    Column("kept", "pitch kept", True, "high"),
    Column("tuned", "in tune", True, "high"),
    Column("keys", "keys : timbres", ideal="low"),
    Column("told", "told from real", True, "50 %"),
    Column("frechet", "Fréchet", ideal="low"),
    Column("precision", "precision", ideal="high"),
    Column("recall", "recall", ideal="high"),
    Column("spread", "spread", ideal="1"),
    Column("nearest", "nearest", ideal="1"),
    Column("level", "level, dB", ideal="low"),
)


@dataclass(frozen=True)
class Notes:
    """Notes (n, samples) in [-1, 1], with the key and the timbre (an instrument or a latent) of each one.

    Attributes:
        keys: (n,) MIDI note numbers.
        timbres: (n,) numbers; the same number, the same timbre; negative ones are not of the folders.
        features: (n, d), see `features`.
        pitch: (n, 2), how clearly the key's pitch is heard and how far it is off, see `periodicity`.
    """

    waveforms: np.ndarray
    keys: np.ndarray
    timbres: np.ndarray
    features: np.ndarray
    pitch: np.ndarray

    @classmethod
    def of(cls, waveforms: np.ndarray, keys: np.ndarray, timbres: np.ndarray, sample_rate: int) -> "Notes":
        pitch = np.array([periodicity(x, key, sample_rate) for x, key in zip(waveforms, keys, strict=True)])
        return cls(waveforms, keys, timbres, features(waveforms, keys, sample_rate), pitch)

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, index: np.ndarray) -> "Notes":
        parts = (self.waveforms, self.keys, self.timbres, self.features, self.pitch)
        return Notes(*(part[index] for part in parts))


def note_tables(
    generator: Generator,
    folders: Path | Sequence[Path],
    cache: Path,
    samples: int | None = None,
    others: Path | None = None,
) -> list[Table]:
    """Measures a generator of notes against the instruments of folders.

    Args:
        samples: to generate, every timbre on every key; by default 40 timbres.
        others: instruments of another library than the generator has learnt from, to measure beside it.
    Raises:
        DataError: if a folder cannot be used, or has too few instruments for training or for validation.
    """
    condition, representation = generator.condition, generator.representation
    assert condition is not None
    rate, rng = representation.sample_rate, np.random.RandomState(0)
    cut, options = notes(round(representation.seconds * rate)), {"sample_rate": str(rate)}
    every = [pitch_of(label) for label in condition.labels]
    clips = load_waveforms(folders, cache, options, cut)
    chosen = {split: _Chosen(clips, (split,), every) for split in ("train", "valid")}
    keys = np.intersect1d(chosen["train"].keys, chosen["valid"].keys)
    if min(len(part.instruments) for part in chosen.values()) < FEWEST or not len(keys):
        raise DataError(
            "too few instruments to measure anything: "
            f"{len(chosen['train'].instruments)} for training and {len(chosen['valid'].instruments)} held out, "
            f"on {len(keys)} of the same keys; at least {FEWEST} of each and one key are needed"
        )
    timbres = max(FEWEST, (samples or TIMBRES * len(keys)) // len(keys))
    real, held_out = (part.notes(keys, rate) for part in chosen.values())
    even = chosen["train"].instruments
    reference, rest = (real.rows(np.isin(real.timbres, some)) for some in (even[:timbres], even[timbres:]))
    sets = {"held out, instruments": held_out.rows(np.isin(held_out.timbres, chosen["valid"].instruments[:timbres]))}
    if others is not None:
        other = _Chosen(load_waveforms(others, cache, options, cut), ("train", "valid"), every)
        if not len(other.instruments):
            raise DataError("--others has no instrument on the keys of the checkpoint")
        theirs = other.notes(keys, rate, timbres)
        sets["other library"] = replace(theirs, timbres=-1 - theirs.timbres)
    with tqdm(total=timbres * len(keys) + 6 * PAIRS, desc="model", unit="sound", dynamic_ncols=True) as bar:
        sets["model"] = generated(generator, keys, range(timbres), bar.update)
        bar.set_description("paths")
        paths = path_table(generator, bar.update)
    wanted = sets["model"].keys
    normal = gaussian(torch.from_numpy(real.waveforms), real.keys, wanted, rng).numpy()
    sets["Gaussian"] = Notes.of(normal, wanted, -1 - np.arange(len(wanted)), rate)
    if len(rest):
        noisy = rest.rows(np.isin(rest.timbres, even[timbres : 2 * timbres]))
        root = np.sqrt(np.square(noisy.waveforms).mean(1, keepdims=True))
        hiss = (NOISE * root * rng.standard_normal(noisy.waveforms.shape)).astype(np.float32)
        sets["training, with noise"] = Notes.of(noisy.waveforms + hiss, noisy.keys, noisy.timbres, rate)
    shuffled = rng.permutation(reference.keys)
    sets["keys shuffled"] = Notes.of(reference.waveforms, shuffled, reference.timbres, rate)
    scale = _Scale(real, reference, held_out)
    rows = {"training, instruments": scale.row(reference, rest if len(np.unique(rest.timbres)) >= FEWEST else None)}
    rows |= {name: scale.row(made, reference) for name, made in sets.items()}
    targets = {
        "kept": Target(low=0.98),
        "tuned": Target(low=0.95),
        "keys": Target(high=0.75),
        "told": Target(high=0.85),
        "precision": Target(low=0.5),
        "recall": Target(low=0.5),
        "spread": Target(low=0.8, high=1.2),
    }
    remarks = (
        f"{timbres} timbres of the seeds 0 to {timbres - 1}, each on {len(keys)} keys; {len(even)} instruments for "
        f"training ({len(real):,} notes), {len(chosen['valid'].instruments)} held out; at most {timbres} instruments "
        "of each, families in turn, are compared",
        f"pitch kept: share of notes whose periodicity at the key's pitch, within half a semitone, is over {CLEAR}; in "
        f"tune: and within {CENTS:g} cents. A network that is told where the partials of a key lie keeps its pitch "
        "without learning it",
        "keys : timbres: mean distance of two notes of one timbre over that of two timbres, at most an octave apart",
        "told from real: by gradient boosting or logistic regression, the better; cross-validated by timbre, of "
        f"equally many notes of {TOLD_KEYS} keys at most; training instruments are told from others of them",
        "Fréchet: of as many notes of each key; precision, recall (k-NN with k = 3): on one key, where a timbre is one "
        "point, mean of the keys; spread: on one key, over that of the training instruments; nearest: mean distance to "
        "the nearest training note, over that of notes held out",
        "level: how the loudness of a timbre varies over its keys, standard deviation, median of the timbres",
        "Gaussian: drawn from one normal distribution of waveforms per key; with noise: other training instruments and "
        "white noise 30 dB below; keys shuffled: training notes under the names of others",
    )
    first = Table("Notes", COLUMNS, rows, targets, remarks)
    measured = {"training, instruments": reference, **sets}
    faulty = faults_table(reference.waveforms, sets["model"].waveforms)
    return [first, _by_octave(measured, keys), scale.families(chosen["train"], sets), faulty, paths]


def generated(generator: Generator, keys: np.ndarray, seeds: range, progress: Progress) -> Notes:
    """The timbres of seeds, each on all keys (MIDI note numbers)."""
    assert generator.condition is not None
    labels = [pitch_of(label) for label in generator.condition.labels]
    z = torch.stack([generator.latent.from_seed(seed) for seed in seeds]).repeat_interleave(len(keys), 0)
    played, timbres = np.tile(keys, len(seeds)), np.repeat(-1 - np.array(seeds), len(keys))
    weights = torch.eye(len(labels))[[labels.index(key) for key in played.tolist()]]
    made = [generator.representation.decode(x).waveform for x in outputs(generator, z, weights, progress)]
    return Notes.of(np.stack(made), played, timbres, generator.representation.sample_rate)


class _Chosen:
    """The instruments of a set that has the wanted keys, families in turn, and their notes; `MOST` notes at most."""

    def __init__(self, clips: Waveforms, splits: Sequence[str], wanted: Sequence[int | None]) -> None:
        pitches = np.array([int(label) for label in clips.meta["labels"]])
        found = [[getattr(clips, f"{split}{part}") for split in splits] for part in ("", "_labels", "_sources")]
        self._waveforms, labels, sources = (torch.cat(parts) for parts in found)
        self._keys, self._sources = pitches[labels.numpy()], sources.numpy()
        self._usable = np.isin(self._keys, [key for key in wanted if key is not None])
        self.families = np.array([source.split(": ")[0] for source in clips.meta["sources"]])
        self.instruments = self._in_turn()
        counts = np.bincount(self._sources[self._usable], minlength=len(self.families))[self.instruments]
        self.instruments = self.instruments[: max(FEWEST, int((counts.cumsum() <= MOST).sum()))]
        self._usable &= np.isin(self._sources, self.instruments)
        self.keys = np.unique(self._keys[self._usable])

    def _in_turn(self) -> np.ndarray:
        """Instruments at random, so that any first ones are spread over the families."""
        present = np.random.RandomState(0).permutation(np.unique(self._sources[self._usable]))
        families = self.families[present]
        rank = np.array([(families[:k] == family).sum() for k, family in enumerate(families)], dtype=int)
        return present[np.argsort(rank, kind="stable")]

    def notes(self, keys: np.ndarray, sample_rate: int, most: int | None = None) -> Notes:
        """Those on the keys, of all instruments or of so many."""
        of = np.isin(self._sources, self.instruments[:most])
        index = np.flatnonzero(self._usable & of & np.isin(self._keys, keys))
        waveforms = self._waveforms[torch.from_numpy(index)].float().numpy()
        return Notes.of(waveforms, self._keys[index], self._sources[index], sample_rate)


def features(waveforms: np.ndarray, keys: np.ndarray, sample_rate: int) -> np.ndarray:
    """Statistics of notes (n, samples) on keys (n,) that do not depend on their level: (n, d) float64.

    Those of `training.evaluation.one_shots`; and the level at each of the lowest partials and between them, in two
    spans of time.
    """
    partials = [_partials(x, key, sample_rate) for x, key in zip(waveforms, keys, strict=True)]
    return np.concatenate([one_shots.features(waveforms, sample_rate), np.stack(partials)], axis=1)


def _partials(waveform: np.ndarray, key: float, sample_rate: int) -> np.ndarray:
    """Levels (2 * (PARTIALS + 1),) in dB, relative to all of a span's energy; the last of each span is between."""
    lowest = 440 * 2 ** ((key - 69) / 12)
    found = []
    for start, end in SPANS:
        part = waveform[round(start * sample_rate) : round(end * sample_rate)].astype(np.float64)
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        along = np.fft.rfftfreq(len(part), 1 / sample_rate) / lowest
        nearest = np.round(along).astype(int)
        beside = np.abs(along - nearest) * lowest > 3 / (end - start)  # three bins: a Hann window's lobe and one more
        own = np.bincount(np.where(beside, 0, nearest), power, PARTIALS + 1)[1 : PARTIALS + 1]
        shares = np.append(own, power[beside].sum()) / (power.sum() + 1e-20)
        found.append(10 * np.log10(np.maximum(shares, 10 ** (-FLOOR / 10))))
    return np.concatenate(found).round(1)


class _Scale:
    """What all rows are measured against: the features of training notes on each key."""

    def __init__(self, real: Notes, reference: Notes, held_out: Notes) -> None:
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline

        self.means = {key: real.features[real.keys == key].mean(0) for key in np.unique(real.keys)}
        own = self.relative(real)
        self._view = make_pipeline(*standardised(), PCA(min(COMPONENTS, *own.shape), random_state=0)).fit(own)
        self.real, self.reference = real, reference
        keys = np.unique(real.keys)
        self.told_keys = keys[np.linspace(0, len(keys) - 1, min(TOLD_KEYS, len(keys))).round().astype(int)]
        self.view = self._seen(real)
        self.spread = max(spread(self.view, real.keys), 1e-9)
        self.nearest = max(nearest_distances(self._seen(held_out), self.view).mean(), 1e-9)

    def relative(self, made: Notes) -> np.ndarray:
        """Features (n, d) less those of the mean training note on the same key."""
        return made.features - np.stack([self.means[key] for key in made.keys.tolist()])

    def _seen(self, made: Notes) -> np.ndarray:
        view: np.ndarray = self._view.transform(self.relative(made))
        return view

    def row(self, made: Notes, other: Notes | None) -> dict[str, float]:
        """The figures of a set of notes; those that compare it do so with `other`."""
        view = self._seen(made)
        kept = made.pitch[:, 0] > CLEAR
        row = {"kept": float(kept.mean()), "tuned": float((kept & (np.abs(made.pitch[:, 1]) < CENTS)).mean())}
        if len(np.unique(made.timbres)) < len(made):
            row["keys"] = over_keys(view, made.keys, made.timbres)
            row["level"] = _level(made)
        row["spread"] = spread(view, made.keys) / self.spread
        if made is not self.reference:
            row["nearest"] = float(nearest_distances(view, self.view).mean() / self.nearest)
        if other is None:
            return row
        a, b = matched(other.keys, made.keys)
        if min(len(a), len(b)) > 3:
            theirs, ours = self._seen(other)[a], view[b]
            row["frechet"] = frechet_distance(theirs, ours)
            row |= _precision_recall(theirs, ours, other.keys[a], made.keys[b])
            row["told"] = self._told(other.rows(a), made.rows(b))
        return row

    def _told(self, other: Notes, made: Notes) -> float:
        sides = [notes.rows(np.isin(notes.keys, self.told_keys)) for notes in (other, made)]
        return blind.two_sample_accuracy(*map(self.relative, sides), *(side.timbres for side in sides))

    def families(self, chosen: _Chosen, sets: dict[str, Notes]) -> Table:
        """The share of notes whose nearest training note is of each family."""
        families = chosen.families[self.real.timbres]
        found = {"training, instruments": families}
        for name, made in sets.items():
            if name in ("held out, instruments", "other library", "model"):
                found[name] = families[nearest_rows(self._seen(made), self.view)]
        columns = tuple(Column(name, name, True) for name in np.unique(families).tolist())
        rows = {
            name: {column.key: float((of == column.key).mean()) for column in columns} for name, of in found.items()
        }
        return Table("Family of the nearest training note", columns, rows, {})


def over_keys(view: np.ndarray, keys: np.ndarray, timbres: np.ndarray) -> float:
    """Mean distance of two notes of one timbre on two keys, over that of two timbres, at most an octave apart.

    Args:
        view: (n, d). keys, timbres: (n,) numbers.
    """
    sums, counts = np.zeros(2), np.zeros(2)
    for k in range(len(view)):
        near = np.abs(keys - keys[k]) <= OCTAVE
        same = timbres == timbres[k]
        for side, pairs in enumerate((near & same & (keys != keys[k]), near & ~same)):
            sums[side] += np.linalg.norm(view[pairs] - view[k], axis=1).sum()
            counts[side] += pairs.sum()
    within, between = sums / counts.clip(1)
    return float(within / max(between, 1e-9))


def _precision_recall(theirs: np.ndarray, ours: np.ndarray, keys: np.ndarray, our_keys: np.ndarray) -> dict[str, float]:
    """Means over the keys, of two views (n, d), (m, d) with equally many notes of each; {} if all have too few.

    Each key for itself: among all keys the nearest notes to any are those of its own timbre on the next keys, which
    makes the balls so small that no other instrument's notes lie within them.
    """
    on = [(theirs[keys == key], ours[our_keys == key]) for key in np.unique(keys)]
    found = [precision_recall(*sides, NEIGHBOURS) for sides in on if len(sides[0]) > NEIGHBOURS]
    return dict(zip(("precision", "recall"), np.mean(found, axis=0).tolist(), strict=True)) if found else {}


def _level(made: Notes) -> float:
    """How the loudness of a timbre varies over its keys: standard deviation in dB, median of the timbres."""
    power = np.square(made.waveforms.astype(np.float64)).mean(1)
    decibels = 10 * np.log10(power + 1e-10)
    return float(np.median([decibels[made.timbres == timbre].std() for timbre in np.unique(made.timbres)]))


def _by_octave(sets: dict[str, Notes], keys: np.ndarray) -> Table:
    """In tune, by groups of twelve keys from the lowest on."""
    groups = (keys - keys[0]) // OCTAVE
    names = [note_name(int(keys[groups == group][0])) for group in np.unique(groups)]
    rows = {}
    for name, made in sets.items():
        tuned = (made.pitch[:, 0] > CLEAR) & (np.abs(made.pitch[:, 1]) < CENTS)
        group = (made.keys - keys[0]) // OCTAVE
        rows[name] = {title: float(tuned[group == k].mean()) for k, title in zip(np.unique(groups), names, strict=True)}
    columns = tuple(Column(name, f"from {name}", True, "high") for name in names)
    return Table("In tune by octave", columns, rows, {})

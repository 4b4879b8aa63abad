"""Measures a generator of piano music against held-out performances and baselines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from explorer.generators.base import Generator
from explorer.sound.base import Sound
from explorer.sound.notes import NotesRepresentation, NoteTable
from training.data import midi
from training.evaluation import blind, distribution_metrics, form, music
from training.evaluation.blind import snapped
from training.evaluation.latent_space import PAIRS, Progress, draw, outputs, path_table, separability_table
from training.evaluation.music import BASELINES, OVERLAP_WINDOWS, STEP, attributes_shuffled, table_row
from training.evaluation.tables import Column, Table, Target

SAMPLES = 1024
PROGRESS_PER_ROW = 50  # a row takes about as long to measure as so many pieces to generate
TRAINING_WINDOWS = 8192  # among which the nearest is searched
HEARD_WINDOWS = 512  # for the classifier, which tells the more the more it learns from, and for form
PERFORMED = ("pitch", "step", "duration", "velocity", "touch", "sounding")  # columns of `NoteTable`
COLUMNS = (
    Column("overlap_area", "overlap", ideal="1"),
    Column("two_sample_accuracy", "told from real", True, "50 %"),
    Column("in_key_ratio", "in key", True),
    Column("polyphony_rate", "polyphony", True),
    Column("chord_rate", "chords", True),
    Column("interval_pairs_divergence", "intervals", ideal="0"),
    Column("spread", "spread", ideal="1"),
    Column("nearest", "nearest", ideal="1"),
)


BLIND_COLUMNS = (
    Column("told_unseen", "told as played", True, "50 %"),
    Column("told_plain", "told by percentiles", True, "50 %"),
    Column("told_snapped", "told, chords snapped", True, "50 %"),
    Column("at_once", "waits < 5 ms", True),
    Column("shortest_waits", "10th percentile, ms"),
    Column("sounding", "notes sounding"),
)
FORM_COLUMNS = (
    Column("real", "validation"),
    Column("shuffled", "shuffled"),
    Column("apart", "told apart", ideal="1"),
    Column("training", "training"),
    Column("model", "model"),
    Column("way", "of the way to real", True, "100 %"),
)


def piano_tables(
    generator: Generator, representation: NotesRepresentation, folder: Path, cache: Path, samples: int
) -> list[Table]:
    """Measures a generator of piano notes against the validation pieces of a folder of MIDI.

    Args:
        representation: the generator's.
    """
    data = midi.prepare(folder, cache)
    z, condition, labels = draw(generator, range(samples))
    with tqdm(
        total=samples + 6 * PAIRS + PROGRESS_PER_ROW * (9 + len(BASELINES)), unit="piece", dynamic_ncols=True
    ) as bar:
        bar.set_description("model")
        sounds = [representation.decode(x) for x in outputs(generator, z, condition, bar.update)]
        model = note_windows(sounds)
        bar.set_description("paths")
        paths = path_table(generator, bar.update)
        bar.set_description("figures")
        # In random order, so that any part of them has windows of all pieces.
        rng = np.random.RandomState(0)
        valid = Performances.of(data.valid, 2 * samples)[rng.permutation(2 * samples)]
        held_out, other = valid[0::2], valid[1::2]
        known = Performances.of(data.train, max(TRAINING_WINDOWS, samples))
        train = known[rng.permutation(len(known))[:samples]]
        reference = TrainingReference(snapped(known.encoded(representation)))
        sets = {
            "validation": snapped(other.encoded(representation)),
            "training": snapped(train.encoded(representation)),
            "model": snapped(model),
        }
        real_windows = snapped(held_out.encoded(representation))
        sets |= {name: make(sets["training"], rng) for name, make in BASELINES.items()}
        rows = {}
        for name, windows in sets.items():
            rows[name] = table_row(real_windows, windows) | reference.compare(windows)
            bar.update(PROGRESS_PER_ROW)
        heard = [
            blind_table(held_out, other, train, model, representation, bar.update),
            form_table(held_out, train, model),
        ]
        bar.update(PROGRESS_PER_ROW)
    units = {key: rows["validation"][key] for key in ("spread", "nearest")}
    for row in rows.values():
        row |= {key: row[key] / unit for key, unit in units.items()}
    del rows["training"]["nearest"]  # these windows are among those searched
    real = rows["validation"]
    targets = {
        "overlap_area": Target(low=0.9),
        "two_sample_accuracy": Target(high=0.72),
        **{key: Target(real[key] - 0.03, real[key] + 0.03) for key in ("in_key_ratio", "polyphony_rate", "chord_rate")},
    }
    notes = (
        f"{samples:,} windows of 256 notes a row, the model's of the seeds 0 to {samples - 1}; all are encoded and "
        "decoded as the model's are, notes within 30 ms are one chord, and all are measured against as many windows of "
        "validation pieces",
        "validation: other windows of the same pieces; baselines are made of training windows",
        f"overlap: mean overlap area of the 13 features below on {OVERLAP_WINDOWS} windows (Yang and Lerch, 2018)",
        "told from real: cross-validated accuracy of gradient boosting on 56 numbers of each window; 50 % is chance",
        "intervals: Jensen-Shannon divergence of pairs of successive intervals, in bits",
        "spread: that of those 56 numbers over that of validation; near 0 if all windows are alike, which overlap and "
        "the rates do not show",
        f"nearest: mean distance to the nearest of {len(known):,} training windows in those 56 numbers, over that of "
        "validation; below 1: nearer to the training set than unheard music is",
    )
    separable = separability_table(z, labels, sounds)
    features = features_table(real_windows, sets["validation"], sets["model"])
    return [Table("Piano", COLUMNS, rows, targets, notes), features, *heard, paths, separable]


@dataclass(frozen=True)
class Performances:
    """Windows of real pieces.

    Attributes:
        columns: (n, 256, 6), the columns of `NoteTable`.
        pieces: (n,), numbers of the pieces that they are from.
    """

    columns: np.ndarray
    pieces: np.ndarray

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], count: int) -> "Performances":
        """Windows spread evenly over a split."""
        return cls(midi.windows(tensors, count, PERFORMED).numpy(), midi.pieces(tensors, count).numpy())

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, rows: slice | np.ndarray) -> "Performances":
        return Performances(self.columns[rows], self.pieces[rows])

    def encoded(self, representation: NotesRepresentation) -> np.ndarray:
        """The windows (n, 256, 4) encoded and decoded, as generated ones are decoded."""
        tables = (NoteTable(*window.T) for window in self.columns)
        return note_windows(representation.decode(representation.encode_table(table)) for table in tables)

    def performed(self) -> np.ndarray:
        """The windows (n, 256, 4) as they were played: with touch, and notes that last as long as they sound."""
        made = []
        for pitch, step, _, velocity, touch, sounding in self.columns.transpose(0, 2, 1):
            made.append(form.as_window(step.cumsum() + touch, pitch, sounding, velocity))
        return np.stack(made)


class TrainingReference:
    """Training windows (n, 256, 4), to which others are compared to find copies and lack of variety."""

    def __init__(self, windows: np.ndarray) -> None:
        known = music.statistics(windows)
        self.centre, self.scale = known.mean(0), known.std(0) + 1e-9
        self.known = (known - self.centre) / self.scale

    def compare(self, windows: np.ndarray) -> dict[str, float]:
        """Spread of windows (n, 256, 4) and mean distance to the nearest training window, in their statistics."""
        points = (music.statistics(windows) - self.centre) / self.scale
        return {
            "spread": distribution_metrics.spread(points, np.zeros(len(points))),
            "nearest": float(distribution_metrics.nearest_distances(points, self.known).mean()),
        }


def blind_table(
    held_out: Performances,
    other: Performances,
    train: Performances,
    model: np.ndarray,
    representation: NotesRepresentation,
    progress: Progress,
) -> Table:
    """The table of how well windows are told from performances by what training does not see.

    Args:
        other: windows of the same pieces as `held_out`. model: (n, 256, 4).
    """
    rng = np.random.RandomState(0)
    held_out, other, train = (part[:HEARD_WINDOWS] for part in (held_out, other, train))
    model = model[:HEARD_WINDOWS]
    apart = 1 + int(held_out.pieces.max())  # pieces of other splits have numbers of their own
    each = apart + np.arange(len(model))
    sets = {
        "validation": (other.performed(), other.pieces),
        "validation, encoded": (other.encoded(representation), other.pieces),
        "training": (train.performed(), apart + train.pieces),
        "model": (model, each),
        "attributes shuffled": (attributes_shuffled(train.performed(), rng), each),
    }
    reference = _Heard(held_out.performed(), rng)
    progress(PROGRESS_PER_ROW)
    rows = {}
    for name, (windows, pieces) in sets.items():
        told = reference.told(_Heard(windows, rng), held_out.pieces, pieces)
        rows[name] = {
            **{key: value for key, value in told.items() if np.isfinite(value)},
            "at_once": float((windows[:, 1:, STEP] < 0.005).mean()),
            "shortest_waits": float(1000 * np.percentile(windows[:, 1:, STEP], 10, axis=1).mean()),
            "sounding": float(form.polyphony(windows).mean()),
        }
        progress(PROGRESS_PER_ROW)
    real = rows["validation"]
    targets = {
        "told_unseen": Target(high=0.8),
        "at_once": Target(max(0.0, real["at_once"] - 0.03), real["at_once"] + 0.03),
        "shortest_waits": Target(max(0.0, real["shortest_waits"] - 1), real["shortest_waits"] + 1),
        "sounding": Target(0.9 * real["sounding"], 1.1 * real["sounding"]),
    }
    notes = (
        f"{len(model):,} windows a row as they were played: chords keep their touch, and notes last as long as they "
        "sound, pedal counted",
        "told: balanced accuracy of a classifier, cross-validated by piece, the better of gradient boosting and "
        "logistic regression; as played: on numbers that no loss contains, of touch, lines, chords, rhythm, releases "
        "and form; by percentiles: on percentiles and histograms of waits, lengths, velocities and pitches; chords "
        "snapped: as the first, but notes within 30 ms are one chord",
        "validation: other windows of the same pieces; encoded: what the model's representation keeps of them; "
        "training: real, but other pieces, which is all that a model can learn from",
        "waits: from one onset to the next; their 10th percentile is the mean of those of the windows; notes sounding: "
        "at once, on average",
    )
    return Table("Heard blind", BLIND_COLUMNS, rows, targets, notes)


class _Heard:
    """The features (n, d) of a set of windows, by column of the table."""

    def __init__(self, windows: np.ndarray, rng: np.random.RandomState) -> None:
        raw, chords = blind.blurred(windows, rng), snapped(windows)
        self.features = {
            "told_unseen": np.stack([blind.unseen(window) for window in raw]),
            "told_plain": np.stack([blind.plain(window) for window in raw]),
            "told_snapped": np.stack([blind.unseen(window) for window in chords]),
        }

    def told(self, other: "_Heard", pieces: np.ndarray, other_pieces: np.ndarray) -> dict[str, float]:
        return {
            key: blind.two_sample_accuracy(own, other.features[key], pieces, other_pieces)
            for key, own in self.features.items()
        }


def form_table(held_out: Performances, train: Performances, model: np.ndarray) -> Table:
    """The table of the measures of form: real windows, real ones that are shuffled, and the model's (n, 256, 4)."""
    rng = np.random.RandomState(0)
    sets = {
        "real": held_out[:HEARD_WINDOWS].performed(),
        "training": train[:HEARD_WINDOWS].performed(),
        "model": model[:HEARD_WINDOWS],
    }
    shuffled = {name: shuffle(sets["real"], rng) for name, shuffle in form.SHUFFLES.items()}
    rows = {}
    for key, measure in form.MEASURES.items():
        found = {name: form.measured(windows, key) for name, windows in sets.items()}
        found["shuffled"] = form.measured(shuffled[measure.shuffled], key)
        row = {name: float(values.mean()) for name, values in found.items() if len(values)}
        if {"real", "shuffled"} <= row.keys():
            row["apart"] = form.roc_auc(found["real"], found["shuffled"])
            if "model" in row and row["real"] != row["shuffled"]:
                row["way"] = (row["model"] - row["shuffled"]) / (row["real"] - row["shuffled"])
        rows[measure.title] = row
    notes = (
        "as played, pedal counted; means of the windows; notes within 50 ms are a stroke, the highest of each make the "
        "top line, the lowest the bass",
        "shuffled: the same real windows with one thing in random order: the strokes; the pitches, for chords of "
        "thirds and the louder top note; or quarters of different windows, for what holds or changes from one to the "
        "next",
        "told apart: how surely the measure tells one real from one shuffled window (area under the ROC curve; 0.5 is "
        "chance); of the way: from shuffled to real",
        *(f"{measure.title}: {measure.explained}" for measure in form.MEASURES.values()),
    )
    return Table("Form", FORM_COLUMNS, rows, {"way": Target(low=0.6)}, notes)


def features_table(real: np.ndarray, other: np.ndarray, model: np.ndarray) -> Table:
    """The table of Yang and Lerch's features: overlap area and divergence of real windows, and of the model's."""
    reference = music.features(real[:OVERLAP_WINDOWS])
    found = {
        name: music.overlap(reference, music.features(windows[:OVERLAP_WINDOWS]))
        for name, windows in (("real", other), ("model", model))
    }
    rows = {
        feature.replace("_", " "): {
            f"{name}_{key}": found[name][feature][k] for name in found for k, key in enumerate(("area", "kl"))
        }
        for feature in reference
    }
    rows["mean"] = {key: float(np.mean([row[key] for row in rows.values()])) for key in next(iter(rows.values()))}
    columns = (
        Column("real_area", "validation, overlap", ideal="1"),
        Column("real_kl", "KL", ideal="0"),
        Column("model_area", "model, overlap", ideal="1"),
        Column("model_kl", "KL", ideal="0"),
    )
    return Table(
        "Musical features",
        columns,
        rows,
        {},
        (
            "densities of the distances between the two sets and of those within real windows: the area in which they "
            "overlap, and their KL divergence",
        ),
    )


def note_windows(sounds: Iterable[Sound]) -> np.ndarray:
    """The notes of sounds as windows (n, notes, 4) of pitch, step, duration, velocity; all have equally many notes."""
    windows = []
    for sound in sounds:
        columns = np.array([(n.pitch, n.onset, n.duration, n.velocity) for n in sound.notes or ()], dtype=np.float64)
        columns[:, STEP] = np.diff(columns[:, STEP], prepend=columns[0, STEP])
        windows.append(columns)
    return np.stack(windows)

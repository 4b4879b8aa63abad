"""Measures a generator of piano music against held-out performances and baselines."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from explorer.generators.base import Generator
from explorer.sound.base import Representation, Sound
from explorer.sound.notes import encode_notes
from training.data import midi
from training.evaluation import distribution_metrics, music
from training.evaluation.latent_space import PAIRS, draw, outputs, path_table, separability_table
from training.evaluation.music import BASELINES, STEP, table_row
from training.evaluation.tables import Column, Table, Target

SAMPLES = 1024
OVERLAP_WINDOWS = 300  # the overlap area depends on the number of windows
PROGRESS_PER_ROW = 50  # a row takes about as long to measure as so many pieces to generate
TRAINING_WINDOWS = 8192  # among which the nearest is searched
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


def piano_tables(generator: Generator, folder: Path, cache: Path, samples: int) -> list[Table]:
    """Measures a generator of piano notes against the validation pieces of a folder of MIDI."""
    data = midi.prepare(folder, cache)
    representation = generator.representation
    z, condition, labels = draw(generator, range(samples))
    with tqdm(
        total=samples + 6 * PAIRS + PROGRESS_PER_ROW * (3 + len(BASELINES)), unit="piece", dynamic_ncols=True
    ) as bar:
        bar.set_description("model")
        sounds = [representation.decode(x) for x in outputs(generator, z, condition, bar.update)]
        model = note_windows(sounds)
        bar.set_description("paths")
        paths = path_table(generator, bar.update)
        bar.set_description("figures")
        # In random order, so that any part of them has windows of all pieces.
        rng = np.random.RandomState(0)
        valid = rng.permutation(_real(representation, midi.windows(dict(data.valid), 2 * samples)))
        held_out, other = valid[0::2], valid[1::2]
        known = midi.windows(dict(data.train), max(TRAINING_WINDOWS, samples))
        train = _real(representation, known[torch.from_numpy(rng.permutation(len(known))[:samples])])
        reference = TrainingReference(known.numpy())
        sets = {
            "validation": other,
            "training": train,
            "model": model,
            **{name: make(train, rng) for name, make in BASELINES.items()},
        }
        rows = {}
        for name, windows in sets.items():
            rows[name] = table_row(held_out, windows) | reference.compare(windows)
            bar.update(PROGRESS_PER_ROW)
    units = {key: rows["validation"][key] for key in ("spread", "nearest")}
    for row in rows.values():
        row |= {key: row[key] / unit for key, unit in units.items()}
    del rows["training"]["nearest"]  # these windows are among those searched
    real = rows["validation"]
    targets = {
        "overlap_area": Target(low=0.9),
        "two_sample_accuracy": Target(high=0.75),
        **{key: Target(real[key] - 0.03, real[key] + 0.03) for key in ("in_key_ratio", "polyphony_rate", "chord_rate")},
    }
    notes = (
        f"{samples:,} windows of 256 notes a row, the model's of the seeds 0 to {samples - 1}; all are encoded and "
        "decoded as the model's are, and measured against as many windows of validation pieces",
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
    return [Table("Piano", COLUMNS, rows, targets, notes), features_table(held_out, other, model), paths, separable]


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


def _real(representation: Representation, windows: Tensor) -> np.ndarray:
    """Encodes and decodes real windows (n, 256, 4), as generated ones are decoded."""
    return note_windows(map(representation.decode, encode_notes(*windows.unbind(-1)).float()))

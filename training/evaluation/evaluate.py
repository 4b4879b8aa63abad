"""Evaluates a checkpoint: tables that compare it with real data and with simple baselines, all measured alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explorer import checkpoint, shelf
from explorer.directions import Direction, principal
from explorer.generators.base import Generator
from explorer.sound.notes import NotesRepresentation
from training.evaluation import one_shots, piano, pitched, speech
from training.evaluation.latent_space import draw
from training.evaluation.tables import Table
from training.runs import TrainingError

MIN_SAMPLES = 20


@dataclass(frozen=True)
class Report:
    """The figures of a checkpoint, as tables of which some have targets."""

    name: str
    sha256: str
    data: str
    tables: tuple[Table, ...]

    def text(self) -> str:
        return "\n\n".join([table.text() for table in self.tables] + [self.verdict()])

    def markdown(self) -> str:
        return "\n\n".join([table.markdown() for table in self.tables] + [self.verdict()])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "data": self.data,
            "tables": [table.to_dict() for table in self.tables],
        }

    def verdict(self) -> str:
        """How many targets the model met, and which it missed, in one line."""
        figures = [figure for table in self.tables for figure in table.judged()]
        missed = [
            f"{name} {column.text(value)} ({target.text(column)})"
            for name, column, target, value in figures
            if not target.met(value)
        ]
        met = f"{len(figures) - len(missed)} of {len(figures)} targets met"
        return met + (f"; missed: {', '.join(missed)}" if missed else "")


def evaluate(
    path: Path,
    folders: Sequence[Path],
    cache: Path,
    samples: int | None = None,
    judge: Path | None = None,
    others: Path | None = None,
) -> Report:
    """Measures a checkpoint on one thread; the same checkpoint and data give the same figures.

    The kind of tables depends on what the checkpoint generates: pieces, spectrograms, or waveforms with labels,
    which may be keys.

    Args:
        folders: data as for training; the model is compared with its splits. Waveforms may have several.
        cache: folder for prepared data and the judge.
        samples: number of sounds to generate, from seed 0 on; by default 2,048 of speech, 1,024 of piano,
            100 of each label of waveforms, or 40 of each key.
        judge: a judge of speech, made by `python -m training judge`; by default one is trained and kept in `cache`.
        others: recordings of other origin, measured beside a generator of waveforms.
    Raises:
        CheckpointError: if the checkpoint cannot be loaded.
        DataError: if the folder cannot be used for this checkpoint.
        TrainingError: if the checkpoint generates another kind of sound, `samples` are too few, or one folder is
            needed and several are given.
    """
    if samples is not None and samples < MIN_SAMPLES:
        raise TrainingError(
            f"{samples} samples are too few to measure anything: --samples must be at least {MIN_SAMPLES}"
        )
    card = shelf.read_card(path)
    generator, directions = checkpoint.load(path)
    tables = _tables(path, generator, directions or principal(generator), folders, cache, samples, judge, others)
    return Report(card.name, card.sha256, _named(folders), tables)


def evaluate_snapshots(
    path: Path,
    folders: Sequence[Path],
    cache: Path,
    samples: int | None = None,
    judge: Path | None = None,
) -> tuple[Table, dict[str, Any]]:
    """Measures a checkpoint and the snapshots of its training, all with the checkpoint's decoding, on one thread.

    Arguments are those of `evaluate`.

    Returns:
        The first table of `evaluate` with a row for each step, and what `shelf.FIGURES` holds: "sha256" of the
        checkpoint, "data", "samples" and "steps", the figures by step.
    Raises:
        CheckpointError, DataError, TrainingError: as `evaluate`; TrainingError also if there are no snapshots.
    """
    card, (final, _) = shelf.read_card(path), checkpoint.load(path)
    steps = shelf.snapshots(path.parent, card.name)
    if not steps or "step" not in card.provenance:
        raise TrainingError(f"{path} has no snapshots of its training")
    measured: dict[int, Table] = {}
    for step in [*steps, int(card.provenance["step"])]:
        snapshot = shelf.locate(path.parent, f"{card.name}@{step}")
        generator = final if snapshot is None else checkpoint.load(snapshot)[0]
        generator.representation = final.representation  # with its vocoder, as the explorer plays them
        measured[step] = _tables(path, generator, (), folders, cache, samples, judge)[0]
    last = list(measured.values())[-1]
    rows = {f"step {step:,}": table.rows["model"] for step, table in measured.items()}
    others = {name: row for name, row in last.rows.items() if name != "model"}
    about = {
        "sha256": card.sha256,
        "data": _named(folders),
        "samples": samples,
        "steps": {step: _rounded(table.rows["model"]) for step, table in measured.items()},
        "real": {name: _rounded(row) for name, row in others.items()},
    }
    return Table(last.title, last.columns, {**rows, **others}, last.targets, last.notes), about


def _rounded(row: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in row.items()}


def _named(folders: Sequence[Path]) -> str:
    return ", ".join(folder.name for folder in folders)


def _tables(
    path: Path,
    generator: Generator,
    directions: tuple[Direction, ...],
    folders: Sequence[Path],
    cache: Path,
    samples: int | None,
    judge: Path | None,
    others: Path | None = None,
) -> tuple[Table, ...]:
    """The tables of `evaluate`; `directions` are those along which sounds should keep their label."""
    with torch.inference_mode():
        z, condition, _ = draw(generator, range(1))
        sound = generator.representation.decode(generator(z, condition)[0])
    representation = generator.representation
    piece = representation if isinstance(representation, NotesRepresentation) else None
    waveforms = sound.notes is None and sound.log_mel is None
    if piece is None and sound.log_mel is None and not (waveforms and generator.condition is not None):
        raise TrainingError(
            f"{path} generates another kind of sound; what can be measured are pieces of 256 notes, spectrograms, and "
            "waveforms with labels"
        )
    if not waveforms and (len(folders) > 1 or others is not None):
        raise TrainingError(f"{path} is measured with one folder: give one with --data, and no --others")
    if waveforms and generator.condition is not None and generator.condition.kind == "pitch":
        tables = pitched.note_tables(generator, folders, cache, samples, others)
    elif waveforms:
        tables = one_shots.one_shot_tables(generator, folders, cache, samples, others)
    elif piece is not None:
        tables = piano.piano_tables(generator, piece, folders[0], cache, samples or piano.SAMPLES)
    else:
        tables = speech.speech_tables(generator, directions, folders[0], cache, judge, samples or speech.SAMPLES)
    return tuple(tables)

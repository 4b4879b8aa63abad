"""Evaluates a checkpoint: tables that compare it with real data and with simple baselines, all measured alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explorer import checkpoint, shelf
from explorer.directions import principal
from training.evaluation import piano, speech
from training.evaluation.latent_space import draw
from training.evaluation.tables import Table
from training.runs import TrainingError

MIN_SAMPLES = 20


@dataclass(frozen=True)
class Report:
    """The figures of a checkpoint. The first table has the targets."""

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
        first = self.tables[0]
        model = first.rows["model"]
        missed = [
            f"{column.title} {column.text(model[column.key])} ({target.text(column)})"
            for column in first.columns
            if (target := first.targets.get(column.key)) and column.key in model and not target.met(model[column.key])
        ]
        count = sum(key in model for key in first.targets)
        return f"{count - len(missed)} of {count} targets met" + (f"; missed: {', '.join(missed)}" if missed else "")


def evaluate(path: Path, folder: Path, cache: Path, samples: int | None = None, judge: Path | None = None) -> Report:
    """Measures a checkpoint on one thread; the same checkpoint and data give the same figures.

    The kind of tables depends on what the checkpoint generates: notes or spectrograms.

    Args:
        folder: data as for training; the model is compared with its splits.
        cache: folder for prepared data and the judge.
        samples: number of sounds to generate, from seed 0 on; by default 2,048 of speech or 1,024 of piano.
        judge: a judge of speech, made by `python -m training judge`; by default one is trained and kept in `cache`.
    Raises:
        CheckpointError: if the checkpoint cannot be loaded.
        DataError: if the folder cannot be used for this checkpoint.
        TrainingError: if the checkpoint generates neither notes nor spectrograms, or `samples` are too few.
    """
    if samples is not None and samples < MIN_SAMPLES:
        raise TrainingError(
            f"{samples} samples are too few to measure anything: --samples must be at least {MIN_SAMPLES}"
        )
    card = shelf.read_card(path)
    generator, directions = checkpoint.load(path)
    with torch.inference_mode():
        z, condition, _ = draw(generator, range(1))
        sound = generator.representation.decode(generator(z, condition)[0])
    if sound.notes is not None:
        tables = piano.piano_tables(generator, folder, cache, samples or piano.SAMPLES)
    elif sound.log_mel is not None:
        tables = speech.speech_tables(
            generator, directions or principal(generator), folder, cache, judge, samples or speech.SAMPLES
        )
    else:
        raise TrainingError(f"{path} generates neither notes nor spectrograms, the only kinds that can be measured")
    return Report(card.name, card.sha256, folder.name, tuple(tables))

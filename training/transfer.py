"""Fine-tuning: a run that starts from the weights of a checkpoint instead of from noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from explorer import checkpoint, shelf
from explorer.checkpoint import Card, CheckpointError
from explorer.generators.base import Generator
from training.runs import TrainingError
from training.wgan_gp import WGANGP


@dataclass(frozen=True)
class Origin:
    """What a checkpoint gives to start from; `encoder` holds the weights of one, by name, or nothing."""

    card: Card
    generator: Generator
    encoder: Mapping[str, Tensor]


def read_origin(path: Path, family: str) -> Origin:
    """Reads a checkpoint to start from.

    Raises:
        CheckpointError: if it cannot be loaded.
        TrainingError: if it is of another family.
    """
    card = shelf.read_card(path)
    if card.family != family:
        raise TrainingError(f"{path} is a checkpoint of {card.family}, this trains {family}")
    return Origin(card, checkpoint.load(path)[0], checkpoint.load_extra(path, "encoder"))


def adopt(run: WGANGP, origin: Origin) -> None:
    """Gives a fresh run of the same configuration the origin's generator and, if it carries one, its encoder.

    Raises:
        CheckpointError: if the encoder is not one of this family's.
    """
    for generator in (run.generator, run.ema):
        generator.load_state_dict(origin.generator.state_dict())
    if run.encoder is not None and origin.encoder:
        try:
            run.encoder.load_state_dict(dict(origin.encoder))
        except RuntimeError as error:
            raise CheckpointError(f"{origin.card.path}: the encoder in it does not fit: {error}") from None

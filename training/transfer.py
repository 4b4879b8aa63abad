"""Fine-tuning: starts a run from the weights of a checkpoint instead of random ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from explorer import checkpoint, shelf
from explorer.checkpoint import Card, CheckpointError
from explorer.generators.base import Generator
from training.objective import Objective
from training.runs import TrainingError


@dataclass(frozen=True)
class Origin:
    """A checkpoint to start from. `encoder` holds its encoder's weights by name; empty if it has none."""

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
        raise TrainingError(f"{path} is a checkpoint of {card.family}, not of {family}: train {card.family} from it")
    return Origin(card, checkpoint.load(path)[0], checkpoint.load_extra(path, "encoder"))


def copy_weights(objective: Objective, origin: Origin) -> None:
    """Copies a checkpoint's weights into a fresh run of the same configuration: generator, EMA, encoder if it has one.

    Raises:
        CheckpointError: if the checkpoint's encoder does not fit the run's.
    """
    modules = objective.modules()
    for name in ("generator", "ema"):
        modules[name].load_state_dict(origin.generator.state_dict())
    if "encoder" in modules and origin.encoder:
        try:
            modules["encoder"].load_state_dict(dict(origin.encoder))
        except RuntimeError as error:
            raise CheckpointError(f"{origin.card.path}: its encoder does not fit this configuration: {error}") from None

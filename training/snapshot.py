"""What a run shows of itself while it learns: the same latents, rendered by the averaged generator."""

import logging
from pathlib import Path

import torch

from explorer import atomic, checkpoint, shelf
from explorer.generators.base import Generator
from explorer.sound.base import Sound
from training.objective import Objective

SEEDS = range(6)  # consecutive, never picked
HEARD = 3

log = logging.getLogger(__name__)


def snapshot(objective: Objective, folder: Path) -> None:
    """Shows the generator of an objective; does nothing for one without.

    Writes `snapshots/STEP.safetensors` (16-bit averaged weights) and, of seeds 0-5, `STEP.png` and `STEP-SEED.wav`.

    On a machine without the libraries for pictures and sound only the weights are written: any later machine can
    render them.
    """
    generator = objective.shown()
    if generator is None:
        return
    target = folder / shelf.SNAPSHOTS
    name, step = f"{objective.step:07d}", objective.step
    checkpoint.save(target / f"{name}.safetensors", generator, dtype=torch.bfloat16, provenance={"step": step})
    try:
        from explorer.files.figures import sheet
        from explorer.files.formats import write_wav
    except ImportError as error:
        log.warning("step %d: no pictures and sound here (%s); the weights are kept", step, error)
        return
    sounds = render(generator, SEEDS)
    with atomic.replacing(target / f"{name}.png") as partial:
        sheet(sounds, [f"seed {seed}" for seed in SEEDS]).savefig(partial, dpi=80, format="png")
    for seed, sound in list(zip(SEEDS, sounds, strict=True))[:HEARD]:
        write_wav(target / f"{name}-{seed}.wav", sound)


@torch.no_grad()
def render(generator: Generator, seeds: range) -> list[Sound]:
    """The sounds of some seeds; with a condition, seed s speaks its s-th choice."""
    device = next(generator.parameters()).device
    z = torch.stack([generator.latent.from_seed(seed) for seed in seeds]).to(device)
    condition = generator.condition
    weights = None
    if condition is not None:
        labels = [condition.labels[seed % len(condition.labels)] for seed in seeds]
        weights = torch.stack([condition.encode(label) for label in labels]).to(device)
    x = generator(z, weights).float().cpu()
    return [generator.representation.decode(item) for item in x]

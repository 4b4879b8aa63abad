"""Snapshots of a run: sounds of the same fixed latents, rendered with the EMA weights."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from explorer import atomic, checkpoint, shelf
from explorer.generators.base import Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Sound
from training.objective import Objective

SEEDS = range(6)  # consecutive, not picked by ear
WAV_COUNT = 3  # of the seeds, which are written as sound too

log = logging.getLogger(__name__)


def snapshot(objective: Objective, folder: Path) -> None:
    """Writes a snapshot of an objective's generator; does nothing if it has none.

    Writes `snapshots/STEP.safetensors` (EMA weights in bfloat16), `STEP.png` (seeds 0 to 5) and `STEP-SEED.wav` (seeds
    0 to 2). Without the libraries for pictures and sound only the weights are written; they can be rendered elsewhere.
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
        log.warning("step %d: snapshot without pictures and sound (%s); its weights are saved", step, error)
        return
    sounds = render(generator, SEEDS)
    with atomic.replacing(target / f"{name}.png") as partial:
        sheet(sounds, [f"seed {seed}" for seed in SEEDS]).savefig(partial, dpi=80, format="png")
    for seed, sound in list(zip(SEEDS, sounds, strict=True))[:WAV_COUNT]:
        write_wav(target / f"{name}-{seed}.wav", sound)


@torch.no_grad()
def render(generator: Generator, seeds: range) -> list[Sound]:
    """The sounds of some seeds. With labels, seed s gets label number s, starting over after the last."""
    device = next(generator.parameters()).device

    def drawn(space: LatentSpace) -> Tensor:
        return torch.stack([space.from_seed(seed) for seed in seeds]).to(device)

    z, noise = drawn(generator.latent), None if generator.noise is None else drawn(generator.noise)
    condition = generator.condition
    weights = None
    if condition is not None:
        labels = [condition.labels[seed % len(condition.labels)] for seed in seeds]
        weights = torch.stack([condition.encode(label) for label in labels]).to(device)
    x = generator(z, weights, noise=noise).float().cpu()
    return [generator.representation.decode(item) for item in x]

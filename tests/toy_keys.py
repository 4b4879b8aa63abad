"""A third toy family for the tests: an instrument, in tune by its formula, whose latent is the level of its partials.

High keys are much louder than low ones, so that code which does not even them out fails.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explorer import checkpoint
from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace
from explorer.sound.base import note_name
from explorer.sound.waveform import WaveformConfig, WaveformRepresentation

SAMPLE_RATE, SAMPLES = 8000, 8000
PARTIALS = 3
HELD, RELEASE = 0.75, 0.04  # seconds; then it falls by 1/e in so many


@dataclass(frozen=True)
class KeysToyConfig:
    lowest: int = 48
    highest: int = 72
    decay: float = 0.0  # nepers a second


class KeysToy(Generator):
    """One second of three partials of a pitch."""

    family = "toy-keys"
    Config = KeysToyConfig

    def __init__(self, config: KeysToyConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((PARTIALS,), "normal")
        self.representation = WaveformRepresentation(WaveformConfig(SAMPLE_RATE, SAMPLES))
        self.pitches = range(config.lowest, config.highest + 1)
        self.condition = Condition("pitch", tuple(map(note_name, self.pitches)), "pitch")
        self.level = nn.Parameter(torch.tensor(0.1))

    def generate(self, z: Tensor, condition: Tensor | None, settings: Any) -> Tensor:
        assert condition is not None
        pitch = (condition.double() * torch.tensor(self.pitches, dtype=torch.float64)).sum(1, keepdim=True)
        time = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLE_RATE
        partial = torch.arange(1, PARTIALS + 1)[:, None]
        waves = (2 * math.pi * 440 * torch.exp2((pitch - 69) / 12)[..., None] * partial * time).sin()
        levels = torch.sigmoid(z)[..., None] / partial
        shape = (-self.config.decay * time - (time - HELD).clamp_min(0) / RELEASE).exp()
        louder = torch.exp2((pitch - self.pitches[0]) / 12)
        return (self.level * louder * (waves * levels).sum(1) * shape).clamp(-1, 1).float()


def write(folder: Path, name: str = "keys", **config: Any) -> Path:
    """A checkpoint of the toy in a folder. `KeysToy` must be in FAMILIES for it to load."""
    path = folder / f"{name}.safetensors"
    checkpoint.save(path, KeysToy(KeysToyConfig(**config)))
    return path

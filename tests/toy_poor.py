"""A second toy family for the tests, without any optional feature.

It makes a bare waveform from a uniform prior, slowly, and has no labels, no notes, no spectrogram and no settings, so
that code which expects one of these of every family fails.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from explorer import checkpoint
from explorer.generators.base import Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Representation, Settings, Sound, chosen

SAMPLE_RATE, SAMPLES = 4000, 2000


@dataclass(frozen=True)
class PoorToyConfig:
    channels: int = 2
    size: int = 64
    rounds: int = 400  # of smoothing, about ten milliseconds in all


class Waveform(Representation):
    """The samples themselves, (2000,); decoding is exact."""

    sample_rate, seconds = SAMPLE_RATE, SAMPLES / SAMPLE_RATE

    @property
    def shape(self) -> tuple[int, ...]:
        return (SAMPLES,)

    def encode(self, sound: Sound) -> Tensor:
        return torch.from_numpy(sound.waveform.copy())

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        chosen(self.settings, settings)
        waveform = x.detach().numpy().astype(np.float32)
        return Sound(lambda: waveform, SAMPLE_RATE, self.seconds)


class PoorToy(Generator):
    """Sines whose amplitudes are the latent's numbers, through one layer, smoothed again and again."""

    family = "poor-toy"
    Config = PoorToyConfig

    def __init__(self, config: PoorToyConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((config.channels, config.size), "uniform")
        self.representation = Waveform()
        self.layer = nn.Linear(self.latent.size, self.latent.size)

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        amplitudes = self.layer(z.flatten(1)) + z.flatten(1)  # (batch, size)
        time = torch.arange(SAMPLES, device=z.device) / SAMPLE_RATE
        frequencies = 100 * 2 ** (torch.arange(self.latent.size, device=z.device) / 32)
        x = amplitudes @ torch.sin(2 * torch.pi * frequencies[:, None] * time)
        for _ in range(self.config.rounds):
            x = x + 0.001 * (x.roll(1, 1) - x)
        return torch.tanh(x / 8)


def write(folder: Path, name: str = "poor", seed: int = 0) -> Path:
    """A checkpoint of the poor toy in a folder. `PoorToy` must be in FAMILIES for it to load."""
    path = folder / f"{name}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        checkpoint.save(path, PoorToy(PoorToyConfig()))
    return path

"""How the poor toy is trained: the least that a family brings to training, as CONTRIBUTING shows it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from toy_poor import SAMPLE_RATE, SAMPLES, PoorToy, PoorToyConfig

from explorer.checkpoint import config_from_dict
from explorer.generators.base import Generator
from training.data.audio import Cut, agreed, centred, encoded, load_waveforms
from training.task import Batch, Prepared, TrainingRecipe
from training.wgan_gp import AdversarialTask


class PoorTask(AdversarialTask):
    """Bare waveforms without labels, against a critic of two layers, and no warm start."""

    family = "poor-toy"
    summary = "half seconds of sound, from a folder of recordings"
    defaults = TrainingRecipe(batch_size=4, steps=2, critic_steps=1, snapshot_every=1, state_every=1)
    fine_tuning = replace(defaults, steps=1)

    def prepare(
        self, folder: Path, cache: Path, options: Mapping[str, str], like: PoorToyConfig | None = None
    ) -> Prepared:
        cut = Cut("poor toy 1", lambda rate: SAMPLES, centred)
        clips = load_waveforms(folder, cache, agreed(options, {"sample_rate": str(SAMPLE_RATE)}), cut)
        return encoded(folder, clips, lambda waveform: waveform, labels=())

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        return PoorToy(config_from_dict(PoorToyConfig, {**asdict(PoorToyConfig()), **overrides}))

    def critic(self, generator: Generator) -> nn.Module:
        return Critic()

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        return Batch(tensors["x"][index])


class Critic(nn.Module):
    """(batch, samples) -> scores (batch,), and no class."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SAMPLES, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, None]:
        return self.layers(x)[:, 0], None

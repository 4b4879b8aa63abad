"""What families that are trained on one-shots share: how their sounds are prepared, drawn and levelled."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from explorer.checkpoint import config_from_dict
from explorer.generators.base import Generator
from explorer.generators.wavegan import PEAK
from explorer.sound.waveform import WaveformConfig
from training import parallel
from training.data.audio import agreed, encoded, load_waveforms, named
from training.data.one_shots import one_shots
from training.task import Batch, Prepared, Task


class OneShotTask(Task):
    """Short sounds that begin at once, of one level, conditional on their labels if they have any.

    Attributes:
        generator_class: the family's generator, whose Config has a `waveform` and `labels`.
    """

    generator_class: ClassVar[type[Generator]]
    preparation = "labels=A,B,... uses only these labels, in this order; sample_rate=HZ (default: 16000)"
    many_sources = True

    def prepare(self, folders: Any, cache: Path, options: Mapping[str, str], like: Any = None) -> Prepared:
        size = like.waveform if like else WaveformConfig()
        rate = {"sample_rate": str(size.sample_rate)}
        options = agreed(options, rate) if like else {**rate, **options}
        clips = load_waveforms(folders, cache, options, one_shots(size.samples))
        return encoded(named(folders), clips, lambda waveform: waveform, like.labels if like else None)

    def generator(self, data: Prepared, overrides: Mapping[str, Any]) -> Generator:
        size = {"sample_rate": data.meta["sample_rate"], "samples": data.train["x"].shape[1]}
        known = {"waveform": size, "labels": data.meta["labels"]}
        kind = self.generator_class.Config
        return self.generator_class(config_from_dict(kind, {**asdict(kind()), **known, **overrides}))

    def draw(self, tensors: Mapping[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        """Every label is drawn equally often."""
        if "condition" not in tensors:
            return parallel.randint(0, len(tensors["x"]), (n,), rng)
        condition = tensors["condition"]
        weights, total = condition @ (1 / condition.sum(0).clamp_min(1)), n * parallel.world_size()
        return parallel.local_rows(torch.multinomial(weights, total, replacement=True, generator=rng))

    def batch(self, tensors: Mapping[str, Tensor], index: Tensor, rng: torch.Generator) -> Batch:
        x = tensors["x"][index].float()
        x = x * (PEAK / x.abs().amax(1, keepdim=True).clamp_min(1e-9))
        return Batch(x, tensors["condition"][index] if "condition" in tensors else None)

"""`WaveformRepresentation`: one-shots, such as drum hits, as their samples."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.sound.base import Representation, Settings, Sound, chosen

HIGHEST_RATE, LONGEST = 384_000, 2**22  # upper limits: Hz, samples


@dataclass(frozen=True)
class WaveformConfig:
    """Size of a sound.

    Attributes:
        sample_rate: Hz.
        samples: length.
    """

    sample_rate: int = 16_000
    samples: int = 16_384

    def __post_init__(self) -> None:
        for name, most in (("sample_rate", HIGHEST_RATE), ("samples", LONGEST)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is a whole number from 1 to {most}, not {value!r}")


class WaveformRepresentation(Representation):
    """Tensors (samples,). Of a sound of that length `decode(encode(sound))` keeps every sample."""

    def __init__(self, config: WaveformConfig) -> None:
        self.config = config
        self.sample_rate = config.sample_rate
        self.seconds = config.samples / config.sample_rate

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.config.samples,)

    def encode(self, sound: Sound) -> Tensor:
        """A shorter sound is followed by silence, a longer one loses its end.

        Raises:
            ValueError: if the sound has another sample rate.
        """
        if sound.sample_rate != self.sample_rate:
            raise ValueError(f"the sound has {sound.sample_rate} Hz, this representation {self.sample_rate} Hz")
        x = np.zeros(self.config.samples, np.float32)
        kept = sound.waveform[: len(x)]
        x[: len(kept)] = kept
        return torch.from_numpy(x)

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        chosen(self.settings, settings)
        waveform: np.ndarray = x.detach().cpu().numpy().astype(np.float32)
        return Sound(lambda: waveform, self.sample_rate, self.seconds, one_shot=True)

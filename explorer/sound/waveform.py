"""`WaveformRepresentation`: one-shots, such as drum hits, as their samples."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.sound.base import Representation, Settings, Sound, check_size, chosen

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
            check_size(name, getattr(self, name), most)


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
        return torch.from_numpy(from_start(sound, self.config.samples, self.sample_rate))

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        chosen(self.settings, settings)
        waveform: np.ndarray = x.detach().cpu().numpy().astype(np.float32)
        return Sound(lambda: waveform, self.sample_rate, self.seconds, one_shot=True)


def from_start(sound: Sound, samples: int, sample_rate: int) -> np.ndarray:
    """The first samples of a sound, (samples,) float32, followed by silence if it is shorter.

    Raises:
        ValueError: if the sound has another sample rate.
    """
    if sound.sample_rate != sample_rate:
        raise ValueError(f"the sound has {sound.sample_rate} Hz, this representation {sample_rate} Hz")
    kept = sound.waveform[:samples]
    return np.pad(kept, (0, samples - len(kept))).astype(np.float32)

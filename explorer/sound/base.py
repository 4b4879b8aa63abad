"""What a generator's output becomes: a `Sound`, by way of a `Representation`.

Conventions of the whole package: waveforms are mono float32 in [-1, 1] with shape (samples,);
times are in seconds, frequencies in Hz, pitches are MIDI note numbers (A4 = 69), velocities 1-127.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Note:
    """One piano note: MIDI pitch 21-108, onset and duration in seconds, velocity 1-127."""

    pitch: int
    onset: float
    duration: float
    velocity: int


@dataclass(frozen=True)
class LogMel:
    """A log-mel spectrogram with its axes.

    `values` is (n_mels, frames), the natural logarithm of mel magnitude plus `floor`; `frequencies` (n_mels,) holds the
    bands' centres in Hz; frame i is centred on second `i * hop_length / sample_rate`.
    """

    values: np.ndarray
    frequencies: np.ndarray
    hop_length: int
    sample_rate: int
    floor: float = 0.0


@dataclass(frozen=True)
class Sound:
    """Something to hear and to see. It has notes, or a log-mel, or neither; it always has a waveform.

    The waveform is synthesised when it is first asked for: the live view of notes never needs it.
    """

    synthesize: Callable[[], np.ndarray] = field(repr=False)
    sample_rate: int
    seconds: float
    notes: tuple[Note, ...] | None = None
    log_mel: LogMel | None = None

    @cached_property
    def waveform(self) -> np.ndarray:
        """(samples,) float32 in [-1, 1]."""
        return self.synthesize()


class Representation(Protocol):
    """How a family writes sound as a tensor in [-1, 1].

    `settings` are the choices that decoding leaves open, each name with its options, the default first:
    `{"inversion": ("griffin-lim", "learned")}`.
    """

    sample_rate: int
    seconds: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one encoded sound, without the batch."""
        ...

    @property
    def settings(self) -> Mapping[str, tuple[str, ...]]: ...

    def encode(self, sound: Sound) -> Tensor:
        """-> (*shape), in [-1, 1]."""
        ...

    def decode(self, x: Tensor, settings: Mapping[str, str] | None = None) -> Sound:
        """Undoes `encode`, up to the tolerance that the representation states.

        Args:
            x: (*shape), in [-1, 1].
            settings: a chosen option for some of `self.settings`; the rest take their default.
        """
        ...

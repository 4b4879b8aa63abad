"""What a generator's output becomes: a `Sound`, by way of a `Representation`.

Conventions of the whole package: waveforms are mono float32 in [-1, 1] with shape (samples,);
times are in seconds, frequencies in Hz, pitches are MIDI note numbers (A4 = 69), velocities 1-127.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

Settings = Mapping[str, str]  # a chosen option for each setting, by its name


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

    Attributes:
        played_by: "piano" if playing the notes on the sampled piano of `explorer.sound.synth` gives the waveform, so
            that a page may do that instead of fetching it. None: the waveform is what is heard, whatever notes say.
    """

    synthesize: Callable[[], np.ndarray] = field(repr=False)
    sample_rate: int
    seconds: float
    notes: tuple[Note, ...] | None = None
    log_mel: LogMel | None = None
    played_by: Literal["piano"] | None = None
    # Not a cached_property: before Python 3.12 that would synthesise one sound of the whole process at a time.
    _waveform: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def waveform(self) -> np.ndarray:
        """(samples,) float32 in [-1, 1]."""
        if self._waveform is None:
            object.__setattr__(self, "_waveform", self.synthesize())
        assert self._waveform is not None
        return self._waveform


class Representation(ABC):
    """How a family writes sound as a tensor in [-1, 1].

    Attributes:
        sample_rate, seconds: of the sounds; where lengths differ, the usual one.
        part_types: the classes of what this representation may carry beside the generator, by name. Each is an
            `nn.Module` built from its `Config`, a dataclass of plain values, which it keeps as `config`. A checkpoint
            stores and restores what is carried without knowing what it is.
    """

    part_types: ClassVar[Mapping[str, type[Any]]] = MappingProxyType({})

    sample_rate: int
    seconds: float

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one encoded sound, without the batch."""

    @property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        """The choices that decoding leaves open, each name with its options, the default first:
        `{"inversion": ("learned", "griffin-lim")}`."""
        return {}

    @abstractmethod
    def encode(self, sound: Sound) -> Tensor:
        """-> (*shape), in [-1, 1]."""

    @abstractmethod
    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        """Undoes `encode`, up to the tolerance that the representation states.

        Args:
            x: (*shape), in [-1, 1].
            settings: a chosen option for some of `self.settings`; the rest take their default.
        Raises:
            ValueError: if there is no such setting or option.
        """

    def parts(self) -> Mapping[str, nn.Module]:
        """What is carried now, by the names of `part_types`."""
        return {}

    def fits(self, name: str, config: Any) -> bool:
        """Whether a part of this name and configuration belongs to such sounds."""
        return False

    def carry(self, name: str, part: nn.Module) -> None:
        """Takes a part along, in place of one of the same name.

        Raises:
            ValueError: if it does not fit.
        """
        raise ValueError(f"{type(self).__name__} carries no {name}")


def chosen(settings: Mapping[str, tuple[str, ...]], given: Settings | None) -> dict[str, str]:
    """An option for every setting: the given one, or its first.

    Raises:
        ValueError: if there is no such setting or option.
    """
    options = {name: values[0] for name, values in settings.items()}
    for name, option in (given or {}).items():
        if option not in settings.get(name, ()):
            known = "; ".join(f"{name}: {', '.join(values)}" for name, values in settings.items()) or "no settings"
            raise ValueError(f"no setting {name} = {option!r}; there are {known}")
        options[name] = option
    return options

"""`Sound`, and `Representation`, which converts between sounds and a generator's output.

Conventions of the whole package: waveforms are mono float32 in [-1, 1] with shape (samples,);
times are in seconds, frequencies in Hz, pitches are MIDI note numbers (A4 = 69), velocities 1-127.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

NOTE_BYTES = 200  # of memory, with its numbers
NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
Settings = Mapping[str, str]  # the chosen option by the name of its setting


@dataclass(frozen=True)
class Note:
    """One piano note: MIDI pitch 21-108, onset and duration in seconds, velocity 1-127."""

    pitch: int
    onset: float
    duration: float
    velocity: int


def note_name(pitch: int) -> str:
    """The name of a MIDI note number: "A4" for 69, "C#4" for 61."""
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"


def note_pitch(name: str) -> int | None:
    """The MIDI note number of a name: 69 for "A4", 61 for "C#4"; None if it is not such a name."""
    match = re.fullmatch(r"([A-G])(#?)(-?\d)", name, re.ASCII)
    return NOTE_NAMES.index(match[1]) + len(match[2]) + 12 * (int(match[3]) + 1) if match else None


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
    """A sound: always a waveform, and notes or a log-mel where its kind has them.

    The waveform is synthesised on first access: the app's live view of notes never needs it.

    Attributes:
        synthesize: computes the waveform.
        seconds: duration.
        played_by: "piano" if the waveform is the notes played on the sampled piano of `explorer.sound.synth`, so that
            the app's page may play the notes itself; None if only the waveform is right.
        tempo: beats per minute if its notes lie on a grid of sixteenths; None if they are free.
        one_shot: whether it begins at once and dies away, as a drum does, and is measured so.
        pitched: whether it is one note of an instrument, and is measured so.
    """

    synthesize: Callable[[], np.ndarray] = field(repr=False)
    sample_rate: int
    seconds: float
    notes: tuple[Note, ...] | None = None
    log_mel: LogMel | None = None
    played_by: Literal["piano"] | None = None
    tempo: float | None = None
    one_shot: bool = False
    pitched: bool = False
    # Not a cached_property: before Python 3.12 its lock would let only one thread at a time synthesise a sound.
    _waveform: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def waveform(self) -> np.ndarray:
        """(samples,) float32 in [-1, 1]."""
        if self._waveform is None:
            object.__setattr__(self, "_waveform", self.synthesize())
        assert self._waveform is not None
        return self._waveform

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes now; a waveform counts once it is synthesised."""
        arrays = [self._waveform, *((self.log_mel.values, self.log_mel.frequencies) if self.log_mel else ())]
        return sum(array.nbytes for array in arrays if array is not None) + NOTE_BYTES * len(self.notes or ())


class Representation(ABC):
    """An encoding of sounds as tensors in [-1, 1], and its decoding.

    A representation may have parts, such as a vocoder: networks that decode, and that checkpoints store beside the
    generator.

    Attributes:
        sample_rate, seconds: of the sounds; where durations differ, the usual one.
        part_types: the class of each possible part, by name: an `nn.Module` built from its `Config`, a dataclass of
            plain values, which it keeps as `config`.
    """

    part_types: ClassVar[Mapping[str, type[Any]]] = MappingProxyType({})

    sample_rate: int
    seconds: float

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one encoded sound, without the batch axis."""

    @property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        """Settings of decoding: each name with its options, the default first, e.g.
        `{"inversion": ("learned", "griffin-lim")}`."""
        return {}

    @abstractmethod
    def encode(self, sound: Sound) -> Tensor:
        """Encodes a sound as a tensor (*shape) in [-1, 1]."""

    @abstractmethod
    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        """Decodes a tensor; inverts `encode` to within the tolerance stated by the class.

        Args:
            x: (*shape), in [-1, 1].
            settings: the chosen option for some of `self.settings`; the rest take their default.
        Raises:
            ValueError: if there is no such setting or option.
        """

    decoded_name: ClassVar[str] = "waveform"  # of what `decode_tensor` returns
    full_scale: ClassVar[Sequence[float]] = (1.0,)  # of its last axis

    def decode_tensor(self, x: Tensor) -> Tensor:
        """Decodes a tensor (1, *shape) by the default settings, as tensors alone, for export to other programs.

        Returns:
            The waveform (1, samples), or what a kind of sounds has in its place.
        Raises:
            ValueError: if these sounds cannot be decoded by tensors alone.
        """
        raise ValueError(f"{type(self).__name__} cannot be exported")

    def parts(self) -> Mapping[str, nn.Module]:
        """The parts it has now, by their names in `part_types`."""
        return {}

    def fits(self, name: str, config: Any) -> bool:
        """Whether a part of this name and configuration can decode these sounds."""
        return False

    def carry(self, name: str, part: nn.Module) -> None:
        """Adds a part, or replaces the one of this name.

        Raises:
            ValueError: if it does not fit.
        """
        raise ValueError(f"{type(self).__name__} carries no {name}")


def check_size(name: str, value: object, most: int) -> None:
    """Raises ValueError, naming a field of a configuration, unless its value is a whole number from 1 to `most`."""
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} is a whole number from 1 to {most}, not {value!r}")


def chosen(settings: Mapping[str, tuple[str, ...]], given: Settings | None) -> dict[str, str]:
    """The option of every setting: the given one, else the default, which is the first.

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

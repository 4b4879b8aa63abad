"""`SpectrumRepresentation`: notes as log-magnitude and instantaneous frequency, linear in frequency.

After GANSynth (Engel et al., 2019, arXiv:1902.08710). The phase is kept: it is the sum of the frequency over time.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.sound.base import Representation, Settings, Sound, check_size, chosen
from explorer.sound.waveform import from_start

PEAK = 0.99  # of a decoded sound that would be louder
FADE_IN, FADE_OUT = 0.004, 0.02  # seconds at the edges of a decoded sound, where a generated spectrum would click
LOUDNESS, LOUD_SECONDS = 0.15, 0.25  # root mean square of the loudest part of a note, to which notes are scaled
LOUDEST = 2.0  # magnitude that no waveform in [-1, 1] exceeds; a full-scale sine has 1
HIGHEST_RATE, LARGEST, LONGEST = 384_000, 65_536, 65_536  # upper limits: Hz, n_fft, frames


@dataclass(frozen=True)
class SpectrumConfig:
    """Parameters of the spectrum.

    Attributes:
        sample_rate: Hz.
        n_fft, hop_length: samples; `n_fft` is even, and at least twice `hop_length`.
        floor: magnitude added before the logarithm, where a full-scale sine has 1.
    """

    sample_rate: int = 16_000
    n_fft: int = 1024
    hop_length: int = 256
    frames: int = 64
    floor: float = 1e-4

    def __post_init__(self) -> None:
        limits = {"sample_rate": HIGHEST_RATE, "n_fft": LARGEST, "hop_length": LARGEST, "frames": LONGEST}
        for name, most in limits.items():
            check_size(name, getattr(self, name), most)
        if self.n_fft % 2 or 2 * self.hop_length > self.n_fft:
            raise ValueError(f"n_fft is even and at least twice hop_length ({self.hop_length}), not {self.n_fft}")
        if type(self.floor) is not float or not 1e-12 <= self.floor < 1:
            raise ValueError(f"floor is a number from 1e-12 to 1, not {self.floor!r}")

    @property
    def bins(self) -> int:
        """Number of frequencies: all of the transform's but the lowest, 0 Hz."""
        return self.n_fft // 2

    @property
    def samples(self) -> int:
        """Length of a sound in samples."""
        return self.frames * self.hop_length


class SpectrumRepresentation(Representation):
    """Sounds of `config.samples` samples as (2, bins, frames), low frequencies first.

    The first plane is log(magnitude + floor), scaled so that silence is -1 and the loudest that can be is 1. The second
    is instantaneous frequency: the phase's advance since the frame before, from -half to half a turn as [-1, 1]; its
    first frame is the phase itself. Phases add up along a row, so each advance matters wherever there is sound later,
    and none where the magnitude is low.

    `decode(encode(sound))` keeps pitch within 5 cents, and at least 40 dB SNR between the faded edges; what it loses is
    below 16 Hz.
    """

    def __init__(self, config: SpectrumConfig) -> None:
        self.config = config
        self.sample_rate = config.sample_rate
        self.seconds = config.samples / config.sample_rate
        rise, fall = (
            np.hanning(2 * round(seconds * config.sample_rate) + 1)[: round(seconds * config.sample_rate)]
            for seconds in (FADE_IN, FADE_OUT)
        )
        middle = np.ones(max(0, config.samples - len(rise) - len(fall)))
        self._edges = np.concatenate([rise, middle, fall[::-1]])[-config.samples :].astype(np.float32)
        self._low = math.log(config.floor)
        self._half = (math.log(LOUDEST + config.floor) - self._low) / 2

    @property
    def shape(self) -> tuple[int, ...]:
        return (2, self.config.bins, self.config.frames)

    def encode(self, sound: Sound) -> Tensor:
        """A shorter sound is followed by silence, a longer one loses its end.

        Raises:
            ValueError: if the sound has another sample rate.
        """
        waveform = from_start(sound, self.config.samples, self.sample_rate)
        return self.analyse(torch.from_numpy(waveform)[None])[0]

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        """The sound is faded at its edges; one that would clip is scaled down to a peak of 0.99."""
        chosen(self.settings, settings)

        def synthesize() -> np.ndarray:
            waveform: np.ndarray = self.synthesise(x[None])[0].numpy() * self._edges
            peak = float(np.abs(waveform).max())
            return waveform * np.float32(PEAK / peak) if peak > PEAK else waveform

        return Sound(synthesize, self.sample_rate, self.seconds, pitched=True)

    def analyse(self, waveform: Tensor) -> Tensor:
        """Waveforms (batch, samples) in [-1, 1] -> (batch, 2, bins, frames)."""
        c = self.config
        window = torch.hann_window(c.n_fft, device=waveform.device)
        spectrum = torch.stft(waveform, c.n_fft, c.hop_length, window=window, pad_mode="constant", return_complex=True)
        spectrum = spectrum[:, 1:, : c.frames]  # leaves out the last frame, centred on the end of the sound
        level = self.level(spectrum.abs() * (4 / c.n_fft))
        turns = spectrum.angle() / math.pi
        advance = torch.cat([turns[..., :1], turns.diff(dim=-1)], dim=-1)
        return torch.stack([level, wrapped(advance)], dim=1)

    def synthesise(self, x: Tensor) -> Tensor:
        """(batch, 2, bins, frames) -> waveforms (batch, samples)."""
        c = self.config
        magnitude = self.magnitude(x[:, 0]) * (c.n_fft / 4)
        phase = wrapped(x[:, 1].double().cumsum(-1)).float() * math.pi
        spectrum = torch.nn.functional.pad(torch.polar(magnitude, phase), (0, 0, 1, 0))
        window = torch.hann_window(c.n_fft, device=x.device)
        return torch.istft(spectrum, c.n_fft, c.hop_length, window=window, length=c.samples)

    def level(self, magnitude: Tensor) -> Tensor:
        """Magnitudes of any shape as values of the first plane."""
        return (((magnitude + self.config.floor).log() - self._low) / self._half - 1).clamp(-1, 1)

    def magnitude(self, values: Tensor) -> Tensor:
        """The first plane as magnitudes, of any shape; a full-scale sine has 1."""
        return (((values + 1) * self._half + self._low).exp() - self.config.floor).clamp_min(0)


def wrapped(half_turns: Tensor) -> Tensor:
    """Angles in half turns, in [-1, 1]."""
    return half_turns - 2 * (half_turns / 2).round()

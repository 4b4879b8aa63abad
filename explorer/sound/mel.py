"""`MelRepresentation`: sounds as normalised log-mel spectrograms in [-1, 1], by default 64 bands x 64 frames.

Axes are (band, frame), low bands first; the window is a periodic Hann window, logarithms are natural.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from explorer.sound.base import LogMel, Representation, Settings, Sound, check_size, chosen
from explorer.sound.griffin_lim import griffin_lim
from explorer.sound.mel_scale import mel_filters, mel_frequencies
from explorer.sound.vocoder import LearnedVocoder

PEAK = 0.99  # of a decoded sound that would be louder
INVERTED = (
    "sample_rate",
    "n_fft",
    "hop_length",
    "n_mels",
    "floor",
)  # fields in which a vocoder and its spectrograms must agree
SIZES = {
    "sample_rate": 384_000,
    "n_fft": 65_536,
    "hop_length": 65_536,
    "n_mels": 4096,
    "frames": 65_536,
}  # upper limits


@dataclass(frozen=True)
class MelConfig:
    """Parameters of the spectrogram.

    Attributes:
        sample_rate: Hz.
        n_fft, hop_length: samples.
        floor: mel magnitude added before the logarithm; what is far below it counts as silence.
        mean, scale: (n_mels,) each; band b of a log-mel is normalised to `(log_mel - mean[b]) / scale[b]`.
    """

    sample_rate: int = 8000
    n_fft: int = 512
    hop_length: int = 128
    n_mels: int = 64
    frames: int = 64
    floor: float = 2e-3
    mean: tuple[float, ...] = (-3.0,) * 64
    scale: tuple[float, ...] = (3.25,) * 64

    def __post_init__(self) -> None:
        for name, most in SIZES.items():
            check_size(name, getattr(self, name), most)
        if self.hop_length > self.n_fft:
            raise ValueError(f"hop_length must be at most n_fft ({self.n_fft}), not {self.hop_length}")
        if not isinstance(self.mean, tuple) or not isinstance(self.scale, tuple):
            raise ValueError("mean and scale are a number for each band")
        if not all(type(x) in (int, float) and math.isfinite(x) for x in (self.floor, *self.mean, *self.scale)):
            raise ValueError("floor, mean and scale are finite numbers")
        if not len(self.mean) == len(self.scale) == self.n_mels:
            raise ValueError(
                f"{self.n_mels} bands need as many means and scales, not {len(self.mean)} and {len(self.scale)}"
            )
        if min(self.scale) <= 0 or self.floor <= 0:
            raise ValueError("scale and floor must be positive")

    @property
    def samples(self) -> int:
        """Length of a sound in samples."""
        return self.frames * self.hop_length


class MelRepresentation(Representation):
    """Sounds of `config.samples` samples as log-mels of shape (1, n_mels, frames).

    Encoding drops the phase and detail finer than the bands. Decoding estimates both, so a decoded sound is similar to
    the ear but differs in its samples; for speech, its log-mel differs from the encoded one by about 0.05 of the range
    on average.

    If it has a part "vocoder", decoding uses that by default, else Griffin-Lim.
    """

    part_types: ClassVar[Mapping[str, type[Any]]] = MappingProxyType({"vocoder": LearnedVocoder})

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self._vocoder: nn.Module | None = None
        self.sample_rate = config.sample_rate
        self.seconds = config.samples / config.sample_rate

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.config.n_mels, self.config.frames)

    @property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        return {"inversion": ("griffin-lim",) if self._vocoder is None else ("learned", "griffin-lim")}

    def parts(self) -> Mapping[str, nn.Module]:
        return {} if self._vocoder is None else {"vocoder": self._vocoder}

    def fits(self, name: str, config: Any) -> bool:
        """Whether a vocoder inverts spectrograms of these parameters; length and normalisation may differ."""
        same = all(getattr(config, field, None) == getattr(self.config, field) for field in INVERTED)
        return name in self.part_types and same

    def carry(self, name: str, part: nn.Module) -> None:
        config = getattr(part, "config", None)
        if not self.fits(name, config):
            raise ValueError(f"this {name} is for other spectrograms: {config}")
        self._vocoder = part

    def encode(self, sound: Sound) -> Tensor:
        """Encodes a sound; shorter ones are padded with silence on both sides, longer ones lose both ends.

        Raises:
            ValueError: if the sound has another sample rate.
        """
        if sound.sample_rate != self.sample_rate:
            raise ValueError(f"the sound has {sound.sample_rate} Hz, this representation {self.sample_rate} Hz")
        waveform = fit(sound.waveform, self.config.samples)
        return self.normalize(self.log_mel(torch.from_numpy(waveform)[None]))[0]

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        """Decodes a log-mel. A sound that would clip is scaled down to a peak of 0.99."""
        c = self.config
        log_mel = self.denormalize(x[None])[0]
        inversion = chosen(self.settings, settings)["inversion"]
        invert = self._vocoder if inversion == "learned" and self._vocoder is not None else self.invert

        def synthesize() -> np.ndarray:
            waveform = invert(log_mel[None])[0].numpy()
            peak = float(np.abs(waveform).max())
            return waveform * np.float32(PEAK / peak) if peak > PEAK else waveform

        picture = LogMel(
            log_mel.numpy(), mel_frequencies(c.sample_rate, c.n_mels)[1:-1], c.hop_length, c.sample_rate, c.floor
        )
        return Sound(synthesize, self.sample_rate, self.seconds, log_mel=picture)

    def decode_tensor(self, x: Tensor) -> Tensor:
        """(1, 1, n_mels, frames) -> waveform (1, samples)."""
        invert = self.invert if self._vocoder is None else self._vocoder
        waveform: Tensor = invert(self.denormalize(x))
        return waveform * (PEAK / waveform.abs().amax(1, keepdim=True).clamp_min(PEAK))

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Waveforms (batch, samples) -> log-mels (batch, n_mels, frames): log(mel magnitude + floor)."""
        c = self.config
        window = torch.hann_window(c.n_fft, device=waveform.device)
        spectrum = torch.stft(waveform, c.n_fft, c.hop_length, window=window, pad_mode="constant", return_complex=True)
        magnitude = spectrum[..., : c.frames].abs()  # leaves out the last one, centred on the end of the sound
        return (self._filters(waveform.device) @ magnitude + c.floor).log()

    def invert(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) -> (batch, samples): pseudo-inverse of the mel filters, then fast Griffin-Lim."""
        c = self.config
        mel = (log_mel.exp() - c.floor).clamp_min(0)
        magnitude = (_inverse_filters(c.sample_rate, c.n_fft, c.n_mels) @ mel).clamp_min(0)
        return griffin_lim(torch.nn.functional.pad(magnitude, (0, 1)), c.n_fft, c.hop_length)

    def normalize(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, frames) -> (batch, 1, n_mels, frames) in [-1, 1], clipped."""
        mean, scale = self._statistics(log_mel)
        return ((log_mel - mean) / scale).clamp(-1, 1)[:, None]

    def denormalize(self, x: Tensor) -> Tensor:
        """(batch, 1, n_mels, frames) -> (batch, n_mels, frames), the inverse of `normalize`."""
        mean, scale = self._statistics(x)
        return x[:, 0] * scale + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = (torch.tensor(v, device=like.device) for v in (self.config.mean, self.config.scale))
        return mean[:, None], scale[:, None]

    def _filters(self, device: torch.device) -> Tensor:
        c = self.config
        return torch.from_numpy(mel_filters(c.sample_rate, c.n_fft, c.n_mels)).to(device)


def fit(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Pads a waveform (n,) with zeros on both sides, or crops both ends, to (samples,)."""
    missing = samples - len(waveform)
    if missing < 0:
        return waveform[-missing // 2 :][:samples]
    return np.pad(waveform, (missing // 2, missing - missing // 2))


@lru_cache(maxsize=8)
def _inverse_filters(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    return torch.from_numpy(np.linalg.pinv(mel_filters(sample_rate, n_fft, n_mels)))

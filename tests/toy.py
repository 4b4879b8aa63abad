"""A toy family for the tests: a few tones from a small latent, with every feature that a family can have.

It has notes and a log-mel, a condition and a setting, so that the app and the command line treat it as a real family.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explorer import checkpoint
from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace, Prior
from explorer.sound.base import LogMel, Note, Representation, Settings, Sound, chosen

SAMPLE_RATE, HOP, BANDS = 8000, 200, 20
NOTE_SECONDS = 0.125
LOWEST, HIGHEST = 48, 84


@dataclass(frozen=True)
class ToyConfig:
    latent: int = 6
    notes: int = 4
    labels: tuple[str, ...] = ("low", "high")
    prior: Prior = "normal"


class Tones(Representation):
    """Notes in sequence as (2, notes): pitch and velocity. Decoded pitches are exact to the semitone.

    The notes are synthesised as tones, so `played_by` is None.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, notes: int) -> None:
        self.notes, self.seconds = notes, notes * NOTE_SECONDS

    @property
    def shape(self) -> tuple[int, ...]:
        return (2, self.notes)

    @property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        return {"timbre": ("sine", "square")}

    def encode(self, sound: Sound) -> Tensor:
        rows = [(note.pitch, note.velocity) for note in sound.notes or ()]
        pitch, velocity = torch.tensor(rows, dtype=torch.float32).T
        return torch.stack([(pitch - LOWEST) / (HIGHEST - LOWEST), (velocity - 1) / 126]) * 2 - 1

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        pitch, velocity = ((x.detach().numpy() + 1) / 2).tolist()
        notes = tuple(
            Note(round(LOWEST + p * (HIGHEST - LOWEST)), i * NOTE_SECONDS, NOTE_SECONDS, round(1 + v * 126))
            for i, (p, v) in enumerate(zip(pitch, velocity, strict=True))
        )
        square = chosen(self.settings, settings)["timbre"] == "square"
        waveform = np.concatenate([tone(note, square) for note in notes])
        return Sound(lambda: waveform, SAMPLE_RATE, self.seconds, notes, log_mel(waveform))


def tone(note: Note, square: bool) -> np.ndarray:
    time = np.arange(round(note.duration * SAMPLE_RATE)) / SAMPLE_RATE
    wave = np.sin(2 * np.pi * 440 * 2 ** ((note.pitch - 69) / 12) * time)
    wave = np.sign(wave) if square else wave
    return (wave * np.hanning(len(time)) * note.velocity / 127 * 0.9).astype(np.float32)


def log_mel(waveform: np.ndarray) -> LogMel:
    """A spectrogram in equal bands: the tests need its shape and that it changes, not its scale."""
    magnitude = np.abs(np.fft.rfft(waveform.reshape(-1, HOP), axis=1))[:, : HOP // 2]  # (frames, bins)
    bands = magnitude.reshape(len(magnitude), BANDS, -1).mean(2).T
    frequencies = (np.arange(BANDS) + 0.5) * SAMPLE_RATE / 2 / BANDS
    return LogMel(np.log(bands + 1e-3).astype(np.float32), frequencies, HOP, SAMPLE_RATE)


class Toy(Generator):
    family = "toy"
    Config = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((config.latent,), config.prior)
        self.representation = Tones(config.notes)
        self.condition = Condition("register", config.labels) if config.labels else None
        self.layer = nn.Linear(config.latent + len(config.labels), 2 * config.notes)

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        inputs = z if condition is None else torch.cat([z, condition], dim=1)
        return torch.tanh(self.layer(inputs)).unflatten(1, (2, -1))


def make(seed: int = 0, **config: Any) -> Toy:
    """A toy with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Toy(ToyConfig(**config)).eval().requires_grad_(False)


def write(folder: Path, name: str = "toy", seed: int = 0, **config: Any) -> Path:
    """A toy checkpoint in a folder. `Toy` must be in FAMILIES for it to load."""
    path = folder / f"{name}.safetensors"
    checkpoint.save(path, make(seed, **config))
    return path

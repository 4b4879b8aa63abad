"""Notes as they are performed, as five whole numbers each: the bins of their attributes."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.sound.notes import CHORD_BELOW, DURATION_SECONDS, KEYS, SHORTEST_STEP, STEP_SECONDS

ATTRIBUTES = ("step", "pitch", "duration", "velocity", "touch")
BINS = (161, KEYS, 96, 64, 49)  # of each attribute; the first step is that within a chord, the first touch is none
STEP, PITCH, DURATION, VELOCITY, TOUCH = range(5)
FIRST = np.cumsum((0, *BINS))  # of each attribute's bins among all
ROWS = int(FIRST[-1])


def _middles(seconds: tuple[float, float], count: int) -> np.ndarray:
    """Seconds in the middle of bins that are even in the logarithm."""
    low, high = seconds
    return low * np.exp((np.arange(count) + 0.5) / count * math.log(high / low))


STEP_MIDDLES = np.append(0.0, _middles(STEP_SECONDS, BINS[STEP] - 1)).astype(np.float32)
DURATION_MIDDLES = _middles(DURATION_SECONDS, BINS[DURATION]).astype(np.float32)


def tokens(x: Tensor) -> Tensor:
    """Notes (batch, 92, 256) in [-1, 1] -> the bins (batch, 256, 5) of their attributes."""
    step, duration, velocity, touch = x[:, KEYS:].unbind(1)

    def binned(share: Tensor, count: int) -> Tensor:
        return (share * count).floor().clamp(0, count - 1).long()

    steps = 1 + binned((step - SHORTEST_STEP) / (1 - SHORTEST_STEP), BINS[STEP] - 1)
    touches = 1 + binned((touch + 1) / 2, BINS[TOUCH] - 1)
    return torch.stack(
        [
            torch.where(step < CHORD_BELOW, 0, steps),
            x[:, :KEYS].argmax(1),
            binned((duration + 1) / 2, BINS[DURATION]),
            binned((velocity + 1) / 2, BINS[VELOCITY]),
            torch.where(touch <= -1 + 1e-3, 0, touches),
        ],
        dim=2,
    )


def notes_at(place: np.ndarray) -> Tensor:
    """Attributes as places among their bins (256, 5) -> notes (1, 92, 256) in [-1, 1].

    The whole part of a place is the bin, the rest where in it.
    """
    step, pitch, duration, velocity, touch = torch.from_numpy(place).T
    low = SHORTEST_STEP
    keys = F.one_hot(pitch.long(), KEYS).float().T * 2 - 1
    times = [
        torch.where(step < 1, -1.0, low + (1 - low) * (step - 1) / (BINS[STEP] - 1)),
        duration / BINS[DURATION] * 2 - 1,
        velocity / BINS[VELOCITY] * 2 - 1,
        torch.where(touch < 1, -1.0, (touch - 1) / (BINS[TOUCH] - 1) * 2 - 1),
    ]
    return torch.cat([keys, torch.stack(times).float()])[None]

"""Recordings with two labels that are easy to distinguish, for tests of the judge."""

import numpy as np
import torch


def tones(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 8192) bursts of about 300 or 1500 Hz in a little noise, and which it is."""
    rng = np.random.RandomState(seed)
    labels = np.arange(count) % 2
    time = np.arange(8192) / 8000
    frequency = np.where(labels, 1500, 300) * rng.uniform(0.9, 1.1, count)
    burst = np.exp(-np.square((time - 0.5) / rng.uniform(0.1, 0.2, (count, 1))))
    waveforms = 0.1 * np.sin(2 * np.pi * frequency[:, None] * time) * burst + 1e-3 * rng.standard_normal((count, 8192))
    return torch.from_numpy(waveforms.astype(np.float32)), torch.from_numpy(labels)

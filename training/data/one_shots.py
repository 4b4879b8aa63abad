"""One-shots: the names of drums, and windows that begin at a hit's onset."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from training.data.inventory import Unusable
from training.data.recordings import read_frames, resample

ONSET = 32  # sample of the window at which the hit reaches ONSET_LEVEL of its peak
ONSET_LEVEL = 0.02
PEAK = 0.95
FADE_IN_SECONDS, FADE_OUT_SECONDS = 0.001, 0.05
SHORTEST_SECONDS = 0.02
SILENCE = 1e-3


def shape_hit(waveform: np.ndarray, rate: float, sample_rate: int, samples: int) -> np.ndarray:
    """Resamples a hit, aligns its onset, fades both ends, and scales its peak to `PEAK`.

    The onset is where the hit first has 2 % of its peak. The first large swing is upwards, so that hits add up alike.

    Returns:
        (samples,) float32 in [-PEAK, PEAK]; it begins and ends at 0.
    Raises:
        Unusable: if it is silent, or sounds for less than 0.02 s.
    """
    waveform = resample(waveform - np.median(waveform), round(rate), sample_rate)
    peak = np.abs(waveform).max(initial=0)
    if peak < SILENCE:
        raise Unusable("silence")
    loud = np.flatnonzero(np.abs(waveform) > ONSET_LEVEL * peak)
    if loud[-1] - loud[0] < SHORTEST_SECONDS * sample_rate:
        raise Unusable(f"sounds for less than {SHORTEST_SECONDS} s")
    begin = loud[0] - ONSET
    hit = np.pad(waveform[max(0, begin) :], (max(0, -begin), 0))[:samples]
    rise, fall = round(FADE_IN_SECONDS * sample_rate), min(round(FADE_OUT_SECONDS * sample_rate), len(hit) // 2)
    hit[:rise] *= np.linspace(0, 1, rise)
    hit[len(hit) - fall :] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    peak = np.abs(hit).max()
    first = hit[np.argmax(np.abs(hit) > 0.5 * peak)]
    hit = np.pad(hit * (np.sign(first) * PEAK / peak), (0, samples - len(hit)))
    return hit.astype(np.float32)

"""Measures how long the piano takes to mix 256 notes. `python tests/benchmarks/bench_synth.py`

Prints median and 95th percentile, in milliseconds, of 50 pieces of 256 notes over 25 seconds when all their samples are
in memory, and the time of the first piece of the process, which loads and resamples its samples.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from explorer.sound.base import Note
from explorer.sound.synth import synthesize

rng = np.random.RandomState(0)


def piece() -> list[Note]:
    """256 notes of two hands on 60 keys."""
    onsets = np.sort(rng.uniform(0, 25, 256))
    return [
        Note(int(np.clip(rng.normal(64, 10), 40, 90)), float(t), float(rng.exponential(0.4)), int(rng.randint(30, 110)))
        for t in onsets
    ]


def milliseconds(notes: list[Note]) -> float:
    start = time.perf_counter()
    synthesize(notes)
    return (time.perf_counter() - start) * 1e3


pieces = [piece() for _ in range(50)]
first = milliseconds(pieces[0])
for notes in pieces:
    synthesize(notes)
warm = [milliseconds(notes) for notes in pieces]
print(f"first piece  {first:7.1f} ms")
print(f"warm         {np.median(warm):7.1f} ms median, {np.percentile(warm, 95):.1f} ms p95")

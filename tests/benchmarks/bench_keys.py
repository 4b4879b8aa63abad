"""Measures how soon an instrument plays. `python tests/benchmarks/bench_keys.py [--model timbres]`

For new timbres: one key, then all of them, as the page asks for them; then a piece of 3,000 random notes in three
minutes, with all its tones new. Without a browser, so the time of the network between is not in it.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from explorer.engine import Engine
from explorer.files import instruments
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER
from explorer.sound.base import Note

NOTES, SECONDS = 3000, 180.0


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--model", default="timbres")
    parser.add_argument("--timbres", type=int, default=20)
    args = parser.parse_args()
    engine = Engine(args.checkpoints)
    first = instruments.complete(engine, Recipe(args.model))
    keys = list(instruments.keys_of(engine.model(args.model)))
    instruments.tones(engine, first, keys)  # warms up
    one, every = [], []
    for seed in range(1, args.timbres + 1):
        timbre = replace(first, seed=seed)
        one.append(seconds(partial(instruments.tones, engine, timbre, [keys[len(keys) // 2]])))
        every.append(seconds(partial(instruments.tones, engine, timbre, keys)))
    for name, found in (("one key", one), (f"{len(keys)} keys", every)):
        print(f"{name:8} median {1e3 * np.median(found):6.0f} ms   p95 {1e3 * np.percentile(found, 95):6.0f} ms")
    rng = np.random.RandomState(0)
    onsets = np.sort(rng.uniform(0, SECONDS, NOTES))
    notes = tuple(Note(int(rng.choice(keys)), float(onset), 0.3, 80) for onset in onsets)
    timbre = replace(first, seed=args.timbres + 1)
    piece = instruments.Piece(notes, first)
    print(f"{NOTES:,} notes  {seconds(lambda: instruments.song(engine, timbre, piece)[0].waveform):.2f} s")


if __name__ == "__main__":
    main()

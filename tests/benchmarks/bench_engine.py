"""Measures how many slider moves a second are served to many visitors. `python tests/benchmarks/bench_engine.py`

Without a browser: each of eight visitors is a thread that asks for one place after another, as the page does while a
slider moves: the recipe is completed, its sound rendered, and picture and sound are packed. It prints moves a second
for visitors of one model and of two models, first with a lock that lets one sound be computed at a time, then with one
thread for each core. The sounds of both are compared and must have the same bits.
"""

import argparse
import hashlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from explorer.engine import Engine, cores
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import handlers

SAME = 20  # places of each model whose bits are compared


def visit(engine: Engine, name: str, visitor: int, until: float) -> int:
    """Moves until the time is up; returns their number."""
    moves = 0
    while time.perf_counter() < until:
        recipe = Recipe(name, seed=visitor, offsets=(("z0", 0.001 * (moves + 1)),))
        handlers.show(engine, handlers.make_view(engine, recipe))
        moves += 1
    return moves


def moves_per_second(engine: Engine, names: list[str], visitors: int, seconds: float) -> float:
    for name in names:
        visit(engine, name, 0, time.perf_counter() + 1)
    engine._traces.submit(int).result()  # after the networks are traced
    until = time.perf_counter() + seconds
    with ThreadPoolExecutor(visitors) as pool:
        done = list(pool.map(lambda i: visit(engine, names[i % len(names)], i, until), range(visitors)))
    return sum(done) / seconds


def bits(engine: Engine, names: list[str], threads: int) -> str:
    recipes = [Recipe(name, seed=seed) for seed in range(SAME) for name in names]
    with ThreadPoolExecutor(threads) as pool:
        sounds = list(pool.map(engine.render, recipes))
        waveforms = list(pool.map(lambda sound: sound.waveform.tobytes(), sounds))
    return hashlib.sha256(b"".join(waveforms)).hexdigest()


def one_at_a_time(folder: Path) -> Engine:
    """An engine that computes one sound at a time."""
    engine, lock = Engine(folder), threading.Lock()
    work = engine._work

    def wait_for_all_others(function: Callable[[], Any]) -> Any:
        with lock:
            return work(function)

    engine._work = wait_for_all_others  # type: ignore[method-assign]
    return engine


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
parser.add_argument("--models", nargs=2, default=["maestro-piano", "spoken-digits"])
parser.add_argument("--visitors", type=int, default=8)
parser.add_argument("--seconds", type=float, default=5.0)
args = parser.parse_args()
first, second = args.models
print(f"{args.visitors} visitors, {cores()} cores; moves a second")
found: dict[tuple[str, bool], float] = {}
heard = {}
for title, make in (("one at a time", one_at_a_time), ("a thread for each core", Engine)):
    engine = make(args.checkpoints)
    for names in ([first], [second], [first, second]):
        found[title, len(names) == 2] = rate = moves_per_second(engine, names, args.visitors, args.seconds)
        print(f"{title:<24} {' and '.join(names):<40} {rate:6.1f}")
    heard[title] = bits(engine, args.models, 1 if make is one_at_a_time else args.visitors)
one, many = (found[title, True] for title in ("one at a time", "a thread for each core"))
same = heard["one at a time"] == heard["a thread for each core"]
print(f"two models: {many / one:.2f} times the moves, {'the same bits' if same else 'OTHER BITS'}")

"""Where the time goes from a recipe to its picture and sound, stage by stage, on one thread.

    python tests/benchmarks/bench_stages.py [--checkpoints DIR] [--repeats 50]

For each checkpoint it prints the shortest and the median time of each stage in milliseconds, beside the CPU's
capability. To see how a CPU without AVX-512 and AMX fares, set ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER
from explorer.tracing import TRACED_AFTER
from explorer.ui import handlers

Stage = tuple[str, Callable[[], Any]]


def stages(engine: Engine, name: str) -> list[Stage]:
    """Each stage on its own, on what the stage before it makes; "recipe" to "json" is the way of one move."""
    model = engine.model(name)
    for seed in range(TRACED_AFTER):
        handlers.show(engine, handlers.make_view(engine, Recipe(name, seed=seed)))
    engine._traces.submit(int).result()  # after the networks are traced
    generator, representation = model.generator, model.generator.representation
    offsets = tuple((direction.name, 0.5) for direction in model.directions[:1])
    view = handlers.make_view(engine, Recipe(name, seed=5, seed_b=6, t=0.3, offsets=offsets))
    place, full = view.place, view.place.recipe
    text, z = view.recipe.to_json(), engine.latent(place)[None]
    condition = None
    if generator.condition is not None and full.label is not None:
        condition = generator.condition.encode(full.label)[None]
    x = engine.output(place)
    settings = {key: option for key, option in full.settings if key in representation.settings}
    shown = handlers.show(engine, view)
    measured: list[Stage] = [
        ("recipe", lambda: handlers.read(text)),
        ("settle", lambda: handlers.make_view(engine, handlers.read(text))),
        ("latent", lambda: engine.latent(place)),
        ("forward", lambda: generator(z, condition)),
        *([("draft", lambda: generator(z, condition, generator.draft))] if generator.draft else []),
        ("decode", lambda: representation.decode(x, settings)),
    ]
    if representation.decode(x, settings).played_by is None:  # otherwise the browser plays them
        measured.append(("waveform", lambda: representation.decode(x, settings).waveform))
    return [
        *measured,
        ("pack", lambda: handlers.show(engine, view)),
        ("json", lambda: json.dumps(shown)),
        ("appraise", lambda: handlers.appraise(engine, view)),
    ]


def milliseconds(function: Callable[[], Any], repeats: int) -> list[float]:
    """How long each of several calls takes, after two that warm up."""
    function(), function()
    taken = []
    for _ in range(repeats):
        since = time.perf_counter()
        function()
        taken.append(1000 * (time.perf_counter() - since))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--repeats", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)  # as the engine does
    engine = Engine(args.checkpoints)
    print(f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}")
    for name in engine.names():
        print(name)
        for stage, function in stages(engine, name):
            with torch.inference_mode():
                taken = milliseconds(function, args.repeats)
            print(f"  {stage:10} least {min(taken):7.2f}   median {statistics.median(taken):7.2f}")


if __name__ == "__main__":
    main()

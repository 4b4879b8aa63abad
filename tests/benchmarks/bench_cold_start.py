"""Measures the time to the first sound of a new server. `python -m tests.benchmarks.bench_cold_start`

The target is 15 s on 2 cores. Each run is a new process with a fresh home; the time ends when the first WAV has
arrived. The server's CPU time is printed too, because it depends less on what else the machine does.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from gradio_client import Client

from explorer.engine import Engine
from explorer.recipe import Recipe
from tests.serving import free_port, offline, serving

RUNS = 3


def cold_start(name: str) -> tuple[float, float, float]:
    """Seconds until the server answers, seconds until the first sound has arrived, and the server's CPU seconds."""
    port, before = free_port(), cpu_of_children()
    with tempfile.TemporaryDirectory() as home:
        since = time.perf_counter()
        with serving([sys.executable, "-m", "explorer", "--port", str(port)], port, offline(Path(home))) as url:
            answered = time.perf_counter() - since
            client = Client(url, verbose=False, download_files=home)
            client.predict(Recipe(name).to_json(), "wav", api_name="/render")
            heard = time.perf_counter() - since
    return answered, heard, cpu_of_children() - before


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    for name in Engine().names():
        for run in range(RUNS):
            answered, heard, cpu = cold_start(name)
            print(
                f"{name}, run {run + 1}: page after {answered:.1f} s, first sound after {heard:.1f} s, CPU {cpu:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()

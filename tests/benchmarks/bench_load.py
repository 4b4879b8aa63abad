"""Measures how long many visitors wait who drag, morph and save at once. `python tests/benchmarks/bench_load.py`

Without browsers: the visitors call the server over HTTP as the page does, from processes of their own. First they only
drag sliders, then they also morph and save. It prints

    answers   seconds until the answer, by kind of request: median, 95th and 99th percentile, slowest
    last      the same from a slider's last position to its sound, and how fair that is: of the visitors' medians the
              slowest over the middle one
    wrong     answers that are not of the visitor's own place, or whose sound is not that of the library
    refused   answers that say that the server is busy, and other errors
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from serving import free_port, offline, serving
from visitors import LONG, Log, crowd

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import handlers

PROCESSES = 4  # of visitors


def report(title: str, logs: Sequence[Log], seconds: float) -> None:
    answers = sum(log.count for log in logs)
    print(f"{title}: {len(logs)} visitors, {seconds:.0f} s, {answers / seconds:.1f} answers a second")
    for kind in ("move", "last", *LONG):
        found = [wait for log in logs for wait in log.waits[kind]]
        if found:
            p50, p95, p99 = np.percentile(found, (50, 95, 99))
            print(
                f"  {kind:8} {len(found):6}   p50 {p50:6.2f}   p95 {p95:6.2f}   p99 {p99:6.2f}   max {max(found):6.2f}"
            )
    middles = [median(log.waits["last"]) for log in logs if log.waits["last"]]
    if middles:
        print(f"  fairness: slowest visitor {max(middles) / median(middles):.2f} times the median")
    unserved = sum(kind == "last" for log in logs for kind, _ in log.refused)
    print(f"  last positions not served: {unserved}; visitors without any: {len(logs) - len(middles)}")
    for (kind, said), count in Counter(pair for log in logs for pair in log.refused).most_common(8):
        print(f"  refused  {kind} {count} times: {said[:100]}")


def wrong(engine: Engine, logs: Sequence[Log]) -> int:
    """Answers that are of another place, or hold another sound than the library makes."""
    count = sum(log.wrong for log in logs)
    for text, sound in (log.last for log in logs):
        if text:
            shown = handlers.show(engine, handlers.make_view(engine, Recipe.from_json(text)), draft=True)
            count += sound != (shown.get("pcm") or shown.get("notes"))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--visitors", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=180.0)
    args = parser.parse_args()
    engine, port = Engine(args.checkpoints), free_port()
    models = engine.names()
    command = [sys.executable, "-m", "explorer", "--checkpoints", str(args.checkpoints.resolve()), "--port", str(port)]
    shares = [range(i, args.visitors, PROCESSES) for i in range(PROCESSES)]
    with TemporaryDirectory() as home, serving(command, port, offline(Path(home))) as url:
        crowd(url, range(len(models)), models, 1, long=False)  # loads the models
        for title, long in (("dragging", False), ("dragging, morphing and saving", True)):
            with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
                calls = [pool.submit(crowd, url, share, models, args.seconds, long) for share in shares]
                logs = [log for call in calls for log in call.result()]
            report(title, logs, args.seconds)
            print(f"  wrong    {wrong(engine, logs)}")


if __name__ == "__main__":
    main()

"""Measures what a server keeps after many interactions. `python tests/benchmarks/bench_soak.py`

A few visitors drag, morph and save without a pause until the server has answered 10,000 times. Ten times on the way,
first after it has warmed up, its memory, threads and open files are printed, and the bytes of its temporary files.
Memory may grow by 50 MB, threads and open files not at all.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from serving import free_port, offline, serving
from visitors import crowd

from explorer.engine import Engine
from explorer.shelf import DEFAULT_FOLDER

VISITORS, MEGABYTE = 8, 1 << 20


def state(process: int, home: Path) -> tuple[int, int, int, int]:
    """Bytes of memory, threads and open files of a process, and bytes of the files in its folder."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    sizes = [path.stat().st_size for path in home.rglob("*") if path.is_file()]
    memory = int(status["VmRSS"].split()[0]) << 10
    return memory, int(status["Threads"]), len(os.listdir(f"/proc/{process}/fd")), sum(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--interactions", type=int, default=10_000)
    args = parser.parse_args()
    models, port, started = Engine(args.checkpoints).names(), free_port(), list[subprocess.Popen[str]]()
    command = [sys.executable, "-m", "explorer", "--checkpoints", str(args.checkpoints.resolve()), "--port", str(port)]
    with TemporaryDirectory() as home, serving(command, port, offline(Path(home)), started=started) as url:
        done, round_, begun, refused = 0, 0, time.monotonic(), 0
        print("answers   memory  threads  open files  temporary files")
        while done < args.interactions:
            while done < args.interactions * (round_ + 1) / 10:
                logs = crowd(url, range(VISITORS), models, 5, long=True, hurry=True)
                done += sum(log.count for log in logs)
                refused += sum(len(log.refused) for log in logs)
            round_ += 1
            memory, threads, files, kept = state(started[0].pid, Path(home))
            print(
                f"{done:7}  {memory / MEGABYTE:4.0f} MB  {threads:7}  {files:10}  {kept / MEGABYTE:12.1f} MB",
                flush=True,
            )
        print(f"{done / (time.monotonic() - begun):.0f} answers a second, {refused} refused")


if __name__ == "__main__":
    main()

"""What the panel between two seeds asks of the server: the steps of a way, and files of the whole of it.

A file may take a minute, so it is made in a thread and asked for again and again. It is the one thing that the server
keeps for a visitor: until it is fetched, cancelled, or not asked for any more.
"""

import base64
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from explorer.engine import Engine
from explorer.files import formats, morphs
from explorer.recipe import Recipe
from explorer.ui import handlers
from explorer.ui.panels import Answer, answering

STEPS = 25  # of a strip or a file, at most; the command line takes more
AT_ONCE, WAITING = 2, 8  # files that are made at one time, and that are kept at one time
LOOK_SECONDS = 0.4  # that an answer waits for the file to be done
ABANDONED_SECONDS = 30.0  # without a question, until a file is given up
PIECE = 3 << 20  # bytes of a file in one answer


class Cancelled(Exception):
    """Nobody wants this file any more."""


@dataclass
class _Job:
    """A file in the making, alone in a folder of its own."""

    path: Path
    asked: float
    done: int = 0
    total: int = 1
    cancelled: bool = False
    future: Future[None] = field(default_factory=Future)


class Ways:
    """Answers to the panel's questions. Every request is a list, unchecked."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._pool = ThreadPoolExecutor(AT_ONCE, "ways")
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}

    def functions(self) -> tuple[Callable[[Any], Answer], ...]:
        """What the page may call."""
        return (
            answering(self.strip, 1),
            answering(self.begin_file, AT_ONCE),
            answering(self.ask_file, 2 * WAITING),
            answering(self.fetch_file, AT_ONCE),
            answering(self.cancel_file, 2 * WAITING),
        )

    def strip(self, request: Any) -> Answer:
        """{"steps": […]} of [recipe, count, spacing, heard], each as `handlers.show` has it."""
        text, count, spacing, heard = _list(request, 4)
        way = self._way(text, count, spacing)
        views = [handlers.settle(self._engine, step) for step in way]
        return {"steps": [handlers.show(self._engine, view, heard=heard is True) for view in views]}

    def begin_file(self, request: Any) -> Answer:
        """{"job": …} of [recipe, count, spacing, format]: the file is being made from now on."""
        text, count, spacing, name = _list(request, 4)
        settled = handlers.settle(self._engine, handlers.read(text)).recipe
        start = self._engine.complete(replace(settled, t=0.0, mix=()))
        possible = morphs.available(self._engine.render(start))
        if name not in possible:
            raise ValueError(f"a way of this checkpoint is saved as {', '.join(possible)}, not as {name!r}")
        stem = formats.stem(start.recipe, settled.seed_b)
        with self._lock:
            self._sweep()
            if len(self._jobs) >= WAITING:
                raise ValueError("Too many files are being made just now; try again in a moment.")
            job = _Job(
                Path(tempfile.mkdtemp(prefix="way-", dir=os.environ.get("GRADIO_TEMP_DIR"))) / f"{stem}.{name}",
                self._clock(),
            )
            key = secrets.token_hex(16)
            self._jobs[key] = job
        job.future = self._pool.submit(self._make, job, text, count, spacing)
        return {"job": key}

    def ask_file(self, key: Any) -> Answer:
        """{"done", "total"} of a job, and once it is done its "name" and "pieces". Raises what the making raised."""
        job = self._job(key)
        job.asked = self._clock()
        wait([job.future], timeout=LOOK_SECONDS)
        if not job.future.done():
            return {"done": job.done, "total": job.total}
        try:
            job.future.result()
        except Cancelled:
            raise ValueError("this file was cancelled") from None
        except Exception:
            self.cancel_file(key)
            raise
        return {
            "done": job.total,
            "total": job.total,
            "name": job.path.name,
            "pieces": -(-job.path.stat().st_size // PIECE),
        }

    def fetch_file(self, request: Any) -> Answer:
        """{"data": …}, a piece of a finished file in base64, of [job, number from 0]."""
        key, number = _list(request, 2)
        job = self._job(key)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0 or not job.future.done():
            raise ValueError("there is no such piece of this file")
        job.asked = self._clock()
        with job.path.open("rb") as file:
            file.seek(number * PIECE)
            return {"data": base64.b64encode(file.read(PIECE)).decode("ascii")}

    def cancel_file(self, key: Any) -> Answer:
        """Gives a file up, or takes it away once it was fetched; {} also where there is none."""
        with self._lock:
            job = self._jobs.pop(key, None) if isinstance(key, str) else None
        if job is not None:
            _drop(job)
        return {}

    def _make(self, job: _Job, text: Any, count: Any, spacing: Any) -> None:
        def check(done: int, total: int) -> None:
            if job.cancelled or self._clock() - job.asked > ABANDONED_SECONDS:
                raise Cancelled

        def tell(done: int, total: int) -> None:
            check(done, total)
            job.done, job.total = done, total

        try:
            check(0, 1)  # it may have waited for its turn
            morphs.write(self._engine, self._way(text, count, spacing, check), job.path, tell)
            check(0, 1)
        except BaseException:
            shutil.rmtree(job.path.parent, ignore_errors=True)
            raise
        # Should the page be closed before it fetches the file, and nobody else make one.
        timer = threading.Timer(ABANDONED_SECONDS + 1, self._tidy)
        timer.daemon = True
        timer.start()

    def _way(self, text: Any, count: Any, spacing: Any, progress: morphs.Progress | None = None) -> tuple[Recipe, ...]:
        if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= STEPS:
            raise ValueError(f"a way has from 2 to {STEPS} steps here, not {count!r}")
        recipe = handlers.settle(self._engine, handlers.read(text)).recipe
        return morphs.steps(self._engine, recipe, count, spacing, progress)

    def _job(self, key: Any) -> _Job:
        with self._lock:
            job = self._jobs.get(key) if isinstance(key, str) else None
        if job is None:
            raise ValueError("this file is no longer there; save it again")
        return job

    def _tidy(self) -> None:
        with self._lock:
            self._sweep()

    def _sweep(self) -> None:
        """Gives up what is not asked for any more."""
        for key, job in list(self._jobs.items()):
            if self._clock() - job.asked > ABANDONED_SECONDS:
                _drop(self._jobs.pop(key))


def _drop(job: _Job) -> None:
    """Stops the making of a file, and removes what there is of it once that has stopped."""
    job.cancelled = True
    job.future.cancel()
    job.future.add_done_callback(lambda _: shutil.rmtree(job.path.parent, ignore_errors=True))


def _list(request: Any, size: int) -> Sequence[Any]:
    if not isinstance(request, list) or len(request) != size:
        raise ValueError(f"a list of {size} values is needed")
    return request

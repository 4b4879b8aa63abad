"""The server's part of the section "Morph": the steps of a morph between two seeds, and files of the whole morph.

A file may take a minute, so it is made in a thread while the page asks for its progress. It is the only thing that the
server keeps for a visitor, until it is fetched, cancelled, or no longer asked for.
"""

import base64
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from explorer.engine import Engine, patiently
from explorer.files import formats, morphs
from explorer.recipe import Recipe
from explorer.ui import handlers
from explorer.ui.panels import Answer, ServerFunction, checked_list, server_function, visitor

MAX_STEPS = 25  # of a morph; the command line takes more
AT_ONCE, MAX_JOBS = 2, 16  # files that are being made at one time, and those and the waiting ones together
SHARE = 2  # of these, for one visitor
MAX_BYTES = 1 << 30  # of finished files together; those not asked for the longest are dropped first
PROGRESS_SECONDS = 0.4  # that `file_progress` waits for the file before it answers
ABANDONED_SECONDS = 30.0  # without a request, after which a file is dropped
PIECE = 3 << 20  # bytes of a file in one answer


class Cancelled(Exception):
    """The making of a file was cancelled, or the page no longer asks for it."""


@dataclass
class _Job:
    """A file that is being made or is finished, in a temporary folder of its own."""

    path: Path
    visitor: str
    asked: float
    done: int = 0
    total: int = 1
    cancelled: bool = False
    future: Future[None] = field(default_factory=Future)


class MorphServer:
    """The functions that the panel calls. Every request comes from a browser and is checked here."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._pool = ThreadPoolExecutor(AT_ONCE, "morph-files")
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}

    def functions(self) -> tuple[ServerFunction, ...]:
        """The functions that the page can call."""
        return (
            server_function(self.steps, 1),
            server_function(self.begin_file, AT_ONCE),
            server_function(self.file_progress, 2 * MAX_JOBS),
            server_function(self.fetch_file, AT_ONCE),
            server_function(self.cancel_file, 2 * MAX_JOBS),
        )

    def steps(self, request: Any) -> Answer:
        """Takes [recipe, count, spacing, heard]; returns {"steps": […]}, each as `handlers.show` returns it."""
        text, count, spacing, heard = checked_list(request, 4)
        recipes = self._recipes(text, count, spacing)
        views = [handlers.make_view(self._engine, recipe) for recipe in recipes]
        return {"steps": [handlers.show(self._engine, view, heard=heard is True) for view in views]}

    def begin_file(self, request: Any) -> Answer:
        """Takes [recipe, count, spacing, format], begins to make the file, and returns {"job": its key}."""
        text, count, spacing, name = checked_list(request, 4)
        recipe = handlers.make_view(self._engine, handlers.read(text)).recipe
        start = self._engine.complete(replace(recipe, t=0.0, mix=()))
        possible = morphs.available(self._engine.render(start))
        if name not in possible:
            raise ValueError(f"a morph of this checkpoint can be saved as {', '.join(possible)}, not as {name!r}")
        stem = formats.stem(self._engine, start.recipe, recipe.seed_b)
        with self._lock:
            self._drop_abandoned()
            unfinished = [job.visitor for job in self._jobs.values() if not job.future.done()]
            if unfinished.count(visitor.get()) >= SHARE:
                raise ValueError("Your last files are still being made; try again when one is finished.")
            if len(unfinished) >= MAX_JOBS:
                raise ValueError("The server is making too many files just now; try again in a moment.")
            folder = Path(tempfile.mkdtemp(prefix="morph-", dir=os.environ.get("GRADIO_TEMP_DIR")))
            job = _Job(folder / f"{stem}.{name}", visitor.get(), self._clock())
            key = secrets.token_hex(16)
            self._jobs[key] = job
        job.future = self._pool.submit(self._make, job, text, count, spacing)
        return {"job": key}

    def file_progress(self, key: Any) -> Answer:
        """Takes a job's key; returns {"done", "total"}, and once it is finished "name" and the number of "pieces".

        Raises what the making of the file raised.
        """
        job = self._job(key)
        job.asked = self._clock()
        wait([job.future], timeout=PROGRESS_SECONDS)
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
        """Takes [job, number from 0]; returns {"data": that piece of the finished file, in base64}."""
        key, number = checked_list(request, 2)
        job = self._job(key)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0 or not job.future.done():
            raise ValueError("there is no such piece of this file")
        job.asked = self._clock()
        with job.path.open("rb") as file:
            file.seek(number * PIECE)
            return {"data": base64.b64encode(file.read(PIECE)).decode("ascii")}

    def cancel_file(self, key: Any) -> Answer:
        """Takes a job's key; stops the making of its file, or deletes it. Returns {}, also if there is no such job."""
        with self._lock:
            job = self._jobs.pop(key, None) if isinstance(key, str) else None
        if job is not None:
            _drop(job)
        return {}

    def _make(self, job: _Job, text: Any, count: Any, spacing: Any) -> None:
        def check(done: int, total: int) -> None:
            # Its folder is gone when the server ends.
            if job.cancelled or not job.path.parent.is_dir() or self._clock() - job.asked > ABANDONED_SECONDS:
                raise Cancelled

        def tell(done: int, total: int) -> None:
            check(done, total)
            job.done, job.total = done, total

        try:
            check(0, 1)  # it may have been cancelled before its turn
            with patiently():
                morphs.write(self._engine, self._recipes(text, count, spacing, check), job.path, tell)
            check(0, 1)
        except BaseException:
            shutil.rmtree(job.path.parent, ignore_errors=True)
            raise
        self._tidy()
        # In case the page is closed before it fetches the file, and no later request cleans up.
        timer = threading.Timer(ABANDONED_SECONDS + 1, self._tidy)
        timer.daemon = True
        timer.start()

    def _recipes(
        self, text: Any, count: Any, spacing: Any, progress: morphs.Progress | None = None
    ) -> tuple[Recipe, ...]:
        if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MAX_STEPS:
            raise ValueError(f"a morph has from 2 to {MAX_STEPS} steps here, not {count!r}")
        recipe = handlers.make_view(self._engine, handlers.read(text)).recipe
        return morphs.steps(self._engine, recipe, count, spacing, progress)

    def _job(self, key: Any) -> _Job:
        with self._lock:
            job = self._jobs.get(key) if isinstance(key, str) else None
        if job is None:
            raise ValueError("this file is no longer there; save it again")
        return job

    def _tidy(self) -> None:
        with self._lock:
            self._drop_abandoned()

    def _drop_abandoned(self) -> None:
        """Drops the files that are no longer asked for, and those for which there is no room."""
        room = MAX_BYTES
        for key, job in sorted(self._jobs.items(), key=lambda item: item[1].asked, reverse=True):
            finished = job.future.done() and job.path.is_file()
            room -= job.path.stat().st_size if finished else 0
            if (finished and room < 0) or self._clock() - job.asked > ABANDONED_SECONDS:
                _drop(self._jobs.pop(key))


def _drop(job: _Job) -> None:
    """Stops the making of a file, then deletes its folder."""
    job.cancelled = True
    job.future.cancel()
    job.future.add_done_callback(lambda _: shutil.rmtree(job.path.parent, ignore_errors=True))

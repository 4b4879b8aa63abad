"""The files that visitors have uploaded, and those that were made for them: bounded in bytes, the oldest go first."""

import re
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import anyio
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from explorer import atomic
from explorer.ui.limits import MAX_UPLOAD, UPLOAD, too_large

MAX_BYTES = 512 << 20  # of all files together
LEAST_BYTES = 8 << 10  # that a file counts for: a small one takes a block of the disk, and its folder another
MAX_NAME = 60  # characters of an uploaded file's name, of which only the ending matters
KEPT_SECONDS = 3600  # after its last use a file is deleted


class FileCache:
    """Files in a folder, each in a sub-folder named by what it holds. Safe to share between threads.

    Args:
        folder: belongs to this cache alone; made when it is needed.
        limit: bytes of all files together.
    """

    def __init__(self, folder: Path, limit: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._limit, self._clock = folder, limit, clock
        self._lock = threading.Lock()
        self._files: OrderedDict[Path, tuple[int, float]] = OrderedDict()  # bytes, last use; the oldest first

    def find(self, key: str, name: str) -> Path | None:
        """The path of a file, if it is still here; it then counts as just used."""
        path = self._path(key, name)
        with self._lock:
            self._drop_old(0)
            if path not in self._files or not path.is_file():
                return None
            self._use(path, self._files[path][0])
            return path

    def write(self, key: str, name: str, data: bytes) -> Path:
        """Writes a file, or finds it where it is. Makes room for it first.

        Args:
            key: what the file holds, as text of any length; equal keys and names are one file.
            name: of the file, without folder.
        Raises:
            OSError: if the disk is full; then nothing of the file is left, nor of any other.
        """
        path, size = self._path(key, name), max(len(data), LEAST_BYTES)
        with self._lock:
            if not (path in self._files and path.is_file()):
                self._files.pop(path, None)
                self._drop_old(size)
                try:
                    atomic.write_bytes(path, data)
                except OSError:
                    shutil.rmtree(path.parent, ignore_errors=True)
                    for kept in list(self._files):  # so that others can write again
                        self._drop(kept)
                    raise
            self._use(path, size)
            return path

    def holds(self, path: Path) -> bool:
        """Whether this path is a file of the cache."""
        with self._lock:
            return path in self._files and path.is_file()

    def route(self) -> Route:
        """The route that takes an upload: one file, as a form's "files"; answers with a list of its path."""
        return Route(UPLOAD, self._upload, methods=["POST"])

    async def _upload(self, request: Request) -> JSONResponse:
        # Starlette keeps a file in memory or in a nameless one, so that nothing is left of an upload that breaks off.
        async with request.form(max_files=1, max_fields=4) as form:
            file = form.get("files")
            if not isinstance(file, UploadFile):
                raise HTTPException(400, "An upload is a form with one file, called files.")
            if (file.size or 0) > MAX_UPLOAD:
                raise too_large(MAX_UPLOAD)
            data = await file.read()
        name = re.sub(r"[^\w.+-]", "_", Path(file.filename or "").name)[-MAX_NAME:] or "file"
        path = await anyio.to_thread.run_sync(self.write, sha256(data).hexdigest(), name, data)
        return JSONResponse([str(path)])

    def _path(self, key: str, name: str) -> Path:
        key = sha256(f"{key}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / key / Path(name).name

    def _use(self, path: Path, size: int) -> None:
        self._files[path] = (size, self._clock())
        self._files.move_to_end(path)

    def _drop_old(self, needed: int) -> None:
        """Deletes files that nobody has used for long, and the oldest until `needed` bytes have room."""
        total = sum(size for size, _ in self._files.values()) + needed
        for path, (size, used) in list(self._files.items()):
            if total <= self._limit and self._clock() - used <= KEPT_SECONDS:
                return
            self._drop(path)
            total -= size

    def _drop(self, path: Path) -> None:
        del self._files[path]
        path.unlink(missing_ok=True)
        shutil.rmtree(path.parent, ignore_errors=True)

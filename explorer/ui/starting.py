"""Starts the app, after it has checked the address and the folder for temporary files, without which gradio fails."""

import errno
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from explorer.engine import Engine

try:
    import fcntl
except ImportError:  # Windows, where nothing tells the folder of a killed process from that of a living one
    fcntl = None  # type: ignore[assignment]

PREFIX, LOCK = "explorer-", ".lock"  # of the folder for temporary files; its process holds a lock in it
TEMPORARY = "GRADIO_TEMP_DIR"  # the environment variable that says where gradio keeps uploads and answers
DEFAULT_HOST = "127.0.0.1"


def launch(folder: Path, host: str | None, port: int | None, share: bool, mcp: bool = False) -> NoReturn:
    """Serves the app on the checkpoints in a folder until it is interrupted, which ends the process with exit code 130.

    Args:
        host, port: None for what gradio's environment variables say, or else its defaults.
        share: open a public link through gradio's servers.
        mcp: also serve the API over MCP, as gradio's environment variable may ask for too.
    Raises:
        ImportError: if it shall serve MCP and the package `mcp` is not installed.
        OSError: if the address cannot be used, or no folder for temporary files can be written to.
    """
    check_address(host or os.environ.get("GRADIO_SERVER_NAME") or DEFAULT_HOST, port)
    with temporary_files():
        from explorer.ui.app import serve  # gradio asks for its folder when it is imported

        with suppress(KeyboardInterrupt):
            serve(Engine(folder), host, port, share, mcp).block_thread()  # which gives open requests 5 s to end
    if sys.stdout is not None:
        sys.stdout.flush()
    os._exit(130)  # at its end Python waits for all that is still being computed, and docker kills after 10 s


def check_address(host: str, port: int | None) -> None:
    """Raises OSError with a clear message if the address cannot be used; gradio says only that it found no port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":  # otherwise a port counts as in use for a minute after its last connection
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, ValueError) as error:  # ValueError for a text that cannot be a host name
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} is in use; choose another with --port") from None
        if isinstance(error, PermissionError):
            raise OSError(f"port {port} may not be used by this user; choose one from 1024 with --port") from None
        raise OSError(f"{host!r} is not an address of this machine ({error}); choose another with --host") from None


@contextmanager
def temporary_files() -> Iterator[None]:
    """Gives gradio a new folder for the files of visitors, and deletes it at the end, also when SIGTERM ends the
    process, which then counts as an interrupt. First it deletes the folders that killed processes have left.

    By default gradio uses one folder of a fixed name for all users of a machine, where only the first user may write.
    This folder lies in the one that the environment variable names, or else in the system's temporary folder.
    """
    given = os.environ.get(TEMPORARY)
    try:
        if given:
            Path(given).mkdir(parents=True, exist_ok=True)
        delete_leavings(Path(given or tempfile.gettempdir()))
        folder, lock = _new_folder(given)
    except (OSError, ValueError) as error:
        raise OSError(
            f"no folder for temporary files can be written to ({error}); name one in the variable {TEMPORARY}"
        ) from None

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ[TEMPORARY] = str(folder)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if given:
            os.environ[TEMPORARY] = given
        else:
            del os.environ[TEMPORARY]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new_folder(parent: str | None) -> tuple[Path, int]:
    """A new folder, and the descriptor of its lock. It has its name only once it is locked."""
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    lock = os.open(made / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if fcntl is not None:
        with suppress(OSError):  # some network drives have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
    return made.rename(made.with_name(made.name[1:])), lock


def delete_leavings(parent: Path) -> None:
    """Deletes the folders of processes that have ended without doing so."""
    for folder in parent.glob(f"{PREFIX}*") if fcntl is not None else ():
        with suppress(OSError):  # somebody else's, or in use
            lock = os.open(folder / LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)

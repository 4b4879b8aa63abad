"""Starts the app, after it has checked the address and the folder for temporary files, without which gradio fails."""

import errno
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from explorer.engine import Engine

TEMPORARY = "GRADIO_TEMP_DIR"  # the environment variable that says where gradio keeps uploads and answers
DEFAULT_HOST = "127.0.0.1"


def launch(folder: Path, host: str | None, port: int | None, share: bool) -> None:
    """Serves the app on the checkpoints in a folder until it is interrupted.

    Args:
        host, port: None for what gradio's environment variables say, or else its defaults.
        share: open a public link through gradio's servers.
    Raises:
        OSError: if the address cannot be used, or no folder for temporary files can be written to.
    """
    check_address(host or os.environ.get("GRADIO_SERVER_NAME") or DEFAULT_HOST, port)
    with temporary_files():
        from explorer.ui.app import serve  # gradio asks for its folder when it is imported

        serve(Engine(folder), host, port, share).block_thread()


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
    """Gives gradio a new folder for the files of visitors, and deletes it at the end.

    By default gradio uses one folder of a fixed name for all users of a machine, where only the first user may write.
    This folder lies in the one that the environment variable names, or else in the system's temporary folder.
    """
    given = os.environ.get(TEMPORARY)
    try:
        if given:
            Path(given).mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="explorer-", dir=given)
    except (OSError, ValueError) as error:
        raise OSError(
            f"no folder for temporary files can be written to ({error}); name one in the variable {TEMPORARY}"
        ) from None

    def delete_and_stop(number: int, frame: FrameType | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, delete_and_stop)
    os.environ[TEMPORARY] = folder
    try:
        yield
    finally:
        if given:
            os.environ[TEMPORARY] = given
        else:
            del os.environ[TEMPORARY]
        shutil.rmtree(folder, ignore_errors=True)

"""Starts the app from the command line, and says in a sentence why it cannot. Loads gradio after both were checked."""

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
    """Serves the checkpoints of a folder until it is interrupted.

    Args:
        host, port: where None, gradio's environment variables, then its defaults.
        share: open a public link through gradio's servers.
    Raises:
        OSError: if it cannot be served there, or no folder for temporary files can be written to.
    """
    check_address(host or os.environ.get("GRADIO_SERVER_NAME") or DEFAULT_HOST, port)
    with temporary_files():
        from explorer.ui.app import serve  # gradio asks for its folder when it is imported

        serve(Engine(folder), host, port, share).block_thread()


def check_address(host: str, port: int | None) -> None:
    """Raises OSError with a sentence if one cannot listen there; gradio says only that it found no port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":  # or a port counts as in use for a minute after its last connection
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, ValueError) as error:  # the latter for what is no name of a host at all
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} is in use; choose another with --port") from None
        if isinstance(error, PermissionError):
            raise OSError(f"port {port} may not be used by this user; choose one from 1024 with --port") from None
        raise OSError(f"{host!r} is no address of this machine ({error}); choose another with --host") from None


@contextmanager
def temporary_files() -> Iterator[None]:
    """Gives gradio a folder for the files of visitors, and deletes it in the end.

    gradio's own choice is one folder of a fixed name for all users of a machine, in which only the first may write.
    Ours is a new one, in the folder that the environment names if it does.
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

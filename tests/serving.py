"""Starts the app in a process of its own, as users do."""

import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 120  # on a busy machine


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def offline(home: Path) -> dict[str, str]:
    """Environment variables of a fresh machine without a network: requests through the proxy fail."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }


@contextmanager
def serving(
    command: Sequence[str],
    port: int,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    started: list[subprocess.Popen[str]] | None = None,
) -> Iterator[str]:
    """Starts a server, yields its URL once it answers, and stops it at the end.

    Args:
        started: its process is added here, for tests that end it themselves.
    Raises:
        RuntimeError: with the server's output, if it ends or does not answer in time.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=log, stderr=subprocess.STDOUT, text=True)
        if started is not None:
            started.append(process)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{' '.join(command)} does not serve:\n{log.read()}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
                raise


def rendered(client: Client, recipe: str, ending: str) -> Path:
    """The file that the app's API returns. `predict` would wait for ever if the server had died."""
    file, _ = client.submit(recipe, ending, api_name="/render").result(timeout=PATIENCE_SECONDS)
    return Path(file)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/config")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()

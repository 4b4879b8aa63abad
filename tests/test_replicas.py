"""Two replicas behind nginx, as compose.yaml and nginx.conf have them: slow clients keep nobody waiting, and a visitor
goes on when a replica is killed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import PATIENCE_SECONDS, ROOT, free_port, offline, serving

from explorer import checkpoint
from explorer.directions import principal
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.ui.limits import MAX_UPLOAD

PAGES = 20  # open connections of one address; more are more than the test needs
SHORTER = {
    "client_header_timeout 10s": "client_header_timeout 1s",
    "client_body_timeout 10s": "client_body_timeout 1s",
    "send_timeout 20s": "send_timeout 1s",
    "limit_conn address 512": f"limit_conn address {PAGES}",
}
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None and "CI" not in os.environ, reason="nginx is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    generator = SpectoGAN(SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("yes", "no"))).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checkpoint.save(folder / "words.safetensors", generator, directions=principal(generator, samples=64))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files of nginx, and with a folder for those of each replica."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def replicas() -> list[subprocess.Popen[str]]:
    return []


@pytest.fixture(scope="module")
def url(folder: Path, home: Path, replicas: list[subprocess.Popen[str]]) -> Iterator[str]:
    """The address of nginx in front of two replicas."""
    config = (ROOT / "nginx.conf").read_text(encoding="utf-8")
    with ExitStack() as stack:
        for i in (1, 2):
            port = free_port()
            command = [sys.executable, "-m", "explorer", "--checkpoints", str(folder), "--port", str(port)]
            (home / str(i)).mkdir()
            stack.enter_context(serving(command, port, offline(home / str(i)), started=replicas))
            assert f"explorer{i}:7860" in config
            config = config.replace(f"explorer{i}:7860", f"127.0.0.1:{port}")
        for given, shorter in SHORTER.items():
            assert given in config
            config = config.replace(given, shorter)
        front = free_port()
        config = config.replace("8080", str(front)).replace("/tmp/nginx.pid", str(home / "nginx.pid"))
        (home / "nginx.conf").write_text(config, encoding="utf-8")
        started = [str(NGINX), "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"]
        with serving([*started, "-g", "daemon off;"], front, dict(os.environ)) as url:
            yield url


def connection(url: str, request: str) -> socket.socket:
    """A connection that has sent this much of a request and receives little at a time."""
    address = httpx.URL(url)
    opened = socket.socket()
    opened.settimeout(PATIENCE_SECONDS)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect((address.host, address.port))
    opened.sendall(request.encode())
    return opened


def received(opened: socket.socket) -> int:
    """The number of bytes that still arrive until the other side ends the connection."""
    with suppress(ConnectionResetError):
        return sum(len(piece) for piece in iter(lambda: opened.recv(1 << 20), b""))
    return 0


@pytest.mark.parametrize(
    "request_",
    [
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        "POST /gradio_api/run/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["headers", "body"],
)
def test_who_sends_too_slowly_is_sent_away_and_others_are_served_meanwhile(url: str, request_: str) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connection(url, request_)) for _ in range(PAGES - 5)]
        assert httpx.get(f"{url}/config", timeout=PATIENCE_SECONDS).status_code == 200
        assert all(received(opened) < 1000 for opened in slow)


def test_who_does_not_read_an_answer_is_sent_away(url: str) -> None:
    data = bytes(MAX_UPLOAD)  # more than the buffers of both sides
    (path,) = httpx.post(f"{url}/gradio_api/upload", files={"files": data}, timeout=PATIENCE_SECONDS).json()
    with connection(url, f"GET /gradio_api/file={path} HTTP/1.1\r\nHost: localhost\r\n\r\n") as reader:
        time.sleep(3)
        assert 0 < received(reader) < len(data)


def test_one_address_has_a_bounded_number_of_connections(url: str) -> None:
    with ExitStack() as stack:
        for page in range(PAGES):
            answer = stack.enter_context(httpx.stream("GET", f"{url}/gradio_api/heartbeat/{page}", timeout=60))
            assert answer.status_code == 200
        assert httpx.get(f"{url}/config", timeout=PATIENCE_SECONDS).status_code == 429


def test_a_visitor_goes_on_when_a_replica_is_killed(
    url: str, replicas: list[subprocess.Popen[str]], home: Path
) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as page:
        config = page.get("/config").json()
        ids = {name: x["id"] for x in config["components"] for name in x["props"].get("server_fns", [])}

        def move(t: float) -> Any:
            recipe = json.dumps({"model": "words", "seed": 7, "seed_b": 8, "t": t})
            request = {"data": recipe, "component_id": ids["lead"], "fn_name": "lead", "session_hash": "page"}
            answer = page.post("/gradio_api/component_server", json=request)
            assert answer.status_code == 200
            return answer.json()

        def file() -> str:
            answer = page.post("/gradio_api/run/render", json={"data": [{"model": "words"}, "wav"]}).json()
            assert page.get(answer["data"][0]["url"]).content.startswith(b"RIFF")
            return str(answer["data"][0]["path"])

        before = [move(i / 10) for i in range(10)]
        number = next(i for i in (1, 2) if str(home / str(i)) in file())
        serves = replicas[number - 1]
        serves.kill()
        serves.wait(PATIENCE_SECONDS)
        assert [move(i / 10) for i in range(10)] == before
        assert page.get("/").status_code == 200
        assert str(home / str(3 - number)) in file()

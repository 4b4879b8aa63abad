"""What happens to a server that runs: whatever is done to a checkpoint or the disk, the others are served."""

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import PATIENCE_SECONDS, ROOT, free_port, offline, serving

from explorer import checkpoint
from explorer.directions import principal
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig

FULL = "The server's disk is full; try again later."
DAY_SECONDS = 86_400
# The app, on a machine whose clock is set by so many seconds as a file says.
WITH_CLOCK = """
import sys, time
from pathlib import Path
real, shift = time.time, Path(sys.argv.pop(1))
time.time = lambda: real() + float(shift.read_text() or 0)
from explorer.__main__ import main
sys.exit(main())
"""


def write(path: Path, seed: int) -> None:
    """A small checkpoint of sounds of 16 kB."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = SpectoGAN(SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8)).eval()
        checkpoint.save(path, generator, directions=principal(generator, samples=64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder / "good.safetensors", 0)
    return folder


@pytest.fixture(scope="module")
def processes() -> list[subprocess.Popen[str]]:
    return []


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that sets the server's clock."""
    path = tmp_path_factory.mktemp("clock") / "seconds"
    path.touch()
    return path


@pytest.fixture(scope="module")
def url(
    folder: Path, clock: Path, processes: list[subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-c", WITH_CLOCK, str(clock), "--checkpoints", str(folder), "--port", str(port)]
    with serving(command, port, offline(tmp_path_factory.mktemp("home")), started=processes) as url:
        yield url


def rendered(url: str, model: str, seed: int = 0) -> bytes | str:
    """The bytes of a sound's file, or why there is none."""
    data = [{"model": model, "seed": seed}, "wav"]
    answer = httpx.post(f"{url}/gradio_api/run/render", json={"data": data}, timeout=PATIENCE_SECONDS).json()
    if "error" in answer:
        return str(answer["error"])
    return httpx.get(answer["data"][0]["url"], timeout=PATIENCE_SECONDS).content


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def no_file(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("fault", "said"),
    [(half, "bad.safetensors"), (Path.unlink, "no checkpoint 'bad'"), (no_file, "bad")],
    ids=["cut", "deleted", "no file"],
)
def test_a_checkpoint_that_is_broken_while_it_plays_is_named_and_others_play(
    url: str, folder: Path, fault: Callable[[Path], None], said: str
) -> None:
    path, good = folder / "bad.safetensors", rendered(url, "good")
    write(path, 1)
    assert isinstance(rendered(url, "bad"), bytes)
    fault(path)
    for seed in (0, 1):  # in the cache, and not
        error = rendered(url, "bad", seed)
        assert isinstance(error, str)
        assert said in error
        assert str(folder) not in error
    assert rendered(url, "good") == good
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_checkpoint_that_is_replaced_plays_anew(url: str, folder: Path) -> None:
    path = folder / "new.safetensors"
    write(path, 1)
    before, first = rendered(url, "new"), path.read_bytes()
    write(path, 2)
    assert rendered(url, "new") != before
    path.write_bytes(first)
    assert rendered(url, "new") == before
    path.unlink()


def test_browsers_that_leave_in_mid_render_keep_nobody_waiting(url: str) -> None:
    good = rendered(url, "good")
    address = httpx.URL(url)
    for seed in range(100, 120):
        body = json.dumps({"data": [{"model": "good", "seed": seed}, "png"]})
        head = f"POST /gradio_api/run/render HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((address.host, address.port or 80), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
    tries = (rendered(url, "good", 200) for _ in range(10))  # on a busy machine the last of them are still computed
    assert any(isinstance(sound, bytes) for sound in tries)
    assert rendered(url, "good") == good


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux bounds the files of a running process")
def test_a_full_disk_is_named_and_what_fits_is_written_once_there_is_room(
    url: str, processes: list[subprocess.Popen[str]]
) -> None:
    (server,) = processes
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        assert [rendered(url, "good", seed) for seed in (5, 6)] == [FULL, FULL]
        data = {"data": [{"model": "good", "seed": 5}]}
        measured = httpx.post(f"{url}/gradio_api/run/measure", json=data, timeout=PATIENCE_SECONDS)
        assert measured.status_code == 200
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    assert isinstance(rendered(url, "good", 5), bytes)


def test_a_clock_that_is_set_forth_and_back_loses_no_file_and_others_play(url: str, clock: Path) -> None:
    config = httpx.get(f"{url}/config", timeout=PATIENCE_SECONDS).json()
    ids = {name: x["id"] for x in config["components"] for name in x["props"].get("server_fns", [])}

    def ask(name: str, data: Any) -> dict[str, Any]:
        request = {"data": data, "component_id": ids[name], "fn_name": name, "session_hash": "page"}
        answer = httpx.post(f"{url}/gradio_api/component_server", json=request, timeout=PATIENCE_SECONDS)
        return dict(answer.json())

    recipe = json.dumps({"model": "good", "seed": 1, "seed_b": 2})
    good, call = rendered(url, "good"), {"data": [recipe, "wav"]}
    made = httpx.post(f"{url}/gradio_api/run/render", json=call, timeout=PATIENCE_SECONDS).json()["data"][0]
    job = ask("begin_file", [recipe, 2, "t", "wav"])["job"]
    for seed, seconds in enumerate((DAY_SECONDS, -DAY_SECONDS, 0)):
        clock.write_text(str(seconds))
        assert ask("file_progress", job).keys() >= {"done", "total"}
        assert ask("lead", recipe)["recipe"]
        assert rendered(url, "good") == good
        assert isinstance(rendered(url, "good", 300 + seed), bytes)
        assert httpx.get(made["url"], timeout=PATIENCE_SECONDS).content.startswith(b"RIFF")


@pytest.mark.parametrize("path", sorted(ROOT.glob("explorer/**/*.py")), ids=lambda path: path.stem)
def test_no_clock_that_can_be_set_back_is_read(path: Path) -> None:
    assert not re.search(r"\btime\.time\b|\bdatetime\b|from time import", path.read_text(encoding="utf-8"))

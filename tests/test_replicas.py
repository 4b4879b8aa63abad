"""Two replicas behind nginx, as compose.yaml and nginx.conf have them: a visitor goes on when one is killed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from serving import PATIENCE_SECONDS, ROOT, free_port, offline, serving

from explorer import checkpoint
from explorer.directions import principal
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig

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


@pytest.fixture
def replicas() -> list[subprocess.Popen[str]]:
    return []


@pytest.fixture
def url(folder: Path, tmp_path: Path, replicas: list[subprocess.Popen[str]]) -> Iterator[str]:
    """The address of nginx in front of two replicas."""
    config = (ROOT / "nginx.conf").read_text(encoding="utf-8")
    with ExitStack() as stack:
        for i in (1, 2):
            port = free_port()
            command = [sys.executable, "-m", "explorer", "--checkpoints", str(folder), "--port", str(port)]
            home = tmp_path / str(i)  # its files lie in there
            home.mkdir()
            stack.enter_context(serving(command, port, offline(home), started=replicas))
            assert f"explorer{i}:7860" in config
            config = config.replace(f"explorer{i}:7860", f"127.0.0.1:{port}")
        front = free_port()
        config = config.replace("8080", str(front)).replace("/tmp/nginx.pid", str(tmp_path / "nginx.pid"))
        (tmp_path / "nginx.conf").write_text(config, encoding="utf-8")
        started = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        with serving([*started, "-g", "daemon off;"], front, dict(os.environ)) as url:
            yield url


def test_a_visitor_goes_on_when_a_replica_is_killed(
    url: str, replicas: list[subprocess.Popen[str]], tmp_path: Path
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
        number = next(i for i in (1, 2) if str(tmp_path / str(i)) in file())
        serves = replicas[number - 1]
        serves.kill()
        serves.wait(PATIENCE_SECONDS)
        assert [move(i / 10) for i in range(10)] == before
        assert page.get("/").status_code == 200
        assert str(tmp_path / str(3 - number)) in file()

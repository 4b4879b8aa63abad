"""The repository as Hugging Face Spaces runs it: `python app.py`, in Spaces' environment."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError

from explorer import checkpoint
from explorer.directions import principal
from explorer.engine import Engine
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.recipe import Recipe

ROOT = Path(__file__).parent.parent.parent
LONGEST_START = 120  # seconds, on a busy machine


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed of the app, with one small checkpoint, read-only."""
    folder = tmp_path_factory.mktemp("space") / "repository"
    shutil.copytree(ROOT / "explorer", folder / "explorer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = SpectoGAN(SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("yes", "no")))
    generator.eval()
    checkpoint.save(folder / "checkpoints" / "words.safetensors", generator,
                    directions=principal(generator, samples=64))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


@pytest.fixture(scope="module")
def url(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    log = (home / "log").open("w+")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "GRADIO_SERVER_NAME": "0.0.0.0",
                   "GRADIO_SERVER_PORT": str(port), "SYSTEM": "spaces", "GRADIO_ANALYTICS_ENABLED": "False",
                   "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=checkout, env=environment, stdout=log, stderr=log)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + LONGEST_START
        while not answers(url):
            log.seek(0)
            assert process.poll() is None, log.read()
            assert time.monotonic() < deadline, "the app did not start"
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()
        log.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/config", timeout=5) as response:
            return "components" in json.load(response)
    except OSError:
        return False


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(url, download_files=tmp_path_factory.mktemp("downloads"), verbose=False, analytics_enabled=False)


@pytest.mark.parametrize("text", [Recipe("words", seed=7, label="no").to_json(), "?model=words&seed=7&label=no"])
def test_the_api_renders_the_sound_that_the_library_renders(client: Client, checkout: Path, text: str) -> None:
    samples, rate = sf.read(client.predict(text, "wav", api_name="/render"))
    sound = Engine(checkout / "checkpoints").render(Recipe("words", seed=7, label="no"))
    assert rate == sound.sample_rate
    np.testing.assert_allclose(samples, sound.waveform, atol=1 / 32767)


@pytest.mark.parametrize(("text", "name", "answer"), [
    ("?model=cats", "wav", "no checkpoint 'cats'"),
    ("?model=../words", "wav", "no checkpoint"),
    ("?model=words&t=nan", "wav", "t must be between 0 and 1"),
    ("?model=words", "mid", "makes no notes"),
    ("?model=words", "exe", "no format 'exe'"),
])
def test_the_api_says_what_is_wrong(client: Client, text: str, name: str, answer: str) -> None:
    with pytest.raises(AppError, match=answer):
        client.predict(text, name, api_name="/render")


def test_nothing_is_written_into_the_checkout(client: Client, checkout: Path) -> None:
    before = {path.relative_to(checkout) for path in checkout.rglob("*")}
    client.predict("?model=words&seed=1", "wav", api_name="/render")
    assert {path.relative_to(checkout) for path in checkout.rglob("*")} == before
    assert not (checkout / ".gradio").exists()


def test_only_render_is_offered(client: Client) -> None:
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/render"]

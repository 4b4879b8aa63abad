"""The app's API, which turns a recipe, as JSON or as a link, into a file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from serving import free_port, offline, rendered, serving

from explorer import checkpoint
from explorer.directions import principal
from explorer.engine import Engine
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = SpectoGAN(SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("yes", "no")))
    generator.eval()
    checkpoint.save(folder / "words.safetensors", generator, directions=principal(generator, samples=64))
    return folder


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "explorer", "--checkpoints", str(folder), "--port", str(port)]
    with serving(command, port, offline(tmp_path_factory.mktemp("home"))) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(url, download_files=tmp_path_factory.mktemp("downloads"), verbose=False, analytics_enabled=False)


@pytest.mark.parametrize("text", [Recipe("words", seed=7, label="no").to_json(), "?model=words&seed=7&label=no"])
def test_the_api_renders_the_sound_that_the_library_renders(client: Client, folder: Path, text: str) -> None:
    samples, rate = sf.read(rendered(client, text, "wav"))
    sound = Engine(folder).render(Recipe("words", seed=7, label="no"))
    assert rate == sound.sample_rate
    np.testing.assert_allclose(samples, sound.waveform, atol=1 / 32767)


@pytest.mark.parametrize(
    ("text", "name", "answer"),
    [
        ("?model=cats", "wav", "no checkpoint 'cats'"),
        ("?model=../words", "wav", "no checkpoint"),
        ("?model=words&t=nan", "wav", "t must be between 0 and 1"),
        ("?model=words", "mid", "makes no notes"),
        ("?model=words", "exe", "no format 'exe'"),
    ],
)
def test_the_api_reports_bad_input(client: Client, text: str, name: str, answer: str) -> None:
    with pytest.raises(AppError, match=answer):
        rendered(client, text, name)


def test_render_is_the_only_endpoint(client: Client) -> None:
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/render"]

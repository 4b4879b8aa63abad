"""The repository as a Hugging Face Space: `python app.py`, read-only, offline, with an empty home folder."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile
from gradio_client import Client
from serving import PATIENCE_SECONDS, free_port, offline, rendered, serving

from explorer import deploy
from explorer.engine import Engine
from explorer.files import formats
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER

# Environment of the gradio image of Spaces; the port is 7860 there, and a free one here.
SPACES = {
    "SYSTEM": "spaces",
    "SPACE_ID": "someone/latent-explorer",
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_NUM_PORTS": "1",
    "GRADIO_ALLOW_FLAGGING": "never",
    "TQDM_POSITION": "-1",
    "TQDM_MININTERVAL": "1",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only copy of the files that `deploy` uploads."""
    folder = tmp_path_factory.mktemp("space") / "app"
    for name, content in deploy.collect(DEFAULT_FOLDER).files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(content, Path)
        shutil.copyfile(content, folder / name)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


@pytest.fixture(scope="module")
def space(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    env = {**offline(tmp_path_factory.mktemp("home")), **SPACES, "GRADIO_SERVER_PORT": str(port)}
    before = contents(checkout)
    with serving([sys.executable, "app.py"], port, env, checkout) as url:
        yield url
    assert contents(checkout) == before  # root can write to read-only files, so compare


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_space_renders_every_shipped_checkpoint_to_the_bits_of_the_engine(space: str, tmp_path: Path) -> None:
    client = Client(space, verbose=False, download_files=str(tmp_path))
    engine = Engine()
    assert engine.names()
    for name in engine.names():
        recipe = Recipe(name, seed=7, seed_b=8, t=0.5)
        file = rendered(client, recipe.to_json(), "wav")
        formats.save(engine.render(recipe), engine.complete(recipe).recipe, tmp_path / f"{name}.wav")
        assert file.read_bytes() == (tmp_path / f"{name}.wav").read_bytes()
        waveform, _ = soundfile.read(file)
        assert abs(waveform).max() > 0.01


def test_a_public_server_answers_to_any_name(space: str) -> None:
    headers = {"Host": "someone-latent-explorer.hf.space"}
    assert httpx.get(f"{space}/config", headers=headers, timeout=PATIENCE_SECONDS).status_code == 200

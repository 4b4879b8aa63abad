"""The repository as a Hugging Face Space: `python app.py`, read-only, offline, with an empty home folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile
from gradio_client import Client
from serving import PATIENCE_SECONDS, ROOT, free_port, offline, rendered, serving

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


# Programs that end in what the README's lines have as their result.
CALLERS = {
    "python": (sys.executable, "-c", "{}\nimport json; print(json.dumps([open(file, 'rb').read(4).decode(), recipe]))"),
    "js": ("node", "--input-type=module", "-e", "{}\nconsole.log(JSON.stringify(['RIFF', result.recipe]))"),
    "bash": ("bash", "-c", "{}"),
}


@pytest.mark.parametrize("language", CALLERS)
def test_the_lines_of_the_readme_call_the_app(space: str, tmp_path: Path, language: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## From other programs")[1].split("\n## ")[0]
    (lines,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    lines = lines.split("pip install")[0].replace("http://127.0.0.1:7860", space)
    *program, last = CALLERS[language]
    if shutil.which(program[0]) is None and "CI" not in os.environ:
        pytest.skip(f"{program[0]} is not installed")
    done = subprocess.run(
        [*program, last.replace("{}", lines)],
        env={**os.environ, "TMPDIR": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    start, recipe = found if isinstance(found, list) else found["data"]
    if isinstance(start, dict):  # curl gets the file's address
        start = httpx.get(start["url"], timeout=PATIENCE_SECONDS).text[:4]
    assert start == "RIFF"
    (model,) = re.findall(r'"?model"?: "([\w-]+)", "?seed"?: 7', lines)
    assert (recipe["model"], recipe["seed"]) == (model, 7)

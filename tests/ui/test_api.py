"""The API, as gradio's client, curl and JavaScript call it."""

import io
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from serving import PATIENCE_SECONDS, free_port, offline, rendered, serving

from explorer import checkpoint
from explorer.directions import principal
from explorer.engine import Engine
from explorer.files import formats
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.measures import measure
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


def test_nothing_but_the_api_has_a_name(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert list(named) == ["/models", "/render", "/morph", "/measure"]
    for endpoint in named.values():
        assert "Example: " in endpoint["description"]


def called(url: str, name: str, *data: Any) -> Any:
    """What a function answers to a plain request."""
    answer = httpx.post(f"{url}/gradio_api/run/{name}", json={"data": data}, timeout=PATIENCE_SECONDS)
    return answer.json()["data"] if answer.status_code == 200 else answer.json()["error"]


def test_the_recipe_of_every_result_gives_the_same_sound(url: str, folder: Path) -> None:
    ((about,),) = called(url, "models")
    assert (about["name"], about["labels"]) == ("words", ["yes", "no"])
    file, recipe = called(url, "render", {**about["recipe"], "seed": 7}, "wav")
    again, same = called(url, "render", recipe, "wav")
    assert (file["url"], recipe) == (again["url"], same)
    wav = httpx.get(file["url"], timeout=PATIENCE_SECONDS).content
    engine = Engine(folder)
    place = engine.complete(Recipe("words", seed=7))
    assert wav == formats.encode(engine.render(place), place.recipe, "wav")
    (measured,) = called(url, "measure", recipe)
    assert measured["recipe"] == recipe
    expected = {name: None if math.isnan(x) else x for name, x in measure(engine.render(place)).items()}
    assert {name: x["value"] for name, x in measured["measures"].items()} == pytest.approx(expected)


def test_a_morph_has_the_recipe_of_each_step(url: str, folder: Path) -> None:
    file, recipes = called(url, "morph", {"model": "words", "seed": 7, "seed_b": 8}, 3, "t", "zip")
    archive = httpx.get(file["url"], timeout=PATIENCE_SECONDS).content
    with zipfile.ZipFile(io.BytesIO(archive)) as steps:
        waves = [steps.read(name) for name in steps.namelist()]
    engine = Engine(folder)
    for recipe, wave in zip(recipes, waves, strict=True):
        place = engine.complete(Recipe.from_dict(recipe))
        assert wave == formats.encode(engine.render(place), place.recipe, "wav")


WORDS = {"model": "words"}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("render", [5, "wav"], "a recipe is an object with at least a 'model', its JSON, or a link"),
        ("render", [{}, "wav"], "a recipe is an object with at least a 'model'"),
        ("render", [WORDS, ["wav"]], "no format \"['wav']\"; there are wav, ready.wav, mid, png, svg, pdf, npz, json"),
        ("render", [WORDS, "../x"], "no format '../x'; there are wav, ready.wav, mid, png, svg, pdf, npz, json"),
        ("render", [WORDS], None),
        ("render", [], None),
        ("morph", [WORDS, 3, "t", "wav"], "a morph needs a second seed"),
        ("morph", [WORDS, 26, "t", "wav"], "a morph has from 2 to 25 steps here, not 26"),
        ("morph", [WORDS, True, "t", "wav"], "a morph has from 2 to 25 steps here, not True"),
        ("morph", [{**WORDS, "seed_b": 1}, 3, "x", "wav"], "the spacing is 't' or 'equal', not 'x'"),
        (
            "morph",
            [{**WORDS, "seed_b": 1}, 3, "t", "/x"],
            "no format '/x'; there are wav, mid, zip, gif, png, svg, pdf",
        ),
        ("measure", ["?model=cats"], "no checkpoint 'cats'; there are: words"),
        ("nothing", [], None),
    ],
)
def test_what_is_wrong_with_a_call_is_one_sentence(url: str, name: str, data: list[Any], said: str | None) -> None:
    assert called(url, name, *data) == (said or "This request cannot be understood.")


def test_curl_and_javascript_get_the_same_file(url: str) -> None:
    wanted = called(url, "render", WORDS, "wav")
    body = json.dumps({"data": [WORDS, "wav"]})
    curl = ["curl", "-s", f"{url}/gradio_api/run/render", "-H", "Content-Type: application/json", "-d", body]
    script = (
        f"const answer = await fetch({json.dumps(url)} + '/gradio_api/run/render', {{ method: 'POST', "
        f"headers: {{ 'Content-Type': 'application/json' }}, body: {json.dumps(body)} }});"
        "console.log(JSON.stringify(await answer.json()));"
    )
    for program in (curl, ["node", "--input-type=module", "-e", script]):
        if shutil.which(program[0]) is None and "CI" not in os.environ:
            pytest.skip(f"{program[0]} is not installed")
        done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
        assert json.loads(done.stdout)["data"] == wanted

"""Kits as the page asks for them, without a browser."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from asynchronous import run_async
from toy import write

from explorer import checkpoint
from explorer.engine import Engine
from explorer.files import formats
from explorer.generators import FAMILIES
from explorer.generators.pianogan import PianoGANConfig
from explorer.kit import PADS, Kit
from explorer.recipe import Recipe
from explorer.ui.kits import KitServer
from explorer.ui.panels import server_function


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder)
    config = PianoGANConfig(latent_size=32, code_size=16, width=16, blocks=3, decoder_width=16)
    checkpoint.save(folder / "piano.safetensors", FAMILIES["pianogan"](config).eval())
    return Engine(folder)


@pytest.fixture
def server(engine: Engine) -> KitServer:
    return KitServer(engine)


def test_the_first_kit_is_complete_and_opens_again_unchanged(server: KitServer) -> None:
    first = server.new_kit("toy")["kit"]
    assert server.open_kit(json.dumps(first))["kit"] == first
    assert server.open_kit(Kit.from_dict(first).to_url())["kit"] == first
    assert all(pad["settings"] == {"timbre": "sine"} for pad in first["pads"])


def test_the_sound_of_a_pad_comes_with_its_own_recipe_alone(server: KitServer, engine: Engine) -> None:
    recipe = Recipe("toy", seed=3, seed_b=9, label="high", label_b="low")
    (hit,) = server.hits([recipe.to_json()])["hits"]
    assert "seed_b" not in json.loads(hit["recipe"])
    assert "label_b" not in json.loads(hit["recipe"])
    heard = np.frombuffer(base64.b64decode(hit["pcm"]["data"]), "<i2")
    np.testing.assert_array_equal(heard, formats.pcm16(engine.render(recipe).waveform))


def test_a_pad_that_cannot_be_played_leaves_the_others(server: KitServer) -> None:
    asked: list[Any] = ["?model=toy&seed=1", "?model=piano", "?model=toy&t=nan", None, "?model=cats"]
    hits = server.hits(asked)["hits"]
    assert "error" not in hits[0]
    words = ("too long for a pad", "t must be between", "a recipe must be a text", "no checkpoint 'cats'")
    assert [word in hit["error"] for word, hit in zip(words, hits[1:], strict=True)] == [True] * 4


def test_a_saved_loop_travels_whole(server: KitServer, tmp_path: Path) -> None:
    kit = server.new_kit("toy")["kit"]
    answer = server.save_kit([json.dumps(kit), "wav"])
    data = base64.b64decode(answer["data"])
    assert answer["name"] == "toy-kit-110bpm.wav"
    (tmp_path / "loop.wav").write_bytes(data)
    assert sf.info(io.BytesIO(data)).frames == round(240 / 110 * 8000)
    saved = formats.read_saved(tmp_path / "loop.wav")
    assert isinstance(saved, Kit)
    assert server.open_kit(saved.to_json())["kit"] == kit


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("new_kit", None),
        ("new_kit", "piano"),
        ("open_kit", None),
        ("open_kit", "?model=toy"),
        ("open_kit", "{" * 100_000),
        ("open_kit", "x" * 2_000_000),
        ("hits", "?model=toy"),
        ("hits", ["?model=toy"] * (PADS + 1)),
        ("save_kit", None),
        ("save_kit", ["?model=toy", "wav"]),
        ("save_kit", [{}, "wav"]),
    ],
)
def test_any_request_gets_an_answer_in_a_sentence(server: KitServer, name: str, request_: Any) -> None:
    answer = run_async(server_function(getattr(server, name), 1), request_)
    assert set(answer) == {"error"}
    assert "went wrong" not in answer["error"]


@pytest.mark.parametrize("name", ["exe", None, "../wav"])
def test_an_unknown_format_of_a_kit_is_refused(server: KitServer, name: Any) -> None:
    with pytest.raises(ValueError, match="there are wav, mid, zip"):
        server.save_kit([json.dumps(server.new_kit("toy")["kit"]), name])

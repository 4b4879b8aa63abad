"""Tones, pieces and files of an instrument as the page asks for them, without a browser."""

import base64
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from asynchronous import run_async
from toy import write as write_toy
from toy_keys import write

from explorer.engine import Engine
from explorer.files import instruments
from explorer.recipe import Recipe
from explorer.sound import midi
from explorer.sound.base import Note
from explorer.ui import handlers
from explorer.ui.cache import FileCache
from explorer.ui.keys import KeyServer
from explorer.ui.panels import server_function

LINK = "?model=keys&seed=3"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder)
    write_toy(folder)
    (folder / "broken.safetensors").write_bytes(b"cut short")
    return Engine(folder)


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "files")


@pytest.fixture
def server(engine: Engine, cache: FileCache) -> KeyServer:
    return KeyServer(engine, cache)


def uploaded(cache: FileCache, *notes: Note) -> str:
    stream = io.BytesIO()
    midi.write_midi(notes, stream)
    return str(cache.write("a", "piece.mid", stream.getvalue()))


def test_only_a_model_with_keys_says_which_it_has(engine: Engine) -> None:
    shown = {name: handlers.show(engine, handlers.make_view(engine, Recipe(name))) for name in ("keys", "toy")}
    assert shown["keys"]["keys"] == list(range(48, 73))
    assert "keys" not in shown["toy"]


def test_the_page_gets_the_tones_that_songs_are_played_with(server: KeyServer, engine: Engine) -> None:
    (sent,) = server.tones([LINK, [60]])["tones"]
    tone = instruments.tones(engine, instruments.complete(engine, Recipe("keys", seed=3)), [60])[60]
    pcm = np.frombuffer(base64.b64decode(sent["pcm"]["data"]), "<i2")
    np.testing.assert_allclose(pcm / 32768, tone.samples, atol=1 / 32768)
    assert (sent["loop"], sent["decay"], sent["gain"]) == (tone.loop, tone.decay, tone.gain)


def test_models_of_notes_are_offered_as_pieces(server: KeyServer) -> None:
    assert server.piece_models("")["models"] == ["toy"]


def test_an_uploaded_piece_comes_on_the_keys_and_is_saved_as_a_song(server: KeyServer, cache: FileCache) -> None:
    path = uploaded(cache, Note(60, 0, 1, 80), Note(30, 1, 1, 80))
    sent = server.piece([LINK, "file", path])
    notes = np.frombuffer(base64.b64decode(sent["notes"]), "<f4").reshape(-1, 4)
    assert notes[:, 0].tolist() == [60, 54]
    assert sent["about"] == "2 notes in 2 seconds. 1 outside of the keys are moved by octaves."
    saved = server.save_song([LINK, "file", path])
    assert saved["name"] == "piece-by-keys-seed0003.wav"
    assert sf.info(io.BytesIO(base64.b64decode(saved["data"]))).duration == pytest.approx(2.35, abs=0.01)


def test_an_instrument_is_saved_with_all_its_keys(server: KeyServer) -> None:
    saved = server.save_instrument(LINK)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(saved["data"]))) as archive:
        assert len(archive.namelist()) == 25 + 2
    assert saved["name"] == "keys-seed0003.zip"


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        ("tones", [LINK, list(range(9))], "at most 8"),
        ("tones", [LINK, [60.0]], "MIDI note numbers"),
        ("tones", [LINK, [float("nan")]], "MIDI note numbers"),
        ("tones", [LINK, [True]], "MIDI note numbers"),
        ("tones", [LINK, [10**30]], "has no key"),
        ("tones", ["?model=toy", [60]], "has no keys"),
        ("tones", ["?model=keys&t=nan", [60]], "t must be"),
        ("tones", None, "a list of 2"),
        ("piece", [LINK, "recipe", LINK], "makes no notes"),
        ("piece", [LINK, "file", "/etc/hostname"], "no longer there"),
        ("piece", [LINK, "other", "x"], "no longer there"),
        ("save_song", [LINK, "file", {}], "no longer there"),
        ("save_song", [LINK], "a list of 3"),
        ("save_instrument", "?model=toy", "has no keys"),
        ("save_instrument", None, "must be a text"),
    ],
)
def test_a_bad_request_is_answered_in_one_sentence(server: KeyServer, name: str, request_: Any, message: str) -> None:
    answer = run_async(server_function(getattr(server, name), 1), request_)
    assert message in answer["error"]
    assert "\n" not in answer["error"]


def test_a_song_too_long_for_one_answer_is_refused_before_it_is_played(server: KeyServer, cache: FileCache) -> None:
    path = uploaded(cache, Note(60, 0, 1, 80), Note(60, 700, 1, 80))
    with pytest.raises(ValueError, match="12 minutes; up to 10 are saved here"):
        server.save_song([LINK, "file", path])

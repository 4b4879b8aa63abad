"""Files of a way as the page asks for them, and the strip of its steps, without a browser."""

import base64
import io
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from toy import write

from explorer.engine import Engine
from explorer.files import morphs
from explorer.recipe import Recipe
from explorer.ui import between
from explorer.ui.between import Ways

WAY = Recipe("toy", seed=3, seed_b=9, label="high")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Held:
    """A writer of files that waits in its first step, and tells when it has ended."""

    def __init__(self) -> None:
        self.begun, self.released, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, engine: Engine, way: Any, path: Path, progress: Callable[[int, int], None]) -> None:
        try:
            path.write_bytes(b"half")
            self.begun.set()
            assert self.released.wait(30)
            progress(1, 2)
            path.write_bytes(b"whole")
        finally:
            self.ended.set()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are made."""
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
    return tmp_path / "files"


@pytest.fixture
def ways(tmp_path: Path, folder: Path) -> Ways:
    write(tmp_path)
    return Ways(Engine(tmp_path), Clock())


def ask(ways: Ways, name: str, request: Any) -> dict[str, Any]:
    """As the page does, which gets an error as an answer."""
    return next(f for f in ways.functions() if getattr(f, "__name__", "") == name)(request)


def finished(ways: Ways, key: str) -> dict[str, Any]:
    while "name" not in (state := ask(ways, "ask_file", key)):
        assert "error" not in state, state
    return state


def test_a_file_that_is_fetched_is_the_one_that_the_library_writes(
    ways: Ways, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(between, "PIECE", 5000)
    key = ask(ways, "begin_file", [WAY.to_json(), 4, "equal", "wav"])["job"]
    state = finished(ways, key)
    data = b"".join(base64.b64decode(ask(ways, "fetch_file", [key, i])["data"]) for i in range(state["pieces"]))
    engine = Engine(tmp_path)
    expected = morphs.joined([engine.render(recipe) for recipe in morphs.steps(engine, WAY, 4, "equal")])
    np.testing.assert_allclose(sf.read(io.BytesIO(data))[0], expected.waveform, atol=1 / 32767)
    assert state["name"] == "toy-high-seed0003-to0009.wav"
    ask(ways, "cancel_file", key)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("end", ["cancelled", "abandoned"])
def test_a_file_that_nobody_wants_any_more_stops_and_leaves_nothing(
    ways: Ways, folder: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    held = Held()
    monkeypatch.setattr(morphs, "write", held)
    key = ask(ways, "begin_file", [WAY.to_json(), 4, "t", "wav"])["job"]
    assert held.begun.wait(30)
    if end == "cancelled":
        assert ask(ways, "cancel_file", key) == {}
    else:
        ways._clock.now = between.ABANDONED_SECONDS + 1  # type: ignore[attr-defined]
    held.released.set()
    assert held.ended.wait(30)
    ways._pool.shutdown()
    assert list(folder.iterdir()) == []


def test_a_finished_file_that_is_not_fetched_goes_away(ways: Ways, folder: Path) -> None:
    key = ask(ways, "begin_file", [WAY.to_json(), 2, "t", "mid"])["job"]
    finished(ways, key)
    ways._clock.now = between.ABANDONED_SECONDS + 1  # type: ignore[attr-defined]
    ways._tidy()
    assert list(folder.iterdir()) == []
    assert "no longer there" in ask(ways, "ask_file", key)["error"]


def test_only_so_many_files_are_kept(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(morphs, "write", held)
    answers = [ask(ways, "begin_file", [WAY.to_json(), 2, "t", "wav"]) for _ in range(between.WAITING + 1)]
    held.released.set()
    assert ["error" in answer for answer in answers] == [False] * between.WAITING + [True]
    for answer in answers[:-1]:
        ask(ways, "cancel_file", answer["job"])


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        [WAY.to_json(), 0, "t", False],
        [WAY.to_json(), 26, "t", False],
        [WAY.to_json(), True, "t", False],
        [WAY.to_json(), 7, "even", False],
        [None, 7, "t", False],
        ["?model=cats", 7, "t", False],
    ],
    ids=str,
)
def test_a_strip_that_cannot_be_is_refused_in_a_sentence(ways: Ways, request_: Any) -> None:
    assert ask(ways, "strip", request_)["error"]


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("begin_file", [WAY.to_json(), 4, "t", "exe"]),
        ("begin_file", ["?model=cats", 4, "t", "wav"]),
        ("begin_file", 7),
        ("ask_file", "nothing"),
        ("ask_file", None),
        ("fetch_file", ["nothing", 0]),
        ("fetch_file", None),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_is_refused_in_a_sentence(ways: Ways, name: str, request_: Any) -> None:
    assert ask(ways, name, request_)["error"]


def test_a_strip_leaves_a_mix_and_sends_waveforms_only_to_be_heard(ways: Ways) -> None:
    mixed = Recipe("toy", seed=3, seed_b=9, mix=((5, 1.0),)).to_json()
    steps = ask(ways, "strip", [mixed, 3, "t", False])["steps"]
    assert [Recipe.from_json(step["recipe"]).mix for step in steps] == [()] * 3
    assert [Recipe.from_json(step["recipe"]).t for step in steps] == [0, 0.5, 1]

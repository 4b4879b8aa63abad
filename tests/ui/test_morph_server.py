"""Steps and files of a morph as the page asks for them, without a browser."""

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
from asynchronous import run_async
from toy import write

from explorer.engine import Engine
from explorer.files import morphs
from explorer.recipe import Recipe
from explorer.ui import between
from explorer.ui.between import MorphServer
from explorer.ui.panels import visitor

MORPH = Recipe("toy", seed=3, seed_b=9, label="high")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowWriter:
    """A stand-in for `morphs.write` that waits in its first step until it is released."""

    def __init__(self) -> None:
        self.begun, self.released, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, engine: Engine, morph: Any, path: Path, progress: Callable[[int, int], None]) -> None:
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
    """The folder in which files are made."""
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
    return tmp_path / "files"


@pytest.fixture
def server(tmp_path: Path, folder: Path) -> MorphServer:
    write(tmp_path)
    return MorphServer(Engine(tmp_path), Clock())


def ask(server: MorphServer, name: str, request: Any, page: str = "") -> dict[str, Any]:
    """Calls a server function as a page does, so that an error is returned, not raised."""
    before = visitor.set(page)
    try:
        return run_async(next(f for f in server.functions() if getattr(f, "__name__", "") == name), request)
    finally:
        visitor.reset(before)


def finished(server: MorphServer, key: str) -> dict[str, Any]:
    while "name" not in (state := ask(server, "file_progress", key)):
        assert "error" not in state, state
    return state


def test_a_fetched_file_is_the_one_that_the_library_writes(
    server: MorphServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(between, "PIECE", 5000)
    key = ask(server, "begin_file", [MORPH.to_json(), 4, "equal", "wav"])["job"]
    state = finished(server, key)
    data = b"".join(base64.b64decode(ask(server, "fetch_file", [key, i])["data"]) for i in range(state["pieces"]))
    engine = Engine(tmp_path)
    expected = morphs.joined([engine.render(recipe) for recipe in morphs.steps(engine, MORPH, 4, "equal")])
    np.testing.assert_allclose(sf.read(io.BytesIO(data))[0], expected.waveform, atol=1 / 32767)
    assert state["name"] == "toy-high-seed0003-to0009.wav"
    ask(server, "cancel_file", key)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("end", ["cancelled", "abandoned"])
def test_a_cancelled_or_abandoned_file_is_stopped_and_deleted(
    server: MorphServer, folder: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    held = SlowWriter()
    monkeypatch.setattr(morphs, "write", held)
    key = ask(server, "begin_file", [MORPH.to_json(), 4, "t", "wav"])["job"]
    assert held.begun.wait(30)
    if end == "cancelled":
        assert ask(server, "cancel_file", key) == {}
    else:
        server._clock.now = between.ABANDONED_SECONDS + 1  # type: ignore[attr-defined]
    held.released.set()
    assert held.ended.wait(30)
    server._pool.shutdown()
    assert list(folder.iterdir()) == []


def test_a_finished_file_that_is_not_fetched_is_deleted(server: MorphServer, folder: Path) -> None:
    key = ask(server, "begin_file", [MORPH.to_json(), 2, "t", "mid"])["job"]
    finished(server, key)
    server._clock.now = between.ABANDONED_SECONDS + 1  # type: ignore[attr-defined]
    server._tidy()
    assert list(folder.iterdir()) == []
    assert "no longer there" in ask(server, "file_progress", key)["error"]


def test_a_visitor_has_a_share_of_the_files_that_are_being_made(
    server: MorphServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = SlowWriter()
    monkeypatch.setattr(morphs, "write", held)

    def begin(page: str) -> dict[str, Any]:
        return ask(server, "begin_file", [MORPH.to_json(), 2, "t", "wav"], page)

    greedy = [begin("greedy") for _ in range(between.SHARE + 1)]
    modest = begin("modest")
    others = [begin(f"page {i}") for i in range(between.MAX_JOBS)]
    held.released.set()
    assert ["error" in answer for answer in greedy] == [False] * between.SHARE + [True]
    assert "error" not in modest
    refused = between.SHARE + 1
    assert ["error" in answer for answer in others] == [False] * (between.MAX_JOBS - refused) + [True] * refused
    for answer in (*greedy, modest, *others):
        ask(server, "cancel_file", answer.get("job"))


def test_finished_files_hold_no_place(server: MorphServer) -> None:
    jobs = []
    for _ in range(between.MAX_JOBS + 1):
        jobs.append(ask(server, "begin_file", [MORPH.to_json(), 2, "t", "mid"])["job"])
        finished(server, jobs[-1])
    assert all("name" in ask(server, "file_progress", job) for job in jobs)


def test_finished_files_are_bounded_in_bytes(
    server: MorphServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    for now in range(3):
        server._clock.now = float(now)  # type: ignore[attr-defined]
        jobs.append(ask(server, "begin_file", [MORPH.to_json(), 2, "t", "wav"])["job"])
        finished(server, jobs[-1])
    sizes = [path.stat().st_size for path in folder.rglob("*.wav")]
    monkeypatch.setattr(between, "MAX_BYTES", 2 * max(sizes))
    server._tidy()
    server._pool.shutdown()
    assert len(list(folder.rglob("*.wav"))) == 2
    assert "no longer there" in ask(server, "file_progress", jobs[0])["error"]


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        [MORPH.to_json(), 0, "t", False],
        [MORPH.to_json(), 26, "t", False],
        [MORPH.to_json(), True, "t", False],
        [MORPH.to_json(), 7, "even", False],
        [None, 7, "t", False],
        ["?model=cats", 7, "t", False],
    ],
    ids=str,
)
def test_steps_that_cannot_be_made_are_refused_in_a_sentence(server: MorphServer, request_: Any) -> None:
    assert ask(server, "steps", request_)["error"]


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("begin_file", [MORPH.to_json(), 4, "t", "exe"]),
        ("begin_file", ["?model=cats", 4, "t", "wav"]),
        ("begin_file", 7),
        ("file_progress", "nothing"),
        ("file_progress", None),
        ("fetch_file", ["nothing", 0]),
        ("fetch_file", None),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_made_is_refused_in_a_sentence(server: MorphServer, name: str, request_: Any) -> None:
    assert ask(server, name, request_)["error"]


def test_steps_of_a_morph_ignore_the_mix_of_the_place(server: MorphServer) -> None:
    mixed = Recipe("toy", seed=3, seed_b=9, mix=((5, 1.0),)).to_json()
    steps = ask(server, "steps", [mixed, 3, "t", False])["steps"]
    assert [Recipe.from_json(step["recipe"]).mix for step in steps] == [()] * 3
    assert [Recipe.from_json(step["recipe"]).t for step in steps] == [0, 0.5, 1]

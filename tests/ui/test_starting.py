"""The app starts where the default folder or port is taken, or says in one sentence why it cannot."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from asynchronous import run_async
from serving import ROOT, free_port, offline, serving

from explorer.__main__ import main
from explorer.checkpoint import CheckpointError
from explorer.recipe import RecipeError
from explorer.ui.panels import UNEXPECTED, error_message, server_function
from explorer.ui.starting import TEMPORARY, check_address, delete_leavings, temporary_files


def test_the_app_starts_although_gradios_temporary_folder_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "gradio").write_text("of somebody else")  # no folder: to root any folder would be open
    (tmp_path / "models").mkdir()
    port = free_port()
    command = [sys.executable, "-m", "explorer", "--port", str(port), "--checkpoints", str(tmp_path / "models")]
    with serving(command, port, offline(tmp_path)):
        assert [path.name for path in tmp_path.glob("explorer-*")] != []
    assert [path.name for path in tmp_path.glob("explorer-*")] == []


WORKING = (
    "import sys, time; from concurrent.futures import ThreadPoolExecutor; from explorer.__main__ import main\n"
    "ThreadPoolExecutor().submit(time.sleep, 1e6)\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


def test_neither_an_open_page_nor_what_is_being_computed_keeps_the_app_from_ending(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", WORKING, "--port", str(port), "--checkpoints", str(tmp_path)]
    with ExitStack() as page, serving(command, port, offline(tmp_path)) as url:  # ends by SIGTERM, within 20 s
        events = page.enter_context(httpx.stream("GET", f"{url}/gradio_api/heartbeat/page", timeout=60))
        assert "ALIVE" in next(events.iter_text())
    assert [path.name for path in tmp_path.glob("explorer-*")] == []


ENDING = (
    "import signal, sys, time; from pathlib import Path; from explorer.ui.starting import temporary_files\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell's background job would ignore
    "try:\n"
    "    with temporary_files():\n"
    "        print('begun', flush=True); time.sleep(300)\n"
    "except KeyboardInterrupt: print('ended', flush=True)\n"
)


def ended_by(number: signal.Signals, folder: Path) -> str:
    """What a process prints that has temporary files and gets a signal."""
    command = [sys.executable, "-c", ENDING]
    env = {**offline(folder), "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert len(list(folder.glob("explorer-*"))) == 1
        process.send_signal(number)
        return process.communicate(timeout=60)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_the_app_alike_and_leave_nothing(tmp_path: Path, number: signal.Signals) -> None:
    assert ended_by(number, tmp_path) == "ended\n"
    assert list(tmp_path.iterdir()) == []


def test_a_start_deletes_what_a_killed_process_has_left_but_nothing_of_a_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TEMPORARY, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended_by(signal.SIGKILL, tmp_path)
    (left,) = tmp_path.iterdir()
    (tmp_path / "explorer-of-others").mkdir()
    with temporary_files():
        living = Path(os.environ[TEMPORARY])
        assert not left.exists()
        delete_leavings(tmp_path)  # as another start does
        assert living.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["explorer-of-others"]


def test_the_folder_named_in_the_environment_is_used_and_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEMPORARY, str(tmp_path / "mine"))
    with temporary_files():
        assert Path(os.environ[TEMPORARY]).parent == tmp_path / "mine"
    assert os.environ[TEMPORARY] == str(tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def run(capsys: pytest.CaptureFixture[str], folder: Path, *argv: str) -> str:
    assert main([*argv, "--checkpoints", str(folder)]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said


def test_a_missing_temporary_folder_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv(TEMPORARY, str(tmp_path / "taken" / "below"))
    assert f"name one in the variable {TEMPORARY}" in run(capsys, tmp_path)


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} is in use" in run(capsys, tmp_path, "--port", str(port))


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "x" * 300, "a\0b", "\ud800"])
def test_a_host_that_is_not_this_machine_is_reported_in_one_sentence(host: str) -> None:
    with pytest.raises(OSError, match="is not an address of this machine"):
        check_address(host, None)


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), TypeError("bad operand"), MemoryError()])
def test_an_unexpected_error_gives_a_sentence_on_the_page_and_a_traceback_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: object) -> dict[str, object]:
        raise error

    assert run_async(server_function(fail, 1), None) == {"error": UNEXPECTED}
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RecipeError("t must be between 0 and 1"), "t must be between 0 and 1"),
        (CheckpointError("/srv/models/toy.safetensors: cut short"), "toy.safetensors: cut short"),
        (CheckpointError("no checkpoint 'a/b/c' in /srv/models; there are: toy"), None),
        (ValueError("two\nlines of https://example.org/a/b"), "two lines of https://example.org/a/b"),
        (RecipeError("half a character: \ud800"), "half a character: \\ud800"),
    ],
)
def test_an_error_message_is_one_line_without_the_servers_folders(error: Exception, sentence: str | None) -> None:
    assert error_message(error) == (sentence or "no checkpoint 'a/b/c' in models; there are: toy")

"""The files of visitors: bounded in bytes and age, the same content once, and nothing left of a failed write."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_architecture import ROOT

from explorer.ui.cache import KEPT_SECONDS, LEAST_BYTES, FileCache

SIZE = 2 * LEAST_BYTES


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_oldest_files_go_when_there_is_no_room(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=3 * SIZE)
    for name in "abc":
        cache.write(name, name, bytes(SIZE))
    assert cache.find("a", "a")  # which makes it the newest
    for name in "de":
        cache.write(name, name, bytes(SIZE))
    assert files(tmp_path) == ["a", "d", "e"]
    assert len(list(tmp_path.iterdir())) == 3


def test_many_small_files_are_bounded_too(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=10 * LEAST_BYTES)
    for i in range(50):
        cache.write(str(i), "a", b"")
    assert len(list(tmp_path.iterdir())) == 10


def test_the_same_content_under_the_same_name_is_one_file(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    path = cache.write("recipe", "a.wav", b"sound")
    assert cache.find("recipe", "a.wav") == cache.write("recipe", "a.wav", b"sound") == path
    assert cache.write("recipe", "a.png", b"picture") != path
    assert files(tmp_path) == ["a.png", "a.wav"]


def test_a_file_that_nobody_uses_is_deleted(tmp_path: Path) -> None:
    now = 0.0
    cache = FileCache(tmp_path, clock=lambda: now)
    cache.write("a", "a", b"")
    now = KEPT_SECONDS + 1.0
    cache.write("b", "b", b"")
    assert files(tmp_path) == ["b"]


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x/../../a"])
def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    path = FileCache(tmp_path / "files").write("key", name, b"")
    assert (path.name, path.parent.parent) == ("a", tmp_path / "files")


def test_a_file_that_has_disappeared_is_not_found_and_written_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    path = cache.write("a", "a", b"1")
    path.unlink()
    assert not cache.holds(path)
    assert cache.find("a", "a") is None
    assert cache.write("a", "a", b"1").read_bytes() == b"1"


def test_a_full_disk_is_named_and_leaves_room_for_others(tmp_path: Path) -> None:
    # A limit on the size of files stands for the full disk, which only root can make.
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from explorer.ui.cache import FileCache; from explorer.ui.panels import error_message\n"
        "cache = FileCache(Path(sys.argv[1])); cache.write('before', 'before', bytes(500))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: cache.write('a', 'a', bytes(2000))\n"
        "except OSError as error: print(error_message(error), list(Path(sys.argv[1]).iterdir()))\n"
        "print(cache.write('b', 'b', bytes(500)).stat().st_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, cwd=ROOT, check=True, timeout=300
    )
    assert done.stdout == "The server's disk is full; try again later. []\n500\n"

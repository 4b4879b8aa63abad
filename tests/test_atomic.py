"""Atomic writes: a file is complete or not there at all, also with several writers."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from explorer import atomic

ROOT = Path(__file__).parent.parent


def test_an_error_leaves_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError), atomic.replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half \ud800", encoding="utf-8")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_name_do_not_share_a_partial_file(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "a.txt") as first, atomic.replacing(tmp_path / "a.txt") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"  # the one that ended last, as a whole


def test_many_threads_leave_one_complete_file(tmp_path: Path) -> None:
    texts = [str(i) * 10_000 for i in range(8)]
    threads = [threading.Thread(target=atomic.write_text, args=(tmp_path / "a.txt", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (tmp_path / "a.txt").read_text() in texts


def test_tensors_are_read_back_as_written(tmp_path: Path) -> None:
    atomic.write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3.0)}, {"key": "value"})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], torch.arange(3.0))


def test_a_full_disk_is_an_os_error_for_tensors_too(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys, torch; from pathlib import Path; from explorer import atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: atomic.write_tensors(Path(sys.argv[1]), {'x': torch.zeros(10_000)})\n"
        "except OSError as error: print('OSError', error)\n"
    )
    path = tmp_path / "a.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, cwd=ROOT, check=True, timeout=300
    )
    assert done.stdout.startswith("OSError")
    assert list(tmp_path.iterdir()) == []


def test_tensors_can_be_read_by_whom_other_new_files_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    atomic.write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)})
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode

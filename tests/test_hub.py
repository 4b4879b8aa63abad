"""Checkpoints by hf://, from a local double of the Hub, in a process of its own: variables are read at import."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hub
import pytest
from serving import ROOT, offline

from explorer.hub import fetch

FILES = ("spoken-digits.safetensors", "spoken-digits.md")


@pytest.fixture
def double() -> Iterator[hub.Hub]:
    with hub.running() as double:
        yield double


@pytest.fixture
def files() -> dict[str, bytes]:
    """A repository with a checkpoint, and files that are nobody's business here."""
    shipped = {name: (ROOT / "checkpoints" / name).read_bytes() for name in FILES}
    return {**shipped, "model.pkl": b"\0pickle", "code.py": b"print()", "config.json": b"{}"}


def listed(double: hub.Hub, home: Path, address: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "explorer", "list", "--json", "--checkpoints", address],
        cwd=ROOT,
        env={**offline(home), **double.environment(), **changes},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_repository_is_used_and_only_what_is_read_is_fetched(
    double: hub.Hub, files: dict[str, bytes], tmp_path: Path
) -> None:
    commit = double.put("models/me/voices", files)
    done = listed(double, tmp_path, "hf://me/voices")
    assert done.returncode == 0, done.stderr
    assert [card["name"] for card in json.loads(done.stdout)] == ["spoken-digits"]
    fetched = {path.name for path in (tmp_path / ".cache").glob(f"**/snapshots/{commit}/*")}
    assert fetched == set(FILES)


def test_what_was_fetched_once_works_without_the_hub(double: hub.Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    commit = double.put("models/me/voices", files)
    assert listed(double, tmp_path, "hf://me/voices").returncode == 0
    gone = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    for address in ("hf://me/voices", f"hf://me/voices@{commit}"):
        done = listed(double, tmp_path, address, **gone)
        assert done.returncode == 0, done.stderr
    assert listed(double, tmp_path / "another", "hf://me/voices", **gone).returncode == 2


def test_a_whole_commit_hash_asks_the_hub_nothing_once_it_is_here(
    double: hub.Hub, files: dict[str, bytes], tmp_path: Path
) -> None:
    commit = double.put("models/me/voices", files)
    for _ in range(2):
        double.asked.clear()
        assert listed(double, tmp_path, f"hf://me/voices@{commit}").returncode == 0
    assert double.asked == []


def test_a_copy_that_was_changed_is_refused(double: hub.Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    commit = double.put("models/me/voices", files)
    assert listed(double, tmp_path, f"hf://me/voices@{commit}").returncode == 0
    (copy,) = (tmp_path / ".cache").glob(f"**/snapshots/{commit}/*.safetensors")
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1
    copy.resolve().write_bytes(data)
    done = listed(double, tmp_path, f"hf://me/voices@{commit}")
    assert done.returncode == 2
    assert "is not the file that the Hub named" in done.stderr


@pytest.mark.parametrize("address", ["hf://me/nothing", "hf://me/voices@nothing", "hf://me/empty"])
def test_what_is_not_there_is_one_line(double: hub.Hub, files: dict[str, bytes], tmp_path: Path, address: str) -> None:
    double.put("models/me/voices", files)
    double.put("models/me/empty", {"README.md": b"nothing"})
    done = listed(double, tmp_path, address)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "address", ["hf://", "hf://me", "hf://me/a/b", "hf://me/a@", "hf://me/a b", "hf://../..", "/a"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"hf://|[Rr]epo"):
        fetch(address)

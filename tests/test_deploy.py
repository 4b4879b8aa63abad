"""`python -m explorer deploy`, against a local double of the Hub."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hub
import pytest
from serving import ROOT, offline
from toy import write

from explorer import deploy
from explorer.__main__ import main


@pytest.fixture
def double() -> Iterator[hub.Hub]:
    with hub.running() as double:
        yield double


def deployed(double: hub.Hub, home: Path, *argv: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user does: huggingface_hub reads its variables when it is imported."""
    return subprocess.run(
        [sys.executable, "-m", "explorer", "deploy", *argv],
        cwd=ROOT,
        env={**offline(home), **double.environment(), **changes},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_space_gets_what_it_needs_with_binary_files_stored_as_such(double: hub.Hub, tmp_path: Path) -> None:
    done = deployed(double, tmp_path, "me/app", "--torch-index", "https://example.org/cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{double.url}/spaces/me/app"
    assert double.created["spaces/me/app"]["sdk"] == "gradio"
    files = double.repositories["spaces/me/app"]
    for name in ("README.md", "app.py", "explorer/ui/page/player.js", "explorer/sound/samples/hard-C2.ogg"):
        assert files[name] == (ROOT / name).read_bytes()
    for path in (ROOT / "checkpoints").rglob("*.safetensors"):
        assert files[path.relative_to(ROOT).as_posix()] == path.read_bytes()
    assert b"--extra-index-url https://example.org/cpu\n" in files["requirements.txt"]
    assert {name.split("/")[0] for name in files} == {*deploy.ENTRY, "explorer", "checkpoints", ".gitattributes"}
    assert sum(map(len, files.values())) < 100_000_000


def test_a_second_deployment_replaces_the_first_and_deletes_what_is_gone(double: hub.Hub, tmp_path: Path) -> None:
    write(tmp_path / "one", "first")
    write(tmp_path / "two", "second")
    for folder in ("one", "two"):
        done = deployed(double, tmp_path, "me/app", "--checkpoints", str(tmp_path / folder))
        assert done.returncode == 0, done.stderr
    files = double.repositories["spaces/me/app"]
    assert [name for name in files if name.startswith("checkpoints/")] == ["checkpoints/second.safetensors"]
    assert ".gitattributes" in files


def test_a_dry_run_asks_the_hub_nothing(double: hub.Hub, tmp_path: Path) -> None:
    done = deployed(double, tmp_path, "me/app", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "app.py" in done.stdout
    assert double.asked == []


@pytest.mark.parametrize(
    ("changes", "said"), [({"HF_TOKEN": "wrong"}, "401"), ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be used")]
)
def test_a_refusal_or_no_answer_is_one_line(
    double: hub.Hub, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    done = deployed(double, tmp_path, "me/app", **changes)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name", ["app", "a/b/c", "me/../app", "me/", "/app", "me/a b", "https://huggingface.co/me/app"]
)
def test_a_name_that_no_space_can_have_is_refused(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["deploy", name, "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_more_than_a_space_takes_is_refused_and_named(tmp_path: Path) -> None:
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.truncate(deploy.MAX_BYTES)
    with pytest.raises(ValueError, match=r"largest is checkpoints/large\.safetensors"):
        deploy.collect(tmp_path)


def test_the_requirements_of_a_cpu_space_name_the_cpu_build() -> None:
    lines = deploy.for_cpu((ROOT / "requirements.txt").read_text(encoding="utf-8"), "https://example.org/cpu")
    first, *rest = lines.decode().splitlines()
    assert first == "--extra-index-url https://example.org/cpu"
    assert [line for line in rest if line.startswith("torch")] == ["torch==2.13.0+cpu"]
    with pytest.raises(ValueError, match="not the address"):
        deploy.for_cpu("torch==1\n", "https://example.org/\n--pre")

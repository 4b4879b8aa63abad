"""Packaging: the wheel runs from any folder, and an editable install uses the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_architecture import ROOT, normalized, required

from explorer.engine import Engine
from explorer.files import formats
from explorer.recipe import Recipe

TIMEOUT_SECONDS = 300  # for one command, on a busy machine
# Uses the build tools of this environment, and no network.
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command, run without environment variables that lead to the checkout."""
    done = subprocess.run(
        command, cwd=cwd, env={"PATH": os.defpath}, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_environment(folder: Path) -> Path:
    """The Python of a new virtual environment that sees only the libraries installed here."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    libraries = {str(path) for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages")}
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)), encoding="utf-8")
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", *OFFLINE, "--wheel-dir", folder, ROOT, cwd=folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment in which the wheel is installed."""
    python = new_environment(tmp_path_factory.mktemp("fresh") / "environment")
    run(sys.executable, "-m", "pip", "--python", python, "install", *OFFLINE, wheel, cwd=wheel.parent)
    return python.parent


@pytest.mark.slow
def test_the_installed_command_lists_the_shipped_checkpoints_from_any_folder(scripts: Path, tmp_path: Path) -> None:
    rows = run(scripts / "explorer", "list", cwd=tmp_path).splitlines()[1:]
    assert [row.split()[0] for row in rows] == Engine().names()


@pytest.mark.slow
def test_the_installed_command_renders_the_bits_that_the_checkout_renders(scripts: Path, tmp_path: Path) -> None:
    engine = Engine()
    for name in {card.family: card.name for card in engine.cards()}.values():  # one of each family
        run(scripts / "explorer", "render", name, "--seeds", "0", "--out", tmp_path / "installed", cwd=tmp_path)
        recipe = engine.complete(Recipe(name, seed=0)).recipe
        formats.save(engine.render(recipe), recipe, tmp_path / "checkout" / f"{formats.stem(engine, recipe)}.wav")
    files = sorted((tmp_path / "checkout").iterdir())
    assert [path.name for path in sorted((tmp_path / "installed").iterdir())] == [path.name for path in files]
    assert [path.name for path in files if path.read_bytes() != (tmp_path / "installed" / path.name).read_bytes()] == []


@pytest.mark.slow
def test_the_page_of_the_installed_app_can_be_built(scripts: Path, tmp_path: Path) -> None:
    program = "import explorer.ui.app, explorer.ui.panels as panels; print(panels.__file__)"
    folder = Path(run(scripts / "python", "-I", "-c", program, cwd=tmp_path).strip()).parent
    assert ROOT not in folder.parents
    files = sorted((ROOT / "explorer" / "ui" / "page").iterdir())
    assert {".js", ".html", ".css"} <= {path.suffix for path in files}
    assert [path.name for path in files if path.read_bytes() != (folder / "page" / path.name).read_bytes()] == []


def test_the_installed_trainers_write_into_the_folder_at_hand_and_not_into_the_package(
    scripts: Path, tmp_path: Path
) -> None:
    program = (
        "from training.__main__ import _parser\n"
        "for command in ('export run --name x', 'snapshots run --name x', 'vocoder --out run --name x'):\n"
        "    print(_parser().parse_args(command.split()).checkpoints)"
    )
    assert run(scripts / "python", "-I", "-c", program, cwd=tmp_path).split() == ["checkpoints"] * 3


def test_a_checkpoint_of_ones_own_is_found_by_name_before_a_shipped_one(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(
        ROOT / "checkpoints" / "spoken-digits.safetensors", tmp_path / "checkpoints" / "maestro-piano.safetensors"
    )
    program = (
        "from training.__main__ import _checkpoint, _parser\n"
        "for name in ('maestro-piano', 'spoken-digits'):\n"
        "    args = _parser().parse_args(['evaluate', name, '--data', 'x'])\n"
        "    print(_checkpoint(args, name).is_absolute())"
    )
    assert run(scripts / "python", "-I", "-c", program, cwd=tmp_path).split() == ["False", "True"]


@pytest.mark.parametrize("command", ["explorer", "training"])
def test_the_help_of_an_installed_command_uses_its_name(scripts: Path, tmp_path: Path, command: str) -> None:
    output = run(scripts / command, "--help", cwd=tmp_path)
    assert output.startswith(f"usage: {command} ")
    assert f"\n  {command} " in output  # the examples
    assert f"  python -m {command}" not in output
    assert run(scripts / "python", "-I", "-m", command, "--help", cwd=tmp_path).startswith(
        f"usage: python -m {command} "
    )


def test_the_wheel_carries_every_committed_checkpoint_and_sample(wheel: Path) -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z", "checkpoints", "explorer", "training"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    ).stdout
    committed = [name for name in names.split("\0") if name and (ROOT / name).exists()]
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    wanted = {f"explorer/{name}" if name.startswith("checkpoints/") else name for name in committed}
    assert wanted - carried == set()
    assert {"explorer/py.typed", "training/py.typed"} <= carried
    assert {name.split("/")[0] for name in carried if ".dist-info/" not in name} == {"explorer", "training"}


def test_the_wheel_requires_what_the_requirements_files_name(metadata: Message) -> None:
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    names = {
        extra: {
            requirement.name
            for requirement in requirements
            if requirement.marker and requirement.marker.evaluate({"extra": extra})
        }
        for extra in ("train", "dev")
    }
    app = {requirement.name for requirement in requirements if requirement.marker is None}
    assert app == required(ROOT / "requirements.txt")
    assert names["train"] == required(ROOT / "requirements-train.txt")
    assert app | names["dev"] == required(ROOT / "requirements-dev.txt")
    assert [str(requirement.specifier) for requirement in requirements if requirement.name == "torch"] == ["==2.13.0"]


@pytest.mark.slow
def test_an_editable_install_uses_the_checkpoints_of_the_checkout(tmp_path: Path) -> None:
    python = new_environment(tmp_path / "environment")
    run(sys.executable, "-m", "pip", "--python", python, "install", *OFFLINE, "-e", ROOT, cwd=tmp_path)
    program = "from explorer.shelf import DEFAULT_FOLDER; print(DEFAULT_FOLDER)"
    assert Path(run(python, "-I", "-c", program, cwd=tmp_path).strip()) == ROOT / "checkpoints"


@pytest.mark.slow
def test_the_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    program = "import sys, hatchling.build; print(hatchling.build.build_sdist(sys.argv[1]))"
    name = run(sys.executable, "-c", program, tmp_path, cwd=ROOT).split()[-1]
    with tarfile.open(tmp_path / name) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / name.removesuffix(".tar.gz")
    assert (source / "tests" / "test_packaging.py").is_file()
    run(sys.executable, "-m", "pip", "wheel", *OFFLINE, "--wheel-dir", tmp_path / "again", source, cwd=tmp_path)
    (again,) = (tmp_path / "again").iterdir()
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {entry.filename: entry.CRC for entry in first.infolist()} == {
            entry.filename: entry.CRC for entry in second.infolist()
        }


def test_the_lock_file_has_a_hash_for_every_version_and_satisfies_the_requirements() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked: dict[str, str] = {}
    for entry in re.split(r"\n(?=[\w])", re.sub(r"(?m)^#.*\n", "", text)):
        line, *hashes = entry.replace("\\\n", " ").split(" --hash=")
        name, version = line.strip().split("==")
        locked[normalized(name)] = version.strip()
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", found) for found in hashes)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            wanted = Requirement(line.partition("#")[0])
            assert wanted.specifier.contains(locked[normalized(wanted.name)])
    assert [name for name in locked if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert locked["torch"].endswith("+cpu")

"""The arrows between the rooms of the house, read from the source, and what must never be committed."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each room, and what it may import of this repository. The longest name that fits a module is its room.
ARROWS: dict[str, set[str]] = {
    "explorer.atomic": set(),
    "explorer.latent": set(),
    "explorer.recipe": {"explorer.latent"},
    "explorer.sound": {"explorer.sound"},
    "explorer.generators": {"explorer.generators", "explorer.latent", "explorer.sound"},
    "explorer.measures": {"explorer.sound"},
    "explorer.directions": {"explorer.generators", "explorer.latent", "explorer.measures"},
    "explorer.checkpoint": {"explorer.atomic", "explorer.directions", "explorer.generators"},
    "explorer.shelf": {"explorer.checkpoint", "explorer.sound.base"},
    "explorer.judge": {"explorer.atomic", "explorer.checkpoint", "explorer.sound"},
    "explorer.model": {
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.generators",
        "explorer.judge",
        "explorer.recipe",
        "explorer.sound",
    },
    "explorer.engine": {
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.judge",
        "explorer.model",
        "explorer.recipe",
        "explorer.shelf",
        "explorer.sound.base",
    },
    "explorer.files": {
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.engine",
        "explorer.files",
        "explorer.measures",
        "explorer.recipe",
        "explorer.sound",
    },
    "explorer.ui": {"explorer"},
    "explorer.__main__": {"explorer"},
    "explorer": {
        "explorer.checkpoint",
        "explorer.engine",
        "explorer.latent",
        "explorer.model",
        "explorer.recipe",
        "explorer.sound",
    },
    # Floors of the trainers, from the ground up: numbers and processes, objectives, runs and the loop, what is trained,
    # data, families, evaluation, commands.
    "training": set(),
    "training.options": set(),
    "training.parallel": set(),
    "training.initialize": set(),
    "training.latents": {"explorer.latent", "training.parallel"},
    "training.objective": {"explorer.generators", "training.parallel"},
    "training.runs": {"explorer.atomic", "training.objective", "training.parallel"},
    "training.loop": {"training.objective", "training.parallel", "training.runs"},
    "training.machine": {"training.objective", "training.parallel", "training.runs"},
    "training.task": {"explorer.generators", "explorer.sound", "training.options"},
    "training.wgan_gp": {
        "explorer.generators",
        "training.latents",
        "training.objective",
        "training.parallel",
        "training.runs",
        "training.task",
    },
    "training.data": {"explorer.atomic", "explorer.checkpoint", "explorer.sound", "training.data", "training.task"},
    "training.vocoder": {
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.sound",
        "training.data",
        "training.objective",
        "training.options",
        "training.runs",
        "training.task",
    },
    "training.families": {
        "explorer.checkpoint",
        "explorer.generators",
        "explorer.sound",
        "training.data",
        "training.families",
        "training.initialize",
        "training.latents",
        "training.options",
        "training.parallel",
        "training.task",
    },
    "training.transfer": {
        "explorer.shelf",
        "explorer.checkpoint",
        "explorer.generators",
        "training.runs",
        "training.wgan_gp",
    },
    "training.snapshot": {
        "explorer.shelf",
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.files.figures",
        "explorer.files.formats",
        "explorer.generators",
        "explorer.sound",
        "training.objective",
    },
    "training.export": {
        "explorer.shelf",
        "explorer.sound.base",
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.generators",
        "training.families",
        "training.runs",
        "training.task",
    },
    "training.evaluation": {
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.generators",
        "explorer.judge",
        "explorer.latent",
        "explorer.measures",
        "explorer.shelf",
        "explorer.sound",
        "training.data",
        "training.evaluation",
        "training.families",
        "training.loop",
        "training.objective",
        "training.options",
        "training.runs",
        "training.task",
        "training.vocoder",
    },
    "training.commands": {
        "explorer.shelf",
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.files.figures",
        "explorer.generators",
        "explorer.judge",
        "explorer.sound",
        "training",
    },
    "training.__main__": {"explorer.shelf", "explorer.checkpoint", "training"},
    "app": {"explorer"},
}
MAY_OPEN_THE_UI = {"app", "explorer.__main__"}


def modules() -> dict[str, Path]:
    paths = [*ROOT.glob("explorer/**/*.py"), *ROOT.glob("training/**/*.py"), *ROOT.glob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Every module named by an import statement anywhere in a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str:
    return max((room for room in ARROWS if within(module, room)), key=len)


def allowed(module: str, target: str) -> bool:
    room = room_of(module)
    if within(target, "explorer.ui") and room != "explorer.ui" and module not in MAY_OPEN_THE_UI:
        return False
    return any(within(target, known) for known in ARROWS[room])


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_follow_the_arrows(module: str) -> None:
    ours = [name for name in imports(MODULES[module]) if name.split(".")[0] in ("explorer", "training", "app", "tests")]
    assert [name for name in ours if not allowed(module, name)] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_ui_imports_gradio(module: str) -> None:
    names = {name.split(".")[0] for name in imports(MODULES[module])}
    assert "gradio" not in names or room_of(module) == "explorer.ui"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_uses_the_global_state_of_pyplot(module: str) -> None:
    assert "matplotlib.pyplot" not in set(imports(MODULES[module]))


@pytest.mark.parametrize("family", ["pianogan", "spectogan"])
def test_no_file_of_the_app_names_a_family(family: str) -> None:
    files = [*ROOT.glob("explorer/ui/*.*"), *ROOT.glob("explorer/ui/page/*.*")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    assert [path.name for path, text in texts.items() if family in text.lower()] == []


@pytest.mark.parametrize("module", ["commands", "export", "loop", "objective", "runs", "snapshot", "task", "wgan_gp"])
def test_what_the_trainers_share_names_no_family(module: str) -> None:
    text = (ROOT / "training" / f"{module}.py").read_text(encoding="utf-8").lower()
    assert [family for family in ("pianogan", "spectogan") if family in text] == []


@pytest.mark.parametrize(
    ("rooms", "file"),
    [(("explorer", "app"), "requirements.txt"), (("explorer", "app", "training"), "requirements-dev.txt")],
)
def test_what_is_imported_is_required(rooms: tuple[str, ...], file: str) -> None:
    homes = packages_distributions()
    used = (
        {
            name.split(".")[0]
            for module, path in MODULES.items()
            if module.split(".")[0] in rooms
            for name in imports(path)
        }
        - {"explorer", "training", "app"}
        - sys.stdlib_module_names
    )
    wanted = {plain(homes.get(name, [name])[0]) for name in used}
    # matplotlib and gradio bring pillow, gradio starlette; pesq needs a C compiler, so it is used only where it is.
    assert wanted - required(ROOT / file) - {"pillow", "starlette", "pesq"} == set()


def required(file: Path) -> set[str]:
    names: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names |= required(file.parent / line[3:])
        elif match := re.match(r"[\w.-]+", line):
            names.add(plain(match.group()))
    return names


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_rendering_loads_neither_gradio_nor_the_trainers() -> None:
    program = "import sys, explorer.engine; print(sorted({'gradio', 'training', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_training_from_a_prepared_cache_needs_no_library_for_sound() -> None:
    # A bare GPU machine has torch, numpy, safetensors, tqdm and tensorboard.
    program = (
        "import sys, training.commands, training.families, training.snapshot, training.export; print(sorted("
        "{'librosa', 'soundfile', 'symusic', 'pretty_midi', 'matplotlib', 'scipy', 'gradio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def tracked_texts() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    endings = {".py", ".md", ".txt", ".toml", ".ipynb", ".json", ".css", ".js", ".html", ".yml", ".yaml", ".sh", ""}
    paths = [ROOT / name for name in names.split("\0") if name]
    return [path for path in paths if path.suffix in endings and path.is_file()]


def test_nothing_committed_names_a_path_of_a_machine() -> None:
    machine = re.compile(r"(?<![\w.])/(?:work|root|home|Users|mnt|opt/[a-z]+)/[\w.]|[A-Z]:\\\\Users", re.ASCII)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_texts()
        if (match := machine.search(path.read_text(encoding="utf-8", errors="replace")))
    ]
    assert found == []


def test_no_file_is_too_large_to_clone_lightly() -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in names.split("\0") if name and (ROOT / name).exists()}
    assert {name: size for name, size in sizes.items() if size > 20_000_000} == {}


def test_notebooks_are_committed_without_outputs() -> None:
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == [], path


def test_the_page_on_the_architecture_names_every_room() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {".".join(room.split(".")[:2]) for room in ARROWS} - {"app", "explorer", "explorer.__main__"}
    assert [room for room in sorted(rooms) if f"`{room}`" not in page] == []

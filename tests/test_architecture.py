"""Which package imports which, read from the source, and what must never be committed."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from explorer import generators

ROOT = Path(__file__).parent.parent

# What each package or module may import of this repository. The longest name that contains a module applies to it.
MAY_IMPORT: dict[str, set[str]] = {
    "explorer.atomic": set(),
    "explorer.deploy": {"explorer.hub"},
    "explorer.hub": set(),
    "explorer.export_onnx": {"explorer.atomic", "explorer.generators"},
    "explorer.latent": set(),
    "explorer.recipe": {"explorer.latent"},
    "explorer.kit": {"explorer.recipe"},
    "explorer.song": {"explorer.recipe"},
    "explorer.tracing": set(),
    "explorer.sound": {"explorer.sound"},
    "explorer.generators": {"explorer.generators", "explorer.latent", "explorer.sound"},
    "explorer.measures": {"explorer.sound"},
    "explorer.directions": {"explorer.generators", "explorer.latent", "explorer.measures"},
    "explorer.checkpoint": {"explorer.atomic", "explorer.directions", "explorer.generators"},
    "explorer.shelf": {"explorer.checkpoint", "explorer.sound"},
    "explorer.judge": {"explorer.atomic", "explorer.checkpoint", "explorer.sound"},
    "explorer.model": {
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.generators",
        "explorer.judge",
        "explorer.latent",
        "explorer.recipe",
        "explorer.sound",
    },
    "explorer.engine": {
        "explorer.generators",
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.judge",
        "explorer.model",
        "explorer.recipe",
        "explorer.shelf",
        "explorer.sound.base",
        "explorer.tracing",
    },
    "explorer.files": {
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.engine",
        "explorer.files",
        "explorer.kit",
        "explorer.measures",
        "explorer.model",
        "explorer.recipe",
        "explorer.shelf",
        "explorer.song",
        "explorer.sound",
    },
    "explorer.ui": {"explorer"},
    "explorer.__main__": {"explorer"},
    "explorer": {
        "explorer.checkpoint",
        "explorer.engine",
        "explorer.kit",
        "explorer.latent",
        "explorer.model",
        "explorer.recipe",
        "explorer.sound",
    },
    # Layers of the trainers, from the lowest: options and processes, objectives, runs and the loop, tasks, data,
    # families, evaluation, commands.
    "training": set(),
    "training.options": set(),
    "training.parallel": set(),
    "training.latents": {"explorer.latent", "training.parallel"},
    "training.networks": {"training.parallel"},
    "training.objective": {"explorer.generators", "training.parallel"},
    "training.runs": {"explorer.atomic", "training.objective", "training.parallel"},
    "training.loop": {"training.objective", "training.parallel", "training.runs"},
    "training.machine": {"training.objective", "training.parallel", "training.runs"},
    "training.task": {
        "training.objective",
        "explorer.generators",
        "explorer.sound",
        "training.options",
        "training.parallel",
        "training.runs",
    },
    "training.denoising": {
        "explorer.generators",
        "training.objective",
        "training.options",
        "training.parallel",
        "training.task",
    },
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
        "training.denoising",
        "training.wgan_gp",
        "explorer.checkpoint",
        "explorer.generators",
        "explorer.sound",
        "training.data",
        "training.families",
        "training.latents",
        "training.networks",
        "training.options",
        "training.parallel",
        "training.runs",
        "training.task",
    },
    "training.transfer": {
        "training.objective",
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
        "explorer.latent",
        "explorer.sound",
        "training.objective",
    },
    "training.export": {
        "explorer.shelf",
        "explorer.sound.base",
        "explorer.atomic",
        "explorer.checkpoint",
        "explorer.directions",
        "explorer.engine",
        "explorer.files.levels",
        "explorer.generators",
        "training.families",
        "training.runs",
        "training.task",
    },
    "training.push": {
        "explorer.checkpoint",
        "explorer.files.figures",
        "explorer.hub",
        "explorer.shelf",
        "training.export",
        "training.runs",
        "training.snapshot",
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
    "training.__main__": {"explorer.hub", "explorer.shelf", "explorer.checkpoint", "training"},
    "app": {"explorer"},
}
MAY_IMPORT_THE_UI = {"app", "explorer.__main__"}
FAMILIES = tuple(generators.FAMILIES)  # without the toys, which are registered when tests run


def modules() -> dict[str, Path]:
    """Path of every module of the repository, by its dotted name."""
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


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def package_of(module: str) -> str:
    return max((package for package in MAY_IMPORT if is_inside(module, package)), key=len)


def allowed(module: str, target: str) -> bool:
    package = package_of(module)
    if is_inside(target, "explorer.ui") and package != "explorer.ui" and module not in MAY_IMPORT_THE_UI:
        return False
    return any(is_inside(target, known) for known in MAY_IMPORT[package])


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_package_may_import(module: str) -> None:
    ours = [name for name in imports(MODULES[module]) if name.split(".")[0] in ("explorer", "training", "app", "tests")]
    assert [name for name in ours if not allowed(module, name)] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_ui_imports_gradio(module: str) -> None:
    names = {name.split(".")[0] for name in imports(MODULES[module])}
    assert "gradio" not in names or package_of(module) == "explorer.ui"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_uses_the_global_state_of_pyplot(module: str) -> None:
    assert "matplotlib.pyplot" not in set(imports(MODULES[module]))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_file_of_the_app_names_a_family(family: str) -> None:
    files = [*ROOT.glob("explorer/ui/*.*"), *ROOT.glob("explorer/ui/page/*.*")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    assert [path.name for path, text in texts.items() if family in text.lower()] == []


@pytest.mark.parametrize("module", ["commands", "export", "loop", "objective", "runs", "snapshot", "task", "wgan_gp"])
def test_shared_modules_of_the_trainers_name_no_family(module: str) -> None:
    text = (ROOT / "training" / f"{module}.py").read_text(encoding="utf-8").lower()
    assert [family for family in FAMILIES if family in text] == []


@pytest.mark.parametrize(
    ("packages", "file"),
    [(("explorer", "app"), "requirements.txt"), (("explorer", "app", "training"), "requirements-dev.txt")],
)
def test_imported_libraries_are_in_the_requirements(packages: tuple[str, ...], file: str) -> None:
    distributions = packages_distributions()
    used = (
        {
            name.split(".")[0]
            for module, path in MODULES.items()
            if module.split(".")[0] in packages
            for name in imports(path)
        }
        - {"explorer", "training", "app"}
        - sys.stdlib_module_names
    )
    wanted = {normalized(distributions.get(name, [name])[0]) for name in used}
    # matplotlib and gradio bring pillow, gradio starlette; pesq needs a C compiler, so it is used only where it is.
    assert wanted - required(ROOT / file) - {"pillow", "starlette", "pesq"} == set()


def required(file: Path) -> set[str]:
    names: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names |= required(file.parent / line[3:])
        elif match := re.match(r"[\w.-]+", line):
            names.add(normalized(match.group()))
    return names


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_rendering_loads_neither_gradio_nor_the_trainers() -> None:
    program = "import sys, explorer.engine; print(sorted({'gradio', 'training', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_training_from_a_prepared_cache_needs_no_audio_library() -> None:
    # A bare GPU machine has torch, numpy, safetensors, tqdm and tensorboard.
    program = (
        "import sys, training.commands, training.families, training.snapshot, training.export; print(sorted("
        "{'librosa', 'soundfile', 'symusic', 'pretty_midi', 'matplotlib', 'scipy', 'numba', 'gradio'}"
        " & set(sys.modules)))"
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


def test_no_committed_text_holds_a_path_of_a_developers_machine() -> None:
    machine = re.compile(r"(?<![\w.])/(?:work|root|home|Users|mnt|opt/[a-z]+)/[\w.]|[A-Z]:\\\\Users", re.ASCII)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_texts()
        if (match := machine.search(path.read_text(encoding="utf-8", errors="replace")))
    ]
    assert found == []


def test_no_committed_file_exceeds_20_megabytes() -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in names.split("\0") if name and (ROOT / name).exists()}
    assert {name: size for name, size in sizes.items() if size > 20_000_000} == {}


def test_notebooks_are_committed_without_outputs() -> None:
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == [], path


def test_architecture_md_names_every_package() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = {".".join(package.split(".")[:2]) for package in MAY_IMPORT} - {"app", "explorer", "explorer.__main__"}
    assert [package for package in sorted(packages) if f"`{package}`" not in page] == []

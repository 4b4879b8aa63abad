"""The committed notebooks run from a fresh kernel, and define no functions or classes."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
TIMEOUT_SECONDS = 600  # for one cell, on a busy machine; tests/benchmarks/bench_notebooks.py measures their duration


def code(name: str) -> list[str]:
    cells = nbformat.read(FOLDER / name, as_version=4).cells
    return [
        "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        for cell in cells
        if cell.cell_type == "code"
    ]


def test_there_are_two_notebooks() -> None:
    assert NAMES == ["explore.ipynb", "train.ipynb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_defines_no_functions_or_classes(name: str) -> None:
    defined = [
        node
        for source in code(name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
    ]
    assert defined == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENT_DATA", raising=False)
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=TIMEOUT_SECONDS, resources={"metadata": {"path": str(FOLDER)}}).execute()

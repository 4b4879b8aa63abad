"""The notebooks run from a fresh kernel, as committed, and define nothing of their own."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
PATIENCE_SECONDS = 600  # for one cell, on a busy machine; tests/benchmarks/bench_notebooks.py says how long they take


def code(name: str) -> list[str]:
    cells = nbformat.read(FOLDER / name, as_version=4).cells
    return [
        "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        for cell in cells
        if cell.cell_type == "code"
    ]


def test_both_notebooks_are_here() -> None:
    assert NAMES == ["explore.ipynb", "train.ipynb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_defines_nothing(name: str) -> None:
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
    NotebookClient(notebook, timeout=PATIENCE_SECONDS, resources={"metadata": {"path": str(FOLDER)}}).execute()

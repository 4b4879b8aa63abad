"""How long the notebooks take: python -m tests.benchmarks.bench_notebooks

Prints the CPU time of each notebook on one thread, which is also its duration on an idle machine. To imitate a CPU with
AVX2 alone, set ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2.
"""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("LATENT_DATA", None)
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell("import time; print(time.process_time())"))
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(FOLDER)}}).execute()
        print(f"{path.name}: {float(notebook.cells[-1].outputs[0].text):.0f} s of CPU")


if __name__ == "__main__":
    main()

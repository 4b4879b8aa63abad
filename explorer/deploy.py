"""Puts the app on a Hugging Face Space: the files that one needs, and no others, in one commit.

The Hub refuses a `git push` with binary files outside its large-file storage, whatever their size. `huggingface_hub`
stores them there.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from explorer import hub

MAX_BYTES = 100_000_000  # of all files; a Space is fetched whole at each of its starts
ROOT = Path(__file__).resolve().parent.parent
ENTRY = ("README.md", "LICENSE", "app.py", "requirements.txt")  # the README's first lines configure the Space
CHECKPOINT_FILES = (".safetensors", ".md", ".json", ".jsonl")


@dataclass(frozen=True)
class Deployment:
    """The files of a Space by their paths there, each as a file of this machine or as its bytes."""

    files: dict[str, Path | bytes]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            path: len(content) if isinstance(content, bytes) else content.stat().st_size
            for path, content in self.files.items()
        }


def collect(checkpoints: Path, torch_index: str = "") -> Deployment:
    """Collects the files of a Space: the entry, the package `explorer`, and a folder of checkpoints.

    Args:
        torch_index: address of a package index with PyTorch's builds for CPUs. Without it, pip installs the default
            build, which for Linux brings gigabytes of CUDA.
    Raises:
        ValueError: if they have more than MAX_BYTES, or this is not the repository; a wheel has no entry.
    """
    if missing := [name for name in ENTRY if not (ROOT / name).is_file()]:
        raise ValueError(f"a Space is made from the repository, and {', '.join(missing)} is not in {ROOT}")
    files: dict[str, Path | bytes] = {name: ROOT / name for name in ENTRY}
    for path in sorted(ROOT.glob("explorer/**/*")):
        if path.is_file() and not _hidden(path, ROOT) and path.suffix != ".pyc":
            files[path.relative_to(ROOT).as_posix()] = path
    for path in sorted(checkpoints.glob("**/*")):
        if path.is_file() and not _hidden(path, checkpoints) and path.suffix in CHECKPOINT_FILES:
            files[f"checkpoints/{path.relative_to(checkpoints).as_posix()}"] = path
    if torch_index:
        files["requirements.txt"] = for_cpu((ROOT / "requirements.txt").read_text(encoding="utf-8"), torch_index)
    deployment = Deployment(files)
    total, largest = sum(deployment.sizes.values()), max(deployment.sizes, key=deployment.sizes.__getitem__)
    if total > MAX_BYTES:
        raise ValueError(
            f"these files have {total / 1e6:.0f} MB, and a Space takes at most {MAX_BYTES / 1e6:.0f}: the largest is "
            f"{largest}; choose a folder with fewer checkpoints by --checkpoints"
        )
    return deployment


def for_cpu(requirements: str, torch_index: str) -> bytes:
    """Requirements with PyTorch's build for CPUs, from its own index."""
    if re.search(r"[\s\x00-\x1f]", torch_index):
        raise ValueError(f"{torch_index!r} is not the address of a package index")
    text, found = re.subn(r"(?m)^(torch==[\d.]+)$", r"\1+cpu", requirements)
    if not found:
        raise ValueError("requirements.txt pins no version of torch")
    return f"--extra-index-url {torch_index}\n{text}".encode()


def upload(deployment: Deployment, space: str) -> str:
    """Makes the Space USER/NAME if there is none, and commits the files; others that it had are deleted.

    Returns:
        The Space's address.
    Raises:
        OSError, ValueError: as `hub.publish`.
    """
    files, everything = deployment.files, lambda path: True
    done = hub.publish(space, files, "Deploy Latent Explorer", kind="space", space_sdk="gradio", replaced=everything)
    return done.url


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)

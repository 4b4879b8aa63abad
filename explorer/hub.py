"""Checkpoints from the Hugging Face Hub: hf://USER/REPO, or hf://USER/REPO@REVISION for one state of it.

The files are kept where `huggingface_hub` keeps them, so that a revision is fetched once and then works offline. Only
what this package reads is fetched, never a pickle or code.
"""

import hashlib
import re
from pathlib import Path

PREFIX = "hf://"
ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,200}))?", re.ASCII)
FILES = ("*.safetensors", "*.md", "*.gallery.json", "snapshots/*/*.safetensors", "snapshots/*/metrics.jsonl")
SHA256 = re.compile("[0-9a-f]{64}")


def fetch(address: str) -> Path:
    """The folder of checkpoints of a repository, fetched unless it is here.

    Args:
        address: hf://USER/REPO[@REVISION]. A revision that is a whole commit hash stays what it is for ever; a branch
            or tag, by default "main", is looked up each time, or taken as it was last if the Hub cannot be reached.
    Raises:
        ValueError: if this is no such address, there is no checkpoint, or a file is not the one that the Hub named.
        OSError: if the repository or its revision is not there, or not to be had.
    """
    from huggingface_hub import snapshot_download

    match = ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(
            f"{address!r:.200} is no address of checkpoints: give hf://USER/REPO or hf://USER/REPO@REVISION"
        )
    try:
        folder = Path(snapshot_download(match["repo"], revision=match["revision"], allow_patterns=list(FILES)))
    except (OSError, ValueError):
        raise
    except Exception as error:  # of whichever HTTP library huggingface_hub has
        raise OSError(f"{address} cannot be fetched: {error!r}") from None
    paths = sorted(folder.glob("**/*.safetensors"))
    if not paths:
        raise ValueError(f"{address} has no checkpoint: no file there is called NAME.safetensors")
    for path in paths:
        _check(path)
    return folder


def _check(path: Path) -> None:
    """Raises ValueError unless a file has the hash that the Hub has named; the cache calls large files by it."""
    named = path.resolve().name
    if not SHA256.fullmatch(named):
        return  # a small file outside of the storage for large ones
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != named:
        raise ValueError(
            f"{path.name} is not the file that the Hub named: its copy here was changed; delete {path.resolve()}"
        )

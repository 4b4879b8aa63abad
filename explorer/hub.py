"""The Hugging Face Hub: checkpoints from hf://USER/REPO, or hf://USER/REPO@REVISION for one state of it; publishing.

The files are kept where `huggingface_hub` keeps them, so that a revision is fetched once and then works offline. Only
what this package reads is fetched, never a pickle or code.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "hf://"
ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,200}))?", re.ASCII)
FILES = ("*.safetensors", "*.md", "*.gallery.json", "snapshots/*/*.safetensors", "snapshots/*/metrics.jsonl")
SHA256 = re.compile("[0-9a-f]{64}")
KEPT = ".gitattributes"  # the Hub's own file in each repository


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


@dataclass(frozen=True)
class Published:
    """A commit on the Hub: the repository's address, and the commit's hash."""

    url: str
    commit: str


def publish(
    repo: str,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    kind: str,
    private: bool = False,
    revision: str | None = None,
    replaced: Callable[[str], bool],
    **settings: Any,
) -> Published:
    """Makes the repository USER/NAME if there is none, and commits files to it, all or none.

    Uses the token that `hf auth login` has stored, or the environment variable HF_TOKEN.

    Args:
        files: by their paths in the repository, each as a file of this machine or as its bytes.
        kind: "model" or "space".
        private: for a repository that is made.
        revision: the branch, made if there is none; None for the main one.
        replaced: whether a file that the repository has, and that is not among `files`, is deleted.
        settings: for a repository that is made.
    Raises:
        OSError, ValueError: if the Hub refuses it or does not answer.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    try:
        url = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True, **settings)
        if revision is not None:
            api.create_branch(repo, repo_type=kind, branch=revision, exist_ok=True)
        there = set(api.list_repo_files(repo, repo_type=kind, revision=revision)) - files.keys() - {KEPT}
        done = api.create_commit(
            repo,
            repo_type=kind,
            revision=revision,
            operations=[
                *(CommitOperationAdd(path, content) for path, content in files.items()),
                *(CommitOperationDelete(path) for path in sorted(there) if replaced(path)),
            ],
            commit_message=message,
        )
    except (OSError, ValueError):  # what the Hub says
        raise
    except Exception as error:  # of whichever HTTP library huggingface_hub has
        raise OSError(f"the Hub at {api.endpoint} cannot be used: {error!r}") from None
    return Published(str(url), done.oid)


def check_name(name: str, kind: str) -> None:
    """Raises ValueError unless a repository may be called so; `kind` is what the message calls it, "a Space"."""
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    if name.count("/") != 1:
        raise ValueError(f"{name!r} is not the name of {kind}: give USER/NAME")
    validate_repo_id(name)


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

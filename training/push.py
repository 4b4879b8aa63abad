"""Publishes a run on the Hugging Face Hub: its checkpoint, a model card and figures, in one commit.

`python -m explorer --checkpoints hf://USER/REPO` plays what was published.
"""

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from explorer import checkpoint, hub, shelf
from explorer.files import figures
from training.export import export, is_export
from training.runs import METRICS, TrainingError, read_metrics
from training.snapshot import SEEDS, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CARD = """
![Sounds of the seeds {first} to {last}, not picked by ear]({name}.sounds.png)
{curves}
`explorer --checkpoints hf://{repo}` plays it.
"""


def collect(folder: Path, repo: str, name: str, checkpoints: Path, license: str) -> dict[str, Path | bytes]:
    """The files of a model's repository, by their paths there.

    Exports the run as `checkpoints/NAME.safetensors`, unless it is there from the same step. Snapshots that lie beside
    it are published too. Its card, `NAME.md`, becomes the repository's, with metadata for the Hub and figures.

    Args:
        license: of the weights, as the Hub names it.
    Raises:
        TrainingError: if the run, or its state, cannot be read.
        CheckpointError: if the exported file is broken.
    """
    path = checkpoints / f"{name}.safetensors"
    if not is_export(folder, path):
        export(folder, name, checkpoints)
    files: dict[str, Path | bytes] = {path.name: path}
    kept = checkpoints / shelf.SNAPSHOTS / name
    for snapshot in (*kept.glob("*.safetensors"), *kept.glob(METRICS)):
        files[snapshot.relative_to(checkpoints).as_posix()] = snapshot
    generator, _ = checkpoint.load(path)
    sheet = figures.sheet(render(generator, SEEDS), [f"seed {seed}" for seed in SEEDS])
    files[f"{name}.sounds.png"] = _png(sheet)
    curves = ""
    with suppress(TrainingError):  # a run may end before its first losses
        files[f"{name}.curves.png"] = _png(figures.training_curves(read_metrics(folder)))
        curves = f"\n![Losses]({name}.curves.png)\n"
    text = (checkpoints / f"{name}.md").read_text(encoding="utf-8")
    text += CARD.format(first=SEEDS[0], last=SEEDS[-1], name=name, repo=repo, curves=curves)
    files["README.md"] = _card(text, shelf.read_card(path).family, name, license).encode()
    return files


def push(files: dict[str, Path | bytes], repo: str, name: str, private: bool, revision: str | None) -> str:
    """Commits the files; makes the repository and the branch if need be. Earlier files of NAME that are no longer there
    are deleted, other checkpoints of the repository stay.

    Returns:
        The address of exactly this state, hf://USER/REPO@COMMIT.
    Raises:
        OSError, ValueError: as `hub.publish`.
    """

    def replaced(path: str) -> bool:
        return path.startswith((f"{name}.", f"{shelf.SNAPSHOTS}/{name}/"))

    done = hub.publish(
        repo, files, f"Publish {name}", kind="model", private=private, revision=revision, replaced=replaced
    )
    return f"{hub.PREFIX}{repo}@{done.commit}"


def _card(text: str, family: str, name: str, license: str) -> str:
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        library_name="latent-explorer", tags=["audio", "gan", family], model_name=name, license=license
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def _png(figure: "Figure") -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80, metadata={"Software": None})
    return stream.getvalue()

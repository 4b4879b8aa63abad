"""The judge: a small classifier that says which label a sound is heard as.

`training/evaluation/judge.py` trains it on real recordings only, and no generator is trained with it, so its verdict on
generated sounds is independent.

A judge is a file of its own beside the checkpoints; it serves those of the same sample rate whose labels it knows.
"""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.atomic import write_tensors
from explorer.checkpoint import CheckpointError, config_from_dict, random_state_kept, read_metadata, read_tensors
from explorer.sound.mel import MelConfig, MelRepresentation

FORMAT = "word-judge/1"
MEASURED = ("centres", "precision", "reach")  # a file without them is of a judge that names everything
FEATURES = 64  # few enough for a covariance of full rank from some hundred recordings


class Judge(nn.Module):
    """Four strided convolutions on a log-mel, a mean over time, two linear layers.

    A classifier names anything, even noise. So the judge also knows how far from the features of their label its
    recordings lie (Mahalanobis distance: Lee et al., 2018, arXiv:1807.03888), and names nothing that is farther.
    """

    centres: Tensor  # (labels, 64), the mean features of each label's recordings
    precision: Tensor  # (64, 64), the inverse of their covariance within labels
    reach: Tensor  # the largest squared distance of a sound that is named; infinite until it is measured

    def __init__(self, mel: MelConfig, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.mel, self.labels = MelRepresentation(mel), labels
        channels = (1, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, after, 5 if before == 1 else 3, stride=2, padding=2 if before == 1 else 1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels[-1] * mel.n_mels // 16, FEATURES)
        self.decide = nn.Linear(FEATURES, len(labels))
        self.register_buffer("centres", torch.zeros(len(labels), FEATURES))
        self.register_buffer("precision", torch.eye(FEATURES))
        self.register_buffer("reach", torch.tensor(torch.inf))

    def features(self, x: Tensor) -> Tensor:
        """(batch, 1, n_mels, frames) in [-1, 1] -> (batch, 64), for Fréchet distances and nearest neighbours."""
        bands = self.body(x).mean(3).flatten(1)
        return F.relu(self.hidden(F.dropout(bands, 0.3, self.training)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, n_mels, frames) in [-1, 1] -> logits (batch, labels)."""
        logits: Tensor = self.decide(self.features(x))
        return logits

    def distance(self, features: Tensor) -> Tensor:
        """Features (n, 64) -> squared Mahalanobis distances (n,) to the nearest label's centre."""
        away = features[:, None] - self.centres
        return ((away @ self.precision) * away).sum(2).amin(1)

    def knows(self, features: np.ndarray) -> np.ndarray:
        """Features (n, 64) -> whether each sound is like the recordings of some label, (n,)."""
        known: np.ndarray = (self.distance(torch.from_numpy(features)) <= self.reach).numpy()
        return known

    @torch.inference_mode()
    def hear(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms (n, samples) at the judge's sample rate -> probabilities (n, labels) and features (n, 64).

        The probabilities are those of each label if the sound is one of them; `knows` says whether it is.
        """
        features = torch.cat(
            [self.features(judge_input(self.mel, part)) for part in torch.from_numpy(waveforms).split(64)]
        )
        return self.decide(features).softmax(1).numpy(), features.numpy()


def judge_input(mel: MelRepresentation, waveforms: Tensor) -> Tensor:
    """Waveforms (n, samples) -> normalised log-mels (n, 1, n_mels, frames) in [-1, 1], the input of a `Judge`."""
    return mel.normalize(mel.log_mel(waveforms))


def save_judge(path: Path, judge: Judge) -> None:
    """Writes a judge to a file, atomically."""
    metadata = {"format": FORMAT, "mel": json.dumps(asdict(judge.mel.config)), "labels": json.dumps(judge.labels)}
    write_tensors(path, judge.state_dict(), metadata)


def load_judge(path: Path) -> Judge:
    """Reads what `save_judge` wrote.

    Raises:
        CheckpointError: if the file is missing, broken, or not a judge.
    """
    found = read_metadata(path).get("format")  # alone, since most files of a folder are large, and no judges
    if found != FORMAT:
        raise CheckpointError(f"{path.name} is not a judge: format {found!r}, not {FORMAT!r}")
    metadata, weights = read_tensors(path)
    try:
        mel = config_from_dict(MelConfig, json.loads(metadata["mel"]))
        with random_state_kept():
            judge = Judge(mel, tuple(json.loads(metadata["labels"])))
        unmeasured = {name: tensor for name, tensor in judge.named_buffers() if name in MEASURED}
        judge.load_state_dict({**unmeasured, **weights})
        unlimited = {"reach"} if weights.get("reach") == torch.inf else set()
        if not all(bool(tensor.isfinite().all()) for name, tensor in weights.items() if name not in unlimited):
            raise ValueError("its weights are not all finite numbers")
    except Exception as error:  # a file may hold anything, and constructors raise all sorts of errors for it
        raise CheckpointError(f"{path.name} cannot be read as a judge: {str(error) or type(error).__name__}") from None
    return judge.eval().requires_grad_(False)


def find_judge(folder: Path, labels: tuple[str, ...], sample_rate: int) -> Judge | None:
    """The judge in a folder for these labels and sample rate: of those that know them all, the one that knows fewest.

    Among equals it is the first by file name; None if there is none. Files that are no judge are passed over.
    """
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            judge = load_judge(path)
        except CheckpointError:
            continue  # most files are checkpoints; and a broken judge must not keep sounds from playing
        if set(labels) <= set(judge.labels) and judge.mel.sample_rate == sample_rate:
            found.append(judge)
    return min(found, key=lambda judge: len(judge.labels), default=None)

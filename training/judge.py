"""A judge of spoken words: a small network that says which word it hears, trained on real recordings only.

The classifier that speech generators are usually measured with (SC09's ResNeXt) is replaced by one that trains in a
minute on the recordings at hand, so figures that it gives compare only with others that it gives.
"""

import hashlib
import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from explorer.checkpoint import CheckpointError, config_from_dict
from explorer.sound.mel import MelConfig, MelRepresentation
from training.audio_data import FRAMES, HOP_SECONDS, Waveforms, measure
from training.spectogan import augment

VERSION = 1  # raise it when the same recordings would train another judge
FORMAT = "word-judge/1"
EPOCHS = 20
BATCH = 64
PEAK_LR = 4e-3
FEATURES = 64  # few enough that some hundred recordings have a covariance of full rank


class Judge(nn.Module):
    """Four strided convolutions on a log-mel, a mean over time, two linear layers."""

    def __init__(self, mel: MelConfig, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.mel, self.labels = MelRepresentation(mel), labels
        channels = (1, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 5 if before == 1 else 3, stride=2, padding=2 if before == 1 else 1),
                       nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels[-1] * mel.n_mels // 16, FEATURES)
        self.decide = nn.Linear(FEATURES, len(labels))

    def features(self, x: Tensor) -> Tensor:
        """(batch, 1, n_mels, frames) in [-1, 1] -> (batch, 64), what Fréchet distances and neighbours are taken of."""
        bands = self.body(x).mean(3).flatten(1)
        return F.relu(self.hidden(F.dropout(bands, 0.3, self.training)))

    def forward(self, x: Tensor) -> Tensor:
        """-> logits (batch, labels)."""
        logits: Tensor = self.decide(self.features(x))
        return logits

    @torch.inference_mode()
    def hear(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sounds (n, samples), at the rate it was trained at -> probabilities (n, labels) and features (n, 64)."""
        features = torch.cat([self.features(see(self.mel, part)) for part in torch.from_numpy(waveforms).split(64)])
        return self.decide(features).softmax(1).numpy(), features.numpy()


def see(mel: MelRepresentation, waveforms: Tensor) -> Tensor:
    """(n, samples) -> (n, 1, n_mels, frames) in [-1, 1]."""
    return mel.normalize(mel.log_mel(waveforms))


def train_judge(clips: Waveforms, epochs: int = EPOCHS) -> Judge:
    """A judge in eval mode that has seen the training recordings, each time moved in time, pitch and loudness, and with
    a band of frequencies and a moment hidden (Park et al., 2019, "SpecAugment", arXiv:1904.08779)."""
    rate, labels = clips.meta["sample_rate"], tuple(clips.meta["labels"])
    hop = round(rate * HOP_SECONDS)
    mel = measure(MelConfig(rate, 4 * hop, hop, frames=FRAMES), clips.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge(mel, labels)
        rng = torch.Generator().manual_seed(0)
        x = torch.cat([see(judge.mel, part) for part in clips.train.split(256)])
        batches = max(1, len(x) // BATCH)
        optimizer = torch.optim.AdamW(judge.parameters(), lr=PEAK_LR, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=epochs * batches)
        for _ in tqdm(range(epochs), desc="training the judge", unit="epoch", leave=False):
            for index in torch.randperm(len(x), generator=rng)[: batches * BATCH].chunk(batches):
                seen = hide(augment(x[index], rng, frames=6, bands=2, gain=0.15), rng)
                loss = F.cross_entropy(judge(seen), clips.train_labels[index], label_smoothing=0.02)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return judge.eval().requires_grad_(False)


def hide(x: Tensor, rng: torch.Generator, width: int = 10) -> Tensor:
    """(n, 1, bands, frames): silence in up to `width` neighbouring bands, and in as many frames, of each item."""
    for axis in (2, 3):
        place = torch.arange(x.shape[axis]).reshape([-1 if k == axis else 1 for k in range(4)])
        start, size = torch.rand((2, len(x), 1, 1, 1), generator=rng)
        start, size = start * x.shape[axis], size * width
        x = x.masked_fill((place >= start) & (place < start + size), -1.0)
    return x


def accuracy(judge: Judge, clips: Waveforms) -> float:
    """The share of validation recordings whose word it hears; NaN if there are none."""
    if not len(clips.valid):
        return float("nan")
    heard = judge.hear(clips.valid.numpy())[0].argmax(1)
    return float((heard == clips.valid_labels.numpy()).mean())


def save_judge(path: Path, judge: Judge) -> None:
    """Writes a judge in one piece."""
    metadata = {"format": FORMAT, "mel": json.dumps(asdict(judge.mel.config)), "labels": json.dumps(judge.labels)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(judge.state_dict(), partial, metadata)
    partial.replace(path)


def load_judge(path: Path) -> Judge:
    """Reads what `save_judge` wrote.

    Raises:
        CheckpointError: if the file is missing, broken, or no judge.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path} is no judge: format {metadata.get('format')!r}, not {FORMAT!r}")
        mel = config_from_dict(MelConfig, json.loads(metadata["mel"]))
        judge = Judge(mel, tuple(json.loads(metadata["labels"])))
        judge.load_state_dict(weights)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} cannot be read as a judge: {error}") from None
    return judge.eval().requires_grad_(False)


def find_judge(clips: Waveforms, cache: Path, path: Path | None = None) -> Judge:
    """The judge in a file, or else the one of these recordings, trained if the cache does not hold it yet.

    Raises:
        CheckpointError: if the file cannot be read, or its judge knows other labels or another sample rate.
    """
    if path is None:
        path = cache / f"judge-{_key(clips)}.safetensors"
        if not path.is_file():
            save_judge(path, train_judge(clips))
    judge = load_judge(path)
    known, wanted = (judge.labels, judge.mel.sample_rate), (tuple(clips.meta["labels"]), clips.meta["sample_rate"])
    if known != wanted:
        raise CheckpointError(f"{path} judges {' '.join(known[0])} at {known[1]} Hz, "
                              f"not {' '.join(wanted[0])} at {wanted[1]} Hz")
    return judge


def _key(clips: Waveforms) -> str:
    """The same for the same training recordings."""
    digest = hashlib.sha256(f"{VERSION} {clips.meta['labels']} {clips.meta['sample_rate']}".encode())
    digest.update(clips.train_labels.numpy().tobytes() + clips.train.numpy().tobytes())
    return digest.hexdigest()[:16]

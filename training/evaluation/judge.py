"""Trains the judge, a classifier of spoken labels (`explorer/judge.py`), on real recordings only.

Speech generators are usually measured with a ResNeXt trained on SC09. This judge trains in a minute on the recordings
at hand instead, so compare its figures only with others of the same judge.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.checkpoint import CheckpointError
from explorer.judge import Judge, judge_input, load_judge, save_judge
from explorer.sound.mel import MelConfig
from training.data.audio import FRAMES, HOP_SECONDS, Waveforms, measure
from training.families.spectogan import augment
from training.loop import train_in_memory
from training.objective import Objective, Schedule
from training.options import MAX_COUNT

VERSION = 2  # raise it when the same recordings would give another judge
EPOCHS = 20
BATCH = 64
PEAK_LR = 4e-3
MASKED = 10  # bands, and frames, at most
KNOWN = 0.99  # the share of the training recordings that the judge takes for sounds of its labels
SHRINKAGE = 1e-3  # of their features' covariance towards a multiple of the identity


class JudgeObjective(Objective):
    """Trains a judge on augmented recordings, with a one-cycle learning rate and a new order in every epoch.

    Spectrograms are shifted in time and pitch, changed in loudness, and masked in a band of frequencies and a span of
    time (Park et al., 2019, "SpecAugment", arXiv:1904.08779). It cannot be resumed, as it trains in a minute: the order
    within an epoch, and the global random state that dropout draws from, are not saved.
    """

    def __init__(self, judge: Judge, clips: int, epochs: int) -> None:
        self.batches = max(1, clips // BATCH)
        super().__init__(
            Schedule({"judge": epochs * self.batches}, MAX_COUNT, MAX_COUNT), 0, torch.device("cpu"), bfloat16=False
        )
        self.judge = judge.train()
        optimizer = torch.optim.AdamW(judge.parameters(), lr=PEAK_LR, weight_decay=0.01)
        self.optimizers["judge"] = optimizer
        self.rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=self.schedule.steps)
        self.order: tuple[Tensor, ...] = ()

    def modules(self) -> dict[str, nn.Module]:
        return {"judge": self.judge}

    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x, labels = data["x"], data["label"]
        if self.step % self.batches == 0:
            self.order = torch.randperm(len(x), generator=self.rng)[: self.batches * BATCH].chunk(self.batches)
        index = self.order[self.step % self.batches]
        seen = mask(augment(x[index], self.rng, frames=6, bands=2, gain=0.15), self.rng)
        loss = F.cross_entropy(self.judge(seen), labels[index], label_smoothing=0.02)
        self.descend("judge", loss)
        self.rates.step()
        return {"loss": loss}

    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        with self.autocast():
            return F.cross_entropy(self.judge(data["x"][:items]), data["label"][:items])


def train_judge(clips: Waveforms, epochs: int = EPOCHS) -> Judge:
    """Trains a judge on the training recordings; returns it in eval mode."""
    rate, labels = clips.meta["sample_rate"], tuple(clips.meta["labels"])
    hop = round(rate * HOP_SECONDS)
    mel = measure(MelConfig(rate, 4 * hop, hop, frames=FRAMES), clips.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge(mel, labels)
        x = torch.cat([judge_input(judge.mel, part.float()) for part in clips.train.split(256)])
        objective = JudgeObjective(judge, len(x), epochs)
        train_in_memory(objective, {"x": x, "label": clips.train_labels}, "training the judge")
    judge.eval().requires_grad_(False)
    measure_reach(judge, x, clips.train_labels)
    return judge


@torch.inference_mode()
def measure_reach(judge: Judge, x: Tensor, labels: Tensor) -> None:
    """Sets what a trained judge knows of its recordings x (n, 1, n_mels, frames), of labels (n,): where their features
    lie, and how far from there the farthest hundredth begins."""
    features = torch.cat([judge.features(part) for part in x.split(256)])
    rows = [features[labels == k] for k in range(len(judge.labels))]
    judge.centres.copy_(torch.stack([row.mean(0) if len(row) else features.mean(0) for row in rows]))
    covariance = torch.cov((features - judge.centres[labels]).T)
    shrunk = covariance + SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    judge.precision.copy_(torch.linalg.inv(shrunk))
    judge.reach.copy_(judge.distance(features).quantile(KNOWN))


def mask(x: Tensor, rng: torch.Generator) -> Tensor:
    """Silences up to `MASKED` neighbouring bands, and as many frames, of each item of (n, 1, bands, frames)."""
    for axis in (2, 3):
        place = torch.arange(x.shape[axis]).reshape([-1 if k == axis else 1 for k in range(4)])
        start, size = torch.rand((2, len(x), 1, 1, 1), generator=rng)
        start, size = start * x.shape[axis], size * MASKED
        x = x.masked_fill((place >= start) & (place < start + size), -1.0)
    return x


def accuracy(judge: Judge, clips: Waveforms) -> float:
    """The share of validation recordings whose label the judge recognises; NaN if there are none."""
    if not len(clips.valid):
        return float("nan")
    heard = judge.hear(clips.valid.float().numpy())[0].argmax(1)
    return float((heard == clips.valid_labels.numpy()).mean())


def find_judge(clips: Waveforms, cache: Path, path: Path | None = None) -> Judge:
    """Loads the judge in a file or, by default, the cached one for these recordings, which is trained first if needed.

    Raises:
        CheckpointError: if the file cannot be read, or its labels or sample rate are not those of the recordings.
    """
    if path is None:
        path = cache / f"judge-{_key(clips)}.safetensors"
        if not path.is_file():
            save_judge(path, train_judge(clips))
    judge = load_judge(path)
    known, wanted = (judge.labels, judge.mel.sample_rate), (tuple(clips.meta["labels"]), clips.meta["sample_rate"])
    if known != wanted:
        raise CheckpointError(
            f"{path} judges {' '.join(known[0])} at {known[1]} Hz, not {' '.join(wanted[0])} at {wanted[1]} Hz"
        )
    return judge


def _key(clips: Waveforms) -> str:
    """A hash of the training recordings and their labels."""
    digest = hashlib.sha256(f"{VERSION} {clips.meta['labels']} {clips.meta['sample_rate']}".encode())
    digest.update(clips.train_labels.numpy().tobytes())
    for part in clips.train.split(256):
        digest.update(part.float().numpy().tobytes())
    return digest.hexdigest()[:16]

"""Recordings, from the folders their authors ship, to spectrograms ready to train on.

Known layouts: the Free Spoken Digit Dataset (`3_jackson_12.wav`; takes 5-9 of every digit and speaker validate, 0-4
are its test set and left alone), SC09 (`train/`, `valid/`, `test/` with `Eight_004ae714_nohash_0.wav`), Speech Commands
(a folder per word, with `validation_list.txt` and `testing_list.txt`, or else a tenth of the speakers validates), and
any other folder of audio, labelled by its sub-folders. Digit words become digits.

Prepared waveforms are cached as safetensors; with the cache at hand nothing is imported that reads audio.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from explorer.sound.mel import MelConfig, MelRepresentation, fit
from training.task import DataError, Prepared

Split = Literal["train", "valid", "test"]

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FRAMES, HOP_SECONDS = 64, 0.016  # 1.024 s
SHORTEST_SECONDS = 0.05
SILENCE = 1e-3  # peak below which a recording has nothing to say
LOUDNESS = 0.1  # root mean square of the loudest 30 ms, to which every clip is brought
VERSION = 2  # of what is cached: raise it when the same files would give other waveforms


@dataclass(frozen=True)
class Clip:
    """A file of a data set: where, what it says (None if nobody knows), and what it is for."""

    path: Path
    label: str | None
    split: Split


@dataclass(frozen=True)
class Waveforms:
    """Clips of one length: (n, samples) float in [-1, 1], and the index of each one's label."""

    train: Tensor
    train_labels: Tensor
    valid: Tensor
    valid_labels: Tensor
    meta: Mapping[str, Any]


def prepare(
    folder: Path, cache: Path, options: Mapping[str, str], mel: MelConfig | None = None, labels: tuple[str, ...] = ()
) -> Prepared:
    """Spectrograms of a folder of recordings.

    Args:
        options: `labels`, e.g. "0,1,5,8": only these, in this order; `sample_rate`, 8000 or 16000 (by default what
            the files have); `n_mels`.
        mel, labels: of a checkpoint that is to go on learning from the folder. The folder may hold some of its labels,
            or none: then nobody knows what the clips say, and each of them stands for every label.
    Returns:
        Tensors "x" (n, 1, n_mels, 64) and, if there are labels, "condition" (n, labels), one-hot. `meta["mel"]` is the
        MelConfig, its range taken from the training clips; `meta["labels"]` are those of the folder.
    Raises:
        DataError: if no file is usable, an option is unknown, a label has no clip, or the checkpoint another format or
            other labels.
    """
    if mel is not None:
        options = {**options, **_agreed(options, mel)}
    n_mels = _number(options, "n_mels", 64)
    clips = load_waveforms(folder, cache, {k: v for k, v in options.items() if k != "n_mels"})
    spoken = clips.meta["labels"]
    if mel is None:
        labels = tuple(spoken)
        rate = clips.meta["sample_rate"]
        hop = round(rate * HOP_SECONDS)
        blank = MelConfig(rate, 4 * hop, hop, n_mels, FRAMES, mean=(0.0,) * n_mels, scale=(1.0,) * n_mels)
        mel = measure(blank, clips.train)
    elif labels and (unknown := [label for label in spoken if label not in labels]):
        raise DataError(
            f"{folder}: the checkpoint knows {', '.join(labels)}, not {', '.join(unknown)}; leave them out "
            "with --prepare labels=…, or put clips whose word does not matter into no sub-folder"
        )
    representation = MelRepresentation(mel)

    def tensors(waveform: Tensor, label: Tensor) -> dict[str, Tensor]:
        if not len(waveform):
            return {}
        x = torch.cat([representation.normalize(representation.log_mel(part)) for part in waveform.split(256)])
        if not labels:
            return {"x": x}
        every = torch.eye(len(labels))
        if not spoken:
            return {"x": x.repeat(len(labels), 1, 1, 1), "condition": every.repeat_interleave(len(x), dim=0)}
        return {"x": x, "condition": every[[labels.index(name) for name in spoken]][label]}

    return Prepared(
        tensors(clips.train, clips.train_labels),
        tensors(clips.valid, clips.valid_labels),
        {**clips.meta, "mel": asdict(mel)},
    )


def _agreed(options: Mapping[str, str], mel: MelConfig) -> dict[str, str]:
    """The options that a checkpoint decides. Raises DataError if it cannot, or the user's say otherwise."""
    if mel.samples != FRAMES * round(mel.sample_rate * HOP_SECONDS) or mel.frames != FRAMES:
        raise DataError(
            f"the checkpoint's sounds are {mel.samples} samples in {mel.frames} frames; only 1.024 s in "
            f"{FRAMES} can be prepared"
        )
    decided = {"sample_rate": str(mel.sample_rate), "n_mels": str(mel.n_mels)}
    if other := [f"{k}={v}" for k, v in decided.items() if options.get(k, v) != v]:
        raise DataError(f"the checkpoint has {', '.join(other)}: leave that out of --prepare")
    return decided


def _number(options: Mapping[str, str], name: str, otherwise: int) -> int:
    text = options.get(name, str(otherwise))
    if not text.isdecimal():
        raise DataError(f"the option {name} is a whole number, not {text!r}")
    return int(text)


def measure(config: MelConfig, waveform: Tensor) -> MelConfig:
    """The configuration with mean and scale such that -1 is silence and 1 is each band's loudest thousandth."""
    representation = MelRepresentation(config)
    picked = waveform[:: max(1, len(waveform) // 4000)]
    log_mel = torch.cat([representation.log_mel(part) for part in picked.split(256)])
    low = float(np.log(config.floor))
    high = np.quantile(log_mel.transpose(0, 1).flatten(1).numpy(), 0.999, axis=1).clip(low + 1)
    return MelConfig(
        **{
            **asdict(config),
            "mean": tuple(((high + low) / 2).round(4).tolist()),
            "scale": tuple(((high - low) / 2).round(4).tolist()),
        }
    )


def load_waveforms(folder: Path, cache: Path, options: Mapping[str, str]) -> Waveforms:
    """Every usable clip, mono, at one rate, equally loud, centred on its energy in 1.024 s.

    Reads the cache if no file was changed, added or taken away since. Args and errors as `prepare`.
    """
    if unknown := sorted(set(options) - {"labels", "sample_rate"}):
        raise DataError(f"no option {', '.join(unknown)}; there are labels, sample_rate and n_mels")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = [clip for clip in scan(folder) if clip.split != "test"]
    wanted = tuple(options["labels"].split(",")) if "labels" in options else None
    if wanted is not None:
        if missing := sorted(set(wanted) - {clip.label for clip in found}):
            raise DataError(
                f"{folder}: no recording of {', '.join(missing)}; "
                f"there are {', '.join(_ordered(clip.label for clip in found)) or 'no labels'}"
            )
        found = [clip for clip in found if clip.label in wanted]
    if not found:
        raise DataError(f"{folder}: no recordings to train on; known are {', '.join(SUFFIXES)}")
    stats = [(str(c.path.relative_to(folder)), c.path.stat().st_size, c.path.stat().st_mtime_ns) for c in found]
    inputs = json.dumps([VERSION, str(folder.resolve()), sorted(options.items()), stats])
    target = cache / f"audio-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.safetensors"
    cached = _read(target)
    return cached or _decode(folder, found, wanted, options, target)


def scan(folder: Path) -> list[Clip]:
    """The recordings of a folder, sorted by path. Files are not opened."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and "_background_noise_" not in p.parts)
    lists: dict[str, Split] = {}
    for name, split in (("validation_list.txt", "valid"), ("testing_list.txt", "test")):
        if (folder / name).is_file():
            lists |= {line.strip(): split for line in (folder / name).read_text().splitlines()}  # type: ignore[misc]
    return [_describe(path, path.relative_to(folder), lists) for path in files]


def _describe(path: Path, inside: Path, lists: Mapping[str, Split]) -> Clip:
    if match := re.fullmatch(r"(\d)_[^_]+_(\d+)", path.stem):  # the Free Spoken Digit Dataset
        take = int(match[2])
        return Clip(path, match[1], "test" if take < 5 else "valid" if take < 10 else "train")
    parts = inside.parts[:-1]
    if match := re.fullmatch(r"([A-Za-z]+)_([0-9a-f]{8})_nohash_\d+", path.stem):  # SC09
        split = next((s for s in ("train", "valid", "test") if s in parts), None) or _by_name(match[2])
        return Clip(path, _digit(match[1]), split)
    label = _digit(parts[-1]) if parts else None
    if match := re.fullmatch(r"([0-9a-f]{8})_nohash_\d+", path.stem):  # Speech Commands
        return Clip(path, label, lists.get(inside.as_posix(), "train") if lists else _by_name(match[1]))
    return Clip(path, label, _by_name(path.stem))


def _by_name(name: str) -> Split:
    """A tenth validates: the same names on every machine, whatever else is in the folder."""
    return "valid" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0 else "train"


def _digit(word: str) -> str:
    return str(WORDS.index(word.lower())) if word.lower() in WORDS else word.lower()


def _ordered(labels: Iterable[str | None]) -> list[str]:
    return sorted({x for x in labels if x is not None}, key=lambda x: (int(x), "") if x.isdecimal() else (10**9, x))


def _decode(
    folder: Path, found: list[Clip], wanted: tuple[str, ...] | None, options: Mapping[str, str], target: Path
) -> Waveforms:
    import soundfile

    rate = _number(options, "sample_rate", 0) or _common_rate(found)
    samples = FRAMES * round(rate * HOP_SECONDS)
    kept: list[tuple[Clip, np.ndarray]] = []
    skipped = []
    labelled = any(clip.label for clip in found)
    for clip in tqdm(found, desc=f"reading {folder.name}", unit="file", leave=False):
        try:
            if labelled and clip.label is None:
                raise DataError("in no sub-folder that says what it is, unlike others")
            kept.append((clip, read_clip(clip.path, rate, samples)))
        except (DataError, soundfile.LibsndfileError, OSError, ValueError) as error:
            reason = str(error).replace(f"{clip.path}", "").strip(": ")
            skipped.append(f"{clip.path.relative_to(folder)}: {reason}")
    if not any(clip.split == "train" for clip, _ in kept):
        raise DataError(f"{folder}: none of {len(found)} recordings can be trained on, e.g. {skipped[:1]}")
    labels = wanted or tuple(_ordered(clip.label for clip, _ in kept))
    tensors = {}
    for split in ("train", "valid"):
        part = [(clip, waveform) for clip, waveform in kept if clip.split == split]
        stacked = np.stack([w for _, w in part]) if part else np.zeros((0, samples), np.float32)
        tensors[split] = torch.from_numpy(stacked).half()
        index = [labels.index(clip.label) if clip.label else 0 for clip, _ in part]
        tensors[f"{split}_labels"] = torch.tensor(index, dtype=torch.long)
    count = Counter(f"{clip.split} {clip.label or ''}".strip() for clip, _ in kept)
    meta = {"sample_rate": rate, "labels": list(labels), "clips": dict(sorted(count.items())), "skipped": skipped}
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    save_file(tensors, partial, {"meta": json.dumps(meta)})
    partial.replace(target)
    read = _read(target)
    assert read is not None
    return read


def _read(path: Path) -> Waveforms | None:
    """The cached clips, or None if there are none or the file is broken."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["meta"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return None
    return Waveforms(
        tensors["train"].float(), tensors["train_labels"], tensors["valid"].float(), tensors["valid_labels"], meta
    )


def _common_rate(found: list[Clip]) -> int:
    """16 kHz if most of the files carry it, else 8 kHz."""
    import soundfile

    rates: Counter[bool] = Counter()
    for clip in found[:: max(1, len(found) // 50)]:
        try:
            rates[soundfile.info(clip.path).samplerate >= 16000] += 1
        except soundfile.LibsndfileError:
            continue  # said when it is decoded
    return 16000 if rates[True] > rates[False] else 8000


def read_clip(path: Path, sample_rate: int, samples: int) -> np.ndarray:
    """One recording, mono and resampled, its mean taken out, its loudest 30 ms at `LOUDNESS`, centred on its energy.

    Returns:
        (samples,) float32 in [-1, 1].
    Raises:
        DataError: if it is silent, too short, or holds numbers that are not finite.
        soundfile.LibsndfileError: if it cannot be read.
    """
    import soundfile

    waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = waveform.mean(1)
    if not np.isfinite(waveform).all():
        raise DataError(f"{path}: not all samples are finite")
    if len(waveform) < SHORTEST_SECONDS * rate:
        raise DataError(f"{path}: too short ({len(waveform)} samples)")
    waveform -= waveform.mean()
    if np.abs(waveform).max() < SILENCE:
        raise DataError(f"{path}: silence")
    if rate != sample_rate:
        from scipy.signal import resample_poly

        common = int(np.gcd(rate, sample_rate))
        waveform = resample_poly(waveform, sample_rate // common, rate // common).astype(np.float32)
    power = np.convolve(waveform**2, np.full(n := round(0.03 * sample_rate), 1 / n), "same")
    centre = round(float((np.arange(len(power)) * power).sum() / power.sum()))
    # Padded so that the centre of energy becomes the middle, then cut to length around it.
    before = max(0, len(waveform) - 2 * centre)
    after = max(0, 2 * centre - len(waveform))
    placed = fit(np.pad(waveform * (LOUDNESS / np.sqrt(power.max())), (before, after)), samples)
    return placed.clip(-1, 1).astype(np.float32)

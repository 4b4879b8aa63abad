"""Prepares folders of recordings for training: windows of sound, and spectrograms of them.

`training.data.labels` gives each recording its label and split, `training.data.recordings` decodes it, and a `Cut`,
which each family of generators may choose, makes windows of it. Windows are written to disk one by one, so that memory
does not grow with the folder. Once they are prepared, no library for sound is imported.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from explorer.sound.mel import MelConfig, MelRepresentation, fit
from training.data import cache as prepared_files
from training.data.cache import RowStore
from training.data.files import AUDIO, Content, File, find, read_contents
from training.data.inventory import Inventory, Unusable
from training.data.labels import (
    Assignment,
    LabelOf,
    assign,
    by_hash,
    in_order,
    label_name,
    read_lists,
    related,
    repair,
    splits_by_folder,
)
from training.data.recordings import pieces, read_frames, recording, resample
from training.task import DataError, Prepared

KIND = "audio"
FRAMES, HOP_SECONDS = 64, 0.016  # 1.024 s
SHORTEST_SECONDS = 0.05
LONGEST_CLIP_SECONDS = 3.0  # a longer recording is cut into windows
FADE_SECONDS = 0.005  # at both ends of a window cut from a longer recording
SILENCE = 1e-3  # peak (of a long recording: loudness) below which a recording counts as silence
PAUSE = 0.01  # loudness of a window, relative to its recording's loudest (-40 dB), below which it is left out
LOUD_SECONDS = 0.03
LOUDNESS = 0.1  # root mean square of the loudest 30 ms after every clip is scaled
MOST_VOICES, FEWEST_OF_VOICE = 24, 10  # to tell speakers apart, and recordings of each and each label to do so
SAMPLE_RATES = range(4_000, 48_001)
BANDS = range(8, 257)
VERSION = 3  # of the prepared files: raise it when the same recordings would give other windows

log = logging.getLogger(__name__)

Windows = Callable[[Any, int, int], Iterator[np.ndarray | str]]
Folders = Path | Sequence[Path]


@dataclass(frozen=True)
class Part:
    """One of several sounds in a file.

    Attributes:
        name: by which `Collection.open` finds it.
        kin: what it is made of. Parts that share any of it, directly or by others, are in the same split.
        source: what makes the sound, e.g. an instrument, where a `Cut` asks for it.
    """

    name: str
    label: str
    kin: frozenset[str]
    source: str = ""


class Collection(Protocol):
    """Reads files that hold many sounds each. Both methods raise Unusable, `open` inside the block too."""

    def parts(self, path: Path) -> Sequence[Part]:
        """The sounds in a file, at least one."""

    def open(self, path: Path, part: str, content: Content) -> AbstractContextManager[Any]:
        """Opens one of them as an object that has a `SoundFile`'s `samplerate`, `read` and `seek`."""


@dataclass(frozen=True)
class Cut:
    """A rule by which a family of generators cuts recordings into windows.

    Attributes:
        name: of the rule and its version; prepared files are used only for the rule that made them.
        samples: sample rate in Hz -> length of a window in samples.
        windows: (open recording, sample rate, samples) -> an iterator over windows (samples,) in [-1, 1] and, for each
            part that is left out, the reason as a string. May raise Unusable for the whole recording.
        label_of: reads a label from a path where no sub-folder gives one; None if file names hold no labels.
        suffixes: of the files to use: those that libsndfile reads, and those in `collections`.
        folder_label: the label that a sub-folder's name stands for; None for the name itself.
        collections: by suffix, how to read files that hold many sounds each, e.g. SoundFonts.
        source_of: reads from a path what makes its sound, e.g. an instrument. All sounds of a source are in the same
            split, and `Waveforms` say the source of each window. None if sources do not matter.
        fewest: a source in a file of many sounds is left out if fewer of its sounds can be used.
    """

    name: str
    samples: Callable[[int], int]
    windows: Windows
    label_of: LabelOf | None = None
    suffixes: frozenset[str] = AUDIO
    folder_label: Callable[[str], str | None] | None = None
    collections: Mapping[str, Collection] = field(default_factory=dict)
    source_of: Callable[[PurePosixPath], str] | None = None
    fewest: int = 0


@dataclass(frozen=True)
class Waveforms:
    """Windows (n, samples), float16 in [-1, 1], memory-mapped from a file, and the index of each one's label.

    Where the `Cut` knows sources there is the index of each one's source in `meta["sources"]` too, and where all file
    names tell a speaker the index of each one's voice in `meta["voices"]`.
    """

    train: Tensor
    train_labels: Tensor
    valid: Tensor
    valid_labels: Tensor
    meta: Mapping[str, Any]
    train_sources: Tensor | None = None
    valid_sources: Tensor | None = None
    train_voices: Tensor | None = None
    valid_voices: Tensor | None = None


def prepare(
    folder: Path,
    cache: Path,
    options: Mapping[str, str],
    mel: MelConfig | None = None,
    labels: tuple[str, ...] = (),
    voices: tuple[str, ...] = (),
) -> Prepared:
    """Prepares the spectrograms of a folder of recordings.

    Args:
        options: `labels`, e.g. "0,1,5,8": use only these, in this order; `sample_rate` in Hz (by default 16000 if most
            files have that much, or else 8000); `n_mels`; `voices`, "no": do not tell speakers apart.
        mel, labels, voices: of a checkpoint to fine-tune. The folder's labels must be among the checkpoint's. Clips
            without labels are used for every label.
    Returns:
        Tensors "x" (n, 1, n_mels, 64) and, if there are labels, "condition" (n, labels), one-hot, or (n, labels *
        voices), label by label, if there are voices. `meta["mel"]` is the MelConfig, its range measured on the
        training clips or the checkpoint's; `meta["labels"]` are those of the folder; `meta["voices"]` the checkpoint's,
        or the folder's speakers if every recording names one, there are few, and each says every label often, or else
        (). Of a checkpoint's voices, strangers have an equal share of each; `meta["inventory"]` is for
        `inventory.table`.
    Raises:
        DataError: if no file is usable, an option is unknown, a label has no clip, or the folder does not fit the
            checkpoint.
    """
    known_options(options, "labels", "sample_rate", "n_mels", "voices")
    if options.get("voices", "no") != "no":
        raise DataError(f"voices=no is the only choice of voices, not voices={options['voices']}")
    if mel is not None:
        options = agreed(options, _decided(mel))
    n_mels = _number(options, "n_mels", BANDS) or 64
    clips = load_waveforms(folder, cache, {k: v for k, v in options.items() if k not in ("n_mels", "voices")})
    fine_tuning = mel is not None
    if mel is None:
        rate = clips.meta["sample_rate"]
        hop = round(rate * HOP_SECONDS)
        blank = MelConfig(rate, 4 * hop, hop, n_mels, FRAMES, mean=(0.0,) * n_mels, scale=(1.0,) * n_mels)
        mel = measure(blank, clips.train)
    representation = MelRepresentation(mel)
    data = encoded(
        folder,
        clips,
        lambda waveform: representation.normalize(representation.log_mel(waveform)),
        labels if fine_tuning else None,
    )
    named = "voices" not in options
    if not fine_tuning:
        voices = _voices(clips) if named else ()
    if voices:
        data = _of_voices(data, clips, voices, named)
    return Prepared(data.train, data.valid, {**data.meta, "mel": asdict(mel), "voices": voices})


def _of_voices(data: Prepared, clips: Waveforms, voices: tuple[str, ...], named: bool) -> Prepared:
    """Spreads labels over voices: that of the clip, or an equal share of each if they are not `named`, or strangers."""
    found = clips.meta.get("voices", ()) if named else ()
    if found and set(found) <= set(voices):
        shares = torch.eye(len(voices))[[voices.index(name) for name in found]]
        of_clips = (shares[clips.train_voices], shares[clips.valid_voices])
    else:
        of_clips = (torch.full((1, len(voices)), 1 / len(voices)),) * 2
    train, valid = (
        {**tensors, "condition": (tensors["condition"][:, :, None] * shares[:, None]).flatten(1)} if tensors else {}
        for tensors, shares in zip((data.train, data.valid), of_clips, strict=True)
    )
    return replace(data, train=train, valid=valid)


def _voices(clips: Waveforms) -> tuple[str, ...]:
    """The voices to tell apart; () if they are not known, too many, or some label has too few recordings of one."""
    found, labels = tuple(clips.meta.get("voices", ())), len(clips.meta["labels"])
    if not 2 <= len(found) <= MOST_VOICES or not labels or clips.train_voices is None:
        return ()
    counts = torch.bincount(clips.train_labels * len(found) + clips.train_voices, minlength=labels * len(found))
    return found if counts.min() >= FEWEST_OF_VOICE else ()


def encoded(
    folder: Path | str, clips: Waveforms, encode: Callable[[Tensor], Tensor], labels: Sequence[str] | None = None
) -> Prepared:
    """Encodes windows in a generator's representation, and their labels as one-hot conditions.

    Args:
        folder: named in the error message.
        encode: (batch, samples) float32 -> (batch, *representation.shape) in [-1, 1].
        labels: of a checkpoint to fine-tune; None for those of the folder. The folder's labels must be among them.
            Clips without labels are used for every label.
    Returns:
        Tensors "x" and, if there are labels, "condition" (n, labels), one-hot; `meta` is that of the windows.
    Raises:
        DataError: if the checkpoint lacks a label of the folder.
    """
    folder_labels = clips.meta["labels"]
    labels = folder_labels if labels is None else labels
    if labels and (unknown := [label for label in folder_labels if label not in labels]):
        raise DataError(
            f"{folder}: the checkpoint knows {', '.join(labels)}, not {', '.join(unknown)}; leave them out "
            "with --prepare labels=…, or put all clips directly into the folder to use each for every label"
        )

    def tensors(waveform: Tensor, label: Tensor) -> dict[str, Tensor]:
        if not len(waveform):
            return {}
        x = torch.empty(len(waveform), *encode(waveform[:1].float()).shape[1:])
        for part, out in zip(waveform.split(256), x.split(256), strict=True):
            out.copy_(encode(part.float()))
        if not labels:
            return {"x": x}
        every = torch.eye(len(labels))
        if not folder_labels:
            whole = x.repeat(len(labels), *(1,) * (x.ndim - 1))
            return {"x": whole, "condition": every.repeat_interleave(len(x), dim=0)}
        return {"x": x, "condition": every[[labels.index(name) for name in folder_labels]][label]}

    train, valid = tensors(clips.train, clips.train_labels), tensors(clips.valid, clips.valid_labels)
    return Prepared(train, valid, clips.meta)


def agreed(options: Mapping[str, str], decided: Mapping[str, str]) -> dict[str, str]:
    """The user's options and those that a family or a checkpoint decides. Raises DataError if they contradict."""
    if other := [f"{k}={v}" for k, v in decided.items() if options.get(k, v) != v]:
        raise DataError(f"these sounds have {', '.join(other)}: leave that out of --prepare")
    return {**options, **decided}


def known_options(options: Mapping[str, str], *names: str) -> None:
    """Raises DataError, with the names that exist, if an option is not among them."""
    if unknown := sorted(set(options) - set(names)):
        raise DataError(f"unknown option {', '.join(unknown)}: there are {', '.join(names[:-1])} and {names[-1]}")


def _decided(mel: MelConfig) -> dict[str, str]:
    """The options that a checkpoint decides. Raises DataError if its sounds cannot be prepared."""
    if mel.samples != FRAMES * round(mel.sample_rate * HOP_SECONDS) or mel.frames != FRAMES:
        raise DataError(
            f"the checkpoint's sounds are {mel.samples} samples in {mel.frames} frames, but only sounds of 1.024 s in "
            f"{FRAMES} frames can be prepared: choose another checkpoint for --init-from"
        )
    return {"sample_rate": str(mel.sample_rate), "n_mels": str(mel.n_mels)}


def _number(options: Mapping[str, str], name: str, within: range) -> int | None:
    """An option that is a whole number, or None if it is not given. Raises DataError for any other value."""
    text = options.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise DataError(f"the option {name} must be a whole number, not {text!r}")
    if len(text) > 9 or int(text) not in within:
        raise DataError(f"the option {name} must be a whole number from {within[0]} to {within[-1]}, not {text}")
    return int(text)


def _labels(options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The labels in the options, or None for all. Raises DataError if a label is empty or repeated."""
    if "labels" not in options:
        return None
    labels = tuple(label_name(text) for text in options["labels"].split(","))
    if not all(labels) or len(set(labels)) < len(labels):
        raise DataError(f"the option labels must be a list such as 0,1,5,8, each label once, not {options['labels']!r}")
    return labels


def measure(config: MelConfig, waveform: Tensor) -> MelConfig:
    """Sets a configuration's mean and scale for each band: -1 is silence, and 0.1 % of all values lie above 1."""
    representation = MelRepresentation(config)
    picked = waveform[:: max(1, len(waveform) // 4000)]
    log_mel = torch.cat([representation.log_mel(part.float()) for part in picked.split(256)])
    low = float(np.log(config.floor))
    high = np.quantile(log_mel.transpose(0, 1).flatten(1).numpy(), 0.999, axis=1).clip(low + 1)
    mean, scale = ((high + low) / 2).round(4), ((high - low) / 2).round(4)
    return replace(config, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))


def load_waveforms(folders: Folders, cache: Path, options: Mapping[str, str], cut: Cut | None = None) -> Waveforms:
    """Loads windows of every usable recording of a folder, one channel at one sample rate; `centred` cuts by default.

    They are read from the cache if files of the same names and contents were prepared before, also if the folder was
    moved.

    Args:
        folders: one or several, or single files among them. One may also be a prepared file itself, for machines
            without libraries for sound.
        options: `labels` and `sample_rate`, as in `prepare`.
    Raises:
        DataError: if nothing is usable, an option is unknown or wrong, or a label has no recording.
    """
    cut = cut or CENTRED
    known_options(options, "labels", "sample_rate")
    wanted, rate = _labels(options), _number(options, "sample_rate", SAMPLE_RATES)
    folders = (folders,) if isinstance(folders, Path) else tuple(folders)
    if len(folders) == 1 and folders[0].suffix == ".safetensors" and not folders[0].is_dir():
        return _given(folders[0], wanted, rate, cut)
    where = named(folders)
    inventory = Inventory("windows")
    roles = _roles(folders, wanted, inventory, cut)
    contents = read_contents(roles, inventory)
    roles = {file: roles[file] for file in contents}
    if not contents:
        raise _nothing(where, inventory, cut)
    said = [cut.name, wanted, rate]
    key = prepared_files.key_of(KIND, VERSION, said, contents, [asdict(role) for role in roles.values()], inventory)
    path = prepared_files.path_of(cache, KIND, key)
    if cached := prepared_files.found(path, KIND, VERSION, key):
        try:
            return _waveforms(path, cut, *cached)
        except DataError as error:
            log.warning("%s; preparing it again", error)
    rate = rate or _common_rate(list(contents))
    with RowStore(cache, cut.samples(rate)) as store:
        usable = _stream(contents, rate, cut, store, inventory)
        usable = _without_small_sources(usable, roles, cut, inventory)
        if not usable:
            raise _nothing(where, inventory, cut)
        ordered = _in_splits(where, roles, usable, wanted, inventory, cut)
        meta = {
            "sample_rate": rate,
            "labels": ordered.labels,
            "clips": ordered.clips,
            "skipped": inventory.named(),
            "inventory": inventory.to_dict(ordered.labels),
        }
        if cut.source_of:
            meta["sources"] = ordered.sources
        if "train_voices" in ordered.index:
            meta["voices"] = ordered.voices
        about = prepared_files.metadata(KIND, VERSION, key, {**meta, "cut": cut.name})
        store.write(path, ordered.rows, ordered.index, about)
    return _waveforms(path, cut, *prepared_files.read(path, KIND, VERSION, key))


def _roles(
    folders: Sequence[Path], wanted: tuple[str, ...] | None, inventory: Inventory, cut: Cut
) -> dict[File, Assignment]:
    """The sounds to decode, each with its label and split. All others are counted in the inventory."""
    assigned: dict[File, Assignment | str] = {}
    parts: dict[File, Part] = {}
    for folder in folders:
        files = find(folder, cut.suffixes, inventory)
        prefix = PurePosixPath(folder.name if len(folders) > 1 and folder.is_dir() else "")
        single = [file.name for file in files if file.name.suffix.lower() not in cut.collections]
        roles_by_name = assign(single, read_lists(folder), cut.label_of, cut.folder_label)
        splits = splits_by_folder([file.name for file in files]) or {}
        for file in files:
            name = prefix / file.name
            if file.name in roles_by_name:
                role = roles_by_name[file.name]
                if cut.source_of and isinstance(role, Assignment):
                    role = _of_source(role, cut.source_of(name), by_folder=file.name in splits)
                assigned[File(file.path, name)] = role
                continue
            try:
                of_file = cut.collections[name.suffix.lower()].parts(file.path)
            except Unusable as error:
                inventory.skip(name, str(error))
                continue
            inventory.note(f"{name} holds {len(of_file):,} sounds, each counted as a file")
            for part in of_file:
                sound = File(file.path, name / part.name, part.name)
                parts[sound] = part
                if file.name in splits:
                    assigned[sound] = Assignment(part.label, splits[file.name], name.as_posix(), part.source)
    for sound, group in related({sound: part.kin for sound, part in parts.items()}).items():
        assigned.setdefault(sound, Assignment(parts[sound].label, by_hash(group), group, parts[sound].source))
    labelled = any(role.label for role in assigned.values() if isinstance(role, Assignment))
    roles = {}
    for file, role in assigned.items():
        if isinstance(role, str):
            inventory.skip(file.name, role)
        elif labelled and role.label is None:
            inventory.skip(file.name, "it has no label, while others have one")
        elif wanted is not None and role.label not in wanted:
            inventory.skip(file.name, "its label is not among the labels asked for")
        elif role.split == "test":
            inventory.use("test", label=role.label)
        else:
            roles[file] = role
    where = named(folders)
    if wanted is not None and (missing := [w for w in wanted if w not in {role.label for role in roles.values()}]):
        there = in_order(r.label for r in assigned.values() if isinstance(r, Assignment) and r.split != "test")
        raise DataError(f"{where}: no recording of {', '.join(missing)}; there are {', '.join(there) or 'no labels'}")
    if not roles:
        raise _nothing(where, inventory, cut)
    return roles


def _of_source(role: Assignment, source: str, by_folder: bool) -> Assignment:
    return replace(role, split=role.split if by_folder else by_hash(source), group=source, source=source)


def named(folders: Folders) -> str:
    """The folders as messages name them."""
    return str(folders) if isinstance(folders, Path) else ", ".join(map(str, folders))


def _nothing(where: str, inventory: Inventory, cut: Cut) -> DataError:
    total = inventory.to_dict()["found"]
    if not total:
        return DataError(f"{where}: no recordings to train on; files may be {', '.join(sorted(cut.suffixes))}")
    return DataError(f"{where}: none of {total} recordings can be trained on: {inventory.why_unusable()}")


def _stream(
    contents: Mapping[File, Content], rate: int, cut: Cut, store: RowStore, inventory: Inventory
) -> dict[File, range]:
    """Decodes the files into the store; returns the rows of each usable one, and counts the others."""
    usable = {}
    for file, content in tqdm(contents.items(), desc="reading", unit="file", leave=False):
        first = store.rows
        dropped: Counter[str] = Counter()
        try:
            for window in _windows(file, content, rate, store.length, cut):
                if isinstance(window, str):
                    dropped[window] += 1
                else:
                    store.append(window)
            if store.rows == first:
                raise Unusable(next(iter(dropped), "silence"))
        except Unusable as error:
            store.truncate(first)
            inventory.skip(file.name, str(error))
        else:
            usable[file] = range(first, store.rows)
            for reason, count in dropped.items():
                inventory.drop(reason, count)
    return usable


def _without_small_sources(
    usable: dict[File, range], roles: Mapping[File, Assignment], cut: Cut, inventory: Inventory
) -> dict[File, range]:
    """Leaves out what `Cut.fewest` says, and counts it."""
    counts = Counter(roles[file].source for file in usable if file.part)
    small = {source for source, count in counts.items() if count < cut.fewest}
    if small:
        inventory.note(f"{len(small)} sources left out, since fewer than {cut.fewest} of their sounds can be used")
    for file in usable:
        if file.part and roles[file].source in small:
            inventory.skip(file.name, f"fewer than {cut.fewest} sounds of its source can be used")
    return {file: rows for file, rows in usable.items() if not (file.part and roles[file].source in small)}


def _windows(file: File, content: Content, rate: int, samples: int, cut: Cut) -> Iterator[np.ndarray | str]:
    collection = cut.collections[file.path.suffix.lower()] if file.part else None
    with collection.open(file.path, file.part, content) if collection else recording(file.path, content) as sound:
        yield from cut.windows(sound, rate, samples)


@dataclass(frozen=True)
class _Ordered:
    """Rows, and indices of labels, sources and voices, of each tensor; all of those by name; and the windows of each
    split and label."""

    rows: Mapping[str, Sequence[int]]
    index: Mapping[str, Tensor]
    labels: list[str]
    sources: list[str]
    voices: list[str]
    clips: dict[str, int]


def _in_splits(
    where: str,
    roles: Mapping[File, Assignment],
    usable: Mapping[File, range],
    wanted: tuple[str, ...] | None,
    inventory: Inventory,
    cut: Cut,
) -> _Ordered:
    """Sorts rows into their splits, after `repair` gave every label something to train on."""
    before = [roles[file] for file in usable]
    after = repair(before)
    if moved := sum(a.split != b.split for a, b in zip(before, after, strict=True)):
        inventory.note(f"{moved} files moved from validation to training, where a label would have had none")
    lost = in_order({role.label for role in roles.values()} - {role.label for role in after})
    if lost and wanted is not None:
        raise DataError(f"{where}: no recording of {', '.join(lost)} can be used: {inventory.reasons()}")
    if lost:
        inventory.note(f"no recording of {', '.join(lost)} can be used")
    labels = list(wanted or in_order(role.label for role in after))
    rows: dict[str, list[int]] = {"train": [], "valid": []}
    sources, voices = sorted({role.source for role in after}), sorted({role.voice for role in after})
    known = {source: k for k, source in enumerate(sources)}
    index: dict[str, list[int]] = {"train_labels": [], "valid_labels": []}
    if cut.source_of:
        index |= {"train_sources": [], "valid_sources": []}
    if all(voices):
        index |= {"train_voices": [], "valid_voices": []}
    clips: Counter[str] = Counter()
    for (_, windows), role in zip(usable.items(), after, strict=True):
        inventory.use(role.split, len(windows), role.label)
        rows[role.split] += windows
        index[f"{role.split}_labels"] += [labels.index(role.label) if role.label else 0] * len(windows)
        if cut.source_of:
            index[f"{role.split}_sources"] += [known[role.source]] * len(windows)
        if all(voices):
            index[f"{role.split}_voices"] += [voices.index(role.voice)] * len(windows)
        clips[f"{role.split} {role.label or ''}".strip()] += len(windows)
    tensors = {name: torch.tensor(values, dtype=torch.long) for name, values in index.items()}
    return _Ordered(rows, tensors, labels, sources, voices, dict(sorted(clips.items())))


def _given(path: Path, wanted: tuple[str, ...] | None, rate: int | None, cut: Cut) -> Waveforms:
    waveforms = _waveforms(path, cut, *prepared_files.read(path, KIND, VERSION))
    meta = waveforms.meta
    if wanted not in (None, tuple(meta["labels"])) or rate not in (None, meta["sample_rate"]):
        raise DataError(
            f"{path}: prepared at {meta['sample_rate']} Hz with the labels {', '.join(meta['labels']) or 'none'}; "
            "other options need the recordings"
        )
    return waveforms


def _waveforms(path: Path, cut: Cut, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Waveforms:
    """Checks the tensors of a prepared file. Raises DataError if they do not fit `Waveforms` and the cut."""
    try:
        samples = cut.samples(meta["sample_rate"])
        right = meta["cut"] == cut.name and "inventory" in meta
        for split in ("train", "valid"):
            rows, labels = tensors[split], tensors[f"{split}_labels"]
            right &= rows.dtype == torch.float16 and rows.ndim == 2 and rows.shape[1] == samples
            right &= labels.dtype == torch.long and labels.shape == rows.shape[:1]
            right &= not len(labels) or 0 <= int(labels.min()) <= int(labels.max()) < max(1, len(meta["labels"]))
            for name in (["sources"] if cut.source_of else []) + (["voices"] if "voices" in meta else []):
                index = tensors[f"{split}_{name}"]
                right &= index.dtype == torch.long and index.shape == labels.shape
                right &= not len(index) or 0 <= int(index.min()) <= int(index.max()) < len(meta[name])
        right &= len(tensors["train"]) > 0
    except (KeyError, TypeError, ValueError):
        right = False
    if not right:
        raise DataError(
            f"{path}: not a file of windows that can be trained on here; give the folder of recordings instead"
        )
    train, train_labels, valid, valid_labels = (
        tensors[name] for name in ("train", "train_labels", "valid", "valid_labels")
    )
    known = ("train_sources", "valid_sources", "train_voices", "valid_voices")
    found = (tensors.get(name) for name in known)
    return Waveforms(train, train_labels, valid, valid_labels, meta, *found)


def _common_rate(files: Sequence[File]) -> int:
    """16 kHz if most of some 50 files have at least that sample rate, else 8 kHz."""
    rates: Counter[bool] = Counter()
    for file in files[:: max(1, len(files) // 50)]:
        if file.part:
            rates[True] += 1  # rendered at any rate
            continue
        try:
            with recording(file.path) as sound:
                rates[sound.samplerate >= 16000] += 1
        except Unusable:
            continue  # counted when it is decoded
    return 16000 if rates[True] > rates[False] else 8000


def centred(sound: Any, sample_rate: int, samples: int) -> Iterator[np.ndarray | str]:
    """Makes one window of a short recording, centred on its energy.

    A recording of more than 3 s is cut into windows end to end. Those more than 40 dB below its loudest are left out as
    pauses; the others are treated as short recordings.
    """
    limit = math.ceil(LONGEST_CLIP_SECONDS * sound.samplerate)
    start = read_frames(sound, limit + 1)
    if len(start) <= limit:
        yield shape_clip(start, sound.samplerate, sample_rate, samples)
        return
    seconds = samples / sample_rate
    loudest = max(_loudness(piece, sound.samplerate) for piece in pieces(sound, seconds))
    if loudest < SILENCE:
        raise Unusable("silence")
    for piece in pieces(sound, seconds):
        if len(piece) < seconds * sound.samplerate / 2:
            yield "the end of a recording, shorter than half a window"
        elif _loudness(piece, sound.samplerate) < PAUSE * loudest:
            yield "a pause in a long recording"
        else:
            fade = np.linspace(0, 1, round(FADE_SECONDS * sound.samplerate), dtype=np.float32)
            piece[: len(fade)] *= fade
            piece[-len(fade) :] *= fade[::-1]
            try:
                yield shape_clip(piece, sound.samplerate, sample_rate, samples)
            except Unusable as error:
                yield str(error)


CENTRED = Cut(f"centred {VERSION}", lambda rate: FRAMES * round(rate * HOP_SECONDS), centred)


def _loudness(waveform: np.ndarray, rate: int) -> float:
    """Root mean square of the loudest of consecutive 30 ms blocks, after subtracting the mean."""
    frames = max(1, round(LOUD_SECONDS * rate))
    waveform = waveform - waveform.mean()
    whole = waveform[: len(waveform) // frames * frames].reshape(-1, frames)
    return float(np.sqrt((whole.astype(np.float64) ** 2).mean(1).max())) if len(whole) else 0.0


def shape_clip(waveform: np.ndarray, rate: int, sample_rate: int, samples: int) -> np.ndarray:
    """Resamples a clip, removes its mean, scales its loudest 30 ms to `LOUDNESS` and centres it on its energy.

    Returns:
        (samples,) float32 in [-1, 1].
    Raises:
        Unusable: if it is silent or shorter than 0.05 s.
    """
    from scipy.ndimage import uniform_filter1d

    if len(waveform) < SHORTEST_SECONDS * rate:
        raise Unusable(f"shorter than {SHORTEST_SECONDS} s")
    waveform = waveform - waveform.mean()
    if np.abs(waveform).max() < SILENCE:
        raise Unusable("silence")
    waveform = resample(waveform, rate, sample_rate)
    window = round(LOUD_SECONDS * sample_rate)
    power = uniform_filter1d(np.square(waveform).astype(np.float64), window, mode="constant").clip(0)
    centre = round(float((np.arange(len(power)) * power).sum() / power.sum()))
    # Pads one side so that the centre of energy is the middle, then cuts to length around it.
    before = max(0, len(waveform) - 2 * centre)
    after = max(0, 2 * centre - len(waveform))
    placed = fit(np.pad(waveform * (LOUDNESS / np.sqrt(power.max())), (before, after)), samples)
    return placed.clip(-1, 1).astype(np.float32)

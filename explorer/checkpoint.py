"""The file format of trained generators: `NAME.safetensors`, with a model card `NAME.md` beside it.

Tensors are named `generator.*` (weights, 16-bit floats where that is exact enough), `directions.*`, and, where a
checkpoint has one, `encoder.*` and `vocoder.*`. The metadata says how to build the network: `format`, `family`,
`config`, `provenance`, `directions` and `vocoder`, all but the first two as JSON. Nothing in a file names code to run.

A file with a `vocoder` but no `family` holds a learned inversion alone, for checkpoints to be exported with it.

`snapshots/NAME` holds how NAME came to be: `STEP.safetensors`, the weights at that step of its training, without
directions and vocoder, and `metrics.jsonl`, the figures of the run. A snapshot is called NAME@STEP. To be small its
matrices and kernels are 8-bit whole numbers, with a factor for each output channel in `scale.*`.
"""

import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import lru_cache
from os.path import isfile  # unlike Path.is_file it takes a name of any length
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from explorer.directions import Direction
from explorer.generators import FAMILIES
from explorer.generators.base import Generator
from explorer.sound.mel import MelConfig, MelRepresentation
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig

FORMAT = "latent-explorer/1"
_CHECKOUT = Path(__file__).resolve().parents[1]
_INSTALLED = Path(__file__).resolve().parent / "checkpoints"  # where a wheel puts them
DEFAULT_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT / "checkpoints"
SNAPSHOTS, METRICS = "snapshots", "metrics.jsonl"
STEP = re.compile("0|[1-9][0-9]{0,8}")  # in the name of a snapshot


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file, what was found and what is known."""


@dataclass(frozen=True)
class Card:
    """What can be said of a checkpoint without loading its weights."""

    name: str
    family: str
    labels: tuple[str, ...] | None
    latent_shape: tuple[int, ...]
    parameters: int
    sample_rate: int
    seconds: float
    sha256: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    path: Path = field(default=Path(), repr=False)


def save(
    path: Path,
    generator: Generator,
    *,
    directions: tuple[Direction, ...] = (),
    provenance: Mapping[str, Any] | None = None,
    extra: Mapping[str, Tensor] | None = None,
    vocoder: LearnedVocoder | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes a checkpoint in one piece: the old file stays until the new one is complete.

    Args:
        directions: shipped with the weights, so that sliders mean the same everywhere.
        provenance: JSON-able; data, command, steps, hardware, licence.
        extra: further tensors, e.g. `encoder.*`.
        vocoder: turns the generator's spectrograms into sound; it travels with the weights, so that their hash covers
            all that is heard.
        dtype: of the stored floating-point weights, e.g. `torch.float16`; as they are if None. `torch.int8` stores
            what has several dimensions in 8 bit and the rest as bfloat16: near enough to see and hear what a network
            has learned so far, and half as large.
    """
    tensors = {f"generator.{k}": v for k, v in generator.state_dict().items()}
    tensors |= extra or {}
    if dtype is torch.int8:
        tensors = _in_8_bit(tensors)
    elif dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    metadata = {
        "format": FORMAT,
        "family": generator.family,
        "config": json.dumps(asdict(generator.config)),
        "provenance": json.dumps(dict(provenance or {})),
    }
    _store(path, metadata, tensors, directions, vocoder)


def _in_8_bit(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each float tensor of several dimensions as whole numbers from -127 to 127, and as "scale.NAME" the size of 1 in
    each of its first dimension's parts."""
    stored = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dim() > 1:
            scale = tensor.abs().flatten(1).amax(1).clamp(min=1e-12) / 127
            stored[name] = (tensor / _along_first(scale, tensor)).round().to(torch.int8)
            stored[f"scale.{name}"] = scale
        else:
            stored[name] = tensor.bfloat16() if tensor.is_floating_point() else tensor
    return stored


def _from_8_bit(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """What `_in_8_bit` stored, or the tensor as it is."""
    tensor, scale = tensors[name], tensors.get(f"scale.{name}")
    return tensor if scale is None else tensor * _along_first(scale, tensor)


def _along_first(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (tensor.dim() - 1))


def save_vocoder(path: Path, vocoder: LearnedVocoder, provenance: Mapping[str, Any]) -> None:
    """Writes a learned inversion on its own, in one piece; `provenance` as in `save`."""
    _store(path, {"format": FORMAT, "kind": "vocoder", "provenance": json.dumps(dict(provenance))}, {}, (), vocoder)


def _store(
    path: Path,
    metadata: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    directions: tuple[Direction, ...],
    vocoder: LearnedVocoder | None = None,
) -> None:
    if vocoder is not None:
        metadata = {**metadata, "vocoder": json.dumps(asdict(vocoder.config))}
        tensors = {**tensors, **{f"vocoder.{k}": v.half() for k, v in vocoder.state_dict().items()}}
    vectors = {"directions.vectors": torch.stack([d.vector for d in directions])} if directions else {}
    stored = {k: v.detach().cpu().contiguous() for k, v in {**tensors, **vectors}.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(stored, partial, {**metadata, "directions": json.dumps([d.to_dict() for d in directions])})
    partial.replace(path)


def load(path: Path) -> tuple[Generator, tuple[Direction, ...]]:
    """The generator in eval mode on the CPU in float32, and the directions shipped with it.

    Raises:
        CheckpointError: if the file is missing, broken, of another format or an unknown family, or if a tensor is
            missing, superfluous or misshapen.
    """
    metadata, tensors = _read(path)
    generator = _build(path, metadata)
    try:
        weights = {k.removeprefix("generator."): _from_8_bit(tensors, k) for k in tensors if k.startswith("generator.")}
        generator.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit family {metadata['family']!r}: {error}") from None
    generator.eval().requires_grad_(False)
    if "vocoder" in metadata:
        _attach(path, generator, _vocoder(path, metadata, tensors))
    return generator, _directions(path, metadata, tensors, generator.latent.shape)


def load_vocoder(path: Path) -> LearnedVocoder:
    """The learned inversion that a file holds or a checkpoint carries, in eval mode on the CPU in float32.

    Raises:
        CheckpointError: if the file is missing, broken, of another format, or has none.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT or "vocoder" not in metadata:
        raise CheckpointError(f"{path}: no learned inversion of format {FORMAT!r} in it")
    return _vocoder(path, metadata, tensors)


def find_vocoder(folder: Path, mel: MelConfig) -> LearnedVocoder | None:
    """The first learned inversion of such spectrograms in a folder, by the name of its file, which may be a checkpoint
    that carries it; None if there is none."""
    for path in sorted(folder.glob("*.safetensors")):
        with _open(path) as file:
            config = (file.metadata() or {}).get("vocoder")
        if config and config_from_dict(VocoderConfig, json.loads(config)).fits(mel):
            return load_vocoder(path)
    return None


def _vocoder(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> LearnedVocoder:
    weights = {k.removeprefix("vocoder."): v for k, v in tensors.items() if k.startswith("vocoder.")}
    try:
        config = config_from_dict(VocoderConfig, json.loads(metadata["vocoder"]))
        with torch.random.fork_rng(devices=[]):
            vocoder = LearnedVocoder(config)
        vocoder.load_state_dict(weights, strict=True)
    except Exception as error:  # as in `_build`
        raise CheckpointError(f"{path}: the learned inversion cannot be used: {error}") from None
    return vocoder.eval().requires_grad_(False)


def _attach(path: Path, generator: Generator, vocoder: LearnedVocoder) -> None:
    representation = generator.representation
    if not isinstance(representation, MelRepresentation) or not vocoder.config.fits(representation.config):
        raise CheckpointError(f"{path}: the learned inversion in it is for other spectrograms ({vocoder.config})")
    representation.learned = vocoder


def _directions(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor], shape: tuple[int, ...]
) -> tuple[Direction, ...]:
    vectors = tensors.get("directions.vectors", torch.zeros(0))
    try:
        entries = json.loads(metadata.get("directions", "[]"))
        if len(entries) != len(vectors):
            raise ValueError(f"{len(entries)} are named and {len(vectors)} are stored")
        if entries and vectors.shape[1:] != shape:
            raise ValueError(f"they have shape {tuple(vectors.shape[1:])}, the latent has {shape}")
        return tuple(Direction(vector=v, **e) for v, e in zip(vectors, entries, strict=True))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the directions cannot be used: {error}") from None


def save_directions(path: Path, directions: tuple[Direction, ...]) -> None:
    """Replaces the directions in a checkpoint, in one piece, and leaves its weights as they are, bit for bit.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    metadata, tensors = _read(path)
    _store(path, metadata, {k: v for k, v in tensors.items() if k != "directions.vectors"}, directions)


def load_extra(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix.`, without it, e.g. the weights of an `encoder`; {} if none."""
    _, tensors = _read(path)
    return {k.removeprefix(f"{prefix}."): v.float() for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def read_card(path: Path) -> Card:
    """Reads what a checkpoint is without building its weights. Raises CheckpointError as `load` does."""
    stat = path.stat() if path.is_file() else None
    if stat is None:
        raise CheckpointError(f"{path}: no such checkpoint")
    return _read_card(path, stat.st_mtime_ns, stat.st_size)


def find(folder: Path) -> dict[str, Path]:
    """Every checkpoint of a generator in a folder, by name."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError):
            metadata = {"family": ""}  # broken: listed, so that choosing it says what is wrong
        if "family" in metadata:
            found[path.stem] = path
    return found


def locate(folder: Path, name: str) -> Path | None:
    """Where the checkpoint NAME of a folder lies, or its snapshot NAME@STEP; None if it has none of this name."""
    path = folder / f"{name}.safetensors"
    if path.parent == folder and isfile(path):  # a name from a link must not lead out of the folder
        return path
    model, at, step = name.rpartition("@")
    if not at or not STEP.fullmatch(step) or not (final := locate(folder, model)) or final.parent != folder:
        return None
    path = folder / SNAPSHOTS / model / f"{step}.safetensors"
    return path if isfile(path) else None


def snapshots(folder: Path, name: str) -> list[int]:
    """The steps of training at which the weights of a checkpoint were kept beside it, ascending; the last, which are
    the checkpoint's own, are not among them."""
    if locate(folder, name) is None:
        return []
    return sorted(
        int(path.stem) for path in (folder / SNAPSHOTS / name).glob("*.safetensors") if STEP.fullmatch(path.stem)
    )


@lru_cache(maxsize=256)
def _read_card(path: Path, _mtime: int, _size: int) -> Card:
    """Keyed by time and size too: a checkpoint that was replaced is read anew."""
    with _open(path) as file:
        metadata = file.metadata() or {}
        shapes = [file.get_slice(k).get_shape() for k in file.keys() if k.startswith("generator.")]  # noqa: SIM118
    with torch.device("meta"):
        generator = _build(path, metadata)
    try:
        provenance = json.loads(metadata.get("provenance", "{}"))
    except ValueError as error:
        raise CheckpointError(f"{path}: the provenance in the metadata is not JSON: {error}") from None
    with path.open("rb") as stream:
        digest = (
            hashlib.file_digest(stream, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else (hashlib.sha256(stream.read()).hexdigest())
        )
    return Card(
        name=path.stem,
        family=metadata["family"],
        labels=generator.condition.choices if generator.condition else None,
        latent_shape=generator.latent.shape,
        parameters=sum(int(torch.Size(s).numel()) for s in shapes),
        sample_rate=generator.representation.sample_rate,
        seconds=generator.representation.seconds,
        sha256=digest,
        provenance=provenance,
        path=path,
    )


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or cut short ({error})") from None


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with _open(path) as file:
        return file.metadata() or {}, {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118


def _build(path: Path, metadata: Mapping[str, str]) -> Generator:
    found = metadata.get("format")
    if found != FORMAT:
        raise CheckpointError(f"{path}: format {found!r}; this program reads {FORMAT!r}")
    family = FAMILIES.get(metadata.get("family", ""))
    if family is None:
        raise CheckpointError(
            f"{path}: family {metadata.get('family')!r} is unknown; known are {', '.join(sorted(FAMILIES))}"
        )
    try:
        config = config_from_dict(family.Config, json.loads(metadata["config"]))
        with torch.random.fork_rng(devices=[]):  # first weights are drawn, and replaced at once
            return family(config)
    except Exception as error:  # a constructor may raise anything for numbers that nobody chose
        raise CheckpointError(f"{path}: the configuration does not fit family {family.family!r}: {error}") from None


def config_from_dict(kind: Any, data: Any) -> Any:
    """Builds a (nested) dataclass from plain JSON values; strict about names, lists become tuples.

    Raises:
        ValueError: naming fields that are missing or unknown.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next((k for k in typing.get_args(kind) if is_dataclass(k)), None) if data is not None else None
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        known = {f.name for f in fields(kind)}
        if set(data) != known:
            raise ValueError(f"{kind.__name__} has {sorted(known)}, the file has {sorted(data)}")
        return kind(**{name: config_from_dict(hints[name], value) for name, value in data.items()})
    return _tuples(data)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value

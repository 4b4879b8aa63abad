"""The file format of trained generators: `NAME.safetensors`, with a model card `NAME.md` beside it.

Tensors are named `generator.*` (weights, 16-bit floats where that is exact enough), `directions.vectors`, and, in some
checkpoints, `encoder.*` and those of the parts of the representation, such as `vocoder.*`. The metadata says how to
build the network: `format`, `family`, `config`, `provenance`, `directions` and the configuration of each part under
its name, all but the first two as JSON. Loading a file runs no code from it.

A file with a part but no `family` holds that part alone; `python -m training export` copies it into checkpoints.

To be small, a checkpoint may store matrices and kernels as 8-bit integers, with a scale factor for each output channel
in `scale.*`.
"""

import json
import stat
import threading
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from explorer.atomic import write_tensors
from explorer.directions import Direction
from explorer.generators import FAMILIES
from explorer.generators.base import Generator

FORMAT = "latent-explorer/1"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # start of a file that Git LFS has not downloaded yet
_random_state_lock = threading.Lock()  # two threads that save and restore torch's one random state would mix it up
MAX_HEADER = 100_000_000  # bytes of a file's header, as safetensors has it
NOT_PARTS = {"format", "family", "config", "provenance", "directions", "kind"}  # metadata keys that do not name a part


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file, what was found and what was expected.

    A file is named without its folder: messages are shown to visitors, whom the server's folders do not concern.
    """


@dataclass(frozen=True)
class Card:
    """Metadata of a checkpoint: everything known without loading the weights."""

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
    dtype: torch.dtype | None = None,
) -> None:
    """Writes a checkpoint atomically: the old file stays until the new one is complete.

    The parts of the generator's representation, such as a vocoder, are stored with the weights as 16-bit floats, so
    that the file's hash covers everything that affects the sound.

    Args:
        directions: shipped with the weights, so that sliders mean the same everywhere.
        provenance: JSON-able; data, command, steps, hardware, licence.
        extra: further tensors, e.g. `encoder.*`.
        dtype: of the stored floating-point weights, e.g. `torch.float16`; unchanged if None. `torch.int8` stores
            tensors of several dimensions in 8 bit and the rest as bfloat16, for snapshots of training: half the size
            of 16 bit, and accurate enough to hear what a network has learned so far.
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
    for name, part in generator.representation.parts().items():
        metadata, tensors = _with_part(metadata, tensors, name, part)
    _write(path, metadata, tensors, directions)


def save_part(path: Path, name: str, part: Any, provenance: Mapping[str, Any]) -> None:
    """Writes a part of a representation, such as a vocoder, to a file of its own, atomically.

    Args:
        provenance: as in `save`.
    """
    metadata = {"format": FORMAT, "kind": name, "provenance": json.dumps(dict(provenance))}
    _write(path, *_with_part(metadata, {}, name, part), ())


def save_directions(path: Path, directions: tuple[Direction, ...]) -> None:
    """Replaces the directions in a checkpoint, atomically; its weights stay the same, bit for bit.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    metadata, tensors = read_tensors(path)
    _write(path, metadata, {k: v for k, v in tensors.items() if k != "directions.vectors"}, directions)


def load(path: Path) -> tuple[Generator, tuple[Direction, ...]]:
    """The generator in eval mode on the CPU in float32, and the directions shipped with it.

    Raises:
        CheckpointError: if the file is missing, broken, of another format or an unknown family, or if a tensor is
            missing, superfluous, misshapen or not finite.
    """
    metadata, tensors = read_tensors(path)
    weights = _tensors_under(tensors, "generator")
    what = f"the weights do not fit family {metadata.get('family')!r}"
    with torch.device("meta"):  # a configuration for which there are no weights must not cost memory
        _restore(path, build(path, metadata), weights, what, assign=True)
    generator = build(path, metadata)
    _restore(path, generator, weights, what)
    for name, part in _parts(path, generator, metadata, tensors).items():
        try:
            generator.representation.carry(name, part)
        except ValueError as error:
            raise CheckpointError(f"{path.name}: {error}") from None
    return generator, _directions(path, metadata, tensors, generator.latent.shape)


def load_part(path: Path, name: str, kind: type[Any]) -> Any:
    """Loads one part, such as a vocoder, from a checkpoint or a file of its own; in eval mode on the CPU in float32.

    Raises:
        CheckpointError: if the file is missing, broken, of another format, or has no such part.
    """
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != FORMAT or name not in metadata:
        raise CheckpointError(f"{path.name}: holds no {name} of format {FORMAT!r}")
    return _part(path, name, kind, metadata, tensors)


def load_extra(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors named `PREFIX.*`, by the rest of their name, e.g. the weights of an `encoder`; {} if none."""
    _, tensors = read_tensors(path)
    return {k.removeprefix(f"{prefix}."): v.float() for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors file's header. Raises CheckpointError if it is missing or broken."""
    return _header(path)[0]


def read_card(path: Path, sha256: str) -> Card:
    """Reads the card of a checkpoint without loading its weights; `sha256` is that of the file.

    Raises:
        CheckpointError: as `load`.
    """
    metadata, shapes = _header(path)
    with torch.device("meta"):
        generator = build(path, metadata)
    stored = {name: shape for name, shape in shapes.items() if name.startswith("generator.")}
    if stored != {f"generator.{name}": list(tensor.shape) for name, tensor in generator.state_dict().items()}:
        raise CheckpointError(f"{path.name}: the weights do not fit family {metadata['family']!r}")
    try:
        provenance = json.loads(metadata.get("provenance", "{}"))
        if not isinstance(provenance, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: the provenance in the metadata is not JSON: {error}") from None
    return Card(
        name=path.stem,
        family=metadata["family"],
        labels=generator.condition.labels if generator.condition else None,
        latent_shape=generator.latent.shape,
        parameters=sum(torch.Size(shape).numel() for shape in stored.values()),
        sample_rate=generator.representation.sample_rate,
        seconds=generator.representation.seconds,
        sha256=sha256,
        provenance=provenance,
        path=path,
    )


def build(path: Path, metadata: Mapping[str, str]) -> Generator:
    """Builds the generator that a file's metadata describes, with initial weights. Raises CheckpointError."""
    found = metadata.get("format")
    if found != FORMAT:
        raise CheckpointError(f"{path.name}: format {found!r}; this program reads {FORMAT!r}")
    family = FAMILIES.get(metadata.get("family", ""))
    if family is None:
        raise CheckpointError(
            f"{path.name}: family {metadata.get('family')!r} is unknown; known are {', '.join(sorted(FAMILIES))}"
        )
    try:
        config = config_from_dict(family.Config, json.loads(metadata["config"]))
        with random_state_kept():
            return family(config)
    except Exception as error:  # constructors raise all sorts of errors for impossible numbers
        raise CheckpointError(
            f"{path.name}: the configuration does not fit family {family.family!r}: {_one_line(error)}"
        ) from None


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Keeps torch's global random state unchanged while building modules whose initial weights are replaced."""
    with _random_state_lock, torch.random.fork_rng(devices=[]):
        yield


def config_from_dict(kind: Any, data: Any) -> Any:
    """Builds a (nested) dataclass from plain JSON values; strict about names, lists become tuples.

    A dataclass that has gained fields reads older files by a static method `upgrade(data)`, which adds the missing
    values.

    Raises:
        ValueError: naming fields that are missing or unknown.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next((k for k in typing.get_args(kind) if is_dataclass(k)), None) if data is not None else None
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(data, Mapping):
            raise ValueError(f"{kind.__name__} is an object, not {data!r:.40}")
        hints = typing.get_type_hints(kind)
        known = {f.name for f in fields(kind)}
        data = getattr(kind, "upgrade", dict)(data)
        if unknown := sorted(set(data) - known):
            raise ValueError(f"{kind.__name__} has no field {', '.join(map(str, unknown))}")
        if missing := sorted(known - set(data)):
            raise ValueError(f"{kind.__name__} lacks its field {', '.join(missing)}")
        return kind(**{name: config_from_dict(hints[name], value) for name, value in data.items()})
    return _tuples(data)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _with_part(
    metadata: Mapping[str, str], tensors: Mapping[str, Tensor], name: str, part: Any
) -> tuple[dict[str, str], dict[str, Tensor]]:
    weights = {f"{name}.{k}": v.half() for k, v in part.state_dict().items()}
    return {**metadata, name: json.dumps(asdict(part.config))}, {**tensors, **weights}


def _write(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor], directions: tuple[Direction, ...]
) -> None:
    vectors = {"directions.vectors": torch.stack([d.vector for d in directions])} if directions else {}
    stored = {k: v.detach().cpu().contiguous() for k, v in {**tensors, **vectors}.items()}
    write_tensors(path, stored, {**metadata, "directions": json.dumps([d.to_dict() for d in directions])})


def _in_8_bit(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quantises float tensors of several dimensions to -127 ... 127, other floats to bfloat16.

    `scale.NAME` holds a factor for each index of the first dimension.
    """
    stored = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dim() > 1:
            scale = tensor.abs().flatten(1).amax(1).clamp(min=1e-12) / 127
            stored[name] = (tensor / _per_channel(scale, tensor)).round().to(torch.int8)
            stored[f"scale.{name}"] = scale
        else:
            stored[name] = tensor.bfloat16() if tensor.is_floating_point() else tensor
    return stored


def _per_channel(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (tensor.dim() - 1))


def _tensors_under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors named `PREFIX.*`, by the rest of their name, with 8-bit ones scaled back to floats."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            scale = tensors.get(f"scale.{name}")
            found[name.removeprefix(f"{prefix}.")] = tensor if scale is None else tensor * _per_channel(scale, tensor)
    return found


def _restore(path: Path, module: nn.Module, weights: Mapping[str, Tensor], what: str, assign: bool = False) -> None:
    """Loads weights of a file into a module and puts it into eval mode, without gradients."""
    for name, tensor in weights.items():
        if not bool(tensor.float().isfinite().all()):
            raise CheckpointError(
                f"{path.name}: the weights in {name} are not all finite numbers; the training went wrong before it was "
                "saved, so use an earlier checkpoint of it"
            )
    try:
        module.load_state_dict(dict(weights), strict=True, assign=assign)
    except RuntimeError as error:
        raise CheckpointError(f"{path.name}: {what}: {_one_line(error)}") from None
    module.eval().requires_grad_(False)


def _parts(
    path: Path, generator: Generator, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> dict[str, nn.Module]:
    known, parts = generator.representation.part_types, {}
    for name in sorted(metadata.keys() - NOT_PARTS):
        if name in known:
            parts[name] = _part(path, name, known[name], metadata, tensors)
        elif any(key.startswith(f"{name}.") for key in tensors):
            raise CheckpointError(f"{path.name}: holds a {name}, which family {metadata['family']!r} does not use")
    return parts


def _part(
    path: Path, name: str, kind: type[Any], metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> nn.Module:
    try:
        config = config_from_dict(kind.Config, json.loads(metadata[name]))
        with random_state_kept():
            part: nn.Module = kind(config)
    except Exception as error:  # as in `build`
        raise CheckpointError(f"{path.name}: the {name} in it cannot be used: {_one_line(error)}") from None
    _restore(path, part, _tensors_under(tensors, name), f"the {name} in it cannot be used")
    return part


def _directions(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor], shape: tuple[int, ...]
) -> tuple[Direction, ...]:
    vectors = tensors.get("directions.vectors", torch.zeros(0))
    try:
        entries = json.loads(metadata.get("directions", "[]"))
        if not isinstance(entries, list) or len(entries) != len(vectors):
            raise ValueError(f"{len(vectors)} vectors are stored, but not as many names")
        if entries and vectors.shape[1:] != shape:
            raise ValueError(f"their vectors must have the latent's shape {shape}, not {tuple(vectors.shape[1:])}")
        if not bool(vectors.float().isfinite().all()):
            raise ValueError("not all numbers of their vectors are finite")
        return tuple(Direction(vector=v.float(), **e) for v, e in zip(vectors, entries, strict=True))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: the directions cannot be used: {_one_line(error)}") from None


def require_file(path: Path) -> None:
    """Raises CheckpointError unless `path` is a regular file: opening a named pipe would wait without end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        raise CheckpointError(f"{path.name}: no such checkpoint") from None
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path.name}: not a file, but a folder, a pipe or a device")


def _header(path: Path) -> tuple[dict[str, str], dict[str, list[int]]]:
    """The metadata of a file, and the shape of each tensor, as long as the file has all of their bytes."""
    require_file(path)
    try:
        with path.open("rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
            if length > min(size - 8, MAX_HEADER):
                raise ValueError("its header is not whole")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata are not texts")
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if 8 + length + end != size:
            raise ValueError(f"its tensors end at byte {8 + length + end} of {size}")
        return metadata, {name: entry["shape"] for name, entry in header.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _unreadable(path, error) from None


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file. Raises CheckpointError if it is missing or broken."""
    require_file(path)
    try:
        data = path.read_bytes()  # not mapped: if a mapped file is cut meanwhile, the process ends (SIGBUS)
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return header.get("__metadata__") or {}, tensors
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise _unreadable(path, error) from None  # the last four: number types unknown to this torch


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"{path.name}: no such checkpoint")
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as closed:
        return CheckpointError(f"{path.name}: cannot be read: {closed.strerror}")
    if start == LFS_POINTER:
        return CheckpointError(
            f"{path.name}: a Git LFS pointer instead of the weights; fetch them with `git lfs pull` in its repository"
        )
    return CheckpointError(f"{path.name}: not a safetensors file, or cut short ({_one_line(error)})")


def _one_line(error: Exception) -> str:
    """An error's message in one line of at most 500 characters; the name of its type if it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 500 else text[:500] + " …"

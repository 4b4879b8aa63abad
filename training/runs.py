"""What a run keeps in its folder: `run.json` (what it is), its state, its figures, and the lock of its owner."""

import json
import logging
import math
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from explorer import atomic
from training import parallel
from training.objective import Objective

RUN, STATE, PREVIOUS_STATE, METRICS, LOCK = "run.json", "state.pt", "state.previous.pt", "metrics.jsonl", "lock"
CHUNKS = 256  # of a tensor in its fingerprint
TOLERANCE = 1e-4  # another kind of CPU computes spectrograms whose means differ by less

log = logging.getLogger(__name__)


class TrainingError(Exception):
    """A run that cannot start, go on or be read; the message says why and what to do."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the message says how to go on."""


# Who owns a folder.


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Makes a run's folder and holds it, so that no second run writes into it. Ends with the process at the latest.

    The processes of one torchrun are one owner. A folder in which nothing was written is taken away again.

    Raises:
        TrainingError: if a run that is alive holds the folder.
        OSError: if the folder cannot be made or written to.
    """
    if parallel.rank() > 0:
        yield
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = -1
    try:
        descriptor = _locked(folder / LOCK)
        yield
    finally:
        with suppress(OSError):
            if [path.name for path in folder.iterdir()] == [LOCK] and descriptor >= 0:
                (folder / LOCK).unlink()
            for path in missing:
                path.rmdir()  # an error where something was written
        if descriptor >= 0:
            os.close(descriptor)


def _locked(path: Path) -> int:
    """The descriptor of a file that this process alone has locked."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return -1
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(descriptor)
            raise TrainingError(
                f"{path.parent} is being written by a run that is still alive ({owner}): "
                "stop that one first, or choose another --out"
            ) from None
        except OSError as error:
            log.warning("%s cannot be locked (%s): start no second run into this folder", path, error)
            return descriptor
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
                return descriptor
        os.close(descriptor)  # its owner has just deleted it


# What a run is.

KINDS: dict[str, type] = {"recipe": dict, "config": dict, "command": str, "hardware": str}
OPTIONAL_KINDS: dict[str, type] = {
    "family": str,
    "kind": str,
    "overrides": dict,
    "prepare": dict,
    "init_from": dict,
    "precision": str,
    "processor": str,
    "threads": int,
}


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run: family, recipe, config, data, command, hardware.

    Raises:
        TrainingError: if the folder holds no run, or the file is damaged.
    """
    path = folder / RUN
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainingError(f"{folder} holds no run: there is no {RUN} in it") from None
    except NotADirectoryError:
        raise TrainingError(f"{folder} holds no run: it is not a folder") from None
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is damaged: {error}") from None
    known = KINDS | OPTIONAL_KINDS
    if not isinstance(run, dict):
        raise TrainingError(f"{path} is damaged: it holds no description of a run")
    data = run.get("data")
    folders = [data.get("folder")] if isinstance(data, dict) else data if isinstance(data, list) else [None]
    bad = [name for name, kind in known.items() if (name in run or name in KINDS) and type(run.get(name)) is not kind]
    bad += [] if folders and all(isinstance(folder, str) for folder in folders) else ["data"]
    if bad:
        raise TrainingError(f"{path} is damaged: {', '.join(bad)} cannot be read")
    return run


def write_run(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes `run.json`, in one piece."""
    atomic.write_text(folder / RUN, json.dumps(about, indent=1, ensure_ascii=False))


def portable(command: str) -> str:
    """A command with every path outside its folder cut to its last part: where data lay is nobody's business."""
    return re.sub(r"(?<=\s)(?:\.\.)?/[^\s;]*?([^\s;/]+)(?=[\s;]|$)", r"\1", command)


def fingerprint(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tells prepared data apart by its content: each tensor's shape, and weighted sums over equal parts of it.

    No hash: another kind of CPU gives spectrograms other last bits, and a run may move between machines.
    """
    found = {}
    for name, tensor in tensors.items():
        weights = torch.arange(1, 8, dtype=torch.float64)
        parts = []
        for part in tensor.detach().cpu().flatten().tensor_split(CHUNKS):
            x = part.double()
            # Whole numbers stay whole, so their sums are exact; the weights see what changes places.
            parts.append((x * weights.repeat(-(-len(x) // 7))[: len(x)]).sum() / (1 if _whole(tensor) else len(x) or 1))
        found[name] = torch.cat([torch.tensor(tensor.shape, dtype=torch.float64), torch.stack(parts)])
    return found


def same_data(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two fingerprints are of the same data."""
    return a.keys() == b.keys() and all(
        a[name].shape == b[name].shape and torch.allclose(a[name], b[name], rtol=0, atol=TOLERANCE) for name in a
    )


def _whole(tensor: Tensor) -> bool:
    return not tensor.is_floating_point()


# The state.


def has_state(folder: Path) -> bool:
    """Whether a run has saved anything to go on from."""
    return (folder / STATE).exists() or (folder / PREVIOUS_STATE).exists()


def save_state(objective: Objective, folder: Path, data: Mapping[str, Tensor] | None = None) -> None:
    """Writes the whole state in one piece, and keeps the one before it.

    Args:
        data: the fingerprint of what the run is trained on.
    Raises:
        TrainingError: if a weight is not finite, or the disk is full; the state before stays.
    """
    for name, module in objective.modules().items():
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise TrainingError(
                f"the weights of the {name} are no longer finite at step {objective.step}; the state of the "
                f"last good step is kept in {folder / STATE}"
            )
    state = {
        "step": objective.step,
        "device": objective.device.type,
        "rng": objective.rng.get_state(),
        "modules": {name: module.state_dict() for name, module in objective.modules().items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in objective.optimizers.items()},
        **({"data": dict(data)} if data is not None else {}),
    }
    try:
        with atomic.replacing(folder / STATE) as partial:
            torch.save(state, partial)
            if (folder / STATE).exists():
                (folder / STATE).replace(folder / PREVIOUS_STATE)
    except (OSError, RuntimeError) as error:  # torch's writer turns the first into the second
        raise TrainingError(
            f"the state of step {objective.step} cannot be written ({error}); make room in {folder} and go "
            "on with --resume from the state before"
        ) from None


def last_state(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a run saved last, or before that if the last file is damaged.

    Raises:
        TrainingError: if neither can be read.
    """
    if not has_state(folder):
        raise TrainingError(f"no state to be read in {folder}: the run saved none, start it again without --resume")
    problems = []
    for path in (folder / STATE, folder / PREVIOUS_STATE):
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            if _complete(state):
                return dict(state)
            problems.append(f"{path}: not the state of a run")
        except Exception as error:  # torch.load raises many types for a damaged pickle
            problems.append(f"{path}: {type(error).__name__}: {error}")
    raise TrainingError(f"no state to be read in {folder}: " + "; ".join(problems))


def _complete(state: Any) -> bool:
    kinds = {"step": int, "device": str, "rng": Tensor, "modules": dict, "optimizers": dict}
    return isinstance(state, dict) and all(isinstance(state.get(name), kind) for name, kind in kinds.items())


def load_state(objective: Objective, folder: Path) -> Mapping[str, Tensor] | None:
    """Puts a run back to its last saved step, and `metrics.jsonl` with it.

    A state that cannot be read costs the steps since the one before it. On another kind of device than before the
    random stream is started anew from seed and step.

    Returns:
        The fingerprint of the data that the run was trained on; None in states from before there were any.
    Raises:
        TrainingError: if no state can be read, or it does not fit the networks.
    """
    state = last_state(folder, objective.device)
    try:
        for name, module in objective.modules().items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in objective.optimizers.items():
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # the recipe's, which --resume may have changed
        if state["device"] == objective.device.type:
            objective.rng.set_state(state["rng"].cpu())
        else:
            objective.rng.manual_seed(objective.seed + state["step"])
        data = state.get("data")
        known = None if data is None else {name: tensor.cpu() for name, tensor in data.items()}
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise TrainingError(f"the state in {folder} does not fit this run's networks: {error}") from None
    objective.step = state["step"]
    if parallel.rank() == 0:
        _cut_metrics(folder / METRICS, objective.step)
    return known


# The figures.


def _cut_metrics(path: Path, step: int) -> None:
    """Takes away what a run wrote after a step, and what cannot be read."""
    if not path.exists():
        return
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    kept = [line for line, found in zip(lines, map(_figures, lines), strict=True) if found and found["step"] <= step]
    atomic.write_text(path, "".join(line + "\n" for line in kept))


def _figures(line: str) -> dict[str, Any] | None:
    """What a line of `metrics.jsonl` says, or None if it is damaged or cut short."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or type(found.get("step")) is not int or type(found.get("phase", "")) is not str:
        return None
    numbers = (value for name, value in found.items() if name != "phase")
    return found if all(isinstance(value, int | float) and math.isfinite(value) for value in numbers) else None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` of a run or of snapshots, without those that are damaged or cut short.

    Raises:
        TrainingError: if there are none to be read.
    """
    path = folder / METRICS
    try:
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise TrainingError(f"{path}: no figures to be read: {error.strerror}") from None
    if not (found := [figures for line in lines if (figures := _figures(line))]):
        raise TrainingError(f"{path}: no figures to be read")
    if len(found) < len(lines):
        log.warning("%s: %d damaged lines are left out", path, len(lines) - len(found))
    return found


@contextmanager
def journal(objective: Objective, folder: Path) -> Iterator[Callable[[str, float, Mapping[str, float]], None]]:
    """Writes the figures of a phase and the seconds they took to `metrics.jsonl` and TensorBoard, on rank 0.

    Raises:
        TrainingError: if they cannot be written.
    """
    if parallel.rank() > 0:
        yield lambda phase, seconds, means: None
        return
    try:
        board = SummaryWriter(str(folder / "tensorboard"), purge_step=objective.step)
    except OSError as error:
        raise TrainingError(f"the figures of {folder} cannot be written ({error})") from None

    def write(phase: str, seconds: float, means: Mapping[str, float]) -> None:
        line = {"step": objective.step, "phase": phase, "seconds": round(seconds, 3), **means}
        try:
            with (folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            for name, mean in means.items():
                board.add_scalar(f"{phase}/{name}", mean, objective.step)
        except OSError as error:
            raise TrainingError(
                f"the figures of step {objective.step} cannot be written ({error}); make room in {folder} "
                "and go on with --resume"
            ) from None

    try:
        yield write
    finally:
        with suppress(OSError):  # a full disk was said already, by what could not be written
            board.close()


def commands(before: Mapping[str, Any] | None, command: Sequence[str]) -> str:
    """All commands of a run, the latest last, on one line."""
    import shlex

    text = shlex.join(command).encode("utf-8", "backslashreplace").decode()
    return "; ".join([*([before["command"]] if before else []), text])

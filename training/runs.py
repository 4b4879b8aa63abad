"""A run's folder: `run.json` (its description), saved states, losses, and a lock against a second process."""

import json
import logging
import math
import os
import platform
import re
import shlex
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
CHUNKS = 256  # parts of a tensor that its fingerprint sums separately
TOLERANCE = 1e-4  # between fingerprints; spectrograms from another kind of CPU differ by less

log = logging.getLogger(__name__)


class TrainingError(Exception):
    """A run cannot start, continue or be read. The message says why and what to do."""


class Stopped(KeyboardInterrupt):
    """A run was stopped by Ctrl-C or SIGTERM. The message says how to continue."""


# The lock of a folder.


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a run's folder and locks it, so that no second run writes into it.

    The lock ends with the process at the latest. The processes of one torchrun share it. A new folder that stays empty
    is removed.

    Raises:
        TrainingError: if another run that is alive has locked the folder.
        OSError: if the folder cannot be made or written to.
    """
    if parallel.rank() > 0:
        yield
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = -1
    try:
        descriptor = _lock(folder / LOCK)
        yield
    finally:
        with suppress(OSError):
            if [path.name for path in folder.iterdir()] == [LOCK] and descriptor >= 0:
                (folder / LOCK).unlink()
            for path in missing:
                path.rmdir()  # fails, as it should, if the folder is not empty
        if descriptor >= 0:
            os.close(descriptor)


def _lock(path: Path) -> int:
    """Locks a file for this process alone; returns its descriptor, or -1 where locks do not exist."""
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
                f"{path.parent} is in use by a run that is still alive ({owner}): stop that one first, or choose "
                "another --out"
            ) from None
        except OSError as error:
            log.warning("%s cannot be locked (%s): do not start a second run into this folder", path, error)
            return descriptor
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
                return descriptor
        os.close(descriptor)  # its owner has just deleted the file: try again


# The description of a run.

FIELD_TYPES: dict[str, type] = {"recipe": dict, "config": dict, "command": str, "hardware": str}
OPTIONAL_FIELD_TYPES: dict[str, type] = {
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
    """Reads `run.json`: family, recipe, config, data, command, hardware.

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
    known = FIELD_TYPES | OPTIONAL_FIELD_TYPES
    if not isinstance(run, dict):
        raise TrainingError(f"{path} is damaged: it holds no description of a run")
    folders = data_folders(run)
    bad = [
        name for name, kind in known.items() if (name in run or name in FIELD_TYPES) and type(run.get(name)) is not kind
    ]
    right = isinstance(folders, list) and folders and all(isinstance(folder, str) for folder in folders)
    bad += [] if right else ["data"]
    if bad:
        raise TrainingError(f"{path} is damaged: {', '.join(bad)} cannot be read")
    return run


def data_folders(run: Mapping[str, Any]) -> Any:
    """The paths of the folders that a run was trained on, as its record has them."""
    data = run.get("data")
    return data.get("folders", [data.get("folder")]) if isinstance(data, dict) else data


def write_run(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes `run.json` atomically."""
    atomic.write_text(folder / RUN, json.dumps(about, indent=1, ensure_ascii=False))


def portable(command: str) -> str:
    """A command without private paths: those that are absolute or begin with .. are cut to their last part."""
    return re.sub(r"(?<=\s)(?:\.\.)?/[^\s;]*?([^\s;/]+)(?=[\s;]|$)", r"\1", command)


def fingerprint(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A summary of prepared data by which `same_data` compares it: each tensor's shape, and weighted sums of its parts.

    It is no hash, since spectrograms from another kind of CPU differ in their last bits, and a run may be moved between
    machines.
    """
    found, weights = {}, torch.arange(1, 8, dtype=torch.float64)
    for name, tensor in tensors.items():
        parts = []
        for part in tensor.detach().cpu().flatten().tensor_split(CHUNKS):
            x = part.double()
            # Sums of integers are exact. The weights make the sum depend on the order of the elements.
            total = (x * weights.repeat(-(-len(x) // 7))[: len(x)]).sum()
            parts.append(total / max(1, len(x)) if tensor.is_floating_point() else total)
        found[name] = torch.cat([torch.tensor(tensor.shape, dtype=torch.float64), torch.stack(parts)])
    return found


def same_data(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two fingerprints are of the same data."""
    return a.keys() == b.keys() and all(
        a[name].shape == b[name].shape and torch.allclose(a[name], b[name], rtol=0, atol=TOLERANCE) for name in a
    )


# The saved state.


def has_state(folder: Path) -> bool:
    """Whether a folder holds a saved state to resume from."""
    return (folder / STATE).exists() or (folder / PREVIOUS_STATE).exists()


def save_state(objective: Objective, folder: Path, data: Mapping[str, Tensor] | None = None) -> None:
    """Saves networks, optimizers, step and random state atomically; the state before it becomes `state.previous.pt`.

    Args:
        data: the fingerprint of the training set.
    Raises:
        TrainingError: if a weight is not finite, or the disk is full; the last state is kept.
    """
    for name, module in objective.modules().items():
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise TrainingError(
                f"the weights of the {name} are no longer finite at step {objective.step}; {folder / STATE} holds the "
                "last good state: resume from it with lower learning rates"
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
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as RuntimeError
        raise TrainingError(
            f"the state of step {objective.step} cannot be written ({error}); make room in {folder} "
            "and continue with --resume from the state before"
        ) from None


def last_state(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The last saved state of a run, or the one before it if the last is damaged.

    Raises:
        TrainingError: if neither can be read.
    """
    if not has_state(folder):
        raise TrainingError(f"no state to be read in {folder}: the run saved none, so start it again without --resume")
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
    """Restores the last saved state into an objective, and removes later lines from `metrics.jsonl`.

    If the last state is damaged, the one before it is used. On another kind of device than before, the random numbers
    are seeded anew from seed and step.

    Returns:
        The fingerprint of the data that the run was trained on; None for states that hold none.
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
        raise TrainingError(f"the state in {folder} does not fit this configuration: {error}") from None
    objective.step = state["step"]
    if parallel.rank() == 0:
        _cut_metrics(folder / METRICS, objective.step)
    return known


# The losses.


def _cut_metrics(path: Path, step: int) -> None:
    """Removes lines after a step, and damaged ones."""
    if not path.exists():
        return
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    kept = [line for line, found in zip(lines, map(_figures, lines), strict=True) if found and found["step"] <= step]
    atomic.write_text(path, "".join(line + "\n" for line in kept))


def _figures(line: str) -> dict[str, Any] | None:
    """The values in a line of `metrics.jsonl`, or None if it is damaged or cut short."""
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
    """Yields a function (phase, seconds, losses) that writes to `metrics.jsonl` and TensorBoard, on rank 0.

    Raises:
        TrainingError: if they cannot be written.
    """
    if parallel.rank() > 0:
        yield lambda phase, seconds, means: None
        return
    try:
        board = SummaryWriter(str(folder / "tensorboard"), purge_step=objective.step)
    except OSError as error:
        raise TrainingError(f"the losses of {folder} cannot be written ({error})") from None

    def write(phase: str, seconds: float, means: Mapping[str, float]) -> None:
        line = {"step": objective.step, "phase": phase, "seconds": round(seconds, 3), **means}
        try:
            with (folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            for name, mean in means.items():
                board.add_scalar(f"{phase}/{name}", mean, objective.step)
        except OSError as error:
            raise TrainingError(
                f"the losses of step {objective.step} cannot be written ({error}); make room in {folder} "
                "and continue with --resume"
            ) from None

    try:
        yield write
    finally:
        with suppress(OSError):  # a full disk has been reported by the failed write
            board.close()


def command_history(before: Mapping[str, Any] | None, command: Sequence[str]) -> str:
    """All commands that a run was started and resumed with, on one line, the latest last."""
    text = shlex.join(command).encode("utf-8", "backslashreplace").decode()
    return "; ".join([*([before["command"]] if before else []), text])

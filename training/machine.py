"""Chooses what a run computes with: device, CPU threads, and the faster precision (float32 or bfloat16)."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from training.objective import Objective
from training.parallel import rank_zero_decides, world_size
from training.runs import TrainingError

Precision = Literal["bfloat16", "float32"]
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32")
DEVICES = ("cpu", "cuda", "mps", "xpu")
MAX_THREADS = 256
BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")  # CPU instructions for bfloat16, as named in /proc/cpuinfo
FEW_ITEMS, MORE_ITEMS = 2, 8  # in the two stages of the timing; the second is skipped if the first is clear
CLEARLY_SLOWER = 3.0  # bfloat16's time over float32's that needs no second stage, as on CPUs without its instructions


@dataclass(frozen=True)
class Machine:
    """The device, threads and precision of a run, and the reason for the precision."""

    device: torch.device
    threads: int
    precision: Precision
    reason: str

    @property
    def bfloat16(self) -> bool:
        return self.precision == "bfloat16"

    def record(self) -> dict[str, Any]:
        """The fields that `run.json` keeps."""
        return {
            "hardware": hardware(self.device),
            "processor": processor(self.device),
            "threads": self.threads,
            "precision": self.precision,
        }


def find_device(name: str) -> torch.device:
    """The torch device of a name; "auto" is a CUDA GPU if there is one, else the CPU.

    Raises:
        TrainingError: if it does not exist or cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # torchrun gives each process of a machine a number
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"use auto, {', '.join(DEVICES)}")
        torch.zeros(1, device=device)
        torch.Generator(device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def set_threads(threads: int | None) -> int:
    """Sets the number of torch's CPU threads, by default `default_threads()`, and returns it."""
    torch.set_num_threads(threads or default_threads())
    return torch.get_num_threads()


def default_threads() -> int:
    """The number of physical cores that this process may use, or torch's own choice if OMP_NUM_THREADS is set.

    Two threads on the two hardware threads of one core are slower than one: they share its arithmetic units.
    """
    if "OMP_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return torch.get_num_threads()
    allowed = os.sched_getaffinity(0)
    siblings = (Path(f"/sys/devices/system/cpu/cpu{k}/topology/thread_siblings_list") for k in allowed)
    cores = len({path.read_text() if path.exists() else str(path) for path in siblings})
    return max(1, min(cores, _quota(), MAX_THREADS))


def _quota() -> int:
    """The number of whole CPUs that a container may use (cgroup v2)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup, or no limit ("max")
        return MAX_THREADS


def processor(device: torch.device) -> str:
    """The kind of processor in words: what decides its speed and the last bits of its results."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    # The instructions that torch's kernels use, those for bfloat16, and the limit set for oneDNN, if any.
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    units = [unit for unit in BFLOAT16_UNITS if f" {unit} " in known]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return ", ".join(
        [torch.backends.cpu.get_cpu_capability(), *units, *([f"oneDNN limited to {limit}"] if limit else [])]
    )


def hardware(device: torch.device) -> str:
    """The processes, threads and processor of a run, in one line."""
    if device.type == "cpu":
        one = f"{torch.get_num_threads()} CPU thread(s), {platform.machine()} with {processor(device)}"
    else:
        one = processor(device)
    return f"{world_size()} x {one}" if world_size() > 1 else one


def choose_precision(
    wanted: Precision | Literal["auto"],
    device: torch.device,
    threads: int,
    build: Callable[[bool], Objective],
    data: Mapping[str, Tensor],
    before: Mapping[str, Any] | None = None,
) -> Machine:
    """Chooses the precision of a run: the one asked for, that of the resumed run, or the faster one here.

    Args:
        build: makes an objective to time, in bfloat16 if its argument is true.
        data: the training set.
        before: the record of the run to resume. Its precision is kept on the same kind of processor.
    """
    had = before.get("precision") if before else None
    changed = f"; the run used {had}" if had in PRECISIONS else ""
    if wanted != "auto":
        return Machine(device, threads, wanted, "as requested" + ("" if had == wanted else changed))
    if before and had in PRECISIONS and before.get("processor") == processor(device):
        return Machine(device, threads, had, "as before in this run")
    seconds = rank_zero_decides(lambda: time_precisions(device, build, data))
    fast: Precision = "bfloat16" if seconds["bfloat16"] < seconds["float32"] else "float32"
    reason = "measured: " + ", ".join(f"{name} {1000 * t:.3g} ms" for name, t in seconds.items())
    if had in PRECISIONS and fast != had and before:
        reason += f" on this processor; the run used {had} on {before.get('processor', 'another')}"
    return Machine(device, threads, fast, reason)


def time_precisions(
    device: torch.device, build: Callable[[bool], Objective], data: Mapping[str, Tensor]
) -> dict[Precision, float]:
    """Times one forward and backward pass (`Objective.probe`) on a few items in each precision, in seconds.

    On a CPU it is processor time on one thread, so that other programs do not decide. Weights are channels-last in both
    precisions, as in the runs.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    on_device = {name: tensor.to(device) for name, tensor in data.items()}
    networks: dict[Precision, Objective] = {"float32": build(False), "bfloat16": build(True)}

    def once(precision: Precision, items: int) -> float:
        _wait(device)
        since = clock()
        networks[precision].probe(on_device, items).backward()
        _wait(device)
        return clock() - since

    once("float32", FEW_ITEMS)  # not counted: torch sets itself up
    seconds = {precision: once(precision, FEW_ITEMS) for precision in networks}
    if seconds["bfloat16"] < CLEARLY_SLOWER * seconds["float32"]:
        seconds = {precision: once(precision, MORE_ITEMS) for precision in networks}
    torch.set_num_threads(threads)
    return seconds


def _wait(device: torch.device) -> None:
    """Waits until the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    elif device.type == "xpu":
        torch.xpu.synchronize(device)

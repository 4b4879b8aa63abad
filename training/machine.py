"""What a run runs on: device, threads, and the precision that is faster there."""

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
from training.parallel import rank_zero_decides, ranks
from training.runs import TrainingError

Precision = Literal["bfloat16", "float32"]
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32")
DEVICES = ("cpu", "cuda", "mps", "xpu")
MOST_THREADS = 256
BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")  # as /proc/cpuinfo names them
FEW, MORE = 2, 8  # items in the measurements: more of them are only measured where few do not settle it
HOPELESS = 3.0  # times as slow as float32 with few items: so is a CPU without units for bfloat16


@dataclass(frozen=True)
class Machine:
    """Where and how a run computes, and why, for its first lines and its record."""

    device: torch.device
    threads: int
    precision: Precision
    reason: str

    @property
    def bfloat16(self) -> bool:
        return self.precision == "bfloat16"

    def record(self) -> dict[str, Any]:
        """What `run.json` keeps of it."""
        return {
            "hardware": hardware(self.device),
            "processor": processor(self.device),
            "threads": self.threads,
            "precision": self.precision,
        }


def find_device(name: str) -> torch.device:
    """A device by its name; "auto" is a GPU where there is one.

    Raises:
        TrainingError: if it does not exist or cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # torchrun numbers the processes of a machine
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"known are auto, {', '.join(DEVICES)}")
        torch.zeros(1, device=device)
        torch.Generator(device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def set_threads(threads: int | None) -> int:
    """Gives torch so many CPU threads, by default one for each physical core that this process may use."""
    torch.set_num_threads(threads or default_threads())
    return torch.get_num_threads()


def default_threads() -> int:
    """The physical cores that this process may use, or what the environment variable OMP_NUM_THREADS says.

    Two threads on one core's two hardware threads are slower than one: both want the same arithmetic units.
    """
    if "OMP_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return torch.get_num_threads()
    allowed = os.sched_getaffinity(0)
    siblings = (Path(f"/sys/devices/system/cpu/cpu{k}/topology/thread_siblings_list") for k in allowed)
    cores = len({path.read_text() if path.exists() else str(path) for path in siblings})
    return max(1, min(cores, _quota(), MOST_THREADS))


def _quota() -> int:
    """Whole processors that the container may use (cgroup v2)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup, or no limit ("max")
        return MOST_THREADS


def processor(device: torch.device) -> str:
    """The kind of processor, as far as speed and last bits depend on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    # What torch's own kernels may use; units for bfloat16; and what oneDNN is held to, if it is.
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    units = [unit for unit in BFLOAT16_UNITS if f" {unit} " in known]
    held = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *units, *([f"oneDNN held to {held}"] if held else [])])


def hardware(device: torch.device) -> str:
    """One line on what a run runs on."""
    if device.type == "cpu":
        one = f"{torch.get_num_threads()} CPU thread(s), {platform.machine()} with {processor(device)}"
    else:
        one = processor(device)
    return f"{ranks()} x {one}" if ranks() > 1 else one


def choose(
    wanted: Precision | Literal["auto"],
    device: torch.device,
    threads: int,
    build: Callable[[bool], Objective],
    data: Mapping[str, Tensor],
    before: Mapping[str, Any] | None = None,
) -> Machine:
    """The precision for a run: as asked for, as it was, or as measured here.

    Args:
        build: a throw-away objective in bfloat16 or not.
        data: its training set.
        before: the record of the run that goes on. Its precision is kept on the same kind of processor.
    """
    had = before.get("precision") if before else None
    changed = f"; the run had {had}" if had in PRECISIONS else ""
    if wanted != "auto":
        return Machine(device, threads, wanted, "as asked for" + ("" if had == wanted else changed))
    if before and had in PRECISIONS and before.get("processor") == processor(device):
        return Machine(device, threads, had, "as the run had it")
    seconds = rank_zero_decides(lambda: measure(device, build, data))
    fast: Precision = "bfloat16" if seconds["bfloat16"] < seconds["float32"] else "float32"
    reason = "measured: " + ", ".join(f"{name} {1000 * t:.3g} ms" for name, t in seconds.items())
    if had in PRECISIONS and fast != had and before:
        reason += f" on this processor; the run had {had} on {before.get('processor', 'another')}"
    return Machine(device, threads, fast, reason)


def measure(
    device: torch.device, build: Callable[[bool], Objective], data: Mapping[str, Tensor]
) -> dict[Precision, float]:
    """Seconds of one forward and backward pass of an objective's networks on a few items, in each precision.

    On a CPU they are processor seconds of one thread, so that what else the machine does decides nothing. Memory is
    channels-last either way, as the families' networks ask for it.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    few = {name: tensor.to(device) for name, tensor in data.items()}
    networks: dict[Precision, Objective] = {"float32": build(False), "bfloat16": build(True)}

    def once(precision: Precision, items: int) -> float:
        _wait(device)
        since = clock()
        networks[precision].probe(few, items).backward()
        _wait(device)
        return clock() - since

    once("float32", FEW)  # pays for what is set up once
    seconds = {precision: once(precision, FEW) for precision in networks}
    if seconds["bfloat16"] < HOPELESS * seconds["float32"]:
        seconds = {precision: once(precision, MORE) for precision in networks}
    torch.set_num_threads(threads)
    return seconds


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    elif device.type == "xpu":
        torch.xpu.synchronize(device)

"""The training loop for any `Objective`: runs its steps, logs averaged losses, saves state, takes snapshots.

An objective's `torch.Generator` is the only source of randomness and its state is saved with the weights, so on a CPU a
resumed run gives the same bits as one that never stopped.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from training import parallel
from training.objective import Objective
from training.runs import STATE, Stopped, TrainingError, fingerprint, journal, save_state

LOG_EVERY = 10  # steps between readings of the losses: each reading waits for the device

Snapshot = Callable[[Objective, Path], None]


def train(
    objective: Objective, data: Mapping[str, Tensor], folder: Path, snapshot: Snapshot = lambda objective, folder: None
) -> None:
    """Runs all remaining steps, or stops at the next step after SIGINT or SIGTERM. Saves the state either way.

    Args:
        data: the training set.
        folder: of the run; `metrics.jsonl`, TensorBoard events in `tensorboard/`, and the state are written into it.
        snapshot: called every `schedule.snapshot_every` steps, after each phase, and before the first step.
    Raises:
        TrainingError: if a loss or a weight is no longer finite, or a file cannot be written; the last good state
            is kept.
        Stopped: after SIGINT or SIGTERM, once the state is saved.
    """
    schedule = objective.schedule
    known = fingerprint(data)
    first = parallel.rank() == 0
    if objective.step == 0 and first:
        snapshot(objective, folder)
    since = time.perf_counter()
    with stop_requests() as stop, journal(objective, folder) as write:
        for phase, means, stopping in _steps(objective, data, stop):
            now = time.perf_counter()
            if means is not None:
                if bad := sorted(name for name, value in means.items() if not math.isfinite(value)):
                    raise TrainingError(
                        f"{', '.join(bad)} is no longer finite at step {objective.step}; {folder / STATE} holds the "
                        "last good state: resume from it with lower learning rates"
                    )
                write(phase, now - since, means)
                since = now
            if first and (stopping or schedule.saves_state(objective.step)):
                save_state(objective, folder, known)
            if first and schedule.takes_snapshot(objective.step):
                snapshot(objective, folder)
            if stopping:
                raise Stopped


def train_in_memory(objective: Objective, data: Mapping[str, Tensor], title: str) -> None:
    """Runs all steps and writes nothing, for objectives that train in a minute.

    Raises:
        TrainingError: if a loss is no longer finite.
    """
    for _, means, _ in _steps(objective, data, threading.Event(), title):
        if means is not None and not all(map(math.isfinite, means.values())):
            raise TrainingError(f"{title}: the loss is no longer finite at step {objective.step}")


def _steps(
    objective: Objective, data: Mapping[str, Tensor], stop: threading.Event, title: str | None = None
) -> Iterator[tuple[str, dict[str, float] | None, bool]]:
    """Does the remaining steps; yields after each (phase, mean losses or None if not read now, whether to stop)."""
    schedule = objective.schedule
    tensors = {name: tensor.to(objective.device) for name, tensor in data.items()}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    with tqdm(
        desc=title,
        total=schedule.steps,
        initial=objective.step,
        unit="step",
        smoothing=0.05,
        dynamic_ncols=True,
        leave=title is None,
        disable=parallel.rank() > 0,
    ) as bar:
        while objective.step < schedule.steps:
            phase = objective.phase
            figures = objective.update(tensors)
            objective.step += 1
            for name, value in figures.items():
                sums[name] = sums.get(name, torch.zeros((), device=objective.device)) + value.detach().float()
                counts[name] = counts.get(name, 0) + 1
            stopping = parallel.any_rank(stop.is_set())
            means = None
            if objective.step % LOG_EVERY == 0 or schedule.saves_state(objective.step) or stopping:
                found = parallel.average(torch.stack([total / counts[name] for name, total in sums.items()]))
                means = dict(zip(sums, found.tolist(), strict=True))
                sums, counts = {}, {}
                bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
            bar.update()
            yield phase, means, stopping


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yields an event that SIGINT and SIGTERM set, so that a run ends between two steps.

    The same signal once more raises KeyboardInterrupt at once.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

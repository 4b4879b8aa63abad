"""The training loop: an optional warm start, then WGAN-GP (Gulrajani et al., 2017, algorithm 1), for any `Task`.

One `torch.Generator` is the only source of randomness and its state is saved with the weights, so a resumed run
goes on bit for bit (on the CPU) as if it had never stopped.
"""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from explorer.generators.base import Generator
from explorer.latent import LatentSpace
from training import parallel, wgan_gp
from training.task import Batch, Prepared, Task, TrainingRecipe

LOG_EVERY = 10  # steps between looks at the figures: each look waits for the device

STATE, PREVIOUS_STATE, METRICS = "state.pt", "state.previous.pt", "metrics.jsonl"


class TrainingError(Exception):
    """A run that cannot start, go on or be read; the message says why and what to do."""


@dataclass
class Run:
    """Everything that changes while training; what `save_state` writes and `load_state` reads."""

    task: Task
    recipe: TrainingRecipe
    generator: Generator
    ema: Generator
    critic: nn.Module
    encoder: nn.Module | None
    optimizers: dict[str, torch.optim.Adam]
    rng: torch.Generator
    device: torch.device
    bfloat16: bool
    step: int = 0

    @property
    def total_steps(self) -> int:
        return self.recipe.warm_steps + self.recipe.steps

    @property
    def warming(self) -> bool:
        return self.step < self.recipe.warm_steps

    @property
    def seed(self) -> int:
        return self.recipe.seed

    def modules(self) -> dict[str, nn.Module]:
        named = {"generator": self.generator, "ema": self.ema, "critic": self.critic, "encoder": self.encoder}
        return {name: module for name, module in named.items() if module is not None}


def start(
    task: Task, recipe: TrainingRecipe, data: Prepared, config: dict[str, Any], device: torch.device, bfloat16: bool
) -> Run:
    """Fresh networks and optimizers, initialised from `recipe.seed` alone.

    Args:
        config: fields of the generator's Config that differ from the task's choice.
        bfloat16: whether to run forward and backward passes under autocast; weights stay float32.
    Raises:
        TrainingError: if the batch cannot be shared out among the processes.
    """
    if recipe.batch_size % parallel.ranks():
        raise TrainingError(f"a batch of {recipe.batch_size} cannot be shared by {parallel.ranks()} processes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        generator = task.generator(data, config)
        critic = task.critic(generator)
        encoder = task.encoder(generator)
    parallel.same_weights(m for m in (generator, critic, encoder) if m is not None)
    placed = [m.to(device, memory_format=torch.channels_last) for m in (generator, critic, encoder) if m is not None]  # type: ignore[call-overload]
    for module in placed:
        module.train()
    ema = deepcopy(generator).eval().requires_grad_(False)

    def adam(parameters: list[nn.Parameter], lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True)

    learners = task.adversarial_parameters(generator)
    optimizers = {"critic": adam(list(critic.parameters()), recipe.critic_lr, (0.0, 0.9))}
    if encoder is not None:
        both = [*generator.parameters(), *encoder.parameters()]
        optimizers["warm"] = adam(both, recipe.warm_lr, (0.9, 0.99))
        if recipe.reconstruction_weight > 0:
            learners = [*learners, *encoder.parameters()]
    optimizers["generator"] = adam(learners, recipe.generator_lr, (0.0, 0.9))
    rng = torch.Generator(device).manual_seed(recipe.seed)
    return Run(task, recipe, generator, ema, critic, encoder, optimizers, rng, device, bfloat16)


def train(run: Run, data: Prepared, folder: Path, snapshot: Callable[[Run, Path], None]) -> None:
    """Runs to the last step, or to the next step after SIGINT or SIGTERM, saving state either way.

    Args:
        folder: gets `metrics.jsonl`, TensorBoard events in `tensorboard/`, and the state.
        snapshot: called every `recipe.snapshot_every` steps, after the last, and before the first.
    Raises:
        TrainingError: if a figure or a weight is no longer finite; the last good state stays.
        KeyboardInterrupt: after SIGINT or SIGTERM, once the state is saved.
    """
    recipe = run.recipe
    tensors = {name: tensor.to(run.device) for name, tensor in data.train.items()}
    first = parallel.rank() == 0
    if run.step == 0 and first:
        snapshot(run, folder)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    since = time.perf_counter()
    with (
        stop_requests() as stop,
        _journal(run, folder) as write,
        tqdm(
            total=run.total_steps, initial=run.step, unit="step", smoothing=0.05, dynamic_ncols=True, disable=not first
        ) as bar,
    ):
        while run.step < run.total_steps:
            phase = "warm" if run.warming else "adversarial"
            figures = warm_step(run, tensors) if run.warming else adversarial_step(run, tensors)
            run.step += 1
            for name, value in figures.items():
                sums[name] = sums.get(name, torch.zeros((), device=run.device)) + value.detach().float()
                counts[name] = counts.get(name, 0) + 1
            stopping = parallel.anywhere(stop.is_set())
            last = run.step == run.total_steps or stopping
            boundary = run.step == recipe.warm_steps
            saving = run.step % recipe.state_every == 0 or last or boundary
            if run.step % LOG_EVERY == 0 or saving:
                found = parallel.average(torch.stack([total / counts[name] for name, total in sums.items()]))
                means = dict(zip(sums, found.tolist(), strict=True))
                sums, counts = {}, {}
                now = time.perf_counter()
                if bad := sorted(name for name, value in means.items() if not math.isfinite(value)):
                    raise TrainingError(
                        f"{', '.join(bad)} is no longer finite at step {run.step}; the state of the last good step is "
                        f"kept in {folder / STATE}: resume from it with lower learning rates"
                    )
                write(phase, now - since, means)
                since = now
                bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
            bar.update()
            if saving and first:
                save_state(run, folder)
            if first and (run.step % recipe.snapshot_every == 0 or (last and not stopping) or boundary):
                snapshot(run, folder)
            if stopping:
                raise KeyboardInterrupt


@contextmanager
def _journal(run: Run, folder: Path) -> Iterator[Callable[[str, float, Mapping[str, float]], None]]:
    """Writes the figures of a phase and the seconds they took to `metrics.jsonl` and TensorBoard, on rank 0."""
    if parallel.rank() > 0:
        yield lambda phase, seconds, means: None
        return
    with (
        SummaryWriter(str(folder / "tensorboard"), purge_step=run.step) as board,
        (folder / METRICS).open("a", encoding="utf-8") as log,
    ):

        def write(phase: str, seconds: float, means: Mapping[str, float]) -> None:
            line = {"step": run.step, "phase": phase, "seconds": round(seconds, 3), **means}
            log.write(json.dumps(line) + "\n")
            log.flush()
            for name, mean in means.items():
                board.add_scalar(f"{phase}/{name}", mean, run.step)

        yield write


def warm_step(run: Run, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One reconstruction step of generator and encoder."""
    assert run.encoder is not None
    batch = _batch(run, tensors)
    run.generator.requires_grad_(run.step >= run.recipe.head_start)
    with _autocast(run):
        loss, figures = run.task.warm_loss(run.generator, run.encoder, batch, run.recipe, run.rng)
    _update(run, "warm", loss)
    run.generator.requires_grad_(True)
    # A warm start is short: the average is over no more than its last tenth, so that it forgets the first noise.
    _average(run, min(run.recipe.ema_decay, (1 + run.step) / (10 + run.step)))
    return {"reconstruction_loss": loss, **figures}


def adversarial_step(run: Run, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`critic_steps` updates of the critic, then one of the generator."""
    recipe = run.recipe
    _cool_down(run)
    figures: dict[str, Tensor] = {}
    for k in range(recipe.critic_steps):
        batch = _batch(run, tensors)
        with _autocast(run), torch.no_grad():
            real = run.task.real_view(batch, run.encoder, run.rng)
            fake = run.task.fake_view(run.generator, _latents(run), batch.condition, run.rng)
        with _autocast(run):
            loss, found = _critic_objective(run, real, fake, batch, step=run.step * recipe.critic_steps + k)
        _update(run, "critic", loss)
        figures |= found
    if run.step - recipe.warm_steps < recipe.head_start:
        return figures
    batch = _batch(run, tensors)
    run.critic.requires_grad_(False)
    with _autocast(run):
        fake = run.task.fake_view(run.generator, _latents(run), batch.condition, run.rng)
        scores, logits = run.critic(fake, batch.condition)
        wasserstein = recipe.objective == "wgan-gp"
        adversarial = wgan_gp.generator_loss if wasserstein else wgan_gp.original_generator_loss
        loss = figures["generator_loss"] = adversarial(scores.float())
        if logits is not None and batch.condition is not None:
            figures["fake_class_loss"] = F.cross_entropy(logits.float(), batch.condition)
            loss = loss + recipe.auxiliary_weight * figures["fake_class_loss"]
        if (matching := run.task.matching_loss(run.generator, tensors, recipe, run.rng)) is not None:
            figures["matching_loss"] = matching
            loss = loss + matching
        remembering = recipe.reconstruction_weight > 0 and run.step % recipe.reconstruction_every == 0
        if remembering and run.encoder is not None:
            batch = _batch(run, tensors)
            reconstruction, _ = run.task.warm_loss(run.generator, run.encoder, batch, recipe, run.rng)
            figures["reconstruction_loss"] = reconstruction
            loss = loss + recipe.reconstruction_weight * recipe.reconstruction_every * reconstruction
    _update(run, "generator", loss)
    run.critic.requires_grad_(True)
    _average(run, recipe.ema_decay)
    return figures


def _cool_down(run: Run) -> None:
    # From the step alone, so that a resumed run needs no scheduler's state and --steps may move the end.
    share = min(1.0, (run.total_steps - run.step) / max(1, run.recipe.cooldown))
    for name, rate in (("critic", run.recipe.critic_lr), ("generator", run.recipe.generator_lr)):
        for group in run.optimizers[name].param_groups:
            group["lr"] = rate * share


def _critic_objective(
    run: Run, real: Tensor, fake: Tensor, batch: Batch, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    recipe = run.recipe
    # One pass over both halves; the critic treats items apart, so this is two passes for the price of one.
    both = None if batch.condition is None else torch.cat([batch.condition, batch.condition])
    scores, logits = run.critic(torch.cat([real, fake]), both)
    real_scores, fake_scores = scores.float().chunk(2)
    if recipe.objective == "wgan-gp":
        loss = wgan_gp.critic_loss(real_scores, fake_scores)
        figures = {"critic_loss": loss, "wasserstein": -loss}
    else:
        loss = wgan_gp.original_critic_loss(real_scores, fake_scores)
        figures = {"critic_loss": loss}
    if recipe.objective == "wgan-gp" and step % recipe.penalty_every == 0:
        penalty = wgan_gp.gradient_penalty(lambda x: run.critic(x, batch.condition)[0].float(), real, fake, run.rng)
        figures["penalty"] = penalty
        loss = loss + recipe.penalty_weight * recipe.penalty_every * penalty
        figures["critic_loss"] = loss
    if logits is not None and batch.condition is not None:
        figures["real_class_loss"] = F.cross_entropy(logits.float().chunk(2)[0], batch.condition)
        loss = loss + recipe.auxiliary_weight * figures["real_class_loss"]
    return loss, figures


def _update(run: Run, name: str, loss: Tensor) -> None:
    optimizer = run.optimizers[name]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parallel.average_gradients(optimizer)
    optimizer.step()


@torch.no_grad()
def _average(run: Run, decay: float) -> None:
    for average, current in zip(run.ema.parameters(), run.generator.parameters(), strict=True):
        average.lerp_(current, 1 - decay)
    for copied, statistic in zip(run.ema.buffers(), run.generator.buffers(), strict=True):
        copied.copy_(statistic)  # statistics are averages already; averaged again they would lag behind the weights


def _batch(run: Run, tensors: dict[str, Tensor]) -> Batch:
    n = len(next(iter(tensors.values())))
    index = parallel.randint(0, n, (run.recipe.batch_size // parallel.ranks(),), run.rng)
    return run.task.batch(tensors, index, run.rng)


def _latents(run: Run) -> Tensor:
    return draw_latents(run.generator.latent, run.recipe.batch_size // parallel.ranks(), run.rng)


def draw_latents(space: LatentSpace, n: int, rng: torch.Generator) -> Tensor:
    """(n, *shape) latents of the prior, on the device of `rng`: for training, where no seed has to find them again."""
    size = (n, *space.shape)
    if space.prior == "normal":
        return parallel.randn(size, rng)
    return parallel.rand(size, rng) * 2 - 1


def balanced_latents(space: LatentSpace, n: int, rng: torch.Generator) -> Tensor:
    """(n, *shape) normal latents that are spread evenly: in opposite pairs, and at right angles to as many others as
    there are dimensions (Yu et al., 2016, arXiv:1610.09072). Means over them vary less than over independent ones."""
    size = math.prod(space.shape)
    half = torch.randn(n * parallel.ranks() // 2, size, generator=rng, device=rng.device)
    half = torch.cat([torch.linalg.qr(z.T).Q.T * z.norm(dim=1, keepdim=True) for z in half.split(size)])
    return parallel.mine(torch.cat([half, -half])).reshape(n, *space.shape)


def _autocast(run: Run) -> torch.autocast:
    return torch.autocast(run.device.type, torch.bfloat16, enabled=run.bfloat16)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a run ends between two steps. A second SIGINT ends it at once."""
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


class Resumable(Protocol):
    """What of a run is saved, whatever it trains."""

    step: int
    rng: torch.Generator
    device: torch.device
    optimizers: dict[str, torch.optim.Adam]

    @property
    def seed(self) -> int: ...

    def modules(self) -> Mapping[str, nn.Module]: ...


def save_state(run: Resumable, folder: Path) -> None:
    """Writes the whole state in one piece, and keeps the one before it.

    Raises:
        TrainingError: if a weight is not finite, or the disk is full; the state before stays.
    """
    for name, module in run.modules().items():
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise TrainingError(
                f"the weights of the {name} are no longer finite at step {run.step}; the state of the "
                f"last good step is kept in {folder / STATE}"
            )
    state = {
        "step": run.step,
        "device": run.device.type,
        "rng": run.rng.get_state(),
        "modules": {name: module.state_dict() for name, module in run.modules().items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in run.optimizers.items()},
    }
    partial = folder / (STATE + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer turns the first into the second
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"the state of step {run.step} cannot be written ({error}); make room in {folder} and go "
            "on with --resume from the state before"
        ) from None
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / PREVIOUS_STATE)
    partial.replace(folder / STATE)


def last_state(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a run saved last, or before that if the last file is damaged.

    Raises:
        TrainingError: if neither can be read.
    """
    problems = []
    for path in (folder / STATE, folder / PREVIOUS_STATE):
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            return state
        except Exception as error:  # torch.load raises many types for a damaged pickle
            problems.append(f"{path}: {type(error).__name__}: {error}")
    raise TrainingError(f"no state to be read in {folder}: " + "; ".join(problems))


def load_state(run: Resumable, folder: Path) -> None:
    """Puts a run back to its last saved step, and `metrics.jsonl` with it.

    A state that cannot be read costs the steps since the one before it. On another kind of device than before the
    random stream is started anew from seed and step.

    Raises:
        TrainingError: if no state can be read, or it does not fit the networks.
    """
    state = last_state(folder, run.device)
    try:
        for name, module in run.modules().items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in run.optimizers.items():
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # the recipe's, which --resume may have changed
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingError(f"the state in {folder} does not fit this run's networks: {error}") from None
    run.step = state["step"]
    if state["device"] == run.device.type:
        run.rng.set_state(state["rng"].cpu())
    else:
        run.rng.manual_seed(run.seed + run.step)
    metrics = folder / METRICS
    if metrics.exists() and parallel.rank() == 0:
        kept = [line for line in _whole_lines(metrics) if json.loads(line)["step"] <= run.step]
        partial = metrics.with_name(METRICS + ".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(metrics)


def _whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]

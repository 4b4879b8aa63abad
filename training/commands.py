"""What the commands of `python -m training` do, as typed functions."""

import json
import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from explorer import atomic
from explorer.checkpoint import config_from_dict
from explorer.generators import FAMILIES
from explorer.shelf import FIGURES, SNAPSHOTS
from explorer.sound.vocoder import VocoderConfig
from training import parallel, vocoder
from training.data import inventory
from training.families import TASKS
from training.loop import train
from training.machine import Machine, Precision, choose_precision, find_device, set_threads
from training.objective import Objective
from training.runs import (
    METRICS,
    RUN,
    Stopped,
    TrainingError,
    command_history,
    data_folders,
    fingerprint,
    has_state,
    load_state,
    locked,
    read_metrics,
    read_run,
    same_data,
    write_run,
)
from training.snapshot import snapshot
from training.task import DataError, Prepared
from training.transfer import copy_weights, read_origin
from training.vocoder import VocoderRecipe

log = logging.getLogger(__name__)
TOO_SHORT = 0.2  # share of the usual number of steps


@dataclass(frozen=True)
class RunOptions:
    """Options common to all runs, of a generator or a vocoder.

    Attributes:
        out: folder of the run.
        data: folders to train on; empty to use those of the resumed run.
        cache: folder for prepared data; by default `cache` beside `out`.
        changed_data: whether to resume although the data differs from what the run was trained on.
        threads: of the CPU; None for one per physical core.
        command: the command line, for the run's record.
    """

    out: Path
    data: tuple[Path, ...] = ()
    cache: Path | None = None
    resume: bool = False
    changed_data: bool = False
    dry_run: bool = False
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int | None = None
    command: tuple[str, ...] = ()


def train_family(
    family: str,
    options: RunOptions,
    numbers: Mapping[str, Any],
    *,
    extra: Mapping[str, float],
    config: Mapping[str, Any],
    prepare: Mapping[str, str],
    init_from: Path | None,
) -> None:
    """Trains a generator, or resumes its training.

    Args:
        numbers: fields of the recipe to change from the family's defaults or, on resuming, from the run's recipe.
        extra: the family's own numbers (`Task.numbers`) to change, likewise.
        config: fields of the generator's Config to change from what the task chooses.
        prepare: options for `Task.prepare`.
        init_from: a checkpoint whose weights to start from.
    Raises:
        CheckpointError, DataError, TrainingError, OSError: if training cannot start or continue. No file is left
            half-written.
        Stopped: after Ctrl-C or SIGTERM.
    """
    if init_from and (options.resume or config):
        raise TrainingError(
            "--init-from starts a new run with a checkpoint's weights and configuration: leave out --resume and "
            "--config"
        )
    device, threads = find_device(options.device), set_threads(options.threads)
    task = TASKS[family]()
    with _run(family, options) as before:
        if before is not None and before.get("family") != family:
            kind = before.get("family", before.get("kind"))
            raise TrainingError(f"{options.out} holds a run of {kind}, not of {family}: choose another --out")
        folders = _folders(options, before)
        if len(folders) > 1 and not task.many_sources:
            raise TrainingError(f"{family} trains on one folder, not on {len(folders)}: give one with --data")
        source: Any = folders if task.many_sources else folders[0]
        origin = read_origin(init_from, family) if init_from else None
        recipe = _recipe(task.Recipe, options, before, task.fine_tuning if origin else task.defaults)
        recipe = _changed(recipe, numbers, extra)
        if unknown := sorted(set(extra) - set(task.numbers)):
            raise TrainingError(f"--extra: unknown {', '.join(unknown)}; {family} has {', '.join(task.numbers)}")
        for name, number in task.numbers.items():
            with _as_training_error():
                number.check(name, recipe.extra.get(name, task.defaults.extra[name]))
        preparation = dict(prepare or (before.get("prepare", {}) if before else {}))
        like = origin.generator.config if origin else None
        if before is not None and "init_from" in before:
            with _as_training_error(f"{options.out / RUN} is damaged: "):
                like = config_from_dict(FAMILIES[family].Config, before["config"])
        data = _prepared(options, lambda cache: task.prepare(source, cache, preparation, like))
        overrides = asdict(like) if like else {**(before.get("overrides", {}) if before else {}), **config}
        about: dict[str, Any] = {
            "family": family,
            "recipe": asdict(recipe),
            "overrides": overrides,
            "prepare": preparation,
            "data": {"folders": [str(folder.resolve()) for folder in folders], **data.meta},
        }
        if origin is not None:
            about["init_from"] = {"name": origin.card.name, "sha256": origin.card.sha256}
        elif before is not None and "init_from" in before:
            about["init_from"] = before["init_from"]

        def build(bfloat16: bool) -> Objective:
            return task.objective(recipe, data, overrides, device, bfloat16)

        machine = choose_precision(options.precision, device, threads, build, data.train, before)
        objective = build(machine.bfloat16)
        if origin is not None:
            copy_weights(objective, origin)
        generator = objective.shown()
        assert generator is not None  # of a family of generators
        about["config"] = asdict(generator.config)
        _run_or_describe(options, before, objective, data, machine, about)
        if not options.dry_run and parallel.rank() == 0:
            print(ending(family, options.out, objective, task.fine_tuning if origin else task.defaults))


def train_vocoder(
    options: RunOptions,
    numbers: Mapping[str, Any],
    *,
    sample_rate: int,
    name: str | None,
    checkpoints: Path,
) -> Path | None:
    """Trains a vocoder, or resumes its training, and exports it as `checkpoints/NAME` if `name` is given.

    Args:
        numbers: fields of `VocoderRecipe` to change from its defaults or, on resuming, from the run's recipe.
        sample_rate: in Hz, of a new run.
    Returns:
        The exported file, or None if there is none.
    Raises:
        CheckpointError, DataError, TrainingError, OSError, Stopped: as `train_family`.
    """
    device, threads = find_device(options.device), set_threads(options.threads)
    with _run("vocoder", options) as before:
        if before is not None and before.get("kind") != "vocoder":
            raise TrainingError(
                f"{options.out} holds a run of {before.get('family')}, no vocoder: choose another --out"
            )
        folders = _folders(options, before)
        recipe = _changed(_recipe(VocoderRecipe, options, before, VocoderRecipe()), numbers)
        with _as_training_error(f"{options.out / RUN} is damaged: "):
            config = config_from_dict(VocoderConfig, before["config"]) if before else vocoder.blank_config(sample_rate)
        data = _prepared(options, lambda cache: vocoder.prepare(folders, cache, config.sample_rate))

        def build(bfloat16: bool) -> vocoder.VocoderObjective:
            return vocoder.start(config, recipe, device, bfloat16)

        machine = choose_precision(options.precision, device, threads, build, data.train, before)
        about = {
            "kind": "vocoder",
            "recipe": asdict(recipe),
            "config": asdict(config),
            "step": recipe.steps,
            "data": [str(folder.absolute()) for folder in folders],
            "minutes": data.meta["minutes"],
        }
        _run_or_describe(options, before, build(machine.bfloat16), data, machine, about)
        if name is None or options.dry_run or parallel.rank() > 0:
            return None
        return vocoder.export(options.out, name, checkpoints)


@contextmanager
def _run(kind: str, options: RunOptions) -> Iterator[dict[str, Any] | None]:
    """Locks a run's folder and yields the record (`run.json`) of the run to resume, or None for a new run."""
    out = options.out
    if file := next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None):
        raise TrainingError(f"{file} is a file: --out names a folder")
    if not options.resume and has_state(out):
        raise TrainingError(f"{out} already holds a run: add --resume, or choose another --out")
    before = read_run(out) if options.resume else None
    with nullcontext() if options.dry_run else locked(out):
        if not options.resume and has_state(out):  # another run may have started and ended since the first look
            raise TrainingError(f"{out} already holds a run: add --resume, or choose another --out")
        try:
            yield before
        except KeyboardInterrupt as stop:
            raise Stopped(str(stop) or _resume_advice(kind, options)) from None


def _resume_advice(kind: str, options: RunOptions) -> str:
    if not options.dry_run and has_state(options.out):
        return f"stopped; continue with: python -m training {kind} --out {options.out} --resume"
    return "stopped before anything was saved: start again with the same command"


def _folders(options: RunOptions, before: Mapping[str, Any] | None) -> tuple[Path, ...]:
    """The data folders: those given, or those of the resumed run."""
    if options.data:
        return options.data
    if before is None:
        raise TrainingError("a new run needs data: add --data with a folder")
    folders = tuple(map(Path, data_folders(before)))
    if gone := [str(folder) for folder in folders if not folder.exists()]:
        raise TrainingError(
            f"the run's data folder {', '.join(gone)} does not exist any more; if it was moved, add --data with "
            "its new path"
        )
    return folders


def _recipe(kind: Any, options: RunOptions, before: Mapping[str, Any] | None, defaults: Any) -> Any:
    if before is None:
        return defaults
    with _as_training_error(f"{options.out / RUN} is damaged: "):
        return kind(**before["recipe"])


def _changed(recipe: Any, numbers: Mapping[str, Any], extra: Mapping[str, float] | None = None) -> Any:
    changes = {**numbers, "extra": {**recipe.extra, **extra}} if extra else numbers
    with _as_training_error():
        return replace(recipe, **changes)


@contextmanager
def _as_training_error(prefix: str = "") -> Iterator[None]:
    """Raises the errors of dataclasses about bad values as TrainingError, with a prefix."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{prefix}{error}") from None


def _prepared(options: RunOptions, prepare: Any) -> Prepared:
    """Prepares a run's data, on rank 0 first, and logs the inventory of its files."""
    cache = options.cache or options.out.parent / "cache"
    try:
        data: Prepared = parallel.rank_zero_first(lambda: prepare(cache))
    except KeyboardInterrupt:
        raise Stopped("stopped while preparing the data: start again with the same command") from None
    if parallel.rank() == 0 and "inventory" in data.meta:
        log.info("%s", inventory.table(data.meta["inventory"]))
    return data


def data_summary(data: Prepared) -> str:
    """The sizes of a run's training and validation sets, in one line."""
    parts = {"train": data.train, "valid": data.valid}
    counts = [f"{len(next(iter(part.values()))):,} {name}" for name, part in parts.items() if part]
    if minutes := data.meta.get("minutes"):
        counts = [f"{sum(per_folder):g} minutes {name}" for name, per_folder in minutes.items()]
    return ", ".join(counts)


def _run_or_describe(
    options: RunOptions,
    before: Mapping[str, Any] | None,
    objective: Objective,
    data: Prepared,
    machine: Machine,
    about: Mapping[str, Any],
) -> None:
    """Prints what will be done and, unless it is a dry run, does it."""
    about = {**about, **machine.record(), "command": command_history(before, options.command)}
    if options.resume and not options.dry_run:
        _resume(options, objective, data)
    if parallel.rank() == 0:
        print(run_summary(options, objective, data, machine, about), flush=True)
    if options.dry_run:
        return
    if parallel.rank() == 0:
        write_run(options.out, about)
    if objective.step >= objective.schedule.steps:
        log.info("nothing to do: the run is at step %d already; to train on, raise --steps", objective.step)
        return
    train(objective, data.train, options.out, snapshot)


def _resume(options: RunOptions, objective: Objective, data: Prepared) -> None:
    trained_on = load_state(objective, options.out)
    if trained_on is None or options.changed_data or same_data(trained_on, fingerprint(data.train)):
        return
    raise TrainingError(
        "the data differs from what the run was trained on: restore it, or continue with the new data by adding "
        "--changed-data, or start a new run in another --out"
    )


def run_summary(
    options: RunOptions, objective: Objective, data: Prepared, machine: Machine, about: Mapping[str, Any]
) -> str:
    """The lines that a run prints at its start: data, networks, device, precision, recipe and configuration."""
    modules = {name: module for name, module in objective.modules().items() if name != "ema"}
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    steps = ", then ".join(f"{n:,} {name}" for name, n in objective.schedule.phases.items() if n)
    lines = {
        "family": about.get("family", about.get("kind")),
        "data": f"{', '.join(data_folders(about))}: {data_summary(data)}",
        "parameters": ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
        "device": about["hardware"],
        "precision": f"{machine.precision} ({machine.reason})",
        "steps": steps + (f"; {objective.step:,} done" if objective.step else ""),
        "recipe": ", ".join(f"{k}={v}" for k, v in about["recipe"].items()),
        "config": ", ".join(f"{k}={v}" for k, v in about["config"].items() if len(str(v)) < 60),
        "writes to": "only the cache of prepared data (dry run)" if options.dry_run else str(options.out),
        "to stop": "press Ctrl-C at any time; the same command with --resume and without --data continues",
    }
    return "\n".join(f"{name:<12}{value}" for name, value in lines.items())


def ending(family: str, out: Path, objective: Objective, usual: Any) -> str:
    """The lines that the run of a generator prints at its end: what was made, whether it was far too short, and what
    comes next.

    Args:
        usual: the recipe whose number of steps is this family's default.
    """
    steps, usually = objective.step, sum(usual.phases.values())
    name = re.sub(r"^\W+|[^\w.+ -]", "", out.resolve().name) or family
    lines = {
        "made": f"{out}: weights of step {steps:,}, sounds and pictures as it learned in {out / SNAPSHOTS}, {METRICS}",
        "next": f"python -m training export {shlex.quote(str(out))} --name {shlex.quote(name)}",
    }
    if steps < TOO_SHORT * usually:
        lines["too short"] = (
            f"{steps:,} steps are few: {usually:,} are usual, and what it makes will be noise; to train on: "
            f"python -m training {family} --out {shlex.quote(str(out))} --resume --steps {usual.steps}"
        )
    return "\n".join(f"{title:<12}{text}" for title, text in lines.items())


def draw_curves(folder: Path, out: Path) -> None:
    """Plots the losses of a run into a .png, .svg or .pdf file.

    Raises:
        TrainingError: if the run has no losses, or the file has another suffix or cannot be made.
    """
    from explorer.files.figures import training_curves

    if out.suffix not in (".png", ".svg", ".pdf"):
        raise TrainingError(f"{out}: curves are written as .png, .svg or .pdf; give one of these suffixes")
    _parent_exists(out)
    with atomic.replacing(out) as partial:
        training_curves(read_metrics(folder)).savefig(partial, format=out.suffix[1:])


def evaluate_checkpoint(
    path: Path,
    folders: Sequence[Path],
    cache: Path,
    samples: int | None,
    judge: Path | None,
    out: Path | None,
    others: Path | None,
) -> Any:
    """Measures a checkpoint on one thread (`training.evaluation.evaluate`); writes the figures to `out` as JSON."""
    from training.evaluation.evaluate import evaluate

    torch.set_num_threads(1)  # or the last digits would depend on the machine's cores
    _parent_exists(out)
    report = evaluate(path, folders, cache, samples, judge, others)
    _write_json(out, report.to_dict())
    return report


def evaluate_snapshots(
    path: Path, folders: Sequence[Path], cache: Path, samples: int | None, judge: Path | None
) -> Any:
    """Measures a checkpoint's snapshots on one thread (`training.evaluation.evaluate`); keeps the figures beside them,
    where the explorer's lessons show them."""
    from training.evaluation import evaluate

    torch.set_num_threads(1)
    table, figures = evaluate.evaluate_snapshots(path, folders, cache, samples, judge)
    atomic.write_text(path.parent / SNAPSHOTS / path.stem / FIGURES, json.dumps(figures, ensure_ascii=False) + "\n")
    return table


def measure_inversion(
    path: Path, folder: Path, cache: Path, clips: int, judge: Path | None, out: Path | None
) -> list[Any]:
    """Measures a vocoder on one thread (`training.evaluation.inversion`); writes the figures to `out` as JSON."""
    from training.evaluation.inversion import inversion_tables

    torch.set_num_threads(1)
    _parent_exists(out)
    tables = inversion_tables(path, folder, cache, judge, clips)
    _write_json(out, [table.to_dict() for table in tables])
    return tables


def make_judge(folder: Path, out: Path, cache: Path, labels: str | None, sample_rate: int | None) -> str:
    """Trains a judge of spoken labels on one thread and writes it; returns a sentence with its accuracy."""
    from explorer.judge import save_judge
    from training.data.audio import load_waveforms
    from training.evaluation.judge import accuracy, train_judge

    torch.set_num_threads(1)
    if out.is_dir():
        raise TrainingError(f"{out} is a folder: --out names the file to write")
    options = {"labels": labels, "sample_rate": sample_rate}
    clips = load_waveforms(folder, cache, {k: str(v) for k, v in options.items() if v is not None})
    log.info("%s", inventory.table(clips.meta["inventory"]))
    if len(clips.meta["labels"]) < 2:
        raise DataError(f"{folder}: a judge needs recordings of at least two labels")
    judge = train_judge(clips)
    save_judge(out, judge)
    return (
        f"{out}: {100 * accuracy(judge, clips):.1f} % of {len(clips.valid):,} validation recordings right, "
        f"trained on {len(clips.train):,}"
    )


def _parent_exists(out: Path | None) -> None:
    """Raises TrainingError if `out` cannot be a file to write: before the minutes of work, not after."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise TrainingError(f"{out} {what}: name a file in an existing folder")


def _write_json(out: Path | None, plain: Any) -> None:
    if out is not None:
        atomic.write_text(out, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")

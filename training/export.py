"""Exports a run as a checkpoint, and its snapshots, for the explorer."""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import log1p
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from explorer import atomic, checkpoint, shelf
from explorer.checkpoint import config_from_dict
from explorer.directions import Direction, measured
from explorer.engine import Engine
from explorer.files import levels
from explorer.generators import FAMILIES
from explorer.generators.base import Generator
from explorer.sound.base import Representation
from training.families import TASKS
from training.runs import METRICS, TrainingError, data_folders, last_state, portable, read_metrics, read_run

SAMPLES = 4096
STORED = torch.float16
NOT_AVERAGED = {"step", "phase", "seconds"}  # fields of `metrics.jsonl` that are no losses
log = logging.getLogger(__name__)
CARD = """# {name}

{sounds}, {seconds:.1f} s each, learned from {data}: family `{family}`, {parameters:,} parameters, exported at step
{step:,} of {total:,}.

| | |
|---|---|
| data | {data} |
| licence of the weights | to be filled in: what the data's licence permits |
| started from | {origin} |
| command | `{command}` |
| hardware | {hardware} |
"""


def export(
    folder: Path,
    name: str,
    target: Path,
    *,
    encoder: bool = False,
    samples: int = SAMPLES,
) -> Path:
    """Writes `target/NAME.safetensors` from a run's EMA weights, in float16, and a first model card if there is none;
    states in the card how loud the sounds are.

    Args:
        encoder: whether to include the encoder, for fine-tuning.
        samples: sounds from which the directions are computed, by the rounded weights; 0 for none.
    Raises:
        TrainingError: if the run, or its state, cannot be read.
    """
    about = read_run(folder)
    state = last_state(folder)
    family, config, recipe = _configured(folder, about)
    generator = family(config)
    try:
        generator.load_state_dict(state["modules"]["ema"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise TrainingError(f"the state in {folder} does not fit its {family.family}: {error}") from None
    generator.load_state_dict(
        {k: v.to(STORED).float() if v.is_floating_point() else v for k, v in generator.state_dict().items()}
    )
    generator.eval().requires_grad_(False)
    extra = {f"encoder.{k}": v for k, v in state["modules"].get("encoder", {}).items()} if encoder else {}
    provenance = _provenance(about, state["step"])
    path = target / f"{name}.safetensors"
    directions = _directions(generator, samples) if samples else ()
    _carry_parts(generator.representation, target)
    checkpoint.save(
        path,
        generator,
        directions=directions,
        provenance=provenance,
        extra=extra,
        dtype=STORED,
    )
    written = shelf.read_card(path)
    card = target / f"{name}.md"
    if not card.exists():
        origin = about.get("init_from")
        started = f"`{origin['name']}`, SHA-256 {origin['sha256']}" if origin else "random weights"
        text = CARD.format(
            name=name,
            sounds=f"Sounds of {len(written.labels)} labels" if written.labels else "Sounds",
            seconds=written.seconds,
            family=written.family,
            parameters=written.parameters,
            step=state["step"],
            total=sum(recipe.phases.values()),
            data=provenance["data"]["folder"],
            origin=started,
            command=f"{provenance['command']}; {portable(f'python -m training export {folder} --name {name}')}",
            hardware=about["hardware"],
        )
        atomic.write_text(card, text)
    levels.state(Engine(target), name)
    return path


def is_export(folder: Path, path: Path) -> bool:
    """Whether a checkpoint was exported from a run's last saved state. Raises TrainingError as `export`."""
    provenance = _provenance(read_run(folder), last_state(folder)["step"])
    return path.is_file() and shelf.read_card(path).provenance == json.loads(json.dumps(provenance))


def export_snapshots(folder: Path, name: str, target: Path, count: int = 6) -> list[Path]:
    """Writes `target/snapshots/NAME`: snapshots and losses of the run that the checkpoint NAME was exported from.

    `STEP.safetensors` holds EMA weights at some of the run's snapshot steps (`choose_steps`); initial weights are made
    again from the seed. `metrics.jsonl` is shortened by averaging. Earlier files of the folder are replaced.

    Args:
        count: number of snapshots, the checkpoint itself counted as the last.
    Raises:
        TrainingError: if the run cannot be read, or is not the one that the checkpoint is from.
        CheckpointError: if there is no such checkpoint, or a snapshot is damaged.
    """
    about = read_run(folder)
    card = shelf.read_card(target / f"{name}.safetensors")
    final, _ = checkpoint.load(card.path)
    family, config, recipe = _configured(folder, about)
    if final.config != config or "step" not in card.provenance:
        raise TrainingError(f"{card.path} is not from the run {folder}: export that run first")
    last = int(card.provenance["step"])
    kept = {int(path.stem): path for path in (folder / shelf.SNAPSHOTS).glob("*.safetensors") if path.stem.isdecimal()}
    from_noise = "init_from" not in about
    steps = choose_steps([*kept, *([0] if from_noise else [])], last, count, next(iter(recipe.phases.values())))
    kept_at = target / shelf.SNAPSHOTS / name
    written = []
    for step in steps:
        generator = checkpoint.load(kept[step])[0] if step in kept else _initial_generator(family, config, recipe.seed)
        if generator.config != config:
            raise TrainingError(f"{kept[step]} has another configuration than the run {folder}: remove it")
        written.append(kept_at / f"{step}.safetensors")
        checkpoint.save(written[-1], generator, provenance=_provenance(about, step), dtype=torch.int8)
    lines = averaged_metrics([line for line in read_metrics(folder) if line["step"] <= last])
    atomic.write_text(kept_at / METRICS, "".join(json.dumps(line) + "\n" for line in lines))
    for path in set(kept_at.glob("*.safetensors")) - set(written):
        path.unlink()
    return written


def choose_steps(steps: Iterable[int], last: int, count: int, boundary: int) -> list[int]:
    """Chooses snapshot steps that are spread evenly in log(1 + step), ascending.

    The first step is taken, and `boundary`, where the phases meet, if it is among `steps`. Then the step farthest from
    all chosen ones is added, again and again.

    Args:
        last: the checkpoint's own step; only steps before it are chosen.
        count: number of steps, counting `last`, which is not returned.
    """
    rest = {step for step in steps if step < last}
    chosen = ({min(rest)} | ({boundary} & rest)) if rest else set()
    rest -= chosen
    while rest and len(chosen) < count - 1:
        farthest = max(sorted(rest), key=lambda step: min(abs(log1p(step) - log1p(other)) for other in {*chosen, last}))
        chosen.add(farthest)
        rest.remove(farthest)
    return sorted(chosen)


def averaged_metrics(lines: Sequence[Mapping[str, Any]], most: int = 240) -> list[dict[str, Any]]:
    """Shortens `metrics.jsonl` to about `most` lines by averaging neighbouring lines of one phase.

    Each line has the last step of its group, and means to four digits.
    """
    size = max(1, -(-len(lines) // most))
    groups = [
        phase[i : i + size]
        for _, lines_of in groupby(lines, key=lambda line: line.get("phase"))
        for phase in [list(lines_of)]
        for i in range(0, len(phase), size)
    ]
    return [
        {
            "step": group[-1]["step"],
            "phase": group[0].get("phase", ""),
            **{name: float(f"{_mean(group, name):.4g}") for name in sorted(set().union(*group) - NOT_AVERAGED)},
        }
        for group in groups
    ]


def _mean(lines: Sequence[Mapping[str, Any]], name: str) -> float:
    values = [
        line[name] for line in lines if name in line
    ]  # e.g. a gradient penalty of every N-th update is not in every line
    return float(sum(values) / len(values))


def _directions(generator: Generator, samples: int) -> tuple[Direction, ...]:
    """The measured directions; says how long that takes, as soon as that is known."""
    log.info("measuring directions for the sliders on %s sounds; --no-directions leaves them out", f"{samples:,}")
    since = time.perf_counter()
    with tqdm(desc="directions", unit="sound", dynamic_ncols=True) as bar:

        def advance(done: int, total: int) -> None:
            if bar.n == 0:
                bar.write(f"this takes about {max(1, (time.perf_counter() - since) / done * total / 60):.0f} min")
            bar.total = total
            bar.update(done - bar.n)

        return measured(generator, samples, progress=advance)


def _configured(folder: Path, about: Mapping[str, Any]) -> tuple[type[Generator], Any, Any]:
    """The family of a run, its configuration and its recipe. Raises TrainingError if they cannot be read."""
    try:
        family, task = FAMILIES[about["family"]], TASKS[about["family"]]
        return family, config_from_dict(family.Config, about["config"]), task.Recipe(**about["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{folder} holds no run of a generator, or a damaged one: {error}") from None


def _initial_generator(family: type[Generator], config: Any, seed: int) -> Generator:
    """The generator with the initial weights that `training.task.initialised` gives it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family(config).eval()


def _provenance(about: Mapping[str, Any], step: int) -> dict[str, Any]:
    """How a checkpoint was made, without paths of the machine that it was made on."""
    details = {name: about[name] for name in ("recipe", "hardware", "precision", "init_from") if name in about}
    data = {**about["data"], "folder": ", ".join(Path(folder).name for folder in data_folders(about))}
    data.pop("folders", None)  # whole paths
    return {"step": step, "data": data, "command": portable(about["command"]), **details}


def _carry_parts(representation: Representation, target: Path) -> None:
    """Includes fitting parts, such as a vocoder: from the folder exported to, or else from the explorer's."""
    for folder in (shelf.DEFAULT_FOLDER, target):
        for name, part in shelf.find_parts(folder, representation).items():
            representation.carry(name, part)

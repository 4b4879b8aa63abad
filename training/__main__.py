"""The trainers' command line: `python -m training --help`."""

import argparse
import dataclasses
import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  python -m training spectogan --data speech_commands --out runs/digits
  python -m training pianogan --data maestro-v3.0.0 --out runs/piano --batch-size 32 --threads 1
  python -m training pianogan --data maestro-v3.0.0 --out runs/piano --dry-run
  python -m training spectogan --out runs/digits --resume --steps 40000
  python -m training spectogan --data my-voice --out runs/mine --init-from spoken-digits
  torchrun --nproc_per_node=4 -m training spectogan --data sc09 --out runs/sc09 --batch-size 128
  python -m training export runs/digits --name my-digits
  python -m training snapshots runs/digits --name my-digits
  python -m training judge --data speech_commands --out judge.safetensors
  python -m training evaluate my-digits --data speech_commands --json figures.json
  python -m training vocoder --data free-spoken-digits speech_commands --out runs/vocoder --name vocoder-8k

A run can be stopped with Ctrl-C, or killed, at any time: --resume goes on from its last saved state.
RUN/metrics.jsonl and RUN/tensorboard hold the figures, RUN/snapshots the same seeds as they learn.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 for bad input, 130 when interrupted."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from explorer.checkpoint import CheckpointError
    from training import parallel
    from training.loop import TrainingError
    from training.task import DataError

    try:
        with parallel.joined():
            return int(args.run(args, arguments))
    except (CheckpointError, DataError, TrainingError, OSError) as error:  # the last: a full disk, a read-only folder
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        where = getattr(args, "out", None)
        print(
            f"stopped; go on with: python -m training {args.command} --out {where} --resume" if where else "stopped",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    # `training` is the script that pip installs
    command = "training" if Path(sys.argv[0]).stem == "training" else "python -m training"
    examples = EXAMPLES.replace("python -m training", command)
    parser = argparse.ArgumentParser(
        prog=command,
        description="Train the generators that `python -m explorer` plays.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for family, what in (
        ("pianogan", "256 piano notes, from a folder of MIDI (MAESTRO)"),
        ("spectogan", "mel spectrograms, from a folder of recordings (spoken digits)"),
    ):
        _add_family(
            commands.add_parser(
                family,
                help=f"train {what}",
                description=f"Train {what}.",
                epilog=examples,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    _add_vocoder(
        commands.add_parser(
            "vocoder",
            help="train the learned inversion of spectrograms",
            description=(
                "Train the network that turns spectrograms into sound, on recordings of any kind. Checkpoints of "
                "spectogan that are exported after it carry it."
            ),
        )
    )
    export = commands.add_parser("export", help="turn a run into a checkpoint that the explorer loads")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("--name", required=True, help="name of the checkpoint")
    export.add_argument("--checkpoints", type=Path, metavar="DIR", help="where to put it (default: the explorer's)")
    export.add_argument("--encoder", action="store_true", help="ship the warm start's encoder too")
    export.set_defaults(run=_export)
    snapshots = commands.add_parser(
        "snapshots",
        help="put snapshots of a run beside its checkpoint",
        description=(
            "Put some of a run's snapshots, in 8 bit, and its figures beside the checkpoint exported from it, for the "
            "explorer to replay how the network learned: checkpoints/snapshots/NAME."
        ),
    )
    snapshots.add_argument("folder", type=Path, metavar="RUN")
    snapshots.add_argument("--name", required=True, help="name of the checkpoint, as exported")
    snapshots.add_argument("--checkpoints", type=Path, metavar="DIR", help="where it is (default: the explorer's)")
    snapshots.add_argument(
        "--count", type=int, default=6, metavar="N", help="how many, the checkpoint itself as the last (default: 6)"
    )
    snapshots.set_defaults(run=_snapshots)
    curves = commands.add_parser("curves", help="draw how a run went: loss, Wasserstein estimate, penalty")
    curves.add_argument("folder", type=Path, metavar="RUN", help="or the snapshots of a checkpoint")
    curves.add_argument("--out", type=Path, required=True, metavar="FILE", help="to write: .png, .svg or .pdf")
    curves.set_defaults(run=_curves)
    _add_evaluate(
        commands.add_parser(
            "evaluate",
            help="measure a checkpoint against real data",
            description=(
                "Measure a checkpoint: figures of the model between those of real data and of simple baselines. "
                "Takes some minutes on one thread; the same checkpoint and data give the same figures."
            ),
        )
    )
    _add_inversion(
        commands.add_parser(
            "inversion",
            help="measure how spectrograms are turned into sound",
            description=(
                "Measure the learned inversion beside Griffin-Lim: intelligibility, likeness, words understood, cost."
            ),
        )
    )
    _add_judge(
        commands.add_parser(
            "judge",
            help="train the judge of spoken words that `evaluate` listens with",
            description="Train the judge of spoken words that `evaluate` listens with.",
        )
    )
    return parser


def _add_family(parser: argparse.ArgumentParser) -> None:
    from training.task import TrainingRecipe

    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder to train on (with --resume: as before)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where prepared data is kept (default: RUN/../cache)")
    parser.add_argument("--resume", action="store_true", help="go on from the last saved state")
    parser.add_argument(
        "--init-from",
        metavar="CHECKPOINT",
        help="fine-tune: start from the weights of a file, or of one of the explorer's by name",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, write no run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--config",
        nargs="*",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of the generator's configuration that differ from its default",
    )
    parser.add_argument("--prepare", nargs="*", default=[], metavar="OPTION=VALUE", help="options of the data loader")
    parser.add_argument(
        "--objective",
        choices=("wgan-gp", "non-saturating"),
        help="what to train with; the second is the original GAN loss, for comparison",
    )
    numbers = parser.add_argument_group(
        "numbers of the run",
        ("Default: the family's recipe, see --dry-run. What each means: training.task.TrainingRecipe."),
    )
    for field in dataclasses.fields(TrainingRecipe):
        if field.name not in ("extra", "objective"):
            kind = int if field.type in (int, "int") else float
            numbers.add_argument(f"--{field.name.replace('_', '-')}", type=kind, metavar="N")
    numbers.add_argument("--extra", nargs="*", default=[], metavar="NAME=N", help="a family's own numbers")
    parser.set_defaults(run=_train)


def _add_vocoder(parser: argparse.ArgumentParser) -> None:
    from training.vocoder import VocoderRecipe

    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="folders of recordings; as many of each")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where prepared data is kept (default: RUN/../cache)")
    parser.add_argument("--name", help="write the file of that name at the end")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="where to put it (default: the explorer's)")
    parser.add_argument("--sample-rate", type=int, default=8000, choices=(8000, 16000), help="(default: 8000)")
    parser.add_argument("--resume", action="store_true", help="go on from the last saved state")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, write no run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    for field in dataclasses.fields(VocoderRecipe):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            metavar="N",
            help=f"(default: {field.default})",
        )
    parser.set_defaults(run=_vocoder)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or the name of one of the explorer's")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of real data, as for training")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        metavar="DIR",
        help="where prepared data and the judge are kept (default: runs/cache)",
    )
    parser.add_argument("--samples", type=int, metavar="N", help="sounds to generate (speech: 2048, piano: 1024)")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="a judge of speech (default: one is trained, once)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too, for programs")
    parser.add_argument("--markdown", action="store_true", help="print for a model card")
    parser.set_defaults(run=_evaluate)


def _add_inversion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a learned inversion, or a checkpoint that carries one: a file, or one of the explorer's",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of recordings, as for training")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        metavar="DIR",
        help="where prepared data and the judge are kept (default: runs/cache)",
    )
    parser.add_argument("--clips", type=int, default=200, metavar="N", help="sounds to measure (default: 200)")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="a judge of speech (default: one is trained, once)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too, for programs")
    parser.add_argument("--markdown", action="store_true", help="print for a model card")
    parser.set_defaults(run=_inversion)


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of recordings, as for training")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it (.safetensors)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        metavar="DIR",
        help="where prepared data is kept (default: runs/cache)",
    )
    parser.add_argument("--labels", metavar="A,B", help="only these, in this order (default: all there are)")
    parser.add_argument("--sample-rate", type=int, choices=(8000, 16000), help="(default: what the files have)")
    parser.set_defaults(run=_judge)


def _checkpoint(text: str) -> Path:
    from explorer.shelf import DEFAULT_FOLDER

    named = DEFAULT_FOLDER / f"{text}.safetensors"
    return named if named.is_file() else Path(text)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    from training.loop import TrainingError

    for text in texts:
        if "=" not in text:
            raise TrainingError(f"{text!r} is not of the form NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _values(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE with values read as JSON where they are JSON, and as text where not."""

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {name: value(text) for name, text in _pairs(texts).items()}


def _train(args: argparse.Namespace, argv: Sequence[str]) -> int:
    import torch

    from explorer.checkpoint import config_from_dict
    from explorer.generators import FAMILIES
    from training import parallel
    from training.data import inventory
    from training.export import hardware, read_run, write_run
    from training.families import TASKS
    from training.loop import STATE, TrainingError, load_state, start, train
    from training.snapshot import snapshot
    from training.task import TrainingRecipe
    from training.transfer import adopt, read_origin

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.init_from and (args.resume or args.config):
        raise TrainingError(
            "--init-from starts a run with a checkpoint's weights and configuration: it goes neither "
            "with --resume nor with --config"
        )
    device = _device(args.device)
    task = TASKS[args.command]()
    before = read_run(args.out) if args.resume else None
    if before is None and (args.out / STATE).exists():
        raise TrainingError(f"{args.out} already holds a run: add --resume, or choose another --out")
    if before is not None and before["family"] != args.command:
        raise TrainingError(f"{args.out} is a run of {before['family']}")
    folder = args.data or (Path(before["data"]["folder"]) if before else None)
    if folder is None:
        raise TrainingError("--data is needed to start a run")
    origin = read_origin(_checkpoint(args.init_from), args.command) if args.init_from else None
    recipe = TrainingRecipe(**before["recipe"]) if before else task.fine_tuning if origin else task.defaults
    given = {
        f.name: getattr(args, f.name)
        for f in dataclasses.fields(TrainingRecipe)
        if f.name != "extra" and getattr(args, f.name) is not None
    }
    extra = {name: float(value) for name, value in _pairs(args.extra).items()}
    if unknown := sorted(set(extra) - set(task.defaults.extra)):
        raise TrainingError(f"no number {', '.join(unknown)}; {args.command} has {', '.join(task.defaults.extra)}")
    recipe = replace(recipe, **given, extra={**recipe.extra, **extra})
    options = _pairs(args.prepare) or (before["prepare"] if before else {})
    like = None
    if origin is not None:
        like = origin.generator.config
    elif before is not None and "init_from" in before:
        like = config_from_dict(FAMILIES[args.command].Config, before["config"])
    cache = args.cache or args.out.parent / "cache"
    data = parallel.first_alone(lambda: task.prepare(folder, cache, options, like))
    if "inventory" in data.meta and parallel.rank() == 0 and not args.dry_run:
        logging.info("%s", inventory.table(data.meta["inventory"]))
    config = asdict(like) if like else {**(before["overrides"] if before else {}), **_values(args.config)}
    try:
        run = start(task, recipe, data, config, device, args.precision == "bfloat16")
    except (TypeError, ValueError) as error:
        raise TrainingError(f"--config does not fit {args.command}: {error}") from None
    about = {
        "family": args.command,
        "recipe": asdict(recipe),
        "config": asdict(run.generator.config),
        "overrides": config,
        "prepare": options,
        "data": {"folder": str(folder.resolve()), **data.meta},
        "command": "; ".join(
            [*([before["command"]] if before else []), shlex.join(["python", "-m", "training", *argv])]
        ),
        "hardware": hardware(device),
    }
    if origin is not None:
        adopt(run, origin)
        about["init_from"] = {"name": origin.card.name, "sha256": origin.card.sha256}
    elif before is not None and "init_from" in before:
        about["init_from"] = before["init_from"]
    if args.dry_run:
        if parallel.rank() == 0:
            print(_plan(run, data, about))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    if before is not None:
        load_state(run, args.out)
    if parallel.rank() == 0:
        write_run(args.out, about)
    train(run, data, args.out, snapshot)
    return 0


def _vocoder(args: argparse.Namespace, argv: Sequence[str]) -> int:
    import torch

    from explorer.checkpoint import config_from_dict
    from explorer.shelf import DEFAULT_FOLDER
    from explorer.sound.vocoder import VocoderConfig
    from training import vocoder
    from training.export import hardware, read_run, write_run
    from training.loop import STATE, TrainingError, load_state

    if args.threads:
        torch.set_num_threads(args.threads)
    before = read_run(args.out) if args.resume else None
    if before is None and (args.out / STATE).exists():
        raise TrainingError(f"{args.out} already holds a run: add --resume, or choose another --out")
    folders = args.data or [Path(folder) for folder in (before["data"] if before else ())]
    if not folders:
        raise TrainingError("--data is needed to start a run")
    given = {
        f.name: getattr(args, f.name)
        for f in dataclasses.fields(vocoder.VocoderRecipe)
        if getattr(args, f.name) is not None
    }
    recipe = vocoder.VocoderRecipe(**{**(before["recipe"] if before else {}), **given})
    config = config_from_dict(VocoderConfig, before["config"]) if before else vocoder.blank_config(args.sample_rate)
    device = _device(args.device)
    streams = vocoder.load_streams(folders, args.cache or args.out.parent / "cache", config.sample_rate)
    run = vocoder.start(config, recipe, device, args.precision == "bfloat16")
    about = {
        "kind": "vocoder",
        "recipe": asdict(recipe),
        "config": asdict(config),
        "step": recipe.steps,
        "data": [str(folder.absolute()) for folder in folders],
        "hardware": hardware(device),
        "minutes": {part: [round(len(s) / config.sample_rate / 60, 1) for s in streams[part]] for part in streams},
        "command": "; ".join(
            [*([before["command"]] if before else []), shlex.join(["python", "-m", "training", *argv])]
        ),
    }
    if args.dry_run:
        print("\n".join(f"{name:<12}{value}" for name, value in about.items()))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    if before is not None:
        load_state(run, args.out)
    write_run(args.out, about)
    vocoder.train(run, streams["train"], args.out)
    if args.name:
        path = vocoder.export(args.out, args.name, args.checkpoints or DEFAULT_FOLDER)
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _plan(run: Any, data: Any, about: dict[str, Any]) -> str:
    from training.data import inventory

    modules = {name: module for name, module in run.modules().items() if name != "ema"}
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    counts = {"train": data.train, "valid": data.valid}
    lines = [
        f"family      {about['family']}",
        f"data        {about['data']['folder']}: "
        + ", ".join(f"{len(next(iter(part.values()))):,} {name}" for name, part in counts.items() if part),
        *([inventory.table(data.meta["inventory"])] if "inventory" in data.meta else []),
        "parameters  " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
        f"device      {about['hardware']}, {'bfloat16' if run.bfloat16 else 'float32'}",
        f"steps       {run.recipe.warm_steps:,} warm, then {run.recipe.steps:,} adversarial",
        "recipe      " + ", ".join(f"{k}={v}" for k, v in about["recipe"].items()),
        "config      " + ", ".join(f"{k}={v}" for k, v in about["config"].items() if len(str(v)) < 60),
        "nothing was written but the prepared data's cache",
    ]
    return "\n".join(lines)


def _device(name: str) -> Any:
    import torch

    from training.loop import TrainingError

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # torchrun numbers the processes of a machine
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used: {error}") from None
    return device


def _export(args: argparse.Namespace, argv: Sequence[str]) -> int:
    from explorer.shelf import DEFAULT_FOLDER
    from training.export import export

    path = export(args.folder, args.name, args.checkpoints or DEFAULT_FOLDER, encoder=args.encoder)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _snapshots(args: argparse.Namespace, argv: Sequence[str]) -> int:
    from explorer.shelf import DEFAULT_FOLDER
    from training.export import export_snapshots

    for path in export_snapshots(args.folder, args.name, args.checkpoints or DEFAULT_FOLDER, args.count):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _curves(args: argparse.Namespace, argv: Sequence[str]) -> int:
    from explorer.files.figures import training_curves
    from training.export import read_metrics
    from training.loop import TrainingError

    if args.out.suffix not in (".png", ".svg", ".pdf"):
        raise TrainingError(f"curves are drawn as .png, .svg or .pdf, not as {args.out}")
    if not args.out.absolute().parent.is_dir():
        raise TrainingError(f"there is no folder {args.out.parent} to write to")
    training_curves(read_metrics(args.folder)).savefig(args.out)
    return 0


def _evaluate(args: argparse.Namespace, argv: Sequence[str]) -> int:
    import torch

    from training.evaluation.evaluate import evaluate
    from training.loop import TrainingError

    torch.set_num_threads(1)  # or the last digits would depend on the machine's cores
    if args.json is not None and not args.json.absolute().parent.is_dir():  # now, not after minutes
        raise TrainingError(f"there is no folder {args.json.parent} to write to")
    report = evaluate(_checkpoint(args.checkpoint), args.data, args.cache, args.samples, args.judge)
    print(report.markdown() if args.markdown else report.text())
    if args.json is not None:
        args.json.write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _inversion(args: argparse.Namespace, argv: Sequence[str]) -> int:
    import torch

    from training.evaluation.inversion import inversion_tables
    from training.loop import TrainingError

    torch.set_num_threads(1)
    if args.clips < 1:
        raise TrainingError("--clips must be at least 1")
    if args.json is not None and not args.json.absolute().parent.is_dir():
        raise TrainingError(f"there is no folder {args.json.parent} to write to")
    tables = inversion_tables(_checkpoint(args.checkpoint), args.data, args.cache, args.judge, args.clips)
    print("\n\n".join(table.markdown() if args.markdown else table.text() for table in tables))
    if args.json is not None:
        plain = [table.to_dict() for table in tables]
        args.json.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _judge(args: argparse.Namespace, argv: Sequence[str]) -> int:
    import torch

    from explorer.judge import save_judge
    from training.data.audio import load_waveforms
    from training.data.inventory import table
    from training.evaluation.judge import accuracy, train_judge
    from training.task import DataError

    torch.set_num_threads(1)
    options = {"labels": args.labels, "sample_rate": args.sample_rate}
    clips = load_waveforms(args.data, args.cache, {k: str(v) for k, v in options.items() if v is not None})
    logging.info("%s", table(clips.meta["inventory"]))
    if len(clips.meta["labels"]) < 2:
        raise DataError(f"{args.data}: a judge needs recordings of at least two labels")
    judge = train_judge(clips)
    save_judge(args.out, judge)
    print(
        f"{args.out}: {100 * accuracy(judge, clips):.1f} % of {len(clips.valid):,} validation recordings right, "
        f"trained on {len(clips.train):,}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

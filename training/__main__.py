"""The trainers' command line: `python -m training --help`. It only parses; `training.commands` does the work."""

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

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
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        args = _parser().parse_args(arguments)
        from explorer.checkpoint import CheckpointError
        from training import parallel
        from training.runs import TrainingError
        from training.task import DataError
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    try:
        with parallel.joined():
            args.run(args, arguments)
        return 0
    except (CheckpointError, DataError, TrainingError, OSError, MemoryError) as error:  # OSError: e.g. a full disk
        return _fail(str(error) or "too little memory")
    except RuntimeError as error:
        if "memory" not in str(error):  # torch has no type of its own for it on a CPU
            raise
        return _fail(f"too little memory, a smaller --batch-size needs less: {error}")
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        return 130


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    from training.families import TASKS

    # `training` is the script that pip installs
    program = "training" if Path(sys.argv[0]).stem == "training" else "python -m training"
    examples = EXAMPLES.replace("python -m training", program)
    parser = _Parser(
        prog=program,
        description="Train the generators that `python -m explorer` plays.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, add: Callable[..., None], help: str, description: str = "", **more: Any) -> None:
        add(commands.add_parser(name, help=help, description=description or f"{help[0].upper()}{help[1:]}.", **more))

    for family, task in TASKS.items():
        command(
            family,
            lambda parser, task=task: _add_family(parser, task),
            f"train {task.summary}",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    command(
        "vocoder",
        _add_vocoder,
        "train the learned inversion of spectrograms",
        "Train the network that turns spectrograms into sound, on recordings of any kind. Checkpoints of spectrograms "
        "that are exported after it carry it.",
    )
    command("export", _add_export, "turn a run into a checkpoint that the explorer loads")
    command(
        "snapshots",
        _add_snapshots,
        "put snapshots of a run beside its checkpoint",
        "Put some of a run's snapshots, in 8 bit, and its figures beside the checkpoint exported from it, for the "
        "explorer to replay how the network learned: checkpoints/snapshots/NAME.",
    )
    command("curves", _add_curves, "draw how a run went: loss, Wasserstein estimate, penalty")
    command(
        "evaluate",
        _add_evaluate,
        "measure a checkpoint against real data",
        "Measure a checkpoint: figures of the model between those of real data and of simple baselines. Takes some "
        "minutes on one thread; the same checkpoint and data give the same figures.",
    )
    command(
        "inversion",
        _add_inversion,
        "measure how spectrograms are turned into sound",
        "Measure the learned inversion beside Griffin-Lim: intelligibility, likeness, words understood, cost.",
    )
    command("judge", _add_judge, "train the judge of spoken words that `evaluate` listens with")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    """What every run is told: `RunOptions`."""
    from training.machine import MOST_THREADS, PRECISIONS

    parser.add_argument("--out", type=_path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--cache", type=_path, metavar="DIR", help="of prepared data (default: RUN/../cache)")
    parser.add_argument("--resume", action="store_true", help="go on from the last saved state")
    parser.add_argument(
        "--changed-data",
        action="store_true",
        help="with --resume: go on although the data is no longer what the run was trained on",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, write no run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (default: auto)")
    parser.add_argument(
        "--precision",
        choices=("auto", *PRECISIONS),
        default="auto",
        help="of the networks' arithmetic; auto measures in a second or two which is faster on this machine, and a "
        "resumed run keeps what it had (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=_whole("--threads", 1, MOST_THREADS),
        metavar="N",
        help="CPU threads (default: one for each physical core)",
    )


def _run_options(args: argparse.Namespace, argv: Sequence[str]) -> Any:
    from training.commands import RunOptions

    data = args.data if isinstance(args.data, list) else [args.data] if args.data else []
    return RunOptions(
        out=args.out,
        data=tuple(data),
        cache=args.cache,
        resume=args.resume,
        changed_data=args.changed_data,
        dry_run=args.dry_run,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        command=("python", "-m", "training", *argv),
    )


def _add_family(parser: argparse.ArgumentParser, task: Any) -> None:
    from training.options import add_arguments
    from training.task import TrainingRecipe

    parser.add_argument("--data", type=_path, metavar="DIR", help="folder to train on (with --resume: as before)")
    _add_run(parser)
    parser.add_argument(
        "--init-from",
        metavar="CHECKPOINT",
        type=_checkpoint,
        help="fine-tune: start from the weights of a file, or of one of the explorer's by name",
    )
    parser.add_argument(
        "--config",
        nargs="*",
        type=_pair,
        default=[],
        metavar="FIELD=VALUE",
        help="fields of the generator's configuration that differ from its default",
    )
    parser.add_argument(
        "--prepare", nargs="*", type=_pair, default=[], metavar="OPTION=VALUE", help="options of the data loader"
    )
    numbers = parser.add_argument_group(
        "numbers of the run", "With --init-from they have other defaults: see --dry-run."
    )
    add_arguments(numbers, TrainingRecipe, task.defaults)
    own = [f"{name}: {number.help} (default: {task.defaults.extra[name]:g})" for name, number in task.numbers.items()]
    numbers.add_argument(
        "--extra",
        nargs="*",
        type=_number_pair,
        default=[],
        metavar="NAME=N",
        help=f"numbers of this family alone. {'; '.join(own)}" if own else argparse.SUPPRESS,
    )
    parser.set_defaults(run=_train)


def _train(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import train_family
    from training.options import given
    from training.task import TrainingRecipe

    train_family(
        args.command,
        _run_options(args, argv),
        given(args, TrainingRecipe),
        extra=dict(args.extra),
        config={name: _value(text) for name, text in args.config},
        prepare=dict(args.prepare),
        init_from=args.init_from,
    )


def _add_vocoder(parser: argparse.ArgumentParser) -> None:
    from training.options import add_arguments
    from training.vocoder import VocoderRecipe

    parser.add_argument("--data", type=_path, nargs="+", metavar="DIR", help="folders of recordings; as many of each")
    _add_run(parser)
    parser.add_argument("--name", type=_name, help="write the file of that name at the end")
    _add_checkpoints(parser, "where to put it")
    parser.add_argument("--sample-rate", type=int, default=8000, choices=(8000, 16000), help="(default: 8000)")
    add_arguments(parser.add_argument_group("numbers of the run"), VocoderRecipe, VocoderRecipe())
    parser.set_defaults(run=_vocoder)


def _vocoder(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import train_vocoder
    from training.options import given
    from training.vocoder import VocoderRecipe

    path = train_vocoder(
        _run_options(args, argv),
        given(args, VocoderRecipe),
        sample_rate=args.sample_rate,
        name=args.name,
        checkpoints=args.checkpoints,
    )
    if path is not None:
        _tell_file(path)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN")
    parser.add_argument("--name", type=_name, required=True, help="name of the checkpoint")
    _add_checkpoints(parser, "where to put it")
    parser.add_argument("--encoder", action="store_true", help="ship the warm start's encoder too")
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.export import export

    _tell_file(export(args.folder, args.name, args.checkpoints, encoder=args.encoder))


def _add_snapshots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN")
    parser.add_argument("--name", type=_name, required=True, help="name of the checkpoint, as exported")
    _add_checkpoints(parser, "where it is")
    parser.add_argument(
        "--count",
        type=_whole("--count", 1),
        default=6,
        metavar="N",
        help="how many, the checkpoint itself as the last (default: 6)",
    )
    parser.set_defaults(run=_snapshots)


def _snapshots(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.export import export_snapshots

    for path in export_snapshots(args.folder, args.name, args.checkpoints, args.count):
        _tell_file(path)


def _add_curves(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN", help="or the snapshots of a checkpoint")
    parser.add_argument("--out", type=_path, required=True, metavar="FILE", help="to write: .png, .svg or .pdf")
    parser.set_defaults(run=_curves)


def _curves(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import draw_curves

    draw_curves(args.folder, args.out)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=_checkpoint, metavar="CHECKPOINT", help="a file, or the name of one of the explorer's"
    )
    parser.add_argument("--data", type=_path, required=True, metavar="DIR", help="folder of real data, as for training")
    _add_measuring(parser)
    parser.add_argument(
        "--samples",
        type=_whole("--samples", 1),
        metavar="N",
        help="sounds to generate (speech: 2048, piano: 1024)",
    )
    parser.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import evaluate_checkpoint

    report = evaluate_checkpoint(args.checkpoint, args.data, args.cache, args.samples, args.judge, args.json)
    print(report.markdown() if args.markdown else report.text())


def _add_inversion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=_checkpoint,
        metavar="CHECKPOINT",
        help="a learned inversion, or a checkpoint that carries one: a file, or one of the explorer's",
    )
    parser.add_argument(
        "--data", type=_path, required=True, metavar="DIR", help="folder of recordings, as for training"
    )
    _add_measuring(parser)
    parser.add_argument(
        "--clips", type=_whole("--clips", 1), default=200, metavar="N", help="sounds to measure (default: 200)"
    )
    parser.set_defaults(run=_inversion)


def _inversion(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import measure_inversion

    tables = measure_inversion(args.checkpoint, args.data, args.cache, args.clips, args.judge, args.json)
    print("\n\n".join(table.markdown() if args.markdown else table.text() for table in tables))


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=_path, required=True, metavar="DIR", help="folder of recordings, as for training"
    )
    parser.add_argument("--out", type=_path, required=True, metavar="FILE", help="where to write it (.safetensors)")
    _add_cache(parser, "prepared data is")
    parser.add_argument("--labels", metavar="A,B", help="only these, in this order (default: all there are)")
    parser.add_argument("--sample-rate", type=int, choices=(8000, 16000), help="(default: what the files have)")
    parser.set_defaults(run=_judge)


def _judge(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import make_judge

    print(make_judge(args.data, args.out, args.cache, args.labels, args.sample_rate))


def _add_checkpoints(parser: argparse.ArgumentParser, what: str) -> None:
    from explorer.shelf import OWN_FOLDER

    parser.add_argument(
        "--checkpoints", type=_path, default=OWN_FOLDER, metavar="DIR", help=f"{what} (default: ./checkpoints)"
    )


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    _add_cache(parser, "prepared data and the judge are")
    parser.add_argument("--judge", type=_path, metavar="FILE", help="a judge of speech (default: one is trained, once)")
    parser.add_argument("--json", type=_path, metavar="FILE", help="write the figures here too, for programs")
    parser.add_argument("--markdown", action="store_true", help="print for a model card")


def _add_cache(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--cache",
        type=_path,
        default=Path("runs/cache"),
        metavar="DIR",
        help=f"where {what} kept (default: runs/cache)",
    )


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} names no file or folder")
    return Path(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w.+ -]{0,99}", text):
        raise argparse.ArgumentTypeError(f"a name is made of letters, digits, . and -, not {text!r}")
    return text


def _checkpoint(text: str) -> Path:
    from explorer.shelf import DEFAULT_FOLDER, OWN_FOLDER

    path = _path(text)
    named = [folder / f"{text}.safetensors" for folder in (OWN_FOLDER, DEFAULT_FOLDER)]
    return next(filter(Path.is_file, named), path) if re.fullmatch(r"[\w.+ -]+", text) else path


def _whole(flag: str, low: int, high: int | None = None) -> Callable[[str], float]:
    from training.options import MOST, Number

    return Number("", low, high or MOST, whole=True).parser(flag)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _number_pair(text: str) -> tuple[str, float]:
    from training.options import Number

    name, value = _pair(text)
    return name, Number("").parser(name)(value)


def _value(text: str) -> Any:
    """A value read as JSON where it is JSON, and as text where not."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _tell_file(path: Path) -> None:
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())

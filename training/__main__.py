"""The command line of the trainers, `python -m training`. It parses arguments; `training.commands` does the work."""

import argparse
import json
import logging
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

EXAMPLES = """\
examples:
  python -m training spectogan --data speech_commands --out runs/digits
  python -m training pianogan --data maestro-v3.0.0 --out runs/piano --batch-size 32 --threads 1
  python -m training pianogan --data maestro-v3.0.0 --out runs/piano --dry-run
  python -m training wavegan --data drums FluidR3_GM.sf2 --out runs/drums --config condition=drum
  python -m training gansynth --data FluidR3_GM.sf2 my-notes --out runs/timbres
  python -m training diffwave --data drums FluidR3_GM.sf2 --out runs/hits
  python -m training spectogan --out runs/digits --resume --steps 40000
  python -m training spectogan --data my-voice --out runs/mine --init-from spoken-digits
  torchrun --nproc_per_node=4 -m training spectogan --data sc09 --out runs/sc09 --batch-size 128
  python -m training export runs/digits --name my-digits
  python -m training snapshots runs/digits --name my-digits
  python -m training push runs/digits USER/my-digits --license cc-by-4.0
  python -m training curves runs/digits --out curves.png
  python -m training judge --data speech_commands --out judge.safetensors
  python -m training evaluate my-digits --data speech_commands --json figures.json
  python -m training inversion my-digits --data speech_commands
  python -m training drums-data FluidR3_GM.sf2 my-one-shots --out drums
  python -m training vocoder --data free-spoken-digits speech_commands --out runs/vocoder --name vocoder-8k

A run can be stopped with Ctrl-C, or killed, at any time: --resume continues from its last saved state.
RUN/metrics.jsonl and RUN/tensorboard hold the losses; RUN/snapshots holds sounds of the same seeds at
several steps, so that you can hear and see the generator learn.
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
        return _fail(str(error) or "not enough memory")
    except RuntimeError as error:
        if "memory" not in str(error):  # on a CPU torch raises a plain RuntimeError
            raise
        return _fail(f"not enough memory; use a smaller --batch-size: {error}")
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        return 130


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, as `main` does for every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    from training.families import TASKS

    # `training` is the script that pip installs
    program = "training" if Path(sys.argv[0]).stem == "training" else "python -m training"
    examples = EXAMPLES.replace("python -m training", program)
    parser = _Parser(
        prog=program,
        description="Train the generators that `python -m explorer` plays. Choose a family, which is a kind of\n"
        "generator, and a folder of recordings or MIDI files. COMMAND --help explains each command.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, add: Callable[..., None], help: str, description: str = "", **more: Any) -> None:
        example = next((line.strip() for line in examples.splitlines() if f" {name} " in line), "")
        more.setdefault("epilog", example and f"example: {example}")
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
        "train a vocoder: a network that turns spectrograms into sound",
        "Train a vocoder, the network that turns spectrograms into sound, on recordings of any kind. Generators of "
        "spectrograms that are exported afterwards include a copy of it.",
    )
    command("export", _add_export, "turn a run into a checkpoint, a file that the explorer loads")
    command(
        "snapshots",
        _add_snapshots,
        "save snapshots of a run beside its checkpoint",
        "Save some of a run's snapshots (8-bit weights) and its losses beside the checkpoint exported from it, in "
        "checkpoints/snapshots/NAME. The explorer replays from them how the generator learned.",
    )
    command(
        "push",
        _add_push,
        "publish a run on the Hugging Face Hub",
        "Publish a run on the Hugging Face Hub: its checkpoint, exported unless it already is, its model card with "
        "pictures of sounds and losses, and its snapshots if you saved some. Fill in the card before, NAME.md beside "
        "the checkpoint. Prints the address from which the explorer plays it. Needs `hf auth login` or HF_TOKEN.",
    )
    command("curves", _add_curves, "plot a run: losses, Wasserstein estimate, gradient penalty")
    command(
        "evaluate",
        _add_evaluate,
        "measure a checkpoint against real data",
        "Measure a checkpoint: its figures in one table with those of real data and of simple baselines. Takes some "
        "minutes on one thread; the same checkpoint and data give the same figures.",
    )
    command(
        "inversion",
        _add_inversion,
        "compare the vocoder with Griffin-Lim",
        "Compare the vocoder with Griffin-Lim, another way to turn spectrograms into sound: intelligibility, "
        "similarity to the recordings, labels recognised, and time taken.",
    )
    command(
        "drums-data",
        _add_drums_data,
        "write a set of drum hits to train on",
        "Write a set of labelled drum hits: from SoundFonts, Debian packages and folders of one-shots that you have, "
        "each drum once and on one side only, and from a synthesiser whose parameters are written beside them. Nothing "
        "is downloaded. Train on both folders: --data DIR/recorded DIR/synthesised.",
    )
    command("judge", _add_judge, "train a judge: the classifier of spoken labels that `evaluate` uses")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the options common to all runs, see `RunOptions`."""
    from training.machine import MAX_THREADS, PRECISIONS

    parser.add_argument("--out", type=_path, required=True, metavar="RUN", help="folder to write the run to")
    parser.add_argument(
        "--cache", type=_path, metavar="DIR", help="folder for prepared training data (default: RUN/../cache)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last saved state")
    parser.add_argument(
        "--changed-data",
        action="store_true",
        help="with --resume: continue although the data differs from what the run was trained on so far",
    )
    parser.add_argument("--dry-run", action="store_true", help="prepare the data, print what would be done, and stop")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: auto, a GPU if any)")
    parser.add_argument(
        "--precision",
        choices=("auto", *PRECISIONS),
        default="auto",
        help="number format in which the networks compute; auto measures in a second or two which is faster here, and "
        "keeps the format of a resumed run on the same kind of processor (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=_whole("--threads", 1, MAX_THREADS),
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

    sources = "folders or files" if task.many_sources else "folder"
    parser.add_argument(
        "--data",
        type=_path,
        nargs="+" if task.many_sources else None,
        metavar="DIR",
        help=f"{sources} with the training data (with --resume: by default what was used before)",
    )
    _add_run(parser)
    parser.add_argument(
        "--init-from",
        metavar="CHECKPOINT",
        help="fine-tune: start from the weights of a checkpoint (a file, or the name of one in the explorer)",
    )
    _add_checkpoints(parser, "folder of the checkpoint that is named with --init-from")
    parser.add_argument(
        "--config",
        nargs="*",
        type=_pair,
        default=[],
        metavar="FIELD=VALUE",
        help="change fields of the generator's configuration (`Config` in explorer/generators)",
    )
    parser.add_argument(
        "--prepare",
        nargs="*",
        type=_pair,
        default=[],
        metavar="OPTION=VALUE",
        help=f"options for preparing the data: {task.preparation}",
    )
    numbers = parser.add_argument_group(
        "training recipe",
        "The defaults shown are for training from random weights. With --init-from others are used;\n"
        "--dry-run shows them.",
    )
    add_arguments(numbers, task.Recipe, task.defaults)
    own = [
        f"  {name}\n"
        + textwrap.indent(textwrap.fill(f"{number.help} (default: {task.defaults.extra[name]:g})", 84), " " * 6)
        for name, number in task.numbers.items()
    ]
    special = parser.add_argument_group("numbers that only this family has", "\n".join(own)) if own else numbers
    special.add_argument(
        "--extra",
        nargs="*",
        type=_number_pair,
        default=[],
        metavar="NAME=N",
        help="change some of the numbers above" if own else argparse.SUPPRESS,
    )
    parser.set_defaults(run=_train)


def _train(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import train_family
    from training.families import TASKS
    from training.options import given

    train_family(
        args.command,
        _run_options(args, argv),
        given(args, TASKS[args.command].Recipe),
        extra=dict(args.extra),
        config={name: _value(text) for name, text in args.config},
        prepare=dict(args.prepare),
        init_from=_checkpoint(args, args.init_from) if args.init_from is not None else None,
    )


def _add_vocoder(parser: argparse.ArgumentParser) -> None:
    from training.options import add_arguments
    from training.vocoder import VocoderRecipe

    parser.add_argument(
        "--data", type=_path, nargs="+", metavar="DIR", help="folders of recordings; each is used equally often"
    )
    _add_run(parser)
    parser.add_argument("--name", type=_name, help="at the end, export the vocoder under this name")
    _add_checkpoints(parser, "where to put it")
    parser.add_argument("--sample-rate", type=int, default=8000, choices=(8000, 16000), help="in Hz (default: 8000)")
    add_arguments(parser.add_argument_group("training recipe"), VocoderRecipe, VocoderRecipe())
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
        _print_file(path)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN", help="folder that was given as --out")
    parser.add_argument("--name", type=_name, required=True, help="name of the checkpoint")
    _add_checkpoints(parser, "where to put it")
    parser.add_argument(
        "--encoder", action="store_true", help="include the encoder, so that fine-tuning can start from it"
    )
    parser.add_argument(
        "--no-directions",
        action="store_true",
        help="measure no directions for the sliders, which takes minutes; `explorer directions` can do it later",
    )
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from explorer.shelf import OWN_FOLDER
    from training.export import SAMPLES, export

    samples = 0 if args.no_directions else SAMPLES
    _print_file(export(args.folder, args.name, args.checkpoints, encoder=args.encoder, samples=samples))
    folder = "" if args.checkpoints == OWN_FOLDER else f" --checkpoints {shlex.quote(str(args.checkpoints))}"
    print(f"to hear it: python -m explorer{folder}")


def _add_snapshots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN", help="folder that was given as --out")
    parser.add_argument("--name", type=_name, required=True, help="name of the checkpoint, as exported")
    _add_checkpoints(parser, "folder that it is in")
    parser.add_argument(
        "--count",
        type=_whole("--count", 1),
        default=6,
        metavar="N",
        help="number of snapshots, the checkpoint itself included (default: 6)",
    )
    parser.set_defaults(run=_snapshots)


def _snapshots(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.export import export_snapshots

    for path in export_snapshots(args.folder, args.name, args.checkpoints, args.count):
        _print_file(path)


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN", help="folder that was given as --out")
    parser.add_argument("repo", metavar="USER/REPO", help="where to; it is made if there is none")
    parser.add_argument("--name", type=_name, help="name of the checkpoint (default: REPO)")
    _add_checkpoints(parser, "folder that it is in, or is exported to")
    parser.add_argument("--private", action="store_true", help="let nobody else see a repository that is made")
    parser.add_argument("--revision", metavar="BRANCH", help="branch, made if there is none (default: the main one)")
    parser.add_argument(
        "--license", default="other", metavar="ID", help="licence of the weights, as the Hub names it (default: other)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only list the files and their sizes")
    parser.set_defaults(run=_push)


def _push(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from explorer import hub
    from training.push import collect, push
    from training.runs import TrainingError

    try:
        hub.check_name(args.repo, "a repository")
        name = args.name or _name(args.repo.partition("/")[2])
        files = collect(args.folder, args.repo, name, args.checkpoints, args.license)
        for path, content in sorted(files.items()):
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            print(f"{size:>12,}  {path}")
        if not args.dry_run:
            print(push(files, args.repo, name, args.private, args.revision))
    except (ValueError, argparse.ArgumentTypeError) as error:  # a name that the Hub does not take; what it says
        raise TrainingError(str(error)) from None


def _add_curves(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, metavar="RUN", help="a run, or checkpoints/snapshots/NAME")
    parser.add_argument("--out", type=_path, required=True, metavar="FILE", help="picture to write: .png, .svg or .pdf")
    parser.set_defaults(run=_curves)


def _curves(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import draw_curves

    draw_curves(args.folder, args.out)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or the name of a checkpoint in the explorer")
    _add_checkpoints(parser, "folder of the checkpoint")
    parser.add_argument(
        "--data",
        type=_path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folder of real data, as for training; of one-shots and notes there may be several",
    )
    parser.add_argument(
        "--others", type=_path, metavar="DIR", help="one-shots or notes of other origin, to measure beside the model's"
    )
    _add_measuring(parser)
    parser.add_argument(
        "--samples",
        type=_whole("--samples", 1),
        metavar="N",
        help="sounds to generate (speech: 2048, piano: 1024, one-shots: 100 of each label, notes: 40 of each key)",
    )
    parser.add_argument(
        "--snapshots",
        action="store_true",
        help="measure each snapshot of its training too, and keep the figures beside them for the explorer's lessons",
    )
    parser.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.commands import evaluate_checkpoint, evaluate_snapshots
    from training.runs import TrainingError

    if args.snapshots:
        if args.json or args.others:
            raise TrainingError("--snapshots writes its figures beside the snapshots: leave out --json and --others")
        table = evaluate_snapshots(_checkpoint(args, args.checkpoint), args.data, args.cache, args.samples, args.judge)
        print(table.markdown() if args.markdown else table.text())
        return
    report = evaluate_checkpoint(
        _checkpoint(args, args.checkpoint), args.data, args.cache, args.samples, args.judge, args.json, args.others
    )
    print(report.markdown() if args.markdown else report.text())


def _add_inversion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a vocoder, or a checkpoint that includes one: a file, or the name of one in the explorer",
    )
    _add_checkpoints(parser, "folder of the checkpoint")
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

    checkpoint = _checkpoint(args, args.checkpoint)
    tables = measure_inversion(checkpoint, args.data, args.cache, args.clips, args.judge, args.json)
    print("\n\n".join(table.markdown() if args.markdown else table.text() for table in tables))


def _add_drums_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", type=_path, nargs="*", metavar="SOURCE", help="a .sf2 or .deb file, or a folder of one-shots"
    )
    parser.add_argument("--out", type=_path, required=True, metavar="DIR", help="folder to write; must not exist yet")
    parser.add_argument(
        "--synthesised",
        type=_whole("--synthesised", 0, 100_000),
        default=300,
        metavar="N",
        help="synthesised hits of each label (default: 300)",
    )
    parser.set_defaults(run=_drums_data)


def _drums_data(args: argparse.Namespace, argv: Sequence[str]) -> None:
    from training.data.drum_set import build

    print(build(args.sources, args.out, args.synthesised))


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=_path, required=True, metavar="DIR", help="folder of recordings, as for training"
    )
    parser.add_argument("--out", type=_path, required=True, metavar="FILE", help="where to write it (.safetensors)")
    _add_cache(parser, "prepared data")
    parser.add_argument("--labels", metavar="A,B", help="use only these labels, in this order (default: all)")
    parser.add_argument(
        "--sample-rate",
        type=int,
        choices=(8000, 16000),
        help="in Hz (default: 16000 if most files have that much, or else 8000)",
    )
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
    _add_cache(parser, "prepared data and the judge")
    parser.add_argument(
        "--judge", type=_path, metavar="FILE", help="a judge to use for speech (default: one is trained and kept)"
    )
    parser.add_argument("--json", type=_path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown, for a model card")


def _add_cache(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--cache",
        type=_path,
        default=Path("runs/cache"),
        metavar="DIR",
        help=f"folder for {what} (default: runs/cache)",
    )


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file or folder")
    return Path(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w.+ -]{0,99}", text):
        raise argparse.ArgumentTypeError(
            f"a name has letters, digits, spaces and . _ + - only, and starts with a letter or digit; not {text!r}"
        )
    return text


def _checkpoint(args: argparse.Namespace, text: str) -> Path:
    """The file of a checkpoint that is given by its path, or by its name in --checkpoints or among the shipped ones."""
    from explorer.shelf import DEFAULT_FOLDER, resolve

    return resolve(text, args.checkpoints, DEFAULT_FOLDER)


def _whole(flag: str, low: int, high: int | None = None) -> Callable[[str], float]:
    from training.options import MAX_COUNT, Number

    return Number("", low, high or MAX_COUNT, whole=True).parser(flag)


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
    """Reads a value as JSON; text that is not JSON stays a string."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _print_file(path: Path) -> None:
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())

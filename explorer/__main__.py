"""The explorer's command line: `python -m explorer --help`.

torch, gradio and the rest are imported by the command that needs them, after its arguments have been read.
"""

import argparse
import io
import json
import math
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from explorer.engine import Engine
    from explorer.kit import Kit
    from explorer.recipe import Recipe

MAX_SOUNDS = 100_000  # of one command; more is taken for a typing error
MAX_LINE = 1000  # characters of an error message; the middle of a longer one is left out
PLACE_OPTIONS = ("model", "seeds", "seed_b", "t", "path", "truncation", "label", "offsets", "settings")
CARD_FIELDS = ("name", "family", "labels", "latent_shape", "parameters", "sample_rate", "seconds", "sha256")

APP_EXAMPLES = """\
examples:
  python -m explorer                                open the app with the shipped checkpoints
  python -m explorer --host 0.0.0.0 --port 8000     ... and let other machines of the network use it
  python -m explorer --checkpoints my-models        ... with your own checkpoints
  python -m explorer --checkpoints hf://USER/REPO   ... with those of a model on the Hugging Face Hub
  python -m explorer list                           list the checkpoints
  python -m explorer render --help                  how to write many sounds to files

A checkpoint is a trained generator in one file, NAME.safetensors. It makes a sound from a list of random numbers, the
latent vector; a seed such as 7 stands for one such vector. See `python -m explorer COMMAND --help` for each command.
"""
LIST_EXAMPLES = """\
examples:
  python -m explorer list
  python -m explorer list --json
  python -m explorer list --checkpoints my-models
"""
RENDER_EXAMPLES = """\
examples:
  python -m explorer render NAME --seeds 0-99 --formats wav,png --out sounds
      a hundred consecutive seeds, a WAV and a picture of each
  python -m explorer render NAME --seeds 0-9,42 --label 3
      eleven sounds of label 3, e.g. eleven spoken threes
  python -m explorer render NAME --seeds 7 --to 8 --t 0.25 --path line
      a quarter of the way from seed 7 to seed 8, along a straight line
  python -m explorer render NAME --seeds 7 --truncation 0.7 --offset pc1=1.5 --offset z3=-2
      closer to the typical sound, moved by +1.5 along direction pc1 and by -2 along raw dimension 3
  python -m explorer render NAME --seeds 7 --set inversion=griffin-lim
      with another method of turning the spectrogram into sound
  python -m explorer render --recipe sound.wav --formats mid,npz
      the sound of a saved file, or of a link from the app, in other formats

Files are named NAME-LABEL-seed0007.wav. Each contains its recipe, which gives exactly the same sound here and in the
app.
"""
MORPH_EXAMPLES = """\
examples:
  python -m explorer morph NAME --from 7 --to 8
      nine steps from seed 7 to seed 8, one after another in one WAV
  python -m explorer morph NAME --from 7 --to 8 --steps 16 --spacing equal --formats mid,zip
      sixteen steps that change equally much, as one MIDI file and as a ZIP archive of single steps
  python -m explorer morph NAME --from 7 --to 8 --label 3 --there-and-back --formats wav,gif
      label 3, to seed 8 and back again, as sound and as an animation that can both be looped
  python -m explorer morph NAME --from 7 --to 8 --path line --formats png
      along a straight line, with pictures of all steps side by side

Files are named NAME-LABEL-seed0007-to0008.wav. The app opens them at the start of the morph.
"""
KIT_EXAMPLES = """\
examples:
  python -m explorer kit NAME --seeds 0-7 --out kit
      the eight sounds that the app's pads begin with, as a folder for a sampler
  python -m explorer kit NAME --seeds 7 --labels 1,2,3,4,5,6,7,8
      eight labels of one seed
  python -m explorer kit --recipe loop.wav --out kit
      the pads of a loop, a pattern or a link from the app

The folder gets a WAV for each pad, named by its number, its label and its General MIDI note, such as 1-kick-36.wav;
kit.sfz, an instrument that samplers open; and kit.json with the recipes, which the app opens.
"""
INSTRUMENT_EXAMPLES = """\
examples:
  python -m explorer instrument NAME --seed 7 --out instrument
      all keys of the timbre of seed 7, as a folder for a sampler
  python -m explorer instrument --recipe sound.wav --out instrument
      the timbre of a saved sound, or of a link from the app

The folder gets a WAV for each key, with its note and its loop inside; instrument.sfz, which samplers open; and
instrument.json with the recipe, which the app opens. Sounds that decay have no loop.
"""
PLAY_EXAMPLES = """\
examples:
  python -m explorer play piece.mid --with timbre.wav --out song.wav
      a MIDI file, played with the timbre of a saved sound
  python -m explorer play '?model=NAME&seed=7' --with '?model=OTHER&seed=3'
      a piece that NAME makes, played with a timbre of OTHER; both are links from the app
  python -m explorer play song.wav --with '?model=OTHER&seed=4' --out second.wav
      the piece of a saved song with another timbre

Notes outside of the instrument's keys are moved by octaves, and counted. Notes last until key and pedal are up. The
file contains both recipes; it is turned down to a peak of -1 dB if it would be louder.
"""
DIRECTIONS_EXAMPLES = """\
examples:
  python -m explorer directions NAME
      takes some minutes, and has to be done only once for each checkpoint
  python -m explorer directions NAME --samples 512 --checkpoints my-models
      faster and less exact

The checkpoint's file is replaced, which changes its hash: links, saved files and galleries from before are then
refused.
"""
GALLERY_EXAMPLES = """\
examples:
  python -m explorer gallery NAME
      takes some seconds, and has to be done once for each checkpoint, after `directions`
  python -m explorer gallery NAME --samples 1000 --out extremes.json
      more extreme sounds, in a file that the app can open

The file is a list of recipes. The app shows NAME.gallery.json beside the checkpoint to newcomers and under Browse.
"""
LEVEL_EXAMPLES = """\
examples:
  python -m explorer level NAME
      takes some seconds, and has to be done only for checkpoints that were not exported by `python -m training export`

The card is NAME.md beside the checkpoint, whose own file stays as it is. No sound and no saved file changes, only the
volume at which the app plays them.
"""
DEPLOY_EXAMPLES = """\
examples:
  python -m explorer deploy USER/NAME --dry-run
      shows which files would be uploaded, and uploads nothing
  hf auth login && python -m explorer deploy USER/NAME
      makes the Space, or replaces its files
  python -m explorer deploy USER/NAME --checkpoints my-models
      with your own checkpoints

TORCH_CPU_INDEX, or --torch-index, is the address of the package index that pytorch.org's "Get started" page names for
CPUs. Without it the Space installs gigabytes of CUDA that a CPU Space does not use.
"""
ONNX_EXAMPLES = """\
examples:
  pip install 'latent-explorer[onnx]' && python -m explorer export-onnx NAME
      writes NAME.onnx, which takes a latent vector and returns notes or a waveform
  python -m explorer export-onnx NAME --out models/NAME.onnx

The file is compared with PyTorch on eight places, and written only if they differ by less than 0.001 of full scale.
Decoding has its default settings.
"""


PATH_HELP = "interpolate along an arc or a straight line (default: whichever suits the model)"
LABEL_HELP = "what to make, e.g. which digit; `list` shows the labels (default: the first)"
OUT_HELP = "folder to write to (default: the current one)"


class UsageError(Exception):
    """The command cannot be carried out; the message says why."""


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line without usage, and names the program in examples as the user has called it."""

    def format_help(self) -> str:
        return super().format_help().replace("python -m explorer", _command())

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message} (see {self.prog} --help)"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0; 2 for bad input or a full disk; 130 when interrupted; 141 when the output's reader has gone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # for file names that the terminal cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    try:
        code = _run(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # otherwise Python reports the error again at exit
        code = code or _code_of(error)
    return code


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.run(args))
    except (UsageError, OSError, ValueError, MemoryError) as error:
        return _code_of(error)
    except _checkpoint_error() as error:  # evaluated only now, for it imports torch
        return _code_of(error)


def _checkpoint_error() -> type[Exception]:
    from explorer.checkpoint import CheckpointError

    return CheckpointError


def _code_of(error: Exception) -> int:
    """Prints an error and returns its exit code; silent if the reader of the output has gone, as in `| head`."""
    return 141 if isinstance(error, BrokenPipeError) else _complain(error)


def _command() -> str:
    """The command that the user has started: `explorer`, which pip installs, or `python -m explorer`."""
    return "explorer" if Path(sys.argv[0]).stem == "explorer" else "python -m explorer"


def _complain(error: object) -> int:
    """Prints an error in one line and returns the exit code 2."""
    line = " ".join(str(error).split()) or type(error).__name__
    if len(line) > MAX_LINE:
        line = f"{line[: MAX_LINE // 2]} … {line[-MAX_LINE // 2 :]}"
    print("error:", line, file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog=_command(),
        formatter_class=raw,
        epilog=APP_EXAMPLES,
        description="Play the latent space of an audio GAN like an instrument, in the browser or by command.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve the app on (default: this machine only)")
    parser.add_argument(
        "--port", type=_port, metavar="P", help="port to serve the app on (default: the first free one from 7860)"
    )
    parser.add_argument("--share", action="store_true", help="also open a public link through gradio's servers")
    parser.add_argument(
        "--mcp", action="store_true", help="also serve the API to AI assistants (needs 'latent-explorer[mcp]')"
    )
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="folder with NAME.safetensors files (default: the shipped ones)"
    )
    parser.set_defaults(run=_launch)
    commands = parser.add_subparsers(
        metavar="COMMAND", title="commands", description="Without a command, the app opens."
    )

    listing = commands.add_parser(
        "list",
        help="list the checkpoints",
        formatter_class=raw,
        description="List the checkpoints with their family, size, sound and labels.",
        epilog=LIST_EXAMPLES,
    )
    listing.add_argument("--json", action="store_true", help="print JSON for other programs")
    listing.set_defaults(run=_list)

    render = commands.add_parser(
        "render",
        help="write sounds to files",
        formatter_class=raw,
        description="Write the sounds of seeds to files: one file for each seed and format.",
        epilog=RENDER_EXAMPLES,
    )
    # Options that are not given stay out of the namespace, because all options in it go into the recipe.
    render.add_argument(
        "model",
        nargs="?",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="checkpoint, as `list` shows it, or NAME@STEP for a snapshot of its training",
    )
    place = render.add_argument_group("place in latent space", argument_default=argparse.SUPPRESS)
    place.add_argument("--seeds", type=_seeds, metavar="A-B", help="seeds, such as 7, 0-99 or 0-9,42 (default: 0)")
    place.add_argument("--label", help=LABEL_HELP)
    place.add_argument(
        "--to", type=int, dest="seed_b", metavar="SEED", help="second seed, to morph to from each of --seeds"
    )
    place.add_argument(
        "--t", type=float, metavar="X", help="position between the two seeds, from 0 to 1 (default: 0.5)"
    )
    place.add_argument("--path", choices=("arc", "line"), help=PATH_HELP)
    _add_place_options(place)
    render.add_argument(
        "--recipe", metavar="FILE-OR-LINK", help="a saved file or a link from the app, instead of NAME and a place"
    )
    files = render.add_argument_group("files")
    files.add_argument(
        "--formats",
        type=_names,
        default="wav",
        metavar="F,G",
        help="one or more of wav (as rendered), ready.wav (to use elsewhere: peak -1 dBFS, cut to its onset, faded, "
        "44.1 kHz), mid,png,svg,pdf,npz,json (default: wav)",
    )
    files.add_argument(
        "--quantise",
        type=float,
        metavar="BPM",
        help="in mid: move the notes to sixteenths at this tempo (default: as played; bar lines are then only a ruler)",
    )
    files.add_argument("--out", type=Path, default=Path(), metavar="DIR", help=OUT_HELP)
    render.set_defaults(run=_render)

    morph = commands.add_parser("morph", help="write a morph between two seeds to files")
    path = commands.add_parser("path", prog=morph.prog)  # its former name; having no help, it is not listed
    for command in (morph, path):
        _add_morph(command)

    kit = commands.add_parser(
        "kit",
        help="write the eight sounds of a drum machine's pads",
        formatter_class=raw,
        description="Write eight short sounds as an instrument for samplers.",
        epilog=KIT_EXAMPLES,
    )
    kit.add_argument("model", nargs="?", metavar="NAME", help="checkpoint, as `list` shows it")
    kit.add_argument(
        "--seeds", type=_seeds, metavar="A-B", help="eight seeds, or one for all eight pads (default: 0-7)"
    )
    kit.add_argument(
        "--labels",
        type=_labels,
        metavar="A,B",
        help="labels of the pads in turn; `list` shows them (default: all, drums in their order; of keys a chord)",
    )
    kit.add_argument("--recipe", metavar="FILE-OR-LINK", help="a saved kit or a link to one, instead of NAME and seeds")
    kit.add_argument("--out", type=Path, default=Path(), metavar="DIR", help=OUT_HELP)
    kit.set_defaults(run=_kit)

    keys = commands.add_parser(
        "instrument",
        help="write all keys of a timbre for a sampler",
        formatter_class=raw,
        description="Write the sounds of all keys of one place as an instrument for samplers.",
        epilog=INSTRUMENT_EXAMPLES,
    )
    keys.add_argument(
        "model", nargs="?", metavar="NAME", default=argparse.SUPPRESS, help="checkpoint, as `list` shows it"
    )
    place = keys.add_argument_group("place in latent space", argument_default=argparse.SUPPRESS)
    place.add_argument("--seed", type=_seeds, dest="seeds", metavar="N", help="seed (default: 0)")
    _add_place_options(place)
    keys.add_argument("--recipe", metavar="FILE-OR-LINK", help="a saved file or a link, instead of NAME and a place")
    keys.add_argument("--out", type=Path, default=Path(), metavar="DIR", help=OUT_HELP)
    keys.set_defaults(run=_instrument)

    play = commands.add_parser(
        "play",
        help="play a piece with a timbre",
        formatter_class=raw,
        description="Play a MIDI file, or a piece of a model of notes, with a place of a model whose sounds have keys.",
        epilog=PLAY_EXAMPLES,
    )
    play.add_argument("piece", metavar="PIECE", help="a MIDI file, a saved file, or a link from the app")
    play.add_argument(
        "--with", dest="timbre", required=True, metavar="FILE-OR-LINK", help="the timbre: a saved file or a link"
    )
    play.add_argument("--out", type=Path, metavar="FILE", help="WAV file to write (default: named after both)")
    play.set_defaults(run=_play)

    directions = commands.add_parser(
        "directions",
        help="find directions that change a sound, and name them",
        formatter_class=raw,
        epilog=DIRECTIONS_EXAMPLES,
        description=(
            "Find the directions in latent space that change measures of the sound, such as its pitch, name them "
            "after these measures, and save them in the checkpoint, where the app's sliders take them from."
        ),
    )
    directions.add_argument("model", metavar="NAME", help="checkpoint, as `list` shows it")
    directions.add_argument(
        "--samples",
        type=_samples,
        default=4096,
        metavar="N",
        help="number of sounds to measure; more takes longer and is more exact (default: 4096)",
    )
    directions.set_defaults(run=_directions)

    gallery = commands.add_parser(
        "gallery",
        help="list places to begin with",
        formatter_class=raw,
        epilog=GALLERY_EXAMPLES,
        description=(
            "List the first seeds, and of many more those with the smallest and largest value of each measure, as a "
            "gallery for the app."
        ),
    )
    gallery.add_argument("model", metavar="NAME", help="checkpoint, as `list` shows it")
    gallery.add_argument(
        "--samples", type=_samples, default=256, metavar="N", help="number of seeds to measure (default: 256)"
    )
    gallery.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: NAME.gallery.json beside the checkpoint)"
    )
    gallery.set_defaults(run=_gallery)

    level = commands.add_parser(
        "level",
        help="measure how loud a checkpoint is",
        formatter_class=raw,
        epilog=LEVEL_EXAMPLES,
        description=(
            "Measure how loud the sounds of a checkpoint are and state it in its card. From there the app takes the "
            "gain at which it plays them, so that all checkpoints are equally loud."
        ),
    )
    level.add_argument("model", metavar="NAME", help="checkpoint, as `list` shows it")
    level.set_defaults(run=_level)

    deploy = commands.add_parser(
        "deploy",
        help="put the app on a Hugging Face Space",
        formatter_class=raw,
        epilog=DEPLOY_EXAMPLES,
        description="Upload the app and its checkpoints to a Hugging Face Space, and only what a Space needs.",
    )
    deploy.add_argument("space", metavar="USER/NAME", help="the Space; it is made if there is none")
    deploy.add_argument("--dry-run", action="store_true", help="only list the files and their sizes")
    deploy.add_argument(
        "--torch-index",
        metavar="URL",
        default=os.environ.get("TORCH_CPU_INDEX", ""),
        help="package index of PyTorch's builds for CPUs (default: the environment variable TORCH_CPU_INDEX)",
    )
    deploy.set_defaults(run=_deploy)

    onnx = commands.add_parser(
        "export-onnx",
        help="write a checkpoint for programs without PyTorch",
        formatter_class=raw,
        epilog=ONNX_EXAMPLES,
        description="Write a checkpoint with its decoding, from latent to notes or waveform, as one ONNX file.",
    )
    onnx.add_argument("model", metavar="NAME", help="checkpoint, as `list` shows it")
    onnx.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: NAME.onnx)")
    onnx.set_defaults(run=_export_onnx)

    # SUPPRESS: otherwise the default here would replace the option given before the command
    for command in commands.choices.values():
        command.add_argument(
            "--checkpoints",
            type=Path,
            metavar="DIR",
            default=argparse.SUPPRESS,
            help="folder with NAME.safetensors files (default: the shipped ones)",
        )
    return parser


def _add_morph(morph: argparse.ArgumentParser) -> None:
    morph.formatter_class = argparse.RawDescriptionHelpFormatter
    morph.description = (
        "Write a morph: a sequence of sounds between two seeds, one after another in one file for each format."
    )
    morph.epilog = MORPH_EXAMPLES
    morph.add_argument("model", metavar="NAME", help="checkpoint, as `list` shows it")
    steps = morph.add_argument_group("morph through latent space", argument_default=argparse.SUPPRESS)
    steps.add_argument("--from", type=int, dest="seed", required=True, metavar="SEED", help="seed at the start")
    steps.add_argument("--to", type=int, dest="seed_b", required=True, metavar="SEED", help="seed at the end")
    steps.add_argument(
        "--steps", type=int, default=9, metavar="N", help="number of sounds, both ends included (default: 9)"
    )
    steps.add_argument(
        "--spacing",
        choices=("t", "equal"),
        default="t",
        help="t: equal steps of t, the position between the seeds; equal: steps that change the sound equally much "
        "(default: t)",
    )
    steps.add_argument(
        "--there-and-back",
        action="store_true",
        default=False,
        help="also go back, up to the step before the first, so that it can be looped",
    )
    steps.add_argument("--path", choices=("arc", "line"), help=PATH_HELP)
    steps.add_argument("--label", help=LABEL_HELP)
    _add_place_options(steps)
    files = morph.add_argument_group("files")
    files.add_argument(
        "--formats",
        type=_names,
        default="wav",
        metavar="F,G",
        help="one or more of wav,mid (all steps joined), zip (a file for each step), gif,png,svg,pdf (default: wav)",
    )
    files.add_argument("--out", type=Path, default=Path(), metavar="DIR", help=OUT_HELP)
    morph.set_defaults(run=_morph)


def _add_place_options(group: "argparse._ArgumentGroup") -> None:
    """Adds what `render` and `morph` alike can change about every sound."""
    group.add_argument(
        "--truncation",
        type=float,
        metavar="X",
        help="below 1: more typical sounds; above 1, up to 2: less typical (default: 1)",
    )
    group.add_argument(
        "--offset",
        type=_offset,
        action="append",
        dest="offsets",
        metavar="NAME=X",
        help="move by X standard deviations along a direction, e.g. pc1, or z7 for raw dimension 7; repeatable",
    )
    group.add_argument(
        "--set",
        type=_pair,
        action="append",
        dest="settings",
        metavar="NAME=OPTION",
        help="how to turn the output into sound, e.g. inversion=griffin-lim; repeatable",
    )


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _seeds(text: str) -> list[int]:
    """Reads "0-9,42" as a sorted list without repeats."""
    ranges = []
    for part in text.split(","):
        match = re.fullmatch("([0-9]{1,10})(?:-([0-9]{1,10}))?", part.strip())
        if match is None:
            raise argparse.ArgumentTypeError(f"seeds are written like 7, 0-99 or 0-9,42, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise argparse.ArgumentTypeError(f"the range {part.strip()} runs backwards")
        ranges.append(range(first, last + 1))
    if sum(map(len, ranges)) > MAX_SOUNDS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MAX_SOUNDS:,} seeds; render them in parts")
    return sorted(set().union(*ranges))


def _samples(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text) or not 64 <= int(text) <= MAX_SOUNDS:
        raise argparse.ArgumentTypeError(f"samples are a number from 64 to {MAX_SOUNDS:,}, not {text!r}")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _offset(text: str) -> tuple[str, float]:
    name, value = _pair(text)
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=NUMBER") from None


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip().lower() for part in text.split(",")))


def _labels(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _folder(args: argparse.Namespace) -> Path:
    from explorer.shelf import DEFAULT_FOLDER

    folder: Path = args.checkpoints or DEFAULT_FOLDER
    if folder.parts[:1] == ("hf:",):
        from explorer import hub

        return hub.fetch(hub.PREFIX + "/".join(folder.parts[1:]))
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from None
    return folder


def _launch(args: argparse.Namespace) -> NoReturn:
    folder = _folder(args)
    from explorer.ui import launch

    try:
        launch(folder, args.host, args.port, args.share, args.mcp)
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise UsageError("mcp is not installed: pip install 'latent-explorer[mcp]'") from None


def _list(args: argparse.Namespace) -> int:
    from explorer.checkpoint import CheckpointError
    from explorer.shelf import find_checkpoints, nothing_found, read_card

    cards, code = [], 0
    for path in find_checkpoints(_folder(args)).values():
        try:
            cards.append(read_card(path))
        except CheckpointError as error:  # one broken file must not hide the others
            code = _complain(error)
    if args.json:
        print(
            json.dumps(
                [{name: getattr(card, name) for name in CARD_FIELDS} for card in cards], indent=1, ensure_ascii=False
            )
        )
        return code
    if not cards and code == 0:
        print(nothing_found(_folder(args)))
        return code
    rows = [("NAME", "FAMILY", "PARAMETERS", "LATENT", "SOUND", "LABELS")]
    for card in cards:
        rows.append(
            (
                card.name if card.name.isprintable() else repr(card.name),
                card.family,
                f"{card.parameters:,}",
                "x".join(map(str, card.latent_shape)),
                f"{card.seconds:.3g} s at {card.sample_rate / 1000:g} kHz",
                " ".join(card.labels or ()),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return code


def _render(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer.engine import Engine
    from explorer.files import formats

    if unknown := [name for name in args.formats if name not in formats.FORMATS]:
        raise UsageError(f"no format {unknown[0]!r}; there are {', '.join(formats.FORMATS)}")
    recipes = _recipes(args)
    engine = Engine(_folder(args))
    first = engine.complete(recipes[0])  # the others differ only in their seed
    _check_writable(args.out)
    possible = formats.available(engine.render(first))
    if missing := [name for name in args.formats if name not in possible]:
        raise UsageError(f"{first.recipe.model!r} has no {missing[0]}; it has {', '.join(possible)}")
    if args.quantise is not None:
        if "mid" not in args.formats:
            raise UsageError("--quantise is for MIDI files: add mid to --formats")
        formats.on_grid(engine.render(first), args.quantise)
    args.out.mkdir(parents=True, exist_ok=True)
    heard: Counter[str] = Counter()
    renamed: list[str] = []
    for place in map(engine.complete, tqdm(recipes, unit="sound", dynamic_ncols=True)):
        sound = engine.render(place)
        for name in args.formats:
            tempo = args.quantise if name == "mid" else None
            saved = sound if tempo is None else formats.on_grid(sound, tempo)
            path = args.out / f"{formats.stem(engine, place.recipe, tempo=tempo)}.{name}"
            renamed += _renamed(path, formats.save(saved, place.recipe, path))
        chances = engine.hear(place)
        best = sorted(chances, key=chances.__getitem__)[-1:]
        heard.update(best if any(chances.values()) else ["none of its labels"] * len(best))
    words = "; the judge heard " + ", ".join(f"{n:,} as {label}" for label, n in heard.most_common()) if heard else ""
    print(f"{len(recipes) * len(args.formats):,} files in {args.out}{_about(renamed)}{words}")
    return 0


def _morph(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer import atomic
    from explorer.engine import Engine
    from explorer.files import formats, morphs
    from explorer.recipe import Recipe

    if unknown := [name for name in args.formats if name not in morphs.WRITERS]:
        raise UsageError(f"no format {unknown[0]!r}; there are {', '.join(morphs.WRITERS)}")
    recipe = Recipe(seed=args.seed, **{name: getattr(args, name) for name in PLACE_OPTIONS if hasattr(args, name)})
    engine = Engine(_folder(args))
    # The delay keeps the bar from showing up when there is only an error to report.
    with tqdm(desc="measuring", unit="sound", dynamic_ncols=True, delay=0.1, disable=args.spacing == "t") as bar:
        morph = morphs.steps(engine, recipe, args.steps, args.spacing, _progress(bar))
    if args.there_and_back:
        morph = morphs.there_and_back(morph)
    _check_writable(args.out)
    possible = morphs.available(engine.render(morph[0]))
    if missing := [name for name in args.formats if name not in possible]:
        raise UsageError(f"{recipe.model!r} has no {missing[0]}; it has {', '.join(possible)}")
    stem = formats.stem(engine, engine.complete(morph[0]).recipe, recipe.seed_b)
    args.out.mkdir(parents=True, exist_ok=True)
    renamed = []
    for name in args.formats:
        path = args.out / f"{stem}.{name}"
        with (
            tempfile.TemporaryDirectory(prefix=".morph-", dir=args.out) as folder,
            tqdm(desc=name, unit="step", dynamic_ncols=True) as bar,
        ):
            made = Path(folder) / path.name
            morphs.write(engine, morph, made, _progress(bar))
            renamed += _renamed(path, atomic.add(made, path))
    print(f"{len(morph)} steps, {len(args.formats)} files in {args.out}{_about(renamed)}")
    return 0


def _renamed(wanted: Path, written: Path) -> list[str]:
    return [written.name] if written != wanted else []


def _about(renamed: Sequence[str]) -> str:
    """What to say of new files that got another name than they should."""
    if not renamed:
        return ""
    more = ", …" if len(renamed) > 1 else ""
    return f" ({len(renamed):,} as {renamed[0]}{more}, since files of those names have other content)"


def _kit(args: argparse.Namespace) -> int:
    from explorer.engine import Engine
    from explorer.files import kits

    engine = Engine(_folder(args))
    kit = kits.complete(engine, _kit_of(args)) if args.recipe is not None else _new_kit(args, engine)
    _check_writable(args.out)
    count = kits.write_hits(engine, kit, args.out)
    print(f"{count} files in {args.out}")
    return 0


def _new_kit(args: argparse.Namespace, engine: "Engine") -> "Kit":
    """The kit of the checkpoint, seeds and labels of a command."""
    from explorer.files import kits
    from explorer.kit import PADS

    if args.model is None:
        raise UsageError("which checkpoint? name one that `python -m explorer list` shows")
    seeds = args.seeds or list(range(PADS))
    if len(seeds) not in (1, PADS):
        raise UsageError(f"a kit has {PADS} pads: name {PADS} seeds, or one for all of them, not {len(seeds)}")
    if args.labels is not None and len(args.labels) > PADS:
        raise UsageError(f"a kit has {PADS} pads, so at most {PADS} labels, not {len(args.labels)}")
    return kits.new(engine, args.model, seeds * PADS if len(seeds) == 1 else seeds, args.labels)


def _kit_of(args: argparse.Namespace) -> "Kit":
    """The kit in a saved file or a link."""
    from explorer.files import formats
    from explorer.kit import Kit

    if any(value is not None for value in (args.model, args.seeds, args.labels)):
        raise UsageError("a recipe says everything about its kit: leave out name, seeds and labels")
    if os.path.isfile(args.recipe):
        saved = formats.read_saved(Path(args.recipe))
        if not isinstance(saved, Kit):
            raise UsageError(f"{Path(args.recipe).name}: holds no kit")
        return saved
    if "kit." not in args.recipe:
        raise UsageError(f"{args.recipe!r} is neither a file nor a link with a kit")
    return Kit.from_url(args.recipe)


def _instrument(args: argparse.Namespace) -> int:
    from explorer.engine import Engine
    from explorer.files import instruments

    recipes = _recipes(args)
    if len(recipes) > 1:
        raise UsageError(f"an instrument has one timbre: name one seed, not {len(recipes):,}")
    engine = Engine(_folder(args))
    timbre = instruments.complete(engine, recipes[0])
    _check_writable(args.out)
    print(f"{instruments.write_instrument(engine, timbre, args.out)} files in {args.out}")
    return 0


def _play(args: argparse.Namespace) -> int:
    from explorer.engine import Engine
    from explorer.files import instruments

    engine = Engine(_folder(args))
    timbre = instruments.complete(engine, _recipe_of(args.timbre))
    if os.path.isfile(args.piece):
        piece = instruments.read_piece(engine, Path(args.piece))
    else:
        piece = instruments.piece_of(engine, _recipe_of(args.piece))
    path = args.out or Path(f"{instruments.song_stem(engine, timbre, piece)}.wav")
    if path.is_dir() or path.suffix.lower() != ".wav":
        raise UsageError(f"{path} is no name of a WAV file")
    _check_writable(path.parent)
    moved = instruments.write_song(engine, timbre, piece, path)
    outside = f"; {moved:,} outside of the keys were moved by octaves" if moved else ""
    print(f"{path}: {len(piece.notes):,} notes{outside}")
    return 0


def _recipe_of(text: str) -> "Recipe":
    """The recipe in a saved file or a link."""
    from explorer.files import formats
    from explorer.recipe import Recipe

    if os.path.isfile(text):  # Path.is_file raises for a link that is too long for a file name
        return formats.read_recipe(Path(text))
    if "model=" not in text:
        raise UsageError(f"{text!r} is neither a file nor a link with a recipe")
    return Recipe.from_url(text)


def _progress(bar: Any) -> Callable[[int, int], None]:
    """A progress callback that moves a bar of tqdm."""

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return advance


def _directions(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer import checkpoint, shelf
    from explorer.directions import describe, measured

    path = shelf.resolve(args.model, _folder(args))
    _check_writable(path.parent)
    generator, _ = checkpoint.load(path)
    with tqdm(unit="sound", dynamic_ncols=True) as bar:
        directions = measured(generator, args.samples, progress=_progress(bar))
    checkpoint.save_directions(path, directions)
    for direction in directions:
        print(f"{direction.name:<16} {describe(direction)}")
    print("sha256", shelf.read_card(path).sha256)
    return 0


def _gallery(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer import atomic
    from explorer.engine import Engine
    from explorer.files import gallery

    engine = Engine(_folder(args))
    path = args.out or gallery.path_of(engine.model(args.model).card)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give --out the name of a file")
    _check_writable(path.parent)
    with tqdm(unit="sound", dynamic_ncols=True) as bar:
        places = gallery.gallery(engine, args.model, args.samples, progress=_progress(bar))
    atomic.write_text(path, gallery.dumps(places))
    for place in places:
        print(f"seed {place.recipe.seed:<6} {place.name}")
    print(f"{len(places)} places in {path}")
    return 0


def _level(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer.engine import Engine
    from explorer.files import levels

    engine = Engine(_folder(args))
    _check_writable(engine.model(args.model).card.path.parent)
    with tqdm(unit="sound", dynamic_ncols=True) as bar:
        found = levels.state(engine, args.model, _progress(bar))
    if found is None:
        raise UsageError(f"{args.model!r}: half of its sounds are silent, so it has no level")
    print(f"{found}; the app plays it at {20 * math.log10(found.gain):+.1f} dB")
    return 0


def _deploy(args: argparse.Namespace) -> int:
    from explorer import deploy, hub

    hub.check_name(args.space, "a Space")
    # Not `shelf.DEFAULT_FOLDER`, which needs torch; a workflow that deploys does without.
    folder = _folder(args) if args.checkpoints else deploy.ROOT / "checkpoints"
    deployment = deploy.collect(folder, args.torch_index)
    sizes = deployment.sizes
    for path, size in sizes.items() if args.dry_run else ():
        print(f"{size:>12,}  {path}")
    if not args.torch_index:
        print("note: no --torch-index: the Space will install PyTorch with gigabytes of CUDA", file=sys.stderr)
    print(f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB", flush=True)
    if not args.dry_run:
        print(deploy.upload(deployment, args.space))
    return 0


def _export_onnx(args: argparse.Namespace) -> int:
    from explorer.engine import Engine
    from explorer.export_onnx import export

    path = args.out or Path(f"{args.model}.onnx")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give --out the name of a file")
    _check_writable(path.parent)
    generator = Engine(_folder(args)).model(args.model).generator
    try:
        found = export(generator, path)
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'latent-explorer[onnx]'") from None
    print(f"{path}: within {found.error:.1e} of full scale of PyTorch")
    print(f"one sound on one thread: onnxruntime {found.onnx_ms:.0f} ms, PyTorch {found.torch_ms:.0f} ms")
    return 0


def _recipes(args: argparse.Namespace) -> "list[Recipe]":
    """One recipe for each seed, not yet completed; they differ only in the seed."""
    from explorer.recipe import Recipe

    given = {name: getattr(args, name) for name in PLACE_OPTIONS if hasattr(args, name)}
    if args.recipe is not None:
        if given:
            raise UsageError("a recipe says everything about its sound: leave out name and place")
        return [_recipe_of(args.recipe)]
    if "model" not in given:
        raise UsageError("which checkpoint? name one that `python -m explorer list` shows")
    if "seed_b" in given:
        given.setdefault("t", 0.5)
    elif "t" in given or "path" in given:
        raise UsageError("--t and --path need a second seed: add --to SEED")
    seeds = given.pop("seeds", [0])
    return [Recipe(seed=seed, **given) for seed in seeds]


def _check_writable(folder: Path) -> None:
    """Raises UsageError if `folder` cannot be written to or, if it does not exist, cannot be made."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise UsageError(f"{existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{existing} cannot be written to")


if __name__ == "__main__":
    sys.exit(main())

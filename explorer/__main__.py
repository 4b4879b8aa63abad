"""The explorer's command line: `python -m explorer --help`.

torch, gradio and the rest are imported by the command that needs them, after its arguments have been read.
"""

import argparse
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from explorer.recipe import Recipe

MAX_SOUNDS = 100_000  # of one command; more is a slip of the finger
MAX_LINE = 1000  # characters of an error's line; of a longer one the middle is left out
PLACE_OPTIONS = ("model", "seeds", "seed_b", "t", "path", "truncation", "label", "offsets", "settings")
CARD_FIELDS = ("name", "family", "labels", "latent_shape", "parameters", "sample_rate", "seconds", "sha256")

APP_EXAMPLES = """\
examples:
  python -m explorer                                open the app on the shipped checkpoints
  python -m explorer --host 0.0.0.0 --port 8000     ... for every machine of the network
  python -m explorer --checkpoints my-models        ... on your own checkpoints
  python -m explorer list                           which checkpoints there are
  python -m explorer render --help                  sounds to files, by the hundred
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
      eleven ways to say the model's label 3
  python -m explorer render NAME --seeds 7 --to 8 --t 0.25 --path line
      a quarter of the straight way from seed 7 to seed 8
  python -m explorer render NAME --seeds 7 --truncation 0.7 --offset pc1=1.5 --offset z3=-2
      nearer to the typical, 1.5 along the first principal direction, 2 back along raw dimension 3
  python -m explorer render NAME --seeds 7 --set inversion=griffin-lim
      with another way to decode
  python -m explorer render --recipe sound.wav --formats mid,npz
      the very place a saved file, or a link from the app, was made at

Files are called NAME-LABEL-seed0007.wav and hold their recipe. The same recipe gives the same bits as in the app.
"""
PATH_EXAMPLES = """\
examples:
  python -m explorer path NAME --from 7 --to 8
      nine steps from seed 7 to seed 8, one after another in one WAV
  python -m explorer path NAME --from 7 --to 8 --steps 16 --spacing equal --formats mid,zip
      sixteen steps that change the sound equally much, in one MIDI file, and each in a file of its own
  python -m explorer path NAME --from 7 --to 8 --label 3 --there-and-back --formats wav,gif
      to hear and to see, again and again
  python -m explorer path NAME --from 7 --to 8 --path line --formats png
      the steps of the straight way side by side, for print

Files are called NAME-LABEL-seed0007-to0008.wav. Opened in the app, they lead to the start of the way.
"""
DIRECTIONS_EXAMPLES = """\
examples:
  python -m explorer directions NAME
      some minutes, once for each checkpoint
  python -m explorer directions NAME --samples 512 --checkpoints my-models
      a quick look

The file is replaced, and with it its hash: recipes made before no longer fit, nor does its gallery.
"""
GALLERY_EXAMPLES = """\
examples:
  python -m explorer gallery NAME
      some seconds, once for each checkpoint, after its directions
  python -m explorer gallery NAME --samples 1000 --out extremes.json
      more extreme ones, in a file to drop on the app

The file is a list of recipes. The app greets with the one beside the checkpoint, NAME.gallery.json.
"""


class UsageError(Exception):
    """What the user asked for cannot be done; the message says why."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it; its examples call the command as the user did."""

    def format_help(self) -> str:
        return super().format_help().replace("python -m explorer", _command())

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message} (see {self.prog} --help)"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0; 2 for bad input or a full disk; 130 when interrupted; 141 when nobody reads what is printed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file may be named as the terminal's encoding cannot say
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more as it ends
        code = code or _code_of(error)
    return code


def _run(args: argparse.Namespace) -> int:
    from explorer.checkpoint import CheckpointError
    from explorer.recipe import RecipeError

    try:
        return int(args.run(args))
    except (CheckpointError, RecipeError, UsageError, OSError, ValueError, MemoryError) as error:
        return _code_of(error)


def _code_of(error: Exception) -> int:
    """The exit code for an error, which is told, but for a reader who went away, as in `| head`."""
    return 141 if isinstance(error, BrokenPipeError) else _complain(error)


def _command() -> str:
    """`explorer`, the script that pip installs, or `python -m explorer`: whichever the user has started."""
    return "explorer" if Path(sys.argv[0]).stem == "explorer" else "python -m explorer"


def _complain(error: object) -> int:
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
        description="Play the latent space of an audio GAN like an instrument.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument("--port", type=_port, metavar="P", help="port to serve on (default: the first free from 7860)")
    parser.add_argument("--share", action="store_true", help="open a public link through gradio's servers")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="folder with NAME.safetensors (default: the shipped ones)"
    )
    parser.set_defaults(run=_launch)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", description="Without one, the app opens.")

    listing = commands.add_parser(
        "list",
        help="say which checkpoints there are",
        formatter_class=raw,
        description="Say which checkpoints there are.",
        epilog=LIST_EXAMPLES,
    )
    listing.add_argument("--json", action="store_true", help="for programs: a list of objects")
    listing.set_defaults(run=_list)

    render = commands.add_parser(
        "render",
        help="write sounds to files",
        formatter_class=raw,
        description="Write one file per seed and format.",
        epilog=RENDER_EXAMPLES,
    )
    # What is not given stays out of the namespace: all that is in it goes into the recipe.
    render.add_argument(
        "model",
        nargs="?",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="checkpoint, as `list` names it, or NAME@STEP of its training",
    )
    place = render.add_argument_group("place in latent space", argument_default=argparse.SUPPRESS)
    place.add_argument("--seeds", type=_seeds, metavar="A-B", help="such as 7, 0-99 or 0-9,42 (default: 0)")
    place.add_argument("--label", help="condition, e.g. the digit (default: the model's first)")
    place.add_argument(
        "--to", type=int, dest="seed_b", metavar="SEED", help="second seed; go there from each of --seeds"
    )
    place.add_argument("--t", type=float, metavar="X", help="how far, from 0 to 1 (default: 0.5)")
    place.add_argument("--path", choices=("arc", "line"), help="which way (default: the model's own)")
    _add_manner(place)
    render.add_argument("--recipe", metavar="FILE-OR-LINK", help="a saved file, or a link, instead of name and place")
    files = render.add_argument_group("files")
    files.add_argument(
        "--formats", type=_names, default="wav", metavar="F,G", help="of wav,mid,png,svg,pdf,npz,json (default: wav)"
    )
    files.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder to write to (default: here)")
    render.set_defaults(run=_render)

    path = commands.add_parser(
        "path",
        help="write the way between two seeds",
        formatter_class=raw,
        description="Write the steps from one seed to another, as one file per format.",
        epilog=PATH_EXAMPLES,
    )
    path.add_argument("model", metavar="NAME", help="checkpoint, as `list` names it")
    way = path.add_argument_group("way through latent space", argument_default=argparse.SUPPRESS)
    way.add_argument("--from", type=int, dest="seed", required=True, metavar="SEED", help="where the way begins")
    way.add_argument("--to", type=int, dest="seed_b", required=True, metavar="SEED", help="where it ends")
    way.add_argument("--steps", type=int, default=9, metavar="N", help="how many, both ends included (default: 9)")
    way.add_argument(
        "--spacing", choices=("t", "equal"), default="t", help="equal steps of t, or of what comes out (default: t)"
    )
    way.add_argument(
        "--there-and-back",
        action="store_true",
        default=False,
        help="and back again, up to the step before the first: ready to be looped",
    )
    way.add_argument("--path", choices=("arc", "line"), help="which way (default: the model's own)")
    way.add_argument("--label", help="condition, e.g. the digit (default: the model's first)")
    _add_manner(way)
    files = path.add_argument_group("files")
    files.add_argument(
        "--formats",
        type=_names,
        default="wav",
        metavar="F,G",
        help="of wav,mid (all steps in one), zip (each in one), gif,png,svg,pdf (default: wav)",
    )
    files.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder to write to (default: here)")
    path.set_defaults(run=_path)

    directions = commands.add_parser(
        "directions",
        help="measure a checkpoint's directions and name them",
        formatter_class=raw,
        epilog=DIRECTIONS_EXAMPLES,
        description=(
            "Find the directions that change what one hears, name them after it, say how "
            "well they hold, and put them into the checkpoint."
        ),
    )
    directions.add_argument("model", metavar="NAME", help="checkpoint, as `list` names it")
    directions.add_argument(
        "--samples",
        type=_samples,
        default=4096,
        metavar="N",
        help="sounds to measure; more are slower and more exact (default: 4096)",
    )
    directions.set_defaults(run=_directions)

    gallery = commands.add_parser(
        "gallery",
        help="find places worth a visit",
        formatter_class=raw,
        epilog=GALLERY_EXAMPLES,
        description=(
            "List the first seeds, and of more of them those with the least and the most of "
            "whatever can be measured, for the app to greet with."
        ),
    )
    gallery.add_argument("model", metavar="NAME", help="checkpoint, as `list` names it")
    gallery.add_argument("--samples", type=_samples, default=256, metavar="N", help="seeds to measure (default: 256)")
    gallery.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write (default: NAME.gallery.json beside the checkpoint)"
    )
    gallery.set_defaults(run=_gallery)

    # SUPPRESS: or the command's default would undo the option given before it
    for command in (listing, render, path, directions, gallery):
        command.add_argument(
            "--checkpoints",
            type=Path,
            metavar="DIR",
            default=argparse.SUPPRESS,
            help="folder with NAME.safetensors (default: the shipped ones)",
        )
    return parser


def _add_manner(group: "argparse._ArgumentGroup") -> None:
    """What `render` and `path` alike can change about every sound."""
    group.add_argument("--truncation", type=float, metavar="X", help="below 1 nearer to the typical (default: 1)")
    group.add_argument(
        "--offset",
        type=_offset,
        action="append",
        dest="offsets",
        metavar="NAME=X",
        help="move along a direction: pc1, or z7 for raw dimension 7; repeatable",
    )
    group.add_argument(
        "--set",
        type=_pair,
        action="append",
        dest="settings",
        metavar="NAME=OPTION",
        help="how to decode, e.g. inversion=griffin-lim; repeatable",
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


def _folder(args: argparse.Namespace) -> Path:
    from explorer.shelf import DEFAULT_FOLDER

    folder: Path = args.checkpoints or DEFAULT_FOLDER
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from None
    return folder


def _launch(args: argparse.Namespace) -> int:
    folder = _folder(args)
    from explorer.ui import launch

    launch(folder, args.host, args.port, args.share)
    return 130  # only an interrupt ends it


def _list(args: argparse.Namespace) -> int:
    from explorer.checkpoint import CheckpointError
    from explorer.shelf import find_checkpoints, nothing_found, read_card

    cards, code = [], 0
    for path in find_checkpoints(_folder(args)).values():
        try:
            cards.append(read_card(path))
        except CheckpointError as error:  # one broken file does not hide the others
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
                card.name,
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
    first = engine.complete(recipes[0])  # the others differ in their seed alone
    _check_writable(args.out)
    possible = formats.available(engine.render(first))
    if missing := [name for name in args.formats if name not in possible]:
        raise UsageError(f"{first.recipe.model!r} has no {missing[0]}; it has {', '.join(possible)}")
    args.out.mkdir(parents=True, exist_ok=True)
    heard: Counter[str] = Counter()
    for place in map(engine.complete, tqdm(recipes, unit="sound", dynamic_ncols=True)):
        sound = engine.render(place)
        for name in args.formats:
            formats.save(sound, place.recipe, args.out / f"{formats.stem(place.recipe)}.{name}")
        chances = engine.hear(place)
        heard.update(sorted(chances, key=chances.__getitem__)[-1:])
    words = "; heard: " + ", ".join(f"{n:,} as {label}" for label, n in heard.most_common()) if heard else ""
    print(f"{len(recipes) * len(args.formats):,} files in {args.out}{words}")
    return 0


def _path(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer.engine import Engine
    from explorer.files import formats, morphs
    from explorer.recipe import Recipe

    if unknown := [name for name in args.formats if name not in morphs.WRITERS]:
        raise UsageError(f"no format {unknown[0]!r}; there are {', '.join(morphs.WRITERS)}")
    recipe = Recipe(seed=args.seed, **{name: getattr(args, name) for name in PLACE_OPTIONS if hasattr(args, name)})
    engine = Engine(_folder(args))
    # After a delay: no bar is shown where there is but an error to tell.
    with tqdm(desc="way", unit="sound", dynamic_ncols=True, delay=0.1, disable=args.spacing == "t") as bar:
        way = morphs.steps(engine, recipe, args.steps, args.spacing, _moves(bar))
    if args.there_and_back:
        way = morphs.there_and_back(way)
    _check_writable(args.out)
    possible = morphs.available(engine.render(way[0]))
    if missing := [name for name in args.formats if name not in possible]:
        raise UsageError(f"{recipe.model!r} has no {missing[0]}; it has {', '.join(possible)}")
    stem = formats.stem(engine.complete(way[0]).recipe, recipe.seed_b)
    for name in args.formats:
        with tqdm(desc=name, unit="step", dynamic_ncols=True) as bar:
            morphs.write(engine, way, args.out / f"{stem}.{name}", _moves(bar))
    print(f"{len(way)} steps, {len(args.formats)} files in {args.out}")
    return 0


def _moves(bar: Any) -> Callable[[int, int], None]:
    """What moves a bar of tqdm."""

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return advance


def _directions(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from explorer import checkpoint, shelf
    from explorer.directions import describe, measured

    paths = shelf.find_checkpoints(_folder(args))
    if args.model not in paths:
        there = f"there are: {', '.join(paths)}" if paths else shelf.nothing_found(_folder(args))
        raise UsageError(f"no checkpoint {args.model!r}; {there}")
    path = paths[args.model]
    _check_writable(path.parent)
    generator, _ = checkpoint.load(path)
    with tqdm(unit="sound", dynamic_ncols=True) as bar:
        directions = measured(generator, args.samples, progress=_moves(bar))
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
        raise UsageError(f"{path} is a folder; --out names a file")
    _check_writable(path.parent)
    with tqdm(unit="sound", dynamic_ncols=True) as bar:
        places = gallery.gallery(engine, args.model, args.samples, progress=_moves(bar))
    atomic.write_text(path, gallery.dumps(places))
    for place in places:
        print(f"seed {place.recipe.seed:<6} {place.name}")
    print(f"{len(places)} places in {path}")
    return 0


def _recipes(args: argparse.Namespace) -> "list[Recipe]":
    """One recipe for each seed, not yet completed: all but the seed is the same."""
    from explorer.files import formats
    from explorer.recipe import Recipe

    given = {name: getattr(args, name) for name in PLACE_OPTIONS if hasattr(args, name)}
    if args.recipe is not None:
        if given:
            raise UsageError("a recipe says everything about its sound: leave out name and place")
        if os.path.isfile(args.recipe):  # Path.is_file raises for a link longer than a file's name may be
            return [formats.read_recipe(Path(args.recipe))]
        if "model=" not in args.recipe:
            raise UsageError(f"{args.recipe!r} is neither a file nor a link with a recipe")
        return [Recipe.from_url(args.recipe)]
    if "model" not in given:
        raise UsageError("which checkpoint? `python -m explorer list` names them")
    if "seed_b" in given:
        given.setdefault("t", 0.5)
    elif "t" in given or "path" in given:
        raise UsageError("--t and --path say how to go to a second seed: add --to SEED")
    seeds = given.pop("seeds", [0])
    return [Recipe(seed=seed, **given) for seed in seeds]


def _check_writable(folder: Path) -> None:
    """Raises UsageError if `folder` is there and cannot be written to, or is not and cannot be made."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise UsageError(f"{existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{existing} cannot be written to")


if __name__ == "__main__":
    sys.exit(main())

"""`python -m explorer`: the files that it writes, what it prints, and how it reports errors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from toy import write

from explorer.__main__ import main
from explorer.engine import Engine
from explorer.files import formats, kits
from explorer.recipe import Recipe

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write(folder, "plain", labels=())
    write(folder, "toy")
    return folder


@pytest.fixture
def render(models: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs `render` with the toys, into `tmp_path/out`."""

    def run(*argv: str) -> int:
        return main(["render", *argv, "--checkpoints", str(models), "--out", str(tmp_path / "out")])

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def complaint(capsys: pytest.CaptureFixture[str], run: Callable[..., int], *argv: str) -> str:
    """The one line that is printed for bad input, whether argparse or the command finds the mistake."""
    try:
        code = run(*argv)
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1, said.err
    return said.err


def test_one_file_for_each_seed_and_format(render: Callable[..., int], tmp_path: Path) -> None:
    assert render("toy", "--seeds", "0-2,9", "--label", "high", "--formats", "wav,mid,png,npz,json") == 0
    expected = [
        f"toy-high-seed000{seed}.{ending}" for seed in (0, 1, 2, 9) for ending in ("json", "mid", "npz", "png", "wav")
    ]
    assert names(tmp_path / "out") == expected


def test_other_programs_can_read_the_files(render: Callable[..., int], models: Path, tmp_path: Path) -> None:
    render("plain", "--seeds", "3", "--formats", "wav,mid,png,npz")
    sound = Engine(models).render(Recipe("plain", seed=3))
    stem = tmp_path / "out" / "plain-seed0003"
    waveform, rate = soundfile.read(stem.with_suffix(".wav"))
    assert (rate, len(waveform)) == (8000, 4000)
    np.testing.assert_allclose(waveform, sound.waveform, atol=1 / 32768)
    notes = pretty_midi.PrettyMIDI(str(stem.with_suffix(".mid"))).instruments[0].notes
    assert [note.pitch for note in notes] == [note.pitch for note in sound.notes or ()]
    assert Image.open(stem.with_suffix(".png")).width > 100
    assert np.load(stem.with_suffix(".npz"))["waveform"].tobytes() == sound.waveform.tobytes()


def test_the_same_command_writes_the_same_bytes(render: Callable[..., int], tmp_path: Path) -> None:
    def hashes() -> dict[str, str]:
        render("toy", "--seeds", "0-1", "--formats", "wav,mid,png,npz,json")
        return {path.name: sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").iterdir()}

    assert hashes() == hashes()


def test_a_file_contains_the_recipe_that_makes_it_again(
    render: Callable[..., int], models: Path, tmp_path: Path
) -> None:
    render(
        "toy",
        "--seeds",
        "5",
        "--to",
        "6",
        "--t",
        "0.3",
        "--path",
        "line",
        "--truncation",
        "0.7",
        "--offset",
        "pc1=1.5",
        "--offset",
        "z2=-1",
        "--set",
        "timbre=square",
        "--label",
        "high",
        "--formats",
        "npz,wav,mid,png,json",
    )
    wanted = Recipe(
        "toy",
        seed=5,
        seed_b=6,
        t=0.3,
        path="line",
        truncation=0.7,
        label="high",
        offsets=(("pc1", 1.5), ("z2", -1.0)),
        settings=(("timbre", "square"),),
    )
    files = sorted((tmp_path / "out").iterdir())
    assert {formats.read_recipe(path) for path in files} == {Engine(models).complete(wanted).recipe}


def test_the_sound_at_t_is_the_one_that_the_engine_renders(
    render: Callable[..., int], models: Path, tmp_path: Path
) -> None:
    render("toy", "--seeds", "7", "--to", "8", "--t", "0.25", "--formats", "npz")
    (path,) = (tmp_path / "out").iterdir()
    sound = Engine(models).render(Recipe("toy", seed=7, seed_b=8, t=0.25))
    assert np.load(path)["waveform"].tobytes() == sound.waveform.tobytes()


def test_a_second_seed_without_t_is_half_way(render: Callable[..., int], tmp_path: Path) -> None:
    render("toy", "--seeds", "7", "--to", "8")
    assert names(tmp_path / "out") == ["toy-low-seed0007-to0008-t0.5.wav"]


@pytest.mark.parametrize("ending", ["wav", "ready.wav", "mid", "png", "svg", "pdf", "npz", "json"])
def test_a_saved_file_is_a_recipe(render: Callable[..., int], tmp_path: Path, ending: str) -> None:
    render("toy", "--seeds", "7", "--truncation", "0.5", "--formats", f"npz,{ending}")
    before = (tmp_path / "out" / "toy-low-seed0007-trunc0.5.npz").read_bytes()
    (tmp_path / "out" / f"toy-low-seed0007-trunc0.5.{ending}").rename(tmp_path / f"kept.{ending}")
    assert render("--recipe", str(tmp_path / f"kept.{ending}"), "--formats", "npz") == 0
    assert (tmp_path / "out" / "toy-low-seed0007-trunc0.5.npz").read_bytes() == before


def test_a_link_is_a_recipe(render: Callable[..., int], models: Path, tmp_path: Path) -> None:
    recipe = Engine(models).complete(Recipe("toy", seed=7, offsets=(("pc2", 0.1),))).recipe
    assert render("--recipe", recipe.to_url("https://example.org/"), "--formats", "json") == 0
    assert formats.read_recipe(tmp_path / "out" / "toy-low-seed0007-pc2+0.1.json") == recipe


def test_a_label_with_odd_characters_gives_a_safe_file_name(models: Path, tmp_path: Path) -> None:
    write(models, "odd", labels=("../a b", "c"))
    main(["render", "odd", "--checkpoints", str(models), "--out", str(tmp_path / "out")])
    assert names(tmp_path / "out") == ["odd-.._a_b-seed0000.wav"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tey"], "no checkpoint 'tey'.*there are: plain, toy"),
        ([], "which checkpoint"),
        (["toy", "--seeds", "0-"], "seeds are written like 7, 0-99 or 0-9,42"),
        (["toy", "--seeds", "a-b"], "seeds are written like"),
        (["toy", "--seeds", ""], "seeds are written like"),
        (["toy", "--seeds=-3"], "seeds are written like"),
        (["toy", "--seeds", "9-3"], "runs backwards"),
        (["toy", "--seeds", "0-4294967295"], "more than 100,000 seeds"),
        (["toy", "--seeds", "4294967296"], "seed must be a whole number from 0 to 4294967295"),
        (["toy", "--seeds", "0-" + "9" * 5000], "seeds are written like"),
        (["toy", "--label", "loud"], "no register 'loud'; this model knows low, high"),
        (["plain", "--label", "low"], "'plain' takes no label"),
        (["toy", "--formats", "mp3"], "no format 'mp3'; there are wav, ready.wav, mid, png, svg, pdf, npz, json"),
        (["toy", "--formats", "wav,,mid"], "no format ''"),
        (["toy", "--t", "0.5"], "add --to SEED"),
        (["toy", "--path", "line"], "add --to SEED"),
        (["toy", "--path", "bow"], "invalid choice: 'bow'"),
        (["toy", "--to", "8", "--t", "1.5"], "t must be between 0 and 1"),
        (["toy", "--to", "8", "--t", "nan"], "t must be between 0 and 1"),
        (["toy", "--to", "-8"], "seed_b must be a whole number"),
        (["toy", "--truncation", "3"], "truncation must be between 0 and 2"),
        (["toy", "--offset", "pc1"], "not of the form NAME=VALUE"),
        (["toy", "--offset", "pc1=much"], "not of the form NAME=NUMBER"),
        (["toy", "--offset", "pc1=nan"], "offset pc1 must be between"),
        (["toy", "--offset", "pc99=1"], "no direction 'pc99'"),
        (["toy", "--set", "timbre=warm"], "no setting timbre = 'warm'"),
        (["toy", "--recipe", "model=toy"], "leave out name and place"),
        (["--recipe", "nowhere.wav"], "neither a file nor a link"),
        (["--recipe", "?model=toy&seed=one"], "seed must be a number"),
        (["--recipe", "x" * 5000], "neither a file nor a link"),
        (["--recipe", "?model=toy&weights=0123456789abcdef"], "made with weights 0123456789ab"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line_and_writes_nothing(
    render: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    said = complaint(capsys, render, *argv)
    assert re.search(message, said), said
    assert not (tmp_path / "out").exists()


def test_a_format_that_the_model_cannot_make_gets_one_line_and_writes_nothing(
    render: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "available", lambda sound: ("wav", "png"))
    assert "'toy' has no mid; it has wav, png" in complaint(capsys, render, "toy", "--formats", "wav,mid")
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_recipe_gets_one_line(
    render: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert "broken.png" in complaint(capsys, render, "--recipe", str(tmp_path / "broken.png"))


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_that_is_a_file_gets_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    (tmp_path / "taken").write_text("mine")
    argv = ["render", "toy", "--checkpoints", str(models), "--out", str(tmp_path / "taken" / below)]
    assert "is not a folder" in complaint(capsys, lambda: main(argv))
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_may_not_be_written_to_gets_one_line(
    render: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # for root every folder is writable
    assert "cannot be written to" in complaint(capsys, render, "toy")


def test_a_full_disk_gets_one_line_and_leaves_only_whole_files(
    render: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, count = Path.write_bytes, 0

    def fill(self: Path, data: bytes) -> int:
        nonlocal count
        count += 1
        if count == 3:
            plain(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return plain(self, data)

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert render("toy", "--seeds", "0-9") == 2
    assert "error: [Errno 28] No space left on device" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["toy-low-seed0000.wav", "toy-low-seed0001.wav"]


def test_an_interrupt_prints_one_word_and_leaves_only_whole_files(
    render: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.rename

    def interrupt(self: Path, target: Path) -> Path:
        if "seed0001" in str(target):
            raise KeyboardInterrupt
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", interrupt)
    assert render("toy", "--seeds", "0-9") == 130
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "interrupted"
    assert names(tmp_path / "out") == ["toy-low-seed0000.wav"]


UNUSUAL = [
    "nan",
    "-1",
    "1e999",
    "a/b",
    "../toy",
    "toy@5",
    "pc1=nan",
    "z0=1e300",
    "z99=1",
    "toy",
    "high",
    "wav",
    "0",
    "7",
]
UNUSUAL += ["0-3", "?model=toy", "?model=%00", "/dev/null", "/"]
ANY_TEXT = st.one_of(
    st.sampled_from([*UNUSUAL, "", "9" * 5000, "x" * 5000, "a\0b", "\ud800", "a\nb"]),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
)
OPTIONS = {
    "render": "--seeds --label --to --t --path --truncation --offset --set --recipe --formats",
    "morph": "--steps --spacing --from --to --label --path --truncation --offset --set --formats",
    "gallery": "--samples --checkpoints",
    "directions": "--samples --checkpoints",
    "list": "--checkpoints",
}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_arguments_are_carried_out_or_get_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    command = data.draw(st.sampled_from(sorted(OPTIONS)))
    name = data.draw(st.one_of(st.just("toy"), ANY_TEXT))
    options = data.draw(st.dictionaries(st.sampled_from(OPTIONS[command].split()), ANY_TEXT, max_size=3))
    argv = [command, *([] if command == "list" else [name])]
    if command == "morph":
        argv += ["--from=7", "--to=8", "--steps=2"]
    if command in ("directions", "gallery"):
        argv += ["--samples=x"]  # a valid number would take too long
    argv += [f"{option}={value}" for option, value in options.items()]
    out = [] if command in ("list", "directions") else [f"--out={tmp_path / 'out'}"]
    try:
        code = main([*argv, "--checkpoints", str(models), *out])
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr().err
    assert code in (0, 2)
    if code == 2:
        assert len(said.splitlines()) == 1, said
        assert said.startswith("error: ")
    left = [path.name for path in tmp_path.rglob("*") if path.name.endswith(".partial")]
    assert left == []


@pytest.mark.parametrize("argv", [["render", "toy"], ["morph", "toy", "--from=7", "--to=8", "--formats=wav,zip,gif"]])
def test_a_disk_that_fills_up_leaves_no_partial_file(models: Path, tmp_path: Path, argv: list[str]) -> None:
    program = (
        "import resource, signal, sys; import toy; from explorer.__main__ import main\n"
        "from explorer.generators import FAMILIES; FAMILIES['toy'] = toy.Toy\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *argv, f"--checkpoints={models}", f"--out={tmp_path / 'out'}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: [Errno 27]")
    assert names(tmp_path / "out") == []


def test_list_ends_quietly_when_the_reader_of_its_output_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "list"],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_output_that_cannot_be_written_gets_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "explorer", "list"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
    assert (done.returncode, done.stderr) == (2, "error: [Errno 28] No space left on device\n")


def test_a_gallery_into_a_folder_gets_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["gallery", "toy", "--samples", "64", "--checkpoints", str(models), "--out", str(tmp_path)]
    assert "is a folder" in complaint(capsys, lambda: main(argv))


@pytest.fixture
def morph(models: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs `morph` with the toys, from seed 7 to seed 8, into `tmp_path/out`."""

    def run(name: str, *argv: str) -> int:
        return main(
            [
                "morph",
                name,
                "--from",
                "7",
                "--to",
                "8",
                *argv,
                "--checkpoints",
                str(models),
                "--out",
                str(tmp_path / "out"),
            ]
        )

    return run


def test_a_morph_is_one_file_for_each_format(morph: Callable[..., int], tmp_path: Path) -> None:
    assert morph("toy", "--label", "high", "--steps", "3", "--formats", "wav,mid,zip,gif,png") == 0
    assert names(tmp_path / "out") == [
        f"toy-high-seed0007-to0008.{ending}" for ending in ("gif", "mid", "png", "wav", "zip")
    ]


def test_a_morph_there_and_back_ends_one_step_before_its_start(morph: Callable[..., int], tmp_path: Path) -> None:
    morph("plain", "--steps", "4", "--there-and-back", "--spacing", "equal", "--formats", "gif")
    assert getattr(Image.open(tmp_path / "out" / "plain-seed0007-to0008.gif"), "n_frames", 1) == 6


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("toy", "--steps", "1"), "from 2 to 100 steps, not 1"),
        (("toy", "--steps", "many"), "invalid int value"),
        (("toy", "--spacing", "odd"), "invalid choice"),
        (("toy", "--spacing", "equal", "--label", "loud"), "knows low, high"),
        (("toy", "--formats", "mp4"), "no format 'mp4'; there are wav, mid, zip, gif, png, svg, pdf"),
        (("toy", "--label", "loud"), "knows low, high"),
        (("toy", "--truncation", "3"), "truncation must be between 0 and 2"),
        (("none",), "no checkpoint 'none'"),
        (("toy", "--to", "-1"), "seed_b must be a whole number"),
    ],
)
def test_an_impossible_morph_gets_one_line_and_no_file(
    morph: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], reason: str
) -> None:
    assert reason in complaint(capsys, morph, *argv)
    assert not (tmp_path / "out").exists()


def listed(capsys: pytest.CaptureFixture[str], folder: Path) -> list[dict[str, Any]]:
    main(["list", "--json", "--checkpoints", str(folder)])
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_list_as_json_describes_each_checkpoint(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, toy = listed(capsys, models)
    assert toy == {
        "name": "toy",
        "family": "toy",
        "labels": ["low", "high"],
        "latent_shape": [6],
        "parameters": (6 + 2 + 1) * 8,
        "sample_rate": 8000,
        "seconds": 0.5,
        "sha256": sha256((models / "toy.safetensors").read_bytes()).hexdigest(),
    }
    assert plain["labels"] is None


def test_list_prints_a_table_of_all_checkpoints(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--checkpoints", str(models)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME   FAMILY  PARAMETERS  LATENT  SOUND           LABELS",
        "plain  toy     56          6       0.5 s at 8 kHz",
        "toy    toy     72          6       0.5 s at 8 kHz  low high",
    ]


def test_a_broken_file_is_reported_and_the_others_are_listed(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "broken.safetensors").write_bytes(b"nonsense")
    assert main(["list", "--json", "--checkpoints", str(models)]) == 2
    said = capsys.readouterr()
    assert [card["name"] for card in json.loads(said.out)] == ["plain", "toy"]
    assert "broken.safetensors: not a safetensors file" in said.err


def test_an_empty_folder_is_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, tmp_path) == []


def test_the_folder_may_be_named_before_the_command(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoints", str(models), "list"]) == 0
    assert "plain" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["list"], ["render", "toy"], []], ids=["list", "render", "app"])
def test_a_missing_folder_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    said = complaint(capsys, lambda: main(["--checkpoints", str(tmp_path / "none"), *command]))
    assert "there is no folder" in said


@pytest.fixture
def kit(models: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs `kit` with the toys, into `tmp_path/out`."""

    def run(*argv: str) -> int:
        return main(["kit", *argv, "--checkpoints", str(models), "--out", str(tmp_path / "out")])

    return run


def test_a_kit_is_a_folder_for_a_sampler(kit: Callable[..., int], models: Path, tmp_path: Path) -> None:
    assert kit("toy", "--seeds", "10-17") == 0
    out = tmp_path / "out"
    wavs = [f"{i + 1}-{('low', 'high')[i % 2]}-{note}.wav" for i, note in enumerate((36, 38, 42, 46, 39, 45, 50, 49))]
    assert names(out) == sorted([*wavs, "kit.json", "kit.sfz"])
    recipes = [formats.read_recipe(out / name) for name in wavs]
    assert [(recipe.seed, recipe.label) for recipe in recipes] == [(10 + i, ("low", "high")[i % 2]) for i in range(8)]
    waveform, _ = soundfile.read(out / wavs[3])
    np.testing.assert_allclose(waveform, Engine(models).render(recipes[3]).waveform, atol=1 / 32768)
    assert all(name in (out / "kit.sfz").read_text() for name in wavs)


def test_a_kit_of_one_seed_has_the_labels_in_turn(kit: Callable[..., int], tmp_path: Path) -> None:
    assert kit("toy", "--seeds", "7", "--labels", "high,high,low") == 0
    pads = json.loads((tmp_path / "out" / "kit.json").read_text())["pads"]
    assert [(pad["seed"], pad["label"]) for pad in pads[:4]] == [(7, "high"), (7, "high"), (7, "low"), (7, "high")]


def test_a_kit_without_labels_is_named_after_its_seeds(kit: Callable[..., int], tmp_path: Path) -> None:
    assert kit("plain") == 0
    assert "2-seed0001-38.wav" in names(tmp_path / "out")


def test_a_saved_kit_and_its_link_give_the_same_folder_again(
    kit: Callable[..., int], models: Path, tmp_path: Path
) -> None:
    made = kits.new(Engine(models), "toy", range(20, 28))
    kits.write(Engine(models), made, tmp_path / "loop.wav")
    for recipe in (str(tmp_path / "loop.wav"), made.to_url("http://localhost/")):
        assert kit("--recipe", recipe) == 0
        assert formats.read_saved(tmp_path / "out" / "kit.json") == made


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "which checkpoint?"),
        (("cats",), "no checkpoint 'cats'"),
        (("toy", "--seeds", "0-6"), "name 8 seeds, or one for all of them, not 7"),
        (("toy", "--seeds", "x"), "seeds are written like"),
        (("toy", "--seeds", "4294967296"), "seed must be a whole number"),
        (("toy", "--labels", "low,cow"), "pad 2: .* no register 'cow'"),
        (("toy", "--labels", ","), "no register ''"),
        (("plain", "--labels", "low"), "takes no label"),
        (("toy", "--labels", "low," * 9), "at most 8 labels"),
        (("--recipe", "nothing"), "neither a file nor a link with a kit"),
        (("toy", "--recipe", "?model=toy&kit.tempo=1"), "leave out name, seeds and labels"),
        (("--recipe", "?model=toy&kit.tempo=x"), "tempo must be a number"),
    ],
)
def test_a_kit_that_cannot_be_written_gets_one_line_and_writes_nothing(
    kit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], message: str
) -> None:
    assert re.search(message, complaint(capsys, kit, *argv))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("argv", [["--port", "99999"], ["--port", "-1"], ["--port", "http"], ["frobnicate"]])
def test_arguments_that_cannot_be_read_get_one_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    complaint(capsys, lambda: main(argv))


@pytest.mark.parametrize(
    ("golden", "argv"),
    [
        ("explorer", []),
        ("explorer-list", ["list"]),
        ("explorer-render", ["render"]),
        ("explorer-morph", ["morph"]),
        ("explorer-morph", ["path"]),
        ("explorer-kit", ["kit"]),
        ("explorer-instrument", ["instrument"]),
        ("explorer-play", ["play"]),
        ("explorer-directions", ["directions"]),
        ("explorer-gallery", ["gallery"]),
        ("explorer-level", ["level"]),
        ("explorer-deploy", ["deploy"]),
        ("explorer-export-onnx", ["export-onnx"]),
    ],
)
def test_the_help_equals_the_reviewed_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, golden: str, argv: list[str]
) -> None:
    """After a wanted change: COLUMNS=100 python -m explorer [COMMAND] --help > tests/golden/NAME.txt"""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit, match="0"):
        main([*argv, "--help"])
    assert capsys.readouterr().out == (GOLDEN / f"{golden}.txt").read_text(encoding="utf-8")


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys; from explorer.__main__ import main\n"
        "try: main(['render', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.splitlines()[-1] == "False False"


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "list", "--checkpoints", str(tmp_path / "none")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: there is no folder {tmp_path / 'none'}\n"


@pytest.mark.parametrize("file", [None, "weights.pt"])
def test_list_says_that_a_folder_has_no_checkpoints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str | None
) -> None:
    if file:
        (tmp_path / file).touch()
    assert main(["list", "--checkpoints", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("there is no checkpoint here")
    assert ".safetensors" in said


def test_notes_are_saved_on_a_grid(render: Callable[..., int], tmp_path: Path) -> None:
    assert render("toy", "--seeds", "7", "--formats", "mid,json", "--quantise", "97") == 0
    assert names(tmp_path / "out") == ["toy-low-seed0007-97bpm.mid", "toy-low-seed0007.json"]
    file = mido.MidiFile(tmp_path / "out" / "toy-low-seed0007-97bpm.mid")
    notes = [event for event in file.tracks[1] if event.type in ("note_on", "note_off")]
    assert notes
    assert all(event.time % (file.ticks_per_beat // 4) == 0 for event in notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--formats", "mid", "--quantise", "0"], "tempo is from 20"), (["--quantise", "90"], "add mid to --formats")],
)
def test_a_grid_that_cannot_be_is_refused(
    render: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in complaint(capsys, lambda: render("toy", *options))
    assert not (tmp_path / "out").exists()

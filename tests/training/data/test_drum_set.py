"""The set of drum hits: each drum once and on one side, the sources named, and nothing half-written."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from soundfonts import kit, soundfont_bytes

from training.__main__ import main
from training.data.audio import load_waveforms
from training.data.drum_set import LABELS, build
from training.data.drum_synth import PARAMETERS, SAMPLE_RATE, draw, synthesise
from training.data.one_shots import one_shots
from training.task import DataError

NOISE = np.random.RandomState(0).bytes(9000)


def package(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package: an ar archive with a compressed tar in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(f"./{name}")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "data.tar.xz": data.getvalue()}
    text = b"!<arch>\n"
    for name, content in members.items():
        text += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        text += content + b"\n" * (len(content) % 2)
    path.write_bytes(text)
    return path


def recordings(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for k, values in enumerate(draw("snare", count, np.random.RandomState(7))):
        soundfile.write(folder / f"SD{k:02}.wav", 0.2 * synthesise("snare", values, k), SAMPLE_RATE)
    return folder


def written(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.flac"))


def test_packages_folders_and_the_synthesiser_become_one_set(tmp_path: Path) -> None:
    deb = package(
        tmp_path / "fonts.deb",
        {"usr/share/sounds/sf2/a.sf2": soundfont_bytes([kit()]), "usr/share/doc/fonts/copyright": b"All mine.\n"},
    )
    out = tmp_path / "set"
    table = build([deb, recordings(tmp_path / "snares")], out, synthesised=10)
    # Four hits of the kit, of which the snare and its twin two keys below sound alike, or do not.
    names = written(out / "recorded")
    assert sum("/snare/" in name for name in names) in (13, 14)
    assert sum("/kick/" in name for name in names) == sum("/closed-hat/" in name for name in names) == 1
    assert 1 <= sum(name.startswith("valid/") for name in names) <= 4
    assert len(written(out / "synthesised")) == 10 * len(LABELS)
    notice = (out / "NOTICE.md").read_text(encoding="utf-8")
    assert "All mine." in notice
    assert "its licence is not known here" in notice
    assert f"{len(names)} recordings" in table
    clips = load_waveforms(
        (out / "recorded", out / "synthesised"), tmp_path / "cache", {"sample_rate": "16000"}, one_shots(16_384)
    )
    assert tuple(clips.meta["labels"]) == tuple(sorted(LABELS))
    assert not clips.meta["inventory"]["skipped"]


def test_the_parameters_of_synthesised_hits_are_written_beside_them(tmp_path: Path) -> None:
    build([], tmp_path / "set", synthesised=3)
    folder = tmp_path / "set" / "synthesised"
    parameters = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
    assert sorted(parameters) == written(folder)
    for name, values in parameters.items():
        assert list(values) == [parameter.name for parameter in PARAMETERS[name.split("/")[1]]]


def test_the_same_sources_give_the_same_files(tmp_path: Path) -> None:
    source = recordings(tmp_path / "snares", 4)
    for name in ("one", "two"):
        build([source], tmp_path / name, synthesised=2)
    assert written(tmp_path / "one") == written(tmp_path / "two")
    for name in written(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_recording_that_is_there_twice_is_taken_once(tmp_path: Path) -> None:
    source = recordings(tmp_path / "snares", 3)
    (source / "copy SD.wav").write_bytes((source / "SD00.wav").read_bytes())
    assert "left out: 1 × sounds like another" in build([source], tmp_path / "set", synthesised=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no package"), "not a Debian package"),
        (lambda path: path.write_bytes(b"!<arch>\n" + b"x" * 60), "a damaged Debian package"),
        (lambda path: path.write_bytes(b"!<arch>\n"), "a Debian package without files"),
        (lambda path: path.write_bytes(package(path, {"a.sf2": NOISE}).read_bytes()[:3000]), "damaged Debian"),
        (lambda path: package(path, {"a.sf2": b"x"}), "no drum in it: 1 × not a SoundFont"),
        (lambda path: None, "no such file or folder"),
    ],
    ids=["text", "damaged", "empty", "cut", "no drums", "missing"],
)
def test_a_bad_source_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object, message: str
) -> None:
    source = tmp_path / "a.deb"
    make(source)  # type: ignore[operator]
    assert main(["drums-data", str(source), "--out", str(tmp_path / "set")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path != source] == []


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        build([], tmp_path, synthesised=1)

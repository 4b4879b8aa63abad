"""Every audio or MIDI file of a folder is counted once, whatever else is in it."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from training.data.audio import load_waveforms
from training.data.files import AUDIO, MIDI, OTHER_AUDIO, OTHER_MIDI, find
from training.data.inventory import Inventory, table
from training.task import DataError

KNOWN = AUDIO | OTHER_AUDIO | MIDI | OTHER_MIDI


def tone(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.2 * np.sin(np.arange(2000)), 8000, format="WAV")


def counted(text: str) -> tuple[list[int], int]:
    """The files of each line of a table, and those found, read off the printed text."""
    rows = [int(n.replace(",", "")) for n in re.findall(r"^(?:train|validation|test|skipped|) +([\d,]+) ", text, re.M)]
    found = re.search(r"^found +([\d,]+)$", text, re.M)
    assert found
    return rows, int(found[1].replace(",", ""))


FOLDERS = st.sampled_from(["", "kick", "train/kick", "valid/kick", "recordings", "_background_noise_"])
STEMS = st.sampled_from(["a", "b", "3_theo_7", "3_theo_12", "One_0123abcd_nohash_0", "0123abcd_nohash_1"])
SUFFIXES = st.sampled_from([".wav", ".WAV", ".flac", ".m4a", ".mid", ".wma", ".txt", ".png", ""])
KINDS = st.sampled_from(["sound", "empty", "junk", "silence", "folder", "dangling", "circle", "pipe"])


@given(st.dictionaries(st.tuples(FOLDERS, STEMS, SUFFIXES), KINDS, max_size=12))
def test_the_table_adds_up_to_the_files_in_the_folder(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[str, str, str], str]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    for (inside, stem, suffix), kind in tree.items():
        path = folder / inside / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "sound":
            tone(path)
        elif kind == "silence":
            sf.write(path, np.zeros(2000), 8000, format="WAV")
        elif kind == "folder":
            path.mkdir()
        elif kind in ("dangling", "circle"):
            path.symlink_to(path.name if kind == "circle" else "nowhere")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(b"" if kind == "empty" else b"junk")
    expected = sum(suffix.lower() in KNOWN for _, _, suffix in tree)
    sounds = sum(kind == "sound" and suffix.lower() in AUDIO for (_, _, suffix), kind in tree.items())
    try:
        rows, found = counted(table(load_waveforms(folder, folder.parent / "cache", {}).meta["inventory"]))
    except DataError as error:
        total = re.search(r"none of (\d+) recordings", str(error))
        assert (int(total[1]) if total else 0) == expected
    else:
        assert found == sum(rows) == expected
        assert rows[0] + rows[1] <= sounds
        assert rows[0] >= 1


ODD = {
    "a link that leads nowhere, or a file that is gone": lambda path: path.symlink_to("nowhere"),
    "a link that leads back to itself": lambda path: path.symlink_to(path.name),
    "a folder with the name of a file": lambda path: path.mkdir(),
    "a pipe, a socket or a device, not a file": lambda path: os.mkfifo(path),
    "an empty file": lambda path: path.touch(),
}


@pytest.mark.parametrize("reason", list(ODD))
def test_folders_pipes_and_broken_links_with_names_of_recordings_are_counted_as_skipped(
    tmp_path: Path, reason: str
) -> None:
    tone(tmp_path / "data" / "good.wav")
    ODD[reason](tmp_path / "data" / "odd.wav")
    skipped = load_waveforms(tmp_path / "data", tmp_path / "cache", {}).meta["inventory"]["skipped"]
    assert skipped == {reason: {"files": 1, "examples": ["odd.wav"]}}


def test_a_socket_does_not_block_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone(tmp_path / "data" / "good.wav")
    monkeypatch.chdir(tmp_path / "data")  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind("odd.wav")
        counts = load_waveforms(tmp_path / "data", tmp_path / "cache", {}).meta["inventory"]
    assert counts["skipped"] == {"a pipe, a socket or a device, not a file": {"files": 1, "examples": ["odd.wav"]}}


def test_linked_folders_are_followed_once_and_circular_links_end(tmp_path: Path) -> None:
    tone(tmp_path / "data" / "kick" / "a.wav")
    tone(tmp_path / "elsewhere" / "b.wav")
    (tmp_path / "data" / "again").symlink_to("kick")
    (tmp_path / "data" / "kick" / "up").symlink_to("..")
    (tmp_path / "data" / "snare").symlink_to(tmp_path / "elsewhere")
    files = find(tmp_path / "data", AUDIO, Inventory("windows"))
    assert [str(file.name) for file in files] == ["kick/a.wav", "snare/b.wav"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("name", [b"a\xff.wav", b"a\nb.wav", b"a\x1b[2J.wav", "ä ♪.wav".encode()])
def test_a_strange_name_is_read_and_can_be_printed(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "data").mkdir()
    tone(tmp_path / "data" / "good.wav")
    (tmp_path / "data" / "good.wav").rename(os.fsdecode(os.fsencode(tmp_path / "data") + b"/" + name))
    with open(os.fsencode(tmp_path / "data") + b"/x" + name, "wb") as file:
        file.write(b"junk")
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    text = table(clips.meta["inventory"])
    assert len(clips.train) == 1
    assert all(line.isprintable() for line in text.encode().decode().splitlines())


@pytest.mark.parametrize("suffix", [".m4a", ".wma", ".AAC", ".ape", ".amr"])
def test_unreadable_formats_are_counted_with_advice(tmp_path: Path, suffix: str) -> None:
    tone(tmp_path / "data" / "good.wav")
    (tmp_path / "data" / f"a{suffix}").write_bytes(b"ftypM4A ")
    (reason,) = load_waveforms(tmp_path / "data", tmp_path / "cache", {}).meta["inventory"]["skipped"]
    assert reason == f"{suffix.lower()} cannot be read here: convert it to .wav or .flac, with ffmpeg for example"


def test_reasons_are_grouped_with_a_count_and_an_example() -> None:
    inventory = Inventory("windows")
    for k in range(41):
        inventory.skip(PurePosixPath(f"{k}.wav"), "shorter than 0.05 s")
    inventory.use("train", 3, "kick")
    inventory.use("test", label="kick")
    assert table(inventory.to_dict(["kick"])).splitlines() == [
        "                files    windows",
        "train               1          3",
        "validation          0          0",
        "test                1   kept out",
        "skipped            41  shorter than 0.05 s, e.g. 0.wav",
        "found              43",
        "labels, files of train + validation: kick 1 + 0",
    ]


def test_counting_needs_no_library_for_sound() -> None:
    code = (
        "import sys, training.data.audio, training.data.midi, training.data.inventory; "
        "print({'soundfile', 'symusic', 'scipy', 'librosa'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "set()"

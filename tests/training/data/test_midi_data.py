import csv
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from safetensors.torch import load_file, save_file

from training.data.inventory import Inventory, table
from training.data.midi import VERSION, find_pieces, pieces, prepare, read_notes, windows
from training.task import DataError

Played = tuple[int, float, float, int]  # pitch, start, end, velocity


def write_midi(path: Path, notes: list[Played], drum: bool = False) -> None:
    midi = pretty_midi.PrettyMIDI(resolution=960)
    instrument = pretty_midi.Instrument(program=0, is_drum=drum)
    instrument.notes = [pretty_midi.Note(v, p, s, e) for p, s, e, v in notes]
    midi.instruments.append(instrument)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))


def scale(count: int = 300, pitch: int = 60) -> list[Played]:
    return [(pitch + k % 12, 0.25 * k, 0.25 * k + 0.2, 40 + k % 50) for k in range(count)]


@pytest.fixture
def maestro(tmp_path: Path) -> Path:
    folder = tmp_path / "maestro-v3.0.0"
    rows = [("2004/a.midi", "train"), ("2008/b.midi", "validation"), ("2011/c.midi", "test")]
    for name, _ in rows:
        write_midi(folder / name, scale())
    with (folder / "maestro-v3.0.0.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["canonical_composer", "canonical_title", "split", "year", "midi_filename"])
        table.writerows(('Anton, the "Elder"', "Étude", split, 2004, name) for name, split in rows)
    return folder


def splits(folder: Path) -> dict[str, str]:
    return {file.name.as_posix(): role.split for file, role in find_pieces(folder, Inventory("notes")).items()}


def test_maestro_is_split_by_its_csv_and_its_test_rows_are_not_used(maestro: Path) -> None:
    assert splits(maestro) == {"2004/a.midi": "train", "2008/b.midi": "valid"}


def test_files_missing_from_maestro_s_table_or_folder_are_counted(maestro: Path) -> None:
    write_midi(maestro / "2004/mine.midi", scale())
    (maestro / "2004/a.wav").write_bytes(b"RIFF")
    (maestro / "2008/b.midi").unlink()
    counted = prepare(maestro, maestro.parent / "cache").meta["inventory"]
    assert counted["files"] == {"train": 1, "valid": 0, "test": 1}
    assert {reason: group["files"] for reason, group in counted["skipped"].items()} == {
        "not in maestro-v3.0.0.csv": 1,
        "a recording, not MIDI": 1,
    }
    assert "1 pieces of maestro-v3.0.0.csv for training or validation cannot be found here" in counted["notes"]


def test_a_plain_folder_keeps_its_split_when_files_are_added(tmp_path: Path) -> None:
    for k in range(40):
        write_midi(tmp_path / f"{k}.mid", [(60, 0, 1, 64)])
    before = splits(tmp_path)
    write_midi(tmp_path / "sub" / "new.MID", [(60, 0, 1, 64)])
    after = splits(tmp_path)
    assert before.items() <= after.items()
    assert {"train", "valid"} == set(before.values())


def test_notes_are_read_as_an_independent_library_wrote_them(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", scale())
    table, _ = read_notes(tmp_path / "a.mid")
    assert table.pitch.tolist() == [p for p, *_ in scale()]
    assert table.velocity.tolist() == [v for *_, v in scale()]
    np.testing.assert_allclose(table.step[1:], 0.25, atol=2e-3)
    np.testing.assert_allclose(table.duration, 0.2, atol=2e-3)


def test_a_file_of_drums_alone_is_refused(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", scale(), drum=True)
    with pytest.raises(DataError, match="nothing but drums"):
        read_notes(tmp_path / "a.mid")


def test_drums_beside_a_piano_are_left_out(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", scale())
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    drums = pretty_midi.Instrument(program=0, is_drum=True)
    drums.notes = [pretty_midi.Note(100, 38, 0.1 + k, 0.2 + k) for k in range(20)]
    midi.instruments.append(drums)
    midi.write(str(tmp_path / "b.mid"))
    assert read_notes(tmp_path / "b.mid")[0].pitch.tolist() == [p for p, *_ in scale()]


def test_a_table_that_is_not_maestro_s_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "maestro-mine.csv").write_text("name,year\na.midi,2004\n")
    with pytest.raises(DataError, match="no column midi_filename or split"):
        find_pieces(tmp_path, Inventory("notes"))


@pytest.mark.parametrize("content", [b"", b"MThd", b"not midi at all" * 50])
def test_a_corrupt_file_is_skipped_counted_and_named(tmp_path: Path, content: bytes) -> None:
    for k in range(3):
        write_midi(tmp_path / "midi" / f"{k}.mid", scale())
    (tmp_path / "midi" / "broken.mid").write_bytes(content)
    meta = prepare(tmp_path / "midi", tmp_path / "cache").meta
    assert meta["skipped_files"] == 1
    assert meta["skipped"][0].startswith("broken.mid: ")


def test_a_file_without_notes_is_skipped(tmp_path: Path) -> None:
    write_midi(tmp_path / "midi" / "full.mid", scale())
    write_midi(tmp_path / "midi" / "silent.mid", [])
    assert prepare(tmp_path / "midi", tmp_path / "cache").meta["skipped_files"] == 1


def test_overlapping_notes_of_one_key_stay_separate(tmp_path: Path) -> None:
    notes = [(60 + k % 3, 0.25 * k, 0.25 * k + 5, 64) for k in range(300)]
    write_midi(tmp_path / "a.mid", notes)
    table, _ = read_notes(tmp_path / "a.mid")
    assert len(table.pitch) == 300
    assert table.duration[:-3].max() <= 0.76


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MIDI file in it"):
        prepare(tmp_path, tmp_path / "cache")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        prepare(tmp_path / "nowhere", tmp_path / "cache")


def test_a_folder_without_usable_file_names_the_first_reason(tmp_path: Path) -> None:
    write_midi(tmp_path / "short.mid", scale(count=10))
    with pytest.raises(DataError, match=r"fewer than 256 piano notes \(e\.g\. short\.mid\)"):
        prepare(tmp_path, tmp_path / "cache")


def test_the_cache_gives_the_same_tables(maestro: Path, tmp_path: Path) -> None:
    first, second = (prepare(maestro, tmp_path / "cache") for _ in range(2))
    assert first.meta == second.meta
    assert all(torch.equal(first.train[name], second.train[name]) for name in first.train)


def test_a_prepared_file_can_be_used_without_the_midi_files(maestro: Path, tmp_path: Path) -> None:
    first = prepare(maestro, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    assert torch.equal(prepare(cached, tmp_path / "elsewhere").valid["pitch"], first.valid["pitch"])


def test_an_added_file_changes_the_cache_file(maestro: Path, tmp_path: Path) -> None:
    prepare(maestro, tmp_path / "cache")
    write_midi(maestro / "2004/a.midi", scale(count=400))
    assert prepare(maestro, tmp_path / "cache").meta["notes"]["train"] == 400


def test_a_damaged_cache_is_prepared_again_with_a_warning(
    maestro: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = prepare(maestro, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    content = cached.read_bytes()[:100]
    cached.unlink()  # not overwritten: the tables are mapped from it
    cached.write_bytes(content)
    assert torch.equal(prepare(maestro, tmp_path / "cache").train["pitch"], first.train["pitch"])
    assert "preparing it again" in caplog.text


def test_no_window_spans_two_pieces(tmp_path: Path) -> None:
    write_midi(tmp_path / "midi" / "a.mid", scale(pitch=30))
    write_midi(tmp_path / "midi" / "b.mid", scale(pitch=60))
    write_midi(tmp_path / "midi" / "c.mid", scale(pitch=90))
    data = prepare(tmp_path / "midi", tmp_path / "cache")
    for tensors in (data.train, data.valid):
        pitches = windows(dict(tensors), 500)[..., 0]
        assert (pitches.amax(1) - pitches.amin(1)).max() == 11


def test_training_from_a_cache_needs_no_midi_library(maestro: Path, tmp_path: Path) -> None:
    prepare(maestro, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    code = (
        "import sys; from pathlib import Path; from training.families.pianogan import PianoTask\n"
        f"PianoTask().prepare(Path({str(cached)!r}), Path('unused'), {{}})\n"
        "foreign = {'symusic', 'pretty_midi', 'scipy', 'librosa', 'soundfile', 'sklearn', 'matplotlib', 'gradio'}\n"
        "print(foreign & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "set()", done.stderr


def midi_bytes(
    division: int = 480, tempo: int | None = None, count: int = 300, delta: int = 240, before: bytes = b""
) -> bytes:
    """A MIDI file of one track, written out by hand: a running scale of `count` notes."""
    events = before
    if tempo is not None:
        events += b"\x00\xff\x51\x03" + tempo.to_bytes(3, "big")
    for k in range(count):
        wait = bytes([0x80 | delta >> 7, delta & 0x7F])
        events += b"\x00\x90" + bytes([40 + k % 40, 64]) + wait + b"\x80" + bytes([40 + k % 40, 0])
    events += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, division) + b"MTrk" + struct.pack(">I", len(events)) + events


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (midi_bytes(tempo=0), "a tempo of zero, so its notes have no times"),
        (midi_bytes(tempo=1), "more than 500 notes a second"),
        (midi_bytes(delta=0), "more than 500 notes a second"),
        (midi_bytes(division=0), "no ticks in a quarter note, so its notes have no times"),
        (midi_bytes(division=0xE728), "times in SMPTE frames, not in beats"),
        (midi_bytes(count=255), "fewer than 256 piano notes"),
        (midi_bytes()[:900], "damaged, or not a MIDI file"),
        (b"not midi at all" * 50, "damaged, or not a MIDI file"),
        (b"", "an empty file"),
    ],
)
def test_a_file_with_meaningless_notes_is_skipped_with_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "good.mid").write_bytes(midi_bytes())
    (tmp_path / "midi" / "bad.mid").write_bytes(content)
    counted = prepare(tmp_path / "midi", tmp_path / "cache").meta["inventory"]
    assert counted["skipped"] == {reason: {"files": 1, "examples": ["bad.mid"]}}
    assert counted["found"] == 2


@pytest.mark.parametrize(
    "event",
    [
        b"\x00\xff\x59\x02\xee\x00",
        b"\x00\xff\x58\x04\x04\xc8\x18\x08",
        b"\x00\xff\x01\x03\xff\xfe\xfd",
        b"\x00\xb0\x40\xc8",
    ],
    ids=["key of 18 flats", "metre of no note value", "text of no encoding", "pedal beyond 127"],
)
def test_the_notes_after_a_damaged_event_are_read(tmp_path: Path, event: bytes) -> None:
    (tmp_path / "a.mid").write_bytes(midi_bytes(before=event))
    assert read_notes(tmp_path / "a.mid")[0].pitch.tolist() == [40 + k % 40 for k in range(300)]


@pytest.mark.parametrize("suffix", [".mid", ".MIDI", ".kar", ".rmi", ".RMI"])
def test_every_midi_suffix_is_read_and_a_riff_header_is_removed(tmp_path: Path, suffix: str) -> None:
    content = midi_bytes()
    if suffix.lower() == ".rmi":
        info = b"LIST" + struct.pack("<I", 5) + b"INFOx\x00"
        body = b"RMID" + info + b"data" + struct.pack("<I", len(content)) + content
        content = b"RIFF" + struct.pack("<I", len(body)) + body
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / f"a{suffix}").write_bytes(content)
    assert prepare(tmp_path / "midi", tmp_path / "cache").meta["notes"]["train"] == 300


def test_another_folder_of_the_same_names_sizes_and_times_is_another_cache(tmp_path: Path) -> None:
    for name, note in (("first", 60), ("second", 65)):
        write_midi(tmp_path / name / "a.mid", scale(pitch=note))
        os.utime(tmp_path / name / "a.mid", (1e9, 1e9))
    first, second = (prepare(tmp_path / name, tmp_path / "cache") for name in ("first", "second"))
    assert first.train["pitch"].min() == 60
    assert second.train["pitch"].min() == 65


def test_a_folder_whose_files_all_hash_to_validation_can_be_trained_on(tmp_path: Path) -> None:
    for k in range(20):  # names that hash to either split
        write_midi(tmp_path / str(k) / f"{k}.mid", scale())
        data = prepare(tmp_path / str(k), tmp_path / "cache")
        assert data.meta["files"] == {"train": 1, "valid": 0}
        assert "the last training piece is used for it too" in table(data.meta["inventory"])


DAMAGE = {
    "a column is missing": lambda t: t.pop("train.step"),
    "a column is shorter": lambda t: t.update({"train.step": t["train.step"][:-1]}),
    "other numbers": lambda t: t.update({"train.pitch": t["train.pitch"].long()}),
    "a pitch off the keyboard": lambda t: t["train.pitch"].fill_(120),
    "a step back in time": lambda t: t["valid.step"].fill_(-1),
    "a duration that is no number": lambda t: t["valid.duration"].fill_(float("nan")),
    "a window beyond the end": lambda t: t["train.start"].add_(10**6),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_prepared_file_given_as_data_is_checked(tmp_path: Path, damage: str) -> None:
    write_midi(tmp_path / "midi" / "a.mid", scale())
    meta = prepare(tmp_path / "midi", tmp_path / "cache").meta
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    tensors = {name: tensor.clone() for name, tensor in load_file(cached).items()}
    DAMAGE[damage](tensors)
    about = {"kind": "notes", "version": str(VERSION), "key": "", "meta": json.dumps(meta)}
    save_file(tensors, tmp_path / "mine.safetensors", about)
    with pytest.raises(DataError, match=r"mine\.safetensors: not a file of prepared notes: its (train|valid) tables"):
        prepare(tmp_path / "mine.safetensors", tmp_path)


def test_windows_know_their_pieces() -> None:
    lengths = (256, 700, 300)
    begin = np.cumsum([0, *lengths[:-1]])
    starts = [at + np.arange(n) * (n - 255) // n for at, n in zip(begin, lengths, strict=True)]
    tensors = {"start": torch.from_numpy(np.concatenate(starts))}
    found = pieces(tensors, sum(lengths)).numpy()
    np.testing.assert_array_equal(found, np.repeat([0, 1, 2], lengths))

import csv
import subprocess
import sys

import numpy as np
import pretty_midi
import pytest
import torch

from training.data.midi import find_pieces, prepare, read_notes, windows
from training.task import DataError


def write_midi(path, notes, drum=False):
    """notes: (pitch, start, end, velocity)."""
    midi = pretty_midi.PrettyMIDI(resolution=960)
    instrument = pretty_midi.Instrument(program=0, is_drum=drum)
    instrument.notes = [pretty_midi.Note(v, p, s, e) for p, s, e, v in notes]
    midi.instruments.append(instrument)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))


def scale(count=300, pitch=60):
    return [(pitch + k % 12, 0.25 * k, 0.25 * k + 0.2, 40 + k % 50) for k in range(count)]


@pytest.fixture
def maestro(tmp_path):
    folder = tmp_path / "maestro-v3.0.0"
    rows = [("2004/a.midi", "train"), ("2008/b.midi", "validation"), ("2011/c.midi", "test")]
    for name, _ in rows:
        write_midi(folder / name, scale())
    with (folder / "maestro-v3.0.0.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["canonical_composer", "canonical_title", "split", "year", "midi_filename"])
        table.writerows(('Anton, the "Elder"', "Étude", split, 2004, name) for name, split in rows)
    return folder


def test_maestro_is_split_by_its_csv_and_its_test_rows_stay_out(maestro):
    assert [(p.path.name, p.split) for p in find_pieces(maestro)] == [("a.midi", "train"), ("b.midi", "valid")]


def test_a_plain_folder_keeps_its_split_when_files_are_added(tmp_path):
    for k in range(40):
        write_midi(tmp_path / f"{k}.mid", [(60, 0, 1, 64)])
    before = {p.path.name: p.split for p in find_pieces(tmp_path)}
    write_midi(tmp_path / "sub" / "new.MID", [(60, 0, 1, 64)])
    after = {p.path.name: p.split for p in find_pieces(tmp_path)}
    assert before.items() <= after.items()
    assert {"train", "valid"} == set(before.values())


def test_notes_are_read_as_an_independent_library_wrote_them(tmp_path):
    write_midi(tmp_path / "a.mid", scale())
    table = read_notes(tmp_path / "a.mid")
    assert table.pitch.tolist() == [p for p, *_ in scale()]
    assert table.velocity.tolist() == [v for *_, v in scale()]
    np.testing.assert_allclose(table.step[1:], 0.25, atol=2e-3)
    np.testing.assert_allclose(table.duration, 0.2, atol=2e-3)


def test_drums_are_not_heard(tmp_path):
    write_midi(tmp_path / "a.mid", scale(), drum=True)
    with pytest.raises(DataError, match="0 piano notes"):
        read_notes(tmp_path / "a.mid")


def test_drums_beside_a_piano_are_left_out(tmp_path):
    write_midi(tmp_path / "a.mid", scale())
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    drums = pretty_midi.Instrument(program=0, is_drum=True)
    drums.notes = [pretty_midi.Note(100, 38, 0.1 + k, 0.2 + k) for k in range(20)]
    midi.instruments.append(drums)
    midi.write(str(tmp_path / "b.mid"))
    assert read_notes(tmp_path / "b.mid").pitch.tolist() == [p for p, *_ in scale()]


def test_a_table_that_is_not_maestro_s_is_an_error(tmp_path):
    (tmp_path / "maestro-mine.csv").write_text("name,year\na.midi,2004\n")
    with pytest.raises(DataError, match="no column midi_filename or split"):
        find_pieces(tmp_path)


@pytest.mark.parametrize("content", [b"", b"MThd", b"not midi at all" * 50])
def test_a_corrupt_file_is_skipped_counted_and_named(tmp_path, content):
    for k in range(3):
        write_midi(tmp_path / "midi" / f"{k}.mid", scale())
    (tmp_path / "midi" / "broken.mid").write_bytes(content)
    meta = prepare(tmp_path / "midi", tmp_path / "cache").meta
    assert meta["skipped_files"] == 1
    assert meta["skipped"][0].startswith("broken.mid: ")


def test_a_file_without_notes_is_skipped(tmp_path):
    write_midi(tmp_path / "midi" / "full.mid", scale())
    write_midi(tmp_path / "midi" / "silent.mid", [])
    assert prepare(tmp_path / "midi", tmp_path / "cache").meta["skipped_files"] == 1


def test_overlapping_notes_of_one_key_are_told_apart(tmp_path):
    notes = [(60 + k % 3, 0.25 * k, 0.25 * k + 5, 64) for k in range(300)]
    write_midi(tmp_path / "a.mid", notes)
    table = read_notes(tmp_path / "a.mid")
    assert len(table.pitch) == 300
    assert table.duration[:-3].max() <= 0.76


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no \.mid or \.midi file"):
        prepare(tmp_path, tmp_path / "cache")


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        prepare(tmp_path / "nowhere", tmp_path / "cache")


def test_a_folder_without_usable_file_names_the_first_reason(tmp_path):
    write_midi(tmp_path / "short.mid", scale(count=10))
    with pytest.raises(DataError, match=r"short\.mid: 10 piano notes, 256 are needed"):
        prepare(tmp_path, tmp_path / "cache")


def test_the_cache_gives_the_same_tables(maestro, tmp_path):
    first, second = (prepare(maestro, tmp_path / "cache") for _ in range(2))
    assert first.meta == second.meta
    assert all(torch.equal(first.train[name], second.train[name]) for name in first.train)


def test_the_cache_can_be_trained_from_without_the_midi(maestro, tmp_path):
    first = prepare(maestro, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    assert torch.equal(prepare(cached, tmp_path / "elsewhere").valid["pitch"], first.valid["pitch"])


def test_another_file_is_another_cache(maestro, tmp_path):
    prepare(maestro, tmp_path / "cache")
    write_midi(maestro / "2004/a.midi", scale(count=400))
    assert prepare(maestro, tmp_path / "cache").meta["notes"]["train"] == 400


def test_a_damaged_cache_is_made_again(maestro, tmp_path):
    first = prepare(maestro, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.safetensors")
    cached.write_bytes(cached.read_bytes()[:100])
    assert torch.equal(prepare(maestro, tmp_path / "cache").train["pitch"], first.train["pitch"])


def test_no_window_crosses_from_one_piece_to_the_next(tmp_path):
    write_midi(tmp_path / "midi" / "a.mid", scale(pitch=30))
    write_midi(tmp_path / "midi" / "b.mid", scale(pitch=60))
    write_midi(tmp_path / "midi" / "c.mid", scale(pitch=90))
    data = prepare(tmp_path / "midi", tmp_path / "cache")
    for tensors in (data.train, data.valid):
        pitches = windows(tensors, 500)[..., 0]
        assert (pitches.amax(1) - pitches.amin(1)).max() == 11


def test_training_from_a_cache_needs_no_midi_library(maestro, tmp_path):
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

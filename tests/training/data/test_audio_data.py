"""Recordings as people have them: every layout, every rate, and the files that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from training.data.audio import load_waveforms, prepare, read_clip, scan
from training.task import DataError


def speech(seconds: float = 0.6, rate: int = 8000, frequency: float = 300.0, channels: int = 1) -> np.ndarray:
    """A tone that swells and fades: (samples,) or (samples, channels)."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.2 * np.sin(2 * np.pi * frequency * time) * np.hanning(len(time))
    return tone if channels == 1 else np.stack([tone] * channels, axis=1)


def write(path: Path, waveform: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, waveform, rate)


def splits(folder: Path) -> dict[str, tuple[str | None, str]]:
    return {clip.path.relative_to(folder).as_posix(): (clip.label, clip.split) for clip in scan(folder)}


def test_the_free_spoken_digit_dataset_validates_on_takes_5_to_9_and_keeps_its_test_set_out(tmp_path: Path) -> None:
    for take in (0, 5, 9, 10, 49):
        write(tmp_path / f"3_theo_{take}.wav", speech())
    assert splits(tmp_path) == {
        "3_theo_0.wav": ("3", "test"),
        "3_theo_5.wav": ("3", "valid"),
        "3_theo_9.wav": ("3", "valid"),
        "3_theo_10.wav": ("3", "train"),
        "3_theo_49.wav": ("3", "train"),
    }


def test_sc09_keeps_its_own_splits_and_its_words_become_digits(tmp_path: Path) -> None:
    for split, word in (("train", "Eight"), ("valid", "Zero"), ("test", "Nine")):
        write(tmp_path / split / f"{word}_004ae714_nohash_0.wav", speech())
    assert splits(tmp_path) == {
        "train/Eight_004ae714_nohash_0.wav": ("8", "train"),
        "valid/Zero_004ae714_nohash_0.wav": ("0", "valid"),
        "test/Nine_004ae714_nohash_0.wav": ("9", "test"),
    }


def test_speech_commands_takes_its_lists_and_no_noise(tmp_path: Path) -> None:
    for name in (
        "one/00000000_nohash_0.wav",
        "one/00000001_nohash_0.wav",
        "cat/00000002_nohash_0.wav",
        "_background_noise_/pink_noise.wav",
    ):
        write(tmp_path / name, speech())
    (tmp_path / "validation_list.txt").write_text("one/00000001_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("cat/00000002_nohash_0.wav\n")
    assert splits(tmp_path) == {
        "one/00000000_nohash_0.wav": ("1", "train"),
        "one/00000001_nohash_0.wav": ("1", "valid"),
        "cat/00000002_nohash_0.wav": ("cat", "test"),
    }


def test_without_lists_no_speaker_is_on_both_sides(tmp_path: Path) -> None:
    for speaker in range(40):
        for take in range(2):
            write(tmp_path / "five" / f"{speaker:08x}_nohash_{take}.wav", speech(0.1))
    sides: dict[str, set[str]] = {}
    for clip in scan(tmp_path):
        sides.setdefault(clip.path.stem[:8], set()).add(clip.split)
    assert all(len(side) == 1 for side in sides.values())
    assert {"train", "valid"} == set.union(*sides.values())


def test_any_other_folder_is_labelled_by_its_sub_folders(tmp_path: Path) -> None:
    write(tmp_path / "Bark" / "a.wav", speech())
    write(tmp_path / "meow" / "b.flac", speech())
    assert sorted(label for label, _ in splits(tmp_path).values() if label) == ["bark", "meow"]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_rate_and_channel_count_keeps_its_pitch(tmp_path: Path, rate: int, channels: int) -> None:
    write(tmp_path / "a.wav", speech(0.8, rate, 440.0, channels), rate)
    waveform = read_clip(tmp_path / "a.wav", 8000, 8192)
    assert waveform.shape == (8192,)
    spectrum = np.abs(np.fft.rfft(waveform))
    assert spectrum.argmax() * 8000 / 8192 == pytest.approx(440, abs=3)


def test_levels_are_made_equal(tmp_path: Path) -> None:
    write(tmp_path / "loud.wav", speech())
    write(tmp_path / "soft.wav", speech() / 20)
    loud, soft = (read_clip(tmp_path / f"{name}.wav", 8000, 8192) for name in ("loud", "soft"))
    np.testing.assert_allclose(loud, soft, atol=2e-3)


def half_a_flac(path: Path) -> None:
    sf.write(path, np.random.RandomState(0).uniform(-0.5, 0.5, 8000), 8000, format="FLAC")
    path.write_bytes(path.read_bytes()[:6000])


BAD = {
    "silence": lambda path: sf.write(path, np.zeros(4000), 8000),
    "one sample": lambda path: sf.write(path, np.ones(1) / 2, 8000),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "half a FLAC": lambda path: half_a_flac(path),
    "not audio": lambda path: path.write_bytes(b"not a recording"),
    "empty": lambda path: path.write_bytes(b""),
    "nan": lambda path: sf.write(path, np.full(4000, np.nan), 8000, subtype="FLOAT"),
}


@pytest.mark.parametrize("flaw", list(BAD))
def test_a_file_that_cannot_be_used_is_skipped_and_named(tmp_path: Path, flaw: str) -> None:
    for k in range(3):
        write(tmp_path / "data" / "yes" / f"{k}.wav", speech())
    bad = tmp_path / "data" / "yes" / "bad1.wav"
    write(bad, speech())
    BAD[flaw](bad)
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert [line.split(":")[0] for line in clips.meta["skipped"]] == ["yes/bad1.wav"]
    assert len(clips.train) + len(clips.valid) == 3


def test_a_folder_without_a_usable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no recordings"):
        prepare(tmp_path / "empty", tmp_path / "cache", {})
    with pytest.raises(DataError, match="no such folder"):
        prepare(tmp_path / "missing", tmp_path / "cache", {})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="none of 1 recordings"):
        prepare(tmp_path / "broken", tmp_path / "cache", {})


def test_a_recording_outside_the_labelled_folders_is_skipped_and_named(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "no/b.wav", "stray.wav"):
        write(tmp_path / "data" / name, speech())
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert clips.meta["skipped"] == ["stray.wav: in no sub-folder that says what it is, unlike others"]
    assert clips.meta["labels"] == ["no", "yes"]


@pytest.mark.parametrize("option", ["sample_rate", "n_mels"])
def test_an_option_that_is_no_number_is_an_error(tmp_path: Path, option: str) -> None:
    write(tmp_path / "data" / "1_theo_10.wav", speech())
    with pytest.raises(DataError, match=f"the option {option} is a whole number, not 'high'"):
        prepare(tmp_path / "data", tmp_path / "cache", {option: "high"})


def test_labels_that_nobody_speaks_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "data" / "1_theo_10.wav", speech())
    with pytest.raises(DataError, match="no recording of 7; there are 1"):
        prepare(tmp_path / "data", tmp_path / "cache", {"labels": "1,7"})


def test_prepared_spectrograms_use_their_range_and_are_read_back_from_the_cache(tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / "data" / f"{k % 3}_theo_{10 + k}.wav", speech(frequency=200 + 100 * k))
    first = prepare(tmp_path / "data", tmp_path / "cache", {})
    assert first.train["x"].shape == (12, 1, 64, 64)
    assert float(first.train["x"].min()) == pytest.approx(-1, abs=0.05)
    assert float(first.train["x"].max()) <= 1
    assert first.train["condition"].sum(1).tolist() == [1] * 12
    (cached,) = (tmp_path / "cache").iterdir()
    stamp = cached.stat().st_mtime_ns
    again = prepare(tmp_path / "data", tmp_path / "cache", {})
    assert cached.stat().st_mtime_ns == stamp
    assert first.train["x"].equal(again.train["x"])
    write(tmp_path / "data" / "0_theo_30.wav", speech())
    assert len(prepare(tmp_path / "data", tmp_path / "cache", {}).train["x"]) == 13

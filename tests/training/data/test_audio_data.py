"""Preparing folders of recordings: layouts, sample rates, files that cannot be used, and the cache."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import save_file

from explorer.sound.mel import MelConfig
from training.data.audio import VERSION, Cut, Waveforms, agreed, encoded, load_waveforms, prepare, shape_clip
from training.data.inventory import table
from training.data.labels import Assignment, assign
from training.data.recordings import read_frames, resample
from training.task import DataError


def speech(seconds: float = 0.6, rate: int = 8000, frequency: float = 300.0, channels: int = 1) -> np.ndarray:
    """A tone that swells and fades: (samples,) or (samples, channels)."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.2 * np.sin(2 * np.pi * frequency * time) * np.hanning(len(time))
    return tone if channels == 1 else np.stack([tone] * channels, axis=1)


def write(path: Path, waveform: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, waveform, rate)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_rate_and_channel_count_keeps_its_pitch(tmp_path: Path, rate: int, channels: int) -> None:
    write(tmp_path / "sounds" / "a.wav", speech(0.8, rate, 440.0, channels), rate)
    (waveform,) = load_waveforms(tmp_path / "sounds", tmp_path, {"sample_rate": "8000"}).train.float().numpy()
    assert waveform.shape == (8192,)
    spectrum = np.abs(np.fft.rfft(waveform))
    assert spectrum.argmax() * 8000 / 8192 == pytest.approx(440, abs=3)


def test_clips_are_scaled_to_equal_loudness() -> None:
    loud, soft = (shape_clip(waveform, 8000, 8000, 8192) for waveform in (speech(), speech() / 20))
    np.testing.assert_allclose(loud, soft, atol=1e-6)


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
    with pytest.raises(DataError, match="none of 1 recordings can be trained on: 1 × not readable as sound"):
        prepare(tmp_path / "broken", tmp_path / "cache", {})


def test_a_recording_outside_the_labelled_folders_is_skipped_and_named(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "no/b.wav", "stray.wav"):
        write(tmp_path / "data" / name, speech())
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert clips.meta["skipped"] == ["stray.wav: not in a sub-folder, while others are, so it has no label"]
    assert clips.meta["labels"] == ["no", "yes"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("sample_rate", "high", "sample_rate must be a whole number, not 'high'"),
        ("n_mels", "high", "n_mels must be a whole number, not 'high'"),
        ("n_mels", "-8", "n_mels must be a whole number, not '-8'"),
        ("n_mels", "0", "n_mels must be a whole number from 8 to 256, not 0"),
        ("sample_rate", "7", "sample_rate must be a whole number from 4000 to 48000, not 7"),
        ("sample_rate", "9" * 5000, "sample_rate must be a whole number from"),
        ("labels", ",,", "labels must be a list such as 0,1,5,8, each label once, not ',,'"),
        ("labels", "", "labels must be a list"),
        ("labels", "1,one", "labels must be a list"),
        ("label", "1", "unknown option label: there are labels, sample_rate, n_mels and voices"),
        ("voices", "yes", "voices=no is the only choice of voices, not voices=yes"),
    ],
)
def test_an_invalid_option_is_an_error_in_one_sentence(tmp_path: Path, option: str, value: str, message: str) -> None:
    write(tmp_path / "data" / "1_theo_10.wav", speech())
    with pytest.raises(DataError, match=message):
        prepare(tmp_path / "data", tmp_path / "cache", {option: value})


def test_a_label_without_recordings_is_an_error(tmp_path: Path) -> None:
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


def spoken(folder: Path, takes: int, speakers: tuple[str, ...] = ("ann", "bob")) -> None:
    for k, name in enumerate(f"{digit}_{who}_{take}" for digit in "07" for who in speakers for take in range(takes)):
        write(folder / f"{name}.wav", speech(frequency=200 + k))


def test_speakers_are_told_apart_where_names_tell_them_and_each_says_every_label_often(tmp_path: Path) -> None:
    spoken(tmp_path / "often", takes=25)
    data = prepare(tmp_path / "often", tmp_path, {})
    assert data.meta["voices"] == ("ann", "bob")
    for tensors, of_each in ((data.train, 15), (data.valid, 5)):  # takes 10-24 train, 5-9 validate
        assert tensors["condition"].sum(0).tolist() == [of_each] * 4
        assert tensors["condition"].sum(1).eq(1).all()
    spoken(tmp_path / "seldom", takes=9)
    for folder, options in (("seldom", {}), ("often", {"voices": "no"})):
        data = prepare(tmp_path / folder, tmp_path, options)
        assert (data.meta["voices"], data.train["condition"].shape[1]) == ((), 2)


def test_voices_keep_their_place_among_those_of_a_checkpoint_and_strangers_have_a_share_of_each(tmp_path: Path) -> None:
    spoken(tmp_path / "two", takes=12)
    fresh = prepare(tmp_path / "two", tmp_path, {"voices": "no"})
    mel = MelConfig(**fresh.meta["mel"])
    known = prepare(tmp_path / "two", tmp_path, {}, mel, ("0", "7"), ("ann", "abe", "bob"))
    assert known.meta["voices"] == ("ann", "abe", "bob")
    assert known.train["condition"].sum(0).tolist() == [12, 0, 12, 12, 0, 12]
    strangers = prepare(tmp_path / "two", tmp_path, {}, mel, ("0", "7"), ("ann", "abe"))
    assert strangers.train["condition"].unique(dim=0).tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0]]


def test_another_folder_of_the_same_names_sizes_and_times_is_prepared_anew(tmp_path: Path) -> None:
    for name, frequency in (("first", 300), ("second", 900)):
        write(tmp_path / name / "a.wav", speech(frequency=frequency))
        os.utime(tmp_path / name / "a.wav", (1e9, 1e9))
    first, second = (load_waveforms(tmp_path / name, tmp_path / "cache", {}) for name in ("first", "second"))
    assert not torch.equal(first.train, second.train)


def test_a_folder_that_moved_is_not_prepared_again(tmp_path: Path) -> None:
    write(tmp_path / "here" / "a.wav", speech())
    first = load_waveforms(tmp_path / "here", tmp_path / "cache", {})
    (tmp_path / "here").rename(tmp_path / "there")
    assert torch.equal(load_waveforms(tmp_path / "there", tmp_path / "cache", {}).train, first.train)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_nothing_but_the_prepared_file_stays_in_the_cache(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.wav", speech())
    load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".safetensors"]


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"", lambda b: b[:-1], lambda b: b"x" * len(b)])
def test_a_damaged_cache_is_prepared_again_with_a_warning(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "data" / "a.wav", speech())
    first = load_waveforms(tmp_path / "data", tmp_path / "cache", {}).train.clone()
    (cached,) = (tmp_path / "cache").iterdir()
    content = damage(cached.read_bytes())
    cached.unlink()  # not overwritten: the tensors are mapped from it
    cached.write_bytes(content)
    assert torch.equal(load_waveforms(tmp_path / "data", tmp_path / "cache", {}).train, first)
    assert "preparing it again" in caplog.text


def test_a_cache_file_renamed_from_another_folder_is_not_used(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.wav", speech())
    write(tmp_path / "other" / "a.wav", speech(frequency=900))
    first = load_waveforms(tmp_path / "data", tmp_path / "cache", {}).train.clone()
    (cached,) = (tmp_path / "cache").iterdir()
    load_waveforms(tmp_path / "other", tmp_path / "elsewhere", {})
    (foreign,) = (tmp_path / "elsewhere").iterdir()
    foreign.replace(cached)
    assert torch.equal(load_waveforms(tmp_path / "data", tmp_path / "cache", {}).train, first)


def test_a_prepared_file_can_be_given_in_place_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "data" / "yes" / "a.wav", speech())
    first = prepare(tmp_path / "data", tmp_path / "cache", {})
    (cached,) = (tmp_path / "cache").iterdir()
    assert torch.equal(prepare(cached, tmp_path / "unused", {}).train["x"], first.train["x"])
    with pytest.raises(DataError, match="prepared at 8000 Hz with the labels yes; other options need the recordings"):
        prepare(cached, tmp_path / "unused", {"sample_rate": "16000"})


def test_a_file_that_is_not_prepared_sound_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    with pytest.raises(DataError, match=r"some\.safetensors: not a file of prepared audio"):
        prepare(path, tmp_path, {})
    save_file({"train": torch.zeros(3)}, path)
    with pytest.raises(DataError, match=r"some\.safetensors: not a file of prepared audio"):
        prepare(path, tmp_path, {})
    about = {"kind": "audio", "version": str(VERSION), "key": "", "meta": json.dumps({"sample_rate": 8000})}
    save_file({"train": torch.zeros(3)}, path, about)
    with pytest.raises(DataError, match=r"some\.safetensors: not a file of windows"):
        prepare(path, tmp_path, {})


def test_a_cache_that_cannot_be_written_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.wav", speech())
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"prepared data cannot be written to .*cache"):
        load_waveforms(tmp_path / "data", tmp_path / "cache", {})


def test_processes_that_prepare_into_one_cache_at_once_all_succeed(tmp_path: Path) -> None:
    for k in range(20):
        write(tmp_path / "data" / f"{k}.wav", speech())
    code = (
        "import sys; from pathlib import Path; from training.data.audio import load_waveforms; "
        "print(len(load_waveforms(Path(sys.argv[1]), Path(sys.argv[2]), {}).train))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data"), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [process.communicate(timeout=300)[0].strip() for process in running]
    assert len(set(counts)) == 1
    assert int(counts[0]) > 10


def test_a_folder_with_one_clip_can_be_trained_on(tmp_path: Path) -> None:
    for k in range(20):  # names that hash to either split
        write(tmp_path / str(k) / f"{k}.wav", speech())
        clips = load_waveforms(tmp_path / str(k), tmp_path / "cache", {})
        assert (len(clips.train), len(clips.valid)) == (1, 0)


def test_a_label_whose_training_clips_are_unusable_takes_one_from_validation(tmp_path: Path) -> None:
    names = [PurePosixPath(f"kick/{k}.wav") for k in range(100)]
    for name, role in assign(names).items():
        assert isinstance(role, Assignment)
        write(tmp_path / "data" / name, speech() if role.split == "valid" else np.zeros(4000))
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert len(clips.train) == 1
    assert len(clips.valid) >= 1
    assert "1 files moved from validation to training" in table(clips.meta["inventory"])


def test_two_minutes_of_sound_are_cut_into_as_many_windows_as_fit(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, 120 * 8000)
    write(tmp_path / "data" / "talk.wav", noise)
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert len(clips.train) == 117  # 120 s in windows of 1.024 s, the last 0.19 s left out
    assert clips.meta["inventory"]["dropped"] == {"the end of a recording, shorter than half a window": 1}
    assert clips.meta["inventory"]["files"]["train"] == 1


def test_pauses_in_a_long_recording_are_left_out_and_counted(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, 8192 * 10)
    noise[8192 * 2 : 8192 * 7] /= 1000
    write(tmp_path / "data" / "talk.wav", noise)
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {})
    assert len(clips.train) == 5
    assert clips.meta["inventory"]["dropped"] == {"a pause in a long recording": 5}


def test_a_family_can_use_its_own_cut_and_read_labels_from_file_names(tmp_path: Path) -> None:
    def starts(sound: Any, rate: int, samples: int) -> Iterator[np.ndarray | str]:
        yield np.resize(resample(read_frames(sound, samples), sound.samplerate, rate), samples)

    for name in ("C4", "E4"):
        write(tmp_path / "data" / f"{name}.wav", speech())
    cut = Cut("starts 1", lambda rate: 100, starts, label_of=lambda path: {"C4": "60", "E4": "64"}[path.stem])
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {}, cut)
    assert clips.train.shape == (2, 100)
    assert clips.meta["labels"] == ["60", "64"]
    assert load_waveforms(tmp_path / "data", tmp_path / "cache", {}).train.shape == (2, 8192)


def two_windows(*labels: str) -> Waveforms:
    """A window of 0.25 and one of 0.5, the first and the last of the labels."""
    index = torch.tensor([0, max(0, len(labels) - 1)])
    nothing = torch.zeros(0, 3)
    return Waveforms(torch.tensor([[0.25] * 3, [0.5] * 3]), index, nothing, index[:0], {"labels": list(labels)})


def test_windows_are_encoded_for_any_family_with_the_labels_of_their_folder() -> None:
    data = encoded(Path("x"), two_windows("a", "b"), lambda waveform: waveform[:, None])
    assert data.train["x"].tolist() == [[[0.25] * 3], [[0.5] * 3]]
    assert data.train["condition"].tolist() == [[1, 0], [0, 1]]
    assert data.valid == {}


def test_a_family_without_a_condition_leaves_the_labels_of_a_folder_alone() -> None:
    assert set(encoded(Path("x"), two_windows("a", "b"), torch.clone, labels=()).train) == {"x"}


def test_windows_without_a_label_stand_for_every_label_of_the_checkpoint() -> None:
    data = encoded(Path("x"), two_windows(), torch.clone, labels=("a", "b", "c"))
    pairs = {(float(x[0]), tuple(c.tolist())) for x, c in zip(data.train["x"], data.train["condition"], strict=True)}
    assert pairs == {(x, c) for x in (0.25, 0.5) for c in ((1, 0, 0), (0, 1, 0), (0, 0, 1))}


def test_labels_keep_their_place_among_those_of_the_checkpoint() -> None:
    data = encoded(Path("x"), two_windows("c", "b"), torch.clone, labels=("a", "b", "c"))
    assert data.train["condition"].tolist() == [[0, 0, 1], [0, 1, 0]]


def test_an_option_that_is_decided_cannot_be_another() -> None:
    assert agreed({"labels": "a"}, {"sample_rate": "4000"}) == {"labels": "a", "sample_rate": "4000"}
    with pytest.raises(DataError, match="these sounds have sample_rate=4000"):
        agreed({"sample_rate": "8000"}, {"sample_rate": "4000"})


def test_an_option_of_another_family_is_not_offered(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown option n_mels: there are labels and sample_rate"):
        load_waveforms(tmp_path, tmp_path, {"n_mels": "64"})

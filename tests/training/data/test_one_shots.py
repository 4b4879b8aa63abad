"""One-shots: labels from names, windows from onsets, and the reason why a recording is none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from soundfonts import kit, soundfont_bytes

from training.data.audio import Waveforms, load_waveforms
from training.data.drum_synth import PARAMETERS, SAMPLE_RATE, draw, synthesise
from training.data.inventory import Unusable
from training.data.one_shots import ONSET, PEAK, drum_of, one_shots, shape_hit
from training.task import DataError

RATE, SAMPLES = 16_000, 16_384


def hit(frequency: float = 200.0, seconds: float = 0.5, rate: int = 44_100) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    wave: np.ndarray = 0.3 * np.sin(2 * np.pi * frequency * t) * np.exp(-t / 0.1)
    return wave


def write(path: Path, waveform: np.ndarray, rate: int = 44_100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)


def load(*folders: Path, cache: Path) -> Waveforms:
    return load_waveforms(folders, cache, {"sample_rate": str(RATE)}, one_shots(SAMPLES))


@pytest.mark.parametrize(
    ("name", "drum"),
    [
        ("BD01", "kick"),
        ("kick-hard", "kick"),
        ("Kicks", "kick"),
        ("Bass Drum", "kick"),
        ("bass_voxy_c", None),
        ("CHH", "closed-hat"),
        ("hat_zild", "closed-hat"),
        ("OpenHat 3", "open-hat"),
        ("hh-open", "open-hat"),
        ("HHO", "open-hat"),
        ("drum_cymbal_closed", "closed-hat"),
        ("drum_cymbal_soft", "crash"),
        ("SD_808", "snare"),
        ("Snare Rimshot", "rim"),
        ("sidestick", "rim"),
        ("Low Tom", "tom"),
        ("LT", "tom"),
        ("Ride Cymbal", "ride"),
        ("CP", "clap"),
        ("loop_amen", None),
        ("chorus", None),
    ],
)
def test_a_name_says_which_drum_it_is(name: str, drum: str | None) -> None:
    assert drum_of(name) == drum


def test_sub_folders_win_over_names_and_both_join_the_kits_of_soundfonts(tmp_path: Path) -> None:
    write(tmp_path / "pack" / "Kicks" / "snare.wav", hit())
    write(tmp_path / "pack" / "Bongos" / "1.wav", hit())
    write(tmp_path / "loose" / "BD01.wav", hit())
    (tmp_path / "gm.sf2").write_bytes(soundfont_bytes([kit()]))
    sources = (tmp_path / "pack", tmp_path / "loose", tmp_path / "gm.sf2")
    counts = load(*sources, cache=tmp_path / "cache").meta["inventory"]
    assert {label: sum(count.values()) for label, count in counts["labels"].items()} == {
        "bongos": 1,
        "closed-hat": 1,
        "kick": 3,
        "snare": 2,
    }
    assert counts["found"] == 7


def test_a_recording_whose_name_says_nothing_is_skipped_among_those_that_say_what_they_are(tmp_path: Path) -> None:
    for name in ("BD01", "SD01", "noise"):
        write(tmp_path / "data" / f"{name}.wav", hit())
    skipped = load(tmp_path / "data", cache=tmp_path / "cache").meta["inventory"]["skipped"]
    assert skipped == {
        "its name holds no label that is known, while the names of others do": {"files": 1, "examples": ["noise.wav"]}
    }


def test_an_unnamed_recording_is_skipped_beside_a_soundfont(tmp_path: Path) -> None:
    write(tmp_path / "data" / "noise.wav", hit())
    (tmp_path / "data" / "gm.sf2").write_bytes(soundfont_bytes([kit()]))
    skipped = load(tmp_path / "data", cache=tmp_path / "cache").meta["inventory"]["skipped"]
    assert list(skipped) == ["it has no label, while others have one"]


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros(44_100), "silence"),
        (hit(seconds=0.005), "shorter than 0.01 s"),
        (np.concatenate([hit(), np.zeros(44_100 * 20)]), "longer than 20 s, so no one-shot"),
        (np.zeros(0), "silence"),
    ],
    ids=["silence", "tick", "long", "nothing"],
)
def test_what_is_no_one_shot_is_skipped_and_counted_with_the_reason(
    tmp_path: Path, waveform: np.ndarray, reason: str
) -> None:
    for k in range(3):
        write(tmp_path / "data" / "kick" / f"{k}.wav", waveform)
    with pytest.raises(DataError, match=f"3 × {reason}"):
        load(tmp_path / "data", cache=tmp_path / "cache")
    write(tmp_path / "data" / "kick" / "good.wav", hit())
    counts = load(tmp_path / "data", cache=tmp_path / "cache").meta["inventory"]
    assert counts["skipped"][reason]["files"] == 3
    assert counts["files"]["train"] == 1


@pytest.mark.parametrize("before", [0, 10, 5000])
@pytest.mark.parametrize("gain", [-0.1, 1.0])
def test_a_hit_begins_at_its_onset_and_goes_up_first(before: int, gain: float) -> None:
    shaped = shape_hit(np.pad(gain * hit(rate=RATE), (before, 0)), RATE, RATE, SAMPLES)
    loud = np.flatnonzero(np.abs(shaped) > 0.02 * PEAK)
    assert abs(int(loud[0]) - ONSET) <= 1
    assert shaped.max() == pytest.approx(PEAK)
    assert int(shaped.argmax()) < int(shaped.argmin())


@pytest.mark.parametrize("waveform", [np.sin(np.arange(40_000.0)), hit(rate=RATE)[:1600]], ids=["long", "cut"])
def test_ends_are_silent_wherever_the_recording_stops(waveform: np.ndarray) -> None:
    shaped = shape_hit(waveform, RATE, RATE, SAMPLES)
    assert shaped[0] == shaped[-1] == 0
    end = min(len(waveform), SAMPLES) - 1
    assert np.abs(shaped[end - 20 :]).max() < 5e-3


def test_a_constant_offset_is_no_onset() -> None:
    waveform = np.concatenate([np.zeros(8000), hit(rate=RATE)])
    np.testing.assert_allclose(
        shape_hit(waveform + 0.2, RATE, RATE, SAMPLES), shape_hit(waveform, RATE, RATE, SAMPLES), atol=1e-2
    )


def test_a_hit_shorter_than_a_hundredth_of_a_second_is_unusable() -> None:
    with pytest.raises(Unusable, match="shorter than"):
        shape_hit(np.r_[np.zeros(100), 1.0, np.zeros(100)], RATE, RATE, SAMPLES)


@pytest.mark.parametrize("label", PARAMETERS)
def test_every_synthesised_hit_is_a_one_shot_and_the_same_again(label: str) -> None:
    first, last = (
        {parameter.name: float(parameter.at(np.array(share))) for parameter in PARAMETERS[label]} for share in (0, 1)
    )
    for values in (first, last):
        waveform = synthesise(label, values, 1)
        assert np.isfinite(waveform).all()
        shape_hit(waveform, SAMPLE_RATE, RATE, SAMPLES)
        np.testing.assert_array_equal(waveform, synthesise(label, values, 1))


@pytest.mark.parametrize("label", ["kick", "tom"])
def test_the_pitch_that_is_drawn_is_the_pitch_that_sounds(label: str) -> None:
    for values in draw(label, 5, np.random.RandomState(0)):
        ringing = synthesise(label, {**values, "decay": 3.0, "drive": 1.0}, 0)[SAMPLE_RATE // 2 :]
        spectrum = np.abs(np.fft.rfft(ringing * np.hanning(len(ringing)), 4 * SAMPLE_RATE))
        assert spectrum.argmax() / 4 == pytest.approx(values["pitch"], rel=0.02)


def test_drawn_values_cover_each_range_evenly() -> None:
    drawn = draw("kick", 50, np.random.RandomState(0))
    for parameter in PARAMETERS["kick"]:
        edges = parameter.at(np.linspace(0, 1, 51))
        counts = np.histogram([values[parameter.name] for values in drawn], edges)[0]
        assert (counts == 1).all()

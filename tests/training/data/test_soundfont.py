"""SoundFonts: keys sound as the format's numbers say, and any bytes are read or refused in one sentence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soundfonts import RATE, TestPreset, Zone, kit, soundfont_bytes, tone

from training.data.audio import Waveforms, load_waveforms
from training.data.drum_kits import drum_hits
from training.data.inventory import Unusable
from training.data.one_shots import one_shots
from training.data.soundfont import soundfont
from training.task import DataError


def written(folder: Path, *presets: TestPreset, bits: int = 16, name: str = "a.sf2") -> Path:
    path = folder / name
    path.write_bytes(soundfont_bytes(presets, bits))
    return path


def rendered(path: Path, key: int, velocity: int = 127, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    with soundfont(path) as font:
        return font.render(font.presets[0], key, velocity, seconds, rate)


def pitch(waveform: np.ndarray, rate: int = RATE) -> float:
    """Of its loudest partial, in Hz; exact to a third of a Hz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 4 * rate))
    return float(spectrum.argmax() / 4)


def one(zone: Zone) -> TestPreset:
    return TestPreset(0, 0, [zone])


def test_the_root_key_plays_the_sample_itself(tmp_path: Path) -> None:
    path = written(tmp_path, one(Zone((0, 127), tone(440), root=69)))
    np.testing.assert_allclose(rendered(path, 69), tone(440), atol=1 / 2**15)


@pytest.mark.parametrize("key", [57, 62, 69, 81])
def test_keys_are_semitones_apart(tmp_path: Path, key: int) -> None:
    path = written(tmp_path, one(Zone((0, 127), tone(440), root=69)))
    for rate in (RATE, 16_000):
        assert pitch(rendered(path, key, rate=rate), rate) == pytest.approx(440 * 2 ** ((key - 69) / 12), abs=1)


@pytest.mark.parametrize(
    ("generators", "correction", "cents"),
    [({51: 12}, 0, 1200), ({52: -50}, 0, -50), ({}, 20, 20), ({58: 57}, 0, 1200), ({56: 0, 58: 20}, 0, 0)],
)
def test_tuning_is_in_semitones_and_cents(
    tmp_path: Path, generators: dict[int, int], correction: int, cents: int
) -> None:
    path = written(tmp_path, one(Zone((0, 127), tone(440), generators, root=69, correction=correction)))
    assert pitch(rendered(path, 69)) == pytest.approx(440 * 2 ** (cents / 1200), abs=1)


def test_presets_add_to_what_instruments_say(tmp_path: Path) -> None:
    preset = TestPreset(0, 0, [Zone((0, 127), tone(440), {51: 3}, root=69)], {51: 9})
    assert pitch(rendered(written(tmp_path, preset), 69)) == pytest.approx(880, abs=1)


def test_a_loop_is_held(tmp_path: Path) -> None:
    sine = 0.5 * np.sin(2 * np.pi * 441 * np.arange(1000) / RATE)  # a period is 100 samples
    path = written(tmp_path, one(Zone((0, 127), sine, {54: 1}, root=69, loop=(300, 800))))
    expected = 0.5 * np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(rendered(path, 69), expected, atol=2 / 2**15)


def test_the_volume_envelope_decays_as_its_timecents_say(tmp_path: Path) -> None:
    sine = 0.5 * np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE)
    decay = Zone((0, 127), sine, {36: 0, 37: 1000}, root=69)  # 1 s for the whole range of 96 dB
    waveform = rendered(written(tmp_path, one(decay)), 69)
    levels = [20 * np.log10(np.abs(waveform[k : k + 441]).max() / 0.5) for k in (0, 22_050)]
    assert levels == pytest.approx([0, -48], abs=1)


def test_velocity_and_attenuation_lower_the_level(tmp_path: Path) -> None:
    path = written(tmp_path, one(Zone((0, 127), tone(440), {48: 100}, root=69)))
    loud, soft = np.abs(rendered(path, 69)).max(), np.abs(rendered(path, 69, velocity=64)).max()
    assert 20 * np.log10(loud / 0.8) == pytest.approx(-4, abs=0.1)
    assert 20 * np.log10(soft / loud) == pytest.approx(40 * np.log10(64 / 127), abs=0.1)


def test_the_filter_takes_away_what_lies_above_its_cutoff(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, RATE)
    cutoff = round(1200 * np.log2(1000 / 8.176))
    waveform = rendered(written(tmp_path, one(Zone((0, 127), noise, {8: cutoff}, root=69))), 69)
    power = np.abs(np.fft.rfft(waveform)) ** 2
    # 12 dB an octave, two octaves above.
    assert 10 * np.log10(power[3750:4250].mean() / power[100:500].mean()) == pytest.approx(-24, abs=1)


def test_24_bits_are_more_exact_than_16(tmp_path: Path) -> None:
    quiet = tone(440) / 1000
    for bits, step in ((16, 2**-15), (24, 2**-22)):
        path = written(tmp_path, one(Zone((0, 127), quiet, root=69)), bits=bits, name=f"{bits}.sf2")
        np.testing.assert_allclose(rendered(path, 69), quiet, atol=step)


def test_left_and_right_become_one_channel(tmp_path: Path) -> None:
    zones = [Zone((0, 127), tone(440), {17: -500}, root=69), Zone((0, 127), tone(660), {17: 500}, root=69)]
    waveform = rendered(written(tmp_path, TestPreset(0, 0, zones)), 69)
    np.testing.assert_allclose(waveform, (tone(440) + tone(660)) / 2**0.5, atol=1e-4)


def test_a_key_without_a_zone_is_silent(tmp_path: Path) -> None:
    path = written(tmp_path, one(Zone((60, 60), tone(440))))
    assert not rendered(path, 61).any()


def test_hits_that_differ_in_level_alone_are_taken_once(tmp_path: Path) -> None:
    with soundfont(written(tmp_path, kit(0), kit(1), kit(56), TestPreset(0, 0, kit(0).zones))) as font:
        hits = list(drum_hits(font))
    # The second kit has other samples of the same sounds; the third is of a program whose keys mean other drums.
    assert [hit.label for hit in hits] == ["kick", "snare", "snare", "closed-hat"] * 2


def test_hits_with_a_sample_in_common_are_in_one_split(tmp_path: Path) -> None:
    for k in range(12):
        written(tmp_path, kit(pitch=1 + k / 20), name=f"{k}.sf2")
    clips = load(tmp_path, tmp_path / "cache")
    snares = clips.meta["inventory"]["labels"]["snare"]
    assert clips.meta["labels"] == ["closed-hat", "kick", "snare"]
    assert snares["train"] + snares["valid"] == 24
    assert snares["valid"] % 2 == 0


def load(folders: Path | Sequence[Path], cache: Path) -> Waveforms:
    return load_waveforms(folders, cache, {"sample_rate": "16000"}, one_shots(16_384))


def test_a_soundfont_alone_is_data_and_is_counted(tmp_path: Path) -> None:
    clips = load(written(tmp_path, kit()), tmp_path / "cache")
    assert clips.meta["inventory"]["found"] == len(clips.train) + len(clips.valid) == 4
    assert clips.meta["inventory"]["notes"][0] == "a.sf2 holds 4 sounds, each counted as a file"
    assert float(clips.train.abs().max()) == pytest.approx(0.95, abs=1e-3)


def test_a_soundfont_that_is_cut_short_or_without_drums_is_skipped_with_the_reason(tmp_path: Path) -> None:
    good = written(tmp_path, kit()).read_bytes()
    (tmp_path / "short.sf2").write_bytes(good[:-500])
    written(tmp_path, TestPreset(0, 0, kit().zones), name="piano.sf2")
    (tmp_path / "text.sf2").write_bytes(b"no SoundFont")
    skipped = load(tmp_path, tmp_path / "cache").meta["inventory"]["skipped"]
    assert {reason: group["examples"] for reason, group in skipped.items()} == {
        "a SoundFont that is cut short: its header names more bytes than there are": ["short.sf2"],
        "a SoundFont without drum kits (presets of bank 128 with keys of General MIDI)": ["piano.sf2"],
        "not a SoundFont": ["text.sf2"],
    }


def test_a_header_that_claims_4_gb_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "huge.sf2"
    path.write_bytes(b"RIFF\xff\xff\xff\xffsfbk" + bytes(100))
    with pytest.raises(DataError, match="cut short"):
        load(path, tmp_path / "cache")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 60))
def test_damaged_bytes_are_refused_in_one_sentence_or_played(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(WHOLE[: len(WHOLE) - cut])
    for at, value in changes:
        # Half of the changes fall into the lists behind the samples.
        data[at % len(data) if at % 2 else len(data) - 1 - at % 900] = value
    path = tmp_path / "damaged.sf2"
    path.write_bytes(data)
    said = ""
    try:
        with soundfont(path) as font:
            for hit in drum_hits(font):
                waveform = font.render(hit.kit, hit.key, hit.velocity, 0.1, 16_000)
                assert waveform.shape == (1600,)
                assert np.isfinite(waveform).all()
    except Unusable as error:
        said = str(error)
    assert "\n" not in said


WHOLE = soundfont_bytes([kit()])


@pytest.mark.parametrize("name", [b"pbag", b"ibag", b"phdr", b"inst"])
def test_lists_that_point_outside_are_refused(tmp_path: Path, name: bytes) -> None:
    at = WHOLE.index(name) + 4
    end = at + 4 + int.from_bytes(WHOLE[at : at + 4], "little")
    back = {b"pbag": 4, b"ibag": 4, b"phdr": 14, b"inst": 2}[name]  # of the last record's index
    path = tmp_path / "a.sf2"
    path.write_bytes(WHOLE[: end - back] + b"\xff\xff" + WHOLE[end - back + 2 :])
    with pytest.raises(Unusable, match="lists point outside"), soundfont(path):
        pass

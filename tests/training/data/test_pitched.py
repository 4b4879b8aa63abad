"""Notes: their pitches and instruments from names and SoundFonts, and windows of them."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from soundfonts import RATE as FONT_RATE
from soundfonts import TestPreset, Zone, kit, soundfont_bytes, tone

from training.data.audio import Waveforms, load_waveforms
from training.data.inventory import Unusable
from training.data.pitched import HELD_SECONDS, notes, periodicity, pitch_of, shape_note, source_of
from training.data.soundfont import soundfont
from training.task import DataError

RATE, SAMPLES = 16_000, 16_384
MIDDLE_C = 440 * 2 ** (-9 / 12)


def wave(frequency: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path: Path, waveform: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, RATE)


def load(folder: Path, cache: Path) -> Waveforms:
    return load_waveforms(folder, cache, {"sample_rate": str(RATE)}, notes(SAMPLES))


@pytest.mark.parametrize(
    ("name", "pitch"),
    [
        *(("C#4", 61), ("violin_A4", 69), ("Bb3-soft", 58), ("c2", 36), ("F♯3", 54), ("A-1", 9)),
        *(("060", 60), ("violin-69-soft", 69), ("60_flute", 60)),
        *(("guitar_acoustic_010-060-127", 60), ("synth_lead_synthetic_000-036-025", 36)),
        *(("flute", None), ("mix 60 64", None), ("take 300", None), ("Cs", None)),
    ],
)
def test_the_pitch_in_a_name(name: str, pitch: int | None) -> None:
    assert pitch_of(name) == pitch


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("audio/synth_lead_synthetic_000-036-025.wav", "synth_lead: synth_lead_synthetic_000"),
        ("brass/horn/C4.wav", "brass: brass/horn"),
        ("violin_C4.wav", "violin: violin"),
    ],
)
def test_the_instrument_in_a_path(path: str, source: str) -> None:
    assert source_of(PurePosixPath(path)) == source


@pytest.mark.parametrize("pitch", [36, 60, 84])
@pytest.mark.parametrize("cents", [-30, 0, 15])
def test_periodicity_tells_how_far_a_tone_is_off(pitch: int, cents: float) -> None:
    clear, off = periodicity(wave(440 * 2 ** ((pitch - 69 + cents / 100) / 12)), pitch, RATE)
    assert clear > 0.99
    assert off == pytest.approx(cents, abs=8)


def test_noise_and_other_pitches_are_not_clear() -> None:
    noise = np.random.RandomState(0).randn(RATE)
    assert periodicity(noise, 60, RATE)[0] < 0.5
    assert periodicity(wave(MIDDLE_C * 2**0.5), 60, RATE)[0] < 0.5
    assert periodicity(np.zeros(RATE), 60, RATE)[0] == 0


def test_a_note_begins_at_once_and_has_the_usual_loudness() -> None:
    late = np.concatenate([np.zeros(5000), wave(440)])
    quiet, loud = (shape_note(level * late, RATE, RATE, SAMPLES) for level in (0.1, 1.0))
    np.testing.assert_allclose(quiet, loud, atol=1e-4)
    assert np.sqrt((loud[2000:8000] ** 2).mean()) == pytest.approx(0.15, rel=0.02)
    assert np.flatnonzero(np.abs(loud) > 0.01)[0] < 100


def test_silence_is_refused() -> None:
    with pytest.raises(Unusable, match="silence"):
        shape_note(np.zeros(8000), RATE, RATE, SAMPLES)


def test_a_released_key_dies_away_in_the_time_of_its_envelope(tmp_path: Path) -> None:
    preset = TestPreset(0, 0, [Zone((0, 127), tone(440, 2, decay=1e9), {38: -1200})])  # 96 dB in 0.5 s
    path = tmp_path / "a.sf2"
    path.write_bytes(soundfont_bytes([preset]))
    with soundfont(path) as font:
        held, let_go = (font.render(font.presets[0], 60, 127, 1.0, FONT_RATE, at) for at in (2.0, 0.5))
    half, later = FONT_RATE // 2, slice(FONT_RATE * 3 // 4 - 500, FONT_RATE * 3 // 4 + 500)
    np.testing.assert_allclose(let_go[:half], held[:half], atol=1e-6)
    fallen = 20 * np.log10(np.abs(held[later]).max() / np.abs(let_go[later]).max())
    assert fallen == pytest.approx(48, abs=3)


def test_nsynth_is_read_as_its_authors_ship_it(tmp_path: Path) -> None:
    folder = tmp_path / "nsynth-test"
    for k in range(20):
        for pitch in (60, 67):
            name = f"{('brass', 'organ')[k % 2]}_acoustic_{k:03}-{pitch:03}-075"
            write(folder / "audio" / f"{name}.wav", wave(440 * 2 ** ((pitch - 69) / 12), 4))
    (folder / "examples.json").write_text("{}")
    clips = load(folder, tmp_path / "cache")
    assert clips.meta["labels"] == ["60", "67"]
    assert len(clips.meta["sources"]) == 20
    assert clips.train_sources is not None
    assert clips.valid_sources is not None
    assert not set(clips.train_sources.tolist()) & set(clips.valid_sources.tolist())  # instruments are held out whole
    assert len(clips.train) == 2 * len(set(clips.train_sources.tolist()))
    after = int((HELD_SECONDS + 0.15) * RATE)
    assert float(clips.train[0, after:].abs().max()) < 0.05  # released, although the recording sounds on


def test_names_without_a_pitch_are_counted(tmp_path: Path) -> None:
    for name in ("horn_C4", "horn_C5", "horn"):
        write(tmp_path / "notes" / f"{name}.wav", wave(440))
    clips = load(tmp_path / "notes", tmp_path / "cache")
    assert len(clips.train) + len(clips.valid) == 2
    assert "horn.wav" in clips.meta["skipped"][0]


def test_presets_without_40_clear_pitches_are_left_out_and_counted(tmp_path: Path) -> None:
    hiss = np.random.RandomState(0).uniform(-1, 1, 40_000)
    noise = TestPreset(0, 122, [Zone((0, 127), hiss, {54: 1}, loop=(0, 40_000))])
    scale = TestPreset(0, 0, [Zone((0, 127), tone(MIDDLE_C, 2, decay=3))])
    (tmp_path / "a.sf2").write_bytes(soundfont_bytes([scale, noise]))
    clips = load(tmp_path / "a.sf2", tmp_path / "cache")
    assert [source.split(":")[0] for source in clips.meta["sources"]] == ["piano"]
    assert clips.meta["labels"] == [str(key) for key in range(36, 85)]
    assert clips.meta["inventory"]["skipped"]["no clear pitch"]["files"] >= 9


def test_a_soundfont_without_melodic_presets_is_skipped_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "drums.sf2").write_bytes(soundfont_bytes([kit()]))
    with pytest.raises(DataError, match="a SoundFont without melodic presets"):
        load(tmp_path / "drums.sf2", tmp_path / "cache")

"""Saved files: the recipe is read back from each, and other programs can read them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile
from toy import write

from explorer.engine import Engine
from explorer.files.formats import FORMATS, available, encode, read_recipe, save, stem
from explorer.files.ready import ready
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import LogMel, Note, Sound

RECIPE = Recipe("naïve ピアノ", seed=7, seed_b=8, t=0.1, offsets=(("pc1", -1.5), ("z3", 0.1)), label="3")
WAVEFORM = (0.5 * np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)).astype(np.float32)
NOTES = Sound(lambda: WAVEFORM, 8000, 1.0, notes=(Note(60, 0.0, 0.5, 64), Note(64, 0.25, 0.5, 90)))
MEL = Sound(
    lambda: WAVEFORM,
    8000,
    1.0,
    log_mel=LogMel(np.linspace(-6, 0, 80).reshape(8, 10), np.linspace(100, 3900, 8), 800, 8000),
)


@pytest.mark.parametrize("sound", [NOTES, MEL], ids=["notes", "mel"])
def test_the_recipe_is_read_back_exactly_from_every_format(tmp_path: Path, sound: Sound) -> None:
    for name in available(sound):
        save(sound, RECIPE, tmp_path / f"a.{name}")
        assert read_recipe(tmp_path / f"a.{name}") == RECIPE, name


def test_a_recipe_with_an_offset_along_every_raw_dimension_is_read_back(tmp_path: Path) -> None:
    recipe = Recipe("m", weights="a" * 64, offsets=tuple((f"z{k}", k / 7 + 0.1) for k in range(512)))
    for name in FORMATS:
        save(NOTES, recipe, tmp_path / f"a.{name}")
        assert read_recipe(tmp_path / f"a.{name}") == recipe, name


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_same_recipe_gives_the_same_bytes(name: str) -> None:
    assert encode(NOTES, RECIPE, name) == encode(NOTES, RECIPE, name)


def test_a_wav_holds_the_waveform_in_16_bit(tmp_path: Path) -> None:
    save(NOTES, RECIPE, tmp_path / "a.wav")
    rate, samples = wavfile.read(tmp_path / "a.wav")
    assert rate == 8000
    assert samples.dtype == np.int16
    np.testing.assert_allclose(samples / 32768, WAVEFORM, atol=1 / 32768)


def test_a_ready_wav_has_its_peak_cut_fades_and_rate_and_says_so(tmp_path: Path) -> None:
    """A tone that begins after 0.25 s: at its original pitch, with 5 ms of what was before it."""
    late = np.concatenate([np.full(2000, 1e-4, np.float32), 0.2 * WAVEFORM])
    save(Sound(lambda: late, 8000, 1.25), RECIPE, tmp_path / "a.ready.wav")
    with sf.SoundFile(tmp_path / "a.ready.wav") as file:
        assert file.title.startswith("Ready to use: peak -1 dBFS, from 5 ms before the onset, fades of 3 ms, 44.1 kHz")
        x, rate = file.read(), file.samplerate
    assert rate == 44_100
    assert 20 * np.log10(np.abs(x).max()) == pytest.approx(-1, abs=0.01)
    assert np.argmax(np.abs(x) > np.abs(x).max() / 100) == pytest.approx(0.005 * rate, abs=1)
    assert len(x) == pytest.approx(1.005 * rate, rel=1e-3)
    assert max(abs(x[0]), abs(x[-1])) < 1e-4
    assert np.fft.rfftfreq(len(x), 1 / rate)[np.abs(np.fft.rfft(x)).argmax()] == pytest.approx(440, abs=1)


@pytest.mark.parametrize("waveform", [np.zeros(400, np.float32), np.ones(3, np.float32), np.zeros(0, np.float32)])
def test_a_ready_wav_of_silence_or_of_a_few_samples_is_finite(waveform: np.ndarray) -> None:
    assert np.isfinite(ready(Sound(lambda: waveform, 8000, len(waveform) / 8000)).waveform).all()


def test_a_midi_file_holds_the_notes(tmp_path: Path) -> None:
    save(NOTES, RECIPE, tmp_path / "a.mid")
    (piano,) = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments
    assert [(n.pitch, n.velocity) for n in piano.notes] == [(60, 64), (64, 90)]


def test_a_png_is_a_picture() -> None:
    with Image.open(io.BytesIO(encode(MEL, RECIPE, "png"))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_an_npz_holds_the_waveform_and_the_log_mel(tmp_path: Path) -> None:
    save(MEL, RECIPE, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["waveform"], WAVEFORM)
        np.testing.assert_array_equal(arrays["log_mel"], MEL.log_mel.values)  # type: ignore[union-attr]


def test_a_sound_without_notes_is_not_saved_as_midi(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="makes no notes"):
        save(MEL, RECIPE, tmp_path / "a.mid")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(NOTES, RECIPE, tmp_path / "a.json")
    before = (tmp_path / "a.json").read_bytes()

    def full(self: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save(NOTES, Recipe("other"), tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("content", [b"", b"garbage" * 50])
def test_an_error_names_a_broken_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / f"bad.{name}"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=rf"bad\.{name}"):
        read_recipe(path)


def test_a_file_of_another_program_holds_no_recipe(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 8000, WAVEFORM)
    with pytest.raises(RecipeError, match="holds no recipe"):
        read_recipe(tmp_path / "a.wav")


def test_a_json_with_unknown_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"model": "m", "volume": 11}))
    with pytest.raises(RecipeError, match="no field volume"):
        read_recipe(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "toy-low-seed0007"),
        ({"truncation": 0.7}, "toy-low-seed0007-trunc0.7"),
        ({"offsets": (("pc1", 1.5), ("z3", -2.0))}, "toy-low-seed0007-pc1+1.5-z3-2"),
        ({"settings": (("timbre", "square"),)}, "toy-low-seed0007-square"),
        ({"label_b": "high", "blend": 0.25}, "toy-low-seed0007-high-blend0.25"),
        ({"seed_b": 8, "t": 0.5, "path": "line"}, "toy-low-seed0007-to0008-t0.5-line"),
    ],
)
def test_a_name_tells_what_is_not_as_usual(engine: Engine, changes: dict[str, Any], name: str) -> None:
    assert stem(engine, engine.complete(Recipe("toy", seed=7, **changes)).recipe) == name


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("names")
    write(folder)
    return Engine(folder)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-4, 4)), max_size=6), st.floats(0, 2), st.floats(0, 2))
def test_names_tell_places_apart(engine: Engine, moves: Any, one: float, other: float) -> None:
    offsets = tuple((f"z{k}", x) for k, x in moves)
    recipes = [
        engine.complete(Recipe("toy", offsets=given_, truncation=truncation)).recipe
        for given_ in (offsets, offsets[1:])
        for truncation in (one, other)
    ]
    assert len({stem(engine, recipe) for recipe in recipes}) == len(set(recipes))
    assert all(len(stem(engine, recipe)) < 200 for recipe in recipes)


def test_a_file_of_other_content_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "toy-t0.5.ready.wav"
    written = [save(NOTES, Recipe("m", seed=seed), path).name for seed in (1, 2, 2, 3, 1)]
    assert written == [f"toy-t0.5{number}.ready.wav" for number in ("", "-2", "-2", "-3", "")]
    assert read_recipe(path).seed == 1
    assert len(list(tmp_path.iterdir())) == 3

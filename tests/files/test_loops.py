"""Parts of a sound as seamless loops."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from toy import write

from explorer.engine import Engine
from explorer.files import formats, loops
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Sound

RATE = 8000
GET_INSTRUMENT = 0x10D0  # libsndfile's SFC_GET_INSTRUMENT


def sounding(waveform: np.ndarray) -> Sound:
    return Sound(lambda: waveform.astype(np.float32), RATE, len(waveform) / RATE)


def sampler_loop(path: Path) -> tuple[int, int, int]:
    """MIDI note, first sample and last sample of a WAV file's only loop, as libsndfile reads them."""
    memory = sf._ffi.new("int[68]")  # SF_INSTRUMENT: gain, six bytes of note and ranges, number of loops, the loops
    with sf.SoundFile(path) as file:
        assert sf._snd.sf_command(file._file, GET_INSTRUMENT, memory, sf._ffi.sizeof(memory))
    _, note, _, count, _, first, end, *_ = memory
    assert count == 1
    return note & 0xFF, first, end - 1


@pytest.mark.parametrize("kind", ["falling tone", "noise", "steps"])
def test_a_loop_has_no_larger_jump_at_its_seam_than_its_sound(kind: str) -> None:
    time, rng = np.arange(RATE) / RATE, np.random.RandomState(0)
    waveform = {
        "falling tone": 0.9 * np.exp(-2 * time) * np.sin(2 * np.pi * 437 * time),
        "noise": rng.uniform(-0.5, 0.5, RATE),
        "steps": np.sin(2 * np.pi * 90 * time) * np.where(time < 0.5, 0.2, 0.9),
    }[kind]
    for start, end in ((0.0, 1.0), (0.21, 0.63), (0.0, 0.05), (0.4, 0.97), (0.5, 0.52)):
        cut = loops.cut_loop(sounding(waveform), start, end)
        before = max(cut.start - round(loops.FADE * RATE), 0)  # with what precedes it
        recorded = np.abs(np.diff(waveform[before : cut.end])).max()
        assert abs(cut.waveform[0] - cut.waveform[-1]) <= 1.01 * recorded
        assert abs(len(cut.waveform) / RATE - (end - start)) <= 2 * loops.SNAP + loops.FADE


def test_a_loop_of_a_steady_tone_is_that_tone_without_end() -> None:
    time = np.arange(RATE) / RATE
    cut = loops.cut_loop(sounding(0.5 * np.sin(2 * np.pi * 200 * time)), 0.3003, 0.6009)
    assert len(cut.waveform) == (round(0.6 * RATE) - round(0.3 * RATE))  # 60 periods
    repeated = np.tile(cut.waveform, 3)
    expected = 0.5 * np.sin(2 * np.pi * 200 * np.arange(len(repeated)) / RATE)
    assert repeated == pytest.approx(expected, abs=1e-3)


def test_the_file_of_a_loop_tells_samplers_to_repeat_all_of_it(tmp_path: Path) -> None:
    write(tmp_path)
    engine = Engine(tmp_path)
    place = engine.complete(Recipe("toy", seed=3))
    cut = loops.cut_loop(engine.render(place), 0.1, 0.4)
    path = tmp_path / loops.name(engine, place, cut)
    path.write_bytes(loops.encode(engine, place, cut))
    samples, rate = sf.read(path, dtype="int16")
    assert (samples == formats.pcm16(cut.waveform)).all()
    assert (rate, sampler_loop(path)) == (RATE, (60, 0, len(samples) - 1))
    assert formats.read_recipe(path) == place.recipe


@pytest.mark.parametrize(
    ("start", "end"), [(0.5, 0.5), (0.5, 0.51), (0.6, 0.4), (-0.1, 0.5), (0, 1.5), (float("nan"), 1), (None, 1)]
)
def test_a_part_that_is_no_loop_is_refused_in_a_sentence(start: float, end: float) -> None:
    with pytest.raises(RecipeError, match=r"a loop takes|start must|end must"):
        loops.cut_loop(sounding(np.zeros(RATE)), start, end)

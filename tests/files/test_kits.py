"""Files of kits: a loop that is exact to the sample, a pattern, and hits for a sampler. Each gives the kit back."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
import soundfile as sf
from test_kit import with_row
from toy import write
from toy_keys import write as write_keys

from explorer import checkpoint
from explorer.engine import Engine
from explorer.files import formats, kits
from explorer.generators import FAMILIES
from explorer.generators.pianogan import PianoGANConfig
from explorer.kit import PADS, STEPS, Kit
from explorer.kit import new as kit_of
from explorer.recipe import RecipeError
from explorer.sound.base import Sound

RATE = 8000
EMPTY = replace(kit_of("toy", ()), beat=(0,) * PADS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder)
    return Engine(folder)


@pytest.fixture(scope="module")
def kit(engine: Engine) -> Kit:
    return kits.new(engine, "toy")


def sound(samples: np.ndarray, rate: int = RATE) -> Sound:
    return Sound(lambda: samples.astype(np.float32), rate, len(samples) / rate)


def click(amplitude: float, silence: int = 0) -> Sound:
    return sound(np.append(np.zeros(silence), amplitude))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("tempo", "swing"), [(120, 50), (97.3, 50), (174, 66), (300, 75), (30, 58)])
def test_every_hit_of_a_loop_is_at_its_sample(tempo: float, swing: float, rate: int) -> None:
    kit = replace(with_row(EMPTY, 0, "x" * STEPS), tempo=tempo, swing=swing)
    waveform = kits.loop(kit, [sound(np.ones(1), rate)] * PADS).waveform
    pair = 30 / tempo
    expected = [round((i // 2 * pair + i % 2 * pair * swing / 100) * rate) for i in range(STEPS)]
    assert np.flatnonzero(waveform).tolist() == expected
    assert len(waveform) == round(240 / tempo * rate)


def test_silence_before_a_sound_does_not_delay_its_hit() -> None:
    kit = with_row(EMPTY, 1, "....x...........")
    waveform = kits.loop(kit, [click(0.5, silence=2000)] * PADS).waveform
    assert np.flatnonzero(waveform).tolist() == [round(kit.onset(4) * RATE)]


def test_what_sounds_at_the_end_of_a_loop_goes_on_at_its_start() -> None:
    kit = replace(with_row(EMPTY, 0, "...............x"), tempo=120)
    ramp = np.linspace(0.5, 0.1, RATE)
    waveform = kits.loop(kit, [sound(ramp)] * PADS).waveform
    np.testing.assert_allclose(np.roll(waveform, RATE // 8)[:RATE], ramp, atol=1e-6)
    assert np.count_nonzero(waveform) == RATE


def test_a_hit_of_the_choke_group_cuts_the_one_before_it_within_five_milliseconds() -> None:
    kit = with_row(with_row(EMPTY, 2, "....x..........."), 3, "x...............")
    held, silent = sound(np.full(RATE, 0.5)), sound(np.zeros(RATE))
    cut = round(kit.onset(4) * RATE)
    for choke, after in (((), 0.5), ((3, 4), 0.0)):
        waveform = kits.loop(replace(kit, choke=choke), [*[held] * 2, silent, *[held] * 5]).waveform
        assert waveform[cut - 1] == 0.5
        assert waveform[cut + RATE // 200] == after


def test_a_loop_beyond_full_scale_is_scaled_down_to_it() -> None:
    kit = with_row(with_row(EMPTY, 0, "x..............."), 1, "x...x...........")
    waveform = kits.loop(kit, [click(0.8)] * PADS).waveform
    assert waveform[np.flatnonzero(waveform)].tolist() == pytest.approx([1, 0.5])


def test_the_pattern_has_the_steps_of_the_beat_on_the_drum_channel(engine: Engine, kit: Kit, tmp_path: Path) -> None:
    kit = replace(kit, tempo=93, swing=62)
    kits.write(engine, kit, tmp_path / "pattern.mid")
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "pattern.mid"))
    (drums,) = midi.instruments
    assert drums.is_drum
    assert midi.get_tempo_changes()[1] == pytest.approx([93], abs=1e-3)
    tick = 60 / 93 / midi.resolution
    heard = [(note.start, note.pitch) for note in drums.notes]
    expected = sorted((kit.onset(step), kit.notes()[pad]) for step, pad in kit.strikes())
    assert [pitch for _, pitch in sorted(heard)] == [pitch for _, pitch in expected]
    np.testing.assert_allclose(sorted(t for t, _ in heard), [t for t, _ in expected], atol=tick)
    assert mido.MidiFile(tmp_path / "pattern.mid").length == pytest.approx(kit.bar, abs=tick)  # whole bars repeat


def test_the_hits_for_a_sampler_are_the_sounds_of_the_pads_on_their_notes(
    engine: Engine, kit: Kit, tmp_path: Path
) -> None:
    kits.write(engine, replace(kit, choke=(3, 4)), tmp_path / "hits.zip")
    with zipfile.ZipFile(tmp_path / "hits.zip") as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    regions = [
        dict(pair.split("=") for pair in line.split()[1:])
        for line in (tmp_path / "kit.sfz").read_text().splitlines()
        if line.startswith("<region>")
    ]
    assert [int(region["key"]) for region in regions] == list(kit.notes())
    for region, pad in zip(regions, kit.pads, strict=True):
        assert re.fullmatch(r"[\w.+-]+", region["sample"])
        assert formats.read_recipe(tmp_path / region["sample"]) == pad
        samples, rate = sf.read(tmp_path / region["sample"], dtype="float32")
        np.testing.assert_allclose(samples, engine.render(pad).waveform, atol=1 / 32768)
        assert rate == RATE
    groups = [region["group"] for region in regions]
    assert groups[2] == groups[3]
    assert len(set(groups)) == PADS - 1
    assert [region["off_by"] for region in regions] == groups


@pytest.mark.parametrize("name", kits.FORMATS)
def test_every_file_gives_the_kit_back_and_has_the_same_bytes_again(
    engine: Engine, kit: Kit, tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"kit.{name}"
    kits.write(engine, kit, path)
    assert formats.read_saved(path) == kit
    assert kits.encode(engine, kit, name) == path.read_bytes()
    with pytest.raises(RecipeError, match=rf"kit\.{name}: holds a kit of 8 sounds"):
        formats.read_recipe(path)


def test_a_folder_of_hits_gives_the_kit_back(engine: Engine, kit: Kit, tmp_path: Path) -> None:
    assert kits.write_hits(engine, kit, tmp_path) == len(list(tmp_path.iterdir())) == PADS + 2
    assert formats.read_saved(tmp_path / "kit.json") == kit


def test_a_kit_with_a_value_out_of_range_in_a_file_is_refused_by_name(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({**kit.to_dict(), "tempo": 1e9}))
    with pytest.raises(RecipeError, match=r"bad\.json: tempo must be between 30 and 300"):
        formats.read_saved(tmp_path / "bad.json")


@pytest.mark.parametrize("name", ["wav", "mid"])
def test_an_empty_beat_cannot_be_saved(engine: Engine, kit: Kit, name: str) -> None:
    with pytest.raises(ValueError, match="the beat is empty"):
        kits.encode(engine, replace(kit, beat=(0,) * PADS), name)


def test_an_unknown_label_is_refused_by_the_number_of_its_pad(engine: Engine, kit: Kit) -> None:
    pads = (*kit.pads[:4], replace(kit.pads[4], label="cow"), *kit.pads[5:])
    with pytest.raises(RecipeError, match=r"pad 5: .* no register 'cow'"):
        kits.encode(engine, replace(kit, pads=pads), "zip")


def test_sounds_that_are_too_long_for_pads_are_refused_before_they_are_made(tmp_path: Path) -> None:
    config = PianoGANConfig(latent_size=32, code_size=16, width=16, blocks=3, decoder_width=16)
    checkpoint.save(tmp_path / "piano.safetensors", FAMILIES["pianogan"](config).eval())
    with pytest.raises(RecipeError, match="a pad plays sounds of up to 2 s"):
        kits.new(Engine(tmp_path), "piano")


def test_the_pads_of_an_instrument_are_a_chord(tmp_path: Path) -> None:
    write_keys(tmp_path)
    labels = [pad.label for pad in kits.new(Engine(tmp_path), "keys").pads]
    assert labels == ["C3", "E3", "G3", "C4", "E4", "G4", "C5", "C3"]  # the last one is another seed

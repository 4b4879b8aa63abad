"""Songs and instruments of models that have keys: what they hold, and how they sound."""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from toy import write as write_toy
from toy_keys import SAMPLE_RATE, write

from explorer.__main__ import main
from explorer.engine import Engine
from explorer.files import formats, instruments, readers
from explorer.files.instruments import Piece
from explorer.recipe import Recipe, RecipeError
from explorer.song import MidiFile, Song
from explorer.sound import midi
from explorer.sound.base import Note

SCALE = tuple(Note(pitch, 0.5 * i, 0.5, 100) for i, pitch in enumerate(range(40, 80, 4)))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder)
    write(folder, "plucked", decay=4.0)
    write_toy(folder)
    return Engine(folder)


@pytest.fixture(scope="module")
def timbre(engine: Engine) -> Recipe:
    return instruments.complete(engine, Recipe("keys", seed=3, label="C4", label_b="A4", blend=0.5))


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    path = tmp_path / "scale.mid"
    midi.write_midi(SCALE, path)
    return path


def cents(waveform: np.ndarray, pitch: int, rate: int) -> float:
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), size))
    strongest = spectrum.argmax() * rate / size
    return float(1200 * np.log2(strongest / (440 * 2 ** ((pitch - 69) / 12))))


def test_a_midi_file_is_played_in_tune_at_one_level_and_both_recipes_travel(
    engine: Engine, timbre: Recipe, scale: Path, tmp_path: Path
) -> None:
    piece = instruments.read_piece(engine, scale)
    moved = instruments.write_song(engine, timbre, piece, tmp_path / "song.wav")
    waveform, rate = sf.read(tmp_path / "song.wav")
    assert (moved, rate) == (3, SAMPLE_RATE)  # 40 and 44 are below the keys, 76 is above
    heard = [waveform[round((0.5 * i + 0.1) * rate) : round((0.5 * i + 0.5) * rate)] for i in range(10)]
    keys = [52, 56, 48, 52, 56, 60, 64, 68, 72, 64]
    assert max(abs(cents(part, key, rate)) for part, key in zip(heard, keys, strict=True)) < 2
    levels = 20 * np.log10([np.std(part) for part in heard])
    assert np.ptp(levels) < 3
    assert formats.read_saved(tmp_path / "song.wav") == Song(timbre, piece.source)
    assert isinstance(piece.source, MidiFile)
    assert piece.source.name == "scale.mid"


def test_the_piece_of_a_model_is_played_and_a_song_opens_as_both(
    engine: Engine, timbre: Recipe, tmp_path: Path
) -> None:
    piece = instruments.piece_of(engine, Recipe("toy", seed=5))
    instruments.write_song(engine, timbre, piece, tmp_path / "song.wav")
    assert instruments.read_piece(engine, tmp_path / "song.wav") == piece
    assert formats.read_recipe(tmp_path / "song.wav") == timbre
    sound, _ = instruments.song(engine, timbre, piece)
    assert formats.pcm16(sound.waveform).tobytes() in (tmp_path / "song.wav").read_bytes()


def test_a_saved_midi_file_is_its_recipe_unless_its_notes_were_changed(
    engine: Engine, timbre: Recipe, tmp_path: Path
) -> None:
    place, path = engine.complete(Recipe("toy", seed=5)), tmp_path / "a.mid"
    formats.save(engine.render(place), place.recipe, path)
    assert instruments.read_piece(engine, path).source == place.recipe
    notes = [replace(note, pitch=note.pitch + 1) for note in engine.render(place).notes or ()]
    midi.write_midi(notes, path, place.recipe.to_json())
    assert isinstance(instruments.read_piece(engine, path).source, MidiFile)


@pytest.mark.parametrize("piece", [Recipe("toy", seed=3), MidiFile("Für Elise.mid", "0" * 64)])
def test_a_song_is_read_back_from_its_json(piece: Recipe | MidiFile) -> None:
    song = Song(Recipe("keys", seed=3, offsets=(("pc1", 1.5),)), piece)
    assert Song.from_dict(json.loads(song.to_json())) == song


@pytest.mark.parametrize(
    "piece", [None, 3, {}, {"midi": ""}, {"midi": 3, "sha256": "0" * 64}, {"midi": "a", "sha256": "x", "more": 1}]
)
def test_a_song_whose_piece_means_nothing_is_refused(piece: object) -> None:
    with pytest.raises(RecipeError):
        Song.from_dict({"model": "keys", "piece": piece})


def test_models_without_keys_or_notes_are_refused(engine: Engine, timbre: Recipe) -> None:
    with pytest.raises(RecipeError, match="'toy' has no keys"):
        instruments.complete(engine, Recipe("toy"))
    with pytest.raises(RecipeError, match="'keys' makes no notes"):
        instruments.piece_of(engine, timbre)
    with pytest.raises(RecipeError, match="no notes"):
        instruments.song(engine, timbre, Piece((), MidiFile("a.mid", "0" * 64)))


def test_the_command_plays_a_file_and_a_link(
    engine: Engine, scale: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--with", "?model=keys&seed=3", "--checkpoints", str(engine.folder), "--out", str(tmp_path / "out.wav")]
    assert main(["play", str(scale), *options]) == 0
    assert capsys.readouterr().out.endswith("out.wav: 10 notes; 3 outside of the keys were moved by octaves\n")
    assert main(["play", "?model=toy&seed=5", *options]) == 0
    assert json.loads(readers.find_recipe(tmp_path / "out.wav"))["piece"]["seed"] == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a MIDI file"), (b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "this piece has no notes")],
)
def test_a_bad_midi_file_is_one_clear_line(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (tmp_path / "bad.mid").write_bytes(content)
    options = ["--with", "?model=keys", "--checkpoints", str(engine.folder), "--out", str(tmp_path / "out.wav")]
    assert main(["play", str(tmp_path / "bad.mid"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.wav").exists()


def regions(text: str) -> Iterator[dict[str, str]]:
    """The regions of an .sfz, each with the opcodes of its group; anything else is no .sfz of ours."""
    shared: dict[str, str] = {}
    for line in filter(None, re.sub("//.*", "", text).split("\n")):
        assert re.fullmatch(r"<(group|region)>( [a-z_]+=[\w.-]+)+", line), line
        opcodes = dict(re.findall(r"([a-z_]+)=(\S+)", line))
        if line.startswith("<group>"):
            shared = opcodes
        else:
            yield {**shared, **opcodes}


def sampled(folder: Path, region: dict[str, str], key: int, seconds: float) -> np.ndarray:
    """What a sampler plays for a key, held for some time: resampled from the key's centre, with its loop."""
    waveform, rate = sf.read(folder / region["sample"])
    at = np.arange(round(seconds * rate)) * 2 ** ((key - int(region["pitch_keycenter"])) / 12)
    if region["loop_mode"] == "loop_continuous":
        start, end = int(region["loop_start"]), int(region["loop_end"]) + 1
        at = np.where(at < end, at, start + (at - start) % (end - start))
    return np.interp(at, np.arange(len(waveform)), waveform, right=0)


@pytest.mark.parametrize("name", ["keys", "plucked"])
def test_a_sampler_plays_an_instrument_in_tune_at_one_level(engine: Engine, name: str, tmp_path: Path) -> None:
    recipe = Recipe(name, seed=3, seed_b=4, t=0.5)
    assert instruments.write_instrument(engine, recipe, tmp_path) == 25 + 2
    found = list(regions((tmp_path / "instrument.sfz").read_text(encoding="utf-8")))
    on = [key for region in found for key in range(int(region["lokey"]), int(region["hikey"]) + 1)]
    assert sorted(on) == list(range(128))
    levels = []
    for region, key in zip(found, range(48, 73), strict=True):
        assert region["pitch_keycenter"] == str(key)
        assert (region["loop_mode"] == "loop_continuous") == (name == "keys")
        heard = sampled(tmp_path, region, key, 3.0)
        assert abs(cents(heard, key, SAMPLE_RATE)) < 2
        assert (np.std(heard[-SAMPLE_RATE:]) > 0.05) == (name == "keys")
        levels.append(20 * np.log10(np.std(heard[:2000])))
    assert np.ptp(levels) < 3
    assert np.abs(heard).max() < 1


def test_the_wav_of_a_key_holds_its_note_its_loop_and_its_recipe(
    engine: Engine, timbre: Recipe, tmp_path: Path
) -> None:
    files = dict(instruments.samples(engine, timbre))
    data = files["061-Cs4.wav"]
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    at = data.index(b"smpl")
    period, note = struct.unpack_from("<2I", data, at + 16)
    start, end = struct.unpack_from("<2I", data, at + 8 + 36 + 8)
    (region,) = (r for r in regions(files["instrument.sfz"].decode()) if r["sample"] == "061-Cs4.wav")
    assert (period, note) == (125_000, 61)
    assert (start, end) == (int(region["loop_start"]), int(region["loop_end"]))
    (tmp_path / "a.wav").write_bytes(data)
    assert len(sf.read(tmp_path / "a.wav")[0]) == end + 1
    assert formats.read_recipe(tmp_path / "a.wav") == replace(timbre, label="C#4")


def test_an_instrument_opens_again_as_its_timbre(engine: Engine, tmp_path: Path) -> None:
    timbre = instruments.complete(engine, Recipe("keys", seed=3, seed_b=4, t=0.5))
    (tmp_path / "a.zip").write_bytes(formats.zipped(instruments.samples(engine, timbre)))
    assert formats.read_recipe(tmp_path / "a.zip") == timbre


def test_the_command_writes_an_instrument(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--checkpoints", str(engine.folder), "--out", str(tmp_path / "out")]
    assert main(["instrument", "keys", "--seed", "7", *options]) == 0
    assert formats.read_recipe(tmp_path / "out" / "instrument.json").seed == 7
    for argv, said in ((["toy"], "'toy' has no keys"), (["keys", "--seed", "0-3"], "one timbre")):
        assert main(["instrument", *argv, *options]) == 2
        assert said in capsys.readouterr().err

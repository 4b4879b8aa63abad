"""Songs and instruments of models that have keys: what they hold, and how they sound."""

import json
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
    assert formats.pcm16(sound).tobytes() in (tmp_path / "song.wav").read_bytes()


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

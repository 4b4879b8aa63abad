"""Whatever a stranger's file holds, it is read, or refused in one sentence that names it, in bounded time and memory.

Recipes inside files are read in tests/files/test_readers.py too. A longer search than that of CI:
`pytest tests/test_any_file.py --hypothesis-profile=thorough`.
"""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import mido
import numpy as np
import pytest
import soundfile as sf
from hostile import TEXTS, damaged, damaged_bytes
from hypothesis import given
from hypothesis import strategies as st
from mido.midifiles.meta import encode_variable_int
from soundfonts import TestPreset, Zone, kit, soundfont_bytes, tone
from test_architecture import ROOT
from toy import make, write
from toy_keys import write as write_keys

from explorer import checkpoint, shelf
from explorer import kit as kits
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import formats, gallery, instruments
from explorer.files.gallery import NamedRecipe
from explorer.recipe import Recipe, RecipeError
from explorer.song import MidiFile, Song
from explorer.sound import level, midi
from explorer.sound.base import Note
from explorer.ui import models, places
from training.data.drum_kits import DrumKits
from training.data.files import read_content
from training.data.inventory import Unusable
from training.data.midi import read_notes
from training.data.one_shots import drum_of, one_shots
from training.data.pitched import MelodicPresets, notes, pitch_of, source_of
from training.data.recordings import read_audio, recording

RECIPE = Recipe("toy", seed=3, seed_b=9, t=0.5, offsets=(("z0", 2.0),), label="high", settings=(("timbre", "square"),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    write(folder)
    write_keys(folder, lowest=59, highest=62)
    return Engine(folder)


def assert_sentence(error: Exception) -> None:
    assert 0 < len(str(error)) < 1000
    assert "\n" not in str(error)


def assert_names(error: Exception, path: Path) -> None:
    """The message is one short sentence that begins with the file's name, and does not tell its folder."""
    assert_sentence(error)
    assert str(error).startswith(f"{path.name}: ")
    assert str(path.parent) not in str(error)


# Files that the app opens.

SAVED: dict[str, dict[str, Any]] = {
    "recipe": RECIPE.to_dict(),
    "kit": kits.new("toy", ("low", "high")).to_dict(),
    "song": Song(Recipe("keys"), RECIPE).to_dict(),
    "song of a file": Song(Recipe("keys"), MidiFile("a.mid", "0" * 64)).to_dict(),
    "instrument": {**Recipe("keys").to_dict(), "instrument": "instrument.sfz"},
    "places": json.loads(gallery.dumps([NamedRecipe("one", RECIPE, "2026"), NamedRecipe("two", Recipe("cats"))])),
}


def carrying(suffix: str, text: str) -> bytes:
    """A file with a text where the app puts recipes."""
    stream = io.BytesIO()
    if suffix == "mid":
        midi.write_midi((Note(60, 0, 1, 64),), stream, text)
    elif suffix == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("last.json", text)
    elif suffix == "npz":
        np.savez(stream, recipe=np.array(text))
    else:
        return text.encode()
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["json", "mid", "npz", "zip"])
@pytest.mark.parametrize("kind", SAVED)
@given(data=st.data())
def test_any_content_of_a_saved_file_is_opened_or_refused(
    engine: Engine, folder: Path, suffix: str, kind: str, data: st.DataObject
) -> None:
    path = folder / f"saved.{suffix}"
    path.write_bytes(carrying(suffix, json.dumps(data.draw(damaged(SAVED[kind])))))
    for read in (formats.read_saved, lambda path: places.read_places(engine, path)):
        try:
            read(path)
        except RecipeError as error:
            assert_names(error, path)


def song(*tracks: bytes, ticks: int = 480) -> bytes:
    chunks = b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks)
    return b"MThd" + b"\0\0\0\6\0\1" + len(tracks).to_bytes(2, "big") + ticks.to_bytes(2, "big") + chunks


@st.composite
def tracks(draw: st.DrawFn) -> bytes:
    """A track of events with any numbers, all of them legal in a MIDI file."""
    times = st.sampled_from([0, 1, 100, 9999, (1 << 28) - 1])
    byte, channel = st.integers(0, 127), st.integers(0, 15)
    events = st.one_of(
        st.builds(mido.Message, st.sampled_from(["note_on", "note_off"]), channel=channel, note=byte, velocity=byte),
        st.builds(mido.Message, st.just("control_change"), channel=channel, control=byte | st.just(64), value=byte),
        st.builds(mido.Message, st.just("program_change"), channel=channel, program=byte),
        st.builds(mido.Message, st.just("sysex"), data=st.lists(byte, max_size=4)),
        st.builds(mido.MetaMessage, st.just("set_tempo"), tempo=st.sampled_from([0, 1, 500_000, (1 << 24) - 1])),
        st.builds(mido.MetaMessage, st.just("time_signature"), numerator=st.integers(0, 255)),
        st.builds(mido.MetaMessage, st.just("text"), text=st.text(st.characters(codec="latin-1"), max_size=5)),
        st.builds(mido.MetaMessage, st.just("end_of_track")),
    )
    return b"".join(
        bytes([*encode_variable_int(draw(times)), *event.bytes()]) for event in draw(st.lists(events, max_size=12))
    )


@given(data=st.lists(tracks(), max_size=3).map(lambda all_of: song(*all_of)) | damaged_bytes(carrying("mid", "{}")))
def test_any_midi_file_is_a_piece_or_refused(engine: Engine, folder: Path, data: bytes) -> None:
    path = folder / "any.mid"
    path.write_bytes(data)
    timbre = instruments.complete(engine, Recipe("keys"))
    try:
        piece = instruments.read_piece(engine, path)
    except RecipeError as error:
        assert_names(error, path)
        return
    assert all(0 <= n.pitch <= 127 and 0 <= n.velocity <= 127 and 0 <= n.onset < 1e7 for n in piece.notes)
    try:
        played = instruments.song(engine, timbre, piece)[0]
    except RecipeError as error:
        assert_sentence(error)
        return
    if played.seconds < 60:
        assert np.isfinite(played.waveform).all()


# Checkpoints, and the cards beside them.


@given(data=st.data())
def test_any_metadata_of_a_checkpoint_is_loaded_or_refused(folder: Path, data: st.DataObject) -> None:
    path = folder / "any.safetensors"
    checkpoint.save(path, make(), provenance={"step": 3})
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))  # each time in another order
    new = json.dumps(data.draw(damaged(header))).encode("utf-8", "surrogatepass")
    path.write_bytes(len(new).to_bytes(8, "little") + new + whole[8 + size :])
    for read in (checkpoint.load, shelf.read_card, checkpoint.read_metadata):
        try:
            read(path)
        except CheckpointError as error:
            assert_names(error, path)
    path.unlink()


@given(text=st.text() | st.from_regex(models.LICENCE) | st.from_regex(level.ROW) | st.from_regex(r"(\| [a-z. ]+ ){4}"))
def test_any_card_describes_a_checkpoint_or_not(engine: Engine, folder: Path, text: str) -> None:
    (folder / "toy.md").write_text(text, encoding="utf-8", errors="replace")
    (about,) = (about for about in models.described(engine) if about["name"] == "toy")
    assert all(isinstance(value, str) and len(value) < 500 for value in about.values())
    found = shelf.read_level(folder / "toy.safetensors")
    assert found is None or np.isfinite(found.gain)
    (folder / "toy.md").unlink()


def test_a_hostile_card_costs_seconds_of_cpu(folder: Path) -> None:
    card = folder / "hostile.md"
    card.write_text("| licence of the weights | " + " " * 900_000 + "x\n" + "| licence of the weights | .. , " * 3000)
    program = (
        "import resource, sys; from pathlib import Path; from explorer.ui.models import LICENCE\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "print(LICENCE.search(Path(sys.argv[1]).read_text()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, card], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("<re.Match"), done.stderr


# Files of the trainers.


def sound(form: str, subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, 0.5 * np.sin(np.arange(4000) / 7), 8000, format=form, subtype=subtype)
    return stream.getvalue()


FORMATS = ("WAV", "FLAC", "AIFF", "OGG", "MP3", "CAF", "AU", "W64", "VOC")


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_any_recording_is_read_or_refused(folder: Path, form: str, data: st.DataObject) -> None:
    path = folder / f"any.{form.lower()}"
    path.write_bytes(data.draw(damaged_bytes(sound(form))))
    rules = ((one_shots(2048), 2048), (notes(2048), 2048))
    readers: list[Callable[[], Any]] = [lambda: [read_audio(path, 16_000)]]
    for rule, size in rules:

        def windows(rule: Any = rule, size: int = size) -> Any:
            with recording(path, read_content(path)) as file:
                return list(rule.windows(file, 8000, size))

        readers.append(windows)
    for read in readers:
        try:
            assert all(isinstance(part, str) or np.isfinite(part).all() for part in read())
        except Unusable as error:
            assert_sentence(error)


FONT = soundfont_bytes(
    [kit(), TestPreset(0, 5, [Zone((0, 127), tone(262, 0.3), {54: 1, 8: 5000, 48: 90, 36: 100}, loop=(400, 8000))])]
)
LISTS = len(FONT) - FONT.rindex(b"pdta")


@given(data=damaged_bytes(FONT) | damaged_bytes(FONT[-LISTS:]).map(lambda end: FONT[:-LISTS] + end))
def test_any_soundfont_is_played_or_refused(folder: Path, data: bytes) -> None:
    path = folder / "any.sf2"
    path.write_bytes(data)
    for collection in (DrumKits(), MelodicPresets()):
        try:
            for part in collection.parts(path)[:2]:
                with collection.open(path, part.name, read_content(path)) as opened:
                    assert np.isfinite(opened.read(2000, dtype="float32", always_2d=True)).all()
        except Unusable as error:
            assert_sentence(error)


@given(data=st.lists(tracks(), max_size=3).map(lambda all_of: song(*all_of)) | damaged_bytes(carrying("mid", "{}")))
def test_any_midi_file_is_notes_to_train_on_or_refused(folder: Path, data: bytes) -> None:
    path = folder / "train.mid"
    path.write_bytes(data)
    try:
        read_notes(path)
    except Unusable as error:
        assert_sentence(error)


@given(name=TEXTS | st.from_regex(r"[a-z]+_(acoustic|synthetic)_\d{3}-\d{3}-\d{3}") | st.text("aCG#b-_ 0123456789"))
def test_any_name_of_a_recording_says_a_pitch_a_drum_or_nothing(name: str) -> None:
    pitch = pitch_of(name)
    assert pitch is None or 0 <= pitch <= 127
    assert drum_of(name) is None or drum_of(name)
    assert ": " in source_of(PurePosixPath(f"{name.replace('/', '')}x.wav"))

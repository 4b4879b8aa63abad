"""Models whose condition is a pitch, as instruments: their keys, pieces played with them, and files for samplers.

    >>> timbre = engine.complete(Recipe("timbres", seed=7)).recipe
    >>> piece = read_piece(engine, Path("piece.mid"))
    >>> write_song(engine, timbre, piece, Path("song.wav"))

Every file contains its recipes, so the app opens it again. Equal recipes and notes give equal bytes.
"""

import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from explorer import atomic
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine, cores
from explorer.files import formats
from explorer.model import Model
from explorer.recipe import MAX_NAME, Recipe, RecipeError
from explorer.song import MidiFile, Song
from explorer.sound import instrument, midi, synth
from explorer.sound.base import Note, Sound, note_pitch
from explorer.sound.instrument import MAX_NOTES, PEAK, Tone


@dataclass(frozen=True)
class Piece:
    """Notes, and where they are from."""

    notes: tuple[Note, ...]
    source: Recipe | MidiFile


def keys_of(model: Model) -> dict[int, str]:
    """The label of every key, by MIDI note number, in their order; {} if the model is none to be played by keys."""
    condition = model.generator.condition
    if condition is None or condition.kind != "pitch":
        return {}
    found = {note_pitch(label): label for label in condition.labels}
    return {} if None in found else {pitch: label for pitch, label in found.items() if pitch is not None}


def complete(engine: Engine, timbre: Recipe) -> Recipe:
    """Completes the recipe of a timbre: between two keys there is none.

    Raises:
        CheckpointError, RecipeError: as `Engine.complete`; also if the model has no keys.
    """
    recipe = engine.complete(replace(timbre, label_b=None, blend=0.0)).recipe
    if not keys_of(engine.model(recipe.model)):
        raise RecipeError(f"{recipe.model!r} has no keys: its sounds are not told which pitch to have")
    return recipe


def tones(engine: Engine, timbre: Recipe, pitches: Collection[int], decaying: bool = True) -> dict[int, Tone]:
    """The tones of some keys, computed on all cores.

    Args:
        timbre: completed by `complete`.
        pitches: MIDI note numbers.
        decaying: as of `explorer.sound.instrument.tone`.
    Raises:
        RecipeError: if there is no such key.
    """
    keys = keys_of(engine.model(timbre.model))
    if missing := sorted(set(pitches) - keys.keys()):
        raise RecipeError(f"{timbre.model!r} has no key {missing[0]}")

    def tone(pitch: int) -> Tone:
        sound = engine.render(replace(timbre, label=keys[pitch]))
        return instrument.tone(sound.waveform, sound.sample_rate, pitch, decaying)

    with ThreadPoolExecutor(min(cores(), max(len(pitches), 1))) as pool:
        contexts = [copy_context() for _ in pitches]  # `patiently` holds for the threads too
        return dict(
            zip(pitches, pool.map(lambda context, pitch: context.run(tone, pitch), contexts, pitches), strict=True)
        )


def piece_of(engine: Engine, recipe: Recipe) -> Piece:
    """The notes of a place. Raises RecipeError if its model makes none, and as `Engine.complete`."""
    place = engine.complete(recipe)
    notes = engine.render(place).notes
    if notes is None:
        raise RecipeError(f"{recipe.model!r} makes no notes to be played")
    return Piece(notes, place.recipe)


def read_piece(engine: Engine, path: Path) -> Piece:
    """The notes of a file: of a MIDI file, or of the recipe that another file holds.

    Raises:
        RecipeError: naming the file without its folder, if it is neither, or has too many notes.
        CheckpointError, RecipeError: as `piece_of`.
    """
    if path.suffix.lower() in (".mid", ".midi"):
        return _read_midi(engine, path)
    saved = formats.read_saved(path)
    source = saved.piece if isinstance(saved, Song) else saved
    if not isinstance(source, Recipe):
        raise RecipeError(f"{path.name}: holds no piece, and names none that is here")
    return piece_of(engine, source)


def _read_midi(engine: Engine, path: Path) -> Piece:
    try:
        notes = midi.read_midi(path, MAX_NOTES)
        digest = sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecipeError(f"{path.name}: cannot be read, {error.strerror}") from None
    except ValueError as error:
        raise RecipeError(str(error).replace(str(path), path.name)) from None
    try:
        piece = piece_of(engine, formats.read_recipe(path))
    except (RecipeError, CheckpointError):
        piece = None  # most files hold no recipe
    # Unless another program has changed the notes and kept the recipe.
    if piece is not None and [(n.pitch, n.velocity) for n in piece.notes] == [(n.pitch, n.velocity) for n in notes]:
        return piece
    return Piece(notes, MidiFile(path.name[-MAX_NAME:], digest))


def arranged(engine: Engine, timbre: Recipe, piece: Piece) -> tuple[tuple[Note, ...], int]:
    """The notes of a piece on the keys of an instrument, and how many of them were moved there by octaves.

    Args:
        timbre: completed by `complete`.
    Raises:
        RecipeError: if there are no notes, or too many, or no key of their name.
    """
    model = engine.model(timbre.model)
    try:
        instrument.length(piece.notes, model.generator.representation.sample_rate)
        return instrument.on_keys(piece.notes, keys_of(model))
    except ValueError as error:
        raise RecipeError(str(error)) from None


def song(engine: Engine, timbre: Recipe, piece: Piece) -> tuple[Sound, int]:
    """A piece played with a timbre, and how many of its notes were moved. Raises as `arranged`."""
    notes, moved = arranged(engine, timbre, piece)
    rate = engine.model(timbre.model).generator.representation.sample_rate

    def synthesize() -> np.ndarray:
        found = tones(engine, timbre, sorted({note.pitch for note in notes}))
        return instrument.play(notes, found, rate)

    return Sound(synthesize, rate, instrument.length(notes, rate) / rate, notes=notes), moved


def encode_song(sound: Sound, timbre: Recipe, piece: Piece) -> bytes:
    """The bytes of a song's WAV file."""
    return formats.FORMATS["wav"](sound, Song(timbre, piece.source).to_json())


def stem(engine: Engine, timbre: Recipe) -> str:
    """The name of an instrument's files, without suffix."""
    return formats.stem(engine, replace(timbre, label=None))


def song_stem(engine: Engine, timbre: Recipe, piece: Piece) -> str:
    """The name of a song's file, without suffix."""
    of = piece.source
    name = Path(of.name).stem if isinstance(of, MidiFile) else formats.stem(engine, of)
    return f"{formats.safe_name(name)}-by-{stem(engine, timbre)}"


def write_song(engine: Engine, timbre: Recipe, piece: Piece, path: Path) -> int:
    """Writes a song to a WAV file, completely or not at all; returns how many notes were moved. Raises as `song`."""
    sound, moved = song(engine, timbre, piece)
    atomic.write_bytes(path, encode_song(sound, timbre, piece))
    return moved


def samples(engine: Engine, timbre: Recipe) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files for a sampler: a WAV of each key, which contains its recipe, its note and its loop;
    instrument.sfz, which puts them on their keys; and instrument.json, which the app opens.

    All keys are equally loud. A sound that decays has no loop, since samplers repeat one at the same level.

    Args:
        timbre: completed by `complete`.
    """
    keys = keys_of(engine.model(timbre.model))
    found = tones(engine, timbre, keys, decaying=False)
    level = min(1.0, *(PEAK / max(tone.gain * float(np.abs(tone.samples).max()), 1e-9) for tone in found.values()))
    regions = [f"// {stem(engine, timbre)}"]
    regions.append(f"<group> ampeg_release={synth.RELEASE * synth.RELEASE_LENGTH:g}")
    for pitch, tone in found.items():
        name = f"{pitch:03}-{keys[pitch].replace('#', 's')}.wav"  # in an .sfz, # begins a directive
        waveform = tone.samples * np.float32(level * tone.gain)
        wav = formats.encode(_played(waveform, tone.sample_rate), replace(timbre, label=keys[pitch]), "wav")
        yield name, formats.with_loop(wav, tone.sample_rate, pitch, tone.loop)
        low = 0 if pitch == min(keys) else pitch
        high = 127 if pitch == max(keys) else pitch
        loop = f"loop_continuous loop_start={tone.loop[0]} loop_end={tone.loop[1] - 1}" if tone.loop else "no_loop"
        regions.append(f"<region> sample={name} lokey={low} hikey={high} pitch_keycenter={pitch} loop_mode={loop}")
    yield "instrument.sfz", ("\n".join(regions) + "\n").encode("utf-8")
    opened = {**timbre.to_dict(), "instrument": "instrument.sfz"}
    yield "instrument.json", (json.dumps(opened, ensure_ascii=False) + "\n").encode("utf-8")


def write_instrument(engine: Engine, timbre: Recipe, folder: Path) -> int:
    """Writes the files of `samples` into a folder and returns their number. Raises as `complete`."""
    return formats.write_all(samples(engine, complete(engine, timbre)), folder)


def _played(waveform: np.ndarray, sample_rate: int) -> Sound:
    return Sound(lambda: waveform, sample_rate, len(waveform) / sample_rate)

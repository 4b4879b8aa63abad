"""The server's part of the keys: the tones of an instrument, pieces for it, and its files."""

from pathlib import Path
from typing import Any

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.files import formats, instruments
from explorer.files.instruments import Piece
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Note
from explorer.sound.instrument import Tone
from explorer.ui import handlers
from explorer.ui.cache import FileCache
from explorer.ui.panels import Answer, ServerFunction, checked_list, saved, server_function

AT_ONCE = 2  # requests of all visitors
LIVE_SECONDS = 10.0  # that a key may wait to sound
TONES = 8  # in one request: few, so that a key that is pressed now waits for few others
SONG_SECONDS = 600.0  # of a song, whose WAV travels as one answer; the command line takes longer ones


class KeyServer:
    """The functions that the keys call. Every request comes from a browser and is checked here."""

    def __init__(self, engine: Engine, cache: FileCache) -> None:
        self._engine, self._cache = engine, cache

    def functions(self) -> tuple[ServerFunction, ...]:
        """The functions that the page can call."""
        return (
            server_function(self.tones, AT_ONCE, live_seconds=LIVE_SECONDS),
            server_function(self.piece_models, 1),
            server_function(self.piece, AT_ONCE),
            server_function(self.save_song, AT_ONCE),
            server_function(self.save_instrument, AT_ONCE),
        )

    def tones(self, request: Any) -> Answer:
        """Takes [recipe, up to TONES MIDI note numbers]; returns {"tones": […]} in the same order.

        Each tone has "pcm" as `handlers.show` sends it, and "loop", "decay" and "gain" of `explorer.sound.instrument`.
        """
        text, pitches = checked_list(request, 2)
        if not isinstance(pitches, list) or len(pitches) > TONES or not all(type(pitch) is int for pitch in pitches):
            raise ValueError(f"the keys must be a list of at most {TONES} MIDI note numbers")
        found = instruments.tones(self._engine, self._timbre(text), pitches)
        return {"tones": [_as_json(found[pitch]) for pitch in pitches]}

    def piece_models(self, _: Any) -> Answer:
        """Returns {"models": names of the checkpoints whose sounds have notes}."""
        return {"models": [name for name in self._engine.names() if self._makes_notes(name)]}

    def piece(self, request: Any) -> Answer:
        """Takes [recipe of the timbre, "recipe" or "file", a recipe or the path of an uploaded file]; returns {"notes":
        those on the keys of the instrument, as `handlers.show` sends them, "about": them in words}."""
        timbre, piece = self._both(request)
        notes, moved = instruments.arranged(self._engine, timbre, piece)
        return {"notes": handlers.packed_notes(notes), "about": _in_words(notes, moved)}

    def save_song(self, request: Any) -> Answer:
        """Takes what `piece` takes; returns {"name", "data": the WAV in base64}."""
        timbre, piece = self._both(request)
        sound, _ = instruments.song(self._engine, timbre, piece)
        if sound.seconds > SONG_SECONDS:
            raise RecipeError(
                f"this piece lasts {sound.seconds / 60:.0f} minutes; up to {SONG_SECONDS / 60:.0f} are saved here, "
                "longer ones by `python -m explorer play`"
            )
        data = instruments.encode_song(sound, timbre, piece)
        return saved(f"{instruments.song_stem(self._engine, timbre, piece)}.wav", data)

    def save_instrument(self, text: Any) -> Answer:
        """Takes a recipe; returns {"name", "data": the ZIP archive of its keys in base64}."""
        timbre = self._timbre(text)
        data = formats.zipped(instruments.samples(self._engine, timbre))
        return saved(f"{instruments.stem(self._engine, timbre)}.zip", data)

    def _timbre(self, text: Any) -> Recipe:
        return instruments.complete(self._engine, handlers.read(text))

    def _both(self, request: Any) -> tuple[Recipe, Piece]:
        text, kind, of = checked_list(request, 3)
        timbre = self._timbre(text)
        if kind == "recipe":
            return timbre, instruments.piece_of(self._engine, handlers.read(of))
        path = Path(str(of))
        if kind != "file" or not self._cache.holds(path):
            raise RecipeError("this file is no longer there; open it again")
        return timbre, instruments.read_piece(self._engine, path)

    def _makes_notes(self, name: str) -> bool:
        try:
            return self._engine.render(Recipe(name)).notes is not None
        except (CheckpointError, ValueError):
            return False


def _as_json(tone: Tone) -> dict[str, Any]:
    return {
        "pcm": {"rate": tone.sample_rate, "data": handlers.packed(formats.pcm16(tone.samples))},
        "loop": tone.loop,
        "decay": tone.decay,
        "gain": tone.gain,
    }


def _in_words(notes: tuple[Note, ...], moved: int) -> str:
    outside = f" {moved:,} outside of the keys are moved by octaves." if moved else ""
    return f"{len(notes):,} notes in {max(n.onset + n.duration for n in notes):.0f} seconds.{outside}"

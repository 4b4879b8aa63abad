"""`Song`: a piece, and the timbre that plays it.

Like a `Recipe` it is small and exact, and is written inside saved files. As JSON it is the recipe of its timbre with
one more field, "piece".
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from explorer.recipe import MAX_NAME, Recipe, RecipeError


@dataclass(frozen=True)
class MidiFile:
    """A piece that is not a recipe, but a MIDI file, which a song names and does not hold.

    Attributes:
        name: of the file, without its folder.
        sha256: of its bytes, in hexadecimal digits.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= MAX_NAME:
            raise RecipeError(f"the name of a MIDI file has 1 to {MAX_NAME} characters, not {self.name!r:.60}")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise RecipeError(f"the hash of a MIDI file has 64 hexadecimal digits, not {self.sha256!r:.80}")


@dataclass(frozen=True)
class Song:
    """A piece played with the sounds of one place, whose label is of no matter.

    Attributes:
        timbre: a place of a model whose condition is a pitch.
        piece: a place of a model that makes notes, or a file.
    """

    timbre: Recipe
    piece: Recipe | MidiFile

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        piece = self.piece
        own = {"midi": piece.name, "sha256": piece.sha256} if isinstance(piece, MidiFile) else piece.to_dict()
        return {**self.timbre.to_dict(), "piece": own}

    @classmethod
    def from_dict(cls, data: Any) -> "Song":
        """Parses what `to_dict` writes. Raises RecipeError, also for an unknown field."""
        if not isinstance(data, dict) or not isinstance(data.get("piece"), dict):
            raise RecipeError("a song is an object with a 'piece'")
        timbre = Recipe.from_dict({name: value for name, value in data.items() if name != "piece"})
        piece = data["piece"]
        try:
            if "midi" not in piece:
                return cls(timbre, Recipe.from_dict(piece))
            if unknown := sorted(set(piece) - {"midi", "sha256"}):
                raise RecipeError(f"a MIDI file has no field {', '.join(unknown)}")
            return cls(timbre, MidiFile(piece["midi"], piece.get("sha256", "")))
        except RecipeError as error:
            raise RecipeError(f"the piece of this song: {error}") from None

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

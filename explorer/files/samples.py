"""Named places as one ZIP archive of samples: each ready to use, on a key of its own by its name and an SFZ file.

A sound of a pitched generator is on the key of its pitch if that is free; all others are on the keys from FIRST_KEY up.
"""

import io
import zipfile
from collections.abc import Sequence

import pretty_midi

from explorer.engine import Engine
from explorer.files import formats, gallery
from explorer.files.gallery import NamedRecipe
from explorer.recipe import RecipeError

FIRST_KEY, KEYS = 36, 128
MAX_SECONDS = 120.0  # of all sounds together
MAX_NAME = 60  # characters of a place's name in that of its file


def pack(engine: Engine, places: Sequence[NamedRecipe]) -> bytes:
    """The bytes of an archive of `NN-NAME-KEY.wav`, samples.sfz, and favourites.json, which the app opens.

    Raises:
        CheckpointError, RecipeError: as `Engine.complete`; also if there are no places, more than KEYS, or their sounds
            are longer than MAX_SECONDS together.
    """
    if not 0 < len(places) <= KEYS:
        raise RecipeError(f"an archive of samples has from 1 to {KEYS} sounds, not {len(places)}")
    at = [engine.complete(place.recipe) for place in places]
    sounds = [engine.render(place) for place in at]
    if (seconds := sum(sound.seconds for sound in sounds)) > MAX_SECONDS:
        raise RecipeError(
            f"these sounds take {seconds:.0f} s together, and an archive of samples holds {MAX_SECONDS:g} s: "
            "save the long ones one by one"
        )
    free = [*range(FIRST_KEY, KEYS), *range(FIRST_KEY)]
    regions, stream = [], io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number, (named, place, sound) in enumerate(zip(places, at, sounds, strict=True), 1):
            condition = engine.model(place.recipe.model).generator.condition
            pitched = condition is not None and condition.kind == "pitch"
            key = pretty_midi.note_name_to_number(place.recipe.label) if pitched else free[0]
            key = key if key in free else free[0]
            free.remove(key)
            words = formats.safe_name(named.name or formats.stem(engine, place.recipe))[:MAX_NAME]
            name = f"{number:02d}-{words}-{key}.wav"
            archive.writestr(formats.zip_member(name), formats.encode(sound, place.recipe, "ready.wav"))
            regions.append(f"<region> sample={name} key={key} pitch_keytrack=0 loop_mode=one_shot")
        archive.writestr(formats.zip_member("samples.sfz"), "\n".join(regions) + "\n")
        archive.writestr(formats.zip_member("favourites.json"), gallery.dumps(places))
    return stream.getvalue()

"""Named places as one ZIP archive of samples: each ready to use, on a key of its own by its name and an SFZ file.

A sound of a pitched generator is on the key of its pitch if that is free; all others are on the keys from FIRST_KEY up.
"""

from collections.abc import Sequence

from explorer.engine import Engine
from explorer.files import formats, gallery, instruments
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
    free, regions, files = [*range(FIRST_KEY, KEYS), *range(FIRST_KEY)], [], []
    for number, (named, place, sound) in enumerate(zip(places, at, sounds, strict=True), 1):
        pitches = {label: pitch for pitch, label in instruments.keys_of(engine.model(place.recipe.model)).items()}
        key = pitches.get(place.recipe.label or "", free[0])
        key = key if key in free else free[0]
        free.remove(key)
        words = formats.safe_name(named.name or formats.stem(engine, place.recipe))[:MAX_NAME]
        name = f"{number:02d}-{words}-{key}.wav"
        files.append((name, formats.encode(sound, place.recipe, "ready.wav")))
        regions.append(f"<region> sample={name} key={key} pitch_keytrack=0 loop_mode=one_shot")
    files.append(("samples.sfz", ("\n".join(regions) + "\n").encode()))
    files.append(("favourites.json", gallery.dumps(places).encode()))
    return formats.zipped(files)

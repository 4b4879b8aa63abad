"""Named places as an archive of samples."""

import io
import zipfile
from pathlib import Path

import pytest
import soundfile as sf
from toy import write

from explorer.engine import Engine
from explorer.files import gallery, samples
from explorer.files.gallery import NamedRecipe
from explorer.recipe import Recipe, RecipeError


def test_favourites_become_samples_on_keys_under_their_names(tmp_path: Path) -> None:
    write(tmp_path)
    places = [NamedRecipe("My Bass · 1", Recipe("toy", seed=1)), NamedRecipe("", Recipe("toy", seed=2, label="high"))]
    with zipfile.ZipFile(io.BytesIO(samples.pack(Engine(tmp_path), places))) as archive:
        names = ["01-My_Bass_1-36.wav", "02-toy-high-seed0002-37.wav"]
        assert archive.namelist() == [*names, "samples.sfz", "favourites.json"]
        for name in names:
            assert sf.info(io.BytesIO(archive.read(name))).samplerate == 44_100
        sfz = archive.read("samples.sfz").decode()
        assert [f"sample={name} key={key} " in sfz for name, key in zip(names, (36, 37), strict=True)] == [True, True]
        assert gallery.loads(archive.read("favourites.json").decode()) == tuple(places)


def test_none_too_many_and_too_long_sounds_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "long", notes=4000)
    engine = Engine(tmp_path)
    for places, words in (
        ([], "from 1 to 128"),
        ([NamedRecipe("a", Recipe("toy"))] * 129, "not 129"),
        ([NamedRecipe("a", Recipe("long"))], "500 s together"),
    ):
        with pytest.raises(RecipeError, match=words):
            samples.pack(engine, places)

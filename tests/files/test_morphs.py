"""Morphs: where their steps lie, how their sounds are joined, and the files that are written."""

import zipfile
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from PIL import Image
from toy import make, write

from explorer import checkpoint
from explorer.engine import Engine
from explorer.files import formats, morphs
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Note, Sound

MORPH = Recipe("toy", seed=7, seed_b=8, label="high", path="line")
SUFFIXES = tuple(morphs.WRITERS)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path / "models")
    return Engine(tmp_path / "models")


def sound(waveform: np.ndarray, rate: int = 8000, notes: tuple[Note, ...] | None = None) -> Sound:
    return Sound(lambda: waveform.astype(np.float32), rate, len(waveform) / rate, notes)


def test_the_ends_of_a_morph_are_the_seeds_themselves(engine: Engine) -> None:
    morph = morphs.steps(engine, MORPH, 5)
    assert engine.render(morph[0]) is engine.render(Recipe("toy", seed=7, label="high"))
    assert engine.output(morph[-1]).equal(engine.output(Recipe("toy", seed=8, label="high")))
    assert [recipe.t for recipe in morph] == [0, 0.25, 0.5, 0.75, 1]


def test_equal_steps_are_equal_where_the_output_is_known(tmp_path: Path) -> None:
    # One output moves, as tanh(2 z): its steps are equal where z = artanh(a + (b - a) i / n) / 2.
    generator = make(latent=1, notes=1, labels=())
    generator.layer.weight.data[:, 0] = generator.layer.weight.new_tensor([2, 0])
    checkpoint.save(tmp_path / "tanh.safetensors", generator)
    engine, recipe = Engine(tmp_path), Recipe("tanh", seed=0, seed_b=2, path="line")
    bias = float(generator.layer.bias[0])
    a, b = (float(generator.latent.from_seed(seed)) for seed in (0, 2))
    places = np.arctanh(np.linspace(np.tanh(2 * a + bias), np.tanh(2 * b + bias), 8))
    expected = ((places - bias) / 2 - a) / (b - a)
    assert np.abs(expected - np.linspace(0, 1, 8)).max() > 0.1, "equal steps of t would pass this test"
    found = [step.t for step in morphs.steps(engine, recipe, 8, "equal")]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (found[0], found[-1]) == (0, 1)


def test_a_morph_between_equal_sounds_has_equal_steps_of_t(engine: Engine) -> None:
    morph = morphs.steps(engine, Recipe("toy", seed=3, seed_b=3), 3, "equal")
    assert [recipe.t for recipe in morph] == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("recipe", "count", "spacing"),
    [
        (Recipe("toy", seed=7), 5, "t"),
        (MORPH, 1, "t"),
        (MORPH, morphs.MAX_STEPS + 1, "t"),
        (MORPH, 5, "even"),
        (Recipe("toy", seed=7, seed_b=8, label="loud"), 5, "t"),
    ],
    ids=["one seed", "one step", "too many steps", "unknown spacing", "unknown label"],
)
def test_an_impossible_morph_is_refused(engine: Engine, recipe: Recipe, count: int, spacing: str) -> None:
    with pytest.raises(RecipeError):
        morphs.steps(engine, recipe, count, spacing)  # type: ignore[arg-type]


def test_there_and_back_can_be_looped(engine: Engine) -> None:
    morph = morphs.there_and_back(morphs.steps(engine, MORPH, 3))
    assert [recipe.t for recipe in morph] == [0, 0.5, 1, 0.5]


def test_a_crossfade_keeps_the_power_of_unrelated_noise() -> None:
    rng = np.random.RandomState(0)
    fade, size = 0.25, 80_000
    a, b = (sound(0.2 * rng.standard_normal(size)) for _ in range(2))
    middle = morphs.joined([a, b], fade).waveform[size - 2000 : size]
    for part in np.split(middle, 4):  # 500 samples have a power of 1 ± 6 %
        assert abs(10 * np.log10(np.mean(part**2) / 0.04)) < 0.5


def test_a_crossfade_does_not_click() -> None:
    # Two tones of one frequency, a quarter apart: their mix never changes faster than sqrt(2) times one of them.
    phase = 2 * np.pi * 200 * np.arange(8000) / 8000
    mix = morphs.joined([sound(0.5 * np.sin(phase)), sound(0.5 * np.cos(phase))]).waveform
    steepest = 0.5 * 2 * np.pi * 200 / 8000
    assert np.abs(np.diff(mix)).max() < 1.05 * np.sqrt(2) * steepest


def test_joined_sounds_overlap_by_the_crossfade() -> None:
    whole = morphs.joined([sound(np.zeros(8000))] * 3, 0.05)
    assert len(whole.waveform) == 3 * 8000 - 2 * 400
    assert whole.seconds == pytest.approx(2.9)


def test_outside_of_the_crossfade_nothing_is_changed() -> None:
    a, b = np.full(1000, 0.25), np.full(1000, -0.5)
    mix = morphs.joined([sound(a), sound(b)], 0.01).waveform
    np.testing.assert_array_equal(mix[:920], 0.25)
    np.testing.assert_array_equal(mix[1000:], -0.5)


def test_sounds_that_add_up_beyond_full_scale_are_turned_down() -> None:
    assert np.abs(morphs.joined([sound(np.ones(1000))] * 2).waveform).max() == 1


def test_sounds_of_two_sample_rates_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="sample rate"):
        morphs.joined([sound(np.zeros(800)), sound(np.zeros(800), rate=16000)])


def test_joined_notes_begin_where_their_sound_does() -> None:
    parts = [sound(np.zeros(size), notes=(Note(60 + i, 0.25, 0.5, 90),)) for i, size in enumerate((8000, 12000, 8000))]
    notes = morphs.joined(parts, 0.05).notes
    assert notes is not None
    assert [note.pitch for note in notes] == [60, 61, 62]
    np.testing.assert_allclose([note.onset for note in notes], [0.25, 1.2, 2.65])


def test_one_midi_file_has_the_notes_of_all_steps(engine: Engine, tmp_path: Path) -> None:
    morph = morphs.steps(engine, MORPH, 4)
    morphs.write(engine, morph, tmp_path / "morph.mid")
    (piano,) = pretty_midi.PrettyMIDI(str(tmp_path / "morph.mid")).instruments
    expected = [note.pitch for recipe in morph for note in engine.render(recipe).notes or ()]
    assert [note.pitch for note in sorted(piano.notes, key=lambda note: note.start)] == expected


def test_one_wav_has_the_length_of_all_steps_less_the_crossfades(engine: Engine, tmp_path: Path) -> None:
    morphs.write(engine, morphs.steps(engine, MORPH, 4), tmp_path / "morph.wav")
    assert soundfile.info(tmp_path / "morph.wav").duration == pytest.approx(4 * 0.5 - 3 * morphs.CROSSFADE)


@pytest.mark.parametrize("suffix", ["wav", "mid", "png", "svg", "pdf"])
def test_a_file_of_a_morph_opens_at_its_start(engine: Engine, tmp_path: Path, suffix: str) -> None:
    morphs.write(engine, morphs.steps(engine, MORPH, 3), tmp_path / f"morph.{suffix}")
    found = formats.read_recipe(tmp_path / f"morph.{suffix}")
    assert (found.seed, found.seed_b, found.t, found.path, found.label) == (7, 8, 0, "line", "high")
    assert engine.complete(found) == engine.complete(MORPH)


def test_each_file_of_a_zip_contains_the_recipe_of_its_step(engine: Engine, tmp_path: Path) -> None:
    morph = morphs.steps(engine, MORPH, 3)
    morphs.write(engine, morph, tmp_path / "morph.zip")
    with zipfile.ZipFile(tmp_path / "morph.zip") as archive:
        archive.extractall(tmp_path / "files")
    files = sorted((tmp_path / "files").iterdir())
    assert [path.name for path in files] == [
        f"00{i}-t{t}.{ending}" for i, t in ((1, "0.000"), (2, "0.500"), (3, "1.000")) for ending in ("mid", "wav")
    ]
    assert [formats.read_recipe(path) for path in files] == [engine.complete(r).recipe for r in morph for _ in range(2)]


def test_a_gif_has_a_frame_for_each_step_and_loops(engine: Engine, tmp_path: Path) -> None:
    morphs.write(engine, morphs.steps(engine, MORPH, 3), tmp_path / "morph.gif")
    with Image.open(tmp_path / "morph.gif") as image:
        assert (getattr(image, "n_frames", 1), image.info["loop"]) == (3, 0)
        assert Recipe.from_json(image.info["comment"].decode()).seed_b == 8


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_morph_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "models")
    for name in ("first", "second"):
        engine = Engine(tmp_path / "models")
        morphs.write(engine, morphs.steps(engine, MORPH, 3), tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_progress_counts_every_step(engine: Engine, tmp_path: Path, suffix: str) -> None:
    seen: list[tuple[int, int]] = []
    morphs.write(engine, morphs.steps(engine, MORPH, 3), tmp_path / f"morph.{suffix}", lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


class Cancelled(Exception):
    """An exception of the caller's own, raised to cancel."""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cancelling_leaves_an_existing_file_as_it_was(engine: Engine, tmp_path: Path, suffix: str) -> None:
    def cancel(done: int, total: int) -> None:
        if done == total:
            raise Cancelled

    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f"morph.{suffix}").write_bytes(b"before")
    with pytest.raises(Cancelled):
        morphs.write(engine, morphs.steps(engine, MORPH, 3), folder / f"morph.{suffix}", cancel)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {f"morph.{suffix}": b"before"}


def test_measuring_equal_steps_can_be_cancelled(engine: Engine) -> None:
    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        morphs.steps(engine, MORPH, 3, "equal", cancel)


def test_an_unknown_format_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no format 'mp4'; there are wav, mid, zip, gif, png, svg, pdf"):
        morphs.write(engine, morphs.steps(engine, MORPH, 3), tmp_path / "morph.mp4")


def test_a_morph_without_notes_has_no_midi() -> None:
    assert morphs.available(sound(np.zeros(8))) == ("wav", "zip", "gif", "png", "svg", "pdf")

"""What each control of the app does, without a browser."""

import base64
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from toy import make, write
from toy_poor import write as write_poor

from explorer import checkpoint
from explorer.directions import Direction
from explorer.engine import Engine
from explorer.files import formats
from explorer.generators.gansynth import GANSynth, GANSynthConfig
from explorer.recipe import Recipe, RecipeError
from explorer.sound.spectrum import SpectrumConfig
from explorer.ui import handlers
from explorer.ui.handlers import CONTROLS


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path)
    write(tmp_path, "plain", labels=(), latent=20)
    return Engine(tmp_path)


def values(engine: Engine, place: Recipe, **changes: Any) -> dict[str, Any]:
    """The values of all controls at a place, with some of them changed."""
    properties = control_properties(engine, place)
    return {name: properties[name].get("value") for name in CONTROLS} | changes


def completed(engine: Engine, recipe: Recipe) -> Recipe:
    """The recipe that the page holds when it shows this one."""
    return handlers.make_view(engine, recipe).recipe


def control_properties(engine: Engine, recipe: Recipe, first: Any = 0, hold: Any = False) -> handlers.Properties:
    return handlers.control_properties(engine, handlers.make_view(engine, recipe), first, hold)


def show(engine: Engine, recipe: Recipe, heard: bool = True) -> dict[str, Any]:
    return handlers.show(engine, handlers.make_view(engine, recipe), heard)


def appraisal(engine: Engine, recipe: Recipe) -> str:
    return str(appraised(engine, recipe)["words"])


def appraised(engine: Engine, recipe: Recipe) -> dict[str, Any]:
    return handlers.appraise(engine, handlers.make_view(engine, recipe))


def test_unmoved_controls_give_the_same_place(engine: Engine) -> None:
    recipe = Recipe(
        "toy",
        seed=3,
        seed_b=9,
        t=0.3,
        path="line",
        truncation=0.7,
        label="high",
        label_b="low",
        blend=0.2,
        offsets=(("pc2", 1.25), ("z5", -7.0)),
        settings=(("timbre", "square"),),
    )
    place = completed(engine, recipe)
    assert completed(engine, handlers.move(engine, place, values(engine, place))) == place


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("toy", seed=3),
        Recipe("plain", seed_b=4),
        Recipe("toy", seed_b=4, t=0.5, label="high"),
    ],
)
def test_the_completed_recipe_has_the_same_sound(engine: Engine, recipe: Recipe) -> None:
    assert engine.complete(completed(engine, recipe)) == engine.complete(recipe)


def test_completing_a_completed_recipe_changes_nothing(engine: Engine) -> None:
    place = completed(engine, Recipe("toy", seed=3))
    assert completed(engine, place) == place


def test_each_control_changes_its_field_of_the_recipe(engine: Engine) -> None:
    place = completed(engine, Recipe("toy"))
    moved = handlers.move(
        engine,
        place,
        values(
            engine,
            place,
            seed=5,
            seed_b=6,
            t=0.25,
            path="line",
            truncation=0.5,
            label="high",
            label_b="low",
            blend=0.75,
            setting0="square",
            direction1=1.5,
            raw3=-2,
        ),
    )
    assert moved == replace(
        place,
        seed=5,
        seed_b=6,
        t=0.25,
        path="line",
        truncation=0.5,
        label="high",
        label_b="low",
        blend=0.75,
        settings=(("timbre", "square"),),
        offsets=(("pc2", 1.5), ("z3", -2.0)),
    )


def test_offsets_without_a_visible_slider_stay(engine: Engine) -> None:
    place = completed(engine, Recipe("plain", offsets=(("z17", 2.0),)))
    assert dict(handlers.move(engine, place, values(engine, place, direction0=1.0)).offsets) == {"pc1": 1, "z17": 2}


def test_raw_sliders_move_the_dimensions_they_name(engine: Engine) -> None:
    place = completed(engine, Recipe("plain"))
    names = {
        name: look.get("label")
        for name, look in handlers.raw_slider_properties(handlers.make_view(engine, place), 16).items()
    }
    assert (names["raw0"], names["raw3"]) == ("z16", "z19")
    moved = handlers.move(engine, place, values(engine, place, first=16, raw1=3.0))
    assert dict(moved.offsets) == {"z17": 3.0}


def assert_offset_names_are_what_sliders_move(engine: Engine, model: str, first: int = 0, hold: bool = False) -> None:
    place = completed(engine, Recipe(model))
    found = handlers.offset_names(handlers.make_view(engine, place), first, hold)
    properties = control_properties(engine, place, first, hold)
    assert set(found) == {
        name for name in properties if name.startswith(("direction", "raw")) and properties[name]["visible"]
    }
    for name, offset in found.items():
        moved = handlers.move(engine, place, values(engine, place, first=first, hold=hold, **{name: 1.0}))
        assert dict(moved.offsets) == {offset: 1.0}


@pytest.mark.parametrize(("model", "first"), [("toy", 0), ("plain", 0), ("plain", 16)])
def test_each_offset_name_is_the_offset_that_its_slider_moves(engine: Engine, model: str, first: int) -> None:
    assert_offset_names_are_what_sliders_move(engine, model, first)


@pytest.mark.parametrize("hold", [False, True])
def test_each_offset_name_is_the_variant_that_holds_the_others_when_that_is_checked(named: Engine, hold: bool) -> None:
    assert_offset_names_are_what_sliders_move(named, "toy", hold=hold)


def test_a_condition_of_pitches_is_drawn_as_keys_of_a_piano(tmp_path: Path) -> None:
    config = GANSynthConfig(SpectrumConfig(8000, 256, 64, 16), 60, 72, latent=4, channels=(4, 4, 4), style=4)
    checkpoint.save(tmp_path / "synth.safetensors", GANSynth(config).eval().requires_grad_(False))
    write(tmp_path)
    found = Engine(tmp_path)
    labels = control_properties(found, Recipe("synth"))["label"]
    assert labels["elem_classes"] == ["piano"]
    assert labels["choices"][:2] == ["C4", "C#4"]
    assert control_properties(found, Recipe("toy"))["label"]["elem_classes"] == ["keys"]


def test_sliders_beyond_the_latent_are_hidden(engine: Engine) -> None:
    properties = handlers.raw_slider_properties(handlers.make_view(engine, Recipe("plain")), 16)
    assert [properties[f"raw{i}"]["visible"] for i in range(8)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("name", ["seed", "t", "truncation", "blend", "first", "direction0", "raw0"])
@pytest.mark.parametrize("value", [math.nan, math.inf, True, "7", [1], 1e300])
def test_a_value_that_a_control_cannot_have_is_refused(engine: Engine, name: str, value: Any) -> None:
    place = completed(engine, Recipe("toy"))
    with pytest.raises(RecipeError):
        handlers.move(engine, place, values(engine, place, **{name: value}))


@pytest.mark.parametrize("changes", [{"label": "loud"}, {"path": "detour"}, {"setting0": "saw"}, {"seed": -1}])
def test_an_unknown_option_is_refused(engine: Engine, changes: dict[str, Any]) -> None:
    place = completed(engine, Recipe("toy"))
    with pytest.raises(RecipeError):
        completed(engine, handlers.move(engine, place, values(engine, place, **changes)))


@pytest.mark.parametrize("text", [None, 3, "", "nonsense", "{}", "{" * 2_000_000])
def test_a_text_that_is_not_a_recipe_is_refused(text: Any) -> None:
    with pytest.raises(RecipeError):
        handlers.read(text)


def test_a_link_and_its_json_are_the_same_place(engine: Engine) -> None:
    place = completed(engine, Recipe("toy", seed=3, offsets=(("pc1", 0.1),)))
    assert handlers.read(place.to_url("http://here/")) == handlers.read(place.to_json()) == place


def test_changing_the_model_keeps_the_seeds_and_drops_unknown_labels_and_offsets(engine: Engine) -> None:
    place = completed(engine, Recipe("toy", seed=3, seed_b=9, t=0.5, label="high", offsets=(("pc1", 1.0),)))
    chosen = completed(engine, handlers.change_model(engine, place, "plain"))
    assert (chosen.model, chosen.seed, chosen.seed_b, chosen.t) == ("plain", 3, 9, 0.5)
    assert (chosen.label, chosen.offsets, chosen.settings) == (None, (), (("timbre", "sine"),))


def test_reset_goes_back_to_seed_a(engine: Engine) -> None:
    place = completed(engine, Recipe("toy", seed=3, label="high"))
    moved = completed(
        engine, Recipe("toy", seed=3, seed_b=4, t=0.5, label="high", truncation=0.5, offsets=(("z1", 1.0),))
    )
    assert completed(engine, handlers.reset(moved)) == place


MIXED = Recipe("toy", seed=3, seed_b=9, t=0.5, label="high", mix=((3, 1.0), (7, -1.0), (12, 1.0)))


@pytest.mark.parametrize(
    ("change", "stays"),
    [({"seed": 4}, False), ({"seed_b": 4}, False), ({"t": 0.25}, False), ({"direction0": 1.0}, True), ({}, True)],
)
def test_a_mix_stays_until_a_seed_or_t_moves(engine: Engine, change: dict[str, Any], stays: bool) -> None:
    place = completed(engine, MIXED)
    moved = completed(engine, handlers.move(engine, place, values(engine, place, **change)))
    assert moved.mix == (MIXED.mix if stays else ())
    assert (moved.seed, moved.seed_b, moved.t) == tuple(
        {"seed": 3, "seed_b": 9, "t": 0.5, **change}[n] for n in ("seed", "seed_b", "t")
    )


def test_new_seeds_and_reset_replace_a_mix(engine: Engine) -> None:
    assert handlers.roll(MIXED, a=False, b=True).mix == handlers.reset(MIXED).mix == ()
    assert handlers.roll(MIXED, a=False, b=False) == MIXED


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (((3, 1.0), (7, -1.0), (12, 1.0)), "seeds 3 + 12 − 7"),
        (((3, 0.5), (7, 0.2)), "mix of seeds 3, 7"),
        (((3, 0.5), (7, -2.0)), "seeds 0.5 × 3 − 2 × 7"),
        (((3, -1.0),), "seeds − 3"),
        (((3, 0.5),), "seed 3"),
    ],
)
def test_the_title_names_the_seeds_of_a_mix(mix: tuple[tuple[int, float], ...], words: str) -> None:
    assert handlers.mix_title(mix) == words


def test_rolling_changes_only_the_chosen_seeds(engine: Engine) -> None:
    place = Recipe("toy", seed=2**32 - 1, seed_b=2**32 - 1)
    rolled = handlers.roll(place, a=True, b=False)
    assert rolled.seed < 10_000
    assert rolled.seed_b == place.seed_b


def test_a_model_without_labels_shows_no_controls_for_labels(engine: Engine) -> None:
    properties = control_properties(engine, completed(engine, Recipe("plain")))
    assert [properties[name]["visible"] for name in ("label", "label_b", "blend")] == [False] * 3


def test_a_slider_is_wide_enough_for_the_offset_of_the_recipe(engine: Engine) -> None:
    properties = control_properties(engine, completed(engine, Recipe("toy", offsets=(("pc1", -6.5),))))
    assert (properties["direction0"]["value"], properties["direction0"]["minimum"]) == (-6.5, -7)


def test_only_settings_with_several_options_are_shown(engine: Engine) -> None:
    properties = control_properties(engine, completed(engine, Recipe("toy")))
    assert (properties["setting0"]["label"], properties["setting0"]["choices"]) == ("Timbre", ["sine", "square"])
    assert not properties["setting1"]["visible"]


def test_the_notes_sent_are_the_notes_of_the_sound(engine: Engine) -> None:
    place = completed(engine, Recipe("toy", seed=3))
    sent = np.frombuffer(base64.b64decode(show(engine, place)["notes"]), "<f4").reshape(-1, 4)
    notes = engine.render(place).notes or ()
    np.testing.assert_array_equal(
        sent, np.array([(n.pitch, n.onset, n.duration, n.velocity) for n in notes], np.float32)
    )


def test_the_waveform_sent_to_the_page_is_that_of_the_wav_file(engine: Engine, tmp_path: Path) -> None:
    import soundfile as sf

    sound = engine.render(Recipe("toy", seed=3))
    formats.write_wav(tmp_path / "sound.wav", sound)
    stored, _ = sf.read(tmp_path / "sound.wav", dtype="int16")
    np.testing.assert_array_equal(formats.pcm16(sound.waveform), stored)


def test_the_levels_of_a_picture_span_sixty_decibels(engine: Engine) -> None:
    log_mel = engine.render(Recipe("toy", seed=3)).log_mel
    assert log_mel is not None
    sent = handlers.picture(replace(log_mel, values=np.log([[1.0, 10**-1.5, 1e-3, 1e-9]])))
    assert list(base64.b64decode(sent["levels"])) == [255, 128, 0, 0]


def test_labels_that_the_judge_hears_are_shown_with_their_probability(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "hear", lambda place: {"low": 0.31, "middle": 0.01, "high": 0.68})
    assert appraisal(engine, Recipe("toy")).startswith("The judge hears high (68 %) or low (31 %).")


def test_it_is_said_that_the_judge_hears_no_label(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    condition = engine.model("toy").generator.condition
    assert condition is not None
    monkeypatch.setattr(engine, "hear", lambda place: {"low": 0.0, "middle": 0.0, "high": 0.0})
    assert appraisal(engine, Recipe("toy")).startswith(f"The judge hears no {condition.name}.")


def test_without_a_judge_no_label_is_shown_as_heard(engine: Engine) -> None:
    assert "hears" not in appraisal(engine, Recipe("toy"))


@pytest.mark.parametrize(
    ("truncation", "words"),
    [
        (0.0, "Nearer to the centre of latent space than nearly all random places."),
        (2.0, "Farther from the centre of latent space than nearly all random places."),
    ],
)
def test_a_place_very_near_to_or_far_from_the_centre_is_described_so(
    engine: Engine, truncation: float, words: str
) -> None:
    found = appraised(engine, Recipe("plain", seed=3, truncation=truncation))
    assert (found["distance"], found["usual"]) == (words, False)


def test_a_typical_place_is_described_by_its_rank_among_random_places(engine: Engine) -> None:
    share = stats.chi(20).cdf(engine.latent(Recipe("plain", seed=3)).norm())
    expected = f"Farther from the centre of latent space than {100 * share:.0f} % of random places."
    found = appraised(engine, Recipe("plain", seed=3))
    assert (found["distance"], found["remoteness"]) == (expected, pytest.approx(share))
    assert found["usual"] == (0.05 <= share <= 0.95)


def test_a_saved_file_is_the_one_that_the_library_writes(engine: Engine) -> None:
    name, data = handlers.save(engine, completed(engine, Recipe("toy", seed=3, label="high")), "wav")
    place = engine.complete(Recipe("toy", seed=3, label="high"))
    assert name == "toy-high-seed0003.wav"
    assert data == formats.encode(engine.render(place), place.recipe, "wav")


def test_an_unknown_format_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="no format 'exe'"):
        handlers.save(engine, Recipe("toy"), "exe")


def test_a_newcomer_starts_on_the_longest_sounds_that_are_whole(engine: Engine) -> None:
    (engine.folder / "a.safetensors").write_bytes(b"cut short")
    longest = max(engine.model(name).card.seconds for name in engine.names() if name != "a")
    assert engine.model(handlers.default_recipe(engine).model).card.seconds == longest


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no checkpoint"):
        handlers.default_recipe(Engine(tmp_path))


@pytest.fixture
def named(tmp_path: Path) -> Engine:
    """A toy with a direction that has a variant which holds the others, and one that has none."""
    toy = make()
    names = ("register", "pc1", "register-only")
    directions = tuple(Direction(name, toy.latent.from_seed(i), name.title()) for i, name in enumerate(names))
    checkpoint.save(tmp_path / "toy.safetensors", toy, directions=directions)
    return Engine(tmp_path)


def test_sliders_follow_directions_and_not_their_variants(named: Engine) -> None:
    properties = control_properties(named, completed(named, Recipe("toy")))
    assert [properties[f"direction{i}"].get("label") for i in range(3)] == ["Register", "Pc1", None]


def test_holding_the_others_keeps_the_sound_where_the_variants_can_say_it(tmp_path: Path) -> None:
    toy = make()
    x, y = torch.eye(toy.latent.size)[:2]
    pairs = {"register": x, "decay": (x + y) / 2**0.5, "register-only": (x - y) / 2**0.5, "decay-only": y}
    checkpoint.save(tmp_path / "toy.safetensors", toy, directions=tuple(Direction(n, v) for n, v in pairs.items()))
    engine = Engine(tmp_path)
    place = completed(engine, Recipe("toy", offsets=(("z3", 2.0), ("register", 1.5))))
    held = completed(engine, handlers.hold_others(engine, place, True))
    assert dict(held.offsets) == pytest.approx({"z3": 2.0, "register-only": 1.5 * 2**0.5, "decay-only": 1.5}, abs=1e-3)
    back = completed(engine, handlers.hold_others(engine, held, False))
    assert dict(back.offsets) == pytest.approx(dict(place.offsets), abs=1e-3)


def test_holding_the_others_says_that_it_cannot_where_that_would_change_the_sound(named: Engine) -> None:
    place = completed(named, Recipe("toy", offsets=(("pc1", 2.0), ("register", 1.5))))
    with pytest.raises(RecipeError, match="cannot make this sound"):
        handlers.hold_others(named, place, True)
    unmoved = completed(named, Recipe("toy", offsets=(("pc1", 2.0),)))
    assert handlers.hold_others(named, unmoved, True) == unmoved


def test_a_slider_that_would_not_do_what_it_is_named_after_is_not_offered() -> None:
    vector = make().latent.from_seed(0)
    sure, unsure = (Direction(n, vector, measures={"per_step": 1.0, "r2": r2}) for n, r2 in (("a", 0.7), ("b", 0.09)))
    assert handlers.slider_directions([sure, unsure], False) == [sure]
    assert [told["strength"] for told in handlers.told([sure, unsure]).values()] == [3, 1]


def test_a_link_with_a_variant_checks_hold_the_others_and_sets_its_slider(named: Engine) -> None:
    properties = control_properties(named, completed(named, Recipe("toy", offsets=(("register-only", 1.5),))))
    assert properties["hold"] == {"value": True, "visible": True}
    assert (properties["direction0"]["label"], properties["direction0"]["value"]) == ("Register-Only", 1.5)


@pytest.mark.parametrize(
    ("offsets", "hold", "held"),
    [((), True, True), ((("pc1", 1.0),), True, True), ((("register", 1.0),), True, False), ((), False, False)],
)
def test_hold_the_others_stays_as_it_is_unless_an_offset_says_otherwise(
    named: Engine, offsets: tuple[tuple[str, float], ...], hold: bool, held: bool
) -> None:
    properties = control_properties(named, completed(named, Recipe("toy", offsets=offsets)), hold=hold)
    assert properties["hold"]["value"] is held


def test_a_slider_moves_the_variant_while_hold_the_others_is_checked(named: Engine) -> None:
    place = completed(named, Recipe("toy"))
    moved = handlers.move(named, place, values(named, place, hold=True, direction0=1.0, direction1=2.0))
    assert dict(moved.offsets) == {"register-only": 1.0, "pc1": 2.0}


def test_hold_the_others_is_hidden_if_no_direction_has_a_variant(engine: Engine) -> None:
    assert not control_properties(engine, completed(engine, Recipe("toy")))["hold"]["visible"]


def test_titles_of_directions_label_the_sliders(tmp_path: Path) -> None:
    toy = make()
    shipped = Direction("pc1", toy.latent.from_seed(0), "Brightness")
    checkpoint.save(tmp_path / "toy.safetensors", toy, directions=(shipped,))
    engine = Engine(tmp_path)
    properties = control_properties(engine, completed(engine, Recipe("toy")))
    assert properties["direction0"]["label"] == "Brightness"
    assert not properties["direction1"]["visible"]


def test_the_place_sent_to_the_page_has_every_field(engine: Engine) -> None:
    shown = show(engine, Recipe("toy", seed=3, offsets=(("z1", 1.0),)))
    assert Recipe.from_dict(shown["place"]) == Recipe.from_json(shown["recipe"])
    assert shown["place"]["seed_b"] == 4
    assert (shown["place"]["mix"], shown["place"]["blend"]) == ({}, 0.0)


def test_notes_that_the_page_does_not_play_are_sent_with_a_waveform(engine: Engine) -> None:
    shown = show(engine, Recipe("toy", seed=3))
    assert shown["played_by"] is None
    sent = np.frombuffer(base64.b64decode(shown["pcm"]["data"]), "<i2")
    np.testing.assert_array_equal(sent, formats.pcm16(engine.render(Recipe("toy", seed=3)).waveform))
    assert shown["about"].startswith("Piano roll")
    assert "pcm" not in show(engine, Recipe("toy", seed=3), heard=False)


def test_notes_that_the_page_plays_are_sent_without_a_waveform(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = replace(engine.render(Recipe("toy", seed=3)), played_by="piano")
    monkeypatch.setattr(engine, "render", lambda place: sound)
    shown = show(engine, Recipe("toy", seed=3))
    assert shown["played_by"] == "piano"
    assert "pcm" not in shown


@pytest.fixture
def poor(tmp_path: Path) -> Engine:
    """A model without labels, notes, spectrogram and settings."""
    write_poor(tmp_path)
    return Engine(tmp_path)


def test_a_waveform_without_spectrogram_is_shown_and_heard(poor: Engine) -> None:
    for heard in (True, False):  # the waveform is also the picture
        shown = show(poor, Recipe("poor", seed=3), heard)
        assert len(base64.b64decode(shown["pcm"]["data"])) == 2 * 2000
        assert shown["about"] == "Waveform: 0.50 seconds"
    assert shown["formats"] == ("wav", "ready.wav", "png", "svg", "pdf", "npz", "json")


def test_a_poor_model_shows_only_the_controls_that_it_has(poor: Engine) -> None:
    properties = control_properties(poor, Recipe("poor"))
    absent = ("label", "label_b", "blend", "setting0", "setting1", "hold")
    assert [properties[name]["visible"] for name in absent] == [False] * len(absent)
    assert properties["path"]["value"] == "line"


def test_a_place_of_a_poor_model_is_moved_and_saved_like_any_other(poor: Engine) -> None:
    place = completed(poor, Recipe("poor"))
    moved = handlers.move(poor, place, values(poor, place, first=120, raw7=0.5, t=0.25))
    assert (dict(moved.offsets), moved.t) == ({"z127": 0.5}, 0.25)
    name, data = handlers.save(poor, moved, "wav")
    assert name == "poor-seed0000-to0001-t0.25-z127+0.5.wav"
    assert data.startswith(b"RIFF")
    assert "random places" in appraised(poor, moved)["distance"]


def test_sliders_of_a_uniform_prior_end_at_its_bounds_wherever_the_place_is(poor: Engine) -> None:
    for recipe in (Recipe("poor", seed=1), Recipe("poor", seed=1, seed_b=2, t=0.7)):
        view = handlers.make_view(poor, recipe)
        z = float(poor.latent(recipe).flatten()[0])
        ends = handlers.slider_ends(view, 0, False)["raw0"]
        std = 1 / math.sqrt(3)
        assert (ends["minimum"], ends["maximum"]) == pytest.approx(((-1 - z) / std, (1 - z) / std), abs=0.051)


def test_sliders_of_a_normal_prior_keep_their_range(engine: Engine) -> None:
    assert handlers.slider_ends(handlers.make_view(engine, Recipe("toy", seed=1)), 0, False) == {}

"""What the app does, without a browser."""

import base64
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from toy import make, write
from toy_poor import write as write_poor

from explorer import checkpoint
from explorer.directions import Direction
from explorer.engine import Engine
from explorer.files import formats
from explorer.recipe import Recipe, RecipeError
from explorer.ui import handlers
from explorer.ui.handlers import CONTROLS


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    write(tmp_path)
    write(tmp_path, "plain", labels=(), latent=20)
    return Engine(tmp_path)


def values(engine: Engine, place: Recipe, **changes: Any) -> dict[str, Any]:
    """What the page's controls hold at a place, with some of them moved."""
    looks = look(engine, place)
    return {name: looks[name].get("value") for name in CONTROLS} | changes


def arrive(engine: Engine, recipe: Recipe) -> Recipe:
    """What the page holds once it shows a recipe."""
    return handlers.settle(engine, recipe).recipe


def look(engine: Engine, recipe: Recipe, first: Any = 0, hold: Any = False) -> handlers.Look:
    return handlers.look(engine, handlers.settle(engine, recipe), first, hold)


def show(engine: Engine, recipe: Recipe, heard: bool = True) -> dict[str, Any]:
    return handlers.show(engine, handlers.settle(engine, recipe), heard)


def said(engine: Engine, recipe: Recipe) -> str:
    return str(handlers.appraise(engine, handlers.settle(engine, recipe))["words"])


def test_controls_that_were_not_moved_lead_to_the_same_place(engine: Engine) -> None:
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
    place = arrive(engine, recipe)
    assert arrive(engine, handlers.move(engine, place, values(engine, place))) == place


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("toy", seed=3),
        Recipe("plain", seed_b=4),
        Recipe("toy", seed_b=4, t=0.5, label="high"),
    ],
)
def test_a_settled_place_is_the_same_sound(engine: Engine, recipe: Recipe) -> None:
    assert engine.complete(arrive(engine, recipe)) == engine.complete(recipe)


def test_settling_twice_is_settling_once(engine: Engine) -> None:
    place = arrive(engine, Recipe("toy", seed=3))
    assert arrive(engine, place) == place


def test_each_control_moves_its_part_of_the_recipe(engine: Engine) -> None:
    place = arrive(engine, Recipe("toy"))
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


def test_offsets_that_are_on_no_slider_stay(engine: Engine) -> None:
    place = arrive(engine, Recipe("plain", offsets=(("z17", 2.0),)))
    assert dict(handlers.move(engine, place, values(engine, place, direction0=1.0)).offsets) == {"pc1": 1, "z17": 2}


def test_raw_sliders_move_the_dimensions_they_name(engine: Engine) -> None:
    place = arrive(engine, Recipe("plain"))
    names = {name: look.get("label") for name, look in handlers.raw_look(handlers.settle(engine, place), 16).items()}
    assert (names["raw0"], names["raw3"]) == ("z16", "z19")
    moved = handlers.move(engine, place, values(engine, place, first=16, raw1=3.0))
    assert dict(moved.offsets) == {"z17": 3.0}


def assert_dials_name_what_sliders_move(engine: Engine, model: str, first: int = 0, hold: bool = False) -> None:
    place = arrive(engine, Recipe(model))
    dials, looks = handlers.dials(handlers.settle(engine, place), first, hold), look(engine, place, first, hold)
    assert set(dials) == {name for name in looks if name.startswith(("direction", "raw")) and looks[name]["visible"]}
    for name, offset in dials.items():
        moved = handlers.move(engine, place, values(engine, place, first=first, hold=hold, **{name: 1.0}))
        assert dict(moved.offsets) == {offset: 1.0}


@pytest.mark.parametrize(("model", "first"), [("toy", 0), ("plain", 0), ("plain", 16)])
def test_each_dial_is_the_offset_that_its_slider_moves(engine: Engine, model: str, first: int) -> None:
    assert_dials_name_what_sliders_move(engine, model, first)


@pytest.mark.parametrize("hold", [False, True])
def test_each_dial_is_the_variant_that_holds_the_others_where_asked(named: Engine, hold: bool) -> None:
    assert_dials_name_what_sliders_move(named, "toy", hold=hold)


def test_sliders_beyond_the_latent_are_hidden(engine: Engine) -> None:
    looks = handlers.raw_look(handlers.settle(engine, Recipe("plain")), 16)
    assert [looks[f"raw{i}"]["visible"] for i in range(8)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("name", ["seed", "t", "truncation", "blend", "first", "direction0", "raw0"])
@pytest.mark.parametrize("value", [math.nan, math.inf, True, "7", [1], 1e300])
def test_a_value_that_no_control_can_have_is_refused(engine: Engine, name: str, value: Any) -> None:
    place = arrive(engine, Recipe("toy"))
    with pytest.raises(RecipeError):
        handlers.move(engine, place, values(engine, place, **{name: value}))


@pytest.mark.parametrize("changes", [{"label": "loud"}, {"path": "detour"}, {"setting0": "saw"}, {"seed": -1}])
def test_a_choice_that_is_none_is_refused(engine: Engine, changes: dict[str, Any]) -> None:
    place = arrive(engine, Recipe("toy"))
    with pytest.raises(RecipeError):
        arrive(engine, handlers.move(engine, place, values(engine, place, **changes)))


@pytest.mark.parametrize("text", [None, 3, "", "nonsense", "{}", "{" * 2_000_000])
def test_a_text_that_is_no_recipe_is_refused(text: Any) -> None:
    with pytest.raises(RecipeError):
        handlers.read(text)


def test_a_link_and_its_json_are_the_same_place(engine: Engine) -> None:
    place = arrive(engine, Recipe("toy", seed=3, offsets=(("pc1", 0.1),)))
    assert handlers.read(place.to_url("http://here/")) == handlers.read(place.to_json()) == place


def test_another_model_keeps_the_seeds_and_drops_what_it_does_not_know(engine: Engine) -> None:
    place = arrive(engine, Recipe("toy", seed=3, seed_b=9, t=0.5, label="high", offsets=(("pc1", 1.0),)))
    chosen = arrive(engine, handlers.choose(engine, place, "plain"))
    assert (chosen.model, chosen.seed, chosen.seed_b, chosen.t) == ("plain", 3, 9, 0.5)
    assert (chosen.label, chosen.offsets, chosen.settings) == (None, (), (("timbre", "sine"),))


def test_reset_goes_back_to_seed_a(engine: Engine) -> None:
    place = arrive(engine, Recipe("toy", seed=3, label="high"))
    moved = arrive(engine, Recipe("toy", seed=3, seed_b=4, t=0.5, label="high", truncation=0.5, offsets=(("z1", 1.0),)))
    assert arrive(engine, handlers.reset(moved)) == place


MIXED = Recipe("toy", seed=3, seed_b=9, t=0.5, label="high", mix=((3, 1.0), (7, -1.0), (12, 1.0)))


@pytest.mark.parametrize(
    ("change", "stays"),
    [({"seed": 4}, False), ({"seed_b": 4}, False), ({"t": 0.25}, False), ({"direction0": 1.0}, True), ({}, True)],
)
def test_a_mix_stays_until_a_seed_or_t_moves(engine: Engine, change: dict[str, Any], stays: bool) -> None:
    place = arrive(engine, MIXED)
    moved = arrive(engine, handlers.move(engine, place, values(engine, place, **change)))
    assert moved.mix == (MIXED.mix if stays else ())
    assert (moved.seed, moved.seed_b, moved.t) == tuple(
        {"seed": 3, "seed_b": 9, "t": 0.5, **change}[n] for n in ("seed", "seed_b", "t")
    )


def test_new_seeds_and_reset_take_the_place_of_a_mix(engine: Engine) -> None:
    assert handlers.roll(MIXED, a=False, b=True).mix == handlers.reset(MIXED).mix == ()
    assert handlers.roll(MIXED, a=False, b=False) == MIXED


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (((3, 1.0), (7, -1.0), (12, 1.0)), "seeds 3 + 12 − 7"),
        (((3, 0.5), (7, 0.2)), "between 3, 7"),
        (((3, 0.5), (7, -2.0)), "seeds 0.5 × 3 − 2 × 7"),
        (((3, -1.0),), "seeds − 3"),
        (((3, 0.5),), "seed 3"),
    ],
)
def test_the_title_says_what_is_mixed(mix: tuple[tuple[int, float], ...], words: str) -> None:
    assert handlers.mixture(mix) == words


def test_rolling_changes_the_seeds_that_it_may(engine: Engine) -> None:
    place = Recipe("toy", seed=2**32 - 1, seed_b=2**32 - 1)
    rolled = handlers.roll(place, a=True, b=False)
    assert rolled.seed < 10_000
    assert rolled.seed_b == place.seed_b


def test_a_model_without_labels_shows_no_choice_of_them(engine: Engine) -> None:
    looks = look(engine, arrive(engine, Recipe("plain")))
    assert [looks[name]["visible"] for name in ("label", "label_b", "blend")] == [False] * 3


def test_a_slider_reaches_as_far_as_the_recipe(engine: Engine) -> None:
    looks = look(engine, arrive(engine, Recipe("toy", offsets=(("pc1", -6.5),))))
    assert (looks["direction0"]["value"], looks["direction0"]["minimum"]) == (-6.5, -7)


def test_only_settings_that_leave_a_choice_are_shown(engine: Engine) -> None:
    looks = look(engine, arrive(engine, Recipe("toy")))
    assert (looks["setting0"]["label"], looks["setting0"]["choices"]) == ("Timbre", ["sine", "square"])
    assert not looks["setting1"]["visible"]


def test_the_notes_sent_are_the_notes_of_the_sound(engine: Engine) -> None:
    place = arrive(engine, Recipe("toy", seed=3))
    sent = np.frombuffer(base64.b64decode(show(engine, place)["notes"]), "<f4").reshape(-1, 4)
    notes = engine.render(place).notes or ()
    np.testing.assert_array_equal(sent, np.float32([(n.pitch, n.onset, n.duration, n.velocity) for n in notes]))


def test_what_is_sent_of_a_waveform_is_what_a_wav_file_holds(engine: Engine, tmp_path: Path) -> None:
    import soundfile as sf

    sound = engine.render(Recipe("toy", seed=3))
    formats.write_wav(tmp_path / "sound.wav", sound)
    stored, _ = sf.read(tmp_path / "sound.wav", dtype="int16")
    np.testing.assert_array_equal(handlers.pcm16(sound), stored)


def test_a_pictures_levels_span_sixty_decibels(engine: Engine) -> None:
    log_mel = engine.render(Recipe("toy", seed=3)).log_mel
    assert log_mel is not None
    sent = handlers.picture(replace(log_mel, values=np.log([[1.0, 10**-1.5, 1e-3, 1e-9]])))
    assert list(base64.b64decode(sent["levels"])) == [255, 128, 0, 0]


def test_what_is_heard_is_said_with_how_surely(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "hear", lambda place: {"low": 0.31, "middle": 0.01, "high": 0.68})
    assert said(engine, Recipe("toy")).startswith("Heard as high (68%) or low (31%). ")


def test_nothing_is_said_to_be_heard_where_nobody_judges(engine: Engine) -> None:
    assert "eard" not in said(engine, Recipe("toy"))


@pytest.mark.parametrize(
    ("truncation", "words"),
    [(0.0, "Nearer to the middle than all it was trained on."), (2.0, "Beyond all it was trained on.")],
)
def test_a_place_that_no_training_came_to_is_said_to_be_one(engine: Engine, truncation: float, words: str) -> None:
    assert said(engine, Recipe("plain", seed=3, truncation=truncation)) == words


def test_a_typical_place_is_said_to_lie_within(engine: Engine) -> None:
    share = stats.chi(20).cdf(engine.latent(Recipe("plain", seed=3)).norm())
    expected = f"Farther out than {share:.0%} of what it was trained on."
    assert said(engine, Recipe("plain", seed=3)) == expected


def test_a_saved_file_is_the_librarys(engine: Engine) -> None:
    name, data = handlers.save(engine, arrive(engine, Recipe("toy", seed=3, label="high")), "wav")
    place = engine.complete(Recipe("toy", seed=3, label="high"))
    assert name == "toy-high-seed0003.wav"
    assert data == formats.encode(engine.render(place), place.recipe, "wav")


def test_an_unknown_format_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="no format 'exe'"):
        handlers.save(engine, Recipe("toy"), "exe")


def test_a_newcomer_starts_on_the_first_checkpoint_that_is_whole(engine: Engine) -> None:
    (engine.folder / "a.safetensors").write_bytes(b"cut short")
    assert handlers.opening(engine).model == "plain"


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no checkpoint"):
        handlers.opening(Engine(tmp_path))


@pytest.fixture
def named(tmp_path: Path) -> Engine:
    """A toy with a direction that has a variant which holds the others, and one that has none."""
    toy = make()
    names = ("register", "pc1", "register-only")
    directions = tuple(Direction(name, toy.latent.from_seed(i), name.title()) for i, name in enumerate(names))
    checkpoint.save(tmp_path / "toy.safetensors", toy, directions=directions)
    return Engine(tmp_path)


def test_sliders_follow_directions_and_not_their_variants(named: Engine) -> None:
    looks = look(named, arrive(named, Recipe("toy")))
    assert [looks[f"direction{i}"].get("label") for i in range(3)] == ["Register", "Pc1", None]


def test_holding_the_others_moves_an_offset_to_the_variant_and_back(named: Engine) -> None:
    place = arrive(named, Recipe("toy", offsets=(("pc1", 2.0), ("register", 1.5))))
    held = arrive(named, handlers.hold(named, place, True))
    assert dict(held.offsets) == {"pc1": 2.0, "register-only": 1.5}
    assert handlers.hold(named, held, False) == place


def test_a_link_with_a_variant_opens_with_the_switch_on_and_its_slider_there(named: Engine) -> None:
    looks = look(named, arrive(named, Recipe("toy", offsets=(("register-only", 1.5),))))
    assert looks["hold"] == {"value": True, "visible": True}
    assert (looks["direction0"]["label"], looks["direction0"]["value"]) == ("Register-Only", 1.5)


@pytest.mark.parametrize(
    ("offsets", "hold", "held"),
    [((), True, True), ((("pc1", 1.0),), True, True), ((("register", 1.0),), True, False), ((), False, False)],
)
def test_the_switch_stays_as_it_is_where_no_offset_says_otherwise(
    named: Engine, offsets: tuple[tuple[str, float], ...], hold: bool, held: bool
) -> None:
    looks = look(named, arrive(named, Recipe("toy", offsets=offsets)), hold=hold)
    assert looks["hold"]["value"] is held


def test_a_slider_moves_the_variant_while_the_switch_is_on(named: Engine) -> None:
    place = arrive(named, Recipe("toy"))
    moved = handlers.move(named, place, values(named, place, hold=True, direction0=1.0, direction1=2.0))
    assert dict(moved.offsets) == {"register-only": 1.0, "pc1": 2.0}


def test_there_is_no_switch_where_no_direction_has_a_variant(engine: Engine) -> None:
    assert not look(engine, arrive(engine, Recipe("toy")))["hold"]["visible"]


def test_shipped_directions_name_the_sliders(tmp_path: Path) -> None:
    toy = make()
    shipped = Direction("pc1", toy.latent.from_seed(0), "Brightness")
    checkpoint.save(tmp_path / "toy.safetensors", toy, directions=(shipped,))
    engine = Engine(tmp_path)
    looks = look(engine, arrive(engine, Recipe("toy")))
    assert looks["direction0"]["label"] == "Brightness"
    assert not looks["direction1"]["visible"]


def test_what_is_shown_names_every_field_of_the_place(engine: Engine) -> None:
    shown = show(engine, Recipe("toy", seed=3, offsets=(("z1", 1.0),)))
    assert Recipe.from_dict(shown["place"]) == Recipe.from_json(shown["recipe"])
    assert shown["place"]["seed_b"] == 4
    assert (shown["place"]["mix"], shown["place"]["blend"]) == ({}, 0.0)


def test_a_sound_with_notes_that_no_piano_plays_is_sent_as_its_waveform(engine: Engine) -> None:
    shown = show(engine, Recipe("toy", seed=3))
    assert shown["played_by"] is None
    sent = np.frombuffer(base64.b64decode(shown["pcm"]["data"]), "<i2")
    np.testing.assert_array_equal(sent, handlers.pcm16(engine.render(Recipe("toy", seed=3))))
    assert shown["about"].startswith("Piano roll")
    assert "pcm" not in show(engine, Recipe("toy", seed=3), heard=False)


def test_a_sound_that_the_piano_plays_is_sent_as_notes_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = replace(engine.render(Recipe("toy", seed=3)), played_by="piano")
    monkeypatch.setattr(engine, "render", lambda place: sound)
    shown = show(engine, Recipe("toy", seed=3))
    assert shown["played_by"] == "piano"
    assert "pcm" not in shown


@pytest.fixture
def poor(tmp_path: Path) -> Engine:
    """A model with neither labels, notes, a spectrogram nor a setting."""
    write_poor(tmp_path)
    return Engine(tmp_path)


def test_a_bare_waveform_is_shown_and_heard(poor: Engine) -> None:
    for heard in (True, False):  # it is its own picture
        shown = show(poor, Recipe("poor", seed=3), heard)
        assert len(base64.b64decode(shown["pcm"]["data"])) == 2 * 2000
        assert shown["about"] == "Waveform: 0.50 seconds"
    assert shown["formats"] == ("wav", "png", "svg", "pdf", "npz", "json")


def test_a_poor_model_shows_only_the_controls_that_it_has(poor: Engine) -> None:
    looks = look(poor, Recipe("poor"))
    absent = ("label", "label_b", "blend", "setting0", "setting1", "hold")
    assert [looks[name]["visible"] for name in absent] == [False] * len(absent)
    assert looks["path"]["value"] == "line"


def test_a_poor_place_is_moved_and_saved_like_any_other(poor: Engine) -> None:
    place = arrive(poor, Recipe("poor"))
    moved = handlers.move(poor, place, values(poor, place, first=120, raw7=0.5, t=0.25))
    assert (dict(moved.offsets), moved.t) == ({"z127": 0.5}, 0.25)
    name, data = handlers.save(poor, moved, "wav")
    assert name == "poor-seed0000-to0001-t0.25.wav"
    assert data.startswith(b"RIFF")
    assert "trained on" in said(poor, moved)


def test_sliders_of_a_uniform_prior_end_at_the_walls_wherever_the_place_moves(poor: Engine) -> None:
    for recipe in (Recipe("poor", seed=1), Recipe("poor", seed=1, seed_b=2, t=0.7)):
        view = handlers.settle(poor, recipe)
        z = float(poor.latent(recipe).flatten()[0])
        ends = handlers.ends(view, 0, False)["raw0"]
        std = 1 / math.sqrt(3)
        assert (ends["minimum"], ends["maximum"]) == pytest.approx(((-1 - z) / std, (1 - z) / std), abs=0.051)


def test_sliders_of_a_normal_prior_keep_their_ends(engine: Engine) -> None:
    assert handlers.ends(handlers.settle(engine, Recipe("toy", seed=1)), 0, False) == {}

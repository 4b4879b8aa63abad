"""Recipes: exact round trips through JSON and links, and errors for everything else."""

import json
import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.latent import MAX_SEED
from explorer.recipe import MAX_MESSAGE, MAX_MIXED, MAX_OFFSET, MAX_WEIGHT, Recipe, RecipeError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)  # no lone surrogates: UTF-8 has none
SEEDS = st.integers(0, MAX_SEED)
RECIPES = st.builds(
    Recipe,
    model=TEXT,
    weights=TEXT,
    seed=SEEDS,
    seed_b=st.none() | SEEDS,
    t=st.floats(0, 1),
    path=st.sampled_from([None, "arc", "line"]),
    mix=st.dictionaries(SEEDS, st.floats(0.1, MAX_WEIGHT), max_size=MAX_MIXED).map(lambda d: tuple(d.items())),
    truncation=st.floats(0, 2),
    offsets=st.dictionaries(TEXT, st.floats(-MAX_OFFSET, MAX_OFFSET), max_size=4).map(lambda d: tuple(d.items())),
    label=st.none() | TEXT,
    label_b=st.none() | TEXT,
    blend=st.floats(0, 1),
    settings=st.dictionaries(TEXT, TEXT, max_size=3).map(lambda d: tuple(d.items())),
)


@given(RECIPES)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


@given(RECIPES)
def test_a_recipe_survives_a_link(recipe: Recipe) -> None:
    assert Recipe.from_url(recipe.to_url("https://example.org/explorer")) == recipe


@pytest.mark.parametrize("t", [0.1, 1 / 3, 5e-324, math.nextafter(1, 0), 0.30000000000000004])
def test_floats_come_back_to_the_last_bit(t: float) -> None:
    recipe = Recipe("m", t=t, seed_b=1)
    assert Recipe.from_url(recipe.to_url()).t == t
    assert Recipe.from_json(recipe.to_json()).t == t


def test_a_link_is_readable() -> None:
    recipe = Recipe("spoken-digits", seed=7, label="3", offsets=(("pc2", -1.5),), settings=(("inversion", "learned"),))
    assert recipe.to_url("/") == (
        "/?version=1&model=spoken-digits&seed=7&offsets.pc2=-1.5&label=3&settings.inversion=learned"
    )


def test_a_mix_is_written_as_weights_by_seed() -> None:
    recipe = Recipe("m", mix=((12, 1.0), (3, 1.0), (7, -1.0)))
    assert recipe.to_url() == "?version=1&model=m&mix.3=1.0&mix.7=-1.0&mix.12=1.0"
    assert recipe.to_dict()["mix"] == {"3": 1.0, "7": -1.0, "12": 1.0}


def test_weights_of_a_repeated_seed_add_up() -> None:
    assert Recipe("m", mix=((3, 1.0), (7, 1.0), (3, 0.5))) == Recipe("m", mix=((7, 1.0), (3, 1.5)))


def test_a_link_may_carry_parameters_of_the_page() -> None:
    assert Recipe.from_url("?model=m&seed=3&__theme=dark#top") == Recipe("m", seed=3)


def test_a_bare_query_is_a_link_too() -> None:
    assert Recipe.from_url("model=m&seed=3") == Recipe("m", seed=3)


def test_the_order_of_offsets_does_not_matter() -> None:
    assert Recipe("m", offsets=(("b", 1.0), ("a", 2.0))) == Recipe("m", offsets=(("a", 2.0), ("b", 1.0)))


def test_zero_offsets_are_dropped() -> None:
    assert Recipe("m", offsets=(("a", 0.0), ("b", -0.0))) == Recipe("m")


def test_defaults_are_not_written() -> None:
    assert json.loads(Recipe("m").to_json()) == {"version": 1, "model": "m"}


@pytest.mark.parametrize(
    "change",
    [
        {"t": math.nan},
        {"t": math.inf},
        {"t": -0.1},
        {"t": 1.1},
        {"t": True},
        {"t": None},
        {"t": "0.5"},
        {"t": 10**400},
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"seed": 1.0},
        {"seed": True},
        {"seed": None},
        {"seed": "1"},
        {"seed_b": 1.5},
        {"seed_b": False},
        {"truncation": 2.1},
        {"truncation": math.nan},
        {"blend": -1e-9},
        {"path": "bow"},
        {"path": 1},
        {"label": 3},
        {"label_b": ["3"]},
        {"weights": None},
        {"weights": 1},
        {"offsets": {"pc1": math.nan}},
        {"offsets": {"pc1": 101}},
        {"offsets": {"pc1": True}},
        {"offsets": {"pc1": None}},
        {"mix": {"3": math.nan}},
        {"mix": {"3": 101}},
        {"mix": {"3": "1"}},
        {"mix": {"-3": 1}},
        {"mix": {"9" * 10: 1}},
        {"mix": {"x": 1}},
        {"mix": {"²": 1}},
        {"mix": {"9" * 5000: 1}},
        {"mix": [3, 7]},
        {"mix": {"3": 0}},
        {"mix": {3: 1}},
        {"mix": {"3": 60, "03": 60}},
        {"mix": {str(seed): 1 for seed in range(9)}},
        {"offsets": [["pc1", 1]]},
        {"offsets": "pc1"},
        {"settings": ["inversion"]},
        {"settings": {"inversion": None}},
        {"version": 2},
        {"version": "1"},
        {"version": None},
        {"model": None},
        {"model": 3},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_value_of_the_wrong_kind_or_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_dict({"model": "m", **change})


@pytest.mark.parametrize("data", [None, [], "m", 1, {}, {"seed": 1}], ids=repr)
def test_a_recipe_without_a_model_is_refused(data: object) -> None:
    with pytest.raises(RecipeError, match="at least a 'model'"):
        Recipe.from_dict(data)


def test_an_unknown_field_is_refused_since_ignoring_it_would_give_another_sound() -> None:
    with pytest.raises(RecipeError, match="no field reverb"):
        Recipe.from_dict({"model": "m", "reverb": 0.5})


@pytest.mark.parametrize(
    "text",
    ["", "{", "NaN", "[" * 100_000, '{"model": "m", "t": NaN}', '{"model": "m", "t": 1e999}'],
    ids=lambda text: text[:24],
)
def test_a_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "https://example.org",
        "?seed=1",
        "?model=m&seed=one",
        "?model=m&seed=1.5",
        "?model=m&t=nan",
        "?model=m&t=inf",
        "?model=m&t=half",
        "?model=m&offsets.pc1=",
        "?model=m&mix=3",
        "?model=m&mix.3=",
        "?model=m&mix.x=1",
        "?model=m&offsets=1",
        "?model=m&settings=1",
        "?model=m&version=9",
        "?model=m&seed=-1",
        "http://[broken?model=m",
        "?model=m&seed=" + "9" * 5000,
        "?model=m" + "@1" * 200,
        "?model=m&label=" + "x" * 256,
        "?model=m&offsets." + "x" * 256 + "=1",
        "?model=m&settings." + "x" * 256 + "=1",
        "?model=m&settings.a=" + "x" * 256,
    ],
    ids=lambda link: link[:24],
)
def test_a_link_that_is_no_recipe_is_refused(link: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_url(link)


def test_a_full_dict_has_every_field_in_plain_values_and_reads_back() -> None:
    for recipe in (Recipe("toy"), Recipe("toy", mix=((3, 1.0), (7, 0.5)), offsets=(("z1", 2.0),), label="high")):
        full = recipe.to_full_dict()
        assert set(full) == {"version", *(field.name for field in fields(Recipe))}
        assert Recipe.from_dict(json.loads(json.dumps(full))) == recipe
    assert (full["mix"], full["offsets"], full["settings"]) == ({"3": 1.0, "7": 0.5}, {"z1": 2.0}, {})


def test_an_error_is_one_short_line_whatever_it_quotes() -> None:
    for value in ("x" * 10**6, ["\n" * 10**5], {"[" * 3000: None}):
        with pytest.raises(RecipeError) as error:
            Recipe.from_dict({"model": "toy", "version": value})
        assert len(str(error.value)) <= MAX_MESSAGE + 1
        assert len(str(error.value).splitlines()) == 1

"""The engine: the same recipe is the same sound, whatever else happens; and a clear word where there is none."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import make, write

from explorer import checkpoint
from explorer.checkpoint import CheckpointError
from explorer.directions import Direction, principal
from explorer.engine import CACHED_MODELS, CACHED_SOUNDS, SEARCHED, Engine
from explorer.judge import Judge, save_judge
from explorer.recipe import Recipe, RecipeError
from explorer.sound.mel import MelConfig

PLACES = [
    Recipe("toy", seed=7),
    Recipe("toy", seed=7, label="high"),
    Recipe("toy", seed=7, seed_b=8, t=0.25),
    Recipe("toy", seed=7, seed_b=8, t=0.25, path="line"),
    Recipe("toy", seed=7, truncation=0.5, offsets=(("pc1", 1.5), ("z3", -2.0))),
    Recipe("toy", seed=7, label="low", label_b="high", blend=0.3),
    Recipe("toy", seed=7, settings=(("timbre", "square"),)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Engine:
    return Engine(folder)


def bits(engine: Engine, recipe: Recipe) -> bytes:
    return engine.render(recipe).waveform.tobytes()


@pytest.mark.parametrize("recipe", PLACES, ids=range(len(PLACES)))
def test_a_recipe_gives_the_same_bits_whatever_was_rendered_before(folder: Path, recipe: Recipe) -> None:
    busy = Engine(folder)
    for other in reversed(PLACES):
        busy.render(other)
    assert bits(busy, recipe) == bits(Engine(folder), recipe)


def test_other_places_are_other_sounds(engine: Engine) -> None:
    assert len({bits(engine, recipe) for recipe in PLACES}) == len(PLACES)


def test_many_threads_get_what_one_gets(folder: Path) -> None:
    recipes = [replace(recipe, seed=seed) for recipe in PLACES for seed in range(6)] * 3
    random.Random(0).shuffle(recipes)
    one, shared = Engine(folder), Engine(folder)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda recipe: bits(shared, recipe), recipes))
    assert together == [bits(one, recipe) for recipe in recipes]


def test_render_all_gives_what_render_gives(folder: Path) -> None:
    batch = [sound.waveform.tobytes() for sound in Engine(folder).render_all(PLACES)]
    assert batch == [bits(Engine(folder), recipe) for recipe in PLACES]


def test_a_completed_recipe_is_the_same_sound_and_is_complete(engine: Engine) -> None:
    for recipe in PLACES:
        full = engine.complete(recipe)
        assert bits(engine, full) == bits(engine, recipe)
        assert engine.complete(full) == full


def test_rendering_leaves_random_states_and_threads_as_they_were(engine: Engine) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    engine.render(PLACES[0])
    assert torch.equal(before, torch.get_rng_state())
    assert (np.random.get_state()[1] == numpy_before).all()
    assert torch.get_num_threads() == threads


def test_both_ends_of_a_path_are_the_two_seeds(engine: Engine) -> None:
    way = Recipe("toy", seed=7, seed_b=8)
    assert bits(engine, replace(way, t=0.0)) == bits(engine, Recipe("toy", seed=7))
    assert bits(engine, replace(way, t=1.0)) == bits(engine, Recipe("toy", seed=8))


def test_a_path_goes_by_the_priors_own_way_unless_told_otherwise(engine: Engine) -> None:
    way = Recipe("toy", seed=7, seed_b=8, t=0.5)
    assert engine.complete(way).path == "arc"
    assert bits(engine, way) == bits(engine, replace(way, path="arc")) != bits(engine, replace(way, path="line"))


def test_an_offset_is_added_in_units_of_the_prior(engine: Engine) -> None:
    plain, moved = engine.latent(Recipe("toy", seed=7)), engine.latent(Recipe("toy", seed=7, offsets=(("z3", 2.0),)))
    torch.testing.assert_close(moved - plain, 2 * torch.eye(6)[3])


def test_truncation_scales_the_latent(engine: Engine) -> None:
    torch.testing.assert_close(
        engine.latent(Recipe("toy", seed=7, truncation=0.5)), engine.latent(Recipe("toy", seed=7)) / 2
    )


def test_offsets_never_leave_the_cube_of_a_uniform_prior(tmp_path: Path) -> None:
    write(tmp_path, prior="uniform")
    z = Engine(tmp_path).latent(Recipe("toy", seed=7, offsets=(("z0", 50.0), ("z1", -50.0))))
    assert z[:2].tolist() == [1.0, -1.0]


def test_the_directions_shipped_with_a_checkpoint_are_the_ones_followed(tmp_path: Path) -> None:
    up = Direction("register", torch.eye(6)[2], "Register")
    checkpoint.save(tmp_path / "toy.safetensors", make(), directions=(up,))
    engine = Engine(tmp_path)
    assert engine.model("toy").directions == (up,)
    moved = Recipe("toy", seed=7, offsets=(("register", 1.5),))
    assert bits(engine, moved) == bits(engine, Recipe("toy", seed=7, offsets=(("z2", 1.5),)))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The search for directions does not end before this is set."""
    gate = threading.Event()

    def patient(*args: Any, **options: Any) -> tuple[Direction, ...]:
        assert gate.wait(300)
        return principal(*args, **options)

    monkeypatch.setattr("explorer.engine.principal", patient)
    yield gate
    gate.set()


def test_a_model_is_played_while_its_directions_are_sought(engine: Engine, gate: threading.Event) -> None:
    model = engine.model("toy")
    assert model.directions_so_far == ()
    assert model.progress < 1
    bits(engine, Recipe("toy", seed=7, offsets=(("z3", -2.0),)))
    gate.set()
    assert [d.name for d in model.directions] == ["pc1", "pc2", "pc3", "pc4", "pc5", "pc6"]
    assert model.directions_so_far == model.directions
    assert model.progress == 1


def test_a_recipe_along_a_direction_waits_until_it_is_found(engine: Engine, gate: threading.Event) -> None:
    with ThreadPoolExecutor(1) as pool:
        sound = pool.submit(engine.render, Recipe("toy", offsets=(("pc1", 1.5),)))
        bits(engine, Recipe("toy"))
        assert not sound.done()
        gate.set()
        assert np.isfinite(sound.result(300).waveform).all()


def test_directions_found_beside_rendering_are_those_found_alone(engine: Engine, gate: threading.Event) -> None:
    model = engine.model("toy")
    assert model.directions_so_far == ()
    gate.set()
    for seed in range(20):
        bits(engine, Recipe("toy", seed=seed))
    alone = principal(make(), samples=SEARCHED)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(model.directions, alone, strict=True))


def test_a_judge_of_the_same_words_at_the_same_rate_is_asked(folder: Path) -> None:
    save_judge(folder / "other.safetensors", prejudiced("yes", "no"))
    assert Engine(folder).hear(Recipe("toy")) == {}
    save_judge(folder / "judge.safetensors", prejudiced("low", "high"))
    assert Engine(folder).hear(Recipe("toy")) == pytest.approx({"low": 0.25, "high": 0.75})


def prejudiced(*labels: str) -> Judge:
    """A judge that hears the second word with probability 3/4, whatever is played to it."""
    judge = Judge(MelConfig(), labels).eval().requires_grad_(False)
    judge.decide.weight.zero_()
    judge.decide.bias.copy_(torch.tensor([1.0, 3.0]).log())
    return judge


def test_a_broken_judge_is_no_reason_not_to_play(folder: Path) -> None:
    save_judge(folder / "judge.safetensors", prejudiced("low", "high"))
    whole = (folder / "judge.safetensors").read_bytes()
    (folder / "judge.safetensors").write_bytes(whole[:-4])
    assert Engine(folder).hear(Recipe("toy")) == {}


def test_a_blend_lies_between_its_two_labels(engine: Engine) -> None:
    low, high = Recipe("toy", seed=7, label="low"), Recipe("toy", seed=7, label="high")
    assert bits(engine, replace(low, label_b="high", blend=1.0)) == bits(engine, high)
    assert bits(engine, replace(low, label_b="high", blend=0.0)) == bits(engine, low)


def test_weights_are_accepted_by_the_first_digits_of_their_hash(engine: Engine) -> None:
    sha256 = engine.model("toy").card.sha256
    assert bits(engine, Recipe("toy", weights=sha256[:8])) == bits(engine, Recipe("toy"))


def test_other_weights_than_a_recipe_was_made_with_are_refused_by_name(engine: Engine) -> None:
    here = engine.model("toy").card.sha256[:12]
    with pytest.raises(CheckpointError, match=f"made with weights 0123456789ab of 'toy'; here are weights {here}"):
        engine.render(Recipe("toy", weights="0123456789abcdef"))


def test_a_checkpoint_that_is_replaced_is_loaded_anew(folder: Path, engine: Engine) -> None:
    before = bits(engine, Recipe("toy"))
    write(folder, seed=1)
    assert bits(engine, Recipe("toy")) != before
    assert bits(engine, Recipe("toy")) == bits(Engine(folder), Recipe("toy"))


@pytest.mark.parametrize("name", ["tey", "", "../toy", "/etc/passwd", "toy\0", "a" * 5000])
def test_a_name_that_is_no_checkpoint_here_is_refused_and_the_choices_are_named(engine: Engine, name: str) -> None:
    with pytest.raises(CheckpointError, match="there are: toy"):
        engine.render(Recipe(name))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Recipe("toy", label="loud"), "no register 'loud'; this model knows low, high"),
        (Recipe("toy", label_b="loud", blend=0.5), "no register 'loud'"),
        (Recipe("toy", offsets=(("pc99", 1.0),)), "no direction 'pc99'; it has pc1, .*, and z0 to z5"),
        (Recipe("toy", offsets=(("z6", 1.0),)), "no direction 'z6'"),
        (Recipe("toy", offsets=(("z01", 1.0),)), "no direction 'z01'"),
        (Recipe("toy", offsets=(("z\N{ARABIC-INDIC DIGIT ONE}", 1.0),)), "no direction"),
        (Recipe("toy", offsets=(("z" + "9" * 5000, 1.0),)), "no direction 'z9"),
        (Recipe("toy", settings=(("timbre", "warm"),)), "no setting timbre = 'warm'"),
        (Recipe("toy", settings=(("reverb", "hall"),)), "no setting reverb"),
    ],
)
def test_what_a_model_has_not_is_refused_and_the_choices_are_named(engine: Engine, wrong: Recipe, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        engine.render(wrong)


def test_a_model_without_labels_takes_none(tmp_path: Path) -> None:
    write(tmp_path, labels=())
    with pytest.raises(RecipeError, match="'toy' takes no label"):
        Engine(tmp_path).render(Recipe("toy", label="low"))


def test_memory_stays_bounded_however_many_sounds_and_models_are_asked_for(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    for k in range(CACHED_MODELS + 2):
        write(tmp_path, f"toy{k}", seed=k)
        engine.render(Recipe(f"toy{k}"))
    for seed in range(CACHED_SOUNDS + 10):
        engine.render(Recipe("toy0", seed=seed))
    assert len(engine._models) == CACHED_MODELS
    assert len(engine._sounds) == CACHED_SOUNDS

"""The engine: a recipe gives the same sound in all circumstances, and errors are clear."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import Toy, make, write

from explorer import checkpoint
from explorer.checkpoint import CheckpointError
from explorer.directions import SEARCH_SAMPLES, Direction, principal
from explorer.engine import CACHED_MODELS, CACHED_SOUNDS, Engine, cores, patiently
from explorer.generators import FAMILIES
from explorer.judge import Judge, save_judge
from explorer.model import Model
from explorer.recipe import Place, Recipe, RecipeError
from explorer.shelf import DEFAULT_FOLDER
from explorer.sound.base import Settings
from explorer.sound.mel import MelConfig
from explorer.ui import handlers

RECIPES = [
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


def bits(engine: Engine, at: Recipe | Place) -> bytes:
    return engine.render(at).waveform.tobytes()


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_a_recipe_gives_the_same_bits_whatever_was_rendered_before(folder: Path, recipe: Recipe) -> None:
    busy = Engine(folder)
    for other in reversed(RECIPES):
        busy.render(other)
    assert bits(busy, recipe) == bits(Engine(folder), recipe)


def test_different_recipes_give_different_sounds(engine: Engine) -> None:
    assert len({bits(engine, recipe) for recipe in RECIPES}) == len(RECIPES)


def test_many_threads_get_the_same_bits_as_one(folder: Path) -> None:
    recipes = [replace(recipe, seed=seed) for recipe in RECIPES for seed in range(6)] * 3
    random.Random(0).shuffle(recipes)
    one, shared = Engine(folder), Engine(folder)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda recipe: bits(shared, recipe), recipes))
    assert together == [bits(one, recipe) for recipe in recipes]


def test_patient_work_leaves_half_of_the_threads_to_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.engine.cores", lambda: 2)
    engine, begun, held = Engine(folder), threading.Semaphore(0), threading.Event()

    def long(_: int) -> None:
        def work() -> None:
            begun.release()
            assert held.wait(60)

        with patiently():
            engine._work(work)

    with ThreadPoolExecutor(5) as pool:
        several = [pool.submit(long, i) for i in range(4)]
        assert begun.acquire(timeout=60)
        assert pool.submit(bits, engine, RECIPES[0]).result(60) == bits(Engine(folder), RECIPES[0])
        assert not begun.acquire(blocking=False)  # the others of them wait
        held.set()
        for one in several:
            one.result(60)


def test_render_all_gives_the_bits_of_render(folder: Path) -> None:
    batch = [sound.waveform.tobytes() for sound in Engine(folder).render_all(RECIPES)]
    assert batch == [bits(Engine(folder), recipe) for recipe in RECIPES]


def test_a_completed_recipe_is_the_same_sound_and_is_complete(engine: Engine) -> None:
    for recipe in RECIPES:
        place = engine.complete(recipe)
        assert bits(engine, place) == bits(engine, recipe)
        assert engine.complete(place.recipe) == place


def test_rendering_leaves_random_states_and_threads_as_they_were(engine: Engine) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    threads = torch.get_num_threads()
    engine.render(RECIPES[0])
    assert torch.equal(before, torch.get_rng_state())
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpy_before).all()
    assert torch.get_num_threads() == threads


def test_both_ends_of_an_interpolation_are_the_two_seeds(engine: Engine) -> None:
    between = Recipe("toy", seed=7, seed_b=8)
    assert bits(engine, replace(between, t=0.0)) == bits(engine, Recipe("toy", seed=7))
    assert bits(engine, replace(between, t=1.0)) == bits(engine, Recipe("toy", seed=8))


def test_the_default_path_is_that_of_the_prior(engine: Engine) -> None:
    between = Recipe("toy", seed=7, seed_b=8, t=0.5)
    assert engine.complete(between).recipe.path == "arc"
    assert (
        bits(engine, between)
        == bits(engine, replace(between, path="arc"))
        != bits(engine, replace(between, path="line"))
    )


def test_an_offset_is_in_standard_deviations_of_the_prior(engine: Engine) -> None:
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


def test_offsets_use_the_directions_shipped_with_a_checkpoint(tmp_path: Path) -> None:
    up = Direction("register", torch.eye(6)[2], "Register")
    checkpoint.save(tmp_path / "toy.safetensors", make(), directions=(up,))
    engine = Engine(tmp_path)
    assert engine.model("toy").directions == (up,)
    moved = Recipe("toy", seed=7, offsets=(("register", 1.5),))
    assert bits(engine, moved) == bits(engine, Recipe("toy", seed=7, offsets=(("z2", 1.5),)))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The search for directions does not end before this event is set."""
    gate = threading.Event()

    def principal_after_gate(*args: Any, **options: Any) -> tuple[Direction, ...]:
        assert gate.wait(300)
        return principal(*args, **options)

    monkeypatch.setattr("explorer.directions.principal", principal_after_gate)
    yield gate
    gate.set()


def test_a_model_renders_while_its_directions_are_searched_for(engine: Engine, gate: threading.Event) -> None:
    model = engine.model("toy")
    assert model.directions == ()
    assert model.progress < 1
    bits(engine, Recipe("toy", seed=7, offsets=(("z3", -2.0),)))
    gate.set()
    assert [d.name for d in model.wait_for_directions()] == ["pc1", "pc2", "pc3", "pc4", "pc5", "pc6"]
    assert model.directions == model.wait_for_directions()
    assert model.progress == 1


def test_a_recipe_along_a_direction_waits_until_it_is_found(engine: Engine, gate: threading.Event) -> None:
    with ThreadPoolExecutor(1) as pool:
        sound = pool.submit(engine.render, Recipe("toy", offsets=(("pc1", 1.5),)))
        bits(engine, Recipe("toy"))
        assert not sound.done()
        gate.set()
        assert np.isfinite(sound.result(300).waveform).all()


def test_a_search_during_rendering_finds_the_same_directions(engine: Engine, gate: threading.Event) -> None:
    model = engine.model("toy")
    assert model.directions == ()
    gate.set()
    for seed in range(20):
        bits(engine, Recipe("toy", seed=seed))
    alone = principal(make(), samples=SEARCH_SAMPLES)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(model.wait_for_directions(), alone, strict=True))


def test_a_judge_with_the_same_labels_and_sample_rate_is_used(folder: Path) -> None:
    save_judge(folder / "other.safetensors", constant_judge("yes", "no"))
    assert Engine(folder).hear(Recipe("toy")) == {}
    save_judge(folder / "judge.safetensors", constant_judge("low", "high"))
    assert Engine(folder).hear(Recipe("toy")) == pytest.approx({"low": 0.25, "high": 0.75})


def test_a_judge_of_more_labels_is_used_unless_another_fits_better(folder: Path) -> None:
    save_judge(folder / "a.safetensors", constant_judge("high", "low", "middle"))
    assert Engine(folder).hear(Recipe("toy")).keys() == {"high", "low", "middle"}
    save_judge(folder / "b.safetensors", constant_judge("high", "low"))
    assert Engine(folder).hear(Recipe("toy")).keys() == {"high", "low"}


def test_a_sound_unlike_all_recordings_is_named_nothing(folder: Path) -> None:
    judge = constant_judge("low", "high")
    judge.reach.zero_()
    judge.centres += 100
    save_judge(folder / "judge.safetensors", judge)
    assert Engine(folder).hear(Recipe("toy")) == {"low": 0, "high": 0}


@pytest.mark.parametrize(("name", "fewest", "most"), [("spoken-digits", 19, 20), ("spoken-digits@0", 0, 0)])
def test_the_judge_names_digits_and_not_what_an_untrained_generator_makes(name: str, fewest: int, most: int) -> None:
    engine = Engine(DEFAULT_FOLDER)
    named = sum(any(engine.hear(Recipe(name, seed=seed)).values()) for seed in range(20))
    assert fewest <= named <= most


def constant_judge(*labels: str) -> Judge:
    """A judge that gives the second label probability 3/4 for every sound."""
    judge = Judge(MelConfig(), labels).eval().requires_grad_(False)
    judge.decide.weight.zero_()
    judge.decide.bias.copy_(torch.arange(1.0, 2 * len(labels), 2).log())
    return judge


def test_a_broken_judge_does_not_keep_a_model_from_playing(folder: Path) -> None:
    save_judge(folder / "judge.safetensors", constant_judge("low", "high"))
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
def test_an_unknown_checkpoint_is_refused_with_the_known_names(engine: Engine, name: str) -> None:
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
def test_unknown_labels_directions_and_settings_are_refused_with_the_known_ones(
    engine: Engine, wrong: Recipe, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        engine.render(wrong)


def test_a_model_without_labels_takes_none(tmp_path: Path) -> None:
    write(tmp_path, labels=())
    with pytest.raises(RecipeError, match="'toy' takes no label"):
        Engine(tmp_path).render(Recipe("toy", label="low"))


def test_caches_stay_bounded_however_many_sounds_and_models_are_used(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    for k in range(CACHED_MODELS + 2):
        write(tmp_path, f"toy{k}", seed=k)
        engine.render(Recipe(f"toy{k}"))
    for seed in range(CACHED_SOUNDS + 10):
        engine.render(Recipe("toy0", seed=seed))
    assert len(engine._models) == CACHED_MODELS
    assert len(engine._sounds) == CACHED_SOUNDS


def test_cached_sounds_are_bounded_in_bytes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    size = engine.render(Recipe("toy")).waveform.nbytes
    monkeypatch.setattr("explorer.engine.CACHED_BYTES", 10 * size)
    for seed in range(30):
        engine.render(Recipe("toy", seed=seed)).waveform.sum()
    engine.render(Recipe("toy", seed=29))
    assert 0 < sum(sound.waveform.nbytes for sound in engine._sounds.values()) <= 10 * size


@pytest.mark.parametrize("name", ["x" + "@1" * 400_000, "toy" + "@1" * 400_000, "@" * 400_000, "x" * 400_000])
def test_a_name_of_any_length_is_no_checkpoint(engine: Engine, name: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        engine.model(name)


def test_a_place_is_not_completed_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    place = engine.complete(Recipe("toy", seed=7))
    expected = bits(engine, place)

    def refuse(*_: object) -> Place:
        raise AssertionError("completed again")

    monkeypatch.setattr(Model, "complete", refuse)
    engine._sounds.clear()
    assert bits(engine, place) == expected
    assert engine.latent(place).shape == (6,)


def test_a_place_of_weights_that_were_replaced_is_refused(folder: Path, engine: Engine) -> None:
    place = engine.complete(Recipe("toy"))
    write(folder, seed=1)
    with pytest.raises(CheckpointError, match="made with weights"):
        engine.render(place)


@pytest.fixture
def busy(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Keeps all threads of an engine's pool busy until this event is set."""
    engine.model("toy")
    release, started = threading.Event(), threading.Barrier(cores() + 1)

    def compute() -> None:
        started.wait(timeout=60)
        release.wait(timeout=60)

    for _ in range(cores()):
        engine._pool.submit(compute)
    started.wait(timeout=60)
    yield release
    release.set()


@pytest.mark.usefixtures("busy")
def test_look_ups_do_not_wait_for_sounds(folder: Path, engine: Engine) -> None:
    write(folder, "other")
    view = handlers.make_view(engine, Recipe("other", seed=7))
    assert engine.names() == ["other", "toy"]
    assert [card.name for card in engine.cards()] == ["other", "toy"]
    assert handlers.title(view) == "other · register low · seed 7"
    assert handlers.control_properties(engine, view)["seed"]["value"] == 7


def test_as_many_sounds_are_computed_at_once_as_there_are_cores(engine: Engine) -> None:
    together = threading.Barrier(cores())  # breaks if they are computed one after another
    with ThreadPoolExecutor(cores()) as visitors:
        work = [visitors.submit(engine._work, lambda: together.wait(timeout=60)) for _ in range(cores())]
        assert sorted(done.result(timeout=60) for done in work) == list(range(cores()))


def test_the_thread_count_of_torch_outside_of_the_engine_stays_the_same(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        engine = Engine(folder)
        with ThreadPoolExecutor(4) as visitors:
            list(visitors.map(lambda seed: bits(engine, Recipe("toy", seed=seed)), range(16)))
        assert engine._work(torch.get_num_threads) == 1
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result(timeout=60) == 2
    finally:
        torch.set_num_threads(before)


class Octaves(Toy):
    """A toy whose generator has a setting of its own."""

    family = "octaves"
    settings = MappingProxyType({"octave": ("as it is", "upside down")})

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        x = super().generate(z, condition, settings)
        return -x if settings["octave"] == "upside down" else x


def test_a_model_has_the_settings_of_generating_and_of_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "octaves", Octaves)
    checkpoint.save(tmp_path / "o.safetensors", Octaves(Octaves.Config()))
    engine = Engine(tmp_path)
    assert engine.model("o").settings == {"octave": ("as it is", "upside down"), "timbre": ("sine", "square")}
    place = engine.complete(Recipe("o", settings=(("octave", "upside down"),)))
    assert place.recipe.settings == (("octave", "upside down"), ("timbre", "sine"))
    assert torch.equal(engine.output(place), -engine.output(Recipe("o")))


def test_an_output_that_is_not_finite_is_a_checkpoint_error(tmp_path: Path) -> None:
    toy = make(labels=())
    toy.layer.weight.fill_(3e38)  # finite, but their sums are not
    checkpoint.save(tmp_path / "toy.safetensors", toy)
    with pytest.raises(CheckpointError, match="'toy' makes numbers that are not finite"):
        list(Engine(tmp_path).render_all(Recipe("toy", seed=seed) for seed in range(50)))


def test_each_quarter_of_a_raw_slider_changes_the_latent_of_a_uniform_prior(tmp_path: Path) -> None:
    write(tmp_path, prior="uniform")
    engine = Engine(tmp_path)
    for seed in range(20):
        look = handlers.control_properties(engine, handlers.make_view(engine, Recipe("toy", seed=seed)))["raw0"]
        amounts = np.linspace(look["minimum"], look["maximum"], 5)
        z = [float(engine.latent(Recipe("toy", seed=seed, offsets=(("z0", float(a)),)))[0]) for a in amounts]
        assert (np.diff(z) > 0.4).all()
        assert (z[0], z[-1]) == pytest.approx((-1, 1), abs=0.02)

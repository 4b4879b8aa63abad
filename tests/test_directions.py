"""Principal directions of linear generators with known singular vectors, and measured directions of a generator whose
measures are known functions of the latent."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from torch import Tensor

from explorer import checkpoint, shelf
from explorer.__main__ import main
from explorer.directions import Direction, describe, details, measured, principal
from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Note, Representation, Settings, Sound

STRETCH = torch.tensor([8.0, 4.0, 2.0, 1.0])


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.from_numpy(np.random.RandomState(seed).standard_normal((rows, columns))))[0].float()


class AnyVector(Representation):
    sample_rate, seconds = 100, 0.01

    def __init__(self, size: int) -> None:
        self.size = size

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def encode(self, sound: Sound) -> Tensor:
        raise NotImplementedError

    def decode(self, x: Tensor, settings: Mapping[str, str] | None = None) -> Sound:
        raise NotImplementedError


class Linear(Generator):
    """z -> U diag(STRETCH) V^T z, plus a large offset for each label."""

    family, Config = "linear", dict

    def __init__(self, outputs: int, classes: int = 0, shape: tuple[int, ...] = (10,)) -> None:
        super().__init__()
        self.latent, self.representation = LatentSpace(shape), AnyVector(outputs)
        self.condition = Condition("class", tuple(map(str, range(classes)))) if classes else None
        self.right = orthogonal(self.latent.size, len(STRETCH), seed=1)
        self.matrix = orthogonal(outputs, len(STRETCH), seed=2) * STRETCH @ self.right.T
        self.offsets = 100 * orthogonal(outputs, max(classes, 1), seed=3).T

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        x = z.flatten(1) @ self.matrix.T
        return x if condition is None else x + condition @ self.offsets


def cosines(generator: Linear, **options: Any) -> Tensor:
    """|cosine| between each principal direction and its singular vector."""
    vectors = torch.stack([d.vector.flatten() for d in principal(generator, **options)])
    return (vectors * generator.right.T[: len(vectors)]).sum(1).abs()


@pytest.mark.parametrize("outputs", [20, 3000], ids=["fewer outputs than samples", "more outputs than samples"])
def test_the_directions_of_a_linear_generator_are_its_singular_vectors(outputs: int) -> None:
    assert float(cosines(Linear(outputs), count=4).min()) > 0.99


def test_differences_between_labels_are_not_a_direction() -> None:
    assert float(cosines(Linear(20, classes=5), count=4).min()) > 0.99


def test_a_latent_with_several_axes_has_directions_of_its_shape() -> None:
    generator = Linear(20, shape=(2, 5))
    assert {tuple(d.vector.shape) for d in principal(generator)} == {(2, 5)}
    assert float(cosines(generator, count=4).min()) > 0.99


def test_explained_is_the_share_of_the_variance_along_a_direction() -> None:
    expected = (STRETCH.square() / STRETCH.square().sum()).tolist()
    found = [d.measures["explained"] for d in principal(Linear(20), count=4)]
    assert found == pytest.approx(expected, abs=0.05)


def test_r2_is_one_for_a_linear_generator() -> None:
    assert [d.measures["r2"] for d in principal(Linear(20), count=4)] == pytest.approx([1.0] * 4, abs=1e-3)


def test_directions_have_norm_one_and_a_fixed_sign() -> None:
    for direction in principal(Linear(20), count=4):
        assert float(direction.vector.norm()) == pytest.approx(1, abs=1e-5)
        assert float(direction.vector[direction.vector.abs().argmax()]) > 0


def test_there_are_no_more_directions_than_the_latent_has_dimensions() -> None:
    assert len(principal(Linear(20, shape=(5,)), count=12)) == 5


def test_directions_are_the_same_each_time_and_leave_the_global_random_state_alone() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    first, second = principal(Linear(20)), principal(Linear(20))
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(first, second, strict=True))
    assert torch.equal(before, torch.get_rng_state())
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpy_before).all()


class Instrument(Generator):
    """A generator of eight notes of one pitch. Over latents of the prior, pitch and velocity (not rounded) have
    standard deviations 4 and 6 along two unit vectors with cosine 0.6 between them. Half the variance of the length,
    and all of that of the notes per second, is not linear in the latent.
    """

    family, Config = "instrument", dict
    latent = LatentSpace((2, 5))
    pitch, velocity, length = torch.eye(10)[:3].clone()
    velocity = 0.6 * pitch + 0.8 * velocity

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        self.representation = Notes()
        self.condition = Condition("class", tuple(map(str, range(classes)))) if classes else None

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        z = z.flatten(1)
        noise = torch.cos(1000 * z[:, 3:5]) * 2**0.5
        length = 1 + 0.1 * (z @ self.length + noise[:, 0])
        x = torch.stack([60 + 4 * z @ self.pitch, 64 + 6 * z @ self.velocity, length, 4 + noise[:, 1]], dim=1)
        return x if condition is None else x + 50 * condition.argmax(1, keepdim=True)


class Notes(AnyVector):
    def __init__(self) -> None:
        super().__init__(4)

    def decode(self, x: Tensor, settings: Mapping[str, str] | None = None) -> Sound:
        pitch, velocity, length, density = x.tolist()
        notes = tuple(Note(pitch, i / density, length, velocity) for i in range(8))
        return Sound(lambda: np.zeros(1, dtype="f4"), 100, 1.0, notes=notes)


@lru_cache
def measured_by_name(classes: int = 0) -> dict[str, Direction]:
    return {d.name: d for d in measured(Instrument(classes), samples=2048)}


def cosine(direction: Direction, vector: Tensor) -> float:
    return float(direction.vector.flatten() @ vector)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_measure_that_is_linear_in_the_latent_is_found(classes: int) -> None:
    assert cosine(measured_by_name(classes)["velocity"], Instrument.velocity) == pytest.approx(1, abs=1e-5)
    assert cosine(measured_by_name(classes)["register"], Instrument.pitch) == pytest.approx(1, abs=1e-5)


def test_per_step_is_the_change_of_the_measure_by_one_step() -> None:
    assert measured_by_name()["velocity"].measures["per_step"] == pytest.approx(6, rel=1e-3)
    assert measured_by_name()["register"].measures["per_step"] == pytest.approx(4, rel=1e-3)


class UniformInstrument(Instrument):
    latent = LatentSpace((2, 5), "uniform")


def test_a_step_under_a_uniform_prior_is_one_standard_deviation_too() -> None:
    steps = {d.name: d.measures["per_step"] for d in measured(UniformInstrument(), samples=2048) if d.unit}
    assert (steps["velocity"], steps["register"]) == pytest.approx((6 / 3**0.5, 4 / 3**0.5), rel=1e-3)


def test_r2_is_one_for_a_linear_measure_and_a_half_where_half_the_variance_is_noise() -> None:
    assert measured_by_name()["velocity"].measures["r2"] == pytest.approx(1, abs=1e-4)
    assert measured_by_name()["length"].measures["r2"] == pytest.approx(0.5, abs=0.08)


def test_measured_directions_come_first_by_r2_then_principal_ones_then_only_variants() -> None:
    names = list(measured_by_name())
    assert set(names[:2]) == {"velocity", "register"}
    assert names[2:4] == ["length", "pc1"]
    assert names[-3:] == [f"{name}-only" for name in names[:3]]


def test_measures_that_are_noise_or_constant_have_no_direction() -> None:
    assert not {"density", "chords", "in-key"} & set(measured_by_name())


def test_a_leak_is_the_change_of_another_measure_per_step_in_its_standard_deviations() -> None:
    assert measured_by_name()["velocity"].measures["leak.register"] == pytest.approx(0.6, abs=0.03)
    assert measured_by_name()["velocity"].measures["leak.length"] == pytest.approx(0, abs=0.05)


def test_an_only_variant_changes_no_other_measure() -> None:
    only = measured_by_name()["velocity-only"]
    assert cosine(only, Instrument.pitch) == pytest.approx(0, abs=1e-3)
    assert only.measures["leak.register"] == 0


def test_an_only_variant_states_its_own_smaller_effect() -> None:
    """A unit vector with cosine 0.6 to another has a component of norm 0.8 orthogonal to it."""
    only = measured_by_name()["velocity-only"]
    assert only.measures["per_step"] == pytest.approx(0.8 * 6, rel=0.01)
    assert only.measures["r2"] == pytest.approx(0.64, abs=0.05)


def test_principal_directions_list_the_measures_they_change() -> None:
    """The first one is along the velocity, whose variance is the largest."""
    assert measured_by_name()["pc1"].leaks["velocity"] == pytest.approx(1, abs=0.1)


def test_directions_that_a_network_has_by_construction_keep_their_titles_and_list_the_measures_they_change() -> None:
    generator = Instrument()
    generator.axes = {"Voice ann": Instrument.velocity.reshape(2, 5)}
    found = measured(generator, samples=2048)
    (place,) = [k for k, d in enumerate(found) if d.title == "Voice ann"]
    assert [d.name for d in found[place - 1 : place + 2]] == ["length", "voice-ann", "pc1"]
    ann = found[place]
    assert (ann.name, ann.vector.shape, cosine(ann, Instrument.velocity)) == ("voice-ann", (2, 5), pytest.approx(1))
    assert ann.leaks == {"velocity": pytest.approx(1, abs=0.02), "register": pytest.approx(0.6, abs=0.03)}


def test_measured_directions_are_the_same_each_time() -> None:
    again = measured(Instrument(), samples=2048)
    assert all(torch.equal(d.vector, measured_by_name()[d.name].vector) for d in again)


def test_measuring_reports_its_progress() -> None:
    reports: list[tuple[int, int]] = []
    measured(Instrument(), samples=100, progress=lambda done, total: reports.append((done, total)))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert reports[0][0] < reports[-1][0] == reports[-1][1]


def test_a_direction_is_described_in_one_line() -> None:
    measures = {"per_step": 2.13, "r2": 0.84, "leak.length": -0.4, "leak.in-key": 0.02}
    direction = Direction("density", torch.zeros(1), "Notes per second", "notes/s", measures)
    assert describe(direction) == "Notes per second, +2.1 notes/s per step, R² 0.84, also Note length −0.4 sd"


def test_details_can_be_limited_to_the_strongest_leaks() -> None:
    measures = {"leak.length": -0.4, "leak.register": 0.2, "leak.chords": 0.7}
    assert details(Direction("x", torch.zeros(1), measures=measures), 2) == "also Chords +0.7 sd, Note length −0.4 sd"


@pytest.mark.parametrize(("per_step", "text"), [(123.4, "+120 Hz"), (0.0312, "+0.031 Hz"), (1.0, "+1 Hz")])
def test_per_step_is_shown_with_two_significant_figures_and_no_exponent(per_step: float, text: str) -> None:
    assert describe(Direction("x", torch.zeros(1), "X", "Hz", {"per_step": per_step})) == f"X, {text} per step"


def test_directions_saved_to_a_checkpoint_are_read_back_and_its_weights_unchanged(tmp_path: Path) -> None:
    path = toy.write(tmp_path)
    before, _ = checkpoint.load(path)
    directions = measured(before, samples=256)
    checkpoint.save_directions(path, directions)
    after, loaded = checkpoint.load(path)
    assert [d.to_dict() for d in loaded] == [d.to_dict() for d in directions]
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(loaded, directions, strict=True))
    assert all(torch.equal(v, after.state_dict()[k]) for k, v in before.state_dict().items())


def test_the_command_stores_measured_directions_in_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toy.write(tmp_path)
    assert main(["directions", "toy", "--samples", "128", "--checkpoints", str(tmp_path)]) == 0
    _, directions = checkpoint.load(path)
    assert {"register", "velocity", "pc1"} <= {d.name for d in directions}
    printed = capsys.readouterr().out
    assert all(describe(d) in printed for d in directions)
    assert shelf.read_card(path).sha256 in printed


@pytest.mark.parametrize("argv", [["nobody"], ["toy", "--samples", "3"]], ids=["unknown checkpoint", "too few samples"])
def test_the_command_reports_an_error_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    toy.write(tmp_path)
    try:
        code: object = main(["directions", *argv, "--checkpoints", str(tmp_path)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

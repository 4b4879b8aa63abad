from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explorer.generators.base import Generator
from explorer.generators.pianogan import PianoGAN, PianoGANConfig, fold, unfold
from explorer.sound.notes import CHANNELS, KEYS, LOWEST, decode_notes
from training.families.pianogan import (
    NoteEncoder,
    PianoCritic,
    PianoTask,
    flow_loss,
    reconstruction_loss,
)
from training.runs import TrainingError
from training.task import Prepared
from training.wgan_gp import Networks

SMALL: dict[str, Any] = {
    "latent_size": 32,
    "code_size": 16,
    "width": 16,
    "blocks": 3,
    "decoder_width": 16,
    "flow_steps": 2,
}


PERFORMED: dict[str, Any] = {
    "architecture": "autoregressive",
    "latent_size": 12,
    "width": 32,
    "blocks": 1,
    "decoder_width": 16,
}


def networks(task: PianoTask, generator: Generator) -> Networks:
    return Networks(generator, task.critic(generator), task.encoder(generator))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def data() -> Prepared:
    n = 1000
    tensors = {
        "start": torch.arange(n) * (n - 255) // n,
        "pitch": torch.randint(21, 109, (n,), generator=rng()).byte(),
        "step": torch.rand(n, generator=rng(1)),
        "duration": torch.rand(n, generator=rng(2)) + 0.1,
        "velocity": torch.randint(1, 128, (n,), generator=rng(3)).byte(),
        "touch": torch.rand(n, generator=rng(4)) * 0.03,
        "sounding": torch.rand(n, generator=rng(5)) + 0.2,
    }
    return Prepared(tensors, tensors, {})


def test_a_batch_is_windows_in_range(data: Prepared) -> None:
    x = PianoTask().batch(data.train, torch.arange(8) * 100, rng()).x
    assert x.shape == (8, CHANNELS, 256)
    assert x.abs().max() <= 1


def test_a_batch_transposes_whole_windows_and_stays_on_the_keyboard(data: Prepared) -> None:
    index = torch.arange(8) * 100
    pitch = decode_notes(PianoTask().batch(data.train, index, rng()).x)[..., 0]
    real = data.train["pitch"][data.train["start"][index][:, None] + torch.arange(256)].double()
    assert (pitch - real).amax(1).equal((pitch - real).amin(1))
    assert pitch.min() >= LOWEST
    assert pitch.max() < LOWEST + KEYS


def test_the_same_rng_state_gives_the_same_batch(data: Prepared) -> None:
    first, second = (PianoTask().batch(data.train, torch.arange(4), rng(5)).x for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("overrides", [SMALL, {"architecture": "dcgan", "dcgan_width": 4}])
def test_real_and_fake_views_have_the_same_format(data: Prepared, overrides: dict[str, Any]) -> None:
    task = PianoTask()
    generator = task.generator(data, overrides)
    batch = task.batch(data.train, torch.arange(4), rng())
    z = torch.randn(4, *generator.latent.shape, generator=rng())
    real = task.real_view(batch, task.encoder(generator), rng())
    fake = task.fake_view(generator, z, None, rng())
    assert real.shape == fake.shape
    scores, logits = task.critic(generator)(fake, None)
    assert scores.shape == (4,)
    assert logits is None


def test_chords_of_generated_notes_ascend_without_doubled_keys_as_real_ones_do(data: Prepared) -> None:
    task = PianoTask()
    generator = task.generator(data, SMALL)
    assert isinstance(generator, PianoGAN)
    nn.init.normal_(generator.decoder.layers[-1].get_parameter("weight"), std=2.0)
    view = task.fake_view(generator, torch.randn(4, 32, generator=rng()), None, rng())
    notes = decode_notes(unfold(view[:, : 4 * CHANNELS]))
    in_chord = notes[:, 1:, 1] == 0
    assert in_chord.any()
    assert (notes[..., 0].diff(dim=1)[in_chord] > 0).all()


def test_no_item_changes_the_critic_score_of_another() -> None:
    critic = PianoCritic(code_size=16, width=8)
    view = torch.randn(4, 4 * CHANNELS + 16, 1, 64, generator=rng()).requires_grad_()
    critic(view, None)[0][0].backward()
    assert view.grad is not None
    assert view.grad[0].any()
    assert not view.grad[1:].any()


def test_codes_have_unit_variance(data: Prepared) -> None:
    x = PianoTask().batch(data.train, torch.arange(16) * 60, rng()).x
    codes = NoteEncoder(16, 16)(fold(x))
    torch.testing.assert_close(codes.var((0, 2, 3), unbiased=False), torch.ones(16), atol=1e-2, rtol=0)


def test_a_perfect_reconstruction_costs_nothing(data: Prepared) -> None:
    x = PianoTask().batch(data.train, torch.arange(4), rng()).x
    perfect = torch.cat([x[:, :KEYS] * 100, x[:, KEYS:].clamp(-1 + 1e-6, 1 - 1e-6).atanh()], dim=1)
    loss, figures = reconstruction_loss(perfect, x)
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert figures["pitch_accuracy"] == figures["chord_accuracy"] == 1


def test_the_flow_loss_of_zero_velocity_is_the_squared_distance(data: Prepared) -> None:
    generator = PianoTask().generator(data, SMALL)  # its last layer starts at zero
    assert isinstance(generator, PianoGAN)
    torch.nn.init.zeros_(generator.mover.leave[-1].get_parameter("bias"))
    codes = torch.randn(256, 16, 1, 64, generator=rng())
    # Codes and noise of variance 1 are sqrt(2) apart.
    assert flow_loss(generator, codes, rng(1)).item() == pytest.approx(2, rel=0.05)


def test_the_warm_start_learns(data: Prepared) -> None:
    task = PianoTask()
    generator = task.generator(data, SMALL)
    encoder = task.encoder(generator)
    assert encoder is not None
    optimizer = torch.optim.Adam([*generator.parameters(), *encoder.parameters()], lr=3e-3)
    losses = []
    for step in range(30):
        batch = task.batch(data.train, torch.arange(8) * 100, rng(step))
        loss, _ = task.warm_loss(generator, encoder, batch, task.defaults, rng(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_shipped_configuration_is_the_default(data: Prepared) -> None:
    assert PianoTask().generator(data, {}).config == PianoGANConfig()


def test_the_matching_loss_brings_descriptors_to_those_of_real_windows(data: Prepared) -> None:
    recipe = replace(PianoTask.defaults, extra={"matching_weight": 1.0, "matching_windows": 8.0})
    task = PianoTask()
    torch.manual_seed(0)
    generator = task.generator(data, SMALL)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)

    def loss(step: int) -> Tensor:
        return task.matching_loss(networks(task, generator), data.train, recipe, rng(step))["matching_loss"]

    before = loss(0).item()
    for step in range(20):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    assert loss(0).item() < 0.8 * before
    resumed = PianoTask()
    resumed.matching_loss(networks(resumed, generator), data.train, recipe, rng(99))
    assert resumed.real is not None
    assert task.real is not None
    assert torch.equal(resumed.real, task.real)


def test_a_recipe_without_matching_numbers_has_no_matching_loss(data: Prepared) -> None:
    recipe = replace(PianoTask.defaults, extra={"code_noise": 0.5})
    task = PianoTask()
    assert task.matching_loss(networks(task, task.generator(data, SMALL)), data.train, recipe, rng()) == {}


@pytest.mark.parametrize("windows", [0.0, 1.0, 5.0])
def test_the_matching_loss_takes_any_number_of_windows(data: Prepared, windows: float) -> None:
    recipe = replace(PianoTask.defaults, extra={"matching_weight": 1.0, "matching_windows": windows})
    task = PianoTask()
    losses = task.matching_loss(networks(task, task.generator(data, SMALL)), data.train, recipe, rng())
    assert losses["matching_loss"].isfinite()


def test_performed_notes_have_touch_and_sounding_lengths(data: Prepared) -> None:
    task = PianoTask()
    task.generator(data, PERFORMED)
    index = torch.arange(8) * 100
    notes = decode_notes(task.batch(data.train, index, rng()).x)
    at = data.train["start"][index][:, None] + torch.arange(256)
    ratio = notes[..., 2] / data.train["sounding"][at]
    assert ratio.std(1).max() < 1e-4  # one tempo for a window
    assert notes[..., 4].max() > 0.01


def test_an_autoregressive_piano_learns_how_likely_notes_are(data: Prepared) -> None:
    recipe = replace(PianoTask.defaults, batch_size=8, warm_steps=40, steps=0, warm_lr=3e-3)
    objective = PianoTask().objective(recipe, data, PERFORMED, torch.device("cpu"), False)
    figures = []
    for _ in range(40):
        figures.append({name: value.item() for name, value in objective.update(data.train).items()})
        objective.step += 1
    assert {"step", "pitch", "duration", "velocity", "touch"} < figures[0].keys()
    assert all(figures[-1][name] < figures[0][name] for name in figures[0])
    shown = objective.shown()
    assert shown(shown.latent.from_seed(0)[None]).shape == (1, 92, 256)


def test_an_autoregressive_piano_meets_no_critic(data: Prepared) -> None:
    with pytest.raises(TrainingError, match="--steps 0"):
        PianoTask().objective(PianoTask.defaults, data, PERFORMED, torch.device("cpu"), False)

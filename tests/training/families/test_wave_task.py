"""The task of WaveGAN; the training loop itself is tested in test_loop."""

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.wavegan import Upsampling, WaveGAN, WaveGANConfig
from explorer.sound.waveform import WaveformConfig
from training.families.attributes import NAMES, Whitening
from training.families.wavegan import (
    WIDTH,
    Encoder,
    Trunk,
    WaveTask,
    WaveTrunk,
    at_speed,
    augment,
    phase_shuffle,
    slopes_first,
    tune,
    turn,
    view,
)
from training.networks import ConditionalCritic
from training.task import Batch, Prepared
from training.wgan_gp import WGANGP

SAMPLES, RATE = 2048, 16_000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, seed: int = 0) -> Tensor:
    """Decaying noise (n, SAMPLES)."""
    decay = torch.exp(-torch.arange(SAMPLES) / 400)
    return torch.randn(n, SAMPLES, generator=rng(seed)) * decay * 0.2


def sine(frequency: float, samples: int = SAMPLES) -> Tensor:
    return torch.sin(2 * math.pi * frequency / RATE * torch.arange(samples))[None]


def critic() -> ConditionalCritic:
    torch.manual_seed(0)
    return ConditionalCritic(Trunk(SAMPLES), WIDTH, classes=3)


class Fixed(WaveGAN):
    """A generator that returns the same sounds for all latents."""

    def __init__(self, sounds: Tensor) -> None:
        super().__init__(WaveGANConfig(WaveformConfig(RATE, SAMPLES), latent=4, channels=(8, 8), style=8))
        self.sounds = sounds

    def forward(
        self, z: Tensor, condition: Tensor | None = None, settings: object = None, noise: object = None
    ) -> Tensor:
        return self.sounds


class Prior(nn.Module):
    """An encoder that returns the prior for every input: mean 0, log-variance 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 8)


def test_a_sine_is_brightest_in_its_own_row_of_both_spectrograms() -> None:
    planes = view(sine(2000))[0, SAMPLES:].reshape(6, 128, SAMPLES // 128)[:, :, 8]
    long = planes[:4].T.flatten()  # 512 bins of 15.625 Hz from the first
    assert (int(long.argmax()) + 1) * RATE / 1024 == pytest.approx(2000)
    assert (int(planes[4].argmax()) + 1) * RATE / 256 == pytest.approx(2000)


def test_a_view_begins_with_the_samples() -> None:
    x = noise(2)
    assert torch.equal(view(x)[:, :SAMPLES], x)


def test_augmented_silence_stays_silence() -> None:
    assert float(augment(torch.zeros(8, SAMPLES), rng()).abs().max()) < 1e-6


def test_a_share_of_the_sounds_is_not_augmented() -> None:
    x = noise(64)
    same = (augment(x, rng()) - x).abs().amax(1) < 1e-5
    assert 4 < int(same.sum()) < 32


def test_an_octave_faster_a_sine_sounds_an_octave_higher() -> None:
    faster = at_speed(sine(500, 8192), torch.ones(1, 1))[0, :4000]
    peak = int(torch.fft.rfft(faster * torch.hann_window(4000)).abs().argmax())
    assert peak * RATE / 4000 == pytest.approx(1000, abs=4)


def test_another_speed_leaves_the_onset_in_its_place() -> None:
    x = torch.zeros(1, SAMPLES)
    x[0, 32] = 1
    for octaves in (-0.2, 0.0, 0.2):
        assert int(at_speed(x, torch.full((1, 1), octaves)).argmax()) == 32


def test_phase_shuffle_shifts_each_item_by_at_most_n_and_reflects_at_the_edges() -> None:
    steps = torch.arange(16.0)[None, None, :, None].expand(64, 1, 16, 3)
    shuffled = phase_shuffle(steps, 2, rng())
    shifts = shuffled[:, 0, 8, 0] - 8
    assert set(shifts.tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    right = shuffled[shifts == 2][0, 0, :, 0].tolist()
    assert right == [*range(2, 16), 14, 13]
    left = shuffled[shifts == -2][0, 0, :, 0].tolist()
    assert left == [2, 1, *range(14)]


def test_the_waveform_critic_is_five_convolutions_of_stride_4() -> None:
    trunk = WaveTrunk(8).requires_grad_(False)
    x = noise(2)
    expected = x[:, None]
    for convolution in trunk.convolutions:
        assert isinstance(convolution, nn.Conv2d)
        before = convolution.in_channels // 4
        kernel = (
            convolution.weight[:, :, 0].unflatten(1, (4, before)).permute(0, 2, 3, 1).flatten(2)
        )  # (after, before, 28)
        expected = F.leaky_relu(F.conv1d(F.pad(expected, (12, 12)), kernel, convolution.bias, stride=4), 0.2)
    assert expected.shape == (2, 128, 2)
    torch.testing.assert_close(trunk(x, None), expected.transpose(1, 2).flatten(1), atol=1e-5, rtol=0)


def test_no_item_changes_the_critic_score_of_another() -> None:
    x = view(noise(3)).requires_grad_()
    scores, _ = critic()(x, torch.eye(3))
    (slope,) = torch.autograd.grad(scores[0], x)
    assert slope[0].abs().sum() > 0
    assert slope[1:].abs().sum() == 0


def test_the_score_depends_on_the_given_label_and_the_classification_does_not() -> None:
    judge, x = critic(), view(noise(1))
    (score, verdict), (other_score, other_verdict) = (judge(x, torch.eye(3)[k : k + 1]) for k in (0, 1))
    assert not torch.equal(score, other_score)
    assert torch.equal(verdict, other_verdict)


def test_every_label_is_drawn_equally_often_however_many_sounds_it_has() -> None:
    label = torch.tensor([0] * 90 + [1] * 9 + [2])
    index = WaveTask().draw({"x": noise(100), "condition": F.one_hot(label, 3).float()}, 3000, rng())
    assert label[index].bincount().tolist() == pytest.approx([1000, 1000, 1000], rel=0.1)


def test_batches_have_one_peak_whatever_the_level_of_the_recordings() -> None:
    x = noise(4) * torch.tensor([[0.01], [0.1], [1.0], [2.0]])
    batch = WaveTask().batch({"x": x}, torch.arange(4), rng())
    torch.testing.assert_close(batch.x.abs().amax(1), torch.full((4,), 0.95))


def test_in_the_warm_start_other_noise_is_nearer_to_noise_than_silence_is() -> None:
    """Where it is farther, generators learn to be silent."""
    task, real = WaveTask(), noise(4, seed=1)

    def loss(output: Tensor) -> float:
        return float(task.warm_loss(Fixed(output), Prior(), Batch(real), task.defaults, rng())[0])

    assert loss(noise(4, seed=2)) < loss(0.1 * noise(4, seed=2)) < loss(torch.zeros(4, SAMPLES))


def test_the_kl_divergence_is_zero_if_the_encoder_returns_the_prior() -> None:
    task, real = WaveTask(), noise(2)
    loss, figures = task.warm_loss(Fixed(real), Prior(), Batch(real), task.defaults, rng())
    assert figures["divergence"] == 0
    assert loss == 0


def test_the_encoder_gives_a_mean_and_a_variance_for_each_number_of_the_latent() -> None:
    assert Encoder(SAMPLES, latent=8)(view(noise(2))).shape == (2, 16)


@pytest.mark.parametrize(("warm_steps", "phase"), [(1, "warm"), (0, "adversarial")])
def test_upsampling_is_smooth_after_every_step(warm_steps: int, phase: str) -> None:
    task = WaveTask()
    recipe = replace(task.defaults, batch_size=2, warm_steps=warm_steps, steps=1, critic_steps=1)
    condition = torch.eye(2)
    data = Prepared({"x": noise(2), "condition": condition}, {}, {"labels": ("kick", "snare"), "sample_rate": RATE})
    config = {"channels": (4, 4), "latent": 4, "style": 4}
    objective = task.objective(recipe, data, config, torch.device("cpu"), bfloat16=False)
    assert objective.phase == phase
    before = [p.clone() for p in objective.generator.parameters()]
    objective.update(data.train)
    assert any(not torch.equal(a, b) for a, b in zip(before, objective.generator.parameters(), strict=True))
    for network in (objective.generator, objective.ema):
        (up,) = (m for m in network.modules() if isinstance(m, Upsampling))
        weight = up.weight.clone()
        up.smooth()
        torch.testing.assert_close(up.weight, weight, atol=1e-6, rtol=0)


def labelled(latent: int = 8, architecture: Literal["modulated", "original"] = "modulated") -> WaveGAN:
    torch.manual_seed(0)
    config = WaveGANConfig(
        WaveformConfig(RATE, SAMPLES), ("a", "b"), latent=latent, architecture=architecture, channels=(8, 8, 8), style=8
    )
    return WaveGAN(config).train().requires_grad_(False)


@pytest.mark.parametrize("architecture", ["modulated", "original"])
def test_a_turned_generator_makes_of_a_latent_what_it_made_of_the_rotated_one(
    architecture: Literal["modulated", "original"],
) -> None:
    generator, label = labelled(architecture=architecture), torch.eye(2)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=rng())).Q
    z = torch.randn(2, 8, generator=rng())
    expected = generator(z @ rotation.T, label)
    turn(generator, rotation)
    torch.testing.assert_close(generator(z, label), expected, atol=1e-4, rtol=0)


def test_turning_makes_attributes_grow_with_the_first_numbers() -> None:
    generator, label = labelled(), torch.eye(2).repeat(128, 1)
    heard = Whitening(noise(32), label[:32], RATE)
    z = torch.randn(256, 8, generator=rng(1))

    def together() -> float:
        return float((heard(generator(z, label), label).clamp(-3, 3) * z[:, : len(NAMES)]).mean())

    before, rotation = together(), slopes_first(generator, heard, 256)
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(8), atol=1e-5, rtol=0)
    turn(generator, rotation)
    assert together() > max(0.0, before)


def test_tuning_makes_pitch_follow_the_first_number() -> None:
    generator, label = labelled(), torch.eye(2).repeat(128, 1)
    time = torch.arange(SAMPLES) / RATE
    hertz = 200 * 2 ** torch.linspace(-1, 1, 32)[:, None]
    heard = Whitening(torch.sin(2 * torch.pi * hertz * time), label[:32], RATE)
    z = torch.randn(256, 8, generator=rng(1))

    def error() -> float:
        return float((heard(generator(z, label), label)[:, 0].clamp(-3, 3) - z[:, 0]).square().mean())

    average, before = labelled(), error()
    tune((generator, average), heard, 256)
    assert error() < before
    torch.testing.assert_close(average(z, label), generator(z, label))


def objective(**changes: Any) -> tuple[WaveTask, WGANGP, Prepared]:
    """Of a small network, without labels."""
    task, data = WaveTask(), Prepared({"x": noise(32)}, {}, {"labels": (), "sample_rate": RATE})
    recipe = replace(task.defaults, batch_size=16, **changes)
    config = {"channels": (8, 8, 8), "latent": 8, "style": 8}
    return task, task.objective(recipe, data, config, torch.device("cpu"), bfloat16=True), data


def test_in_the_warm_start_the_attributes_of_recordings_are_the_first_numbers_of_their_latents() -> None:
    task, made, data = objective()
    seen = list[Tensor]()
    made.generator.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    batch = task.batch(data.train, torch.arange(8), rng())
    assert made.encoder is not None
    assert task.heard is not None
    task.warm_loss(made.generator, made.encoder, batch, made.recipe, rng())
    expected = task.heard(batch.x, None).clamp(-3, 3)
    torch.testing.assert_close(seen[0][:, : len(NAMES)], expected, atol=0.5, rtol=0)


def test_without_weight_the_latent_stays_as_it_is() -> None:
    task, made, data = objective(warm_steps=0, extra={"kl_weight": 1e-3, "attribute_weight": 0.0})
    before = {name: weight.clone() for name, weight in made.generator.state_dict().items() if "start" in name}
    task.begin_adversarial(made.networks, made.ema)
    assert all(torch.equal(made.generator.state_dict()[name], weight) for name, weight in before.items())
    assert task.matching_loss(made.networks, data.train, made.recipe, rng()) == {}


def test_the_attribute_loss_can_be_learned() -> None:
    task, made, data = objective()
    optimizer, drawn, losses = torch.optim.Adam(made.generator.parameters(), lr=3e-3), rng(), list[float]()
    for _ in range(40):
        with made.autocast():
            (loss,) = task.matching_loss(made.networks, data.train, made.recipe, drawn).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])

"""Attributes of one-shots that a latent learns to control."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.one_shots import ONSET
from training.families.attributes import NAMES, Whitening, attributes

RATE, SAMPLES = 16_000, 16_384


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hit(hertz: float = 200.0, half_life: float = 0.05, rise: float = 0.0, noise: float = 0.0) -> Tensor:
    """A tone and some noise that rise in a straight line and halve every `half_life` seconds, (1, SAMPLES)."""
    seconds = ((torch.arange(SAMPLES) - ONSET) / RATE).clamp_min(0)
    sound = torch.sin(2 * math.pi * hertz * seconds) + noise * torch.randn(SAMPLES, generator=rng())
    level = torch.where(seconds < rise, seconds / max(rise, 1e-9), 0.5 ** ((seconds - rise) / half_life))
    sound = sound * level * (torch.arange(SAMPLES) > ONSET)
    return (0.95 * sound / sound.abs().max())[None]


def of(sound: Tensor, name: str) -> float:
    return float(attributes(sound, RATE)[0, NAMES.index(name)])


@pytest.mark.parametrize("hertz", [50.0, 220.0, 3000.0])
def test_the_pitch_of_a_decaying_sine_is_its_octave(hertz: float) -> None:
    assert of(hit(hertz), "pitch") == pytest.approx(math.log2(hertz), abs=0.05)


def test_the_decay_of_an_exponential_is_the_root_of_the_time_in_which_it_falls_by_40_decibels() -> None:
    seconds = 0.04 * 40 / (20 * math.log10(2))
    assert of(hit(half_life=0.04), "decay") == pytest.approx(math.sqrt(seconds), rel=0.05)


def test_the_attack_is_the_root_of_the_time_to_the_loudest_moment() -> None:
    assert of(hit(2000, rise=0.1), "attack") == pytest.approx(math.sqrt(0.1), rel=0.1)


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("brightness", hit(500), hit(4000)),
        ("noisiness", hit(noise=0.01), hit(noise=1.0)),
        ("attack", hit(rise=0.01), hit(rise=0.05)),
        ("loudness", hit(noise=1.0), hit()),  # noise has a higher peak for its power
    ],
)
def test_attributes_are_in_order(name: str, less: Tensor, more: Tensor) -> None:
    assert of(less, name) < of(more, name) - 0.01


@pytest.mark.parametrize("sound", [torch.zeros(1, SAMPLES), F.one_hot(torch.tensor([ONSET]), SAMPLES).float(), hit()])
def test_the_gradient_is_finite_even_of_silence_and_of_a_click(sound: Tensor) -> None:
    x = sound.clone().requires_grad_()
    found = attributes(x, RATE)
    found.sum().backward()
    assert found.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def sounds(n: int) -> tuple[Tensor, Tensor]:
    """Hits of two labels, those of the second shorter and higher, (2 n, SAMPLES) and (2 n, 2)."""
    drawn = torch.rand(2 * n, 4, generator=rng()).tolist()
    made = [
        hit(100 * 2 ** (2 * a + (k >= n)), 0.02 + 0.05 * b * (1 + (k < n)), 0.02 * c, 0.3 * d)
        for k, (a, b, c, d) in enumerate(drawn)
    ]
    return torch.cat(made), torch.eye(2).repeat_interleave(n, dim=0)


def test_whitened_attributes_of_real_sounds_have_mean_0_for_each_label_and_unit_covariance() -> None:
    x, condition = sounds(40)
    found = Whitening(x, condition, RATE)(x, condition)
    torch.testing.assert_close(condition.T @ found / 40, torch.zeros(2, 6), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.T @ found / 80, torch.eye(6), atol=0.02, rtol=0)


def test_the_first_number_is_pitch_alone() -> None:
    x, condition = sounds(40)
    pitch = attributes(x, RATE)[:, 0]
    found = Whitening(x, condition, RATE)(x, condition)[:, 0]
    for label in condition.T.bool():
        assert float(torch.corrcoef(torch.stack([pitch[label], found[label]]))[0, 1]) == pytest.approx(1, abs=1e-4)


def test_a_label_of_one_sound_is_standardised_as_all_are() -> None:
    x, condition = sounds(20)
    few = F.pad(condition, (0, 1))
    few[0] = torch.tensor([0.0, 0.0, 1.0])
    found = Whitening(x, few, RATE)(x, few)
    assert found.isfinite().all()
    assert float(found[0].abs().max()) < 10


def test_one_sound_without_a_label_is_whitened_to_zero() -> None:
    assert float(Whitening(hit(), None, RATE)(hit(), None).abs().max()) < 1e-3

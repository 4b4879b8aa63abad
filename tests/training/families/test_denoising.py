"""Denoising notes and distribution matching distillation, against distributions whose means are known."""

import pytest
import torch
from torch import Tensor

from explorer.generators.pianogan import NoteEmbedding
from explorer.sound.notes import encode_notes
from training.families.denoising import Denoiser, distribution_matching_loss, noisy, sample


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pieces(pitch: int) -> Tensor:
    """Four equal pieces of one repeated key, (4, 92, 256)."""
    keys = torch.full((4, 256), pitch)
    ones = torch.ones(4, 256)
    return encode_notes(keys, ones * 0.2, ones * 0.5, ones * 64, ones * 0)


class Normal(torch.nn.Module):
    """Knows the mean of normal points of variance 1 in closed form."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = mean

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        # x = (1 - t) n + t p with p ~ N(mean, 1): regression of p on x.
        t = t[:, None, None]
        return self.mean + t / (t**2 + (1 - t) ** 2) * (x - t * self.mean)


def test_points_move_from_the_fake_distribution_to_the_real_one() -> None:
    points = torch.randn(64, 256, 16, generator=rng()).requires_grad_()
    real, fake = Normal(2.0), Normal(0.0)
    distribution_matching_loss(points, real, fake, rng(1)).backward()  # type: ignore[arg-type]
    assert points.grad is not None
    assert (points.grad.mean((1, 2)) < 0).all()  # descending raises every point's mean


def test_equal_distributions_do_not_move_points() -> None:
    points = torch.randn(8, 256, 16, generator=rng()).requires_grad_()
    distribution_matching_loss(points, Normal(1.0), Normal(1.0), rng(1)).backward()  # type: ignore[arg-type]
    assert points.grad is not None
    assert not points.grad.any()


def test_the_denoiser_learns_the_notes_and_samples_them() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(width=64, blocks=1)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
    for step in range(60):
        loss, _ = denoiser.loss(pieces(60), rng(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    points = sample(denoiser, torch.randn(2, 256, 16, generator=rng()), steps=8)
    notes, _ = NoteEmbedding().snap(points)
    assert (notes[:, :88].argmax(1) == 60 - 21).float().mean() > 0.95


@pytest.mark.parametrize("time", [0.0, 1.0])
def test_noise_is_all_at_the_start_and_none_at_the_end(time: float) -> None:
    points = torch.full((4, 256, 16), 5.0)
    x, t = noisy(points, rng(), time, time)
    assert t.tolist() == [time] * 4
    assert x.mean().item() == pytest.approx(5 * time, abs=0.05)

"""Denoising notes and distribution matching distillation, against distributions whose means are known."""

import pytest
import torch
from torch import Tensor

from explorer.generators.pianogan import Form, PianoGAN, PianoGANConfig
from explorer.sound.notes import encode_notes
from training.families.note_denoising import (
    COURSE_SHARE,
    denoising_loss,
    distribution_matching_loss,
    noisy,
    repeats,
    shaped_noise,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pieces(pitch: int) -> Tensor:
    """Four equal pieces of one repeated key, (4, 92, 256)."""
    keys = torch.full((4, 256), pitch)
    ones = torch.ones(4, 256)
    return encode_notes(keys, ones * 0.2, ones * 0.5, ones * 64, ones * 0)


def noise(points: Tensor) -> Tensor:
    return torch.randn(points.shape, generator=rng(2))


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
    distribution_matching_loss(points, noise(points), real, fake, rng(1)).backward()  # type: ignore[arg-type]
    assert points.grad is not None
    assert (points.grad.mean((1, 2)) < 0).all()  # descending raises every point's mean


def test_equal_distributions_do_not_move_points() -> None:
    points = torch.randn(8, 256, 16, generator=rng()).requires_grad_()
    same = Normal(1.0)
    distribution_matching_loss(points, noise(points), same, same, rng(1)).backward()  # type: ignore[arg-type]
    assert points.grad is not None
    assert not points.grad.any()


def test_the_denoiser_learns_the_notes_and_the_generator_plays_them() -> None:
    torch.manual_seed(0)
    generator = PianoGAN(PianoGANConfig(architecture="transformer", latent_size=64, width=64, blocks=1, flow_steps=8))
    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3)
    for step in range(60):
        loss = sum(denoising_loss(generator.denoiser, generator.form, pieces(60), rng(step)).values())
        optimizer.zero_grad()
        torch.as_tensor(loss).backward()
        optimizer.step()
    notes = generator(torch.randn(2, 64, generator=rng()))
    assert (notes[:, :88].argmax(1) == 60 - 21).float().mean() > 0.95


def test_a_note_repeats_the_first_that_it_came_after_in_the_same_run() -> None:
    keys = torch.tensor([[1, 2, 3, 4, 9, 8, 7, 1, 2, 3, 4, 5, 1, 2, 3, 6, 1, 2, 3, 4, 5]])
    #                     0  1  2  3           the same: 0-3, long enough  too short   of 7-11, which is of 0-3
    assert repeats(keys)[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 11, 12, 13, 14, 15, 0, 1, 2, 3, 11]


def test_repeated_notes_have_like_noise_and_the_course_of_the_piece() -> None:
    points = torch.randn(64, 256, 16, generator=rng())
    form = Form(64)
    form.measure(points, torch.arange(256).repeat(Form.PLANS, 1))
    keys = torch.randint(0, 88, (64, 128), generator=rng()).repeat(1, 2)  # the second half is the first again
    found = shaped_noise(form, points, keys, rng(1))
    first, second = found.chunk(2, 1)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1] == pytest.approx(0.9, abs=0.02)
    course = (form.cosines @ found).mT
    agree = torch.corrcoef(torch.stack([course.flatten(), form.course(points).flatten()]))[0, 1]
    assert agree == pytest.approx(COURSE_SHARE**0.5, abs=0.02)


@pytest.mark.parametrize("time", [0.0, 1.0])
def test_noise_is_all_at_the_start_and_none_at_the_end(time: float) -> None:
    points = torch.full((4, 256, 16), 5.0)
    x, t = noisy(points, noise(points), rng(), time, time)
    assert t.tolist() == [time] * 4
    assert x.mean().item() == pytest.approx(5 * time, abs=0.05)

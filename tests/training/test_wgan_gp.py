"""The losses, against values worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from training.wgan_gp import (
    critic_loss,
    generator_loss,
    gradient_penalty,
    original_critic_loss,
    original_generator_loss,
)

REAL, FAKE = torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.0])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_critic_loss_is_the_mean_fake_score_minus_the_mean_real_score() -> None:
    assert float(critic_loss(REAL, FAKE)) == -1.0 - 2.0


def test_the_generator_loss_is_minus_the_mean_fake_score() -> None:
    assert float(generator_loss(FAKE)) == 1.0


def test_the_original_losses_are_cross_entropies() -> None:
    sigmoid = [1 / (1 + math.exp(-x)) for x in (1, 3, -2, 0)]
    real, fake = sigmoid[:2], sigmoid[2:]
    expected = -sum(map(math.log, real)) / 2 - sum(math.log(1 - p) for p in fake) / 2
    assert float(original_critic_loss(REAL, FAKE)) == pytest.approx(expected, rel=1e-6)
    assert float(original_generator_loss(FAKE)) == pytest.approx(-sum(map(math.log, fake)) / 2, rel=1e-6)


def test_the_original_losses_stay_finite_where_a_sigmoid_saturates() -> None:
    sure = torch.tensor([1000.0])
    assert float(original_critic_loss(-sure, sure)) == 2000.0
    assert float(original_generator_loss(-sure)) == 1000.0


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_critic_of_slope_five_has_penalty_sixteen_on_any_data(seed: int) -> None:
    real, fake = (torch.randn(7, 2, generator=rng(s)) for s in (seed, seed + 100))
    penalty = gradient_penalty(lambda x: x @ torch.tensor([3.0, 4.0]), real, fake)
    assert float(penalty) == pytest.approx(16.0, rel=1e-6)


def test_the_slope_is_taken_over_all_axes_of_an_item() -> None:
    # The gradient of the sum of 2 x 3 x 6 numbers has norm 6.
    real, fake = torch.zeros(4, 2, 3, 6), torch.ones(4, 2, 3, 6)
    assert float(gradient_penalty(lambda x: x.sum((1, 2, 3)), real, fake)) == pytest.approx(25.0)


def test_a_flat_critic_has_penalty_one_and_a_finite_gradient() -> None:
    weight = torch.zeros(2, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ weight, torch.zeros(3, 2), torch.ones(3, 2))
    penalty.backward()
    assert float(penalty.detach()) == 1.0
    assert weight.grad is not None
    assert bool(weight.grad.isfinite().all())


def test_the_slope_is_measured_between_each_real_and_its_own_fake() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum(1)

    real, fake = torch.randn(50, 3, generator=rng(1)), torch.randn(50, 3, generator=rng(2))
    gradient_penalty(critic, real, fake)
    share = (seen[0] - real) / (fake - real)
    assert float(share.min()) >= -1e-5
    assert float(share.max()) <= 1 + 1e-5
    # One share for all the numbers of an item, and another for the next item.
    torch.testing.assert_close(share, share[:, :1].expand(-1, 3), rtol=0, atol=1e-3)
    assert float(share[:, 0].std()) > 0.1


def test_no_gradient_flows_to_the_data() -> None:
    real, fake = torch.ones(3, 2, requires_grad=True), torch.zeros(3, 2, requires_grad=True)
    weight = torch.ones(2, requires_grad=True)
    gradient_penalty(lambda x: x.square() @ weight, real, fake).backward()
    assert (real.grad, fake.grad) == (None, None)


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4, 2\)"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(3, 2), torch.zeros(4, 2))


def test_its_gradient_with_respect_to_the_critic_agrees_with_finite_differences() -> None:
    real, fake = (torch.randn(4, 3, generator=rng(s), dtype=torch.float64) for s in (1, 2))
    first = torch.randn(3, 5, generator=rng(3), dtype=torch.float64, requires_grad=True)
    second = torch.randn(5, generator=rng(4), dtype=torch.float64, requires_grad=True)

    def penalty(a: Tensor, b: Tensor) -> Tensor:
        return gradient_penalty(lambda x: torch.tanh(x @ a) @ b, real, fake, rng(5))

    # The norm is taken in float32 whatever comes in, hence the wide step.
    assert torch.autograd.gradcheck(penalty, (first, second), eps=1e-3, atol=1e-3, rtol=1e-2)


def test_the_same_generator_state_gives_the_same_penalty_and_leaves_the_global_one_alone() -> None:
    real, fake = torch.randn(8, 3, generator=rng(1)), torch.randn(8, 3, generator=rng(2))
    before = torch.get_rng_state()
    first, second = (gradient_penalty(lambda x: x.square().sum(1), real, fake, rng(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())

"""Schedules and the sampler of diffusion models, against points of which the best estimate is known in closed form."""

import pytest
import torch
from torch import Tensor

from explorer.generators.diffusion import Noise, Process, Velocity, ddim

PROCESSES = [Velocity(), Noise()]
MEAN, STD = 3.0, 0.5  # of the points of these tests: independent normal numbers


def known(process: Process, steps: str, noise: Tensor, std: float = STD) -> list[Tensor]:
    """Stages of sampling with the mean of a point given its mixture, which a perfect network would know."""
    rates = list(zip(*(x.tolist() for x in process.rates(process.levels(steps))), strict=True))

    def estimate(mixed: Tensor, k: int) -> Tensor:
        alpha, sigma = rates[k]
        return MEAN + alpha * std**2 / ((alpha * std) ** 2 + sigma**2) * (mixed - alpha * MEAN)

    return list(ddim(estimate, noise, rates, process.multistep))


@pytest.mark.parametrize("process", PROCESSES, ids=["velocity", "noise"])
def test_the_clean_point_is_found_from_the_target(process: Process) -> None:
    rng = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(4, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    for t in process.levels(process.options[0]):
        alpha, sigma = process.rates(t)
        target = process.target(x, noise, alpha, sigma)
        found = process.clean(alpha * x + sigma * noise, target, float(alpha), float(sigma))
        torch.testing.assert_close(found, x)
        assert float(alpha**2 + sigma**2) == pytest.approx(1)


def test_noise_becomes_points_of_the_known_distribution_and_the_first_estimate_is_their_mean() -> None:
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stages = known(Velocity(), "32", noise)
    assert len(stages) == 32
    assert float(stages[0].std()) < 0.01
    assert float(stages[-1].mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(stages[-1].std()) == pytest.approx(STD, rel=0.05)
    # Without noise on the way, it is the map that keeps the order: x = mean + std * noise.
    torch.testing.assert_close(stages[-1], MEAN + STD * noise, atol=0.2, rtol=0)


@pytest.mark.parametrize("std", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_the_default_steps_keep_the_level_of_points_that_are_quiet_or_loud(std: float) -> None:
    process = Velocity()
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = known(process, process.options[0], noise, std)[-1]
    assert float((found - MEAN).std()) == pytest.approx(std, rel=0.2)  # by DDIM's own steps 0.5 to 0.85 of it


def test_the_published_schedule_has_200_steps_and_a_fast_one_of_6() -> None:
    process = Noise()
    alphas, _ = process.rates(process.levels("200"))
    added = 1 - (alphas[:-1] / alphas[1:]) ** 2
    torch.testing.assert_close(added, torch.linspace(0.02, 0.0001, 200, dtype=torch.float64)[:-1])
    fast, _ = process.rates(process.levels("6"))
    kept = (1 - torch.tensor([0.0001, 0.001, 0.01, 0.05, 0.2, 0.7], dtype=torch.float64)).cumprod(0)
    torch.testing.assert_close(fast.square(), kept.flip(0), atol=1e-4, rtol=0)

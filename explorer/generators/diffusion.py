"""How diffusion models mix points with noise, and how they find a point in noise.

At time t from 0 to 1 a point x and noise n are mixed to `alpha x + sigma n`: x at 0, noise at 1, or almost so. A
network is given the mixture and the time, and predicts what `Process.target` says.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Rates = tuple[float, float]  # alpha and sigma
LEFT = 0.3  # share of a step that the last one leaves, see `Velocity.levels`


class Process(ABC):
    """A schedule of mixtures, and what a network predicts of them.

    Alpha and sigma are shaped like the points, or broadcast with them.
    """

    options: tuple[str, ...]  # numbers of steps that `levels` takes, the default first, the largest last
    multistep: bool  # whether to sample by two estimates, see `ddim`

    @abstractmethod
    def time(self, share: Tensor) -> Tensor:
        """Times to train on, from numbers that are uniform in [0, 1)."""

    @abstractmethod
    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma at times t."""

    @abstractmethod
    def levels(self, steps: str) -> Tensor:
        """The times (steps,) that a sampler visits, from the noisiest on."""

    @abstractmethod
    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network predicts."""

    @abstractmethod
    def clean(self, mixed: Tensor, predicted: Tensor, alpha: float, sigma: float) -> Tensor:
        """The estimate of x in a mixture, from what was predicted."""


class Velocity(Process):
    """The cosine schedule, with `alpha n - sigma x` as the target (Salimans and Ho, 2022, arXiv:2202.00512)."""

    options = ("8", "2", "4", "16", "32")
    multistep = True

    def time(self, share: Tensor) -> Tensor:
        return share

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        angle = t * (math.pi / 2)
        return angle.cos(), angle.sin()

    def levels(self, steps: str) -> Tensor:
        # Dense where what is loudest is decided.
        return (torch.arange(int(steps), dtype=torch.float64) * (math.pi / 2 / (int(steps) - LEFT))).cos()

    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return alpha * noise - sigma * x

    def clean(self, mixed: Tensor, predicted: Tensor, alpha: float, sigma: float) -> Tensor:
        return alpha * mixed - sigma * predicted


class Noise(Process):
    """DiffWave's schedule of 200 steps, with the noise as the target; "6" is the paper's fast schedule."""

    STEPS = 200
    FAST = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.7)  # variances of the noise that each step adds
    options = ("6", "200")
    multistep = False

    def __init__(self) -> None:
        added = torch.linspace(0.0001, 0.02, self.STEPS, dtype=torch.float64)
        self.alphas = (1 - added).cumprod(0).sqrt()

    def time(self, share: Tensor) -> Tensor:
        return (share * self.STEPS).floor() / (self.STEPS - 1)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        place = t * (self.STEPS - 1)
        low = place.floor().clamp(0, self.STEPS - 2)
        known, index = self.alphas.to(t.device), low.long()
        alpha = torch.lerp(known[index], known[index + 1], (place - low).double())
        return alpha.to(t.dtype), (1 - alpha.square()).sqrt().to(t.dtype)

    def levels(self, steps: str) -> Tensor:
        if steps == str(self.STEPS):
            return torch.linspace(1, 0, self.STEPS, dtype=torch.float64)
        wanted = (1 - torch.tensor(self.FAST, dtype=torch.float64)).cumprod(0).sqrt().flip(0)
        # The times whose alphas these are, between the 200 steps where need be (appendix B of the paper).
        wanted = wanted.clamp(float(self.alphas[-1]), float(self.alphas[0]))
        after = torch.searchsorted(-self.alphas, -wanted).clamp(1, self.STEPS - 1)
        low, high = self.alphas[after - 1], self.alphas[after]
        return (after - 1 + (low - wanted) / (low - high)) / (self.STEPS - 1)

    def target(self, x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return noise

    def clean(self, mixed: Tensor, predicted: Tensor, alpha: float, sigma: float) -> Tensor:
        return (mixed - sigma * predicted) / alpha


def ddim(
    estimate: Callable[[Tensor, int], Tensor], noise: Tensor, rates: Sequence[Rates], multistep: bool
) -> Iterator[Tensor]:
    """Yields an estimate of the point at each step, from the blurred mean of all points to the sample itself.

    No noise is added on the way, so the sample is a function of the first noise: DDIM with eta = 0 (Song et al., 2021,
    arXiv:2010.02502).

    Args:
        estimate: from a mixture and the number of the step to the point in it, like `Process.clean`.
        rates: of the mixtures, from the noisiest on.
        multistep: whether a step also follows how the estimate changes, at no cost: DPM-Solver++(2M) (Lu et al., 2022,
            arXiv:2211.01095). In 8 steps, DDIM gives the loudest coefficients of noise half of their deviation.
    """
    mixed = noise
    before = noise
    for k, (alpha, sigma) in enumerate(rates):
        point = estimate(mixed, k)
        yield point
        if k + 1 < len(rates):
            alpha_next, sigma_next = rates[k + 1]
            ahead = point
            if multistep and k:
                last, now, then = (math.log(max(a, 1e-9) / s) for a, s in rates[k - 1 : k + 2])
                ahead = point + (point - before) * ((then - now) / (now - last) / 2)
            mixed = alpha_next * ahead + (sigma_next / sigma) * (mixed - alpha * ahead)
            before = point

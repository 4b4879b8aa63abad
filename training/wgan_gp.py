"""The Wasserstein loss with gradient penalty, as pure functions shared by every family.

Gulrajani et al. (2017), "Improved Training of Wasserstein GANs", arXiv:1704.00028. The original loss of Goodfellow
et al. (2014), arXiv:1406.2661, in its non-saturating form stands beside it for comparison.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from training.parallel import rand


def critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Mean fake score minus mean real score: the critic minimises it, and minus it estimates the Wasserstein-1
    distance as far as the critic is 1-Lipschitz."""
    return fake_scores.mean() - real_scores.mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """The generator raises the critic's score of what it makes."""
    return -fake_scores.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """Mean squared distance of the critic's slope from 1, between real and fake.

    Algorithm 1, lines 4-7 of Gulrajani et al. (2017).

    Args:
        critic: (batch, ...) -> (batch,). Must treat items apart: no batch norm.
        real, fake: (batch, ...), same shape. No gradient flows to `fake`.
        rng: where the mixing shares come from; the global state if None.
    Returns:
        A scalar >= 0, not yet weighted.
    Raises:
        ValueError: if the shapes differ.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real has shape {tuple(real.shape)}, fake has {tuple(fake.shape)}")
    share = rand((len(real), *(1,) * (real.ndim - 1)), rng).to(real)
    between = torch.lerp(real.detach(), fake.detach(), share).requires_grad_()
    scores = critic(between)
    (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    # .norm, not sqrt of a sum: its gradient at zero is zero instead of NaN.
    return (slope.flatten(1).float().norm(dim=1) - 1).square().mean()


def original_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Cross entropy of a discriminator that tells real from fake by the sign of its score."""
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


def original_generator_loss(fake_scores: Tensor) -> Tensor:
    """The non-saturating loss: minus the log of the probability that a fake is taken for real."""
    return F.softplus(-fake_scores).mean()

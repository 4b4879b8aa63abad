"""Draws latents for training. Unlike the explorer's, they cannot be drawn again from one seed each."""

import math

import torch
from torch import Tensor

from explorer.latent import LatentSpace
from training import parallel


def draw_latents(space: LatentSpace, n: int, rng: torch.Generator) -> Tensor:
    """Independent draws (n, *shape) from the prior, on the device of `rng`."""
    size = (n, *space.shape)
    if space.prior == "normal":
        return parallel.randn(size, rng)
    return parallel.rand(size, rng) * 2 - 1


def balanced_latents(space: LatentSpace, n: int, rng: torch.Generator) -> Tensor:
    """Normal latents (n, *shape) whose means vary less than those of independent draws.

    Antithetic pairs (z and -z), orthogonal to each other in groups as large as the dimension: orthogonal random
    features, Yu et al. (2016), arXiv:1610.09072.
    """
    size = math.prod(space.shape)
    half = torch.randn(n * parallel.world_size() // 2, size, generator=rng, device=rng.device)
    half = torch.cat([torch.linalg.qr(z.T).Q.T * z.norm(dim=1, keepdim=True) for z in half.split(size)])
    return parallel.local_rows(torch.cat([half, -half])).reshape(n, *space.shape)

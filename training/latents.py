"""Latents for training, where no seed has to find them again."""

import math

import torch
from torch import Tensor

from explorer.latent import LatentSpace
from training import parallel


def draw_latents(space: LatentSpace, n: int, rng: torch.Generator) -> Tensor:
    """(n, *shape) latents of the prior, on the device of `rng`."""
    size = (n, *space.shape)
    if space.prior == "normal":
        return parallel.randn(size, rng)
    return parallel.rand(size, rng) * 2 - 1


def balanced_latents(space: LatentSpace, n: int, rng: torch.Generator) -> Tensor:
    """(n, *shape) normal latents that are spread evenly: in opposite pairs, and at right angles to as many others as
    there are dimensions (Yu et al., 2016, arXiv:1610.09072). Means over them vary less than over independent ones."""
    size = math.prod(space.shape)
    half = torch.randn(n * parallel.ranks() // 2, size, generator=rng, device=rng.device)
    half = torch.cat([torch.linalg.qr(z.T).Q.T * z.norm(dim=1, keepdim=True) for z in half.split(size)])
    return parallel.local_rows(torch.cat([half, -half])).reshape(n, *space.shape)

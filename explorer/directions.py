"""Directions in latent space worth a slider.

Principal directions are found without labels, after GANSpace (Härkönen et al., 2020, arXiv:2004.02546):
not of the prior, which is the same in every direction, but of what the generator makes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.generators.base import Generator


@dataclass(frozen=True)
class Direction:
    """A unit vector in latent space.

    Attributes:
        name: stable, used in recipes: "pc1".
        vector: (*latent.shape), norm 1: one step is one standard deviation of a normal prior.
        title: what the slider says.
        measures: what was measured of it, e.g. {"explained": 0.12}: the share of the output's variance.
    """

    name: str
    vector: Tensor = field(repr=False, compare=False)
    title: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the vector, as plain values."""
        return {"name": self.name, "title": self.title, "measures": dict(self.measures)}


@torch.no_grad()
def principal(generator: Generator, count: int = 12, samples: int = 1024, seed: int = 0) -> tuple[Direction, ...]:
    """The directions along which a generator's features change most.

    Takes the principal components of `generator.features` over latents of the prior, then the latent vector that
    best predicts each component's coordinate (least squares). Conditions are drawn evenly and their mean effect
    is taken out first, so that a direction is a way of speaking, not another word.

    Args:
        count: how many; fewer if the latent or the features have fewer.
        samples: latents to look at.
    """
    rng = np.random.RandomState(seed)
    z = generator.latent.sample(samples, rng)
    classes = len(generator.condition.choices) if generator.condition else 1
    label = torch.arange(samples) % classes
    weights = torch.nn.functional.one_hot(label, classes).float() if generator.condition else None
    batches = torch.arange(samples).split(64)
    x = torch.cat([generator.features(z[i], weights[i] if weights is not None else None) for i in batches]).double()
    for c in range(classes):
        x[label == c] -= x[label == c].mean(0)
    flat = z.flatten(1).double()
    count = min(count, flat.shape[1], x.shape[1], samples - 1)
    if x.shape[1] > samples:  # the smaller of the two matrices with the same spectrum
        values, left = torch.linalg.eigh(x @ x.T)
    else:
        values, right = torch.linalg.eigh(x.T @ x)
        left = x @ right / values.clamp_min(1e-12).sqrt()
    order = values.argsort(descending=True)[:count]
    coordinates = left[:, order] * values[order].clamp_min(0).sqrt()
    solution = torch.linalg.lstsq(flat, coordinates).solution  # (latent.size, count)
    explained = values[order] / values.clamp_min(0).sum()
    found = []
    for k in range(count):
        vector = solution[:, k]
        # An eigenvector's sign is free; fix it, so that a slider's right is the same on every machine.
        vector = vector * torch.sign(vector[vector.abs().argmax()]) / vector.norm().clamp_min(1e-12)
        residual = (coordinates[:, k] - flat @ solution[:, k]).var() / coordinates[:, k].var().clamp_min(1e-12)
        measures = {"explained": round(float(explained[k]), 4), "r2": round(float(1 - residual), 4)}
        found.append(Direction(f"pc{k + 1}", vector.float().reshape(generator.latent.shape),
                               f"Direction {k + 1}", measures))
    return tuple(found)

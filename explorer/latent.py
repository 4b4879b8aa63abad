"""The latent space of a generator: its prior, latents from seeds, and mixes, moves and interpolation of latents.

Each generator has its own prior: PianoGAN's is a standard normal, WaveGAN's is uniform on [-1, 1].
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Prior = Literal["normal", "uniform"]
Path = Literal["arc", "line"]

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class LatentSpace:
    """Shape and prior of a latent, e.g. `(128,)` normal, or `(1, 16000)` for a diffusion model."""

    shape: tuple[int, ...]
    prior: Prior = "normal"
    stream: int = 0  # of random numbers: latents of one seed in two streams are independent

    @property
    def size(self) -> int:
        """Number of components of a latent."""
        return int(np.prod(self.shape))

    @property
    def std(self) -> float:
        """Standard deviation of one component under the prior, and so of the position along any unit vector."""
        return 1.0 if self.prior == "normal" else 1 / math.sqrt(3)

    @property
    def default_path(self) -> Path:
        """`arc` for a normal prior, where it stays at likely norms; `line` for a uniform one, whose cube is convex."""
        return "arc" if self.prior == "normal" else "line"

    def sample(self, n: int, rng: np.random.RandomState) -> Tensor:
        """Draws n latents: (n, *shape), float32."""
        size = (n, *self.shape)
        z = rng.standard_normal(size) if self.prior == "normal" else rng.uniform(-1, 1, size)
        return torch.from_numpy(np.asarray(z, dtype=np.float32))

    def from_seed(self, seed: int) -> Tensor:
        """The latent (*shape) of a seed, the same in every version.

        `RandomState` is the one random generator whose streams NumPy has promised never to change (NEP 19), and a
        recipe must give the same sound years later.

        Raises:
            ValueError: if the seed is not an integer in 0 ... 2**32 - 1.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise ValueError(f"a seed is a whole number from 0 to {MAX_SEED}, not {seed!r}")
        return self.sample(1, np.random.RandomState([seed, self.stream] if self.stream else seed))[0]

    def from_seeds(self, seeds: Iterable[int]) -> Tensor:
        """The latents (n, *shape) of seeds. Raises as `from_seed`."""
        return torch.stack([self.from_seed(seed) for seed in seeds])

    def remoteness(self, z: Tensor) -> float:
        """How unusual the norm of z (*shape) is: the share of the prior, 0 to 1, that has a smaller norm.

        The squared norm of a normal latent is chi-squared with `size` degrees of freedom. That of a uniform one is
        the sum of `size` independent terms of mean 1/3 and variance 4/45, here taken as normal (the central limit
        theorem); outside of the cube it is 1.
        """
        squared = z.double().square().sum()
        if self.prior == "normal":
            return float(torch.special.gammainc(torch.tensor(self.size / 2, dtype=torch.float64), squared / 2))
        if z.abs().max() > 1:
            return 1.0
        return float(torch.special.ndtr((squared - self.size / 3) / math.sqrt(self.size * 4 / 45)))

    def shares(self, weights: Sequence[float]) -> list[float]:
        """Normalised mixing weights: `w / norm(w)` for a normal prior, `w / sum(w)` for a uniform one.

        Raises:
            ValueError: if the weights cancel.
        """
        whole = math.hypot(*weights) if self.prior == "normal" else math.fsum(weights)
        if abs(whole) <= 1e-6 * max(map(abs, weights)):
            raise ValueError("the weights of this mix cancel each other: nothing is left of it")
        return [weight / whole for weight in weights]

    def mix(self, latents: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """A weighted sum of independent latents, such as their average or a - b + c, normalised for the prior.

        Under a normal prior it is sum(w z) / sqrt(sum(w^2)), which has the distribution of the prior again; under a
        uniform one the mean sum(w z) / sum(w), clamped to the cube.

        Args:
            latents: n of (*shape).
            weights: n, not all 0.
        Returns:
            (*shape); a single latent with a positive weight comes back bit for bit.
        Raises:
            ValueError: as `shares`.
        """
        shares = self.shares(weights)
        z = shares[0] * latents[0]
        for latent, share in zip(latents[1:], shares[1:], strict=True):
            z = z + share * latent
        return z.clamp(-1, 1) if self.prior == "uniform" else z

    def move(self, z: Tensor, vector: Tensor, amount: float) -> Tensor:
        """A latent (*shape) moved along a unit vector (*shape) by an amount in standard deviations of the prior.

        A move is straight under both priors, so equal amounts change the latent equally. Under a uniform prior each
        component is clamped to [-1, 1], and `room` says how far a move still changes anything.
        """
        moved = z + amount * self.std * vector
        return moved.clamp(-1, 1) if self.prior == "uniform" else moved

    def room(self, z: Tensor, vector: Tensor) -> tuple[float, float]:
        """How far z (*shape) can be moved along a unit vector until every component it changes is clamped.

        Returns:
            The largest useful amounts of `move`, backward and forward, both >= 0, in standard deviations of the prior;
            infinite for a normal prior.
        """
        if self.prior == "normal":
            return math.inf, math.inf
        moving = vector != 0
        direction, at = vector[moving].double(), z[moving].double().clamp(-1, 1)
        ahead = ((direction.sign() - at) / direction).max() / self.std
        back = ((direction.sign() + at) / direction).max() / self.std
        return float(back), float(ahead)

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor, path: Path | None = None) -> Tensor:
        """Interpolates from start to end; both ends are exact.

        An arc turns the direction at a constant rate (slerp: Shoemake, 1985; for latents White, 2016,
        arXiv:1609.04468) while the norm goes linearly from one to the other, so two latents of equal norm keep it
        in between. A line is linear interpolation, whose middle has an improbably small norm under a normal prior.

        Args:
            start, end: (*shape) each.
            t: (k,), each in [0, 1].
            path: the prior's `default_path` if None.
        Returns:
            (k, *shape)
        """
        path = path or self.default_path
        if path not in ("arc", "line"):
            raise ValueError(f"a path is 'arc' or 'line', not {path!r}")
        t = t.reshape(-1, *(1,) * len(self.shape)).to(start.dtype)
        along = (1 - t) * start + t * end
        if path == "arc":
            length_a, length_b = start.norm(), end.norm()
            cosine = (start * end).sum() / (length_a * length_b).clamp_min(1e-12)
            angle = torch.arccos(cosine.clamp(-1, 1))
            # Parallel latents have no arc between them, opposite ones infinitely many, and zero has no direction:
            # these are interpolated linearly.
            if 1e-4 < angle < torch.pi - 1e-4 and length_a > 0 and length_b > 0:
                unit_a, unit_b = start / length_a, end / length_b
                turned = torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b
                along = turned / torch.sin(angle) * ((1 - t) * length_a + t * length_b)
        return torch.where(t == 0, start, torch.where(t == 1, end, along))

"""A denoiser of notes, and distribution matching distillation with it (DMD2: Yin et al., 2024, arXiv:2405.14867).

A point x of real notes and noise n give x_t = (1 - t) n + t x, from t = 0, all noise, to t = 1. A denoiser estimates x
from x_t: keys by cross entropy (as in Dieleman et al., 2022, arXiv:2211.15089), times by squared error. One denoiser
learns real notes in the warm start; another learns, with the critic, what the generator makes. Where the two disagree
about a generated point with fresh noise, the first knows better: the generator's point moves by the difference.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.diffusion import ddim
from explorer.generators.pianogan import WIDTH_OF_HEAD, NoteEmbedding
from explorer.generators.transformer import Transformer
from explorer.sound.notes import KEYS, NOTES
from training.parallel import rand, randn

LEAST, MOST = 0.02, 0.85  # times at which the two denoisers are compared; later they differ by their errors alone
NEAREST = 0.15  # the least distance from the estimate by which a difference is divided
LATE, LATE_SHARE = 0.85, 0.25  # the share of times drawn after `LATE`, where the fine differences of rhythm show


class Denoiser(nn.Module):
    """Noisy points (batch, 256, 16) and times (batch,) -> logits of keys (batch, 256, 88), and times of notes."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.embedding = NoteEmbedding()
        size = NoteEmbedding.SIZE
        outputs = KEYS + size - NoteEmbedding.PITCH
        self.transformer = Transformer(size, outputs, NOTES, width, blocks, width // WIDTH_OF_HEAD // 2, timed=True)

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        out = self.transformer(x, t).float()
        return out[..., :KEYS], out[..., KEYS:]

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        """The mean of the points (batch, 256, 16) that x may come from."""
        keys, times = self(x, t)
        return torch.cat([self.embedding.of_keys(keys.softmax(2)), times], dim=2)

    def loss(self, notes: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The denoising loss of notes (batch, 92, 256), and values to log."""
        points = self.embedding.embed(notes)
        x, t = noisy(points, rng)
        keys, times = self(x, t)
        wanted = notes[:, :KEYS].argmax(1)
        key_loss = F.cross_entropy(keys.flatten(0, 1), wanted.flatten())
        time_loss = (times - points[..., NoteEmbedding.PITCH :]).square().sum(2).mean()
        return key_loss + time_loss, {"denoising_keys": key_loss, "denoising_times": time_loss}


def noisy(points: Tensor, rng: torch.Generator, least: float = 0.0, most: float = 1.0) -> tuple[Tensor, Tensor]:
    """Adds noise to points (batch, 256, 16) at times (batch,) in [least, most]; returns both."""
    late, t = rand((2, len(points)), rng)
    t = torch.where(late < LATE_SHARE, LATE + (1 - LATE) * t, t)
    t = least + (most - least) * t
    share = t[:, None, None]
    return share * points + (1 - share) * randn(points.shape, rng), t


def distribution_matching_loss(points: Tensor, real: Denoiser, fake: Denoiser, rng: torch.Generator) -> Tensor:
    """A loss whose gradient moves points (batch, 256, 16) as far as `real` and `fake` differ in what they make of them.

    Each item's difference is divided by the distance of its points from `real`'s estimate. For differences of order 1
    the gradient of an item has a norm of about 1.
    """
    with torch.no_grad():
        x, t = noisy(points.detach(), rng, LEAST, MOST)
        wanted = real.estimate(x, t)
        away = fake.estimate(x, t) - wanted
        away = away / (points - wanted).abs().mean((1, 2), keepdim=True).clamp_min(NEAREST)
        target = points - away
    size = points[0].numel()
    return (points - target).square().sum((1, 2)).mean() / (2 * size**0.5)


@torch.no_grad()
def sample(denoiser: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """Moves noise (batch, 256, 16) to points of music; for tests and experiments."""

    def estimate(x: Tensor, k: int) -> Tensor:
        return denoiser.estimate(x, torch.full((len(x),), k / steps, device=x.device))

    *_, points = ddim(estimate, noise, [(k / steps, 1 - k / steps) for k in range(steps)])
    return points

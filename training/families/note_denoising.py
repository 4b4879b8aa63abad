"""A denoiser of notes, and distribution matching distillation with it (DMD2: Yin et al., 2024, arXiv:2405.14867).

A point x of real notes and noise n give x_t = (1 - t) n + t x, from t = 0, all noise, to t = 1. A denoiser estimates x
from x_t: keys by cross entropy (as in Dieleman et al., 2022, arXiv:2211.15089), times by squared error. The
noise has the form of the piece (`shaped_noise`). A generator learns to denoise real notes in the warm start, and a copy
of it keeps that; another copy learns, with the critic, to denoise what the generator makes. Where the two disagree
about a generated point with fresh noise, the first knows better: the generator's point moves by the difference.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.generators.pianogan import Denoiser, Form, NoteEmbedding
from explorer.sound.notes import KEYS
from training.parallel import rand, randn

LEAST, MOST = 0.02, 0.85  # times at which the two denoisers are compared; later they differ by their errors alone
NEAREST = 0.15  # the least distance from the estimate by which a difference is divided
SHORTEST = 4  # notes of a repeat
COURSE_SHARE = 0.95  # of the variance of the noise's course is that of the piece
FINEST = 0.02  # errors of times are counted in shares of the noise, down to this one
LATE, LATE_SHARE = 0.85, 0.25  # the share of times drawn after `LATE`, where the fine differences of rhythm show


def denoising_loss(denoiser: Denoiser, form: Form, notes: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
    """The two losses of denoising notes (batch, 92, 256), of keys and of times."""
    points = denoiser.embedding.embed(notes)
    x, t = noisy(points, shaped_noise(form, points, notes[:, :KEYS].argmax(1), rng), rng)
    keys, times = denoiser(x, t)
    errors = (times - points[..., NoteEmbedding.PITCH :]) / (1 - t).clamp_min(FINEST)[:, None, None]
    return {
        "denoising_keys": F.cross_entropy(keys.mT, notes[:, :KEYS].argmax(1)),
        "denoising_times": errors.square().sum(2).mean(),
    }


def shaped_noise(form: Form, points: Tensor, keys: Tensor, rng: torch.Generator) -> Tensor:
    """Noise of the form that pieces have: points (batch, 256, 16) and keys (batch, 256) -> (batch, 256, 16)."""
    with torch.autocast(points.device.type, enabled=False):
        noise, own = randn((2, *points.shape), rng)
        repeated = noise.gather(1, repeats(keys)[..., None].expand_as(noise))
        course = form.course(points)
        blurred = COURSE_SHARE**0.5 * course + (1 - COURSE_SHARE) ** 0.5 * randn(course.shape, rng)
        return form.shaped(repeated, own, blurred)


def repeats(keys: Tensor) -> Tensor:
    """For each note of keys (batch, n) the first one that it repeats, (batch, n): itself if it is new.

    A note repeats an earlier one if it is one of at least `SHORTEST` notes in a row that have the keys of notes equally
    far back; of several such distances the one with most notes, then the least, counts.
    """
    n = keys.shape[1]
    note = torch.arange(n, device=keys.device)
    lag = 1 + torch.arange(n - 1, device=keys.device)
    back = note - lag[:, None]
    same = (keys[:, back.clamp_min(0)] == keys[:, None]) & (back >= 0)
    before = torch.where(same, -1, note).cummax(2).values  # the last note until here that differs
    after = torch.where(same, n, note).flip(2).cummin(2).values.flip(2)
    length = after - before - 1  # -1 where it differs
    longest, at = (length * n - lag[:, None]).max(1)
    source = torch.where(longest >= SHORTEST * n - n, note - lag[at], note)
    for _ in range(math.ceil(math.log2(n))):
        source = source.gather(1, source)
    return source


def noisy(
    points: Tensor, noise: Tensor, rng: torch.Generator, least: float = 0.0, most: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mixes points (batch, 256, 16) with noise at times (batch,) in [least, most]; returns both."""
    late, t = rand((2, len(points)), rng)
    t = torch.where(late < LATE_SHARE, LATE + (1 - LATE) * t, t)
    t = least + (most - least) * t
    share = t[:, None, None]
    return share * points + (1 - share) * noise, t


def distribution_matching_loss(
    points: Tensor, noise: Tensor, real: Denoiser, fake: Denoiser, rng: torch.Generator
) -> Tensor:
    """A loss whose gradient moves points (batch, 256, 16) as far as `real` and `fake` differ in what they make of them.

    Each item's difference is divided by the distance of its points from `real`'s estimate. For differences of order 1
    the gradient of an item has a norm of about 1.
    """
    with torch.no_grad():
        x, t = noisy(points.detach(), noise, rng, LEAST, MOST)
        wanted = real.estimate(x, t)
        away = fake.estimate(x, t) - wanted
        away = away / (points - wanted).abs().mean((1, 2), keepdim=True).clamp_min(NEAREST)
        target = points - away
    size = points[0].numel()
    return (points - target).square().sum((1, 2)).mean() / (2 * size**0.5)

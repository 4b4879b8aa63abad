"""What the notes before say of the next one's key and length, key by key: an input of `Performer`.

A transformer has to learn for each key apart that it is seldom struck twice in a row, or that what was played a third
lower is to be continued a third higher. These planes say it in the same way for all keys: how often and how lately each
was struck and whether it still sounds, and which key would continue the line as it went on before, when the same
intervals had come (as the suffix matching of compression and of "infini-gram", Liu et al., 2024, arXiv:2401.17377, but
of intervals, so that a motif is known in another key). Lengths likewise: what sounds now ends together more often than
not, as the pedal is released.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.note_tokens import BINS, DURATION, DURATION_MIDDLES, PITCH, STEP, STEP_MIDDLES
from explorer.sound.notes import DURATION_SECONDS, KEYS, NOTES

FADES = (4.0, 16.0, 64.0)  # notes in which what was struck counts e times less
FADE_SECONDS = 2.0  # the same, by time
RUNS = (1, 2, 4)  # intervals that must have come before, from note to note
LINE_RUNS = (1, 2)  # from stroke to stroke, of the highest and of the lowest keys
RECENT = 4  # notes
KEY_PLANES = 4 + len(FADES) + len(RUNS) + 2 * len(LINE_RUNS)
LENGTH_PLANES = 6
SHORTEST_END = 0.8  # of the shortest length: what ends sooner is not counted


class Recall(nn.Module):
    """What planes add to logits: a convolution over their bins, whose channels the context weighs.

    Args:
        context: numbers of the context.
    """

    def __init__(self, planes: int, channels: int, taps: int, context: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(planes, channels, taps, padding=taps // 2)
        self.mix = nn.Linear(context, channels)
        nn.init.kaiming_normal_(self.convolution.weight)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, planes: Tensor, context: Tensor) -> Tensor:
        """Planes (batch, notes, planes, bins) and contexts (batch, notes, context) -> (batch, notes, bins)."""
        seen = F.relu(self.convolution(planes.flatten(0, 1))).unflatten(0, planes.shape[:2])
        return torch.einsum("bnch,bnc->bnh", seen, self.mix(context))


@torch.no_grad()
def recalled(notes: Tensor) -> tuple[Tensor, Tensor]:
    """Bins (batch, 256, 5) -> planes over the keys (batch, 256, 14, 88) and over the lengths (batch, 256, 6, 96).

    Those of a note follow from the notes before it and from its step, those over the lengths also from its pitch.
    """
    step, pitch, length = notes[..., STEP], notes[..., PITCH], notes[..., DURATION]
    place = torch.arange(NOTES, device=notes.device)
    before = place[:, None] > place
    ago = place[:, None] - 1 - place
    begins = (step > 0) | (place == 0)  # a stroke
    stroke = begins.cumsum(1) - 1
    strokes_ago = _less(stroke)
    onset = (torch.from_numpy(STEP_MIDDLES).to(notes.device)[step] * (place > 0)).cumsum(1)
    end = onset + torch.from_numpy(DURATION_MIDDLES).to(notes.device)[length]
    interval = pitch - F.pad(pitch[:, :-1], (1, 0))

    same_stroke = (strokes_ago == 0) & before
    sounding = (end[:, None] > onset[..., None]) & before
    fading = [torch.where(before, (-ago / fade).exp(), 0.0) for fade in FADES]
    by_time = torch.where(before, (-_less(onset) / FADE_SECONDS).exp(), 0.0)
    keys = F.one_hot(pitch, KEYS).float()
    struck = [mask.float() @ keys for mask in (same_stroke, strokes_ago == 1, sounding, by_time, *fading)]
    struck[2].clamp_(max=1)

    alike = (begins[..., None] == begins[:, None]) & (place > 0)
    repeats = alike & (_less(interval) == 0)
    runs = _runs(repeats, RUNS)
    continued = F.pad(pitch[:, :-1], (1, 0))[..., None] + interval[:, None]
    votes = [_counts((run & alike).float(), continued, KEYS) for run in runs]
    lines = [vote for highest in (True, False) for vote in _line_votes(pitch, stroke, highest)]
    of_keys = torch.stack([*struck, *votes, *lines], dim=2)

    lengths = F.one_hot(length, BINS[DURATION]).float()
    lasted = [mask.float() @ lengths for mask in (same_stroke, *fading[:2])]
    ends = [_ends(end[:, None] - onset[..., None], mask) for mask in (before, before & (ago < RECENT))]
    again = _counts((runs[0] & repeats).float(), length[:, None].expand_as(repeats), BINS[DURATION])
    return of_keys.log1p(), torch.stack([*lasted, *ends, again], dim=2).log1p()


def _less(x: Tensor) -> Tensor:
    """(batch, n) -> (batch, n, n): each number less each."""
    return x[..., None] - x[:, None]


def _runs(alike: Tensor, lengths: tuple[int, ...]) -> list[Tensor]:
    """Whether i is like j (batch, n, n) -> for each length whether as many before i are like those before j < i."""
    run, moved = torch.ones_like(alike).tril(-1), alike
    found = []
    for length in range(1, max(lengths) + 1):
        moved = F.pad(moved[:, :-1, :-1], (1, 0, 1, 0))
        run = run & moved
        if length in lengths:
            found.append(run)
    return found


def _counts(weights: Tensor, at: Tensor, bins: int) -> Tensor:
    """Adds up weights (batch, n, m) in the bins (batch, n, m) that are there: (batch, n, bins)."""
    there = (at >= 0) & (at < bins)
    return weights.new_zeros(*at.shape[:2], bins).scatter_add_(2, at.clamp(0, bins - 1), weights * there)


def _line_votes(pitch: Tensor, stroke: Tensor, highest: bool) -> list[Tensor]:
    """Where the highest or lowest key of a note's stroke would continue that line: (batch, 256, 88) for each run."""
    line = torch.zeros_like(pitch).scatter_reduce(1, stroke, pitch, "amax" if highest else "amin", include_self=False)
    interval = line - F.pad(line[:, :-1], (1, 0))
    later = torch.arange(NOTES, device=pitch.device) > 0  # the first stroke has no interval
    at = F.pad(line[:, :-1], (1, 0))[..., None] + interval[:, None]
    votes = [_counts((run & later).float(), at, KEYS) for run in _runs((_less(interval) == 0) & later, LINE_RUNS)]
    return [vote.gather(1, stroke[..., None].expand_as(vote)) for vote in votes]


def _ends(left: Tensor, mask: Tensor) -> Tensor:
    """Counts seconds until ends (batch, n, m), each in the two nearest bins of length: (batch, n, 96)."""
    low, high = DURATION_SECONDS
    place = (left.clamp_min(1e-4) / low).log() / math.log(high / low) * BINS[DURATION] - 0.5
    place = place.clamp(0, BINS[DURATION] - 1.001)
    bin_, counted = place.long(), (mask & (left > SHORTEST_END * low)).float()
    upper = counted * (place - bin_)
    return _counts(counted - upper, bin_, BINS[DURATION]) + _counts(upper, bin_ + 1, BINS[DURATION])

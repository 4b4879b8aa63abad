"""`Performer`: writes the 256 notes of a piece one after another, each from the notes before it and from noise.

The distribution of each number of a note, given all before it, is learned (`Performer.likelihoods`). A piece is drawn
from these one by one, as a function of noise and of its course (`Course`). A key is the one of the largest sum of log
probability and noise (the Gumbel-max trick: Maddison et al., 2014, arXiv:1411.0030), so that it stays the same while
the probabilities change a little. A time or velocity is that up to which lies the share of probability that the noise
says. Yet where one note changes, those after it may become others.

Drawing takes thousands of products of a matrix and a vector, for which calling torch takes longer than computing. So
what draws is a function of NumPy arrays, compiled by Numba (`explorer.generators.note_sampler`).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.sound.notes import CHORD_BELOW, KEYS, NOTES, SHORTEST_STEP

ATTRIBUTES = ("step", "pitch", "duration", "velocity", "touch")
BINS = (161, KEYS, 96, 64, 49)  # of each attribute; the first step is that within a chord, the first touch is none
STEP, PITCH, DURATION, VELOCITY, TOUCH = range(5)
FIRST = np.cumsum((0, *BINS))  # of each attribute's bins among all
ROWS = int(FIRST[-1])
COURSED = (PITCH, STEP, DURATION, VELOCITY)  # what a course is of
# Distributions are sharpened by these before a note is drawn (temperatures). At 1, small errors add up: pieces leave
# their key and beat, and motifs come back half as often (EXPERIMENTS.md).
TEMPERATURE = (0.9, 0.85, 0.95, 0.9, 0.9)
HEAD = 32  # channels of a head
LONGEST = 1000.0  # notes, over 2 pi: of the slowest rotary position
EPSILON = 1e-6
LEAST = 1e-9  # share of a probability


def tokens(x: Tensor) -> Tensor:
    """Notes (batch, 92, 256) in [-1, 1] -> the bins (batch, 256, 5) of their attributes."""
    step, duration, velocity, touch = x[:, KEYS:].unbind(1)

    def binned(share: Tensor, count: int) -> Tensor:
        return (share * count).floor().clamp(0, count - 1).long()

    steps = 1 + binned((step - SHORTEST_STEP) / (1 - SHORTEST_STEP), BINS[STEP] - 1)
    touches = 1 + binned((touch + 1) / 2, BINS[TOUCH] - 1)
    return torch.stack(
        [
            torch.where(step < CHORD_BELOW, 0, steps),
            x[:, :KEYS].argmax(1),
            binned((duration + 1) / 2, BINS[DURATION]),
            binned((velocity + 1) / 2, BINS[VELOCITY]),
            torch.where(touch <= -1 + 1e-3, 0, touches),
        ],
        dim=2,
    )


class Course(nn.Module):
    """The course of a piece: how register, pace, lengths and loudness lie and move, as numbers that are normal.

    Of these four attributes of the notes the slowest `WAVES` cosines over the piece, whitened over real pieces so that
    each stays near its own, and mapped to the normal distribution. `measure` takes their distribution from real pieces.
    """

    WAVES = 3
    KNOTS = 128  # quantiles of each number
    SIZE = len(COURSED) * WAVES

    cosines: Tensor
    mean: Tensor
    whitening: Tensor
    quantiles: Tensor

    def __init__(self) -> None:
        super().__init__()
        time = (torch.arange(NOTES).double() + 0.5) / NOTES
        cosines = torch.cos(math.pi * torch.arange(self.WAVES)[:, None] * time) * math.sqrt(2 / NOTES)
        self.register_buffer("cosines", cosines.float(), persistent=False)
        self.register_buffer("mean", torch.zeros(self.SIZE))
        self.register_buffer("whitening", torch.eye(self.SIZE))
        normal = torch.special.ndtri((torch.arange(self.KNOTS) + 0.5) / self.KNOTS)
        self.register_buffer("quantiles", normal.repeat(self.SIZE, 1))

    def forward(self, notes: Tensor) -> Tensor:
        """Bins (batch, 256, 5) -> courses (batch, 12): four attributes, three waves of each, the slowest first."""
        x = ((self._waves(notes) - self.mean) @ self.whitening).mT.contiguous()
        above = torch.searchsorted(self.quantiles, x).clamp(1, self.KNOTS - 1)
        low, high = self.quantiles.gather(1, above - 1), self.quantiles.gather(1, above)
        place = above - 1 + ((x - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
        return torch.special.ndtri((place + 0.5) / self.KNOTS).mT

    def measure(self, notes: Tensor) -> None:
        """Takes the distribution of courses from the bins (n, 256, 5) of real pieces."""
        waves = self._waves(notes)
        self.mean.copy_(waves.mean(0))
        values, axes = torch.linalg.eigh((waves - self.mean).T.cov().double())
        self.whitening.copy_(axes * values.clamp_min(1e-4 * values.max()).rsqrt() @ axes.T)
        spread = (waves - self.mean) @ self.whitening
        at = (torch.arange(self.KNOTS, device=waves.device) + 0.5) / self.KNOTS
        self.quantiles.copy_(torch.quantile(spread, at, dim=0).T)

    def _waves(self, notes: Tensor) -> Tensor:
        scale = torch.tensor([BINS[k] / 4 for k in COURSED], device=notes.device)  # bins in a deviation, about
        return (notes[..., list(COURSED)].mT.float() / scale[:, None] @ self.cosines.T).flatten(1)


class Performer(nn.Module):
    """The network of the distributions: notes as bins, and a course (batch, 12), to logits.

    A causal transformer reads the notes before; then small networks for each number of the note add those that are
    there already.

    Args:
        width, blocks: of the transformer; the width is a multiple of 32.
        note_width: of the networks for each number.
    """

    def __init__(self, width: int, blocks: int, note_width: int) -> None:
        super().__init__()
        self.dropout = 0.0  # in training mode
        self.course = nn.Linear(Course.SIZE, width)
        self.notes = nn.Parameter(torch.randn(ROWS, width) * 0.3)  # of each bin; those of a note are added
        self.place = nn.Parameter(torch.randn(NOTES, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.expect = nn.Linear(width, note_width, bias=False)
        self.widen = nn.Linear(note_width, 2 * note_width, bias=False)
        self.narrow = nn.Linear(2 * note_width, note_width, bias=False)
        self.hidden = nn.Linear(note_width, 3 * note_width)  # of step, pitch and the three others
        self.step_seen = nn.Parameter(torch.randn(BINS[STEP], 2 * note_width) * 0.3)
        self.pitch_seen = nn.Parameter(torch.randn(BINS[PITCH], note_width) * 0.3)
        self.step = nn.Linear(note_width, BINS[STEP])
        self.pitch = nn.Linear(note_width, BINS[PITCH])
        self.rest = nn.Linear(note_width, ROWS - int(FIRST[DURATION]))
        angle = torch.arange(NOTES)[:, None] * LONGEST ** -torch.linspace(0, 1, HEAD // 2)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)
        for layer in (self.step, self.pitch, self.rest):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    cosine: Tensor
    sine: Tensor

    def forward(self, notes: Tensor, course: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bins (batch, 256, 5) -> logits (batch, 256, bins) of step, of pitch given the step, and, of the three others
        side by side, given both."""
        rows = notes + torch.tensor(FIRST[:-1], device=notes.device)
        before = F.pad(F.embedding(rows, self.notes).sum(2)[:, :-1], (0, 0, 1, 0))
        x = self._dropped(before + self.place + self.course(course)[:, None])
        for block in self.blocks:
            x = x + self._dropped(block(x, self.cosine, self.sine))
        s = self.expect(norm(x))
        s = s + self._dropped(self.narrow(F.relu(self.widen(norm(s))).square()))
        first, second, third = self.hidden(norm(s)).chunk(3, dim=2)
        of_pitch, of_rest = F.embedding(notes[..., STEP], self.step_seen).chunk(2, dim=2)
        pitch = self.pitch(F.relu(second + of_pitch))
        rest = self.rest(F.relu(third + of_rest + F.embedding(notes[..., PITCH], self.pitch_seen)))
        return self.step(F.relu(first)), pitch, rest

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def likelihoods(self, notes: Tensor, course: Tensor) -> dict[str, Tensor]:
        """The mean negative log-likelihood of each number of a note, in nats, by its name."""
        step, pitch, rest = self(notes, course)
        parts = [step, pitch, *rest.split(BINS[DURATION:], dim=2)]
        return {
            name: F.cross_entropy(logits.flatten(0, 1).float(), notes[..., k].flatten())
            for k, (name, logits) in enumerate(zip(ATTRIBUTES, parts, strict=True))
        }


class Block(nn.Module):
    """Causal attention with rotary positions, and two layers at each position, side by side: what to add to x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 7 * width, bias=False)  # query, key, value and four times the width
        self.leave = nn.Linear(5 * width, width, bias=False)
        nn.init.normal_(self.leave.weight, std=0.02)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        width = x.shape[2]
        turn, value, hidden = self.enter(norm(x)).split((2 * width, width, 4 * width), dim=2)
        query, key = turn.unflatten(2, (2, -1, HEAD)).permute(2, 0, 3, 1, 4)
        value = value.unflatten(2, (-1, HEAD)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(
            rotated(query, cosine, sine), rotated(key, cosine, sine), value, is_causal=True
        )
        out: Tensor = self.leave(torch.cat([mixed.transpose(1, 2).flatten(2), F.relu(hidden).square()], dim=2))
        return out


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), eps=EPSILON)


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turns pairs of channels (…, length, channels) by the angles of their positions (length, channels / 2)."""
    a, b = x.chunk(2, dim=-1)
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)


def chances(noise: Tensor) -> Tensor:
    """Normal noise (batch, 92, 256) -> chances of that shape, float64: Gumbel numbers for the keys of each note, and
    uniform numbers for its step, duration, velocity and touch."""
    uniform = torch.special.ndtr(noise.double())
    return torch.cat([-(-uniform[:, :KEYS].log()).log(), uniform[:, KEYS:]], dim=1)


def draw(performer: Performer, chance: np.ndarray, course: np.ndarray) -> Tensor:
    """Chances (92, 256) and a course (12,) -> notes (1, 92, 256) in [-1, 1]."""
    from explorer.generators.note_sampler import drawn  # with Numba, which training does without

    w = {name: x.numpy(force=True).astype(np.float32, copy=False) for name, x in performer.state_dict().items()}
    blocks = range(len(performer.blocks))
    temperature = np.repeat(np.array(TEMPERATURE, np.float32), BINS)
    kinds = np.split(temperature, FIRST[1:3])
    heads = {
        name: (w[f"{name}.weight"] / kind[:, None], w[f"{name}.bias"] / kind)
        for name, kind in zip(("step", "pitch", "rest"), kinds, strict=True)
    }
    place = drawn(
        np.ascontiguousarray(chance[:KEYS].T),
        chance[KEYS:].T.clip(LEAST, 1 - LEAST),  # so that what cannot be is never drawn
        w["place"] + w["course.weight"] @ course.astype(np.float32) + w["course.bias"],
        (performer.cosine.numpy(force=True), performer.sine.numpy(force=True)),
        np.stack([w[f"blocks.{k}.enter.weight"] for k in blocks]),
        np.stack([w[f"blocks.{k}.leave.weight"] for k in blocks]),
        (w["expect.weight"], w["widen.weight"], w["narrow.weight"], w["hidden.weight"], w["hidden.bias"]),
        (heads["step"], heads["pitch"], heads["rest"]),
        (w["notes"], w["step_seen"], w["pitch_seen"]),
        FIRST,
    )
    return notes_at(place)


def notes_at(place: np.ndarray) -> Tensor:
    """Attributes as places among their bins (256, 5) -> notes (1, 92, 256) in [-1, 1].

    The whole part of a place is the bin, the rest where in it.
    """
    step, pitch, duration, velocity, touch = torch.from_numpy(place).T
    low = SHORTEST_STEP
    keys = F.one_hot(pitch.long(), KEYS).float().T * 2 - 1
    times = [
        torch.where(step < 1, -1.0, low + (1 - low) * (step - 1) / (BINS[STEP] - 1)),
        duration / BINS[DURATION] * 2 - 1,
        velocity / BINS[VELOCITY] * 2 - 1,
        torch.where(touch < 1, -1.0, (touch - 1) / (BINS[TOUCH] - 1) * 2 - 1),
    ]
    return torch.cat([keys, torch.stack(times).float()])[None]

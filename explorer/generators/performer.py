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
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.note_tokens import (
    ATTRIBUTES,
    BINS,
    DURATION,
    FIRST,
    PITCH,
    ROWS,
    STEP,
    VELOCITY,
    notes_at,
)
from explorer.generators.recall import KEY_PLANES, LENGTH_PLANES, Recall, recalled
from explorer.sound.notes import KEYS, NOTES

COURSED = (PITCH, STEP, DURATION, VELOCITY)  # what a course is of
# Distributions are sharpened by these before a note is drawn (temperatures), but for whether it is in the chord. At 1,
# small errors add up: pieces leave their key and beat, and motifs come back half as often (EXPERIMENTS.md).
TEMPERATURE = (0.75, 0.75, 1.0, 0.9, 1.0)
HEAD = 32  # channels of a head
LONGEST = 1000.0  # notes, over 2 pi: of the slowest rotary position
EPSILON = 1e-6
LEAST = 1e-9  # share of a probability
KEY_TAPS, LENGTH_TAPS = 25, 9  # of the convolutions over what is recalled: an octave on either side, and four bins

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
Network = tuple[Any, Any, Any, Any, Any, Any]


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
    there already, and `Recall` what the notes before say of key and length, bin by bin.

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
        self.recalled_keys = Recall(KEY_PLANES, 24, KEY_TAPS, note_width)
        self.recalled_lengths = Recall(LENGTH_PLANES, 8, LENGTH_TAPS, note_width)
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
        of_keys, of_lengths = recalled(notes)
        second = F.relu(second + of_pitch)
        third = F.relu(third + of_rest + F.embedding(notes[..., PITCH], self.pitch_seen))
        duration, others = self.rest(third).split((BINS[DURATION], sum(BINS[VELOCITY:])), dim=2)
        duration = duration + self.recalled_lengths(of_lengths, third)
        pitch = self.pitch(second) + self.recalled_keys(of_keys, second)
        return self.step(F.relu(first)), pitch, torch.cat([duration, others], dim=2)

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

    version = tuple(p._version for p in performer.parameters())
    if performer not in _compact or _compact[performer][0] != version:
        _compact[performer] = version, *_compacted(performer)
    (place, weight, bias), network = _compact[performer][1:]
    notes = drawn(
        np.ascontiguousarray(chance[:KEYS].T),
        chance[KEYS:].T.clip(LEAST, 1 - LEAST),  # so that what cannot be is never drawn
        place + weight @ course.astype(np.float32) + bias,
        *network,
        np.array(TEMPERATURE, np.float32),
    )
    return notes_at(notes)


_compact: WeakKeyDictionary[Performer, tuple[tuple[int, ...], Arrays, Network]] = WeakKeyDictionary()


def _compacted(performer: Performer) -> tuple[Arrays, Network]:
    """Weights of place and course, and what `explorer.generators.note_sampler.drawn` takes of the network."""
    from explorer.generators.note_sampler import compact

    w = {name: x.numpy(force=True).astype(np.float32) for name, x in performer.state_dict().items()}

    def layer(name: str) -> tuple[Any, np.ndarray]:
        return compact(w[f"{name}.weight"]), w[f"{name}.bias"]

    def recall(name: str) -> tuple[Any, ...]:
        """For each plane what one number adds to the bins around it, and the mix."""
        kernel = np.ascontiguousarray(w[f"{name}.convolution.weight"].transpose(1, 2, 0)[:, ::-1])
        return kernel, w[f"{name}.convolution.bias"], *layer(f"{name}.mix")

    def of_blocks(name: str) -> tuple[np.ndarray, np.ndarray]:
        each = [compact(w[f"blocks.{k}.{name}.weight"]) for k in range(len(performer.blocks))]
        rows, scales = zip(*each, strict=True)
        return np.stack(rows), np.stack(scales)

    network = (
        (performer.cosine.numpy(force=True), performer.sine.numpy(force=True)),
        (of_blocks("enter"), of_blocks("leave")),
        (*(compact(w[f"{name}.weight"]) for name in ("expect", "widen", "narrow")), layer("hidden")),
        tuple(layer(name) for name in ("step", "pitch", "rest")),
        (recall("recalled_keys"), recall("recalled_lengths")),
        (w["notes"], w["step_seen"], w["pitch_seen"]),
    )
    return (w["place"], w["course.weight"], w["course.bias"]), network

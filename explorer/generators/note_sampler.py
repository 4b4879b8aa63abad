"""Draws the notes of a piece from the weights of a `Performer`, one after another; compiled by Numba."""

import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from explorer.generators.note_tokens import (
    BINS,
    DURATION,
    DURATION_MIDDLES,
    FIRST,
    PITCH,
    STEP,
    STEP_MIDDLES,
)
from explorer.generators.performer import EPSILON, HEAD
from explorer.generators.recall import (
    FADE_SECONDS,
    FADES,
    KEY_PLANES,
    LENGTH_PLANES,
    LINE_RUNS,
    RECENT,
    RUNS,
    SHORTEST_END,
)
from explorer.sound.notes import DURATION_SECONDS, KEYS, NOTES

Matrix = tuple[np.ndarray, np.ndarray]  # see `compact`
Recalling = tuple[np.ndarray, np.ndarray, Matrix, np.ndarray]  # kernel, bias, and mix with its bias
Function = TypeVar("Function", bound=Callable[..., Any])

LAST = 1 - 1e-6  # a place in a bin is less than 1
NOTHING = 1e-4  # what is recalled less is not counted


def compact(matrix: np.ndarray) -> Matrix:
    """A matrix (m, n) as whole numbers of 8 bits, and what those of each row are to be multiplied by.

    Products with vectors are bound by how fast weights come from the cache, so a quarter of the bytes takes two thirds
    of the time; likelihoods lose 0.005 nats a note.
    """
    scale = np.abs(matrix).max(1, keepdims=True).clip(1e-9) / 127
    return (matrix / scale).round().astype(np.int8), scale[:, 0].astype(np.float32)


def _compiled(*, reordered: bool = False) -> Callable[[Function], Function]:
    """Compiles a function of arrays at its first call, once for all times where the result can be kept.

    Args:
        reordered: whether sums may be taken in another order, several numbers at once.
    """
    fast = {"reassoc", "contract", "nsz"} if reordered else set()
    kept = not sys.dont_write_bytecode  # whoever wants no compiled files beside the sources gets none

    def compiled(function: Function) -> Function:
        try:
            return numba.njit(function, nogil=True, cache=kept, fastmath=fast)
        except RuntimeError:  # a package that nobody may write to, and no home either
            return numba.njit(function, nogil=True, fastmath=fast)

    return compiled


@_compiled(reordered=True)
def _product(matrix: Matrix, x: np.ndarray) -> np.ndarray:
    """A `compact` matrix times a vector (n,); a library for matrices would use threads, which cost more."""
    rows, scale = matrix
    found = np.empty(len(rows), np.float32)
    for i in range(len(rows)):
        total = np.float32(0)
        for j in range(len(x)):
            total += np.float32(rows[i, j]) * x[j]
        found[i] = total * scale[i]
    return found


@_compiled(reordered=True)
def _alike(keys: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The products of keys (n, channels) with a query (channels,)."""
    found = np.empty(len(keys), np.float32)
    for i in range(len(keys)):
        total = np.float32(0)
        for j in range(len(query)):
            total += keys[i, j] * query[j]
        found[i] = total
    return found


@_compiled(reordered=True)
def _mix(share: np.ndarray, values: np.ndarray, found: np.ndarray) -> None:
    """Writes the mean of values (n, channels), in shares (n,), to found (channels,)."""
    found[:] = 0
    for j in range(len(share)):
        for k in range(len(found)):
            found[k] += share[j] * values[j, k]


@_compiled(reordered=True)
def _norm(x: np.ndarray) -> np.ndarray:
    total = np.float32(0)
    for value in x:
        total += value * value
    return x * np.float32(1 / math.sqrt(total / len(x) + EPSILON))


@_compiled()
def _squared(x: np.ndarray) -> np.ndarray:
    found = np.empty_like(x)
    for k in range(len(x)):
        found[k] = max(x[k], np.float32(0)) ** 2
    return found


@_compiled()
def _turn(x: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> None:
    """`rotated` of heads (heads, channels), in place."""
    half = len(cosine)
    for head in range(len(x)):
        for k in range(half):
            a, b = x[head, k], x[head, half + k]
            x[head, k] = a * cosine[k] - b * sine[k]
            x[head, half + k] = a * sine[k] + b * cosine[k]


@_compiled()
def _inverted(logits: np.ndarray, uniform: float) -> float:
    """The place among bins (n,) up to which the share `uniform` of their probability lies."""
    weights = np.exp(logits.astype(np.float64) - logits.max())
    wanted, below = uniform * weights.sum(), 0.0
    for k in range(len(weights)):
        if weights[k] > 0 and below + weights[k] >= wanted:
            return k + min((wanted - below) / weights[k], LAST)
        below += weights[k]
    return len(weights) - 1 + LAST  # by rounding


@_compiled()
def _sharpen(logits: np.ndarray, temperature: np.float32) -> None:
    """Divides logits (n,) by a temperature, but leaves the first one's probability as it is."""
    others = logits[1:]
    before = np.log(np.exp(others - others.max()).sum()) + others.max()
    others /= temperature
    after = np.log(np.exp(others - others.max()).sum()) + others.max()
    others += before - after


@_compiled(reordered=True)
def _recall(planes: np.ndarray, weights: Recalling, context: np.ndarray, logits: np.ndarray) -> None:
    """Adds to logits (bins,) what a `Recall` makes of planes (planes, bins), most of which are zero."""
    kernel, bias, mix, mix_bias = weights
    taps, channels = kernel.shape[1:]
    bins, share = len(logits), _product(mix, context) + mix_bias
    found = np.empty((bins + taps - 1, channels), np.float32)
    for at in range(len(found)):
        for c in range(channels):
            found[at, c] = bias[c]
    flat, size = found.reshape(-1), taps * channels
    for k in range(len(planes)):
        row = kernel[k].reshape(-1)
        for at in range(bins):
            if planes[k, at] > NOTHING:
                value = np.float32(math.log1p(planes[k, at]))
                part = flat[at * channels : at * channels + size]
                for c in range(size):
                    part[c] += value * row[c]
    for at in range(bins):
        around = found[at + taps // 2]
        total = np.float32(0)
        for c in range(channels):
            total += max(around[c], np.float32(0)) * share[c]
        logits[at] += total


@_compiled()
def _continue_line(line: np.ndarray, runs: np.ndarray, count: int, votes: np.ndarray) -> None:
    """Writes which keys would continue a line of keys (strokes,), of which `count` are there, to votes (runs, 88).

    Args:
        runs: (strokes,) how many intervals before each one are as those before the next one to come; updated here.
    """
    votes[:] = 0
    last = line[count - 1] - line[count - 2] if count > 1 else 0
    for j in range(count - 1, 0, -1):
        alike = j > 1 and line[j - 1] - line[j - 2] == last
        runs[j] = runs[j - 1] + 1 if alike else 0
        key = line[count - 1] + line[j] - line[j - 1]
        if 0 <= key < KEYS:
            for k in range(len(LINE_RUNS)):
                votes[k, key] += runs[j] >= LINE_RUNS[k]


@_compiled()
def _count_ends(end: np.ndarray, now: float, of_lengths: np.ndarray) -> None:
    """Counts when the notes before end, as `explorer.generators.recall.recalled` does."""
    low, high = DURATION_SECONDS
    of_lengths[3:5] = 0
    for j in range(len(end)):
        left = end[j] - now
        if left > SHORTEST_END * low:
            place = math.log(left / low) / math.log(high / low) * BINS[DURATION] - 0.5
            place = min(max(place, 0.0), BINS[DURATION] - 1.001)
            at = int(place)
            for k in range(3, 5):
                if k == 3 or len(end) - j <= RECENT:
                    of_lengths[k, at] += at + 1 - place
                    of_lengths[k, at + 1] += place - at


@_compiled()
def drawn(
    gumbel: np.ndarray,
    uniform: np.ndarray,
    base: np.ndarray,
    turns: tuple[np.ndarray, np.ndarray],
    layers: tuple[Matrix, Matrix],
    others: tuple[Matrix, Matrix, Matrix, tuple[Matrix, np.ndarray]],
    heads: tuple[tuple[Matrix, np.ndarray], ...],
    recalls: tuple[Recalling, Recalling],
    seen: tuple[np.ndarray, np.ndarray, np.ndarray],
    temperature: np.ndarray,
) -> np.ndarray:
    """Draws the attributes (256, 5) of notes, as places among their bins.

    Args:
        gumbel, uniform: (256, 88) and (256, 4), the chances of each note.
        base: (256, width), what each place and the course add.
        layers: what enters and what leaves the blocks, which are the first axis.
        others: `expect`, `widen`, `narrow`, `hidden`.
        recalls: of keys and lengths; a kernel is (planes, taps, channels).
        seen: of each bin, what it adds to the transformer's input and to the networks of later numbers.
        temperature: of each attribute.
    """
    (cosine, sine), (notes, step_seen, pitch_seen) = turns, seen
    expect, widen, narrow, (hidden_weight, hidden_bias) = others
    (step_weight, step_bias), (pitch_weight, pitch_bias), (rest_weight, rest_bias) = heads
    (enter, enter_scale), (leave, leave_scale) = layers
    blocks, width, n = len(enter), base.shape[1], len(hidden_bias) // 3
    keys = np.zeros((blocks, width // HEAD, NOTES, HEAD), np.float32)
    values = np.zeros_like(keys)
    inner = np.empty(5 * width, np.float32)  # what attention and the two layers find
    place = np.zeros((NOTES, 5))
    before, taken = np.zeros(width, np.float32), -1  # taken: the highest key of the chord
    # What is recalled, as in `explorer.generators.recall.recalled`. Rows over keys: the stroke so far, the last stroke,
    # what sounds, fading by time, fading by notes, votes of runs, of the line of highest and of lowest keys. Over
    # lengths: the stroke so far, fading by notes (2), ends, recent ends, votes.
    of_keys, of_lengths = np.zeros((KEY_PLANES, KEYS)), np.zeros((LENGTH_PLANES, BINS[DURATION]))
    pitch, interval, length = np.zeros(NOTES, np.int64), np.zeros(NOTES, np.int64), np.zeros(NOTES, np.int64)
    begins, run = np.zeros(NOTES, np.bool_), np.zeros(NOTES, np.int64)
    end, now = np.zeros(NOTES), 0.0
    lines, line_runs, strokes = np.zeros((2, NOTES), np.int64), np.zeros((2, NOTES), np.int64), 0
    votes = len(FADES) + 4
    for i in range(NOTES):
        x = before + base[i]
        for k in range(blocks):
            h = _product((enter[k], enter_scale[k]), _norm(x))
            turned = h[: 2 * width].reshape((-1, HEAD))
            _turn(turned, cosine[i], sine[i])
            for head in range(width // HEAD):
                at = slice(head * HEAD, (head + 1) * HEAD)
                for c in range(HEAD):
                    keys[k, head, i, c] = turned[width // HEAD + head, c]
                    values[k, head, i, c] = h[2 * width + head * HEAD + c]
                share = _alike(keys[k, head, : i + 1], turned[head] * np.float32(HEAD**-0.5))
                share = np.exp(share - share.max())
                _mix(share / share.sum(), values[k, head, : i + 1], inner[at])
            for c in range(4 * width):
                inner[width + c] = max(h[3 * width + c], np.float32(0)) ** 2
            x += _product((leave[k], leave_scale[k]), inner)
        s = _product(expect, _norm(x))
        s += _product(narrow, _squared(_product(widen, _norm(s))))
        hidden = _product(hidden_weight, _norm(s)) + hidden_bias

        logits = _product(step_weight, np.maximum(hidden[:n], np.float32(0))) + step_bias
        if taken >= KEYS - 1:
            logits[0] = -np.inf  # no key is left in the chord
        _sharpen(logits, temperature[STEP])
        step = place[i, STEP] = _inverted(logits, uniform[i, 0])
        begins[i] = step >= 1 or i == 0
        if begins[i] and i > 0:
            for key in range(KEYS):
                of_keys[1, key], of_keys[0, key] = of_keys[0, key], 0
            of_lengths[0] = 0
            now += STEP_MIDDLES[int(step)]
            of_keys[3] *= math.exp(-STEP_MIDDLES[int(step)] / FADE_SECONDS)
            lines[0, strokes] = taken
            strokes += 1
            for k in range(2):
                at = slice(votes + len(RUNS) + k * len(LINE_RUNS), votes + len(RUNS) + (k + 1) * len(LINE_RUNS))
                _continue_line(lines[k], line_runs[k], strokes, of_keys[at])
        of_keys[2] = 0
        of_keys[votes : votes + len(RUNS)] = 0
        for j in range(i):
            if end[j] > now:
                of_keys[2, pitch[j]] = 1
            key = pitch[i - 1] + interval[j]
            if j > 0 and begins[j] == begins[i] and 0 <= key < KEYS:
                for k in range(len(RUNS)):
                    of_keys[votes + k, key] += run[j] >= RUNS[k]

        hidden[n:] += step_seen[int(step)]
        context = np.maximum(hidden[n : 2 * n], np.float32(0))
        logits = _product(pitch_weight, context) + pitch_bias
        _recall(of_keys, recalls[0], context, logits)
        lowest = taken + 1 if step < 1 else 0  # chords ascend
        taken = lowest + int(np.argmax(logits[lowest:] / temperature[PITCH] + gumbel[i, lowest:]))
        place[i, PITCH] = pitch[i] = taken
        interval[i] = taken - pitch[i - 1] if i > 0 else taken
        if begins[i]:
            lines[1, strokes] = taken

        hidden[2 * n :] += pitch_seen[taken]
        context = np.maximum(hidden[2 * n :], np.float32(0))
        logits = _product(rest_weight, context) + rest_bias
        _count_ends(end[:i], now, of_lengths)
        of_lengths[5] = 0
        for j in range(1, i):
            if run[j] > 0 and begins[j] == begins[i] and interval[j] == interval[i]:
                of_lengths[5, length[j]] += 1
        _recall(of_lengths, recalls[1], context, logits[: BINS[DURATION]])
        for k in range(DURATION, 5):
            own = logits[FIRST[k] - FIRST[DURATION] : FIRST[k + 1] - FIRST[DURATION]]
            place[i, k] = _inverted(own / temperature[k], uniform[i, k - 1])

        length[i] = int(place[i, DURATION])
        end[i] = now + DURATION_MIDDLES[length[i]]
        for k in range(len(FADES)):
            of_keys[4 + k] *= math.exp(-1 / FADES[k])
        for k in (0, 3, 4, 5, 6):
            of_keys[k, taken] += 1
        for k in range(2):
            of_lengths[1 + k] *= math.exp(-1 / FADES[k])
        of_lengths[:3, length[i]] += 1
        for j in range(i, 0, -1):
            alike = j > 1 and begins[j - 1] == begins[i] and interval[j - 1] == interval[i]
            run[j] = run[j - 1] + 1 if alike else 0
        before = np.zeros(width, np.float32)
        for k in range(5):
            before += notes[FIRST[k] + int(place[i, k])]
    return place

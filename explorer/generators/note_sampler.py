"""Draws the notes of a piece from the weights of a `Performer`, one after another; compiled by Numba."""

import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from explorer.generators.performer import DURATION, EPSILON, HEAD, PITCH, STEP
from explorer.sound.notes import KEYS

Function = TypeVar("Function", bound=Callable[..., Any])

LAST = 1 - 1e-6  # a place in a bin is less than 1


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
def _product(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The product of a matrix (m, n) and a vector (n,); a library for matrices would use threads, which cost more."""
    found = np.empty(len(matrix), np.float32)
    for i in range(len(matrix)):
        total = np.float32(0)
        for j in range(len(x)):
            total += matrix[i, j] * x[j]
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
def drawn(
    gumbel: np.ndarray,
    uniform: np.ndarray,
    base: np.ndarray,
    turns: tuple[np.ndarray, np.ndarray],
    enter: np.ndarray,
    leave: np.ndarray,
    layers: tuple[np.ndarray, ...],
    heads: tuple[tuple[np.ndarray, np.ndarray], ...],
    seen: tuple[np.ndarray, np.ndarray, np.ndarray],
    first: np.ndarray,
) -> np.ndarray:
    """Draws the attributes (256, 5) of notes, as places among their bins.

    Args:
        gumbel, uniform: (256, 88) and (256, 4), the chances of each note.
        base: (256, width), what each place and the course add.
        seen: of each bin, what it adds to the transformer's input and to the networks of later numbers.
    """
    (cosine, sine), (notes, step_seen, pitch_seen) = turns, seen
    expect, widen, narrow, hidden_weight, hidden_bias = layers
    (step_weight, step_bias), (pitch_weight, pitch_bias), (rest_weight, rest_bias) = heads
    blocks, count, width, n = len(enter), len(base), base.shape[1], len(expect)
    keys = np.zeros((blocks, width // HEAD, count, HEAD), np.float32)
    values = np.zeros_like(keys)
    inner = np.empty(5 * width, np.float32)  # what attention and the two layers find
    place = np.zeros((count, 5))
    before, taken = np.zeros(width, np.float32), -1  # taken: the highest key of the chord
    for i in range(count):
        x = before + base[i]
        for k in range(blocks):
            h = _product(enter[k], _norm(x))
            turned = h[: 2 * width].reshape((-1, HEAD))
            _turn(turned, cosine[i], sine[i])
            for head in range(width // HEAD):
                at = slice(head * HEAD, (head + 1) * HEAD)
                keys[k, head, i] = turned[width // HEAD + head]
                values[k, head, i] = h[2 * width :][at]
                share = _product(keys[k, head, : i + 1], turned[head] * np.float32(HEAD**-0.5))
                share = np.exp(share - share.max())
                _mix(share / share.sum(), values[k, head, : i + 1], inner[at])
            inner[width:] = _squared(h[3 * width :])
            x += _product(leave[k], inner)
        s = _product(expect, _norm(x))
        s += _product(narrow, _squared(_product(widen, _norm(s))))
        hidden = _product(hidden_weight, _norm(s)) + hidden_bias
        logits = _product(step_weight, np.maximum(hidden[:n], np.float32(0))) + step_bias
        if taken >= KEYS - 1:
            logits[0] = -np.inf  # no key is left in the chord
        step = place[i, STEP] = _inverted(logits, uniform[i, 0])
        hidden[n:] += step_seen[int(step)]
        logits = _product(pitch_weight, np.maximum(hidden[n : 2 * n], np.float32(0))) + pitch_bias
        lowest = taken + 1 if step < 1 else 0  # chords ascend
        taken = lowest + int(np.argmax(logits[lowest:] + gumbel[i, lowest:]))
        place[i, PITCH] = taken
        hidden[2 * n :] += pitch_seen[taken]
        logits = _product(rest_weight, np.maximum(hidden[2 * n :], np.float32(0))) + rest_bias
        for k in range(DURATION, 5):
            at = slice(first[k] - first[DURATION], first[k + 1] - first[DURATION])
            place[i, k] = _inverted(logits[at], uniform[i, k - 1])
        before = np.zeros(width, np.float32)
        for k in range(5):
            before += notes[first[k] + int(place[i, k])]
    return place

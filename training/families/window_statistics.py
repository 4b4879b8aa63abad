"""Differentiable statistics of a window of notes, as in music theory: pitch classes, intervals, chords, rhythm.

For the critic and the matching loss of PianoGAN. Inputs are key probabilities (batch, 88, 256) in [0, 1], one-hot for
real notes, and times (batch, 3, 256) in [-1, 1]: step, duration and velocity as in the representation.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.sound.notes import CHORD_BELOW, DURATION_SECONDS, KEYS, LOWEST, NOTES, SHORTEST_STEP, STEP_SECONDS


class NoteAttributes(nn.Module):
    """Attributes of each note: keys (batch, 88, 256) and times (batch, 3, 256) -> (batch, 62, 256).

    Pitch class, register, step, duration and velocity in twelve soft bins each; then whether the note is in a chord
    with the one before, and the interval from it. The slices below give their channels.
    """

    BINS = 12
    SHARPNESS = 6.0  # of the Gaussian bins, whose centres are 2 / 11 apart
    CLASSES, CHORD, INTERVAL = slice(0, 12), slice(60, 61), slice(61, 62)
    COUNTED = slice(0, 60)  # pitch class, register, step, duration, velocity: twelve bins each
    SIZE = 62

    classes: Tensor
    heights: Tensor
    centres: Tensor
    registers: Tensor

    def __init__(self) -> None:
        super().__init__()
        centres = torch.linspace(-1, 1, self.BINS)
        heights = torch.linspace(-1, 1, KEYS)
        self.register_buffer("classes", torch.eye(12)[(torch.arange(KEYS) + LOWEST) % 12].T.clone(), persistent=False)
        self.register_buffer("heights", heights, persistent=False)
        self.register_buffer("centres", centres[:, None], persistent=False)
        self.register_buffer("registers", self.bins(heights), persistent=False)

    def bins(self, x: Tensor) -> Tensor:
        """Soft bins of values in [-1, 1]: (..., n) -> (..., 12, n)."""
        return torch.exp(-((x.unsqueeze(-2) - self.centres) * self.SHARPNESS).square())

    def forward(self, keys: Tensor, times: Tensor) -> Tensor:
        height = (keys * self.heights[:, None]).sum(1, keepdim=True)
        interval = F.pad(height.diff(dim=2), (1, 0)) * 4
        chord = torch.sigmoid((CHORD_BELOW - times[:, :1]) * 16)
        return torch.cat(
            [self.classes @ keys, self.registers @ keys, self.bins(times).flatten(1, 2), chord, interval], dim=1
        )


class Novelty(nn.Module):
    """How much a window repeats itself: keys (batch, 88, 256) -> (batch, 3, 256) and (batch, 256).

    The first output is, for each note alone, with the next, and with the next two: 1 over the number of times that this
    sequence of keys occurs in the window, so that the mean is the share of distinct sequences. The second is how often
    a pair of successive keys occurs again after 0, 1, 2, … notes. Without it the critic accepts music without repeated
    themes (EXPERIMENTS.md).
    """

    SIZE = 3

    def forward(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(keys.device.type, enabled=False):
            keys = keys.float()
            same = keys.mT @ keys  # 1 where two notes have the same key
            successions, found = [same], []
            for n in range(1, self.SIZE):
                successions.append(successions[-1][:, :-1, :-1] * same[:, n:, n:])
            for n, match in enumerate(successions):
                others = match.sum(2) - match.diagonal(dim1=1, dim2=2)
                found.append(F.pad(1 / (1 + others), (0, n)))
            return torch.stack(found, dim=1), _by_distance(F.pad(successions[1], (0, 1, 0, 1))) / 8


def _by_distance(match: Tensor) -> Tensor:
    """Sums along the main diagonal and each diagonal to the right of it: (batch, n, n) -> (batch, n)."""
    n = match.shape[1]
    skewed = F.pad(F.pad(match, (0, n)).flatten(1), (0, n)).unflatten(1, (n, 2 * n + 1))
    return skewed.sum(1)[:, :n]


class WindowStatistics(nn.Module):
    """Statistics of a whole window, for the critic: keys (batch, 88, 256) and `NoteAttributes` -> (batch, 7750).

    Histogram of keys; sorted histogram of pitch classes; histograms of the intervals to the next note, inside chords
    and elsewhere; how often a key and a pitch class occur again after 1 to 128 notes; and how often two attributes
    occur together in a note and in neighbouring notes (Gram matrices, as in Gatys et al., 2015, arXiv:1505.07376).
    All are scaled to be of order 1.
    """

    LAGS = 128
    INTERVALS = 48  # semitones, either way
    SIZE = KEYS + 12 + 2 * (2 * INTERVALS + 1) + 2 * LAGS + 2 * 60 * 60

    def forward(self, keys: Tensor, attributes: Tensor) -> Tensor:
        with torch.autocast(keys.device.type, enabled=False):
            keys, chord = keys.float(), attributes[:, NoteAttributes.CHORD, 1:].float()
            intervals = [self.intervals(keys, share) for share in (chord, 1 - chord)]
            returns = [self.returns(x) for x in (keys, attributes[:, NoteAttributes.CLASSES].float())]
        counted = attributes[:, NoteAttributes.COUNTED]
        meeting = [(counted[:, :, lag:] @ counted[:, :, : NOTES - lag].mT).flatten(1).float() / 32 for lag in (0, 1)]
        profile = attributes[:, NoteAttributes.CLASSES].float().mean(2).sort(1).values
        return torch.cat([keys.mean(2) * 4, profile * 8, *intervals, *returns, *meeting], dim=1)

    def intervals(self, keys: Tensor, share: Tensor) -> Tensor:
        """Weighted histogram (batch, 97) of intervals to the next note, -48 to 48; weights are (batch, 1, 255)."""
        spectrum = torch.fft.rfft(keys, n=2 * 96, dim=1)  # padded for intervals of up to 95, more than the keyboard has
        pairs = (spectrum[:, :, 1:] * spectrum[:, :, :-1].conj() * share).sum(2)
        counts = torch.fft.irfft(pairs, n=2 * 96, dim=1)
        return torch.cat([counts[:, -self.INTERVALS :], counts[:, : self.INTERVALS + 1]], dim=1) / 16

    def returns(self, x: Tensor) -> Tensor:
        """Autocorrelation at lags of 1 to 128 notes, summed over channels: (batch, channels, 256) -> (batch, 128)."""
        spectrum = torch.fft.rfft(x, n=2 * NOTES, dim=2)  # padded, so that the correlation is not circular
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.fft.irfft(power.sum(1), n=2 * NOTES, dim=1)[:, 1 : self.LAGS + 1] / 16


class Descriptors(nn.Module):
    """Describes a window by 136 numbers, for the matching loss: keys (batch, 88, 256), times (batch, 3, 256).

    Means, standard deviations and histograms of register, step, duration and velocity, their correlations with each
    other and from note to note; intervals in chords and elsewhere; chords; shares of distinct pitches and sequences;
    the pitch class histogram and how well it fits a scale; polyphony; differences between the two halves.
    """

    # Groups of intervals, in semitones, that are counted together: the first of each, and one beyond the last.
    LEAPS = (0, 1, 2, 3, 5, 8, 12, 13, 25, 49)
    LAGS = (1, 2, 3, 4, 5, 7, 9, 13, 17, 33, 65, 129)
    MAJOR = (0, 2, 4, 5, 7, 9, 11)

    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.attributes, self.novelty, self.statistics = NoteAttributes(), Novelty(), WindowStatistics()
        scale = torch.zeros(12).scatter(0, torch.tensor(self.MAJOR), 1.0)
        self.register_buffer("scales", torch.stack([scale.roll(k) for k in range(12)]), persistent=False)

    def forward(self, keys: Tensor, times: Tensor) -> Tensor:
        return torch.cat([x[:, None] if x.dim() == 1 else x for x in self.named(keys, times).values()], 1)

    def named(self, keys: Tensor, times: Tensor) -> dict[str, Tensor]:
        """The same numbers by name, in the same order, each (batch,) or (batch, n)."""
        with torch.autocast(keys.device.type, enabled=False):
            return self.describe(keys.float(), times.float())

    def describe(self, keys: Tensor, times: Tensor) -> dict[str, Tensor]:
        times = released(keys, times)
        attributes, (novelty, _) = self.attributes(keys, times), self.novelty(keys)
        height = (keys * self.attributes.heights[:, None]).sum(1) * 4
        step, duration, velocity = times.unbind(1)
        chord = attributes[:, NoteAttributes.CHORD].squeeze(1)
        alone = 1 - chord
        thirds = chord[:, 1:] * chord[:, :-1]  # at the third and later notes of a chord
        leap = height.diff(dim=1).abs()
        gaps = (
            step.masked_fill(chord > 0.5, 2.0).sort(1).values
        )  # sorted steps of notes that start alone or start a chord; the others are 2
        struck = (chord <= 0.5).sum(1, keepdim=True)
        order = (
            (chord > 0.5).to(torch.uint8).argsort(dim=1, stable=True)
        )  # notes that start alone or start a chord come first
        waits = step.gather(1, order)[:, 1:]
        waited = (torch.arange(2, NOTES, device=step.device) < struck).to(
            step
        )  # where a wait and the one before it are of such notes
        classes = attributes[:, NoteAttributes.CLASSES]
        profile = classes.mean(2)
        halves = [F.normalize(part.mean(2), dim=1) for part in classes.chunk(2, dim=2)]
        melodic, harmonic = (
            self.grouped(self.statistics.intervals(keys, share[:, None, 1:]) / 16, self.LEAPS)
            for share in (alone, chord)
        )
        # Chords ascend, so other intervals never occur in them, but would dominate the straight-through gradient.
        harmonic = harmonic[:, 1 : len(self.LEAPS) - 1]
        returns = self.grouped(F.pad(self.statistics.returns(keys) / 16, (1, 0)), self.LAGS)
        tracks = {"height": height, "step": step, "duration": duration, "velocity": velocity}
        pairs = (("height", "velocity"), ("height", "duration"), ("step", "duration"), ("step", "velocity"))
        held, together_held, lasting, whole = polyphony(
            alone * scaled(step, STEP_SECONDS, SHORTEST_STEP), scaled(duration, DURATION_SECONDS, -1)
        )
        struck_at = (struck * torch.tensor([0.1, 0.5, 0.9], device=gaps.device)).long()
        return {
            **{f"{name}_mean": track.mean(1) for name, track in tracks.items()},
            **{f"{name}_spread": (track.var(1) + 1e-6).sqrt() for name, track in tracks.items()},
            "wait_mean": weighted(step, alone),
            "wait_spread": (weighted(step.square(), alone) - weighted(step, alone).square() + 1e-6).sqrt(),
            "polyphony": together_held / held,
            "log_keys_held": (lasting / whole).log(),
            "melodic_leap": weighted(leap, alone[:, 1:]),
            "chord_leap": weighted(leap, chord[:, 1:]),
            **{f"{name}_change": tracks[name].diff(dim=1).abs().mean(1) for name in ("duration", "velocity")},
            **{
                f"{name}_halves": (track[:, :128].mean(1) - track[:, 128:].mean(1)).abs()
                for name, track in tracks.items()
            },
            **{f"{a}_with_{b}": correlation(tracks[a], tracks[b]) for a, b in pairs},
            **{
                f"{name}_with_next": correlation(tracks[name][:, 1:], tracks[name][:, :-1])
                for name in ("height", "duration", "velocity")
            },
            "wait_with_next": correlation(waits[:, 1:], waits[:, :-1], waited),
            "chord_notes": chord.mean(1),
            "third_chord_notes": thirds.mean(1),
            "fourth_chord_notes": (thirds[:, 1:] * chord[:, :-2]).mean(1),
            "in_scale": (profile @ self.scales.T).amax(1),
            "pitch_classes_of_halves": (halves[0] * halves[1]).sum(1),
            "height_ranks": height.sort(1).values[:, [0, 25, 64, 128, 192, 230, 255]],
            **{f"{name}_ranks": tracks[name].sort(1).values[:, [25, 128, 230]] for name in ("duration", "velocity")},
            "wait_ranks": gaps.gather(1, struck_at),
            "novelty": novelty.mean(2),
            "pitch_class_shares": profile.sort(1).values,
            "melodic_intervals": melodic,
            "chord_intervals": harmonic,
            "returns": returns,
            "histograms": attributes[:, NoteAttributes.COUNTED][:, 24:].mean(2),  # of step, duration and velocity
        }

    def grouped(self, counts: Tensor, first: tuple[int, ...]) -> Tensor:
        """Sums counts over groups: (batch, n) counts of 0, 1, 2, …, or (batch, 97) of intervals, each sign apart."""
        if counts.shape[1] == 2 * WindowStatistics.INTERVALS + 1:
            down, up = counts[:, : WindowStatistics.INTERVALS].flip(1), counts[:, WindowStatistics.INTERVALS :]
            return torch.cat([self.grouped(up, first), self.grouped(F.pad(down, (1, 0)), first)[:, 1:]], dim=1)
        return torch.stack([counts[:, a:b].sum(1) for a, b in pairwise(first)], dim=1)


def polyphony(step: Tensor, duration: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Times in seconds, each (batch,), of notes with steps and durations (batch, n) in seconds.

    Returns:
        The time in which any note is held, the time in which two or more are, the sum of all durations, and the time
        from the first onset to the last.
    """
    onset = step.cumsum(1)
    until = F.pad(onset[:, 1:], (0, 1)) + F.pad((onset + duration).amax(1, keepdim=True), (onset.shape[1] - 1, 0))
    later = torch.ones(onset.shape[1], onset.shape[1], dtype=torch.bool, device=onset.device).triu(1)
    ends = (onset + duration)[:, None].masked_fill(later, 0)
    last, second = ends.topk(2, dim=2).values.unbind(2)  # of the notes struck so far
    held, together = ((torch.minimum(end, until) - onset).clamp_min(0).sum(1) for end in (last, second))
    return held, together, duration.sum(1), onset[:, -1].clamp_min(0.1)


def released(keys: Tensor, times: Tensor) -> Tensor:
    """Shortens durations so that a key is released when it is struck again, as in playback. Times are (batch, 3, n)."""
    step, duration, velocity = times.unbind(1)
    with torch.no_grad():
        onset = ((step >= CHORD_BELOW) * scaled(step, STEP_SECONDS, SHORTEST_STEP)).cumsum(1)
        struck = keys.argmax(1)
        later = torch.ones(onset.shape[1], onset.shape[1], dtype=torch.bool, device=onset.device).triu(1)
        again = (struck[:, :, None] == struck[:, None]) & later
        held = onset[:, None].masked_fill(~again, math.inf).amin(2) - onset
        low, high = DURATION_SECONDS
        most = (held.clamp(low, high) / low).log() / math.log(high / low) * 2 - 1
    return torch.stack([step, torch.minimum(duration, most), velocity], dim=1)


def weighted(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of x: (batch, n), (batch, n) -> (batch,)."""
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)


def scaled(x: Tensor, ends: tuple[float, float], lowest: float) -> Tensor:
    """Seconds from the log scale of the representation, in which `lowest` means `ends[0]` and 1 means `ends[1]`."""
    low, high = ends
    return low * ((x - lowest) / (1 - lowest) * math.log(high / low)).exp()


def correlation(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted Pearson correlation: (batch, n), (batch, n) -> (batch,); near 0 where either is nearly constant."""
    weight = torch.ones_like(a) if weight is None else weight
    a, b = (x - weighted(x, weight)[:, None] for x in (a, b))
    both = weighted(a.square(), weight) * weighted(b.square(), weight)
    return weighted(a * b, weight) / (both + 1e-6).sqrt()


def normal_scores(x: Tensor, ordered: Tensor) -> Tensor:
    """Normal scores of numbers (n, size): their ranks among sorted columns (m, size) as normal quantiles."""
    columns, rounding = ordered.T.contiguous(), 1e-4
    below = torch.searchsorted(columns, (x.T - rounding).contiguous())
    within = torch.searchsorted(columns, (x.T + rounding).contiguous(), right=True)
    return torch.special.ndtri((below + within + 1) / (2 * len(ordered) + 2)).T


def quantile_distance(x: Tensor, others: Tensor, real: Tensor) -> Tensor:
    """Distance between the descriptors (n, size) of generated windows and those of real ones, column by column.

    Half the mean square of the difference, in normal scores, between a number and the real number of the same rank: a
    squared Wasserstein distance of each column. Unlike an energy distance, its gradient does not fade in the tails.

    Args:
        others: (k, size), descriptors to rank `x` among: `x` itself and those of other processes.
        real: (m, size), each column sorted.
    """
    unit = real.std(0) + 0.05 * real.abs().mean(0) + 1e-3
    others, real = others / unit, real / unit
    x = x / unit
    with torch.no_grad():
        apart = normal_scores(x, real) - normal_scores(x, others.sort(0).values)
    return (apart + x - x.detach()).square().mean() / 2

"""Metrics and baselines for piano music, on windows of notes: arrays (n, 256, 4) of pitch, step, duration, velocity.

Steps and durations are in seconds; a step is 0 inside a chord. Real, generated and baseline windows pass through the
same functions. The features and the overlap area are after Yang & Lerch, "On the evaluation of generative models in
music" (2018), adapted from bars to a fixed number of notes, as a performance has no bars.
"""

from collections.abc import Callable

import numpy as np

PITCH, STEP, DURATION, VELOCITY = range(4)
MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])
OVERLAP_WINDOWS = 300
GRID = 400  # points at which a density of distances is estimated

Features = dict[str, np.ndarray]


def features(windows: np.ndarray) -> Features:
    """Thirteen features, each (n, k): single numbers (k = 1), histograms that sum to 1, and transition matrices."""
    pitch, step, duration, velocity = np.moveaxis(windows, -1, 0)
    classes = pitch.astype(int) % 12
    interval = np.diff(pitch, axis=1)
    lengths = _bins(np.log2(np.maximum(duration, 0.02) / 0.02), 0, 8, 12)
    onsets = _bins(np.log2(np.maximum(step, 0.015) / 0.015), 0, 8, 16)
    velocities = _bins(velocity, 1, 128, 16)
    return {
        "pitch_count": np.array([[len(np.unique(p))] for p in pitch], dtype=float),
        "pitch_range": np.ptp(pitch, axis=1)[:, None],
        "pitch_class_histogram": _histogram(classes, 12),
        "pitch_class_transition": _transitions(classes, 12),
        "mean_interval": np.abs(interval).mean(1)[:, None],
        "interval_histogram": _histogram(np.clip(interval, -24, 24).astype(int) + 24, 49),
        "mean_onset_interval": step.mean(1)[:, None],
        "onset_interval_histogram": _histogram(onsets, 16),
        "mean_note_length": duration.mean(1)[:, None],
        "note_length_histogram": _histogram(lengths, 12),
        "note_length_transition": _transitions(lengths, 12),
        "mean_velocity": velocity.mean(1)[:, None],
        "velocity_histogram": _histogram(velocities, 16),
    }


def overlap(real: Features, other: Features) -> dict[str, tuple[float, float]]:
    """Overlap area and KL divergence (nats) of each feature: distances within `real` against distances to `other`.

    Distances are Euclidean, their densities Gaussian kernel estimates. The area is 1 if windows of the other set are as
    far from real windows as real windows are from each other.
    """
    from scipy.spatial.distance import cdist, pdist

    found = {}
    for name, a in real.items():
        within, across = pdist(a), cdist(a, other[name]).ravel()
        high = max(within.max(), across.max()) * 1.05 + 1e-9
        p, q = _density(within, high), _density(across, high)
        floor = 1e-9
        divergence = np.sum(p * np.log((p + floor) / (q + floor)))
        found[name] = (float(np.minimum(p, q).sum()), float(max(divergence, 0.0)))
    return found


def mean_overlap(real: Features, other: Features) -> float:
    """The mean overlap area of all features."""
    return float(np.mean([area for area, _ in overlap(real, other).values()]))


def in_key_ratio(windows: np.ndarray) -> np.ndarray:
    """The share (n,) of a window's notes in the major scale (or its relative minor) that has most of them."""
    histogram = _histogram(windows[..., PITCH].astype(int) % 12, 12)
    scales = np.zeros((12, 12))
    for tonic in range(12):
        scales[tonic, (MAJOR + tonic) % 12] = 1
    best: np.ndarray = (histogram @ scales.T).max(1)
    return best


def chord_rate(windows: np.ndarray) -> np.ndarray:
    """The share (n,) of notes that are struck together with the note before."""
    rate: np.ndarray = (windows[:, 1:, STEP] == 0).mean(1)
    return rate


def polyphony_rate(windows: np.ndarray) -> np.ndarray:
    """The share (n,) of the time with any key held in which two or more are held."""
    return np.array([_held(w, 2) / max(_held(w, 1), 1e-9) for w in windows])


def interval_pairs_divergence(real: np.ndarray, other: np.ndarray) -> float:
    """Jensen-Shannon divergence (in bits, 0 to 1) of pairs of successive intervals, clipped to an octave."""
    from scipy.special import rel_entr

    def pairs(windows: np.ndarray) -> np.ndarray:
        interval = np.clip(np.diff(windows[..., PITCH], axis=1), -12, 12).astype(int) + 12
        return np.bincount((interval[:, :-1] * 25 + interval[:, 1:]).ravel(), minlength=625) / interval[:, 1:].size

    p, q = pairs(real), pairs(other)
    mean = (p + q) / 2
    return float((rel_entr(p, mean) + rel_entr(q, mean)).sum() / 2 / np.log(2))


def statistics(windows: np.ndarray) -> np.ndarray:
    """56 numbers for each window, (n, 56): register, harmony, intervals, rhythm, touch, and correlations of these."""
    from scipy.stats import entropy

    pitch, step, duration, velocity = np.moveaxis(windows.astype(float), -1, 0)
    log_duration = np.log(np.maximum(duration, 0.02))
    # Steps without those inside chords, so that the statistics of rhythm are not about chords alone.
    gaps = [np.log(np.maximum(s[1:][s[1:] > 0], 0.03)) for s in step]
    gaps = [g if len(g) > 1 else np.zeros(2) for g in gaps]
    interval = np.diff(pitch, axis=1)
    leap = np.abs(interval)
    melodic = step[:, 1:] > 0
    classes = _histogram(pitch.astype(int) % 12, 12)
    halves = [
        (pitch[:, :128], pitch[:, 128:]),
        (log_duration[:, :128], log_duration[:, 128:]),
        (velocity[:, :128], velocity[:, 128:]),
        (step[:, :128], step[:, 128:]),
    ]
    first, second = (_histogram(part.astype(int) % 12, 12) for part in halves[0])
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    chord_sizes = [np.diff(np.flatnonzero(np.append(s > 0, True)), prepend=0)[1:] for s in step]
    pairs = [np.unique(np.stack([p[:-1], p[1:]]), axis=1).shape[1] / (len(p) - 1) for p in pitch]
    columns = [
        pitch.mean(1),
        pitch.std(1),
        *np.percentile(pitch, (0, 10, 50, 90, 100), axis=1),
        np.array([len(np.unique(p)) for p in pitch]),
        *np.sort(classes, axis=1).T,
        entropy(classes, base=2, axis=1),
        in_key_ratio(windows),
        (first * second).sum(1) / np.maximum(norms, 1e-9),
        leap.mean(1),
        interval.std(1),
        (leap == 0).mean(1),
        ((leap > 0) & (leap <= 2)).mean(1),
        (leap == 12).mean(1),
        _masked_mean(leap, ~melodic),
        _masked_mean(leap, melodic),
        np.array(pairs),
        chord_rate(windows),
        np.array([s.mean() if len(s) else 0 for s in chord_sizes]),
        np.array([s.max() if len(s) else 0 for s in chord_sizes]),
        np.array([g.mean() for g in gaps]),
        np.array([g.std() for g in gaps]),
        *np.array([np.percentile(g, (10, 50, 90)) for g in gaps]).T,
        np.array([_correlation(g[1:], g[:-1]) for g in gaps]),
        log_duration.mean(1),
        log_duration.std(1),
        *np.percentile(log_duration, (10, 50, 90), axis=1),
        _correlations(log_duration[:, 1:], log_duration[:, :-1]),
        velocity.mean(1),
        velocity.std(1),
        *np.percentile(velocity, (10, 90), axis=1),
        _correlations(velocity[:, 1:], velocity[:, :-1]),
        np.abs(np.diff(velocity, axis=1)).mean(1),
        _correlations(pitch, velocity),
        _correlations(pitch, log_duration),
        _correlations(step, log_duration),
        _correlations(step[:, 1:], velocity[:, 1:]),
        polyphony_rate(windows),
        duration.sum(1) / np.maximum(step.sum(1), 1e-9),
        *(np.abs(a.mean(1) - b.mean(1)) for a, b in halves),
    ]
    return np.stack(columns, axis=1)


def two_sample_accuracy(real: np.ndarray, other: np.ndarray) -> float:
    """Cross-validated accuracy of a classifier (gradient boosting on `statistics`) of real against other windows.

    0.5 for sets of one distribution, 1 if every window is recognised (Lopez-Paz & Oquab, 2017, arXiv:1610.06545).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    x = np.concatenate([statistics(real), statistics(other)])
    y = np.repeat([0, 1], [len(real), len(other)])
    model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, max_leaf_nodes=15, random_state=0)
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(model, x, y, cv=split).mean())


def attributes_shuffled(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Baseline: pitches of one window with the rhythm of another and the velocities of a third."""
    pitch, rhythm, velocity = (windows[rng.permutation(len(windows))] for _ in range(3))
    return np.concatenate([pitch[..., :1], rhythm[..., 1:3], velocity[..., 3:]], axis=-1)


def order_shuffled(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Baseline: the notes of each window in random order."""
    return np.stack([w[rng.permutation(len(w))] for w in windows])


def unigram(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Baseline: notes drawn one by one from all notes of all windows."""
    flat = windows.reshape(-1, windows.shape[-1])
    return flat[rng.randint(len(flat), size=windows.shape[:2])]


def markov(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Baseline, a first-order Markov chain: each note is one that follows a note of the same pitch in some window."""
    before, after = windows[:, :-1].reshape(-1, 4), windows[:, 1:].reshape(-1, 4)
    order = np.argsort(before[:, PITCH], kind="stable")
    after, keys = after[order], before[order, PITCH]
    made = np.empty_like(windows)
    made[:, 0] = windows[rng.permutation(len(windows)), 0]
    for k in range(1, windows.shape[1]):
        low, high = (np.searchsorted(keys, made[:, k - 1, PITCH], side=side) for side in ("left", "right"))
        # A pitch that occurs only at the end of windows has no successor: any note may follow.
        low, high = np.where(high > low, low, 0), np.where(high > low, high, len(keys))
        made[:, k] = after[(low + rng.random_sample(len(low)) * (high - low)).astype(int)]
    return made


BASELINES: dict[str, Callable[[np.ndarray, np.random.RandomState], np.ndarray]] = {
    "attributes shuffled": attributes_shuffled,
    "order shuffled": order_shuffled,
    "Markov-1": markov,
    "unigram": unigram,
}


def table_row(real: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """The figures of a set of windows against held-out real ones.

    The overlap area uses the first `OVERLAP_WINDOWS` of each, since it depends on their number.
    """
    return {
        "overlap_area": mean_overlap(features(real[:OVERLAP_WINDOWS]), features(other[:OVERLAP_WINDOWS])),
        "two_sample_accuracy": two_sample_accuracy(real, other),
        "in_key_ratio": float(in_key_ratio(other).mean()),
        "polyphony_rate": float(polyphony_rate(other).mean()),
        "chord_rate": float(chord_rate(other).mean()),
        "interval_pairs_divergence": interval_pairs_divergence(real, other),
    }


def _bins(values: np.ndarray, low: float, high: float, count: int) -> np.ndarray:
    return np.clip(((values - low) / (high - low) * count).astype(int), 0, count - 1)


def _histogram(values: np.ndarray, count: int) -> np.ndarray:
    """Histograms of each row: (n, m) integers below `count` -> (n, count), rows summing to 1."""
    rows = np.arange(len(values))[:, None] * count
    counts = np.bincount((rows + values).ravel(), minlength=len(values) * count)
    return counts.reshape(-1, count) / values.shape[1]


def _transitions(values: np.ndarray, count: int) -> np.ndarray:
    """Histograms of pairs of neighbours: (n, m) integers below `count` -> (n, count * count)."""
    return _histogram(values[:, :-1] * count + values[:, 1:], count * count)


def _density(values: np.ndarray, high: float) -> np.ndarray:
    """Gaussian kernel estimate (Scott's bandwidth) on a grid over [0, high], summing to 1."""
    counts, edges = np.histogram(values, bins=GRID, range=(0, high))
    width = max(values.std() * len(values) ** -0.2, high / GRID)
    centres = (edges[:-1] + edges[1:]) / 2
    kernel = np.exp(-0.5 * ((centres[:, None] - centres) / width) ** 2)
    density = kernel @ counts
    normal: np.ndarray = density / density.sum()
    return normal


def _held(window: np.ndarray, at_least: int) -> float:
    """Seconds in which at least `at_least` keys are held."""
    onset = np.cumsum(window[:, STEP])
    times = np.concatenate([onset, onset + window[:, DURATION]])
    change = np.repeat([1, -1], len(onset))
    order = np.argsort(times, kind="stable")
    level = np.cumsum(change[order])[:-1]
    return float(np.diff(times[order])[level >= at_least].sum())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(_correlations(a[None], b[None])[0])


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of rows: (n, m), (n, m) -> (n,); 0 where one of them is constant."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    both = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    correlations: np.ndarray = (a * b).sum(1) / np.maximum(both, 1e-9)
    return correlations


def _masked_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    mean: np.ndarray = (values * mask).sum(1) / np.maximum(mask.sum(1), 1)
    return mean

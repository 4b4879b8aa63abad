"""A blind classifier: how often the pieces of a generator are told from performances, on notes as they are.

Windows are arrays (n, notes, 4) of pitch, step, duration and velocity, as performed (see `form`). Features are kept out
of training, which must never import them: a figure that a loss contains says little about the music. What losses and
critics may see is in `training.families`.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from explorer.sound.notes import CHORD_SECONDS
from training.evaluation import form
from training.evaluation.form import Strokes
from training.evaluation.music import DURATION, PITCH, STEP, VELOCITY

Features = Callable[[np.ndarray], np.ndarray]  # of one window (notes, 4): (d,)

FOLDS = 5
CLOCK_SECONDS = 0.0013  # of the instrument that recorded MAESTRO, the coarser of two
ROUNDING = 1e-6  # of seconds, in sums of steps: many are of just 30 ms, which is not in a chord
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 8), (0, 4, 7, 10), (0, 3, 7, 10), (0, 4, 7, 11), (0, 3, 6, 9))
PERCENTS = (2, 5, 10, 25, 50, 75, 90, 95, 98)


def blurred(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Moves every onset and end by up to half a tick of the recording clock, so that its grid tells nothing."""

    def moved(seconds: np.ndarray) -> np.ndarray:
        return seconds + rng.uniform(-CLOCK_SECONDS / 2, CLOCK_SECONDS / 2, seconds.shape)

    made = []
    for window in windows:
        onset = window[:, STEP].cumsum()
        end = onset + window[:, DURATION]
        start = moved(onset)
        length = np.maximum(moved(end) - start, CLOCK_SECONDS)
        made.append(form.as_window(start, window[:, PITCH], length, window[:, VELOCITY]))
    return np.stack(made)


def snapped(windows: np.ndarray) -> np.ndarray:
    """Gives the notes within 30 ms of a chord's first one its onset, and sorts them by pitch."""
    made = []
    for window in windows:
        onset = window[:, STEP].cumsum()
        begin, starts = -np.inf, []
        for time in onset.tolist():
            begin = time if time - begin > CHORD_SECONDS - ROUNDING else begin
            starts.append(begin)
        made.append(form.as_window(np.array(starts), window[:, PITCH], window[:, DURATION], window[:, VELOCITY]))
    return np.stack(made)


def plain(window: np.ndarray) -> np.ndarray:
    """Percentiles and histograms of what is written down: log waits, log durations, velocities and pitches, (84,)."""
    wait = np.log10(np.maximum(window[1:, STEP], 0.001))
    length = np.log10(np.maximum(window[:, DURATION], 0.01))
    pitch, velocity = window[:, PITCH], window[:, VELOCITY]
    ranges = ((wait, -3, 0.5), (length, -2, 1), (velocity, 0, 128), (pitch, 21, 109))
    return np.concatenate(
        [np.percentile(values, PERCENTS) for values, _, _ in ranges]
        + [_histogram(np.clip(values, low, high), np.linspace(low, high, 13)) for values, low, high in ranges]
    )


def unseen(window: np.ndarray) -> np.ndarray:
    """What a listener may go by and training is never shown: touch, lines, chords, rhythm, releases, hands and form."""
    strokes = Strokes.of(window)
    measures = [measure.of(window) for measure in form.MEASURES.values()]
    parts = (_touch(window, strokes), _lines(strokes), _chords(window, strokes), _rhythm(strokes))
    return np.concatenate([measures, *parts, _releases(window, strokes), _tonality(window), _again(window)])


def two_sample_accuracy(
    real: np.ndarray, other: np.ndarray, real_pieces: np.ndarray, other_pieces: np.ndarray
) -> float:
    """Balanced accuracy with which a classifier tells features (n, d) from others (m, d): 0.5 by chance, 1 always.

    The better of gradient boosting and logistic regression, cross-validated by piece: what is learned of one says
    nothing of another (classifier two-sample test, Lopez-Paz & Oquab, 2017, arXiv:1610.06545). NaN with too few
    pieces to leave some out.

    Args:
        real_pieces, other_pieces: (n,), (m,) numbers of the pieces; the same number, the same piece.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.concatenate([real, other]), np.repeat([0, 1], [len(real), len(other)])
    x = x[:, np.isfinite(x).any(0)]
    # Pieces in turn, real and other ones apart, so that every fold has both.
    pieces = np.unique(real_pieces), np.setdiff1d(other_pieces, real_pieces)
    fold = {piece: k % FOLDS for part in pieces for k, piece in enumerate(part.tolist())}
    folds = np.array([fold[piece] for piece in [*real_pieces.tolist(), *other_pieces.tolist()]])
    if any(len(np.unique(folds[y == side])) < 2 for side in (0, 1)):
        return float("nan")
    split = PredefinedSplit(folds)
    models = (
        HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, max_leaf_nodes=15, random_state=0),
        make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(C=0.03, max_iter=5000)
        ),
    )
    return max(float(balanced_accuracy_score(y, cross_val_predict(model, x, y, cv=split))) for model in models)


def _histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(values, edges)[0] / max(len(values), 1)


def _shares(values: np.ndarray, count: int) -> np.ndarray:
    """Shares (count,) of integers below `count`."""
    return np.bincount(values.astype(int), minlength=count) / max(len(values), 1)


def _percentiles(values: np.ndarray) -> np.ndarray:
    return np.percentile(values, (10, 25, 50, 75, 90)) if len(values) else np.full(5, np.nan)


def _returns(line: np.ndarray, lags: tuple[int, ...]) -> list[float]:
    """Autocorrelation of a line (k,) at some lags."""
    return [form.correlation(line[lag:], line[:-lag]) if len(line) > lag + 2 else np.nan for lag in lags]


def _touch(window: np.ndarray, strokes: Strokes) -> np.ndarray:
    """How the notes of a stroke are spread in time and loudness, and which hand leads."""
    onset, found = window[:, STEP].cumsum(), []
    for a, b in pairwise(strokes.first):
        if b - a > 1:
            late, pitch, velocity = onset[a:b] - onset[a], window[a:b, PITCH], window[a:b, VELOCITY]
            top, bass = pitch.argmax(), pitch.argmin()
            span = late.max(), late[top] - late[bass], velocity[top] - velocity[bass], velocity.std()
            found.append((*span, pitch[top] - pitch[bass]))
    columns = np.array(found).reshape(-1, 5).T
    sizes = np.minimum(np.diff(strokes.first), 6) - 1
    return np.concatenate([*(_percentiles(column) for column in columns), _shares(sizes, 6)])


def _lines(strokes: Strokes) -> np.ndarray:
    """How the top line and the bass move: kinds of intervals, pairs of these, and how both go together."""
    parts = []
    for line in (strokes.top, strokes.bass):
        interval = np.diff(line)
        kind = np.searchsorted((-12.5, -4.5, -2.5, -0.5, 0.5, 2.5, 4.5, 12.5), interval)  # repeats, steps, skips, leaps
        parts += [_shares(kind, 9), _shares(kind[1:] * 9 + kind[:-1], 81), _returns(line, (1, 2, 3, 4, 6, 8, 12, 16))]
    both = np.sign(np.diff(strokes.top)) * np.sign(np.diff(strokes.bass))
    parts += [_shares(both + 1, 3), _percentiles(strokes.top - strokes.bass)]
    return np.concatenate([*parts, _returns(strokes.velocity, (1, 2, 3, 4, 6, 8, 12, 16))])


def _chords(window: np.ndarray, strokes: Strokes) -> np.ndarray:
    """Intervals over the bass of a stroke, and kinds of chords: triads and sevenths."""
    over, kinds = [], []
    for a, b in pairwise(strokes.first):
        pitch = window[a:b, PITCH].astype(int)
        if b - a > 1:
            over.append((np.sort(pitch)[1:] - pitch.min()) % 12)
        classes = sorted(set((pitch % 12).tolist()))
        if len(classes) >= 3:
            shapes = {tuple(sorted((c - root) % 12 for c in classes)) for root in classes}
            kinds.append(next((k for k, chord in enumerate(CHORDS) if chord in shapes), len(CHORDS)))
    return np.concatenate(
        [_shares(np.concatenate(over) if over else np.zeros(0), 12), _shares(np.array(kinds), len(CHORDS) + 1)]
    )


def _rhythm(strokes: Strokes) -> np.ndarray:
    """Waits between strokes: percentiles, ratios and pairs of these, and the pulse."""
    wait = np.log2(np.diff(strokes.onset))
    ratio = np.clip(np.round(2 * np.diff(wait)), -4, 4) + 4
    coarse = np.searchsorted((2.5, 5.5), ratio)
    pulse = form.pulse(strokes.onset)
    peaks = [pulse.max(), np.sort(pulse)[-8:].mean(), pulse.std(), float(pulse.argmax())]
    pairs = _shares(coarse[1:] * 3 + coarse[:-1], 9)
    return np.concatenate([_percentiles(wait), _shares(ratio, 9), pairs, peaks, _returns(wait, (1, 2, 3, 4, 6, 8))])


def _releases(window: np.ndarray, strokes: Strokes) -> np.ndarray:
    """How notes end: how many sound on, how long beyond the next stroke, and how many end together."""
    onset = window[:, STEP].cumsum()
    end = onset + window[:, DURATION]
    after = np.append(strokes.onset, strokes.onset[-1] + 1.0)
    following = after[np.minimum(np.searchsorted(after, onset + form.STROKE_SECONDS), len(after) - 1)]
    legato = (end - following) / np.maximum(following - onset, 0.01)
    sounding = np.searchsorted(onset, strokes.onset, "right") - np.searchsorted(np.sort(end), strokes.onset, "right")
    gaps = np.diff(np.sort(end))
    together = [(gaps < limit).mean() for limit in (0.03, 0.1)]  # shorter gaps are not heard
    return np.concatenate([_percentiles(np.clip(legato, -2, 20)), _percentiles(sounding), together])


def _tonality(window: np.ndarray) -> np.ndarray:
    """Pitch classes over the tonic of the key that fits best, whether it is minor, and how well it fits."""
    fit = form.key_fit(window)
    key = int(fit.argmax())
    classes = (window[:, PITCH].astype(int) - key) % 12
    return np.concatenate([_shares(classes, 12), [key // 12, fit.max(), np.sort(fit)[-2]]])


def _again(window: np.ndarray) -> np.ndarray:
    """When a key is struck again: percentiles of log seconds and of notes in between."""
    onset = window[:, STEP].cumsum()
    order = np.lexsort((onset, window[:, PITCH]))
    same = np.diff(window[order, PITCH]) == 0
    seconds = np.log(np.maximum(np.diff(onset[order])[same], 0.01))
    return np.concatenate([_percentiles(seconds), _percentiles(np.log(np.maximum(np.diff(order)[same], 1)))])

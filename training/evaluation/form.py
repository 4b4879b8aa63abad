"""Measures of musical form: what comes back, what holds and what leads on in a window of piano notes.

Windows are arrays (n, notes, 4) as in `music`, but as performed: steps inside chords are what the hands left between
two onsets, and a duration is the time until the note is damped. Notes within `STROKE_SECONDS` are one stroke; the line
of the highest note of each stroke is the top line, that of the lowest the bass.

Every measure is taken of real windows, and of real windows of which one thing is shuffled: the order of the strokes,
the pitches, or the sections. A measure that does not tell these apart says nothing about form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.evaluation.music import DURATION, PITCH, STEP, VELOCITY

STROKE_SECONDS = 0.05  # hands roll and lead by less, and repeat a note after more
PATTERN = 3  # intervals or ratios of durations in a pattern
SECTIONS = 4
PHRASE = 8  # strokes
LAGS = np.geomspace(0.125, 2.0, 97)  # seconds: a beat, its parts and groups
PULSE_WIDTH = 0.05  # of a lag: how far two waits may differ and still be of one pulse
BLURRED = 0.6  # above such a chance the strokes are too dense for a lag
LOG_TIMES = np.linspace(np.log(LAGS[0]) - 0.2, np.log(LAGS[-1]) + 0.2, 1025)  # edges of bins
PULSE_KERNEL = np.exp(-0.5 * (((LOG_TIMES[1:] + LOG_TIMES[:-1]) / 2 - np.log(LAGS)[:, None]) / PULSE_WIDTH) ** 2)
# How well each pitch class fits the keys of C major and C minor (Krumhansl and Kessler, 1982).
KEY_PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
KEY_FITS = np.stack([np.roll(profile, tonic) for profile in KEY_PROFILES for tonic in range(12)])  # (24, 12)


def as_window(onset: np.ndarray, pitch: np.ndarray, duration: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Notes in any order, (n,) each, times in seconds -> a window (n, 4), by onset; its first step is 0."""
    order = np.lexsort((pitch, onset))
    onset = onset[order]
    return np.stack([pitch[order], np.diff(onset, prepend=onset[0]), duration[order], velocity[order]], axis=1)


@dataclass(frozen=True)
class Strokes:
    """A window as strokes, k of them.

    Attributes:
        first: (k + 1,), index of the first note of each stroke, and the number of notes.
        onset: (k,), seconds.
        top, bass: (k,), the highest and the lowest pitch.
        velocity: (k,), of the loudest note.
    """

    first: np.ndarray
    onset: np.ndarray
    top: np.ndarray
    bass: np.ndarray
    velocity: np.ndarray

    @classmethod
    def of(cls, window: np.ndarray) -> "Strokes":
        onset = window[:, STEP].cumsum()
        starts, begin = [], -np.inf
        for k, time in enumerate(onset.tolist()):
            if time - begin > STROKE_SECONDS:
                begin = time
                starts.append(k)
        at = np.array(starts)
        return cls(
            np.append(at, len(window)),
            onset[at],
            np.maximum.reduceat(window[:, PITCH], at),
            np.minimum.reduceat(window[:, PITCH], at),
            np.maximum.reduceat(window[:, VELOCITY], at),
        )


def recurrence(values: np.ndarray, size: int = PATTERN) -> float:
    """The share of runs of `size` successive values (n,) that occur more than once; 0 if there is no run."""
    if len(values) < size:
        return 0.0
    runs = np.lib.stride_tricks.sliding_window_view(values, size)
    _, of_run, count = np.unique(runs, axis=0, return_inverse=True, return_counts=True)
    return float((count[of_run.ravel()] > 1).mean())


def recurring_intervals(window: np.ndarray) -> float:
    """The share of patterns of three successive intervals of the top line that occur again in the window."""
    return recurrence(np.diff(Strokes.of(window).top))


def recurring_rhythms(window: np.ndarray) -> float:
    """The share of rhythms of five strokes that occur again: ratios of successive waits, in half octaves."""
    return recurrence(_ratios(Strokes.of(window).onset), PATTERN)


def _ratios(onset: np.ndarray) -> np.ndarray:
    return np.clip(np.round(2 * np.diff(np.log2(np.diff(onset)))), -5, 5)


def chords_of_thirds(window: np.ndarray) -> float:
    """The share of chords, strokes of three or more pitch classes, that are seventh chords or parts of one.

    NaN without such chords.
    """
    first, classes = Strokes.of(window).first, window[:, PITCH].astype(int) % 12
    chords = [set(classes[a:b].tolist()) for a, b in pairwise(first)]
    fits = [any(chord <= stack for stack in STACKS) for chord in chords if len(chord) >= 3]
    return float(np.mean(fits)) if fits else np.nan


def _stacks() -> list[frozenset[int]]:
    """The pitch classes of all stacks of three minor or major thirds."""
    shapes = [np.cumsum([0, a, b, c]) for a in (3, 4) for b in (3, 4) for c in (3, 4)]
    return sorted({frozenset(((shape + root) % 12).tolist()) for shape in shapes for root in range(12)}, key=sorted)


STACKS = _stacks()


def steps(line: np.ndarray) -> float:
    """The share of a line's moves that are steps, of one or two semitones."""
    size = np.abs(np.diff(line))
    size = size[size > 0]
    return float((size <= 2).mean()) if len(size) else np.nan


def leaps(line: np.ndarray) -> float:
    """The share of a line's intervals that are larger than an octave."""
    return float((np.abs(np.diff(line)) > 12).mean()) if len(line) > 1 else np.nan


def swell(line: np.ndarray) -> float:
    """The share of a line's variance that is left when it is averaged over phrases of eight strokes."""
    if len(line) < 2 * PHRASE or line.std() == 0:
        return np.nan
    smooth = np.convolve(line, np.ones(PHRASE) / PHRASE, mode="valid")
    return float(smooth.var() / line.var())


def voicing(window: np.ndarray) -> float:
    """How much louder, in steps of velocity, the top note of a stroke is than the mean of the others."""
    first, found = Strokes.of(window).first, []
    for a, b in pairwise(first):
        if b - a > 1:
            top = a + window[a:b, PITCH].argmax()
            rest = (window[a:b, VELOCITY].sum() - window[top, VELOCITY]) / (b - a - 1)
            found.append(window[top, VELOCITY] - rest)
    return float(np.mean(found)) if found else np.nan


def pulse(onset: np.ndarray) -> np.ndarray:
    """Autocorrelation of onsets over log time, (lags,): 1 where each stroke has another that much later, 0 at random.

    Args:
        onset: (k,) of strokes, sorted, seconds.
    """
    length = max(onset[-1] - onset[0], 1e-9)
    apart = (onset[None] - onset[:, None])[np.triu_indices(len(onset), 1)]
    counts = np.histogram(np.log(np.maximum(apart, 1e-9)), LOG_TIMES)[0]
    pairs = len(onset) * (1 - LAGS / length)  # a pulse of this lag has so many
    found = PULSE_KERNEL @ counts / np.maximum(pairs, 1)
    chance = np.sqrt(2 * np.pi) * PULSE_WIDTH * LAGS * len(onset) / length
    possible = (length >= 2 * LAGS) & (chance < BLURRED)
    return np.where(possible, (found - chance) / np.where(possible, 1 - chance, 1), 0.0)


def _sections(window: np.ndarray) -> list[np.ndarray]:
    return np.array_split(window, SECTIONS)


def _pulses(window: np.ndarray) -> np.ndarray:
    return np.stack([pulse(Strokes.of(section).onset) for section in _sections(window)])


def pulse_strength(window: np.ndarray) -> float:
    """The strength of the strongest pulse of each section, 0 to 1, on average."""
    return float(_pulses(window).max(1).mean())


def pulse_holds(window: np.ndarray) -> float:
    """The correlation, from section to the next, of how strong the pulse is at each lag."""
    pulses = _pulses(window)
    return float(np.mean([correlation(a, b) for a, b in pairwise(pulses)]))


def key_fit(window: np.ndarray) -> np.ndarray:
    """How well a window fits each key: correlations (24,) of the sounding pitch classes with the keys' profiles."""
    weights = np.minimum(window[:, DURATION], 1.0)
    histogram = np.bincount(window[:, PITCH].astype(int) % 12, weights=weights, minlength=12)
    return np.array([correlation(histogram, key) for key in KEY_FITS])


def key_holds(window: np.ndarray) -> float:
    """The correlation, from section to the next, of how well the notes fit each key."""
    fits = [key_fit(section) for section in _sections(window)]
    return float(np.mean([correlation(a, b) for a, b in pairwise(fits)]))


def near_keys(window: np.ndarray) -> float:
    """The share of changes of key that go to the relative or parallel key, or one fifth up or down; NaN without any."""
    keys = [int(key_fit(section).argmax()) for section in _sections(window)]
    changes = [(a, b) for a, b in pairwise(keys) if a != b]
    return float(np.mean([_near(a, b) for a, b in changes])) if changes else np.nan


def _near(a: int, b: int) -> bool:
    up = (b - a) % 12
    if a // 12 == b // 12:
        return up in (5, 7)
    return up == 0 or up == (9 if a < 12 else 3)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of (n,) and (n,); 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0


def strokes_shuffled(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """The strokes of each window in random order, each with the wait before it."""
    made = []
    for window in windows:
        first = Strokes.of(window).first
        parts = [window[a:b] for a, b in pairwise(first)]
        made.append(np.concatenate([parts[k] for k in rng.permutation(len(parts))]))
    return np.stack(made)


def pitches_shuffled(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """The pitches of each window in random order; all else stays."""
    made = windows.copy()
    for window in made:
        window[:, PITCH] = rng.permutation(window[:, PITCH])
    return made


def sections_shuffled(windows: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """The sections of each window from different ones."""
    parts = np.array_split(windows, SECTIONS, axis=1)
    return np.concatenate([part[rng.permutation(len(windows))] for part in parts], axis=1)


Shuffle = Callable[[np.ndarray, np.random.RandomState], np.ndarray]


SHUFFLES: Mapping[str, Shuffle] = {
    "strokes": strokes_shuffled,
    "pitches": pitches_shuffled,
    "sections": sections_shuffled,
}


@dataclass(frozen=True)
class Measure:
    """A measure of one window (notes, 4).

    Attributes:
        title: its name in tables.
        of: the measure; NaN for a window that has none.
        shuffled: of `SHUFFLES`: what is shuffled in the windows that it must tell from real ones.
        explained: in a few words.
    """

    title: str
    of: Callable[[np.ndarray], float]
    shuffled: str
    explained: str


MEASURES: Mapping[str, Measure] = {
    "intervals": Measure(
        "intervals recur",
        recurring_intervals,
        "strokes",
        "share of patterns of three intervals of the top line that occur again in the window",
    ),
    "rhythms": Measure(
        "rhythms recur",
        recurring_rhythms,
        "strokes",
        "share of rhythms of five strokes that do; lengths count in ratios, to half an octave",
    ),
    "thirds": Measure(
        "chords of thirds",
        chords_of_thirds,
        "pitches",
        "share of chords of three or more pitch classes that are sevenths, or parts of one",
    ),
    "pulse": Measure(
        "pulse",
        pulse_strength,
        "strokes",
        "highest autocorrelation of the onsets of a quarter over log time; 1 for a metronome",
    ),
    "pulse_holds": Measure(
        "pulse holds",
        pulse_holds,
        "sections",
        "correlation of that autocorrelation with the next quarter's",
    ),
    "key_holds": Measure(
        "key holds",
        key_holds,
        "sections",
        "correlation of how well a quarter fits the 24 keys with the next quarter's (Krumhansl's profiles)",
    ),
    "near_keys": Measure(
        "to near keys",
        near_keys,
        "sections",
        "share of the changes of key from quarter to quarter that are by a fifth, or to the relative or parallel key",
    ),
    "top_steps": Measure(
        "top line, steps",
        lambda window: steps(Strokes.of(window).top),
        "strokes",
        "share of its moves that are of one or two semitones",
    ),
    "top_leaps": Measure(
        "top line, leaps",
        lambda window: leaps(Strokes.of(window).top),
        "strokes",
        "share of its intervals that are over an octave",
    ),
    "top_contour": Measure(
        "top line, contour",
        lambda window: swell(Strokes.of(window).top),
        "strokes",
        "share of its variance that averages over eight strokes keep",
    ),
    "bass_steps": Measure(
        "bass, steps", lambda window: steps(Strokes.of(window).bass), "strokes", "as of the top line"
    ),
    "bass_leaps": Measure(
        "bass, leaps", lambda window: leaps(Strokes.of(window).bass), "strokes", "as of the top line"
    ),
    "swell": Measure(
        "loudness swells",
        lambda window: swell(Strokes.of(window).velocity),
        "strokes",
        "share of the variance of velocity that averages over eight strokes keep",
    ),
    "voicing": Measure(
        "top note louder",
        voicing,
        "pitches",
        "velocity of a stroke's top note above the mean of its others",
    ),
}


def polyphony(windows: np.ndarray) -> np.ndarray:
    """How many notes sound at once (n,), on average from the first onset to the last."""
    onset = windows[..., STEP].cumsum(1)
    last = onset[:, -1:]
    sounding = np.minimum(windows[..., DURATION], last - onset).sum(1)
    together: np.ndarray = sounding / np.maximum((last - onset[:, :1]).ravel(), 1e-9)
    return together


def measured(windows: np.ndarray, name: str) -> np.ndarray:
    """A measure of each of the windows (n, notes, 4): (k,) with k <= n, for windows that have it."""
    found = np.array([MEASURES[name].of(window) for window in windows])
    return found[np.isfinite(found)]


def roc_auc(real: np.ndarray, shuffled: np.ndarray) -> float:
    """The area under the ROC curve: 0.5 if a measure (n,), (m,) does not tell the two apart, 1 if always.

    Which of the two has the larger values does not matter.
    """
    from sklearn.metrics import roc_auc_score

    area = float(roc_auc_score(np.repeat([0, 1], [len(real), len(shuffled)]), np.concatenate([real, shuffled])))
    return max(area, 1 - area)

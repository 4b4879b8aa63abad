"""Measures of a sound: the quantities that directions in latent space are named after, and that a gallery compares.

Which measures a sound has depends on its kind. Pieces are measured by their notes, one-shots as drums are, and a note
of an instrument by its timbre, whatever its pitch. Other sounds are measured by a spectrogram: the log-mel if there is
one, which saves estimating the phase, else one computed from the waveform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from explorer.sound.base import Note, Sound


@dataclass(frozen=True)
class Measure:
    """How the app names a measure: the title of its slider, and the unit of its values and changes."""

    title: str
    unit: str


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        # of a spectrogram
        "duration": Measure("Duration", "s"),
        "loudness": Measure("Loudness", "dB"),
        "brightness": Measure("Brightness", "Hz"),
        "pitch": Measure("Pitch", "semitones"),
        # of a one-shot, beside loudness, brightness and pitch
        "decay": Measure("Decay", "s"),
        "attack": Measure("Attack", "ms"),
        "noisiness": Measure("Noisiness", "%"),
        # of a note of an instrument, beside loudness, brightness and attack
        "fall": Measure("Decay", "dB/s"),
        "odd": Measure("Odd partials", "dB"),
        "noise": Measure("Noise", "dB"),
        "vibrato": Measure("Vibrato", "cents"),
        # of notes
        "density": Measure("Notes per second", "notes/s"),
        "register": Measure("Register", "semitones"),
        "velocity": Measure("Loudness", "velocity"),
        "chords": Measure("Chords", "% of notes"),
        "in-key": Measure("In key", "% of notes"),
        "length": Measure("Note length", "s"),
    }
)

ACTIVE_DB = 25.0  # frames softer than the loudest by more count as silence
LOWEST_F0, HIGHEST_F0 = 60.0, 400.0  # Hz, the pitches searched
RESOLVED = 1200.0  # Hz: above, mel bands are too wide to tell a voice's harmonics apart
PERIODIC = 0.3  # normalised autocorrelation above which a frame has a pitch
PER_SEMITONE = 8  # lags tried per semitone
FRAME_SECONDS = 0.064  # frame of a waveform's spectrogram: long enough to resolve the harmonics of a low voice
MAJOR = (0, 2, 4, 5, 7, 9, 11)
ENVELOPE_SECONDS = 0.005  # over which the power of a one-shot is averaged
DECAYED_DB = 40.0  # below its loudest, at which a one-shot has died away
LOWEST_PARTIAL = 30.0  # Hz
TONAL = 0.2  # share of the energy around the strongest partial above which a one-shot has a pitch
LOWEST_NOTE, HIGHEST_NOTE = 55.0, 1200.0  # Hz, the pitches of an instrument that are searched
HELD_SECONDS = 0.7  # of a note, from its onset on, in which its decay and its vibrato are measured
CLEAREST = 0.9  # of the highest autocorrelation, which the first peak must have that is taken for the period
EXTENT = 40.0  # dB; levels of partials and of noise are compared within that


def measure(sound: Sound) -> dict[str, float]:
    """The measures of a sound, by their names in `MEASURES`; NaN where one is undefined.

    Of a spectrogram:
        duration: seconds from the first active frame to the last, both included.
        loudness: mean power of the active frames in dB, relative to an arbitrary zero.
        brightness: spectral centroid of the active frames in Hz, weighted by magnitude.
        pitch: median over frames of the fundamental, as a MIDI note number.
    Of a one-shot, beside loudness and brightness as above:
        decay: seconds from the loudest moment to the last that is within 40 dB of it.
        attack: milliseconds from the onset, at 2 % of the peak, to the loudest moment.
        noisiness: spectral flatness in percent, the mean of the active frames: 0 for a tone, near 56 for white noise.
        pitch: the strongest partial as a MIDI note number; NaN where no partial stands out.
    Of a note of an instrument, beside loudness and brightness as above:
        attack: milliseconds from the onset, at 2 % of the peak, to the first moment within 3 dB of the loudest.
        fall: decibels a second by which it dies away while its key is held.
        odd: energy of the partials 3, 5, 7 and 9 over that of 2, 4, 6 and 8, in dB.
        noise: energy between the partials over that of all, in dB.
        vibrato: cents by which the pitch swings to either side.
    Of notes:
        density: notes per second; each note of a chord counts.
        register: mean MIDI note number.
        velocity: mean velocity, 1-127.
        chords: percentage of notes with the same onset as the note before.
        in-key: percentage of notes in the best-fitting major scale (or its relative minor).
        length: median duration of a note in seconds.
    """
    if sound.notes is not None:
        return _of_notes(sound.notes)
    if sound.one_shot:
        return _of_one_shot(sound.waveform, sound.sample_rate)
    if sound.pitched:
        return _of_instrument(sound.waveform, sound.sample_rate)
    if sound.log_mel is not None:
        picture = sound.log_mel
        magnitude = (np.exp(picture.values.astype(np.float64)) - picture.floor).clip(0)
        return _of_spectrogram(magnitude, picture.frequencies, picture.hop_length / picture.sample_rate)
    return _of_waveform(sound.waveform, sound.sample_rate)


def _of_notes(notes: Sequence[Note]) -> dict[str, float]:
    columns = np.array([(n.pitch, n.onset, n.duration, n.velocity) for n in notes], dtype=np.float64).reshape(-1, 4)
    if not len(columns):
        return dict.fromkeys(("density", "register", "velocity", "chords", "in-key", "length"), np.nan)
    pitch, onset, duration, velocity = columns.T
    span = float(np.ptp(onset))
    classes = np.bincount(pitch.astype(int) % 12, minlength=12)
    in_scale = max(classes[(np.array(MAJOR) + tonic) % 12].sum() for tonic in range(12))
    return {
        "density": (len(onset) - 1) / span if span > 0 else np.nan,
        "register": float(pitch.mean()),
        "velocity": float(velocity.mean()),
        "chords": 100 * (1 - len(np.unique(onset)) / len(onset)),
        "in-key": 100 * float(in_scale) / len(pitch),
        "length": float(np.median(duration)),
    }


def _of_waveform(waveform: np.ndarray, sample_rate: int) -> dict[str, float]:
    return _of_spectrogram(*_spectrogram(waveform, sample_rate))


def _spectrogram(waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Magnitudes (bands, frames), the bands' frequencies (bands,) in Hz, and seconds between frames."""
    size = 2 ** round(np.log2(FRAME_SECONDS * sample_rate))
    padded = np.pad(waveform.astype(np.float64), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]  # (frames, size)
    window = np.hanning(size + 1)[:-1]
    magnitude = np.abs(np.fft.rfft(frames * window)).T / window.sum()
    return magnitude, np.fft.rfftfreq(size, 1 / sample_rate), size // 4 / sample_rate


def _of_one_shot(waveform: np.ndarray, sample_rate: int) -> dict[str, float]:
    x = waveform.astype(np.float64)
    peak = np.abs(x).max(initial=0.0)
    if peak <= 0:
        return dict.fromkeys(("decay", "attack", "loudness", "brightness", "noisiness", "pitch"), np.nan)
    size = max(1, round(ENVELOPE_SECONDS * sample_rate))
    power = np.convolve(x**2, np.full(size, 1 / size), "same")
    loudest, onset = int(power.argmax()), int(np.argmax(np.abs(x) >= 0.02 * peak))
    last = int(np.flatnonzero(power >= power[loudest] * 10 ** (-DECAYED_DB / 10))[-1])
    magnitude, frequencies, hop_seconds = _spectrogram(x, sample_rate)
    usual = _of_spectrogram(magnitude, frequencies, hop_seconds)
    energy = magnitude[1:] ** 2
    active = energy.sum(0) >= energy.sum(0).max() * 10 ** (-ACTIVE_DB / 10)
    flatness = np.exp(np.log(energy[:, active] + 1e-30).mean(0)) / energy[:, active].mean(0)
    spectrum = np.abs(np.fft.rfft(x, 4 * len(x))) ** 2
    partials = np.fft.rfftfreq(4 * len(x), 1 / sample_rate)
    strongest = partials[partials >= LOWEST_PARTIAL][spectrum[partials >= LOWEST_PARTIAL].argmax()]
    around = np.abs(partials - strongest) <= 0.06 * strongest + 10  # a semitone to either side, and 10 Hz
    tonal = spectrum[around].sum() >= TONAL * spectrum.sum()
    return {
        "decay": max(0, last - loudest) / sample_rate,
        "attack": 1000 * max(0, loudest - onset) / sample_rate,
        "loudness": usual["loudness"],
        "brightness": usual["brightness"],
        "noisiness": 100 * float(flatness.mean()),
        "pitch": float(69 + 12 * np.log2(strongest / 440)) if tonal else np.nan,
    }


def _of_instrument(waveform: np.ndarray, sample_rate: int) -> dict[str, float]:
    x = waveform.astype(np.float64)
    peak = np.abs(x).max(initial=0.0)
    period = _period(x, sample_rate) if peak > 0 else np.nan
    usual = _of_waveform(waveform, sample_rate)
    found = {"loudness": usual["loudness"], "brightness": usual["brightness"]}
    if np.isnan(period):
        return found | dict.fromkeys(("attack", "fall", "odd", "noise", "vibrato"), np.nan)
    size = max(1, round(max(ENVELOPE_SECONDS * sample_rate, period)))
    power = np.convolve(x**2, np.full(size, 1 / size), "same")
    onset = int(np.argmax(np.abs(x) >= 0.02 * peak))
    risen = onset + int(np.argmax(power[onset:] >= power.max() / 2))
    held = slice(risen, onset + round(HELD_SECONDS * sample_rate))
    level = 10 * np.log10(np.maximum(power[held], 1e-6 * power.max()))
    seconds = np.arange(len(level)) / sample_rate
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    along = np.arange(len(spectrum)) * period / len(x)  # 1, 2, 3, … at the partials
    partial = np.round(along).astype(int)
    partials = np.bincount(partial, np.where(np.abs(along - partial) < 0.25, spectrum, 0.0), 10)
    between = 2 * spectrum[np.abs(along - partial) >= 0.25].sum()
    return found | {
        "attack": 1000 * (risen - onset) / sample_rate,
        "fall": -float(np.polyfit(seconds, level, 1)[0]) if len(level) > sample_rate // 20 else np.nan,
        "odd": _ratio(partials[3:10:2].sum(), partials[2:9:2].sum()),
        "noise": _ratio(between, spectrum.sum()),
        "vibrato": _vibrato(x[held], sample_rate / period, 1 + int(partials[1:].argmax()), sample_rate),
    }


def _ratio(a: float, b: float) -> float:
    """In dB, within EXTENT."""
    return float(np.clip(10 * np.log10((a + 1e-30) / (b + 1e-30)), -EXTENT, EXTENT))


def _period(x: np.ndarray, sample_rate: int) -> float:
    """The period of a note in samples; NaN if it has none.

    The first peak of the autocorrelation that is nearly as high as the highest (McLeod and Wyvill, 2005, "A smarter way
    to find pitch"), then more exactly by peaks at its multiples.
    """
    size = 2 ** int(np.ceil(np.log2(2 * len(x))))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(x, size)) ** 2)[: len(x) // 4]
    low, high = int(sample_rate / HIGHEST_NOTE), int(sample_rate / LOWEST_NOTE) + 2
    inner = correlation[low:high]
    if len(inner) < 3 or correlation[0] <= 0:
        return np.nan
    peaks = 1 + np.flatnonzero((inner[1:-1] > inner[:-2]) & (inner[1:-1] >= inner[2:]))
    if not len(peaks) or inner[peaks].max() < PERIODIC * correlation[0]:
        return np.nan
    first = low + int(peaks[inner[peaks] >= CLEAREST * inner[peaks].max()][0])
    period = _vertex(correlation, first)
    multiple = 2
    while multiple * period < min(0.05 * sample_rate, len(correlation) - 3):
        near = round(multiple * period)
        period = _vertex(correlation, near - 1 + int(correlation[near - 1 : near + 2].argmax())) / multiple
        multiple *= 2
    return period


def _vertex(values: np.ndarray, k: int) -> float:
    """Where the parabola through a peak and its neighbours is highest."""
    a, b, c = values[k - 1 : k + 2]
    bend = a - 2 * b + c
    return k + float((a - c) / (2 * bend)) if bend < 0 else float(k)


def _vibrato(x: np.ndarray, fundamental: float, partial: int, sample_rate: int) -> float:
    """Cents by which the frequency of a partial swings to either side; NaN if it is heard for less than a fifth of a
    second."""
    size = round(max(4 / fundamental, 0.03) * sample_rate)  # leaves the neighbouring partials out
    if len(x) < size + 0.2 * sample_rate:
        return np.nan
    frequency, step = partial * fundamental, max(1, sample_rate // 200)
    moved = x * np.exp(-2j * np.pi * frequency / sample_rate * np.arange(len(x)))
    window = np.hanning(size)
    frames = np.lib.stride_tricks.sliding_window_view(moved, size)[::step] @ window
    heard = np.abs(frames) >= np.abs(frames).max() * 10 ** (-ACTIVE_DB / 20)
    last = len(heard) if heard.all() else int(np.argmin(heard))
    if last * step < 0.2 * sample_rate:
        return np.nan
    turns = np.diff(np.unwrap(np.angle(frames[:last]))) / (2 * np.pi) * sample_rate / step
    cents = 1200 * np.log2(np.maximum(1 + turns / frequency, 0.5))
    along = np.arange(len(cents))
    return float(np.sqrt(2) * np.std(cents - np.polyval(np.polyfit(along, cents, 2), along)))


def _of_spectrogram(magnitude: np.ndarray, frequencies: np.ndarray, hop_seconds: float) -> dict[str, float]:
    """The measures of a spectrogram.

    Args:
        magnitude: (bands, frames), linear, per Hz of a band's width.
        frequencies: (bands,) Hz, rising.
    """
    width = np.gradient(frequencies)[:, None]
    energy = (magnitude**2 * width).sum(0)  # (frames,)
    loudest = energy.max(initial=0.0)
    if loudest <= 0:
        return {"duration": 0.0, "loudness": np.nan, "brightness": np.nan, "pitch": np.nan}
    active = np.flatnonzero(energy >= loudest * 10 ** (-ACTIVE_DB / 10))
    weight = magnitude[:, active] * width
    return {
        "duration": float(active[-1] - active[0] + 1) * hop_seconds,
        "loudness": 10 * float(np.log10(energy[active].mean())),
        "brightness": float((frequencies @ weight).sum() / weight.sum()),
        "pitch": _pitch(magnitude[:, active], frequencies),
    }


def _pitch(magnitude: np.ndarray, frequencies: np.ndarray) -> float:
    """Median fundamental of the periodic frames, as a MIDI note number; NaN if no frame is periodic.

    A frame's autocorrelation is the cosine transform of its power spectrum, which needs no phase, so this finds the
    pitch of a mel spectrogram about as well as `librosa.yin` finds that of the recording it was computed from.
    """
    semitones = np.arange(0, 12 * np.log2(HIGHEST_F0 / LOWEST_F0), 1 / PER_SEMITONE)
    candidates = LOWEST_F0 * 2 ** (semitones / 12)
    low = frequencies < RESOLVED
    power = (magnitude**2 * np.gradient(frequencies)[:, None])[low]
    correlation = np.cos(2 * np.pi * frequencies[low] / candidates[:, None]) @ power / power.sum(0).clip(1e-300)
    best = correlation.argmax(0)
    periodic = correlation.max(0) > PERIODIC
    if not periodic.any():
        return np.nan
    lowest = 69 + 12 * np.log2(LOWEST_F0 / 440)
    return float(lowest + np.median(semitones[best[periodic]]))

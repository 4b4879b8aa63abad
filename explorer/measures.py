"""Measures of a sound: the quantities that directions in latent space are named after, and that a gallery compares.

Which measures a sound has depends on its kind. Notes are measured as notes, one-shots as drums are. Other sounds are
measured by a spectrogram: the log-mel if there is one, which saves estimating the phase, else one computed from the
waveform.
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

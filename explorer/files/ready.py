"""Makes a sound ready to use in other programs: loud, cut to its onset, without clicks, at the usual sample rate."""

from dataclasses import replace

import numpy as np

from explorer.sound.base import Sound

RATE = 44_100  # Hz
PEAK_DB = -1.0  # dBFS
LEAD, FADE = 0.005, 0.003  # seconds kept before the onset, and of each fade
AUDIBLE = 100  # a sound begins where it first exceeds this part of its peak, 40 dB below it
WORDS = "Ready to use: peak -1 dBFS, from 5 ms before the onset, fades of 3 ms, 44.1 kHz"


def ready(sound: Sound) -> Sound:
    """The same sound at RATE, from LEAD before its onset, faded in up to the onset at most and out at its end, with
    its peak at PEAK_DB; without notes and picture, whose times would be others. Silence stays silence."""
    import soxr

    waveform = sound.waveform
    if sound.sample_rate != RATE:
        waveform = soxr.resample(waveform, sound.sample_rate, RATE, "VHQ")
    loud = np.abs(waveform) * AUDIBLE > np.abs(waveform).max(initial=0)
    onset = int(np.argmax(loud)) if loud.any() else 0
    start = max(0, onset - round(LEAD * RATE))
    waveform = waveform[start:].copy()
    rise = min(round(FADE * RATE), onset - start)
    fall = min(round(FADE * RATE), len(waveform))
    waveform[:rise] *= np.linspace(0, 1, rise, endpoint=False, dtype=np.float32)
    waveform[len(waveform) - fall :] *= np.linspace(1, 0, fall + 1, dtype=np.float32)[1:]
    if (peak := np.abs(waveform).max(initial=0)) > 0:
        waveform *= np.float32(10 ** (PEAK_DB / 20)) / peak
    return replace(
        sound,
        synthesize=lambda: waveform,
        sample_rate=RATE,
        seconds=len(waveform) / RATE,
        notes=None,
        log_mel=None,
        played_by=None,
    )

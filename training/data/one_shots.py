"""One-shots: short sounds that begin at once, such as drum hits. Their labels, and windows aligned to their onsets.

They are recordings in sub-folders ("Kicks/01.wav"), recordings whose names say what they are ("BD01.wav",
"hat-closed.flac"), the drum kits of SoundFonts, or all of these at once.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from training.data.audio import Cut
from training.data.drum_kits import DrumKits
from training.data.files import AUDIO
from training.data.inventory import Unusable
from training.data.labels import label_name
from training.data.recordings import read_frames, resample
from training.data.soundfont import SOUNDFONTS

VERSION = 1  # of the windows: raise it when the same recordings would give others
ONSET = 32  # sample of the window at which the sound first has ONSET_LEVEL of its peak
ONSET_LEVEL = 0.02
PEAK = 0.95
FADE_IN_SECONDS, FADE_OUT_SECONDS = 0.001, 0.05
SHORTEST_SECONDS = 0.01  # between the first and the last sample above ONSET_LEVEL
LONGEST_SECONDS = 20.0  # of a recording; most of a longer one would be lost
SILENCE = 1e-3  # peak

# Words and abbreviations of drums, most telling first: "open hat" is no "hat", and "hh-ride" a ride.
DRUMS = {
    "open-hat": r"ohh?|hho|(hi)?(hats?|cymbal)opens?|opens?(hi)?(hats?|cymbal)",
    "closed-hat": r"chh?|hhc|hhp|(hi)?(hats?|cymbal)(closed|pedal)|(closed|pedal)(hi)?(hats?|cymbal)",
    "rim": r"rims?|rimshots?|rs|sidesticks?|xsticks?|crosssticks?",
    "clap": r"(hand)?claps?|cp|clp",
    "cowbell": r"cowbells?|cb|cow",
    "shaker": r"shakers?|shk|maracas?|cabasas?",
    "ride": r"rides?|rd",
    "crash": r"crash(es)?|crsh|splash(es)?|chinas?|cymbals?|cym",
    "snare": r"snares?|sn|sd|snr",
    "tom": r"(floor|low|mid|hi|high|rack)?toms?|lt|mt|ht",
    "kick": r"kicks?|kik|kd|bd|bassdrums?|drumbass",
    "hat": r"(hi)?hats?|hh",
}


def drum_of(text: str) -> str | None:
    """The drum that a name says: "BD01" and "Kicks" are "kick"; None if it says none.

    A hat that is not called open is a closed one.
    """
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    joined = {"".join(words[k : k + n]) for n in (1, 2, 3) for k in range(len(words))}
    drum = next((drum for drum, names in DRUMS.items() if any(re.fullmatch(names, word) for word in joined)), None)
    if drum != "hat":
        return drum
    return "open-hat" if {"open", "o"} & set(words) else "closed-hat"


def shape_hit(waveform: np.ndarray, rate: float, sample_rate: int, samples: int) -> np.ndarray:
    """Resamples a sound, aligns its onset, fades both ends, and scales its peak to `PEAK`.

    The onset is where it first has 2 % of its peak. Its first large swing is made to go up, so that sounds blend well.

    Returns:
        (samples,) float32 in [-PEAK, PEAK] that begins and ends at 0.
    Raises:
        Unusable: if it is silent, or sounds for less than 0.01 s.
    """
    waveform = resample(waveform - np.median(waveform), round(rate), sample_rate) if len(waveform) else waveform
    peak = np.abs(waveform).max(initial=0)
    if peak < SILENCE:
        raise Unusable("silence")
    loud = np.flatnonzero(np.abs(waveform) > ONSET_LEVEL * peak)
    if loud[-1] - loud[0] < SHORTEST_SECONDS * sample_rate:
        raise Unusable(f"shorter than {SHORTEST_SECONDS} s")
    begin = int(loud[0]) - ONSET
    hit = np.pad(waveform[max(0, begin) :], (max(0, -begin), 0))[:samples]
    rise, fall = round(FADE_IN_SECONDS * sample_rate), min(round(FADE_OUT_SECONDS * sample_rate), len(hit) // 2)
    hit[:rise] *= np.linspace(0, 1, rise)
    hit[len(hit) - fall :] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    peak = np.abs(hit).max()
    if peak < SILENCE:
        raise Unusable("silence")
    swing = hit[np.argmax(np.abs(hit) > 0.5 * peak)]
    hit = np.pad(hit * (np.sign(swing) * PEAK / peak), (0, samples - len(hit)))
    hit[-1] = 0  # cos(pi / 2) is not quite
    return hit.astype(np.float32)


def one_shots(samples: int) -> Cut:
    """The rule by which recordings and SoundFonts become one window of `samples` each.

    A peak of 0.95 stands for every loudness, as players of samples have a gain of their own.
    """

    def windows(sound: Any, sample_rate: int, length: int) -> Iterator[np.ndarray | str]:
        limit = math.ceil(LONGEST_SECONDS * sound.samplerate)
        waveform = read_frames(sound, limit + 1)
        if len(waveform) > limit:
            raise Unusable(f"longer than {LONGEST_SECONDS:g} s, so no one-shot")
        yield shape_hit(waveform, sound.samplerate, sample_rate, length)

    return Cut(
        f"one-shots {VERSION}, {samples} samples",
        lambda rate: samples,
        windows,
        label_of=lambda path: drum_of(path.stem),
        suffixes=AUDIO | SOUNDFONTS,
        folder_label=lambda name: drum_of(name) or label_name(name),
        collections=dict.fromkeys(SOUNDFONTS, DrumKits()),
    )

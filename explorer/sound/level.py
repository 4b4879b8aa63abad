"""How loud sounds are (ITU-R BS.1770), and the gain that makes the sounds of two checkpoints equally loud.

A model card states its checkpoint's level in one row of its first table:

    | level | -28.5 LUFS, peak -10.9 dBFS |

It stands there and not in the checkpoint because it changes no sound: a recipe gives the same bits with it or without.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from explorer.sound.base import Sound

TARGET = -23.0  # LUFS, as EBU R 128 has it
BLOCK_SECONDS = 0.4  # over which BS.1770 measures; a shorter sound is followed by silence
NUMBER = r"(-?\d{1,3}\.\d)"
ROW = re.compile(rf"^\| level \| {NUMBER} LUFS, peak {NUMBER} dBFS\b.*\|$", re.MULTILINE)
RULE = re.compile(r"^\|---\|---\|$", re.MULTILINE)  # under the head of a card's first table


@dataclass(frozen=True)
class Level:
    """The level of a checkpoint: the median loudness of some sounds in LUFS, and their highest peak in dBFS."""

    loudness: float
    peak: float

    @property
    def gain(self) -> float:
        """The factor by which waveforms are played: to TARGET, but no measured sound beyond full scale."""
        return float(10 ** (min(TARGET - self.loudness, -self.peak) / 20))

    def __str__(self) -> str:
        return f"{self.loudness:.1f} LUFS, peak {self.peak:.1f} dBFS"


def loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of (samples,) in LUFS; -inf for silence."""
    import pyloudnorm

    padded = np.pad(waveform.astype(np.float64), (0, max(0, round(BLOCK_SECONDS * sample_rate) - len(waveform))))
    return float(pyloudnorm.Meter(sample_rate).integrated_loudness(padded))


def measured(sounds: Iterable[Sound]) -> Level | None:
    """The level of some sounds; None if half of them are silent."""
    pairs = [(loudness(s.waveform, s.sample_rate), float(np.abs(s.waveform).max(initial=0))) for s in sounds]
    median, peak = float(np.median([lufs for lufs, _ in pairs])), max(peak for _, peak in pairs)
    return Level(median, float(20 * np.log10(peak))) if np.isfinite(median) else None


def find(card: str) -> Level | None:
    """The level that the text of a card states; None if it states none."""
    row = ROW.search(card)
    return Level(float(row[1]), float(row[2])) if row else None


def stated(card: str, level: Level, about: str) -> str:
    """The text of a card with a level in place of the one it stated, or else as the last row of its first table.

    Args:
        about: what was measured, in a few words, such as "50 sounds".
    """
    row = f"| level | {level}: median and highest of {about} |"
    if ROW.search(card):
        return ROW.sub(row, card, count=1)
    if rule := RULE.search(card):
        end = re.compile(r"(?:\n\|.*)*").match(card, rule.end())
        assert end is not None  # it matches nothing, too
        return f"{card[: end.end()]}\n{row}{card[end.end() :]}"
    return f"{card.rstrip()}\n\n| | |\n|---|---|\n{row}\n"

"""What the notes before say of the next one: votes for continuing a motif, keys that sound, ends that come together."""

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.generators.note_tokens import BINS, DURATION, DURATION_MIDDLES, STEP_MIDDLES
from explorer.generators.recall import FADES, recalled

CHORD, LAST, SOUNDING, BY_TIME, SOON, _, _, RUN_1, RUN_2, RUN_4, TOP_1, TOP_2, BASS_1, BASS_2 = range(14)
LATER = 60  # a bin of step


def window(keys: list[int], steps: list[int] | None = None, length: int = 40) -> Tensor:
    """Notes with these keys, and others after them of which nothing before may know."""
    notes = torch.randint(0, 40, (1, 256, 5), generator=torch.Generator().manual_seed(0))
    notes[0, : len(keys), 0] = torch.tensor(steps or [LATER] * len(keys))
    notes[0, : len(keys), 1] = torch.tensor(keys)
    notes[0, : len(keys), DURATION] = length
    return notes


def test_a_motif_is_continued_in_another_key() -> None:
    #          a motif of four keys,  and three of them a third higher
    keys = recalled(window([40, 42, 47, 45, 44, 46, 51, 0]))[0].expm1()[0, 7]
    for plane in (RUN_1, RUN_2, TOP_1, TOP_2, BASS_1, BASS_2):
        assert keys[plane].argmax() == 49
    assert keys[RUN_4].sum() == 0  # three intervals are there, not four


def test_chords_are_continued_by_their_highest_and_lowest_keys() -> None:
    keys, steps = [20, 60, 25, 67, 22, 62, 27, 69, 0], [LATER, 0, LATER, 0, LATER, 0, LATER, 0, LATER]
    planes = recalled(window(keys, steps))[0].expm1()[0, 8]
    # Both lines rise, fall and rise again, by 7, -5, 7 and by 5, -3, 5; after a rise they fell once.
    assert planes[TOP_1].nonzero().tolist() == [[64]]
    assert planes[BASS_1].nonzero().tolist() == [[24]]


def test_the_chord_the_last_stroke_and_what_sounds_are_known() -> None:
    keys = recalled(window([30, 40, 50, 60], [LATER, LATER, 0, 0], length=95))[0].expm1()[0, 3]
    assert keys[CHORD].nonzero()[:, 0].tolist() == [40, 50]
    assert keys[LAST].nonzero()[:, 0].tolist() == [30]
    assert keys[SOUNDING].nonzero()[:, 0].tolist() == [30, 40, 50]
    assert keys[BY_TIME, 30] == pytest.approx(np.exp(-STEP_MIDDLES[LATER] / 2), rel=1e-5)
    assert keys[SOON, 30] == pytest.approx(np.exp(-2 / FADES[0]), rel=1e-5)


def test_what_sounds_ends_where_its_length_says() -> None:
    lengths = recalled(window([30, 40]))[1].expm1()[0, 1]
    left = DURATION_MIDDLES[40] - STEP_MIDDLES[LATER]
    at = (lengths[3] * torch.arange(BINS[DURATION])).sum()
    wanted = np.interp(np.log(left), np.log(DURATION_MIDDLES), np.arange(BINS[DURATION]))
    assert lengths[3].sum() == pytest.approx(1, rel=1e-5)
    assert at == pytest.approx(wanted, abs=1e-3)

"""Figures: notes and spectrograms are drawn at the positions that the axes show."""

import io

import matplotlib
import numpy as np
import pytest

from explorer.files import figures
from explorer.sound.base import LogMel, Note, Sound

WAVEFORM = np.zeros(800, np.float32)
NOTES = Sound(lambda: WAVEFORM, 800, 1.0, notes=(Note(60, 0.25, 0.5, 64), Note(72, 0.5, 0.25, 127)))
MEL = Sound(
    lambda: WAVEFORM,
    8000,
    0.8,
    log_mel=LogMel(np.random.RandomState(0).uniform(-8, 0, (16, 8)), np.geomspace(100, 3900, 16), 800, 8000),
)


def test_a_note_is_drawn_at_its_time_and_key() -> None:
    axes = figures.figure(NOTES).axes[0]
    (bars,) = axes.collections
    boxes = [path.get_extents() for path in bars.get_paths()]
    assert (boxes[0].x0, boxes[0].x1, (boxes[0].y0 + boxes[0].y1) / 2) == pytest.approx((0.25, 0.75, 60))
    assert np.asarray(bars.get_array()).tolist() == [64, 127]


def test_a_spectrogram_is_labelled_in_seconds_and_hertz() -> None:
    axes = figures.figure(MEL).axes[0]
    assert "s" in axes.get_xlabel()
    assert "Hz" in axes.get_ylabel()
    frequencies = MEL.log_mel.frequencies  # type: ignore[union-attr]
    for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        assert np.interp(tick, np.arange(16), frequencies) == pytest.approx(float(label.get_text().replace(",", "")))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("sound", [NOTES, MEL, Sound(lambda: WAVEFORM, 800, 1.0)], ids=["notes", "mel", "bare"])
def test_any_sound_can_be_saved_as_a_figure(sound: Sound, kind: str) -> None:
    stream = io.BytesIO()
    figures.figure(sound).savefig(stream, format=kind)
    assert len(stream.getvalue()) > 1000


def test_a_morph_has_a_panel_per_step() -> None:
    titles = [axes.get_title() for axes in figures.morph([NOTES] * 5, [0, 0.25, 0.5, 0.75, 1]).axes]
    assert [t for t in titles if t] == ["t = 0.00", "t = 0.25", "t = 0.50", "t = 0.75", "t = 1.00"]


def test_training_curves_skip_missing_metrics() -> None:
    lines = [
        {"step": k * 10, "critic_loss": 1.0, "wasserstein": 2.0} | ({"penalty": 0.1} if k % 4 == 0 else {})
        for k in range(100)
    ]
    upper, lower = figures.training_curves(lines).axes
    assert np.size(upper.lines[0].get_xdata()) == 100
    assert np.size(lower.lines[0].get_xdata()) == 25


def test_drawing_leaves_matplotlibs_global_state_alone() -> None:
    before = dict(matplotlib.rcParams)
    figures.figure(NOTES)
    assert dict(matplotlib.rcParams) == before

"""Levels: loudness by ITU-R BS.1770, stated in a model card, and the gain at which the app plays a checkpoint."""

from pathlib import Path

import numpy as np
import pytest
from toy import write

from explorer import shelf
from explorer.engine import Engine
from explorer.files import gallery, levels
from explorer.recipe import Recipe
from explorer.sound import level
from explorer.sound.base import Sound
from explorer.sound.level import TARGET, Level
from explorer.ui import handlers


def tone(seconds: float, rate: int, peak: float = 1.0) -> np.ndarray:
    """997 Hz, of which BS.1770 says that it has -3.01 LUFS at full scale in one channel."""
    return (peak * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_the_standards_tone_has_the_standards_loudness(rate: int) -> None:
    assert level.loudness(tone(2, rate), rate) == pytest.approx(-3.01, abs=0.25)


def test_a_sound_shorter_than_a_block_is_measured_over_a_block() -> None:
    halved = level.loudness(tone(0.4, 48_000), 48_000) - level.loudness(tone(0.2, 48_000), 48_000)
    assert halved == pytest.approx(10 * np.log10(2), abs=0.1)


def test_the_gain_makes_sounds_equally_loud_unless_they_would_clip() -> None:
    assert Level(-28.0, -12.0).gain == pytest.approx(10 ** ((TARGET + 28) / 20))
    assert Level(-28.0, -2.0).gain == pytest.approx(10 ** (2 / 20))


def test_silence_has_no_level() -> None:
    assert level.measured([Sound(lambda: np.zeros(800, np.float32), 8000, 0.1)] * 3) is None


@pytest.mark.parametrize(
    "card",
    ["", "# toy\n", "# toy\n\n| | |\n|---|---|\n| data | x |\n| command | y |\n\n## Figures\n\n| a | b |\n|---|---|\n"],
)
def test_a_card_states_its_level_once(card: str) -> None:
    once = level.stated(card, Level(-20.04, -1.0), "50 sounds")
    twice = level.stated(once, Level(-30.0, -2.5), "50 sounds")
    assert level.find(card) is None
    assert level.find(once) == Level(-20.0, -1.0)
    assert level.find(twice) == Level(-30.0, -2.5)
    assert twice.count("| level |") == 1
    assert set(card.splitlines()) <= set(twice.splitlines())


def test_the_page_plays_a_checkpoint_at_the_gain_of_its_card_and_the_weights_stay_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = path.read_bytes()
    assert levels.state(Engine(tmp_path), "toy") is not None
    engine = Engine(tmp_path)
    gain = handlers.show(engine, handlers.make_view(engine, Recipe("toy")))["gain"]
    played = [
        level.loudness(gain * sound.waveform, sound.sample_rate)
        for sound in engine.render_all(place.recipe for place in gallery.consecutive(engine, "toy", levels.SOUNDS))
    ]
    assert np.median(played) == pytest.approx(TARGET, abs=0.1)
    assert path.read_bytes() == before


def test_the_shipped_checkpoints_are_equally_loud() -> None:
    engine = Engine()
    stated = {name: shelf.read_level(shelf.DEFAULT_FOLDER / f"{name}.safetensors") for name in engine.names()}
    played = [found.loudness + 20 * np.log10(found.gain) for found in stated.values() if found]
    assert len(played) == len(stated)
    assert max(played) - min(played) <= 2

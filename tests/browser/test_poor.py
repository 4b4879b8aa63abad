"""A model with only a waveform and a uniform prior is shown, played, moved and saved like any other."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from acts import Visit, choose, download, drag, expect_another_picture, expect_offset, pixels, place, status
from playwright.sync_api import expect

from explorer.engine import Engine
from explorer.files.formats import read_recipe

pytestmark = pytest.mark.browser


def test_a_waveform_without_spectrogram_is_shown_moved_and_saved(visit: Visit, folder: Path, tmp_path: Path) -> None:
    page = visit("?model=toy")
    before = pixels(page)
    choose(page, "poor")
    expect(status(page)).to_contain_text("Waveform: 0.50 seconds")
    expect_another_picture(page, before)
    page.get_by_role("tab", name="Advanced").click()
    raw = page.get_by_role("slider", name=re.compile("z0", re.IGNORECASE)).first
    before = pixels(page)
    drag(page, raw, 0.9)
    expect_another_picture(page, before)
    expect_offset(page, "z0", raw)
    saved = download(page, "WAV", tmp_path)
    waveform, _ = sf.read(saved, dtype="float32")
    expected = Engine(folder).render(read_recipe(saved)).waveform
    np.testing.assert_allclose(waveform, expected, atol=1 / 32768)


def test_a_waveform_without_spectrogram_morphs_from_seed_to_seed(visit: Visit) -> None:
    page = visit("?model=poor&seed=3&seed_b=9")
    before = pixels(page)
    page.get_by_role("slider", name="From A to B").press("PageUp")
    expect_another_picture(page, before)
    assert (place(page).t, place(page).path) == (0.1, "line")


def test_notes_that_the_page_does_not_play_are_heard_as_a_waveform(visit: Visit) -> None:
    page = visit("?model=toy&seed=3")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function("explorer.speaker.playing")
    assert page.evaluate("explorer.shown().pcm.samples.length") == 4000
    assert not [url for url in requests if url.endswith(".ogg")]

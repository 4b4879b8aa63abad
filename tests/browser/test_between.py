"""The section "Morph": the morph between two seeds, the pad between four, and files of a morph."""

import re
import zipfile
from pathlib import Path

import pretty_midi
import pytest
import soundfile as sf
from acts import Visit, direction, drag, drag_in, expect_another_picture, pixels, place, seed, status
from playwright.sync_api import Locator, Page, Request, expect

from explorer.engine import Engine
from explorer.files import morphs
from explorer.files.formats import read_recipe
from explorer.recipe import Recipe

pytestmark = pytest.mark.browser
MORPH = "?model=toy&seed=3&seed_b=9&label=high"


def panel(page: Page) -> Locator:
    page.get_by_role("tab", name="Morph").click()
    return page.get_by_role("region", name="Morph")


def corner(page: Page, name: str) -> Locator:
    return panel(page).get_by_role("button", name=f"{name}: corner of the pad")


def seed_picture(page: Page, end: str, before: str = "") -> str:
    """The picture above seed A or B, once it is drawn and differs from `before`."""
    return str(
        page.wait_for_function(
            """([end, before]) => {
        const canvas = document.querySelector(`[aria-label^="Go to ${end}, seed"] canvas`);
        if (!canvas) return null;
        const { width, height } = canvas, empty = Object.assign(document.createElement("canvas"), { width, height });
        return [empty.toDataURL(), before].includes(canvas.toDataURL()) ? null : canvas.toDataURL();
    }""",
            arg=[end, before],
        ).json_value()
    )


def save(page: Page, kind: str, steps: int, folder: Path) -> Path:
    between = panel(page)
    between.get_by_role("spinbutton", name="Steps").fill(str(steps))
    between.get_by_role("combobox", name="As").select_option(label=kind)
    with page.expect_download() as info:
        between.get_by_role("button", name="Save the morph").click()
    info.value.save_as(folder / info.value.suggested_filename)
    return folder / info.value.suggested_filename


def film(page: Page) -> str:
    """The small pictures on the slider from A to B, once they are those of now."""
    page.wait_for_function("document.querySelector('.film canvas') && !document.querySelector('.film[aria-busy]')")
    return str(
        page.evaluate("JSON.stringify([...document.querySelectorAll('.film canvas')].map((c) => c.toDataURL()))")
    )


def test_the_film_leads_to_its_places_and_follows_the_seeds(visit: Visit) -> None:
    page = visit("?model=words&seed=3&seed_b=9")
    before, pictures = pixels(page), film(page)
    way = page.get_by_role("slider", name="From A to B")
    way.click()
    expect_another_picture(page, before)
    assert place(page).t == pytest.approx(0.5, abs=0.02)
    expect(way).to_have_value(f"{place(page).t:g}")
    seed(page, "B").fill("8")
    expect(status(page)).to_contain_text("3 → 8")
    page.wait_for_function(
        "before => JSON.stringify([...document.querySelectorAll('.film canvas')].map((c) => c.toDataURL())) !== before",
        arg=pictures,
    )


def test_averages_and_differences_are_in_the_address_and_end_with_a_new_seed(visit: Visit) -> None:
    page = visit(MORPH)
    panel(page).get_by_role("button", name="Average of A and B").click()
    expect(status(page)).to_contain_text("mix of seeds 3, 9")
    assert place(page).mix == ((3, 1.0), (9, 1.0))
    panel(page).get_by_role("spinbutton", name="Seed C").fill("21")
    panel(page).get_by_role("button", name="A − B + C").click()
    expect(page).to_have_url(re.compile(r"mix\.3=1\.0&mix\.9=-1\.0&mix\.21=1\.0"))
    again = visit("?" + page.url.split("?")[1])
    assert place(again) == place(page)
    assert pixels(again) == pixels(page)
    seed(page).fill("4")
    expect(status(page)).to_contain_text("seed 4")
    assert place(page).mix == ()


def test_the_pad_follows_arrow_keys_and_the_pointer_and_its_corner_is_the_seed_itself(
    visit: Visit, folder: Path
) -> None:
    page = visit(MORPH)
    panel(page).get_by_role("spinbutton", name="Seed D").fill("40")
    expect(corner(page, "D 40")).to_be_visible()
    across = panel(page).get_by_role("slider", name="Across")
    across.focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(across).to_have_value("0.22")
    expect(panel(page).get_by_role("slider", name="Down")).to_have_value("0.1")
    expect(page).to_have_url(re.compile(r"mix\.9=0\.198"))
    corners = {3: 0.78 * 0.9, 9: 0.22 * 0.9, 2: 0.78 * 0.1, 40: 0.22 * 0.1}
    assert dict(place(page).mix) == pytest.approx(corners, abs=1e-4)
    drag_in(page, across, (0.3, 0.2), (1.1, 1.1))
    expect(status(page)).to_contain_text("seed 40")
    assert Engine(folder).complete(place(page)) == Engine(folder).complete(Recipe("toy", seed=40, label="high"))


def test_a_morph_plays_one_step_after_another_and_stops_at_the_present_one(visit: Visit) -> None:
    page = visit(MORPH + "&t=1")
    panel(page).get_by_role("button", name="Play the morph").click()
    page.wait_for_function("explorer.speaker.playing && (explorer.shown().title.match(/0.[67]/))")
    panel(page).get_by_role("button", name="Stop the morph").click()
    expect(panel(page).get_by_role("button", name="Play the morph")).to_be_visible()
    expect(status(page)).to_contain_text("3 → 9 at 0.")
    assert float(page.get_by_role("slider", name="From A to B").input_value()) == pytest.approx(place(page).t, abs=0.01)


def test_a_morph_is_saved_as_wav_midi_and_zip(visit: Visit, folder: Path, tmp_path: Path) -> None:
    page, engine = visit(MORPH), Engine(folder)
    wav = save(page, "WAV", 4, tmp_path)
    assert sf.info(wav).duration == pytest.approx(4 * 0.5 - 3 * morphs.CROSSFADE, abs=1e-3)
    assert (read_recipe(wav).seed, read_recipe(wav).seed_b) == (3, 9)
    notes = pretty_midi.PrettyMIDI(str(save(page, "MIDI", 3, tmp_path))).instruments[0].notes
    steps = morphs.steps(engine, Recipe("toy", seed=3, seed_b=9, label="high"), 3)
    assert sorted(n.pitch for n in notes) == sorted(n.pitch for r in steps for n in engine.render(r).notes or ())
    with zipfile.ZipFile(save(page, "ZIP of steps", 2, tmp_path)) as archive:
        assert len(archive.namelist()) == 4  # a WAV and a MIDI file of each


def test_a_cancelled_file_is_not_downloaded(visit: Visit) -> None:
    page = visit("?model=piano&seed=3&seed_b=9")
    downloaded: list[str] = []
    page.on("download", lambda file: downloaded.append(file.suggested_filename))
    between = panel(page)
    between.get_by_role("spinbutton", name="Steps").fill("25")
    between.get_by_role("combobox", name="As").select_option(label="GIF")
    between.get_by_role("button", name="Save the morph").click()
    expect(between.get_by_role("progressbar")).to_be_visible()
    between.get_by_role("button", name="Cancel").click()
    expect(status(page)).to_contain_text("cancelled")
    expect(between.get_by_role("progressbar")).to_be_hidden()
    expect(between.get_by_role("button", name="Save the morph")).to_be_enabled()
    assert downloaded == []


def test_the_picture_of_a_seed_shows_it_without_morph_and_offsets(visit: Visit) -> None:
    between = visit("?model=words&seed=3&seed_b=9&t=0.5&offsets.pc1=2")
    assert seed_picture(between, "B") == seed_picture(visit("?model=words&seed=9"), "A")


@pytest.mark.parametrize(
    "there",
    [
        "model=words&seed=4&label=yes",
        "model=words&seed=3&label=no",
        "model=words&seed=3&label=yes&truncation=0.5",
        "model=toy&seed=3",
    ],
    ids=["seed", "condition", "truncation", "checkpoint"],
)
def test_the_picture_of_a_seed_follows(visit: Visit, there: str) -> None:
    page = visit("?model=words&seed=3&label=yes")
    before = seed_picture(page, "A")
    page.evaluate("link => explorer.go(link)", f"?{there}")
    assert seed_picture(page, "A", before) != before


def test_a_slider_asks_for_no_new_picture_of_a_seed(visit: Visit) -> None:
    page = visit("?model=words&seed=3&seed_b=9")
    seed_picture(page, "A"), seed_picture(page, "B")
    asked: list[Request] = []
    page.on(
        "request",
        lambda r: asked.append(r) if '"pictures"' in (sent := r.post_data or "") and "offsets" not in sent else None,
    )  # the film's have offsets
    drag(page, direction(page), 0.8)
    expect(status(page)).to_contain_text("pc1")
    seed(page).fill("5")
    expect(page.get_by_role("button", name="Go to A, seed 5 alone")).to_be_visible()
    assert len(asked) == 1  # for the seed


def test_the_picture_of_seed_b_goes_to_the_end_of_the_morph(visit: Visit) -> None:
    page = visit("?model=words&seed=3&seed_b=9&offsets.pc1=2")
    page.get_by_role("button", name="Go to B, seed 9").press("Enter")
    expect(page.get_by_role("slider", name="From A to B")).to_have_value("1")
    assert dict(place(page).offsets) == {"pc1": 2.0}

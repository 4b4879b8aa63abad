"""What a visitor does with the player and the sliders, in a real browser."""

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile as sf
from acts import (
    SERVER,
    Visit,
    choose,
    direction,
    download,
    drag,
    drag_in,
    expect_another_picture,
    expect_offset,
    held_calls,
    picture,
    pixels,
    place,
    player,
    seed,
    status,
)
from playwright.sync_api import Locator, Page, expect
from toy import write

from explorer.directions import Direction, Progress, principal
from explorer.engine import Engine
from explorer.files.formats import read_recipe
from explorer.generators.base import Generator
from explorer.recipe import Recipe

pytestmark = pytest.mark.browser
MODELS = ("piano", "words", "toy")


@pytest.mark.parametrize("model", MODELS)
def test_choosing_a_model_shows_its_sound(visit: Visit, model: str) -> None:
    page = visit("?model=" + next(name for name in MODELS if name != model))
    before = pixels(page)
    choose(page, model)
    expect_another_picture(page, before)
    assert place(page).model == model


@pytest.mark.parametrize("model", MODELS)
def test_dragging_a_slider_changes_the_picture_and_ends_where_the_pointer_ends(visit: Visit, model: str) -> None:
    page = visit(f"?model={model}")
    before = pixels(page)
    drag(page, direction(page), 0.9)
    expect_another_picture(page, before)
    assert float(direction(page).input_value()) > 1
    expect_offset(page, "pc1", direction(page))


@pytest.mark.parametrize("model", MODELS)
def test_arrow_keys_move_a_slider(visit: Visit, model: str) -> None:
    page = visit(f"?model={model}")
    before = pixels(page)
    direction(page, 2).focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(direction(page, 2)).to_have_value("1")
    expect_another_picture(page, before)
    page.wait_for_function("JSON.parse(explorer.place()).offsets?.pc2 === 1")


def press(page: Page, slider: Locator, key: str, times: int = 1) -> None:
    slider.focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_two_sliders_that_move_while_an_answer_is_pending_both_count(visit: Visit) -> None:
    page = visit("?model=toy")
    waiting = held_calls(page, "lead")
    press(page, direction(page, 1), "ArrowRight", 2)
    press(page, direction(page, 2), "ArrowLeft", 3)
    waiting[0].continue_()
    page.wait_for_function(
        "() => { const { pc1, pc2 } = JSON.parse(explorer.place()).offsets ?? {};"
        " return pc1 === 0.1 && pc2 === -0.15; }"
    )


def test_an_answer_that_arrives_after_that_of_a_later_choice_is_not_shown(visit: Visit) -> None:
    page = visit("?model=toy&label=low")
    waiting = held_calls(page, "lead")
    press(page, direction(page), "ArrowRight", 4)
    page.get_by_role("radio", name="high").first.click()
    page.wait_for_function("JSON.parse(explorer.place()).label === 'high'")
    with page.expect_response(SERVER):
        waiting[0].continue_()
    press(page, direction(page, 2), "ArrowRight", 1)  # so that there is something to wait for
    page.wait_for_function("JSON.parse(explorer.place()).offsets?.pc2 === 0.05")
    assert place(page).label == "high"
    assert dict(place(page).offsets)["pc1"] == 0.2


def test_a_number_beyond_a_sliders_end_is_set_to_its_end(visit: Visit) -> None:
    page = visit("?model=toy")
    page.get_by_role("checkbox", name="Details").check()
    page.get_by_role("spinbutton", name="Direction 1", exact=False).first.fill("900")
    page.wait_for_function("JSON.parse(explorer.place()).offsets?.pc1 === 4")


def test_raw_sliders_move_the_dimensions_they_are_named_after_from_another_first_one(visit: Visit) -> None:
    page = visit("?model=words")
    page.get_by_role("tab", name="Advanced").click()
    press(page, page.get_by_role("slider", name="First dimension"), "ArrowRight")
    slider = page.get_by_role("slider", name="z9")
    press(page, slider, "ArrowRight", 3)
    expect_offset(page, "z9", slider)


@pytest.mark.parametrize("model", MODELS)
def test_the_space_bar_plays_a_sound_that_is_neither_silent_nor_clipped(visit: Visit, model: str) -> None:
    page = visit(f"?model={model}")
    assert page.evaluate("window.heard === undefined"), "sound before the first gesture"
    page.keyboard.press("Space")
    expect(player(page).get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_function("""() => {
        const samples = new Float32Array(heard.fftSize);
        heard.getFloatTimeDomainData(samples);
        window.peak = samples.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        return window.peak > 0.01;
    }""")
    assert page.evaluate("window.peak") <= 1
    page.keyboard.press("Space")
    expect(player(page).get_by_role("button", name="Play")).to_be_visible()


@pytest.mark.parametrize("model", MODELS)
def test_the_downloaded_wav_is_the_sound_of_the_place(visit: Visit, folder: Path, tmp_path: Path, model: str) -> None:
    page = visit(f"?model={model}&seed=3")
    samples, rate = sf.read(download(page, "WAV", tmp_path))
    sound = Engine(folder).render(Recipe(model, seed=3))
    assert len(samples) == len(sound.waveform) == round(sound.seconds * rate)
    np.testing.assert_allclose(samples, sound.waveform, atol=1 / 32767)
    assert 0.01 < np.abs(samples).max() < 1


def test_the_downloaded_midi_has_the_notes_that_are_shown(visit: Visit, tmp_path: Path) -> None:
    page = visit("?model=piano")
    drag(page, direction(page), 0.8)
    expect_offset(page, "pc1", direction(page))
    shown = np.array(page.evaluate("[...explorer.shown().notes]")).reshape(-1, 4)
    notes = pretty_midi.PrettyMIDI(str(download(page, "MIDI", tmp_path))).instruments[0].notes
    read = np.array(sorted((n.start, n.pitch, n.end - n.start, n.velocity) for n in notes))
    np.testing.assert_allclose(read, shown[np.lexsort((shown[:, 0], shown[:, 1]))][:, [1, 0, 2, 3]], atol=0.002)


def test_two_visitors_share_nothing(visit: Visit) -> None:
    here, there = visit("?model=toy&seed=1"), visit("?model=toy&seed=2")
    before = pixels(there)
    drag(here, direction(here), 0.9)
    expect(status(here)).to_contain_text("pc1")
    assert pixels(there) == before
    direction(there, 2).focus()
    there.keyboard.press("ArrowRight")
    expect(status(there)).to_contain_text("pc2")
    assert (place(there).seed, dict(place(there).offsets).keys()) == (2, {"pc2"})


def test_the_address_opens_the_same_place(visit: Visit) -> None:
    page = visit("?model=words&seed=5")
    page.get_by_label("no", exact=True).first.check()
    drag(page, page.get_by_role("slider", name="From A to B"), 0.4)
    page.get_by_role("tab", name="Advanced").click()
    z3 = page.get_by_role("slider", name="z3", exact=False)
    drag(page, z3, 0.7)
    expect_offset(page, "z3", z3)
    expect(page).to_have_url(re.compile(f"z3={z3.input_value()}"))
    again = visit("?" + page.url.split("?")[1])
    assert place(again) == place(page)
    assert pixels(again) == pixels(page)


@pytest.mark.parametrize("name", ["WAV", "PNG", "PDF", "JSON", "MIDI"])
def test_a_saved_file_opens_at_its_place(visit: Visit, tmp_path: Path, name: str) -> None:
    page = visit("?model=toy&seed=8&label=high&offsets.pc1=1.5")
    path = download(page, name, tmp_path)
    assert read_recipe(path).seed == 8
    other = visit("?model=words")
    other.get_by_test_id("Open a saved file-upload-button").set_input_files(path)
    expect(status(other)).to_contain_text("seed 8")
    assert pixels(other) == pixels(page)


def test_a_file_dropped_on_the_page_is_opened(visit: Visit) -> None:
    page = visit("?model=words")
    page.evaluate(
        """recipe => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([recipe], "place.json", { type: "application/json" }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }""",
        '{"version": 1, "model": "toy", "seed": 77}',
    )
    expect(status(page)).to_contain_text("toy · register low · seed 77")


def test_undo_and_redo_go_through_the_places(visit: Visit) -> None:
    page = visit("?model=toy&seed=1")
    seed(page).fill("2")
    expect(status(page)).to_contain_text("seed 2")
    drag(page, direction(page), 0.9)
    expect(status(page)).to_contain_text("pc1")
    reached = direction(page).input_value()
    direction(page).focus()
    page.keyboard.press("Control+z")
    expect(direction(page)).to_have_value("0")
    player(page).get_by_role("button", name="Undo").click()
    expect(seed(page)).to_have_value("1")
    player(page).get_by_role("button", name="Redo").click()
    player(page).get_by_role("button", name="Redo").click()
    expect(direction(page)).to_have_value(reached)
    expect(player(page).get_by_role("button", name="Redo")).to_be_disabled()


def test_random_leaves_a_locked_seed(visit: Visit) -> None:
    page = visit("?model=toy&seed=123456")
    page.get_by_label("Lock A").check()
    page.get_by_role("button", name="Random").click()
    expect(seed(page, "B")).not_to_have_value("123457")
    expect(seed(page)).to_have_value("123456")


def test_reset_undoes_every_move(visit: Visit) -> None:
    page = visit("?model=toy&seed=4&offsets.pc1=2&offsets.z1=1&truncation=0.5&seed_b=5&t=0.5")
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(direction(page)).to_have_value("0")
    page.wait_for_function("!JSON.parse(explorer.place()).offsets")
    assert place(page).truncation == 1


def test_a_broken_checkpoint_is_reported_and_the_sound_stays(visit: Visit) -> None:
    page = visit("?model=toy&seed=5")
    page.get_by_role("button", name="Model: ").click()
    page.get_by_role("dialog", name="All models").get_by_role("button", name="broken").click()
    expect(page.get_by_role("alert")).to_contain_text("broken.safetensors: not a safetensors file")
    expect(page.get_by_role("button", name="Model: toy")).to_be_visible()
    assert place(page).seed == 5


def test_a_link_to_a_broken_checkpoint_opens_another(visit: Visit) -> None:
    page = visit("?model=broken")
    expect(page.get_by_role("alert")).to_contain_text("This link cannot be played: ")
    assert place(page).model == "piano"


def test_a_link_to_unknown_weights_says_so(visit: Visit) -> None:
    page = visit("?model=toy&weights=0123456789ab")
    expect(page.get_by_role("alert")).to_contain_text("made with weights 0123456789ab of 'toy'")


@pytest.mark.parametrize("width", [1400, 1920])
def test_in_a_wide_window_the_instrument_stands_in_the_middle(visit: Visit, width: int) -> None:
    page = visit("?model=toy", viewport={"width": width, "height": 900})
    box, window = page.locator(".player .screen").bounding_box(), page.evaluate("document.documentElement.clientWidth")
    assert box is not None
    assert box["x"] == pytest.approx(window - box["x"] - box["width"], abs=1)


@pytest.mark.parametrize("model", MODELS)
def test_a_playing_sound_goes_on_from_its_position_when_a_slider_moves(visit: Visit, model: str) -> None:
    page = visit(f"?model={model}")
    player(page).get_by_role("button", name="Play").click()
    expect(player(page).get_by_role("button", name="Stop")).to_be_visible()
    # What begins has to begin where, by the clock of the loudspeaker, what ends would have come to.
    page.evaluate("""() => {
        const { speaker } = explorer, begin = speaker.begin.bind(speaker);
        speaker.begin = (...args) => {
            const before = speaker.origin;
            begin(...args);
            window.moved = { shift: speaker.origin - before, seconds: speaker.sound.seconds };
        };
    }""")
    drag(page, direction(page), 0.9)
    expect_offset(page, "pc1", direction(page))
    moved = page.wait_for_function("window.moved").json_value()
    laps = moved["shift"] / moved["seconds"]
    assert abs(laps - round(laps)) * moved["seconds"] < 1e-6
    expect(player(page).get_by_role("button", name="Stop")).to_be_visible()


@pytest.mark.parametrize("model", ["piano", "words"])
def test_a_loop_has_no_gap(visit: Visit, model: str) -> None:
    page = visit(f"?model={model}")
    player(page).get_by_role("button", name="Play").click()
    expect(player(page).get_by_role("button", name="Stop")).to_be_visible()
    source = page.evaluate("""() => {
        const { voice, sound } = explorer.speaker;
        if (!sound.notes) return [voice.source.loop, voice.source.loopStart, voice.source.loopEnd];
        // Lets the second lap come, and takes down when its first note is struck.
        let when;
        voice.strike = (i, time) => { if (i === 0) when = time; };
        voice.next = sound.notes.length / 4;
        voice.origin = voice.context.currentTime - sound.seconds + 0.1;
        voice.schedule();
        return [true, when - voice.origin, sound.seconds + sound.notes[1]];
    }""")
    looping, start, end = source
    assert looping
    assert start == pytest.approx(end, abs=1e-6)  # a waveform's loop from 0 to 0 is the whole of it


def test_a_number_that_is_not_a_seed_is_refused_in_a_sentence(visit: Visit) -> None:
    page = visit("?model=toy&seed=1")
    seed(page).fill("-5")
    expect(page.get_by_role("alert")).to_contain_text("seed must be a whole number from 0")
    seed(page).fill("6")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(status(page)).to_contain_text("seed 6")


def test_a_phone_needs_no_sideways_scrolling(visit: Visit) -> None:
    page = visit("?model=words", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    before = pixels(page)
    direction(page).tap(position={"x": 20, "y": 10})
    expect_another_picture(page, before)


def test_beside_the_buttons_nothing_is_cut_off_and_the_title_tells_all(visit: Visit) -> None:
    page = visit(f"?model=words&seed={2**32 - 1}&seed_b={2**32 - 2}&t=0.37", viewport={"width": 1400, "height": 900})
    assert status(page).evaluate("words => words.scrollWidth <= words.clientWidth")
    expect(status(page)).to_have_attribute(
        "title", re.compile(r"^words .* seed 4294967295 → 4294967294 at 0\.37\. Spec")
    )


def test_pictures_of_another_model_are_dimmed_until_new_ones_are_here(visit: Visit) -> None:
    page = visit("?model=toy", faults=True)
    dimmed = page.locator("#morph canvas.past")
    expect(page.locator("#morph canvas:not(.past)")).to_have_count(9)
    page.route(SERVER, lambda route: route.abort() if "pictures" in str(route.request.post_data) else route.continue_())
    page.keyboard.press("[")
    expect(dimmed).to_have_count(9)
    page.keyboard.press("]")  # back, where they are right
    expect(dimmed).to_have_count(0)
    page.keyboard.press("[")
    expect(dimmed).to_have_count(9)
    page.unroute(SERVER)
    page.keyboard.press("r")
    expect(dimmed).to_have_count(0)


def test_a_bar_tells_its_amount_and_a_chip_or_a_double_click_sets_it_back(visit: Visit) -> None:
    page = visit("?model=toy")
    bar, chips = direction(page), player(page).get_by_role("group", name="Offsets in force").get_by_role("button")
    for undo in (lambda: chips.click(), lambda: bar.dblclick()):
        press(page, bar, "ArrowRight", 3)
        expect(bar).to_have_attribute("aria-valuetext", "+0.15")
        expect(chips).to_have_text(re.compile(r"Direction 1 \+0\.15"))
        undo()
        page.wait_for_function("!JSON.parse(explorer.place()).offsets")
        expect(chips).to_have_count(0)
        expect(bar).to_have_value("0")


def test_a_new_sound_begins_at_its_beginning_also_by_a_key(visit: Visit) -> None:
    page = visit("?model=toy&seed=1")
    player(page).get_by_role("button", name="Play").click()
    page.keyboard.press("Space")  # stops: the button was pressed by a pointer
    expect(player(page).get_by_role("button", name="Play")).to_be_visible()
    page.evaluate("explorer.speaker.seek(0.3)")
    page.keyboard.press("r")
    page.wait_for_function("JSON.parse(explorer.place()).seed !== 1")
    assert page.evaluate("explorer.speaker.resting") == 0


def test_under_reduced_motion_the_position_is_told_once_a_second_and_the_rest_is_still(visit: Visit) -> None:
    page = visit("?model=toy", reduced_motion="reduce")
    player(page).get_by_role("button", name="Play").click()
    expect(player(page).get_by_role("button", name="Stop")).to_be_visible()
    seconds, positions, level = page.evaluate(
        """async () => {
            const positions = new Set(), begun = performance.now();
            for (let frame = 0; frame < 60; frame++) {
                await new Promise(requestAnimationFrame);
                positions.add(document.querySelector(".playhead").style.transform);
            }
            const level = document.querySelector(".meter").style.getPropertyValue("--level");
            return [(performance.now() - begun) / 1000, positions.size, Number(level)];
        }"""
    )
    assert positions <= seconds + 2
    assert level == 0


def test_a_click_in_the_picture_seeks(visit: Visit) -> None:
    page = visit("?model=piano")
    picture(page).click(position={"x": 300, "y": 100})
    position = float(page.get_by_role("slider", name="Position").input_value())
    seconds = page.evaluate("explorer.shown().seconds")
    assert 0.2 < position / seconds < 0.6


def test_the_same_png_comes_from_the_library(visit: Visit, folder: Path, tmp_path: Path) -> None:
    from explorer.files import formats

    page = visit("?model=toy&seed=6")
    engine = Engine(folder)
    recipe = engine.complete(Recipe("toy", seed=6)).recipe
    expected = io.BytesIO(formats.encode(engine.render(recipe), recipe, "png")).getvalue()
    assert download(page, "PNG", tmp_path).read_bytes() == expected


def test_a_place_far_out_shows_a_gauge_and_a_usual_one_none(visit: Visit) -> None:
    page = visit("?model=words&truncation=2")
    gauge = player(page).get_by_title("Farther from the centre of latent space than nearly all random places.")
    expect(gauge).to_be_visible()
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(gauge).to_be_hidden()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A search for directions stops half way until this is set."""
    gate = threading.Event()

    def patient(generator: Generator, *, samples: int, progress: Progress) -> tuple[Direction, ...]:
        progress(samples // 2, samples)
        assert gate.wait(300)
        return principal(generator, samples=samples)

    monkeypatch.setattr("explorer.directions.principal", patient)
    yield gate
    gate.set()


def test_a_checkpoint_without_directions_plays_at_once_and_gets_its_sliders_later(
    visit: Visit, gate: threading.Event, folder: Path
) -> None:
    write(folder, "untold", seed=6)  # another than those who opened the list of models have seen
    page = visit("?model=untold")
    progress = player(page).get_by_role("progressbar", name="Looking for directions")
    expect(progress).to_have_js_property("value", 0.5)
    before = pixels(page)
    page.get_by_role("tab", name="Advanced").click()
    drag(page, page.get_by_role("slider", name="z1", exact=False), 0.9)
    expect_another_picture(page, before)
    gate.set()
    page.get_by_role("tab", name="Shape").click()
    expect(direction(page)).to_be_visible()
    expect(progress).to_be_hidden()
    assert "z1" in dict(place(page).offsets)


def test_a_part_of_the_picture_is_looped_and_saved_as_it_is_heard(visit: Visit, tmp_path: Path) -> None:
    page = visit("?model=toy&seed=8")
    drag_in(page, picture(page), (0.3, 0.5), (0.6, 0.5))
    page.wait_for_function("explorer.speaker.region?.pcm && explorer.speaker.playing")
    start, end, heard = page.evaluate(
        "(({ start, end, pcm }) => [start, end, [...pcm.samples]])(explorer.speaker.region)"
    )
    page.wait_for_function("([start, end]) => explorer.speaker.position > (start + end) / 2", arg=[start, end])
    assert start <= page.evaluate("explorer.speaker.position") < end
    with page.expect_download() as info:
        player(page).get_by_role("button", name="Save loop").click()
    saved, rate = sf.read(info.value.path())
    assert saved.tolist() == heard
    assert len(saved) == pytest.approx((end - start) * rate)
    later = page.get_by_role("slider", name="Loop's start")
    later.focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_function("start => explorer.speaker.region?.start < start - 0.05", arg=start)
    drag(page, direction(page), 0.7)  # the part stays, of the sound at hand
    page.wait_for_function("explorer.shown().place.offsets.pc1 && explorer.speaker.region?.pcm")
    page.keyboard.press("Escape")
    expect(later).to_be_hidden()
    assert page.evaluate("explorer.speaker.region") is None
    page.keyboard.press("i")
    expect(later).to_be_visible()
    page.wait_for_function("explorer.speaker.region?.pcm")
    seed(page).fill("9")  # another sound is heard whole
    expect(later).to_be_hidden()


def test_the_list_of_keys_covers_what_lies_behind_it(visit: Visit) -> None:
    page = visit("?model=words")
    page.keyboard.press("?")
    shown = page.get_by_role("dialog", name="Keys")
    expect(shown).to_be_visible()
    assert shown.evaluate("list => getComputedStyle(list).backgroundColor") not in ("transparent", "rgba(0, 0, 0, 0)")

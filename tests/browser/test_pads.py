"""The pads and their beat: played, rolled, locked, shared, saved and opened, by mouse, keys, touch and controllers."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from acts import Visit, choose, direction, drag, player, seed, status
from playwright.sync_api import Locator, Page, expect

from explorer.engine import Engine
from explorer.files import kits
from explorer.files.formats import read_saved
from explorer.kit import PADS, Kit

pytestmark = pytest.mark.browser
EMPTY = "0" * 32
# Renders a beat with the page's own scheduler, woken like by its timer, and returns the samples that sound.
CAPTURE = """async ({ kit, laps, rate }) => {
    const bar = 240 / kit.tempo, context = new OfflineAudioContext(1, Math.ceil(laps * bar * rate), rate);
    const impulse = new AudioBuffer({ length: 1, sampleRate: rate });
    impulse.getChannelData(0)[0] = 1;
    const gain = new GainNode(context);
    gain.connect(context.destination);
    const hits = new kitPanel.Hits(gain);
    const sequencer = new kitPanel.Sequencer(0, kit, (pad, when) => hits.strike(kit, pad, impulse, when));
    const wake = () => sequencer.advance(context.currentTime, context.currentTime + 0.1);
    wake();
    for (let time = 0.025; time < laps * bar - 0.01; time += 0.025) {
        context.suspend(time).then(() => { wake(); context.resume(); });
    }
    const samples = (await context.startRendering()).getChannelData(0);
    return [...samples.keys()].filter((i) => samples[i] > 0.5);
}"""


def pads(page: Page) -> Locator:
    return page.get_by_role("region", name="Pads")


def pad(page: Page, number: int) -> Locator:
    return pads(page).get_by_role("button", name=re.compile(f"^Pad {number} ·"))


def step(page: Page, number: int, at: int) -> Locator:
    return pads(page).get_by_role("button", name=re.compile(f"^{number} · .*, step {at}$"))


def act(page: Page, name: str) -> Locator:
    return pads(page).get_by_role("button", name=name, exact=True)


def box(page: Page, name: str) -> Locator:
    return pads(page).get_by_role("checkbox", name=name)


def opened(page: Page) -> Page:
    """Scrolls to the pads and waits until they have their sounds."""
    pads(page).scroll_into_view_if_needed()
    page.wait_for_function("window.kitPanel?.kit()")
    return page


def kit(page: Page) -> Kit:
    return Kit.from_dict(page.evaluate("kitPanel.kit()"))


def expect_heard(page: Page) -> None:
    page.wait_for_function(
        """() => {
            if (!window.heard) return false;
            const samples = new Float32Array(heard.fftSize);
            heard.getFloatTimeDomainData(samples);
            return samples.some((x) => Math.abs(x) > 0.01);
        }"""
    )


def link(page: Page) -> str:
    """The query that "Copy link" copies."""
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    act(page, "Copy link").click()
    page.wait_for_function("window.copied !== undefined")
    return "?" + page.evaluate("copied").split("?")[1]


def saved(page: Page, name: str, folder: Path) -> Path:
    with page.expect_download() as info:
        act(page, name).click()
    path = folder / info.value.suggested_filename
    info.value.save_as(path)
    return path


def test_a_newcomer_finds_eight_pads_and_a_beat_that_plays(visit: Visit) -> None:
    page = opened(visit("?model=words"))
    expect(pad(page, PADS)).to_be_visible()
    assert "kit." not in page.url
    act(page, "Play the beat").click()
    expect_heard(page)
    expect(act(page, "Stop the beat")).to_be_visible()
    page.wait_for_function("document.querySelector('#pads .steps .now') !== null")
    act(page, "Stop the beat").click()
    expect(page.locator("#pads .steps .now")).to_have_count(0)
    act(page, "Play the beat").click()
    player(page).get_by_role("button", name="Stop").click()  # it stops whatever plays
    expect(act(page, "Play the beat")).to_be_visible()
    expect(player(page).get_by_role("button", name="Play")).to_be_visible()


@pytest.mark.parametrize("way", ["mouse", "key", "Enter"])
def test_a_pad_is_played(visit: Visit, way: str) -> None:
    page = opened(visit("?model=words"))
    if way == "mouse":
        pad(page, 3).click()
    elif way == "key":
        page.keyboard.press("3")
    else:
        pad(page, 3).press("Enter")
    expect_heard(page)
    expect(pad(page, 3)).to_have_attribute("aria-current", "true")
    assert not page.evaluate("explorer.speaker.playing")


def test_numbers_that_are_typed_play_no_pad_and_keys_can_be_switched_off(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    seed(page).fill("")
    seed(page).press_sequentially("33")
    expect(status(page)).to_contain_text("seed 33")
    box(page, "Keys 1 to 8").uncheck()
    page.keyboard.press("3")
    expect(pad(page, 1)).to_have_attribute("aria-current", "true")


def test_a_pad_is_rolled_by_shift_and_its_key_and_this_is_undone_and_redone(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    before = kit(page)
    page.keyboard.press("Shift+Digit4")
    expect(status(page)).to_contain_text("Rolled pad 4")
    rolled = kit(page)
    assert rolled.pads[3].seed != before.pads[3].seed
    assert rolled == replace(before, pads=(*before.pads[:3], rolled.pads[3], *before.pads[4:]))
    assert rolled.pads[3].label == before.pads[3].label
    pad(page, 4).press("Control+z")
    page.wait_for_function("seed => kitPanel.kit().pads[3].seed === seed", arg=before.pads[3].seed)
    assert kit(page) == before
    pad(page, 4).press("Control+Shift+z")
    page.wait_for_function("seed => kitPanel.kit().pads[3].seed === seed", arg=rolled.pads[3].seed)


def test_a_locked_pad_keeps_its_sound_when_all_are_rolled(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    before = kit(page)
    pad(page, 2).click()
    box(page, "Lock").check()
    expect(act(page, "Roll")).to_be_disabled()
    page.keyboard.press("Shift+Digit2")
    expect(status(page)).to_contain_text("Pad 2 keeps its sound")
    act(page, "Roll all").click()
    expect(status(page)).to_contain_text("Rolled all")
    kept = [old == new for old, new in zip(before.pads, kit(page).pads, strict=True)]
    assert kept[1]
    assert sum(kept) <= 2  # a seed may be rolled again by chance


def test_a_beat_is_shared_by_link_and_another_visitor_hears_and_saves_the_same(visit: Visit, tmp_path: Path) -> None:
    page = opened(visit("?model=toy&seed=5"))
    step(page, 1, 3).click()
    expect(step(page, 1, 3)).to_have_attribute("aria-pressed", "true")
    step(page, 3, 1).click()
    pads(page).get_by_role("spinbutton", name="Tempo").fill("87")
    pads(page).get_by_role("spinbutton", name="Tempo").press("Enter")
    pads(page).get_by_role("slider", name="Swing").press("End")
    pad(page, 4).click()
    box(page, "Choke group").check()
    act(page, "Roll").click()
    expect(status(page)).to_contain_text("Rolled pad 4")
    made = kit(page)
    assert (made.tempo, made.swing, made.choke, made.beat[0], made.beat[2]) == (87, 75, (4,), 0xA280, 0x2AA8)

    other = opened(visit(link(page)))
    assert kit(other) == made
    expect(pads(other).get_by_role("spinbutton", name="Tempo")).to_have_value("87")
    act(other, "Play the beat").click()
    expect_heard(other)
    (tmp_path / "a").mkdir()
    loops = [saved(p, "Loop, WAV", tmp_path / name) for p, name in ((page, "a"), (other, "."))]
    assert loops[0].read_bytes() == loops[1].read_bytes()
    other.reload()
    assert kit(opened(other)) == made


def test_in_the_saved_loop_every_onset_is_where_it_belongs(visit: Visit, folder: Path, tmp_path: Path) -> None:
    page = opened(visit("?model=toy"))
    act(page, "Clear").click()
    for at in (1, 8, 14):
        step(page, 2, at).click()
    pads(page).get_by_role("spinbutton", name="Tempo").fill("40")
    pads(page).get_by_role("spinbutton", name="Tempo").press("Enter")
    path = saved(page, "Loop, WAV", tmp_path)
    samples, rate = sf.read(path)
    engine, made = Engine(folder), read_saved(path)
    assert isinstance(made, Kit)
    quiet = len(engine.render(made.pads[1]).waveform)  # longer than a hit
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 100)
    onsets = loud[np.diff(loud, prepend=-quiet) > rate // 10]
    step_length = 60 / 40 / 4 * rate
    assert np.abs(onsets - np.array([0, 7, 13]) * step_length).max() <= 1


@pytest.mark.parametrize("rate", [44100, 48000])
def test_64_steps_of_the_pages_scheduler_are_heard_within_a_sample(visit: Visit, rate: int) -> None:
    page = opened(visit("?model=toy"))
    beat: dict[str, Any] = {**kit(page).to_dict(), "beat": "ffff" + EMPTY[4:], "tempo": 133, "swing": 61}
    heard = page.evaluate(CAPTURE, {"kit": beat, "laps": 4, "rate": rate})
    pair = 30 / 133
    expected = np.array([(i // 2 + i % 2 * 0.61) * pair * rate for i in range(64)])
    assert len(heard) == 64
    assert np.abs(np.array(heard) - expected).max() <= 1


def test_a_slider_that_moves_while_the_beat_plays_changes_the_pad_that_follows(visit: Visit) -> None:
    page = opened(visit("?model=words&seed=5"))
    pad(page, 1).click()
    box(page, "Follow the sliders").check()
    page.wait_for_function("kitPanel.kit().pads[0].seed === 5")
    act(page, "Play the beat").click()
    expect_heard(page)
    direction(page).scroll_into_view_if_needed()
    drag(page, direction(page), 0.8)
    page.wait_for_function("kitPanel.kit().pads[0].offsets?.pc1 > 0.5")
    assert not page.evaluate("explorer.speaker.playing")
    expect(act(page, "Stop the beat")).to_be_visible()
    expect(status(page)).to_contain_text("pc1")
    assert kit(page).pads[0].offsets == tuple(json.loads(page.evaluate("explorer.place()"))["offsets"].items())


def test_a_sound_is_taken_from_the_player_and_sent_back_to_it(visit: Visit) -> None:
    page = opened(visit("?model=toy&seed=5&label=high&offsets.pc1=1.5"))
    pad(page, 7).click()
    act(page, "Take from above").click()
    taken = kit(page).pads[6]
    assert (taken.seed, taken.label, taken.offsets) == (5, "high", (("pc1", 1.5),))
    pad(page, 2).click()
    act(page, "Send above").click()
    expect(status(page)).to_contain_text("seed 1")
    pad(page, 7).click()
    act(page, "Send above").click()
    expect(status(page)).to_contain_text("register high · seed 5 · pc1 +1.5")


@pytest.mark.parametrize("name", ["Loop, WAV", "Pattern, MIDI", "Hits, ZIP"])
def test_a_saved_file_brings_its_kit_back(visit: Visit, folder: Path, tmp_path: Path, name: str) -> None:
    page = opened(visit("?model=toy"))
    page.keyboard.press("Shift+Digit6")
    expect(status(page)).to_contain_text("Rolled pad 6")
    path, made = saved(page, name, tmp_path), kit(page)
    assert path.read_bytes() == kits.encode(Engine(folder), made, path.suffix[1:])
    other = visit("?model=piano")
    other.get_by_test_id("Open a saved file-upload-button").set_input_files(path)
    other.wait_for_function("kitPanel.kit()?.model === 'toy'")
    assert kit(other) == made
    expect(pad(other, 6)).to_be_visible()
    expect(status(other)).to_contain_text("toy")
    other.wait_for_function("location.search.includes('kit.beat')")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("kit.tempo=x", "tempo must be a number"),
        ("kit.tempo=120", "this kit lacks its beat"),
    ],
)
def test_a_link_with_a_bad_kit_says_so_and_shows_the_first_kit(visit: Visit, bad: str, words: str) -> None:
    page = opened(visit(f"?model=toy&{bad}"))
    expect(player(page).get_by_role("alert")).to_contain_text(re.compile(words))
    assert kit(page).pads[7].seed == 7


def test_a_tempo_out_of_range_is_refused_in_a_sentence(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    tempo = pads(page).get_by_role("spinbutton", name="Tempo")
    for value in ("0", "1e300", ""):
        tempo.fill(value)
        tempo.press("Enter")
        expect(player(page).get_by_role("alert")).to_contain_text("The tempo must be a number from 30 to 300.")
        expect(tempo).to_have_value("110")
    assert kit(page).tempo == 110


def test_an_empty_beat_is_not_saved_and_says_why(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    act(page, "Clear").click()
    act(page, "Loop, WAV").click()
    expect(player(page).get_by_role("alert")).to_contain_text("the beat is empty")


def test_steps_are_reached_and_switched_by_keys_alone(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    pads(page).get_by_role("button", name="Clear").focus()
    page.keyboard.press("Tab")
    expect(step(page, 1, 1)).to_be_focused()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    expect(step(page, 2, 16)).to_be_focused()
    page.keyboard.press("Space")
    expect(step(page, 2, 16)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    expect(act(page, "Copy link")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(step(page, 2, 16)).to_be_focused()


def test_long_sounds_have_no_pads_and_each_checkpoint_keeps_its_own(visit: Visit) -> None:
    page = opened(visit("?model=toy"))
    page.keyboard.press("Shift+Digit1")
    expect(status(page)).to_contain_text("Rolled pad 1")
    act(page, "Play the beat").click()
    made = kit(page)
    choose(page, "piano")
    expect(pads(page)).to_be_hidden()
    assert "kit." not in page.url
    page.keyboard.press("1")
    choose(page, "poor")
    page.wait_for_function("kitPanel.kit().model === 'poor'")
    expect(act(opened(page), "Play the beat")).to_be_visible()
    choose(page, "toy")
    page.wait_for_function("kitPanel.kit().model === 'toy'")
    assert kit(page) == made
    page.wait_for_function("location.search.includes('kit.1.seed')")


def test_a_controller_plays_the_pads(visit: Visit) -> None:
    def plug_in(page: Page) -> None:
        page.add_init_script(
            """
            const controller = { name: "Pad box", state: "connected", onmidimessage: null };
            navigator.requestMIDIAccess = async () => ({ inputs: new Map([["1", controller]]) });
            window.press = (note) => controller.onmidimessage({ data: Uint8Array.of(0x99, note, 100) });
            """
        )

    page = opened(visit("?model=toy", before=plug_in))
    act(page, "Use a MIDI controller").click()
    expect(status(page)).to_contain_text("Plays the pads: Pad box")
    page.evaluate("press(40)")
    expect_heard(page)
    expect(pad(page, 5)).to_have_attribute("aria-current", "true")


def test_a_browser_without_midi_shows_nothing_of_it(visit: Visit) -> None:
    page = opened(
        visit("?model=toy", before=lambda page: page.add_init_script("delete Navigator.prototype.requestMIDIAccess"))
    )
    expect(act(page, "Use a MIDI controller")).to_be_hidden()
    pad(page, 1).click()
    expect_heard(page)


def test_on_a_phone_a_pad_and_a_step_are_tapped_and_nothing_is_cut_off(visit: Visit) -> None:
    page = opened(visit("?model=toy", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True))
    pad(page, 2).tap()
    expect_heard(page)
    step(page, 2, 16).tap()
    expect(step(page, 2, 16)).to_have_attribute("aria-pressed", "true")
    small = step(page, 8, 16).bounding_box()
    assert small is not None
    assert small["width"] >= 24
    assert small["height"] >= 24
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

"""The keys: played by mouse, the computer's keys, a virtual MIDI keyboard and pieces, while sliders move."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from acts import Visit, choose, direction, drag, place, player, status
from playwright.sync_api import Locator, Page, expect
from toy import write as write_toy
from toy_keys import KeysToy, KeysToyConfig

from explorer import checkpoint
from explorer.directions import principal
from explorer.engine import Engine
from explorer.files.formats import read_saved
from explorer.recipe import Recipe
from explorer.song import MidiFile, Song
from explorer.sound import midi
from explorer.sound.base import Note
from explorer.ui import serve

pytestmark = pytest.mark.browser
RATE = 16_000
# Strikes a key at 0.1 s, changes its timbre twice at once at 0.5 s, releases it at 1.2 s.
CAPTURE = """async ({ rate, tones }) => {
    const context = new OfflineAudioContext(1, 2 * rate, rate);
    const touch = { velocity_exponent: 1, release: 0.05, release_length: 7 };
    const instrument = new keysPanel.Instrument(context.destination, touch);
    const [first, second, third] = tones.map((samples) => {
        const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
        buffer.copyToChannel(Float32Array.from(samples), 0);
        return { buffer, loop: [0.25, 0.75], decay: 0, gain: 1 };
    });
    const voice = instrument.strike(69, 127, first, 0.1);
    instrument.change(69, second, 0.5);
    instrument.change(69, third, 0.51);
    instrument.release(voice, 1.2);
    return [...(await context.startRendering()).getChannelData(0)];
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app of its own: an instrument, and a model that makes notes."""
    folder = tmp_path_factory.mktemp("instruments")
    write_toy(folder)
    generator = KeysToy(KeysToyConfig()).eval()
    checkpoint.save(folder / "keys.safetensors", generator, directions=principal(generator, count=2, samples=64))
    app = serve(Engine(folder), "127.0.0.1")
    assert app.local_url
    yield app.local_url
    app.close()


def act(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name="Keys").get_by_role("button", name=name, exact=True)


def opened(page: Page) -> Page:
    expect(page.get_by_role("region", name="Keys")).to_be_visible()
    return page


def key(page: Page, name: str) -> Locator:
    return page.locator(f"#label label:has([value='{name}'])")


def expect_level(page: Page, heard: bool) -> None:
    """Waits until something, or nothing, is heard."""
    page.wait_for_function(
        """(heard) => {
            if (!window.heard) return false;
            const samples = new Float32Array(2048);
            window.heard.getFloatTimeDomainData(samples);
            const level = Math.max(...samples.map(Math.abs));
            return heard ? level > 0.02 : level < 0.001;
        }""",
        arg=heard,
    )


def plug_in(page: Page) -> None:
    page.add_init_script(
        """
        const keyboard = { name: "Keyboard", state: "connected", onmidimessage: null };
        navigator.requestMIDIAccess = async () => ({ inputs: new Map([["1", keyboard]]) });
        window.send = (...data) => keyboard.onmidimessage({ data: Uint8Array.from(data) });
        """
    )


def test_a_chord_is_held_by_the_computers_keys_and_every_key_is_fetched(visit: Visit) -> None:
    page = opened(visit("?model=keys&seed=3"))
    # At once, or a neighbour of the first is asked for before the last is pressed.
    page.evaluate(
        """keys => keys.forEach((key) => document.body.dispatchEvent(
        new KeyboardEvent("keydown", { key, code: `Key${key.toUpperCase()}`, bubbles: true })))""",
        ["a", "d", "g"],
    )
    assert page.evaluate("keysPanel.held()") == [60, 64, 67]
    expect_level(page, True)
    assert key(page, "E4").evaluate("label => label.classList.contains('pressed')")
    page.wait_for_function("keysPanel.here().length === 25")
    fetched = page.evaluate("keysPanel.here()")
    assert set(fetched[:3]) == {60, 64, 67}  # the server answers two requests at a time
    rest = [abs(pitch - 67) for pitch in fetched[3:]]  # 67 was pressed last
    assert rest == sorted(rest)
    for name in "adg":
        page.keyboard.up(name)
    expect_level(page, False)


def test_a_key_is_held_by_the_mouse_while_it_is_down(visit: Visit) -> None:
    page = opened(visit("?model=keys&seed=3"))
    key(page, "A4").hover()
    page.mouse.down()
    assert page.evaluate("keysPanel.held()") == [69]
    expect_level(page, True)
    page.mouse.up()
    expect_level(page, False)
    page.wait_for_function("JSON.parse(explorer.place()).label === 'A4'")


def test_a_midi_keyboard_plays_with_velocity_pedal_and_folded_octaves(visit: Visit) -> None:
    page = opened(visit("?model=keys&seed=3", before=plug_in))
    act(page, "Use a MIDI keyboard").click()
    expect(status(page)).to_contain_text("Plays the keys: Keyboard")
    page.evaluate("send(0xb0, 64, 127); send(0x90, 24, 100)")  # C1 is far below the keys
    assert page.evaluate("keysPanel.held()") == [48]
    expect_level(page, True)
    page.evaluate("send(0x80, 24, 0)")
    assert page.evaluate("keysPanel.held()") == []
    page.wait_for_timeout(800)  # longer than the release
    expect_level(page, True)
    page.evaluate("send(0xb0, 64, 0)")
    expect_level(page, False)


def test_a_held_note_changes_its_timbre_while_a_slider_moves(visit: Visit) -> None:
    page = opened(visit("?model=keys&seed=3"))
    page.keyboard.down("h")
    expect_level(page, True)
    page.wait_for_function("keysPanel.here().length === 25")
    before = place(page)
    page.evaluate(
        """() => {
            window.quiet = 0;
            setInterval(() => {
                const samples = new Float32Array(2048);
                heard.getFloatTimeDomainData(samples);
                if (Math.max(...samples.map(Math.abs)) < 0.01) quiet++;
            }, 5);
        }"""
    )
    drag(page, direction(page), 0.95)
    page.wait_for_function("before => explorer.place() !== before", arg=before.to_json())
    page.wait_for_function("keysPanel.here().length === 25")
    assert page.evaluate("quiet") == 0
    page.keyboard.up("h")


def test_a_change_of_timbre_leaves_no_gap_and_a_release_no_click(visit: Visit) -> None:
    page = opened(visit("?model=keys&seed=3"))
    time = np.arange(RATE) / RATE
    fade = np.minimum(1, time / 0.01)
    waves = [0.3 * fade * (np.sin(2 * np.pi * 440 * time) + x * np.sin(2 * np.pi * 880 * time)) for x in (0, 0.5, 1)]
    tones = [wave[: round(0.75 * RATE)].tolist() for wave in waves]
    heard = np.array(page.evaluate(CAPTURE, {"rate": RATE, "tones": tones}))
    levels = [np.std(part) for part in np.split(heard[round(0.15 * RATE) : round(1.15 * RATE)], 50)]
    assert min(levels) > 0.9 * 0.3 / np.sqrt(2)
    spectrum = np.abs(np.fft.rfft(heard[round(0.9 * RATE) : round(1.1 * RATE)]))
    assert spectrum[round(880 * 0.2)] == pytest.approx(spectrum[round(440 * 0.2)], rel=0.05)  # the third timbre
    high = np.fft.rfft(np.pad(heard, 4096))
    high[: round(2500 * (len(heard) + 8192) / RATE)] = 0
    assert np.abs(np.fft.irfft(high)).max() < np.abs(heard).max() * 10 ** (-50 / 20)
    assert np.abs(heard[round(1.6 * RATE) :]).max() == 0


def test_the_piece_on_the_screen_is_played_saved_and_opened_again(visit: Visit, tmp_path: Path) -> None:
    page = visit("?model=toy&seed=12")
    choose(page, "keys")
    opened(page)
    expect(page.get_by_role("combobox", name="Play a piece through it").locator("option:checked")).to_have_text(
        "toy · seed 12"
    )
    act(page, "Play the piece").click()
    expect_level(page, True)
    with page.expect_download() as info:
        act(page, "Song, WAV").click()
    info.value.save_as(tmp_path / "song.wav")
    saved = read_saved(tmp_path / "song.wav")
    assert isinstance(saved, Song)
    assert isinstance(saved.piece, Recipe)
    assert (saved.timbre.model, saved.piece.model, saved.piece.seed) == ("keys", "toy", 12)
    other = visit("?model=toy&seed=1")
    other.get_by_test_id("Open a saved file-upload-button").set_input_files(tmp_path / "song.wav")
    opened(other)
    assert place(other).seed == saved.timbre.seed
    expect(other.get_by_role("combobox", name="Play a piece through it").locator("option:checked")).to_have_text(
        "toy · seed 12"
    )


def test_a_midi_file_is_played_on_a_phone(visit: Visit, tmp_path: Path) -> None:
    midi.write_midi([Note(pitch, 0.5 * i, 0.5, 100) for i, pitch in enumerate((36, 60, 64, 90))], tmp_path / "a.mid")
    page = opened(visit("?model=keys", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True))
    key(page, "D4").tap()
    expect_level(page, True)
    page.locator("#keys input[type=file]").set_input_files(tmp_path / "a.mid")
    act(page, "Play the piece").tap()
    expect(page.get_by_text("4 notes in 2 seconds. 2 outside of the keys are moved by octaves.")).to_be_visible()
    with page.expect_download() as info:
        act(page, "Song, WAV").tap()
    info.value.save_as(tmp_path / "song.wav")
    saved = read_saved(tmp_path / "song.wav")
    assert isinstance(saved, Song)
    assert isinstance(saved.piece, MidiFile)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_file_that_is_no_midi_is_refused_in_a_sentence(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(b"no music")
    page = opened(visit("?model=keys"))
    page.locator("#keys input[type=file]").set_input_files(tmp_path / "a.mid")
    expect(page.get_by_role("combobox", name="Play a piece through it").locator("option:checked")).to_have_text("a.mid")
    act(page, "Play the piece").click()
    expect(player(page).get_by_role("alert")).to_contain_text("a.mid: not a MIDI file")

"""The panel "Learn": predictions, the sounds that check them, and the snapshots of training."""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from acts import EVENTS, Visit, expect_another_picture, held_calls, pixels, place, player, status
from conftest import SMALL
from playwright.sync_api import Locator, Page, expect
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from explorer import checkpoint
from explorer.directions import Direction
from explorer.engine import Engine
from explorer.generators import FAMILIES
from explorer.generators.diffwave import DiffWave, DiffWaveConfig
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig
from explorer.sound.waveform import WaveformConfig
from explorer.ui import serve

pytestmark = pytest.mark.browser
LATENT, TRAINING, DISTANCE, PHASE, INTERPOLATION = "latent vector", "critic", "Wasserstein", "phase", "from A to B"
EMERGING = "Noise becomes a sound"
# Looks again and again whether anything was heard of late.
NOTICE = """() => setInterval((samples) => {
    window.heard?.getFloatTimeDomainData(samples);
    window.noticed ||= samples.some((x) => x !== 0);
}, 50, new Float32Array(32768))"""
SLOW = DiffWaveConfig(
    WaveformConfig(8000, 2048), ("no", "yes"), condition="word", latent=4, bands=16, channels=8, layers=2, style=8
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app of its own: `words` with two snapshots and two methods of inversion, `piano` with neither, and `slow`,
    which makes sounds of the labels of `words` in steps, and `taught`, which has learned to do with few."""
    folder = tmp_path_factory.mktemp("lessons")
    family, config = SMALL["words"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, later, final = (FAMILIES[family](config).eval() for _ in range(3))
        vocoder = LearnedVocoder(VocoderConfig(channels=16, blocks=2, rounds=2)).eval()
        piano = FAMILIES[SMALL["piano"][0]](SMALL["piano"][1]).eval()
        slow = DiffWave(SLOW)
        slow.network.leave.weight.data.normal_()  # else all steps would give the same
    final.representation.carry("vocoder", vocoder)
    longer = Direction("duration", torch.eye(16)[0], "Duration", "s", {"per_step": 0.1, "r2": 0.4})
    checkpoint.save(folder / "words.safetensors", final, provenance={"step": 900}, directions=(longer,))
    checkpoint.save(folder / "lessons" / "stuck.safetensors", first)
    checkpoint.save(folder / "piano.safetensors", piano)
    first_number = Direction("first", torch.eye(4)[0], "First number")
    checkpoint.save(folder / "slow.safetensors", slow, directions=(first_number,))
    checkpoint.save(folder / "taught.safetensors", DiffWave(replace(SLOW, distilled=True)))
    for step, generator in ((0, first), (300, later)):
        checkpoint.save(folder / "snapshots" / "words" / f"{step}.safetensors", generator, dtype=torch.int8)
    lines = [
        {"step": step, "wasserstein": 3 - step / 450, "reconstruction_loss": 1 / step} for step in range(50, 950, 50)
    ]
    (folder / "snapshots" / "words" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    app = serve(Engine(folder), "127.0.0.1")
    assert app.local_url
    yield app.local_url
    app.close()


def lesson(page: Page, title: str) -> Locator:
    page.get_by_role("tab", name="Learn").click()
    learn = page.get_by_role("region", name="Learn")
    summary = learn.locator("summary").filter(has_text=title)
    if not summary.evaluate("element => element.parentElement.open"):
        summary.click()
    return learn


def predict(learn: Locator, question: str, answer: str) -> Locator:
    """Chooses an answer, asks to hear it, and waits for the explanation; the group of the question."""
    group = learn.get_by_role("group", name=question)
    expect(group.get_by_role("button")).to_be_disabled()
    group.get_by_role("radio", name=answer).check()
    group.get_by_role("button", name="Check").click()
    expect(group.get_by_role("status")).to_contain_text("Right:")
    return group


def test_each_lesson_answers_a_prediction_with_a_sound_and_an_explanation(visit: Visit) -> None:
    page = visit("?model=words&seed=7")
    page.evaluate(NOTICE)
    for title, question, answer, caption, heard in (
        (LATENT, "Two seeds", "as different", "seed 6", {"model": "words", "seed": 6}),
        (DISTANCE, "Four seeds", "four different", "seed 7", {"model": "words", "seed": 7}),
        (PHASE, "With Griffin-Lim", "hollow", "griffin-lim", {"settings": (("inversion", "griffin-lim"),)}),
        (INTERPOLATION, "the middle of the straight line", "0.71", "line, middle", {"t": 0.5, "path": "line"}),
        ("Conditioning", "only the label changes", "although", "no", {"label": "no", "seed": 7}),
        ("Truncation", "Four seeds", "more alike", "seed 7, 0.5", {"seed": 7, "truncation": 0.5}),
        ("What a slider is", "An R² below 1", "on average", "seed 7, +1", {"offsets": (("duration", 1.0),)}),
        (TRAINING, "Before the first step", "without form", "step 0", {"model": "words@0", "seed": 7}),
        ("Collapse", "Four seeds of that", "nearly the same", "seed 8", {"model": "stuck", "seed": 8}),
        (EMERGING, "The same noise", "nearer and nearer", "8 steps", {"model": "slow", "seed": 8}),
        ("GAN against", "the same seed and the same label", "two different sounds", "slow", {"model": "slow"}),
        ("GAN against", "Which four take more", "every step is a pass", "slow, seed 8", {"model": "slow", "seed": 8}),
        (EMERGING, "Another network", "nearly what it makes", "taught, 2 steps", {"model": "taught", "seed": 8}),
    ):
        group = predict(lesson(page, title), question, answer)
        expect(group.get_by_role("button", name=caption)).to_have_attribute("aria-current", "true")
        assert {name: getattr(place(page), name) for name in heard} == heard
        expect(page.get_by_role("alert")).to_have_count(0)
    page.wait_for_function("window.noticed")
    expect(player(page).get_by_role("button", name="Play")).to_be_visible()  # once, although "Loop" is checked
    expect(player(page).get_by_role("checkbox", name="Loop")).to_be_checked()


def test_an_answer_that_is_checked_before_the_first_sound_is_here_waits_for_it(visit: Visit) -> None:
    page = visit("?model=words&seed=7")
    held = held_calls(page, "", EVENTS)
    with page.expect_request(EVENTS):
        page.reload()
    group = lesson(page, LATENT).get_by_role("group", name="Two seeds")
    group.get_by_role("radio", name="as different").check()
    group.get_by_role("button", name="Check").click()
    expect(group.get_by_text("The page’s first sound is still being made")).to_be_visible()
    held[0].continue_()
    expect(group.get_by_role("status")).to_contain_text("Right:")
    expect(group.get_by_role("button", name="seed 6")).to_have_attribute("aria-current", "true")


def test_a_wrong_prediction_is_corrected_and_the_distances_equal_scipys(visit: Visit) -> None:
    learn = lesson(visit("?model=words"), DISTANCE)
    group = learn.get_by_role("group", name="Once the two no longer overlap")
    group.get_by_role("radio", name="goes on growing").check()
    group.get_by_role("button", name="Check").click()
    expect(group.get_by_role("status")).to_contain_text("No: you chose “goes on growing”, right is “stays the same”.")
    expect(learn.get_by_text("slope 0.00. Wasserstein 3.00, slope 1.00")).to_be_visible()
    x = np.arange(-5, 6, 0.001) + 0.0005
    for shift, width in (-0.5, 2.0), (1.3, 1.0), (0.25, 0.5):
        learn.get_by_role("slider", name="Shift").fill(str(shift))
        learn.get_by_role("slider", name="Width").fill(str(width))
        real, generated = ((start < x) & (x < start + width) for start in (0, shift))
        # scipy's is the square root, in nats
        expect(learn.get_by_text(f"Jensen-Shannon {jensenshannon(real, generated) ** 2:.3f}")).to_be_visible()
        expect(learn.get_by_text(f"Wasserstein {wasserstein_distance(x, x, real, generated):.2f}")).to_be_visible()


def test_a_lesson_that_is_opened_stays_in_view_when_the_one_above_it_closes(visit: Visit) -> None:
    page = visit("?model=words")
    lesson(page, TRAINING).get_by_role("button", name="Back to the final").scroll_into_view_if_needed()
    lesson(page, DISTANCE)
    page.wait_for_function(
        """() => document.querySelector("details.distance[open] summary").getBoundingClientRect().top
            >= document.querySelector(".stage").getBoundingClientRect().bottom"""
    )


def test_the_slider_over_snapshots_keeps_the_latent_and_comes_back_to_the_checkpoint(visit: Visit) -> None:
    page = visit("?model=words&seed=7&label=no")
    final, link = pixels(page), place(page)
    learn = lesson(page, TRAINING)
    snapshots = learn.get_by_role("group", name="Training, step by step")
    expect(snapshots.locator(".steps button")).to_have_count(3)
    slider = snapshots.get_by_role("slider", name="Step of training")
    expect(slider).to_have_attribute("aria-valuetext", "step 900, the final checkpoint")
    slider.press("ArrowLeft")
    expect(snapshots.get_by_role("status")).to_contain_text(
        "Step 300, reconstruction loss 0.00333, critic's estimate 2.33."
    )
    expect_another_picture(page, final)
    assert (place(page).model, place(page).seed, place(page).label) == ("words@300", 7, "no")
    expect(snapshots.get_by_role("img", name="Curves over 900 steps of training")).to_be_visible()
    snapshots.get_by_role("button", name="Back to the final checkpoint").click()
    expect(slider).to_have_attribute("aria-valuetext", "step 900, the final checkpoint")
    assert place(page) == link
    assert pixels(page) == final


def test_all_steps_are_played_one_after_another_and_the_last_is_the_checkpoint(visit: Visit) -> None:
    page = visit("?model=words&seed=7")
    snapshots = lesson(page, TRAINING).get_by_role("group", name="Training, step by step")
    slider = snapshots.get_by_role("slider", name="Step of training")
    snapshots.get_by_role("button", name="Play all steps").click()
    for step in ("step 0", "step 300", "step 900, the final checkpoint"):
        expect(slider).to_have_attribute("aria-valuetext", step)
    expect(snapshots.get_by_role("button", name="Play all steps")).to_be_visible()
    assert place(page).seed == 7


def test_the_stages_of_a_sound_are_heard_and_leave_the_place_as_it_is(visit: Visit) -> None:
    page = visit("?model=slow&seed=7")
    before = place(page)
    stages = lesson(page, EMERGING).get_by_role("group", name="From noise to sound")
    expect(stages.locator(".stages button")).to_have_count(9)
    slider = stages.get_by_role("slider", name="Step from noise to sound")
    expect(slider).to_have_attribute("aria-valuetext", "step 8")
    page.evaluate(NOTICE)
    stages.get_by_role("button", name="step 3").click()
    expect(slider).to_have_attribute("aria-valuetext", "step 3")
    page.wait_for_function("window.noticed")
    stages.get_by_role("button", name="Play from noise").click()
    for step in ("noise", "step 1", "step 8"):
        expect(slider).to_have_attribute("aria-valuetext", step)
    expect(stages.get_by_role("button", name="Play from noise")).to_be_visible()
    assert place(page) == before


def test_a_question_waits_for_the_stages_that_answer_it(visit: Visit) -> None:
    page = visit("?model=slow&seed=7")
    held = held_calls(page, "stages")
    group = lesson(page, EMERGING).get_by_role("group", name="The first guess")
    group.get_by_role("radio", name="an average").check()
    group.get_by_role("button", name="Check").click()
    expect(group.get_by_text("One moment: the sounds are being made.")).to_be_visible()
    expect(group.get_by_text("Noise alone says nothing")).to_be_hidden()
    page.evaluate(NOTICE)
    held[0].continue_()
    expect(group.get_by_role("status")).to_contain_text("Right:")
    page.wait_for_function("window.noticed")


def test_while_a_slider_is_held_the_page_says_that_it_plays_a_draft(visit: Visit) -> None:
    page = visit("?model=slow&seed=7")
    expect(player(page).get_by_text("steps 8", exact=True)).to_be_visible()
    slider = page.get_by_role("slider", name="First number")
    slider.evaluate("element => element.scrollIntoView({ block: 'center' })")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=4)
    expect(player(page).get_by_text("steps 2, a draft")).to_be_visible()
    page.mouse.up()
    expect(player(page).get_by_text("steps 8", exact=True)).to_be_visible()
    assert place(page).offsets


def test_the_teachers_sheet_marks_the_right_answer_of_every_question_of_every_lesson(visit: Visit) -> None:
    page = visit("?model=words")
    page.get_by_role("tab", name="Learn").click()
    learn = page.get_by_role("region", name="Learn")
    page.evaluate("() => { const f = open; window.open = (...a) => Object.assign(f(...a), { print() {} }); }")
    with page.expect_popup() as opened:
        learn.get_by_role("button", name="Teacher’s sheet").click()
    sheet = opened.value
    expect(sheet.get_by_role("heading", level=2)).to_have_count(learn.locator("details").count())
    expect(sheet.get_by_text("✓")).to_have_count(learn.locator("form").count())
    expect(sheet.get_by_role("link", name="#lesson=collapse")).to_have_count(1)


def test_a_checkpoint_without_snapshots_says_so_and_the_phase_lesson_uses_another(visit: Visit) -> None:
    page = visit("?model=piano&seed=7")
    learn = lesson(page, TRAINING)
    expect(learn.get_by_text("This checkpoint has no snapshots of its training.")).to_be_visible()
    learn.locator("summary").filter(has_text=PHASE).click()
    predict(learn, "With Griffin-Lim", "hollow")
    expect(status(page)).to_contain_text("words")

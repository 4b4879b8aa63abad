"""When the server fails, is cut off, or does not answer, a visitor sees one sentence and loses nothing."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from acts import EVENTS, Visit, choose, direction, pixels, place, player, seed, status
from conftest import PATIENCE_MS
from playwright.sync_api import Browser, Page, Route, expect
from serving import free_port, offline, serving

pytestmark = pytest.mark.browser
FUNCTIONS = re.compile("/component_server/")  # requests of the page's scripts
NO_ANSWER = "The server did not answer; try again."


def fail(page: Page, what: re.Pattern[str], fault: str) -> None:
    """From now on requests end in a fault."""

    def handle(route: Route) -> None:
        if fault == "connection":
            route.abort()
        elif fault == "status":
            route.fulfill(status=500, body="Internal Server Error")
        else:
            route.fulfill(status=200, body="<html>", content_type="text/html")

    page.route(what, handle)


@pytest.mark.parametrize("fault", ["connection", "status", "content"])
def test_a_failed_move_is_reported_and_included_in_the_next_one(visit: Visit, fault: str) -> None:
    page = visit("?model=toy", faults=True)
    fail(page, FUNCTIONS, fault)
    before = pixels(page)
    direction(page, 1).press("ArrowRight")
    expect(page.get_by_role("alert")).to_have_text(NO_ANSWER)
    assert pixels(page) == before
    page.unroute(FUNCTIONS)
    direction(page, 2).press("ArrowRight")
    page.wait_for_function("JSON.parse(explorer.place()).offsets?.pc2 === 0.05")
    assert dict(place(page).offsets) == {"pc1": 0.05, "pc2": 0.05}
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.slow
def test_a_page_goes_on_where_it_was_when_its_server_is_restarted(
    browser: Browser, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "words.safetensors", tmp_path)
    port = free_port()
    command = [sys.executable, "-m", "explorer", "--checkpoints", str(tmp_path), "--port", str(port)]
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    with serving(command, port, offline(tmp_path)) as url:
        page.goto(f"{url}?model=words&seed=5")
        expect(status(page)).not_to_be_empty()
        page.evaluate("window.stillThere = true")
        direction(page, 1).press("ArrowRight")
        page.wait_for_function("JSON.parse(explorer.place()).offsets?.pc1 === 0.05")
    direction(page, 1).press("ArrowRight")
    expect(page.get_by_role("alert").filter(has_text=NO_ANSWER)).to_be_visible()
    with serving(command, port, offline(tmp_path)):
        direction(page, 2).press("ArrowRight")
        page.wait_for_function("JSON.parse(explorer.place()).offsets?.pc2 === 0.05")
        seed(page).fill("6")  # one of gradio's own controls
        expect(status(page)).to_contain_text("seed 6")
        now = place(page)
        assert (now.seed, dict(now.offsets)) == (6, {"pc1": 0.1, "pc2": 0.05})
        expect(page.get_by_role("alert")).to_have_count(0)
        assert page.evaluate("window.stillThere")
        page.close()


def test_a_failed_change_of_place_is_reported_and_the_place_stays(visit: Visit) -> None:
    page = visit("?model=toy&seed=5", faults=True)
    fail(page, EVENTS, "status")
    page.get_by_role("button", name="Random").click()
    expect(page.get_by_role("alert")).to_have_text(NO_ANSWER)
    assert place(page).seed == 5
    page.unroute(EVENTS)
    seed(page).fill("6")
    expect(status(page)).to_contain_text("seed 6")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_failed_download_is_reported_and_can_be_repeated(visit: Visit) -> None:
    page = visit("?model=toy", faults=True)
    fail(page, FUNCTIONS, "status")
    button = player(page).get_by_role("button", name="WAV", exact=True)
    button.click()
    expect(page.get_by_role("alert")).to_have_text(NO_ANSWER)
    page.unroute(FUNCTIONS)
    with page.expect_download():
        button.click()


def test_missing_pictures_are_fetched_once_the_server_answers_again(visit: Visit) -> None:
    page = visit("?model=toy&seed=1", faults=True)
    fail(page, FUNCTIONS, "status")
    page.get_by_role("tab", name="Browse").click()
    expect(page.get_by_role("alert").filter(has_text=NO_ANSWER)).to_be_visible()
    page.unroute(FUNCTIONS)
    seed(page).fill("2")
    expect(page.get_by_role("list", name="History").get_by_role("listitem")).to_have_count(2)


def test_a_repeated_mistake_is_reported_again(visit: Visit) -> None:
    page = visit("?model=toy&seed=1")
    for number in ("-5", "6", "-5"):
        seed(page).fill(number)
        if number == "-5":
            expect(page.get_by_role("alert")).to_contain_text("seed must be a whole number from 0")
        else:
            expect(page.get_by_role("alert")).to_have_count(0)


def test_a_part_of_the_page_that_does_not_load_is_reported_and_the_rest_works(visit: Visit) -> None:
    def without_places(page: Page) -> None:
        page.route(re.compile("/places.js"), lambda route: route.abort())

    page = visit("?model=toy", faults=True, before=without_places)
    page.get_by_role("tab", name="Browse").click()
    expect(page.get_by_text("This part of the page could not be loaded; reload the page.")).to_be_visible()
    choose(page, "words")
    assert place(page).model == "words"

"""What a visitor can see and do; elements are found by role and label."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, Route, expect

from explorer.recipe import Recipe

Visit = Callable[..., Page]
SERVER = re.compile("/component_server/")  # where the page calls functions of the server
EVENTS = re.compile("/run/predict")  # requests of gradio's own controls, and for the first sound
AT_HAND = ("WAV", "MIDI", "PNG")  # formats whose buttons are not in the menu


def player(page: Page) -> Locator:
    return page.get_by_role("region", name="Player")


def status(page: Page) -> Locator:
    return player(page).get_by_role("status")


def picture(page: Page) -> Locator:
    return player(page).get_by_role("img")


def pixels(page: Page) -> str:
    return str(picture(page).evaluate("canvas => canvas.toDataURL()"))


def expect_another_picture(page: Page, before: str) -> None:
    page.wait_for_function("before => document.querySelector('canvas.picture').toDataURL() !== before", arg=before)


def expect_offset(page: Page, name: str, slider: Locator) -> None:
    """Waits until the offset of the present place is the slider's value."""
    page.wait_for_function(
        "([name, x]) => JSON.parse(explorer.place()).offsets?.[name] === x", arg=[name, float(slider.input_value())]
    )


def direction(page: Page, number: int = 1) -> Locator:
    return page.get_by_role("slider", name=f"Direction {number}", exact=False).first


def seed(page: Page, name: str = "A") -> Locator:
    return page.get_by_role("spinbutton", name=f"Seed {name}")


def place(page: Page) -> Recipe:
    return Recipe.from_json(page.evaluate("explorer.place()"))


def drag(page: Page, slider: Locator, to: float) -> None:
    """Drags a slider from its middle to a share of its width."""
    slider.evaluate("element => element.scrollIntoView({ block: 'center' })")  # below the stage, which sticks
    box = slider.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * to, y, steps=12)
    page.mouse.up()


def drag_in(page: Page, box: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drags from one point to another, both in shares of the box's width and height."""
    box.evaluate("element => element.scrollIntoView({ block: 'center' })")  # below the stage, which sticks
    at = box.bounding_box()
    assert at is not None
    (x0, y0), (x1, y1) = [(at["x"] + x * at["width"], at["y"] + y * at["height"]) for x, y in (start, end)]
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=12)
    page.mouse.up()


def held_calls(page: Page, function: str, calls: re.Pattern[str] = SERVER) -> list[Route]:
    """Holds back the next call of a function of the server, in this list, until its `continue_` is called."""
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        if function.encode() in (route.request.post_data_buffer or b"") and not waiting:
            waiting.append(route)
        else:
            route.continue_()

    page.route(calls, hold)
    return waiting


def download(page: Page, name: str, folder: Path) -> Path:
    downloads = page.get_by_role("group", name="Download")
    if name not in AT_HAND:
        downloads.get_by_label("More formats").click()
    with page.expect_download() as info:
        downloads.get_by_role("button", name=name, exact=True).click()
    path = folder / info.value.suggested_filename
    info.value.save_as(path)
    return path


def choose(page: Page, model: str) -> None:
    page.get_by_role("button", name="Model: ").click()
    page.get_by_role("dialog", name="All models").get_by_role("button", name=re.compile(f"^{model}\\b")).click()
    expect(status(page)).to_contain_text(model)

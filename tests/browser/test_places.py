"""The section "Browse": favourites, history and gallery, across restarts, files, tabs and storage errors."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from acts import Visit, drag, pixels, place, player, seed, status
from playwright.sync_api import Browser, Locator, Page, expect
from serving import free_port

from explorer.engine import Engine
from explorer.files import gallery
from explorer.recipe import Recipe
from explorer.ui import serve

pytestmark = pytest.mark.browser


def places(page: Page) -> Locator:
    page.get_by_role("tab", name="Browse").click()
    return page.get_by_role("region", name="Browse")


def items(page: Page, name: str) -> Locator:
    return places(page).get_by_role("list", name=name).get_by_role("listitem")


def card(page: Page, name: str, title: str) -> Locator:
    # The button with the picture, which comes later than those that move and remove it.
    return items(page, name).get_by_role("button", name=re.compile(f"^(?!Remove |Move ).*{title}")).first


def keep(page: Page) -> None:
    page.keyboard.press("Control+s")
    expect(status(page)).to_contain_text("Kept: ")


def test_favourites_are_still_there_after_a_restart_of_the_server(browser: Browser, folder: Path) -> None:
    port = free_port()
    context = browser.new_context()

    def visit(query: str) -> tuple[Page, Callable[[], None]]:
        app = serve(Engine(folder), "127.0.0.1", port)
        page = context.new_page()
        page.goto(f"{app.local_url}{query}")
        expect(status(page)).not_to_be_empty()

        def leave() -> None:
            page.close()
            app.close()

        return page, leave

    page, leave = visit("?model=toy&seed=8&label=high&offsets.pc1=1.5")
    keep(page)
    before, shown = place(page), pixels(page)
    leave()
    page, leave = visit("?model=words")
    card(page, "Favourites", "seed 8").click()
    expect(status(page)).to_contain_text("toy · register high · seed 8")
    assert place(page) == before
    assert pixels(page) == shown
    leave()
    context.close()


def test_exported_favourites_are_the_same_places_when_imported_by_another_visitor(visit: Visit, tmp_path: Path) -> None:
    page = visit("?model=toy&seed=8&offsets.pc1=0.1")
    keep(page)
    items(page, "Favourites").get_by_role("textbox").fill("Bells")
    seed(page).fill("9")
    expect(status(page)).to_contain_text("seed 9")
    places(page).get_by_role("button", name="Keep this place").click()
    with page.expect_download() as info:
        places(page).get_by_role("button", name="Export").click()
    info.value.save_as(tmp_path / "favourites.json")
    kept = gallery.loads((tmp_path / "favourites.json").read_text(encoding="utf-8"))
    assert [(p.name, p.recipe.seed) for p in kept] == [("toy · register low · seed 9 · pc1 +0.1", 9), ("Bells", 8)]

    other = visit("?model=words")
    for words in ("2 of 2 places added", "0 of 2 places added to the favourites; the rest were there already"):
        with other.expect_file_chooser() as chooser:
            places(other).get_by_role("button", name="Import").click()
        chooser.value.set_files(tmp_path / "favourites.json")
        expect(status(other)).to_contain_text(words)
    expect(items(other, "Favourites")).to_have_count(2)
    card(other, "Favourites", "Bells").click()
    expect(status(other)).to_contain_text("seed 8")
    assert place(other) == kept[1].recipe


def test_a_broken_file_of_places_is_refused_in_a_sentence(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "favourites.json"
    path.write_text('{"version": 1, "places": [{"name": "x"}]}')
    page = visit("?model=toy")
    page.get_by_test_id("Open a saved file-upload-button").set_input_files(path)
    expect(page.get_by_role("alert")).to_contain_text("favourites.json: place 1: a recipe is an object")


def test_a_favourite_of_unknown_weights_says_so(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "favourites.json"
    path.write_text(gallery.dumps([gallery.NamedRecipe("Lost", Recipe("toy", weights="0123456789ab"))]))
    page = visit("?model=toy")
    page.get_by_test_id("Open a saved file-upload-button").set_input_files(path)
    expect(status(page)).to_contain_text("1 of 1 places added")
    expect(card(page, "Favourites", "Lost")).to_be_disabled()
    expect(items(page, "Favourites")).to_contain_text("made with weights 0123456789ab of 'toy'")


def test_a_favourite_that_was_removed_can_be_put_back(visit: Visit) -> None:
    page = visit("?model=toy&seed=8")
    keep(page)
    items(page, "Favourites").get_by_role("button", name="Remove").press("Enter")
    expect(page.get_by_role("textbox", name="Name of toy")).to_have_count(0)
    expect(page.get_by_role("button", name="Put back")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card(page, "Favourites", "seed 8")).to_be_visible()


def test_a_favourite_is_moved_by_keys_and_stays_there_in_another_visit_and_in_an_export(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit("?model=toy&seed=1")
    three = [gallery.NamedRecipe(name, Recipe("toy", seed=seed)) for seed, name in enumerate(("One", "Two", "Three"))]
    (tmp_path / "three.json").write_text(gallery.dumps(three))
    page.get_by_test_id("Open a saved file-upload-button").set_input_files(tmp_path / "three.json")
    earlier = items(page, "Favourites").get_by_role("button", name="Move Three earlier")
    earlier.focus()
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Three: 2 of 3")
    expect(earlier).to_be_focused()
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Three: 1 of 3")
    expect(earlier).to_be_focused()
    expect(earlier).to_be_disabled()
    page.keyboard.press("Enter")  # to no effect
    page.reload()
    expect(items(page, "Favourites")).to_have_count(3)
    with page.expect_download() as info:
        places(page).get_by_role("button", name="Export").click()
    kept = gallery.loads(Path(info.value.path()).read_text(encoding="utf-8"))
    assert [place.name for place in kept] == ["Three", "One", "Two"]


def test_going_to_a_place_of_the_history_can_be_undone(visit: Visit) -> None:
    page = visit("?model=toy&seed=8")
    seed(page).fill("9")
    expect(status(page)).to_contain_text("seed 9")
    card(page, "History", "seed 8").press("Enter")
    expect(status(page)).to_contain_text("seed 8")
    page.keyboard.press("Control+z")
    expect(status(page)).to_contain_text("seed 9")


def test_a_newcomer_finds_the_gallery_open(visit: Visit) -> None:
    page = visit("")
    expect(page.get_by_role("tab", name="Shape")).to_have_attribute("aria-selected", "true")
    card(page, "Gallery", "Seed 5").click()
    expect(status(page)).to_contain_text("seed 5")


def test_stored_places_that_cannot_be_read_are_set_aside_and_can_be_saved(visit: Visit, tmp_path: Path) -> None:
    page = visit("?model=toy&seed=8")
    whole = {"name": "Whole", "recipe": {"version": 1, "model": "toy", "seed": 3}}
    text = json.dumps({"version": 1, "places": [whole, {"name": "No recipe"}]})
    page.evaluate("text => localStorage.setItem('latent-explorer.favourites', text)", text)
    page.reload()
    expect(player(page).get_by_role("alert")).to_contain_text("favourites stored in this browser cannot be read")
    expect(card(page, "Favourites", "Whole")).to_be_enabled()
    with page.expect_download() as info:
        places(page).get_by_role("button", name="Save the damaged list").click()
    assert Path(info.value.path()).read_text(encoding="utf-8") == text


def test_a_browser_that_cannot_store_says_so_and_places_last_until_the_page_closes(visit: Visit) -> None:
    page = visit("?model=toy&seed=8")
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); };")
    page.reload()
    expect(player(page).get_by_role("alert")).to_contain_text("cannot store more places (QuotaExceededError)")
    keep(page)
    expect(card(page, "Favourites", "seed 8")).to_be_visible()
    expect(places(page).get_by_role("alert")).to_contain_text("Export them")


def test_hold_the_others_keeps_the_sound_and_is_checked_from_a_link(visit: Visit) -> None:
    page = visit("?model=steered")
    hold = page.get_by_role("checkbox", name="Hold the others")
    drag(page, page.get_by_role("slider", name="Register", exact=False).first, 0.7)
    expect(status(page)).to_contain_text("register +")
    before = place(page)
    hold.check()  # the variant points elsewhere
    expect(page.get_by_role("alert")).to_contain_text("cannot make this sound")
    assert place(page) == before
    again = visit("?model=steered&offsets.register-only=1")
    expect(again.get_by_role("checkbox", name="Hold the others")).to_be_checked()


def test_nine_variations_are_heard_by_keys_starred_and_gone_on_from(visit: Visit) -> None:
    page = visit("?model=toy&seed=8&label=high")
    places(page).get_by_role("button", name="Nine like this").click()
    nine = page.get_by_role("list", name="Variations").get_by_role("listitem")  # `items` would click the section's name
    expect(nine.get_by_role("button", name="Keep")).to_have_count(10)
    origin = card(page, "Variations", "This")
    expect(origin).to_have_attribute("aria-current", "true")
    origin.focus()
    page.keyboard.press("3")
    expect(status(page)).to_contain_text("mix of seeds")
    third = nine.nth(3)
    expect(third.get_by_role("button", name=re.compile(" 3$"))).to_be_focused()
    expect(third.get_by_role("button", name=re.compile(" 3$"))).to_have_attribute("aria-current", "true")
    page.wait_for_function("explorer.speaker.playing")
    varied = place(page)
    assert 8 in dict(varied.mix)
    assert varied.label == "high"
    page.keyboard.press("ArrowRight")
    expect(nine.nth(4).get_by_role("button", name=re.compile(" 4$"))).to_be_focused()
    third.get_by_role("button", name="Keep").click()
    card(page, "Favourites", "mix of seeds").click()
    page.wait_for_function("place => explorer.place() === place", arg=varied.to_json())
    places(page).get_by_role("button", name="Nine like this").click()
    expect(card(page, "Variations", "This")).to_have_attribute("aria-current", "true")
    both = r"\b.*\b".join(str(seed) for seed, _ in varied.mix)
    expect(nine.last.get_by_role("button", name=re.compile(rf"Keep .*\b{both}"))).to_be_visible()


def test_a_card_that_is_pressed_is_heard_even_after_stop(visit: Visit) -> None:
    page = visit("?model=toy&seed=8")
    for name in ("Play", "Stop"):
        player(page).get_by_role("button", name=name, exact=True).click()
    seed(page).fill("9")
    expect(status(page)).to_contain_text("seed 9")
    assert not page.evaluate("explorer.speaker.playing")
    card(page, "History", "seed 8").click()
    page.wait_for_function("explorer.speaker.playing")

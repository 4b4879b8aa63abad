"""Markup in links and files made by strangers is shown as text, and never runs."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from acts import Visit, status
from playwright.sync_api import expect

from explorer.files.gallery import NamedRecipe, dumps
from explorer.recipe import Recipe

pytestmark = pytest.mark.browser
MARKUP = [
    "<img src=x onerror='window.ran=1'>",
    "<script>window.ran=1</script>",
    "<svg onload='window.ran=1'>",
    "javascript:window.ran=1",
    "{{ window.ran = 1 }}",
    "${window.ran=1}",
]


@pytest.mark.parametrize("field", ["model=", "model=toy&label=", "model=toy&seed=", "model=toy&offsets."])
def test_markup_in_a_link_does_not_run(visit: Visit, field: str) -> None:
    for text in MARKUP:
        page = visit(f"?{field}{quote(text)}=1", faults=True)
        expect(page.get_by_role("alert")).to_contain_text("This link cannot be played")
        assert page.evaluate("window.ran") is None


def test_markup_in_a_file_of_places_does_not_run(visit: Visit, tmp_path: Path) -> None:
    places = [NamedRecipe(text, Recipe(text if i % 2 else "toy", seed=i)) for i, text in enumerate(MARKUP)]
    (tmp_path / "places.json").write_text(dumps(places), encoding="utf-8")
    page = visit("?model=toy", faults=True)
    page.get_by_test_id("Open a saved file-upload-button").set_input_files(tmp_path / "places.json")
    expect(status(page)).to_contain_text(f"{len(MARKUP)} of {len(MARKUP)} places added")
    assert page.evaluate("window.ran") is None


def test_markup_in_a_files_recipe_does_not_run(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "place.json").write_text(json.dumps({"model": MARKUP[0], "label": MARKUP[1]}), encoding="utf-8")
    page = visit("?model=toy", faults=True)
    page.get_by_test_id("Open a saved file-upload-button").set_input_files(tmp_path / "place.json")
    expect(page.get_by_role("alert")).to_contain_text("no checkpoint")
    assert page.evaluate("window.ran") is None

"""axe-core finds no serious problem in any tab."""

import pytest
from acts import Visit
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab", ["Shape", "Morph", "Browse", "Learn", "Advanced"])
@pytest.mark.parametrize("model", ["piano", "words"])
def test_axe_finds_nothing_serious(visit: Visit, scheme: str, tab: str, model: str) -> None:
    page = visit(f"?model={model}", color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("tab", name=tab).click()
    expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    # Opens every folded part; without the attribute `name` several lessons can be open at a time.
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.removeAttribute('name'); d.open = true; })")
    found = Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in serious] == []

"""Takes the pictures of the app that the README shows.

    python tests/browser/screenshots.py [--checkpoints DIR] [--models NAME ...] [--views VIEW ...] [--out docs]

`explorer.png` is the page as it opens on a desktop; then every view of every checkpoint, MODEL-VIEW-SCREEN-SCHEME.png,
light and dark, desktop and phone.
"""

import argparse
import shutil
from itertools import product
from pathlib import Path
from typing import Literal

from acts import status
from playwright.sync_api import ViewportSize, expect, sync_playwright

from explorer.engine import Engine
from explorer.shelf import DEFAULT_FOLDER, snapshots
from explorer.ui import serve

# Sections, with the least number of cards that each shows.
VIEWS = {"Shape": 0, "Morph": 0, "Browse": 9, "Learn": 0}
LESSON = "Generator and critic"  # the lesson that is opened in `Learn`
SCREENS: dict[str, ViewportSize] = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--models", nargs="+", help="default: all")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    engine = Engine(args.checkpoints)
    app = serve(engine, "127.0.0.1")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for model, screen, scheme in product(args.models or engine.names(), SCREENS, SCHEMES):
            page = browser.new_page(
                viewport=SCREENS[screen], color_scheme=scheme, device_scale_factor=1.5, reduced_motion="reduce"
            )
            page.goto(f"{app.local_url}?model={model}&seed={args.seed}")
            expect(status(page)).to_contain_text(model, timeout=60_000)
            for view in args.views:
                page.get_by_role("tab", name=view).click()
                if view == "Learn":
                    page.locator("summary").filter(has_text=LESSON).click()
                pictures = VIEWS[view] + (len(snapshots(args.checkpoints, model)) if view == "Learn" else 0)
                if pictures:
                    expect(page.locator(".tabitem .card canvas:visible").nth(pictures - 1)).to_be_visible(
                        timeout=60_000
                    )
                expect(page.locator("[aria-busy=true]:visible")).to_have_count(0, timeout=60_000)
                # What the view is about comes to lie right under the stage, which stays in sight.
                if view == "Shape":
                    page.evaluate("scrollTo(0, 0)")
                else:
                    shown = page.locator("details[open] > summary" if view == "Learn" else "[role=tablist]").first
                    shown.evaluate("element => element.scrollIntoView()")
                page.screenshot(path=args.out / f"{model}-{view.lower()}-{screen}-{scheme}.png")
            page.close()
        page = browser.new_page(viewport=SCREENS["desktop"], device_scale_factor=1.5, reduced_motion="reduce")
        page.goto(f"{app.local_url}")
        expect(status(page)).to_contain_text("seed", timeout=60_000)
        expect(page.locator("[aria-busy=true]:visible")).to_have_count(0, timeout=60_000)
        page.screenshot(path=args.out / "explorer.png")
        browser.close()
    app.close()


if __name__ == "__main__":
    main()

"""Takes the pictures of the app that the README shows.

    python tests/browser/screenshots.py [--checkpoints DIR] [--out docs]

`explorer.png` is the first checkpoint on a desktop; then one of each checkpoint, light and dark, desktop and phone.
"""

import argparse
import shutil
from pathlib import Path

from acts import status
from playwright.sync_api import expect, sync_playwright

from explorer.checkpoint import DEFAULT_FOLDER
from explorer.engine import Engine
from explorer.ui import serve

SCREENS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    engine = Engine(args.checkpoints)
    app = serve(engine, "127.0.0.1")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for number, model in enumerate(engine.names()):
            for screen, viewport in SCREENS.items():
                for scheme in ("light", "dark"):
                    page = browser.new_page(viewport=viewport, color_scheme=scheme, device_scale_factor=1.5,
                                            reduced_motion="reduce")
                    page.goto(f"{app.local_url}?model={model}&seed={args.seed}")
                    expect(status(page)).to_contain_text(model, timeout=60_000)
                    page.screenshot(path=args.out / f"{model}-{screen}-{scheme}.png", full_page=screen == "phone")
                    page.close()
            if number == 0:
                shutil.copy(args.out / f"{model}-desktop-light.png", args.out / "explorer.png")
        browser.close()
    app.close()


if __name__ == "__main__":
    main()

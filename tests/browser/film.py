"""Takes the moving picture that the README begins with: sliders move, and the picture of the sound follows.

python tests/browser/film.py [--model maestro-piano] [--seed 7] [--out docs/explorer.webp]
"""

import argparse
import io
import math
import shutil
from pathlib import Path

from acts import status
from PIL import Image
from playwright.sync_api import ViewportSize, expect, sync_playwright

from explorer.engine import Engine
from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import serve

FRAMES, MILLISECONDS = 14, 110  # of each slider's way there and back; time that a frame is shown
SLIDERS, REACH = 3, 2.5  # how many move, one after the other, and how far
SIZE: ViewportSize = {"width": 1000, "height": 860}
QUALITY = 50
MOVE = """([number, value]) => {
    const input = document.querySelector(`#live-direction${number} input[type=range]`);
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="maestro-piano")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/explorer.webp"))
    args = parser.parse_args()
    app = serve(Engine(DEFAULT_FOLDER), "127.0.0.1")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    frames = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE, color_scheme="dark", reduced_motion="reduce")
        page.goto(f"{app.local_url}?model={args.model}&seed={args.seed}")
        expect(status(page)).to_contain_text(args.model, timeout=60_000)
        expect(page.locator("[aria-busy=true]:visible")).to_have_count(0, timeout=60_000)
        for number in range(SLIDERS):
            for frame in range(FRAMES):
                value = round(REACH * math.sin(2 * math.pi * (frame + 1) / FRAMES), 1)
                page.evaluate(MOVE, [number, value])
                page.wait_for_function(
                    "([number, value]) => (explorer.shown().place.offsets"
                    "[Object.keys(explorer.shown().place.offsets)[0]] ?? 0) === value",
                    arg=[number, value],
                    timeout=60_000,
                )
                frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    app.close()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames
    first.save(args.out, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=QUALITY, method=4)


if __name__ == "__main__":
    main()

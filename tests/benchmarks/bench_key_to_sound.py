"""Measures how soon a key is heard, in a real Chromium. `python tests/benchmarks/bench_key_to_sound.py [--places 20]`

Over places, each in a new page, it prints median and 95th percentile of the milliseconds from the browser's keydown
event to the start of the key's tone in Web Audio, which the latency of the audio device follows:

    first      the first key of a page, where Web Audio has to wake up
    unfetched  a key far from the first, pressed while the keys near it are being fetched
    fetched    keys whose tones are there
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2]))

from explorer.engine import Engine
from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import serve

OPTIONS = ("--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")
TARGETS = {"first": None, "unfetched": 80, "fetched": 15}  # ms, 95th percentile
FIRST, FAR, FETCHED = "KeyA", "KeyK", ("KeyS", "KeyD", "KeyF", "KeyG", "KeyH", "KeyJ")
PATIENCE_MS = 60_000

WATCH = """
    window.log = { pressed: null, late: [] };
    addEventListener("keydown", ({ timeStamp }) => { log.pressed = timeStamp; }, true);
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (...when) {
        if (log.pressed !== null) log.late.push(performance.now() - log.pressed);
        log.pressed = null;
        return start.apply(this, when);
    };
"""


def press(page: Page, code: str) -> float:
    """Milliseconds until the tone of a key starts."""
    count = page.evaluate("log.late.length")
    page.keyboard.down(code)
    page.wait_for_function("(count) => log.late.length > count", arg=count, timeout=PATIENCE_MS, polling=10)
    page.keyboard.up(code)
    late: float = page.evaluate("log.late.at(-1)")
    return late


def measure(browser: Browser, url: str, keys: int) -> dict[str, list[float]]:
    """The times at one place, with an empty cache of the page."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_function("window.keysPanel && window.explorer?.place()", timeout=PATIENCE_MS)
    page.get_by_role("region", name="Keys").wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(1000)  # the sound of the place itself is there
    found = {"first": [press(page, FIRST)]}
    before = page.evaluate("keysPanel.here().length")
    found["unfetched"] = [press(page, FAR)] if before < keys // 2 else []
    page.wait_for_function("(keys) => keysPanel.here().length === keys", arg=keys, timeout=PATIENCE_MS)
    found["fetched"] = [press(page, code) for code in FETCHED]
    context.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--model", default="timbres")
    parser.add_argument("--places", type=int, default=20)
    args = parser.parse_args()
    engine = Engine(args.checkpoints)
    condition = engine.model(args.model).generator.condition
    assert condition is not None
    app = serve(engine, "127.0.0.1")
    found: dict[str, list[float]] = {name: [] for name in TARGETS}
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        for seed in range(args.places):
            url = f"{app.local_url}?model={args.model}&seed={seed}"
            for name, times in measure(browser, url, len(condition.labels)).items():
                found[name] += times
        browser.close()
    app.close()
    for name, times in found.items():
        if times:
            target = f"   target {TARGETS[name]} ms" if TARGETS[name] else ""
            median, p95 = np.percentile(times, [50, 95])
            print(f"{name:10} {len(times):4} keys   median {median:5.0f} ms   p95 {p95:5.0f} ms{target}")


if __name__ == "__main__":
    main()

"""The app with small untrained generators, and pages in a real Chromium that must log no errors.

Without a Chromium these tests are skipped; with CI=true they fail instead.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from acts import Visit, status
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from toy import make, write
from toy_poor import write as write_poor

from explorer import checkpoint
from explorer.directions import Direction, principal
from explorer.engine import Engine
from explorer.generators import FAMILIES
from explorer.generators.pianogan import PianoGANConfig
from explorer.generators.spectogan import SpectoGANConfig
from explorer.ui import serve

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
SMALL = {
    "piano": ("pianogan", PianoGANConfig(latent_size=32, code_size=16, width=16, blocks=3, decoder_width=16)),
    "words": ("spectogan", SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("yes", "no"))),
}
PATIENCE_MS = 30_000  # so that a busy machine is no failure
# Makes the output for the loudspeaker available to tests. For the browser, what Playwright looks up is an act of the
# visitor, after which pages may play; here only pointers and keys are.
LISTEN = """
    let active = false;
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, () => { active = true; }, { capture: true });
    Object.defineProperty(navigator, "userActivation", { value: { get hasBeenActive() { return active; } } });
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...rest) {
        if (to instanceof AudioDestinationNode) {
            window.heard = new AnalyserNode(this.context, { fftSize: 32768 });
            connect.call(this, window.heard);
        }
        return connect.call(this, to, ...rest);
    };
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, (family, config) in SMALL.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            generator = FAMILIES[family](config).eval()
        directions = principal(generator, count=8, samples=64)
        checkpoint.save(folder / f"{name}.safetensors", generator, directions=directions)
    write(folder, "toy")
    write_poor(folder, "poor")
    vectors = torch.eye(make().latent.size)
    held = Direction("register", vectors[0], "Register"), Direction("register-only", vectors[1], "Register only")
    checkpoint.save(folder / "steered.safetensors", make(), directions=held)
    write(folder, "untold", seed=5)  # only visited by the test of the search for directions
    (folder / "broken.safetensors").write_bytes(b"cut short")
    return folder


@pytest.fixture(scope="session")
def url(folder: Path) -> Iterator[str]:
    app = serve(Engine(folder), "127.0.0.1")
    assert app.local_url
    yield app.local_url
    app.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and os.environ.get("CI") != "true":
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on the PATH")
    assert path, "CI needs a Chromium"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Opens the app as a new visitor, at a recipe's query, and waits until it shows a sound; options are those
    of a browser context. With `faults` the browser may complain that it could not load something; `before` is called
    with the page before it is opened."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(
        query: str, faults: bool = False, before: Callable[[Page], None] | None = None, **options: Any
    ) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(LISTEN)
        page = context.new_page()
        if not faults:
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda r: complaints.append(f"asks {r.url}") if not r.url.startswith((url, "data:", "blob:")) else None,
        )
        if before is not None:
            before(page)
        page.goto(url + query)
        expect(status(page)).not_to_be_empty()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []

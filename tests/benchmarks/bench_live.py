"""Measures the time from a slider to picture and sound, in a real Chromium, while the slider is dragged.

    python tests/benchmarks/bench_live.py [--checkpoints DIR] [--moves 120] [--visitors 8]

For each checkpoint it prints median and 95th percentile, in milliseconds, of the time from the browser's input event

    answer    to the server's answer in the page
    picture   to the new picture painted: the frame after it was drawn
    sound     to the new sound ready to be played

then the same for an app with gradio's usual components (gr.Plot with a matplotlib figure and gr.Audio, with sound from
librosa's inversion of the mel spectrogram or the whole synthesised piece), and last, while several visitors drag at
once, the time until each of them has the place of the last position of the slider.
"""

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from explorer import engine as module
from explorer.directions import Direction
from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import serve

OPTIONS = ("--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")
STEP_MS = 33  # between two positions of the pointer

# Notes [time, value of the slider] of each input event, and of each answer, picture and sound; DIRECTION is its name.
WATCH = """
    window.log = { input: [], answer: [], picture: [], sound: [] };
    addEventListener("input", (event) => log.input.push([performance.now(), Number(event.target.value)]), true);
    const mark = performance.mark.bind(performance);
    performance.mark = (name, ...rest) => {
        const stage = name.replace("explorer:", ""), value = JSON.parse(explorer.place()).offsets?.[DIRECTION] ?? 0;
        const note = () => log[stage].push([performance.now(), value]);
        if (stage === "picture") requestAnimationFrame(() => setTimeout(note));
        else note();
        return mark(name, ...rest);
    };
"""
# The same of gradio's own components, beside which a number tells what value they show.
WATCH_USUAL = """
    window.log = { input: [], picture: [], sound: [] };
    addEventListener("input", (event) => log.input.push([performance.now(), Number(event.target.value)]), true);
    const note = (stage) => log[stage].push([performance.now(), Number(document.querySelector("#shown input").value)]);
    document.addEventListener("load", (event) => { if (event.target.tagName === "IMG") note("picture"); }, true);
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (/file=.*\\.wav/.test(entry.name)) note("sound");
    }).observe({ type: "resource" });
"""


def first_slider(page: Page, direction: Direction) -> Locator:
    return page.get_by_role("slider", name=direction.title, exact=False).first


def drag(page: Page, slider: Locator, moves: int, step_ms: float = STEP_MS) -> None:
    """Drags a slider to and fro."""
    box = slider.bounding_box()
    assert box is not None
    y, middle = box["y"] + box["height"] / 2, box["x"] + box["width"] / 2
    page.mouse.move(middle, y)
    page.mouse.down()
    for i in range(moves):
        page.mouse.move(middle + 0.4 * box["width"] * np.sin(i / 6), y)
        time.sleep(step_ms / 1000)
    page.mouse.up()


Log = dict[str, list[tuple[float, float]]]


def delays(log: Log, stage: str) -> list[float]:
    """For each move the ms until it, or a later one, has reached a stage.

    The slider takes the same values again and again, but answers arrive in the order of the moves.
    """
    arrived, move = [], -1
    for end, value in log[stage]:
        asked = [i for i, (start, x) in enumerate(log["input"]) if i > move and start < end and abs(x - value) < 1e-9]
        if asked:
            move = asked[0]
            arrived.append((end, move))
    ends = [next((end for end, move in arrived if move >= i), None) for i in range(len(log["input"]))]
    return [end - start for (start, _), end in zip(log["input"], ends, strict=True) if end is not None]


def report(name: str, log: Log) -> None:
    for stage in list(log)[1:]:
        times = delays(log, stage)
        if times:
            print(
                f"  {name:24} {stage:8} median {statistics.median(times):7.1f}   p95 {np.percentile(times, 95):7.1f}"
                f"   ({len(log[stage])} of {len(log['input'])} moves)"
            )
        else:
            print(f"  {name:24} {stage:8} never came")


def measure(browser: Browser, url: str, watch: str, direction: Direction, moves: int, play: bool) -> Log:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(watch.replace("DIRECTION", json.dumps(direction.name)))
    page = context.new_page()
    page.goto(url)
    slider = first_slider(page, direction)
    slider.wait_for()
    page.wait_for_timeout(2000)
    if play:
        page.get_by_role("button", name="Play", exact=True).click()
        page.get_by_role("button", name="Stop").wait_for(timeout=60_000)
    drag(page, slider, moves // 4)  # warms up
    page.wait_for_timeout(1500)
    page.evaluate("Object.values(log).forEach((times) => times.splice(0))")
    drag(page, slider, moves)
    page.wait_for_timeout(5000)
    log: Log = page.evaluate("log")
    context.close()
    return log


def usual(engine: Engine, model: str, direction: Direction) -> Any:
    """The app written with gradio's usual components."""
    import gradio as gr
    import librosa
    from matplotlib.figure import Figure

    def update(amount: float) -> tuple[float, Figure, tuple[int, np.ndarray]]:
        sound = engine.render(Recipe(model, offsets=((direction.name, amount),)))
        figure = Figure(figsize=(8, 4))
        axes = figure.add_subplot()
        if sound.notes is not None:
            axes.barh(
                [n.pitch for n in sound.notes], [n.duration for n in sound.notes], left=[n.onset for n in sound.notes]
            )
            return amount, figure, (sound.sample_rate, sound.waveform)
        if sound.log_mel is None:
            axes.specgram(sound.waveform, Fs=sound.sample_rate)
            return amount, figure, (sound.sample_rate, sound.waveform)
        axes.imshow(sound.log_mel.values, origin="lower", aspect="auto")
        c = engine.model(model).generator.representation.config  # type: ignore[attr-defined]
        waveform = librosa.feature.inverse.mel_to_audio(
            np.exp(sound.log_mel.values), sr=sound.sample_rate, n_fft=c.n_fft, hop_length=c.hop_length, power=1.0
        )
        return amount, figure, (sound.sample_rate, waveform)

    with gr.Blocks(analytics_enabled=False) as app:
        slider = gr.Slider(-4, 4, 0, step=0.05, label=direction.title)
        shown = gr.Number(elem_id="shown")
        slider.input(update, slider, [shown, gr.Plot(format="png"), gr.Audio()], trigger_mode="always_last")
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    return app


def crowd(browser: Browser, url: str, direction: Direction, visitors: int, moves: int) -> list[float]:
    """All visitors drag at once; returns for each one the ms from the last move to its picture."""
    pages = []
    for seed in range(visitors):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_init_script(WATCH.replace("DIRECTION", json.dumps(direction.name)))
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.goto(f"{url}&seed={seed}")
        first_slider(page, direction).wait_for()
        pages.append(page)
    pages[0].wait_for_timeout(2000)
    hand = """([moves, step]) => new Promise((done) => {
        const slider = document.querySelector(".offset input[type=range]");
        let i = 0;
        const timer = setInterval(() => {
            slider.value = 3 * Math.sin(++i / 6);
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            if (i === moves) { clearInterval(timer); done(); }
        }, step);
    })"""
    for page in pages:
        page.evaluate(f"args => {{ window.hand = ({hand})(args); }}", [moves, STEP_MS])
    waits = []
    for page in pages:
        page.evaluate("hand")
        page.wait_for_function(
            "name => Math.abs(JSON.parse(explorer.place()).offsets?.[name]"
            " - document.querySelector('.offset input[type=range]').value) < 1e-9",
            arg=direction.name,
        )
        page.wait_for_timeout(300)
        log = page.evaluate("log")
        waits.append(log["picture"][-1][0] - log["input"][-1][0])
        page.context.close()
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--moves", type=int, default=120)
    parser.add_argument("--visitors", type=int, default=8)
    args = parser.parse_args()
    module.CACHED_SOUNDS = 1  # the benchmark repeats the same few values, which visitors seldom do
    engine = Engine(args.checkpoints)
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    app = serve(engine, "127.0.0.1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        for model in engine.names():
            url, direction = f"{app.local_url}?model={model}", engine.model(model).directions[0]
            print(model)
            report("this app", measure(browser, url, WATCH, direction, args.moves, play=True))
            plain = usual(engine, model, direction)
            report(
                "gr.Plot and gr.Audio",
                measure(browser, plain.local_url, WATCH_USUAL, direction, args.moves, play=False),
            )
            plain.close()
            if args.visitors:
                waits = crowd(browser, url, direction, args.visitors, args.moves)
                print(
                    f"  {args.visitors} visitors at once: the last position is shown after "
                    f"{statistics.median(waits):.0f} ms (median), {max(waits):.0f} ms (the slowest)"
                )
        browser.close()
    app.close()


if __name__ == "__main__":
    main()

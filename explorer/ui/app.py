"""The app: its controls, what each of them does, and how it is served.

While a slider moves, the page's script sends the new recipe straight to the server. Every other control sends the
page's recipe and the values of all controls through gradio. The answer is a new recipe with its picture and its sound
for the player, which is one component with canvas and Web Audio. The server keeps no state of a visitor.
"""

import asyncio
import functools
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import utils
from gradio.components import Component
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from explorer.engine import Engine
from explorer.files import formats, kits, readers
from explorer.kit import MAX_SECONDS, Kit
from explorer.recipe import Recipe, RecipeError
from explorer.song import Song
from explorer.sound import synth
from explorer.ui import handlers, models, places
from explorer.ui.api import MCP, Api, speak_mcp
from explorer.ui.between import MorphServer
from explorer.ui.cache import KEPT_SECONDS, FileCache
from explorer.ui.handlers import CONTROLS, DIRECTION_SLIDERS, LIVE_SLIDERS, RAW_SLIDERS, REACH, SETTINGS, SLIDERS, STEP
from explorer.ui.keys import KeyServer
from explorer.ui.kits import KitServer, as_json
from explorer.ui.learn import Lessons
from explorer.ui.limits import MAX_UPLOAD, Limits, Newest, fetch_nothing, is_loopback
from explorer.ui.panels import PICTURES_AT_ONCE, Queue, checked_list, error_message, panel, saved, server_function
from explorer.ui.scripts import PAGE, scripts, template

Controls = dict[str, Any]  # by name; gradio gives components their events as they are made, unseen by mypy

FILES = "files"  # the folder of the cache, in gradio's own
DEFAULT_HOST = "127.0.0.1"  # gradio's
MOVES_AT_ONCE = 2  # slider moves of all visitors: more at once would only slow each of them down
SAVES_AT_ONCE = 2  # the WAV of a long piece takes a core for a second
APPRAISALS_AT_ONCE = 1  # some milliseconds each, unless the sound has to be computed again
EVENTS_AT_ONCE = 4  # of the other controls, of all visitors
MOVES_WAITING = 256  # one for each visitor who drags a slider
LIVE_SECONDS = 60.0  # that a move may wait: then the page has given it up
CALLS_WAITING = 32  # of programs, for the API
SESSIONS = 256  # pages and programs of which gradio keeps what it does not need again: some 100 kB for each
# Events send the recipe that the page holds or has just asked for, in place of the hidden first input.
WITH_PLACE = "(_, ...values) => [window.explorer ? explorer.sends() : location.search, ...values]"
TO_DESTINATION = "(_, ...values) => [explorer.sendsDestination(), ...values]"  # the recipe that `go` was called with
TO_MODEL = "(_, __, ...values) => [explorer.sends(), explorer.sendsDestination(), ...values]"
FAILED = "() => window.explorer?.failed()"
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # the system's, so none is fetched
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")


def serve(
    engine: Engine, host: str | None = None, port: int | None = None, share: bool = False, mcp: bool = False
) -> gr.Blocks:
    """Starts the app in background threads and returns it; `close()` ends it.

    Args:
        host, port: None for what gradio's environment variables say, or else its defaults.
        share: open a public link through gradio's servers.
        mcp: also serve the API over MCP, as gradio's environment variable may ask for too.
    Raises:
        ImportError: if it shall serve MCP and the package `mcp` is not installed.
    """
    if mcp := mcp or os.environ.get(MCP, "").lower() == "true":
        speak_mcp()
    cache = FileCache(Path(utils.get_upload_folder()) / FILES)
    app = build(engine, cache)
    fetch_nothing()
    loopback = not share and is_loopback(host or os.environ.get("GRADIO_SERVER_NAME") or DEFAULT_HOST)
    app.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        theme=_theme(),
        css_paths=[PAGE / "style.css"],
        app_kwargs={
            "routes": [scripts().route(), cache.route(), Mount("/samples", StaticFiles(directory=synth.SAMPLES))],
            "middleware": [Middleware(Limits, loopback=loopback)],
        },
        footer_links=["api", "settings"],
        max_file_size=MAX_UPLOAD,
        state_session_capacity=SESSIONS,
        ssr_mode=False,
        run_history=False,  # would copy every move of a slider into the browser's storage
        mcp_server=mcp,
        _frontend=False,  # otherwise it ends if its own page needs more than 3 s, as on a busy machine
    )
    # Not sooner: gradio gives up a server that needs more than 5 s to start.
    threading.Thread(target=_prepare, args=(engine,), daemon=True).start()
    return app


def _prepare(engine: Engine) -> None:
    """Computes the sound that a page opens with, so that the first visitor need not wait for its model; then does what
    other models would wait for."""
    with suppress(Exception):  # the page will say what is wrong
        handlers.show(engine, handlers.make_view(engine, handlers.default_recipe(engine)))
        engine.warm_up()


def _theme() -> gr.themes.Base:
    """Gradio's base theme with colours that give every text a contrast of at least 4.5 to 1."""
    theme: gr.themes.Base = gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        font=list(FONT),
        font_mono=list(MONO),
    ).set(
        color_accent="*primary_700",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_300",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_200",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
    )
    return theme


def build(engine: Engine, cache: FileCache | None = None) -> gr.Blocks:
    """Builds the app; a page asks for its first sound when it is opened. Files of visitors go to the cache."""
    cache = cache or FileCache(Path(utils.get_upload_folder()) / FILES)

    def presets(_: Any) -> dict[str, Any]:
        return {"models": models.described(engine)}

    with gr.Blocks(title="Latent Explorer", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as app:
        place = gr.Textbox(visible=False)
        with gr.Row(elem_id="head"):
            gr.HTML("<h1>Latent Explorer</h1>")
            panel("models", engine, (server_function(presets, 1),))
        with gr.Column(elem_id="instrument"):
            player = _player(engine)
            controls = _morph_controls(engine) | _sections(engine)
            panel(
                "keys",
                engine,
                KeyServer(engine, cache).functions(),
                touch={
                    "velocity_exponent": synth.VELOCITY_EXPONENT,
                    "release": synth.RELEASE,
                    "release_length": synth.RELEASE_LENGTH,
                },
            )
            panel("pads", engine, KitServer(engine).functions(), max_seconds=MAX_SECONDS)
        _connect(app, engine, cache, place, player, controls)
        Api(engine, cache).add()
    app.queue(max_size=CALLS_WAITING)
    # What is kept until a call's answer is fetched; gradio keeps those of 2,000 sessions, and the names of all.
    app._queue.pending_messages_per_session = Newest(SESSIONS, asyncio.Queue)
    app._queue.pending_event_ids_session = Newest(SESSIONS, set)
    return app


def _player(engine: Engine) -> gr.HTML:
    def lead(recipe: Any) -> dict[str, Any]:
        return handlers.show(engine, handlers.make_view(engine, handlers.read(recipe)), draft=True)

    def rest(recipe: Any) -> dict[str, Any]:
        return handlers.show(engine, handlers.make_view(engine, handlers.read(recipe)))

    def save(request: Any) -> dict[str, str]:
        """Takes [recipe, format], and for MIDI on a grid [recipe, format, tempo]."""
        text, name, *tempo = checked_list(request, 2, 3)
        return saved(*handlers.save(engine, handlers.read(text), str(name), *tempo))

    def loop(request: Any) -> dict[str, Any]:
        """Takes [recipe, start, end], the times in seconds."""
        text, start, end = checked_list(request, 3)
        return handlers.loop(engine, handlers.read(text), start, end)

    def save_loop(request: Any) -> dict[str, str]:
        text, start, end = checked_list(request, 3)
        return saved(*handlers.save_loop(engine, handlers.read(text), start, end))

    def appraise(recipe: Any) -> dict[str, Any]:
        return handlers.appraise(engine, handlers.make_view(engine, handlers.read(recipe)))

    return gr.HTML(
        {},
        html_template=template("player"),
        js_on_load=scripts().start("player", events=("random", "reset", "go", "choose")),
        apply_default_css=False,
        elem_id="player",
        server_functions=[
            server_function(lead, MOVES_AT_ONCE, MOVES_WAITING, LIVE_SECONDS),
            server_function(rest, MOVES_AT_ONCE, MOVES_WAITING, LIVE_SECONDS),
            server_function(save, SAVES_AT_ONCE),
            server_function(loop, SAVES_AT_ONCE),
            server_function(save_loop, SAVES_AT_ONCE),
            server_function(appraise, APPRAISALS_AT_ONCE, live_seconds=LIVE_SECONDS),
        ],
        piano=synth.manifest(),
    )


def _morph_controls(engine: Engine) -> Controls:
    """The controls that choose a place: label, two seeds, and the position on the morph between them."""
    made: Controls = {"label": gr.Radio([], visible=False, elem_classes="keys", elem_id="label")}
    with gr.Row(elem_id="morph"):
        with gr.Column(min_width=110, elem_classes="end"):
            panel("seed_picture", engine, elem_id="seed-picture-a", end="A")
            made["seed"] = gr.Number(0, label="Seed A", precision=0)
            made["roll"] = gr.Button("Roll A", size="sm")
            made["lock"] = gr.Checkbox(label="Lock A", container=False)
        with gr.Column(scale=3, min_width=200, elem_classes="way"):
            panel("film", engine)
            made["t"] = gr.Slider(0, 1, 0, step=0.01, label="From A to B", elem_id="live-t")
            made["path"] = gr.Radio([("Arc", "arc"), ("Line", "line")], label="Path", elem_classes="keys")
        with gr.Column(min_width=110, elem_classes="end"):
            panel("seed_picture", engine, elem_id="seed-picture-b", end="B")
            made["seed_b"] = gr.Number(1, label="Seed B", precision=0)
            made["roll_b"] = gr.Button("Roll B", size="sm")
            made["lock_b"] = gr.Checkbox(label="Lock B", container=False)
    return made


def _sections(engine: Engine) -> Controls:
    """The sections below the morph: sliders that change the present sound, and panels that go to other places."""

    def gallery(model: Any) -> dict[str, Any]:
        return places.gallery_of(engine, model)

    def variations(request: Any) -> dict[str, Any]:
        return places.variations_of(engine, request)

    def samples(text: Any) -> dict[str, Any]:
        return places.samples_of(engine, text)

    def offset(name: str) -> gr.Slider:
        return gr.Slider(-REACH, REACH, 0, step=STEP, visible=False, elem_classes="offset", elem_id=f"live-{name}")

    made: Controls = {}
    with gr.Tabs(elem_id="sections", overflow_behavior="wrap"):
        with gr.Tab("Shape"):
            with gr.Row(elem_classes="switches"):
                made["hold"] = gr.Checkbox(
                    label="Hold the others",
                    visible=False,
                    container=False,
                    info="Each slider then changes only the measure it is named after, as far as possible.",
                )
                gr.Checkbox(label="Details", container=False, elem_id="details")  # style.css looks at it
            with gr.Column(elem_classes="bars"):
                made |= {name: offset(name) for name in DIRECTION_SLIDERS}
        with gr.Tab("Morph"):
            panel("between", engine, MorphServer(engine).functions())
        with gr.Tab("Browse"):
            functions = tuple(server_function(function, 1) for function in (gallery, variations, samples))
            panel("places", engine, functions, batch=PICTURES_AT_ONCE)
        with gr.Tab("Learn"):
            panel("learn", engine, Lessons(engine).functions())
        with gr.Tab("Advanced"):
            made["truncation"] = gr.Slider(
                0,
                2,
                1,
                step=0.05,
                label="Truncation",
                elem_classes="slider-row",
                elem_id="live-truncation",
                info="below 1: more typical; above 1: less typical",
            )
            made["label_b"] = gr.Radio([], visible=False, elem_classes="keys")
            made["blend"] = gr.Slider(
                0, 1, 0, step=0.01, visible=False, elem_classes="slider-row", elem_id="live-blend"
            )
            made |= {f"setting{i}": gr.Radio([], visible=False, elem_classes="keys") for i in range(SETTINGS)}
            made["first"] = gr.Slider(
                0,
                SLIDERS,
                0,
                step=SLIDERS,
                label="First dimension",
                elem_classes="slider-row",
                info=f"{SLIDERS} numbers of the latent vector, from this one on",
            )
            with gr.Column(elem_classes="bars"):
                made |= {name: offset(name) for name in RAW_SLIDERS}
    # Outside the sections: gradio renders only the one that is open, and files may be dropped on the page at any time.
    made["open"] = gr.UploadButton(
        "Open a saved file", size="sm", elem_id="open", file_types=[f".{name}" for name in readers.READERS]
    )
    return made


def _connect(
    app: gr.Blocks, engine: Engine, cache: FileCache, place: Component, player: gr.HTML, controls: Controls
) -> None:
    """Connects the events of the controls to the handlers."""
    values = [controls[name] for name in CONTROLS]
    events = Queue(EVENTS_AT_ONCE, MOVES_WAITING, LIVE_SECONDS)
    shown = {name: controls[name] for name in CONTROLS}
    outputs = [*shown.values(), player]

    def update_all(recipe: Recipe, hold: Any = False) -> dict[Component, Any]:
        """The properties of all controls, and the sound, for a place; `hold`: whether "Hold the others" is checked."""
        view = handlers.make_view(engine, recipe)
        # Before the sliders: otherwise it might say that directions are found which the sliders do not have yet.
        sound = handlers.show(engine, view)
        sound["offset_names"] = handlers.offset_names(view, hold=hold)
        sound["directions"] = handlers.told(view.model.directions)
        properties = handlers.control_properties(engine, view, hold=hold)
        return {shown[name]: gr.update(**changes) for name, changes in properties.items()} | {player: sound}

    def start(text: str) -> dict[Component, Any]:
        if not isinstance(text, str) or "model=" in text:
            try:
                return update_all(handlers.read(text))
            except Exception as error:  # whatever a link holds, the page opens
                answer = update_all(handlers.default_recipe(engine))
                answer[player]["error"] = f"This link cannot be played: {error_message(error)}"
                return answer
        return update_all(handlers.default_recipe(engine))

    def go(text: str, hold: bool) -> dict[Component, Any]:
        return update_all(handlers.read(text), hold)

    def change_model(text: str, name: str, hold: bool) -> dict[Component, Any]:
        return update_all(handlers.change_model(engine, handlers.read(text), name), hold)

    def move(text: str, *moved: Any) -> dict[Component, Any]:
        current = handlers.read(text)
        controls = dict(zip(CONTROLS, moved, strict=True))
        view = handlers.make_view(engine, handlers.move(engine, current, controls))
        ends = handlers.slider_ends(view, controls["first"], controls["hold"])
        # A slider also reports a release when a pointer only comes up over it, and then nothing has to be drawn.
        sound = handlers.show(engine, view) if view.recipe != current else {"error": ""}
        return {shown[name]: gr.update(**changes) for name, changes in ends.items()} | {player: sound}

    def change_first(text: str, first: float, hold: bool) -> dict[Component, Any]:
        view = handlers.make_view(engine, handlers.read(text))
        properties = handlers.raw_slider_properties(view, first)
        return {shown[name]: gr.update(**changes) for name, changes in properties.items()} | {
            player: {"offset_names": handlers.offset_names(view, first, hold)}
        }

    def switch_hold(text: str, hold: bool) -> dict[Component, Any]:
        return update_all(handlers.hold_others(engine, handlers.read(text), hold), hold)

    def roll(a: bool, b: bool) -> Callable[[str, bool], dict[Component, Any]]:
        return lambda text, hold: update_all(handlers.roll(handlers.read(text), a, b), hold)

    def random(text: str, hold: bool, lock: bool, lock_b: bool) -> dict[Component, Any]:
        return update_all(handlers.roll(handlers.read(text), not lock, not lock_b), hold)

    def reset(text: str, hold: bool) -> dict[Component, Any]:
        return update_all(handlers.reset(handlers.read(text)), hold)

    def load(file: Any) -> dict[Component, Any]:
        path = Path(str(file.get("path")) if isinstance(file, dict) else "")
        if not cache.holds(path):
            raise RecipeError("this file is no longer there; open it again")
        if (found := places.read_places(engine, path)) is not None:
            return {player: {"places": found}}
        saved = formats.read_saved(path)
        if isinstance(saved, Song):
            answer = update_all(saved.timbre)
            if isinstance(saved.piece, Recipe):
                answer[player]["piece"] = saved.piece.to_json()
            return answer
        if not isinstance(saved, Kit):
            return update_all(saved)
        kit = kits.complete(engine, saved)
        answer = update_all(kit.pads[0])
        answer[player]["kit"] = as_json(kit)
        return answer

    def on(
        trigger: Callable,
        handler: Callable[..., dict[Component, Any]],
        inputs: list[Component],
        to: list[Component],
        js: str | None = WITH_PLACE,
    ) -> None:
        @functools.wraps(handler)
        async def guarded(*args: Any) -> dict[Component, Any]:
            try:
                answer = await events.run(handler, *args)
            except Exception as error:  # otherwise the page would get status 500 and show no message
                answer = {player: {"error": error_message(error)}}
            answer[player]["nonce"] = secrets.token_hex(4)  # gradio does not send a value equal to the last
            return answer

        # always_last: while one event is being answered, only the newest of the later ones is kept. The handlers check
        # every value, so gradio's own checks, which answer with a traceback, are not needed.
        # The page copies the component that shows progress at every event; a hidden text is cheaper than a sound.
        event = trigger(
            guarded,
            inputs,
            to,
            js=js,
            queue=False,
            trigger_mode="always_last",
            show_progress="hidden",
            show_progress_on=place,
            preprocess=False,
            api_visibility="private",
        )
        event.failure(None, js=FAILED, queue=False, show_progress="hidden", api_visibility="private")

    live = {("input", name) for name in LIVE_SLIDERS}  # handled by the page's script, which does not see releases
    moves = [
        getattr(controls[name], event)
        for name in CONTROLS
        if name not in ("first", "hold")
        for event in ("input", "release")
        if event in controls[name].EVENTS and (event, name) not in live
    ]
    first_changes = [controls["first"].input, controls["first"].release]
    offsets = [controls[name] for name in (*DIRECTION_SLIDERS, *RAW_SLIDERS)]
    on(functools.partial(gr.on, moves), move, [place, *values], [player, *offsets])
    hold = controls["hold"]
    on(functools.partial(gr.on, first_changes), change_first, [place, controls["first"], hold], outputs)
    on(hold.input, switch_hold, [place, hold], outputs)
    on(player.choose, change_model, [place, place, hold], outputs, js=TO_MODEL)
    on(player.random, random, [place, hold, controls["lock"], controls["lock_b"]], outputs)
    on(controls["roll"].click, roll(True, False), [place, hold], outputs)
    on(controls["roll_b"].click, roll(False, True), [place, hold], outputs)
    on(player.reset, reset, [place, hold], outputs)
    on(controls["open"].upload, load, [controls["open"]], outputs, js=None)
    on(player.go, go, [place, hold], outputs, js=TO_DESTINATION)
    on(app.load, start, [place], outputs, js="() => [location.search]")

"""What the panels beside the player share: functions that the page calls on the server, and small pictures.

A panel is one gr.HTML of a template and a script of its own in page/, whose `start` gradio calls. Its server functions
bypass gradio's queue and all of its checks, so `answering` stands before each of them.
"""

import functools
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.recipe import RecipeError
from explorer.ui import handlers
from explorer.ui.scripts import scripts, template

PATIENCE_SECONDS = 10  # that a visitor waits for what others asked for
PICTURES_AT_ONCE = 24  # in one question
FOLDER = re.compile(r"(?<![\w/:.])/(?:[^/\s]+/)+")  # of the server, before a file's name
WRONG = "Something went wrong here, and was written to the server's log; try another place or file."

Answer = dict[str, Any]


def told(error: Exception) -> str:
    """What a visitor is told of an error, in one line and without the server's folders: the message of one that stands
    for bad input, else WRONG. The traceback of the latter goes to the log, and is not lost on anybody."""
    if not isinstance(error, RecipeError | CheckpointError | ValueError):
        logging.getLogger(__name__).error("an error that nobody foresaw", exc_info=error)
        return WRONG
    line = " ".join(FOLDER.sub("", str(error)).split())
    return line.encode("utf-8", "backslashreplace").decode("utf-8")  # half a character cannot be sent


def answering(function: Callable[[Any], Answer], at_once: int) -> Callable[[Any], Answer]:
    """The function as the page may call it: bounded, and with an {"error": …} in place of what it raises.

    Args:
        function: takes what the browser sent, unchecked, and raises RecipeError, CheckpointError or ValueError for
            what it cannot use.
        at_once: calls that run at one time; others wait, for PATIENCE_SECONDS at most.
    """
    slots = threading.BoundedSemaphore(at_once)

    @functools.wraps(function)
    def answer(request: Any) -> Answer:
        if not slots.acquire(timeout=PATIENCE_SECONDS):
            return {"error": "Too much is being made just now; try again in a moment."}
        try:
            return function(request)
        except Exception as error:  # or the page would get a status of 500, and say nothing
            return {"error": told(error)}
        finally:
            slots.release()

    return answer


def panel(
    name: str,
    engine: Engine,
    functions: tuple[Callable[[Any], Answer], ...] = (),
    elem_id: str | None = None,
    **props: Any,
) -> gr.HTML:
    """The panel of `name`.html and `name`.js, with `name` for an id if it is given none.

    Beside `functions` the page can call `pictures`, see `small_pictures`.
    """

    def pictures(request: Any) -> Answer:
        return small_pictures(engine, request)

    return gr.HTML(
        {},
        html_template=template(name),
        js_on_load=scripts().start(name),
        apply_default_css=False,
        server_functions=[answering(pictures, at_once=1), *functions],
        elem_id=elem_id or name,
        **props,
    )


def small_pictures(engine: Engine, request: Any) -> Answer:
    """{"pictures": […]} of a list of recipes (as JSON or links): each as `handlers.show` has it, without the waveform,
    or {"error": …} where a recipe cannot be played here."""
    if not isinstance(request, list) or len(request) > PICTURES_AT_ONCE:
        raise ValueError(f"a list of at most {PICTURES_AT_ONCE} recipes is needed")
    return {"pictures": [_small_picture(engine, text) for text in request]}


def _small_picture(engine: Engine, text: Any) -> Answer:
    try:
        return handlers.show(engine, handlers.settle(engine, handlers.read(text)), heard=False)
    except (RecipeError, CheckpointError) as error:
        return {"error": told(error)}

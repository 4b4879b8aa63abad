"""What the panels beside the player share: functions of the server that the page calls, and small pictures.

A panel is one gr.HTML with a template and a script in page/, whose `start` gradio calls. Calls of its server functions
bypass gradio's queue and checks, so each of them is wrapped in `server_function`.
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

WAIT_SECONDS = 10  # at most, while the requests of others are being answered
PICTURES_AT_ONCE = 24  # in one request
FOLDER = re.compile(r"(?<![\w/:.])/(?:[^/\s]+/)+")  # the folders of the server in front of a file's name
UNEXPECTED = "Something went wrong on the server and was written to its log; try another place or file."

Answer = dict[str, Any]


def error_message(error: Exception) -> str:
    """One line about an error for the visitor, without the server's folders.

    An error that stands for bad input keeps its message. Any other becomes UNEXPECTED, and its traceback is logged.
    """
    if not isinstance(error, RecipeError | CheckpointError | ValueError):
        logging.getLogger(__name__).error("unexpected error", exc_info=error)
        return UNEXPECTED
    line = " ".join(FOLDER.sub("", str(error)).split())
    return line.encode("utf-8", "backslashreplace").decode("utf-8")  # half a character cannot be sent


def server_function(function: Callable[[Any], Answer], at_once: int) -> Callable[[Any], Answer]:
    """Wraps a function for calls from the page: it returns {"error": message} where the function raises.

    Args:
        function: takes what the browser sent, which is unchecked, and raises RecipeError, CheckpointError or ValueError
            for bad input.
        at_once: calls that may run at one time; others wait for WAIT_SECONDS at most.
    """
    slots = threading.BoundedSemaphore(at_once)

    @functools.wraps(function)
    def answer(request: Any) -> Answer:
        if not slots.acquire(timeout=WAIT_SECONDS):
            return {"error": "The server is busy; try again in a moment."}
        try:
            return function(request)
        except Exception as error:  # otherwise the page would get status 500 and show no message
            return {"error": error_message(error)}
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
    """Builds the panel of `name`.html and `name`.js; its element's id is `elem_id`, or else `name`.

    Besides `functions` its script can call `pictures`, see `small_pictures`.
    """

    def pictures(request: Any) -> Answer:
        return small_pictures(engine, request)

    return gr.HTML(
        {},
        html_template=template(name),
        js_on_load=scripts().start(name),
        apply_default_css=False,
        server_functions=[server_function(pictures, at_once=1), *functions],
        elem_id=elem_id or name,
        **props,
    )


def small_pictures(engine: Engine, request: Any) -> Answer:
    """Takes a list of recipes, as JSON or links; returns {"pictures": […]}.

    Each is what `handlers.show` returns without the waveform, or {"error": message} if its recipe cannot be played.
    """
    if not isinstance(request, list) or len(request) > PICTURES_AT_ONCE:
        raise ValueError(f"the request must be a list of at most {PICTURES_AT_ONCE} recipes")
    return {"pictures": [_small_picture(engine, text) for text in request]}


def _small_picture(engine: Engine, text: Any) -> Answer:
    try:
        return handlers.show(engine, handlers.make_view(engine, handlers.read(text)), heard=False)
    except (RecipeError, CheckpointError) as error:
        return {"error": error_message(error)}

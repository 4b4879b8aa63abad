"""What the panels beside the player share: functions of the server that the page calls, and small pictures.

A panel is one gr.HTML with a template and a script in page/, whose `start` gradio calls. Calls of its server functions
bypass gradio's queue and checks, so each of them is wrapped in `server_function`.
"""

import base64
import functools
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
import gradio as gr
from anyio import CapacityLimiter
from gradio.context import LocalContext

from explorer.checkpoint import CheckpointError
from explorer.engine import Engine, patiently
from explorer.recipe import MAX_MESSAGE, RecipeError
from explorer.ui import handlers
from explorer.ui.limits import BUSY, FULL, is_full
from explorer.ui.scripts import scripts, template

WAIT_SECONDS = 10  # at most, while the requests of others are being answered, unless a function says otherwise
WAITING = 16  # requests that may wait for one function; more are refused at once
PICTURES_AT_ONCE = 24  # in one request
FOLDER = re.compile(r"(?<![\w/:.])/(?:[^/\s]+/)+")  # the folders of the server in front of a file's name
UNEXPECTED = "Something went wrong on the server and was written to its log; try another place or file."

T = TypeVar("T")
Answer = dict[str, Any]
ServerFunction = Callable[[Any], Awaitable[Answer]]

visitor: ContextVar[str] = ContextVar("visitor", default="")  # the page that calls a function, as it names itself


def error_message(error: Exception) -> str:
    """One line about an error for the visitor, without the server's folders.

    An error that stands for bad input keeps its message, a long one shortened. A full disk is called that; any other
    error becomes UNEXPECTED, and its traceback is logged.
    """
    if is_full(error):
        return FULL
    if not isinstance(error, RecipeError | CheckpointError | ValueError):
        logging.getLogger(__name__).error("unexpected error", exc_info=error)
        return UNEXPECTED
    line = str(error)
    line = " ".join(FOLDER.sub("", line[: 2 * MAX_MESSAGE]).split())
    line = line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"
    return line.encode("utf-8", "backslashreplace").decode("utf-8")  # half a character cannot be sent


def saved(name: str, data: bytes) -> Answer:
    """The answer that is a file to download: its name, and its bytes in base64."""
    return {"name": name, "data": base64.b64encode(data).decode("ascii")}


def server_function(
    function: Callable[[Any], Answer], at_once: int, waiting: int = WAITING, live_seconds: float | None = None
) -> ServerFunction:
    """Wraps a function for calls from the page: it returns {"error": message} where the function raises.

    Args:
        function: takes what the browser sent, which is unchecked, and raises RecipeError, CheckpointError or ValueError
            for bad input. Runs in a thread.
        at_once: calls that may run at one time.
        waiting: calls that may wait, for WAIT_SECONDS at most and without a thread; others are refused at once.
        live_seconds: as of `Queue`.
    """
    queue = Queue(at_once, waiting, live_seconds)

    @functools.wraps(function)
    async def answer(request: Any) -> Answer:
        visitor.set(await _calling_page())
        try:
            return await queue.run(function, request)
        except Exception as error:  # otherwise the page would get status 500 and show no message
            return {"error": error_message(error)}

    return answer


def checked_list(request: Any, size: int, most: int | None = None) -> list[Any]:
    """A request that is a list of `size` values, or of up to `most`. Raises ValueError for any other."""
    if not isinstance(request, list) or not size <= len(request) <= (most or size):
        raise ValueError(f"the request must be a list of {size} {f'to {most} ' if most else ''}values")
    return request


class Queue:
    """Runs functions in threads, some at a time. Those that wait hold no thread, so they keep nobody else waiting.

    Args:
        at_once, waiting: how many run at one time, and how many may wait.
        live_seconds: None for what may take long, such as files, and so is computed `patiently`. For what follows
            somebody's hand, the seconds that it may wait.
    """

    def __init__(self, at_once: int, waiting: int, live_seconds: float | None = None) -> None:
        self._limiter, self._waiting, self._live_seconds = CapacityLimiter(at_once), waiting, live_seconds

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The result of a function. Raises what it raises, and ValueError if its turn does not come."""
        if self._limiter.statistics().tasks_waiting < self._waiting:
            live = self._live_seconds
            with nullcontext() if live else patiently():  # the thread has this task's context
                # Ends the wait only: a function that has begun is not interrupted.
                with anyio.move_on_after(live or WAIT_SECONDS):
                    return await anyio.to_thread.run_sync(function, *args, limiter=self._limiter)
        raise ValueError(BUSY)


async def _calling_page() -> str:
    """The name that the page of the present request has given itself."""
    request = LocalContext.request.get(None)
    return visitor.get() if request is None else str((await request.json())["session_hash"])


def panel(
    name: str,
    engine: Engine,
    functions: tuple[ServerFunction, ...] = (),
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

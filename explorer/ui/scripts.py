"""Serves the page's scripts, which are ES modules, from memory and without a build step.

Their URL contains a hash of all of them, so browsers can cache them for good and never mix two versions. A server whose
files are replaced while it runs keeps serving the ones that it was started with.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE = Path(__file__).resolve().parent / "page"  # templates, scripts and style

# If a module cannot be loaded or fails, an alert is shown where its part of the page would have been.
START = """
// Events, which gradio knows if their names stand here: {events}
const page = `${{gradio_config.root}}/{address}`;
for (const name of {names}) {{
  const href = `${{page}}/${{name}}`;
  if (document.querySelector(`link[href="${{href}}"]`)) continue;
  document.head.append(Object.assign(document.createElement("link"), {{ rel: "modulepreload", href }}));
}}
import(`${{page}}/{name}.js`)
  .then((module) => module.start({{ element, props, server, trigger, watch }}))
  .catch((error) => {{
    const alert = document.createElement("p");
    alert.setAttribute("role", "alert");
    alert.textContent = "This part of the page could not be loaded; reload the page.";
    element.prepend(alert);
    console.error(error);
  }});
"""


class Scripts:
    """The modules in the folder PAGE, read once."""

    def __init__(self) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted(PAGE.glob("*.js"))}
        version = hashlib.sha256(repr(self._files).encode()).hexdigest()[:12]
        self._address = f"page/{version}"

    def route(self) -> Route:
        """The route at which a server offers the modules."""
        return Route(f"/{self._address}/{{name}}", self._send)

    def start(self, name: str, events: Sequence[str] = ()) -> str:
        """The text for `js_on_load` of a gr.HTML: preloads all modules and calls `start` of one.

        Args:
            name: file name of the module, without ".js".
            events: names of the gr.HTML's events that the module triggers.
        """
        return START.format(address=self._address, names=list(self._files), name=name, events=list(events))

    async def _send(self, request: Request) -> Response:
        data = self._files.get(request.path_params["name"])
        if data is None:
            return Response(status_code=404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(data, media_type="text/javascript", headers=headers)


@functools.cache
def scripts() -> Scripts:
    """The scripts as this process serves them."""
    return Scripts()


def template(name: str) -> str:
    """The HTML template of a part of the page."""
    return (PAGE / f"{name}.html").read_text(encoding="utf-8")

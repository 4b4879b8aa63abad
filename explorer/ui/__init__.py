"""The app in the browser; the only package that imports gradio.

Names are imported on first use, because `launch` must set gradio's temporary folder before gradio is imported.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.ui.app import build, serve
    from explorer.ui.starting import launch

__all__ = ["build", "launch", "serve"]


def __getattr__(name: str) -> Any:
    if name == "launch":
        from explorer.ui import starting

        return starting.launch
    if name in ("build", "serve"):
        from explorer.ui import app

        return getattr(app, name)
    raise AttributeError(f"module 'explorer.ui' has no attribute {name!r}")

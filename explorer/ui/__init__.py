"""The app in the browser; the only room that knows gradio.

Names are imported when they are first asked for: before gradio is, `launch` says where its files go.
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

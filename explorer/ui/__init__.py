"""The app in the browser; the only room that knows gradio."""

from explorer.ui.app import build, launch, serve

__all__ = ["build", "launch", "serve"]

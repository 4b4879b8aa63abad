"""Explore the latent space of audio GANs.

    >>> from explorer import Engine, Recipe
    >>> engine = Engine()
    >>> sound = engine.render(Recipe("spoken-digits", seed=7, label="3"))
    >>> sound.waveform.shape
    (8192,)

Names are imported on first use, so that `python -m explorer --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.checkpoint import Card, CheckpointError
    from explorer.engine import Engine
    from explorer.kit import Kit
    from explorer.latent import LatentSpace
    from explorer.model import Model
    from explorer.recipe import Place, Recipe, RecipeError
    from explorer.sound.base import LogMel, Note, Sound

__all__ = [
    "Card",
    "CheckpointError",
    "Engine",
    "Kit",
    "LatentSpace",
    "LogMel",
    "Model",
    "Note",
    "Place",
    "Recipe",
    "RecipeError",
    "Sound",
]

_MODULES = {
    "checkpoint": ("Card", "CheckpointError"),
    "engine": ("Engine",),
    "kit": ("Kit",),
    "latent": ("LatentSpace",),
    "model": ("Model",),
    "recipe": ("Place", "Recipe", "RecipeError"),
    "sound.base": ("LogMel", "Note", "Sound"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"explorer.{module}"), name)
    raise AttributeError(f"module 'explorer' has no attribute {name!r}")

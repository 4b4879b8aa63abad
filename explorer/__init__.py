"""Explore the latent space of audio GANs.

    >>> from explorer import Engine, Recipe
    >>> engine = Engine()
    >>> sound = engine.render(Recipe("spoken-digits", seed=7, label="3"))
    >>> sound.waveform.shape
    (8192,)
"""

from explorer.checkpoint import Card, CheckpointError
from explorer.engine import Engine, Model
from explorer.latent import LatentSpace
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import LogMel, Note, Sound

__all__ = ["Card", "CheckpointError", "Engine", "LatentSpace", "LogMel", "Model", "Note", "Recipe", "RecipeError",
           "Sound"]

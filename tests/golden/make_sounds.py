"""Writes `sounds.npz`: reference sounds of three places of every shipped checkpoint.

    python tests/golden/make_sounds.py

`tests/test_golden_sounds.py` compares today's sounds with it: a recipe must give the same sound in later years. Run
this only when a checkpoint is new or was replaced on purpose.
"""

import json
from pathlib import Path

import numpy as np

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER

FILE = Path(__file__).with_name("sounds.npz")


def recipes_of(engine: Engine, name: str) -> list[Recipe]:
    """Recipes: a seed; a truncated point between two seeds, with offsets; and a mix, or a blend of two labels."""
    model = engine.model(name)
    direction, labels = model.directions[0].name, model.card.labels
    last = (
        Recipe(name, seed=5, label=labels[0], label_b=labels[1], blend=0.4)
        if labels
        else (Recipe(name, mix=((1, 1.0), (2, 1.0), (3, -0.5))))
    )
    moved = Recipe(name, seed=7, seed_b=8, t=0.5, truncation=0.8, offsets=((direction, 1.5), ("z3", -2.0)))
    return [Recipe(name, seed=7), moved, last]


def reference(engine: Engine, recipe: Recipe) -> np.ndarray:
    """The stored data of a sound: notes as (n, 4) float32, else the log-mel, else the waveform, as float16."""
    sound = engine.render(recipe)
    if sound.notes is not None:
        return np.array([(n.pitch, n.onset, n.duration, n.velocity) for n in sound.notes], np.float32)
    return (sound.waveform if sound.log_mel is None else sound.log_mel.values).astype(np.float16)


def main() -> None:
    engine = Engine(DEFAULT_FOLDER)
    recipes = [engine.complete(recipe).recipe for name in engine.names() for recipe in recipes_of(engine, name)]
    arrays = {f"{i}": reference(engine, recipe) for i, recipe in enumerate(recipes)}
    np.savez_compressed(FILE, recipes=np.array(json.dumps([recipe.to_dict() for recipe in recipes])), **arrays)  # type: ignore[arg-type]
    print(f"{len(recipes)} places in {FILE.name}, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

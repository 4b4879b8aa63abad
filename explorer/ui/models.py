"""The server's part of the browser of models: what a visitor is told of each before it is loaded."""

import re

from explorer import shelf
from explorer.checkpoint import CheckpointError
from explorer.engine import Engine
from explorer.recipe import Recipe

SENTENCE = re.compile(r"[:.](?=\s|$)")
LICENCE = re.compile(
    r"^\| licence of the weights \| (?!to be filled in)(.{1,500}?)(?:\.? {0,9}\||\. |, )", re.MULTILINE
)
MAX_WORDS = 120  # characters


def described(engine: Engine) -> list[dict[str, str]]:
    """Every checkpoint with its name, what it makes ("about"), licence and first recipe, as JSON values.

    What it makes, and under which licence, its model card says: the beginning of its text, and a row of its table. A
    checkpoint without one is described by its size, a broken one by nothing.
    """
    return [_described(name, engine) for name in engine.names()]


def _described(name: str, engine: Engine) -> dict[str, str]:
    about = licence = ""
    try:
        card = shelf.read_card(shelf.find_checkpoints(engine.folder)[name])
        text = shelf.card_text(card.path)
        about = f"{card.seconds:.1f} s, {card.parameters / 1e6:.1f} million weights"
        paragraphs = [part for part in text.split("\n\n") if part.strip() and not part.startswith("#")]
        if paragraphs:
            about = " ".join(SENTENCE.split(paragraphs[0])[0].split())
        if found := LICENCE.search(text):
            licence = found[1]
    except (CheckpointError, KeyError):  # the page says why once it is chosen
        pass
    return {
        "name": name,
        "about": about[:MAX_WORDS],
        "licence": licence[:MAX_WORDS],
        "recipe": Recipe(name).to_json(),
    }

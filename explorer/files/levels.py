"""Measures the level of a checkpoint and states it in its card, from where the app takes the gain."""

from explorer import atomic, shelf
from explorer.engine import Engine
from explorer.files import gallery
from explorer.files.gallery import Progress
from explorer.sound import level
from explorer.sound.level import Level

SOUNDS = 50


def state(engine: Engine, name: str, progress: Progress | None = None) -> Level | None:
    """Measures the seeds 0 … SOUNDS - 1 of a checkpoint, its labels in turn, and writes their level into its card.

    Returns:
        The level; None, and nothing is written, if half of the sounds are silent.
    Raises:
        CheckpointError: as `Engine.model`.
        OSError: if the card cannot be read or written.
    """
    sounds = []
    for done, place in enumerate(gallery.consecutive(engine, name, SOUNDS), 1):
        sounds.append(engine.render(place.recipe))
        sounds[-1].waveform  # noqa: B018  # computed now
        if progress is not None:
            progress(done, SOUNDS)
    found = level.measured(sounds)
    if found is None:
        return None
    path = shelf.card_path(engine.model(name).card.path)
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {name}\n"
    atomic.write_text(path, level.stated(text, found, f"seeds 0 to {SOUNDS - 1}"))
    return found

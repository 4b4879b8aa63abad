"""What the app does, as plain functions: no gradio, no browser, and nothing kept between two calls.

A visitor's state is one recipe, which the page holds and sends along. Handlers that lead elsewhere take it and return
another one. `settle` makes a `View` of a recipe, and what the page should show is made of that. Where a browser's value
enters, it is checked by `Recipe`.
"""

import base64
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer import shelf
from explorer.checkpoint import CheckpointError
from explorer.directions import ONLY, Direction, details
from explorer.engine import Engine
from explorer.files import formats
from explorer.latent import MAX_SEED
from explorer.model import Model
from explorer.recipe import Place, Recipe, RecipeError
from explorer.sound.base import LogMel, Sound

SLIDERS = 8  # principal directions, and raw dimensions, on show at once
SETTINGS = 2  # decode settings on show
LEAKS = 2  # that a slider says
REACH = 4.0  # of a slider, in standard deviations of the prior
STEP = 0.05  # of a slider
MAX_TEXT = 1_000_000  # characters of a recipe that a browser may send
RANGE_DB = 60.0  # of a spectrogram's colours, below its loudest point
WORTH_SAYING = 0.1  # probability of a label that is heard
NAMED_WEIGHTS = 12  # digits of their hash in a link

DIRECTION_DIALS = tuple(f"direction{i}" for i in range(SLIDERS))
RAW_DIALS = tuple(f"raw{i}" for i in range(SLIDERS))
DIALS = ("t", "truncation", "blend", *DIRECTION_DIALS, *RAW_DIALS)  # sliders that are followed while they move
# The controls whose values make a place, in the order in which gradio passes them.
CONTROLS = (
    "label",
    "label_b",
    "seed",
    "seed_b",
    "path",
    "first",
    "hold",
    *(f"setting{i}" for i in range(SETTINGS)),
    *DIALS,
)

Look = dict[str, dict[str, Any]]  # for each control, the properties it should take


@dataclass(frozen=True)
class View:
    """What a page shows.

    Attributes:
        model: that plays.
        place: what is heard.
        recipe: the same sound with every field filled in that a control displays, e.g. `seed_b` while `t` is 0. It is
            what the page holds and sends along.
    """

    model: Model
    place: Place
    recipe: Recipe


def opening(engine: Engine) -> Recipe:
    """Where a newcomer starts: on the first checkpoint that is whole.

    Raises:
        RecipeError: if there is none; it says why.
    """
    reason = shelf.nothing_found(engine.folder)
    for name in engine.names():
        try:
            return Recipe(engine.model(name).card.name)
        except CheckpointError as error:
            reason = str(error)
    raise RecipeError(reason)


def read(text: Any) -> Recipe:
    """The recipe that a page sends, as JSON or as a link. Raises RecipeError."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise RecipeError("a recipe is a text of reasonable length")
    return Recipe.from_json(text) if text.lstrip().startswith("{") else Recipe.from_url(text)


def settle(engine: Engine, recipe: Recipe) -> View:
    """What a page shows of a recipe: its place, and the recipe with every field filled in that a control displays.

    Raises:
        CheckpointError, RecipeError: as `Engine.complete`.
    """
    model = engine.model(recipe.model)
    place = model.complete(recipe)
    full, choices = place.recipe, model.card.labels or ()
    shown = replace(
        full,
        weights=full.weights[:NAMED_WEIGHTS],
        # The two seeds stay on their controls while a mix is heard.
        seed=recipe.seed,
        t=0.0 if recipe.seed_b is None else recipe.t,
        mix=recipe.mix,
        seed_b=(recipe.seed + 1) % (MAX_SEED + 1) if recipe.seed_b is None else recipe.seed_b,
        path=recipe.path or model.generator.latent.default_path,
        label_b=recipe.label_b or (choices[(choices.index(full.label) + 1) % len(choices)] if full.label else None),
    )
    return View(model, place, shown)


def choose(engine: Engine, recipe: Recipe, name: str) -> Recipe:
    """The same seeds on another checkpoint; what only the old one knows is left behind."""
    if name == recipe.model:
        return recipe
    if recipe.model.startswith(f"{name}@"):  # from a snapshot of its training, which knows the same
        return replace(recipe, model=name, weights="")
    labels = engine.model(name).card.labels or ()
    return Recipe(
        name,
        seed=recipe.seed,
        seed_b=recipe.seed_b,
        t=recipe.t,
        mix=recipe.mix,
        truncation=recipe.truncation,
        label=recipe.label if recipe.label in labels else None,
    )


def move(engine: Engine, recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """What the controls say; of `recipe` remain the model, the offsets that are on no slider, and its mix
    until a seed or t moves.

    Args:
        values: of all CONTROLS, as the browser sent them.
    """
    model = engine.model(recipe.model)
    first = raw_start(model, values["first"])
    offsets = dict(recipe.offsets)
    moved = any(values[f"direction{i}"] for i in range(SLIDERS))  # a page may know directions that are sought anew here
    directions = model.wait_for_directions() if moved else model.directions
    offsets |= {d.name: values[f"direction{i}"] for i, d in enumerate(followed(directions, values["hold"] is True))}
    offsets |= {f"z{first + i}": values[f"raw{i}"] for i in range(min(SLIDERS, model.generator.latent.size - first))}
    labels = {name: values[name] for name in ("label", "label_b", "blend")} if model.card.labels else {}
    still = all(values[name] == getattr(recipe, name) for name in ("seed", "seed_b", "t"))
    return replace(
        recipe,
        mix=recipe.mix if still else (),
        **{name: values[name] for name in ("seed", "seed_b", "t", "path", "truncation")},
        **labels,
        offsets=tuple(offsets.items()),
        settings=tuple((name, values[f"setting{i}"]) for i, name in enumerate(open_settings(model))),
    )


def followed(directions: Sequence[Direction], held: bool) -> list[Direction]:
    """What the sliders follow: each direction, or, where `held`, its variant that holds the others, if there is one."""
    known = {d.name: d for d in directions}
    plain = [d for d in directions if not d.name.endswith(ONLY)][:SLIDERS]
    return [known.get(d.name + ONLY, d) if held else d for d in plain]


def dials(view: View, first: Any = 0, hold: Any = False) -> dict[str, str]:
    """For each slider of an offset that is in use, the offset's name. Arguments as of `look`."""
    model = view.model
    directions = model.directions
    names = [d.name for d in followed(directions, holding(directions, view.recipe, hold))]
    start = raw_start(model, first)
    raw = [f"z{k}" for k in range(start, model.generator.latent.size)]
    # As many as there are sliders, or as offsets.
    return dict(zip(DIRECTION_DIALS, names, strict=False)) | dict(zip(RAW_DIALS, raw, strict=False))


def variants(directions: Sequence[Direction]) -> dict[str, str]:
    """For the name of each direction that has a variant which holds the others, the name of that."""
    names = {d.name for d in directions}
    return {name: name + ONLY for name in names if name + ONLY in names}


def holding(directions: Sequence[Direction], recipe: Recipe, hold: Any) -> bool:
    """Whether the sliders hold the others: as a recipe's offsets say it, or as the switch has it if they do not."""
    names, pairs = dict(recipe.offsets), variants(directions)
    if any(held in names for held in pairs.values()):
        return True
    return hold is True and not any(name in names for name in pairs)


def hold(engine: Engine, recipe: Recipe, on: Any) -> Recipe:
    """The offsets moved over to the variants that hold the others, or back."""
    pairs = variants(engine.model(recipe.model).directions)
    renamed = pairs if on is True else {held: name for name, held in pairs.items()}
    offsets: dict[str, float] = {}
    for name, amount in recipe.offsets:
        name = renamed.get(name, name)
        offsets[name] = offsets.get(name, 0.0) + amount
    return replace(recipe, offsets=tuple(offsets.items()))


def reset(recipe: Recipe) -> Recipe:
    """Back to seed A itself: no offsets, nothing truncated, nothing blended."""
    return replace(recipe, t=0.0, mix=(), truncation=1.0, offsets=(), blend=0.0)


def roll(recipe: Recipe, a: bool, b: bool) -> Recipe:
    """New seeds for A and B as asked, which take the place of a mix."""
    return replace(
        recipe,
        mix=() if a or b else recipe.mix,
        seed=secrets.randbelow(10_000) if a else recipe.seed,
        seed_b=secrets.randbelow(10_000) if b else recipe.seed_b,
    )


def open_settings(model: Model) -> dict[str, tuple[str, ...]]:
    """The settings that leave a choice."""
    several = {name: options for name, options in model.settings.items() if len(options) > 1}
    return dict(list(several.items())[:SETTINGS])


def raw_start(model: Model, first: Any) -> int:
    """The first raw dimension on a slider: a multiple of SLIDERS inside the latent. Raises RecipeError."""
    if isinstance(first, bool) or not isinstance(first, int | float) or not 0 <= first < model.generator.latent.size:
        raise RecipeError(f"the first dimension must be from 0 to {model.generator.latent.size - 1}, not {first!r}")
    return int(first) // SLIDERS * SLIDERS


def look(engine: Engine, view: View, first: Any = 0, hold: Any = False) -> Look:
    """How every control should look: model and measures of each direction included.

    Args:
        first: raw dimension on the first slider of these.
        hold: how the switch stands that holds the others.
    """
    model, recipe = view.model, view.recipe
    condition = model.generator.condition
    chosen, settings = dict(recipe.settings), open_settings(model)
    name = condition.name if condition else ""
    labels = list(condition.labels) if condition else []
    controls: Look = {
        # A snapshot of training is offered only where one is.
        "model": {"choices": sorted({*engine.names(), recipe.model}), "value": recipe.model},
        "label": {"choices": labels, "value": recipe.label, "label": name.capitalize(), "visible": bool(labels)},
        "label_b": {"choices": labels, "value": recipe.label_b, "label": f"Second {name}", "visible": len(labels) > 1},
        "blend": {"value": recipe.blend, "label": f"Share of the second {name}", "visible": len(labels) > 1},
        "seed": {"value": recipe.seed},
        "seed_b": {"value": recipe.seed_b},
        "t": {"value": recipe.t},
        "path": {"value": recipe.path},
        "truncation": {"value": recipe.truncation},
    }
    for i, setting in enumerate(list(settings) + [""] * (SETTINGS - len(settings))):
        controls[f"setting{i}"] = {
            "choices": list(settings.get(setting, ())),
            "value": chosen.get(setting),
            "label": setting.capitalize(),
            "visible": bool(setting),
        }
    directions = model.directions
    held = holding(directions, recipe, hold)
    controls["hold"] = {"value": held, "visible": bool(variants(directions))}
    sliders = followed(directions, held)
    for i in range(SLIDERS):
        if i < len(sliders):
            direction = sliders[i]
            controls[f"direction{i}"] = {
                **slider(view, direction.name),
                "visible": True,
                "label": direction.title or direction.name,
                "info": details(direction, LEAKS),
            }
        else:
            controls[f"direction{i}"] = {"value": 0.0, "visible": False}
    return controls | raw_look(view, first)


def raw_look(view: View, first: Any) -> Look:
    """How the sliders of raw dimensions should look, from dimension `first` on."""
    start, size = raw_start(view.model, first), view.model.generator.latent.size
    last = (size - 1) // SLIDERS * SLIDERS
    controls: Look = {"first": {"value": start, "maximum": max(last, SLIDERS), "visible": last > 0}}
    for i, k in enumerate(range(start, start + SLIDERS)):
        controls[f"raw{i}"] = {"label": f"z{k}", "visible": k < size}
        controls[f"raw{i}"] |= slider(view, f"z{k}") if k < size else {"value": 0.0}
    return controls


def slider(view: View, name: str) -> dict[str, float]:
    """Value and ends of an offset's slider: REACH, or as far as the walls of a uniform prior are, so that no part of it
    does nothing; and wide enough for what a recipe says."""
    amount = dict(view.recipe.offsets).get(name, 0.0)
    reach = max(REACH, math.ceil(abs(amount)))
    back, ahead = view.model.room(view.place, name)
    low, high = max(-reach, amount - back), min(reach, amount + ahead)
    return {"value": amount, "minimum": min(-STEP, outward(low)), "maximum": max(STEP, outward(high))}


def ends(view: View, first: Any, hold: Any) -> Look:
    """The ends of the sliders of offsets, where they depend on the place, which they do for a uniform prior alone.
    Arguments as of `look`."""
    if view.model.generator.latent.prior == "normal":
        return {}
    looks = {name: slider(view, offset) for name, offset in dials(view, first, hold).items()}
    return {name: {end: look[end] for end in ("minimum", "maximum")} for name, look in looks.items()}


def outward(end: float) -> float:
    """The end of a slider on the next of its steps away from 0."""
    return math.copysign(math.ceil(round(abs(end) / STEP, 6)) * STEP, end)


def show(engine: Engine, view: View, heard: bool = True) -> dict[str, Any]:
    """What the player needs of a view: its recipe, its picture and its sound, as JSON-able values.

    Without being `heard` a sound that has a picture does not send its waveform, nor compute it.

    "recipe" is the page's state as text, "place" the same as an object with every field. Numbers travel as base64 of
    little-endian arrays: "notes" are (notes, 4) float32 of pitch, onset, duration and velocity, "pcm" the waveform in
    16 bit, as a WAV has it. Where "played_by" is "piano" the browser plays the notes, and no waveform is sent.
    "searching" says that the model's directions are still to come.
    """
    model, recipe, sound = view.model, view.recipe, engine.render(view.place)
    shown: dict[str, Any] = {
        "recipe": recipe.to_json(),
        "place": recipe.to_full_dict(),
        "link": recipe.to_url(),
        "title": title(view),
        "searching": model.progress < 1,
        "seconds": sound.seconds,
        "formats": formats.available(sound),
        "played_by": sound.played_by,
    }
    if sound.played_by is None and (heard or (sound.notes is None and sound.log_mel is None)):
        shown["pcm"] = {"rate": sound.sample_rate, "data": packed(pcm16(sound))}
    if sound.notes is not None:
        rows = [(n.pitch, n.onset, n.duration, n.velocity) for n in sound.notes]
        shown["notes"] = packed(np.array(rows, "<f4"))
        shown["about"] = f"Piano roll: {len(rows)} notes in {sound.seconds:.1f} seconds"
    elif sound.log_mel is not None:
        shown["picture"] = picture(sound.log_mel)
        low, high = sound.log_mel.frequencies[[0, -1]]
        shown["about"] = f"Spectrogram: {sound.seconds:.2f} seconds, {low:.0f} to {high:.0f} Hz"
    else:
        shown["about"] = f"Waveform: {sound.seconds:.2f} seconds"
    return shown


def appraise(engine: Engine, view: View) -> dict[str, Any]:
    """What to say of a place once the hand rests: how it is heard and how typical it is, in words, and how much is
    done of the search for directions, from 0 to 1."""
    model, heard = view.model, engine.hear(view.place)
    likely = [label for label in sorted(heard, key=heard.__getitem__, reverse=True)[:2] if heard[label] >= WORTH_SAYING]
    words = [f"Heard as {' or '.join(f'{label} ({int(100 * heard[label])}%)' for label in likely)}."] if likely else []
    words.append(distance(model.generator.latent.remoteness(engine.latent(view.place))))
    return {"words": " ".join(words), "directions": model.progress}


def distance(remoteness: float) -> str:
    """`LatentSpace.remoteness` in words."""
    if remoteness > 0.995:
        return "Beyond all it was trained on."
    if remoteness < 0.005:
        return "Nearer to the middle than all it was trained on."
    return f"Farther out than {remoteness:.0%} of what it was trained on."


def title(view: View) -> str:
    """A place in a few words."""
    recipe, condition = view.recipe, view.model.generator.condition
    words = [recipe.model]
    if condition is not None:
        blend = f" → {recipe.label_b} at {recipe.blend:.0%}" if recipe.blend else ""
        words.append(f"{condition.name} {recipe.label}{blend}")
    if recipe.mix:
        words.append(mixture(recipe.mix))
    else:
        way = f"seed {recipe.seed} → {recipe.seed_b} at {recipe.t:.2f}"
        words.append(f"seed {recipe.seed}" if recipe.t == 0 else way)
    if recipe.offsets:
        more = ", …" * (len(recipe.offsets) > 3)
        words.append(", ".join(f"{name} {x:+.3g}" for name, x in recipe.offsets[:3]) + more)
    return " · ".join(words)


def mixture(mix: tuple[tuple[int, float], ...]) -> str:
    """A mix in a few words: "between 3, 7, 12, 40", or "seeds 3 + 12 − 7" where something is taken away."""
    if all(weight > 0 for _, weight in mix):
        return f"seed {mix[0][0]}" if len(mix) == 1 else f"between {', '.join(str(seed) for seed, _ in mix)}"
    terms = [
        (" − " if weight < 0 else " + ") + (f"{abs(weight):.3g} × " if abs(weight) != 1 else "") + str(seed)
        for seed, weight in sorted(mix, key=lambda pair: pair[1] < 0)
    ]
    return "seeds " + "".join(terms).removeprefix(" + ").strip()


def picture(log_mel: LogMel) -> dict[str, Any]:
    """A log-mel in 256 levels over the RANGE_DB below its loudest point; rows are bands, the lowest first."""
    decibels = 20 / math.log(10) * log_mel.values
    levels = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1) * 255
    return {
        "bands": levels.shape[0],
        "frames": levels.shape[1],
        "levels": packed(levels.round().astype(np.uint8)),
        "frame": log_mel.hop_length / log_mel.sample_rate,
        "frequencies": log_mel.frequencies.round(1).tolist(),
    }


def pcm16(sound: Sound) -> np.ndarray:
    """(samples,) int16, rounded as libsndfile does: what is heard is the WAV file, bit for bit."""
    return np.floor(sound.waveform * 32768.0).clip(-32768, 32767).astype("<i2")


def packed(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def save(engine: Engine, recipe: Recipe, name: str) -> tuple[str, bytes]:
    """A file's name and its bytes, the same as the command line writes. Raises ValueError for an unknown format."""
    place = engine.complete(recipe)
    data = formats.encode(engine.render(place), place.recipe, name)
    return f"{formats.stem(place.recipe)}.{name}", data

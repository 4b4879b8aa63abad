"""What the app does, as plain functions: no gradio, no browser, and nothing kept between two calls.

A visitor's state is one recipe, which the page holds and sends along: the *place*. Every handler takes it, and
answers with what the page should show. Where a browser's value enters, it is checked by `Recipe`.
"""

import base64
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explorer.checkpoint import CheckpointError
from explorer.directions import HELD, Direction, details
from explorer.engine import Engine, Model
from explorer.files import formats
from explorer.latent import MAX_SEED
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import LogMel, Sound

SLIDERS = 8  # principal directions, and raw dimensions, on show at once
SETTINGS = 2  # decode settings on show
LEAKS = 2  # that a slider says
REACH = 4.0  # of a slider, in standard deviations of the prior
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


def opening(engine: Engine) -> Recipe:
    """Where a newcomer starts: on the first checkpoint that is whole.

    Raises:
        RecipeError: if there is none; it says why.
    """
    reason = f"no checkpoint (*.safetensors) in {engine.folder}"
    for name in engine.names():
        try:
            return Recipe(engine.model(name).card.name)
        except CheckpointError as error:
            reason = str(error)
    raise RecipeError(reason)


def read(text: Any) -> Recipe:
    """The place that a page sends, as JSON or as a link. Raises RecipeError."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise RecipeError("a recipe is a text of reasonable length")
    return Recipe.from_json(text) if text.lstrip().startswith("{") else Recipe.from_url(text)


def settle(engine: Engine, recipe: Recipe) -> Recipe:
    """The same sound with everything told that a control shows, the second seed of a way not yet begun included.

    Raises:
        CheckpointError, RecipeError: as `Engine.complete`.
    """
    full = engine.complete(recipe)
    model = engine.model(recipe.model)
    choices = model.card.labels or ()
    return replace(
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


def choose(engine: Engine, place: Recipe, name: str) -> Recipe:
    """The same seeds on another checkpoint; what only the old one knows is left behind."""
    if name == place.model:
        return place
    if place.model.startswith(f"{name}@"):  # from a snapshot of its training, which knows the same
        return replace(place, model=name, weights="")
    labels = engine.model(name).card.labels or ()
    return Recipe(
        name,
        seed=place.seed,
        seed_b=place.seed_b,
        t=place.t,
        mix=place.mix,
        truncation=place.truncation,
        label=place.label if place.label in labels else None,
    )


def move(engine: Engine, place: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The place that the controls show; of `place` remain the model, the offsets that are on no slider, and its mix
    until a seed or t moves.

    Args:
        values: of all CONTROLS, as the browser sent them.
    """
    model = engine.model(place.model)
    first = raw_start(model, values["first"])
    offsets = dict(place.offsets)
    moved = any(values[f"direction{i}"] for i in range(SLIDERS))  # a page may know directions that are sought anew here
    directions = model.directions if moved else model.directions_so_far
    offsets |= {d.name: values[f"direction{i}"] for i, d in enumerate(followed(directions, values["hold"] is True))}
    offsets |= {f"z{first + i}": values[f"raw{i}"] for i in range(min(SLIDERS, model.generator.latent.size - first))}
    labels = {name: values[name] for name in ("label", "label_b", "blend")} if model.card.labels else {}
    still = all(values[name] == getattr(place, name) for name in ("seed", "seed_b", "t"))
    return replace(
        place,
        mix=place.mix if still else (),
        **{name: values[name] for name in ("seed", "seed_b", "t", "path", "truncation")},
        **labels,
        offsets=tuple(offsets.items()),
        settings=tuple((name, values[f"setting{i}"]) for i, name in enumerate(open_settings(model))),
    )


def followed(directions: Sequence[Direction], held: bool) -> list[Direction]:
    """What the sliders follow: each direction, or, where `held`, its variant that holds the others, if there is one."""
    known = {d.name: d for d in directions}
    plain = [d for d in directions if not d.name.endswith(HELD)][:SLIDERS]
    return [known.get(d.name + HELD, d) if held else d for d in plain]


def dials(model: Model, place: Recipe, first: Any = 0, hold: Any = False) -> dict[str, str]:
    """For each slider of an offset that is in use, the offset's name. Arguments as of `look`."""
    directions = model.directions_so_far
    names = [d.name for d in followed(directions, holding(directions, place, hold))]
    start = raw_start(model, first)
    raw = [f"z{k}" for k in range(start, model.generator.latent.size)]
    # As many as there are sliders, or as offsets.
    return dict(zip(DIRECTION_DIALS, names, strict=False)) | dict(zip(RAW_DIALS, raw, strict=False))


def variants(directions: Sequence[Direction]) -> dict[str, str]:
    """For the name of each direction that has a variant which holds the others, the name of that."""
    names = {d.name for d in directions}
    return {name: name + HELD for name in names if name + HELD in names}


def holding(directions: Sequence[Direction], place: Recipe, hold: Any) -> bool:
    """Whether the sliders hold the others: as the offsets of a place say it, or as the switch has it if they do not."""
    names, pairs = dict(place.offsets), variants(directions)
    if any(held in names for held in pairs.values()):
        return True
    return hold is True and not any(name in names for name in pairs)


def hold(engine: Engine, place: Recipe, on: Any) -> Recipe:
    """The offsets moved over to the variants that hold the others, or back."""
    pairs = variants(engine.model(place.model).directions_so_far)
    renamed = pairs if on is True else {held: name for name, held in pairs.items()}
    offsets: dict[str, float] = {}
    for name, amount in place.offsets:
        name = renamed.get(name, name)
        offsets[name] = offsets.get(name, 0.0) + amount
    return replace(place, offsets=tuple(offsets.items()))


def reset(place: Recipe) -> Recipe:
    """Back to seed A itself: no offsets, nothing truncated, nothing blended."""
    return replace(place, t=0.0, mix=(), truncation=1.0, offsets=(), blend=0.0)


def roll(place: Recipe, a: bool, b: bool) -> Recipe:
    """New seeds for A and B as asked, which take the place of a mix."""
    return replace(
        place,
        mix=() if a or b else place.mix,
        seed=secrets.randbelow(10_000) if a else place.seed,
        seed_b=secrets.randbelow(10_000) if b else place.seed_b,
    )


def open_settings(model: Model) -> dict[str, tuple[str, ...]]:
    """The decode settings that leave a choice."""
    several = {name: options for name, options in model.generator.representation.settings.items() if len(options) > 1}
    return dict(list(several.items())[:SETTINGS])


def raw_start(model: Model, first: Any) -> int:
    """The first raw dimension on a slider: a multiple of SLIDERS inside the latent. Raises RecipeError."""
    if isinstance(first, bool) or not isinstance(first, int | float) or not 0 <= first < model.generator.latent.size:
        raise RecipeError(f"the first dimension must be from 0 to {model.generator.latent.size - 1}, not {first!r}")
    return int(first) // SLIDERS * SLIDERS


def look(engine: Engine, place: Recipe, first: Any = 0, hold: Any = False) -> Look:
    """How every control should look at a settled place: model and "measures" of each direction included.

    Args:
        first: raw dimension on the first slider of these.
        hold: how the switch stands that holds the others.
    """
    model = engine.model(place.model)
    condition = model.generator.condition
    chosen, offsets, settings = dict(place.settings), dict(place.offsets), open_settings(model)
    name = condition.name if condition else ""
    labels = list(condition.choices) if condition else []
    controls: Look = {
        # A snapshot of training is offered only where one is.
        "model": {"choices": sorted({*engine.names(), place.model}), "value": place.model},
        "label": {"choices": labels, "value": place.label, "label": name.capitalize(), "visible": bool(labels)},
        "label_b": {"choices": labels, "value": place.label_b, "label": f"Second {name}", "visible": len(labels) > 1},
        "blend": {"value": place.blend, "label": f"Share of the second {name}", "visible": len(labels) > 1},
        "seed": {"value": place.seed},
        "seed_b": {"value": place.seed_b},
        "t": {"value": place.t},
        "path": {"value": place.path},
        "truncation": {"value": place.truncation},
    }
    for i, setting in enumerate(list(settings) + [""] * (SETTINGS - len(settings))):
        controls[f"setting{i}"] = {
            "choices": list(settings.get(setting, ())),
            "value": chosen.get(setting),
            "label": setting.capitalize(),
            "visible": bool(setting),
        }
    directions = model.directions_so_far
    held = holding(directions, place, hold)
    controls["hold"] = {"value": held, "visible": bool(variants(directions))}
    sliders = followed(directions, held)
    for i in range(SLIDERS):
        if i < len(sliders):
            direction = sliders[i]
            controls[f"direction{i}"] = {
                **slider(offsets.get(direction.name, 0.0)),
                "visible": True,
                "label": direction.title or direction.name,
                "info": details(direction, LEAKS),
            }
        else:
            controls[f"direction{i}"] = {"value": 0.0, "visible": False}
    return controls | raw_look(model, place, first)


def raw_look(model: Model, place: Recipe, first: Any) -> Look:
    """How the sliders of raw dimensions should look, from dimension `first` on."""
    start, size, offsets = raw_start(model, first), model.generator.latent.size, dict(place.offsets)
    last = (size - 1) // SLIDERS * SLIDERS
    controls: Look = {"first": {"value": start, "maximum": max(last, SLIDERS), "visible": last > 0}}
    for i, k in enumerate(range(start, start + SLIDERS)):
        controls[f"raw{i}"] = {**slider(offsets.get(f"z{k}", 0.0)), "label": f"z{k}", "visible": k < size}
    return controls


def slider(amount: float) -> dict[str, float]:
    """Value and ends of an offset's slider, wide enough for what a recipe says."""
    reach = max(REACH, math.ceil(abs(amount)))
    return {"value": amount, "minimum": -reach, "maximum": reach}


def show(engine: Engine, place: Recipe, heard: bool = True) -> dict[str, Any]:
    """What the player needs of a settled place: its recipe, its picture and its sound, as JSON-able values.

    Without being `heard` a sound that has a picture does not send its waveform, nor compute it.

    Numbers travel as base64 of little-endian arrays. A sound with notes sends them, (notes, 4) float32 of pitch,
    onset, duration and velocity, and the browser plays them; any other sends its waveform in 16 bit, as a WAV has it.
    "searching" says that the model's directions are still to come.
    """
    model, sound = engine.model(place.model), engine.render(place)
    shown: dict[str, Any] = {
        "recipe": place.to_json(),
        "place": place.to_full_dict(),
        "link": place.to_url(),
        "title": title(model, place),
        "searching": model.progress < 1,
        "seconds": sound.seconds,
        "formats": formats.available(sound),
        "played_by": "piano" if sound.notes is not None else None,
    }
    if sound.notes is not None:
        rows = [(n.pitch, n.onset, n.duration, n.velocity) for n in sound.notes]
        shown["notes"] = packed(np.array(rows, "<f4"))
        shown["about"] = f"Piano roll: {len(rows)} notes in {sound.seconds:.1f} seconds"
    else:
        if heard or sound.log_mel is None:
            shown["pcm"] = {"rate": sound.sample_rate, "data": packed(pcm16(sound))}
        shown["about"] = f"Waveform: {sound.seconds:.2f} seconds"
        if sound.log_mel is not None:
            shown["picture"] = picture(sound.log_mel)
            low, high = sound.log_mel.frequencies[[0, -1]]
            shown["about"] = f"Spectrogram: {sound.seconds:.2f} seconds, {low:.0f} to {high:.0f} Hz"
    return shown


def appraise(engine: Engine, place: Recipe) -> dict[str, Any]:
    """What to say of a place once the hand rests: how it is heard and how typical it is, in words, and how much is
    done of the search for directions, from 0 to 1."""
    model, heard = engine.model(place.model), engine.hear(place)
    likely = [label for label in sorted(heard, key=heard.__getitem__, reverse=True)[:2] if heard[label] >= WORTH_SAYING]
    words = [f"Heard as {' or '.join(f'{label} ({int(100 * heard[label])}%)' for label in likely)}."] if likely else []
    words.append(distance(model.generator.latent.remoteness(engine.latent(place))))
    return {"words": " ".join(words), "directions": model.progress}


def distance(remoteness: float) -> str:
    """`LatentSpace.remoteness` in words."""
    if remoteness > 0.995:
        return "Beyond all it was trained on."
    if remoteness < 0.005:
        return "Nearer to the middle than all it was trained on."
    return f"Farther out than {remoteness:.0%} of what it was trained on."


def title(model: Model, place: Recipe) -> str:
    """A place in a few words."""
    words = [place.model]
    if model.generator.condition is not None:
        blend = f" → {place.label_b} at {place.blend:.0%}" if place.blend else ""
        words.append(f"{model.generator.condition.name} {place.label}{blend}")
    if place.mix:
        words.append(mixture(place.mix))
    else:
        words.append(f"seed {place.seed}" if place.t == 0 else f"seed {place.seed} → {place.seed_b} at {place.t:.2f}")
    if place.offsets:
        words.append(", ".join(f"{name} {x:+.3g}" for name, x in place.offsets[:3]) + ", …" * (len(place.offsets) > 3))
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


def save(engine: Engine, place: Recipe, name: str) -> tuple[str, bytes]:
    """A file's name and its bytes, the same as the command line writes. Raises ValueError for an unknown format."""
    recipe = engine.complete(place)
    data = formats.encode(engine.render(recipe), recipe, name)
    return f"{formats.stem(recipe)}.{name}", data

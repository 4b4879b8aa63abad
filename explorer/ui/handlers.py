"""What each control of the app does, as plain functions without gradio, a browser or any state between calls.

A visitor's state is one recipe, which the page holds and sends with every request. Functions that go to another place
take that recipe and return a new one. `make_view` completes a recipe to a `View`, from which everything that the page
shows is computed. `Recipe` checks every value that comes from a browser.
"""

import base64
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from explorer import shelf
from explorer.checkpoint import CheckpointError
from explorer.directions import ONLY, Direction, details
from explorer.engine import Engine
from explorer.files import formats, gallery, instruments, loops
from explorer.latent import MAX_SEED
from explorer.model import Model
from explorer.recipe import Place, Recipe, RecipeError, checked_number
from explorer.sound.base import LogMel, Note, Sound
from explorer.sound.midi import MAX_TEMPO, MIN_TEMPO

SLIDERS = 8  # that are shown at once, of directions and of raw dimensions each
SETTINGS = 3  # settings of generating and decoding that are shown
SAME = 1e-3  # difference of two latents, in any number, that nobody hears
WEAKEST = 0.1  # R² below which a slider would not do what it is named after
LEAKS = 2  # other measures that a slider's text says it moves too
REACH = 4.0  # of an offset's slider to either side, in standard deviations of the prior
STEP = 0.05  # of an offset's slider, in the same unit
MAX_TEXT = 100_000  # characters of a recipe that a browser may send
RANGE_DB = 60.0  # of a spectrogram's colours, below its loudest point
WORTH_SAYING = 0.1  # least probability with which the judge must hear a label for it to be shown
NAMED_WEIGHTS = 12  # hexadecimal digits of the weights' hash in a link

DIRECTION_SLIDERS = tuple(f"direction{i}" for i in range(SLIDERS))
RAW_SLIDERS = tuple(f"raw{i}" for i in range(SLIDERS))
LIVE_SLIDERS = ("t", "truncation", "blend", *DIRECTION_SLIDERS, *RAW_SLIDERS)  # change the sound while they move
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
    *LIVE_SLIDERS,
)

Properties = dict[str, dict[str, Any]]  # by control, the values of its gradio properties


@dataclass(frozen=True)
class View:
    """What the page shows of one place.

    Attributes:
        model: the checkpoint, loaded.
        place: the place whose sound is heard.
        recipe: of the same sound, with every field filled in that a control displays, e.g. `seed_b` while `t` is 0.
            The page holds this one and sends it with every request.
    """

    model: Model
    place: Place
    recipe: Recipe


def default_recipe(engine: Engine) -> Recipe:
    """The recipe of a page opened without a link: of the checkpoint with the longest sounds, in which there is most to
    hear, the first place of its gallery, the most typical one. Of those that cannot be loaded, the next longest.

    Raises:
        RecipeError: if none can be loaded; its message says why.
    """
    reason = shelf.nothing_found(engine.folder)
    seconds: dict[str, float] = {}
    for name, path in shelf.find_checkpoints(engine.folder).items():
        try:
            seconds[name] = shelf.read_card(path).seconds
        except CheckpointError as error:
            reason = str(error)
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        try:
            return gallery.shown(engine, name)[0].recipe
        except CheckpointError as error:
            reason = str(error)
    raise RecipeError(reason)


def read(text: Any) -> Recipe:
    """Parses the recipe that a page sends, as JSON or as a link. Raises RecipeError."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise RecipeError(f"a recipe must be a text of at most {MAX_TEXT:,} characters")
    return Recipe.from_json(text) if text.lstrip().startswith("{") else Recipe.from_url(text)


def make_view(engine: Engine, recipe: Recipe) -> View:
    """Completes a recipe to what the page shows of it.

    Raises:
        CheckpointError, RecipeError: as `Engine.complete`.
    """
    model = engine.model(recipe.model)
    place = model.complete(recipe)
    full, labels = place.recipe, model.card.labels or ()
    shown = replace(
        full,
        weights=full.weights[:NAMED_WEIGHTS],
        # The two seeds stay on their controls while a mix is heard.
        seed=recipe.seed,
        t=0.0 if recipe.seed_b is None else recipe.t,
        mix=recipe.mix,
        seed_b=(recipe.seed + 1) % (MAX_SEED + 1) if recipe.seed_b is None else recipe.seed_b,
        path=recipe.path or model.generator.latent.default_path,
        label_b=recipe.label_b or (labels[(labels.index(full.label) + 1) % len(labels)] if full.label else None),
    )
    return View(model, place, shown)


def change_model(engine: Engine, recipe: Recipe, name: str) -> Recipe:
    """The recipe on another checkpoint, which keeps the seeds and the label if the other has it, but no directions."""
    if not isinstance(name, str):
        raise RecipeError("a checkpoint must be chosen by its name")
    if name == recipe.model:
        return recipe
    if recipe.model.startswith(f"{name}@"):  # from a snapshot of its training, which has the same labels and directions
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
    """The recipe that the values of the controls describe.

    It keeps the model of `recipe`, the offsets that no slider shows, and its mix unless a seed or t has changed.

    Args:
        values: of all CONTROLS, as the browser sent them.
    """
    model = engine.model(recipe.model)
    first = raw_start(model, values["first"])
    offsets = dict(recipe.offsets)
    moved = any(
        values[f"direction{i}"] for i in range(SLIDERS)
    )  # a page may know directions that this server still looks for
    directions = model.wait_for_directions() if moved else model.directions
    offsets |= {
        d.name: values[f"direction{i}"] for i, d in enumerate(slider_directions(directions, values["hold"] is True))
    }
    offsets |= {f"z{first + i}": values[f"raw{i}"] for i in range(min(SLIDERS, model.generator.latent.size - first))}
    labels = {name: values[name] for name in ("label", "label_b", "blend")} if model.card.labels else {}
    still = all(values[name] == getattr(recipe, name) for name in ("seed", "seed_b", "t"))
    return replace(
        recipe,
        mix=recipe.mix if still else (),
        **{name: values[name] for name in ("seed", "seed_b", "t", "path", "truncation")},
        **labels,
        offsets=tuple(offsets.items()),
        settings=tuple((name, values[f"setting{i}"]) for i, name in enumerate(offered_settings(model))),
    )


def slider_directions(directions: Sequence[Direction], held: bool) -> list[Direction]:
    """The direction of each slider; where `held`, its variant that keeps the other measures, if there is one.

    A direction that explains too little of the measure it is named after has no slider.
    """
    known = {d.name: d for d in directions}
    plain = [d for d in directions if not d.name.endswith(ONLY)][:SLIDERS]
    chosen = [known.get(d.name + ONLY, d) if held else d for d in plain]
    return [d for d in chosen if "per_step" not in d.measures or d.measures.get("r2", 1) >= WEAKEST]


def told(directions: Sequence[Direction]) -> dict[str, dict[str, Any]]:
    """What the page says of each direction, by name: its title, what a step changes and in which unit, and how surely.

    "strength" is 1 to 3, the third of the range of R² that it lies in; 0 if R² is not known.
    """
    return {
        d.name: {
            "title": d.title or d.name,
            "step": d.measures.get("per_step"),
            "unit": d.unit,
            "strength": min(3, 1 + int(3 * max(0, d.measures["r2"]))) if "r2" in d.measures else 0,
        }
        for d in directions
    }


def offset_names(view: View, first: Any = 0, hold: Any = False) -> dict[str, str]:
    """For each visible slider of an offset, the offset's name. Arguments as of `control_properties`."""
    model = view.model
    directions = model.directions
    names = [d.name for d in slider_directions(directions, holds_others(directions, view.recipe, hold))]
    start = raw_start(model, first)
    raw = [f"z{k}" for k in range(start, model.generator.latent.size)]
    # As many as there are sliders, or as offsets.
    return dict(zip(DIRECTION_SLIDERS, names, strict=False)) | dict(zip(RAW_SLIDERS, raw, strict=False))


def variants(directions: Sequence[Direction]) -> dict[str, str]:
    """Names of the directions that have a variant which keeps the other measures, mapped to that variant's name."""
    names = {d.name for d in directions}
    return {name: name + ONLY for name in names if name + ONLY in names}


def holds_others(directions: Sequence[Direction], recipe: Recipe, hold: Any) -> bool:
    """Whether the sliders keep the other measures: as the recipe's offsets imply, or else as the checkbox says."""
    names, pairs = dict(recipe.offsets), variants(directions)
    if any(held in names for held in pairs.values()):
        return True
    return hold is True and not any(name in names for name in pairs)


def hold_others(engine: Engine, recipe: Recipe, on: Any) -> Recipe:
    """The same sound, said in the directions whose variants keep the other measures, or in those variants.

    Raises:
        RecipeError: if the other kind of directions cannot say it, since they do not span the present ones.
    """
    model = engine.model(recipe.model)
    pairs = variants(model.directions)
    present, others = (pairs.keys(), pairs.values()) if on is True else (pairs.values(), pairs.keys())
    offsets = dict(recipe.offsets)
    said = {name: offsets.pop(name) for name in present if name in offsets}
    if not said:
        return recipe
    vectors = {d.name: d.vector.flatten().double() for d in model.directions}
    basis = torch.stack([vectors[name] for name in others], 1)
    target = torch.stack([amount * vectors[name] for name, amount in said.items()]).sum(0)
    amounts = torch.linalg.lstsq(basis, target[:, None]).solution[:, 0].tolist()
    for name, amount in zip(others, amounts, strict=True):
        offsets[name] = round(offsets.get(name, 0.0) + amount, 4)
    changed = replace(recipe, offsets=tuple((name, amount) for name, amount in offsets.items() if amount))
    before, after = (engine.latent(engine.complete(r)) for r in (recipe, changed))
    if not torch.allclose(before, after, atol=SAME):
        raise RecipeError("the other sliders cannot make this sound; set these back before you switch")
    return changed


def reset(recipe: Recipe) -> Recipe:
    """Seed A itself: without offsets, truncation, or blend of labels."""
    return replace(recipe, t=0.0, mix=(), truncation=1.0, offsets=(), blend=0.0)


def roll(recipe: Recipe, a: bool, b: bool) -> Recipe:
    """Draws new seeds for A, B or both, which replace a mix."""
    return replace(
        recipe,
        mix=() if a or b else recipe.mix,
        seed=secrets.randbelow(10_000) if a else recipe.seed,
        seed_b=secrets.randbelow(10_000) if b else recipe.seed_b,
    )


def offered_settings(model: Model) -> dict[str, tuple[str, ...]]:
    """The settings that have more than one option."""
    several = {name: options for name, options in model.settings.items() if len(options) > 1}
    return dict(list(several.items())[:SETTINGS])


def raw_start(model: Model, first: Any) -> int:
    """The first raw dimension on a slider: a multiple of SLIDERS inside the latent. Raises RecipeError."""
    if isinstance(first, bool) or not isinstance(first, int | float) or not 0 <= first < model.generator.latent.size:
        raise RecipeError(f"the first dimension must be from 0 to {model.generator.latent.size - 1}, not {first!r}")
    return int(first) // SLIDERS * SLIDERS


def control_properties(engine: Engine, view: View, first: Any = 0, hold: Any = False) -> Properties:
    """Properties of every control for a place.

    Args:
        first: the raw dimension that the first raw slider shows.
        hold: whether "Hold the others" is checked.
    """
    model, recipe = view.model, view.recipe
    condition = model.generator.condition
    chosen, settings = dict(recipe.settings), offered_settings(model)
    name = condition.name if condition else ""
    labels = list(condition.labels) if condition else []
    drawn = "piano" if condition is not None and condition.kind == "pitch" else "keys"
    controls: Properties = {
        "label": {"choices": labels, "value": recipe.label, "label": name.capitalize(), "visible": bool(labels)},
        "label_b": {"choices": labels, "value": recipe.label_b, "label": f"Second {name}", "visible": len(labels) > 1},
        "blend": {"value": recipe.blend, "label": f"Share of the second {name}", "visible": len(labels) > 1},
        "seed": {"value": recipe.seed},
        "seed_b": {"value": recipe.seed_b},
        "t": {"value": recipe.t},
        "path": {"value": recipe.path},
        "truncation": {"value": recipe.truncation},
    }
    for choice in ("label", "label_b"):
        controls[choice]["elem_classes"] = [drawn]
    for i, setting in enumerate(list(settings) + [""] * (SETTINGS - len(settings))):
        controls[f"setting{i}"] = {
            "choices": list(settings.get(setting, ())),
            "value": chosen.get(setting),
            "label": setting.capitalize(),
            "visible": bool(setting),
        }
    directions = model.directions
    held = holds_others(directions, recipe, hold)
    controls["hold"] = {"value": held, "visible": bool(variants(directions))}
    sliders = slider_directions(directions, held)
    for i in range(SLIDERS):
        if i < len(sliders):
            direction = sliders[i]
            controls[f"direction{i}"] = {
                **slider_range(view, direction.name),
                "visible": True,
                "label": direction.title or direction.name,
                "info": details(direction, LEAKS),
            }
        else:
            controls[f"direction{i}"] = {"value": 0.0, "visible": False}
    return controls | raw_slider_properties(view, first)


def raw_slider_properties(view: View, first: Any) -> Properties:
    """Properties of the sliders of raw dimensions, from dimension `first` on."""
    start, size = raw_start(view.model, first), view.model.generator.latent.size
    last = (size - 1) // SLIDERS * SLIDERS
    controls: Properties = {"first": {"value": start, "maximum": max(last, SLIDERS), "visible": last > 0}}
    for i, k in enumerate(range(start, start + SLIDERS)):
        controls[f"raw{i}"] = {"label": f"z{k}", "visible": k < size}
        controls[f"raw{i}"] |= slider_range(view, f"z{k}") if k < size else {"value": 0.0}
    return controls


def slider_range(view: View, name: str) -> dict[str, float]:
    """Value, minimum and maximum of an offset's slider.

    It reaches REACH to either side, or as far as the recipe's offset, but not beyond the bounds of a uniform prior,
    where the slider would change nothing.
    """
    amount = dict(view.recipe.offsets).get(name, 0.0)
    reach = max(REACH, math.ceil(abs(amount)))
    back, ahead = view.model.room(view.place, name)
    low, high = max(-reach, amount - back), min(reach, amount + ahead)
    return {"value": amount, "minimum": min(-STEP, round_outward(low)), "maximum": max(STEP, round_outward(high))}


def slider_ends(view: View, first: Any, hold: Any) -> Properties:
    """Minimum and maximum of the offsets' sliders; nothing for a normal prior, where they do not depend on the place.

    Arguments as of `control_properties`.
    """
    if view.model.generator.latent.prior == "normal":
        return {}
    ranges = {name: slider_range(view, offset) for name, offset in offset_names(view, first, hold).items()}
    return {name: {end: found[end] for end in ("minimum", "maximum")} for name, found in ranges.items()}


def round_outward(end: float) -> float:
    """Rounds away from 0 to the next step of a slider."""
    return math.copysign(math.ceil(round(abs(end) / STEP, 6)) * STEP, end)


def show(engine: Engine, view: View, heard: bool = True, draft: bool = False) -> dict[str, Any]:
    """What the player needs to show and play a view: recipe, picture and sound, as JSON values.

    Unless `heard`, a sound that has a picture is sent without its waveform, which is then not computed. With `draft`
    the sound is that of `Model.draft`.

    "recipe" is the page's state as text, "place" the same as an object with every field. "searching" says that the
    model's directions are still being looked for; "keys" are the MIDI note numbers of the labels, where these are
    pitches. "draft" says that the sound is not the place's own, but a draft of it; "made_with", of models that have
    drafts, which settings tell the two apart. The rest is `sound_sent`'s.
    """
    model, recipe, place = view.model, view.recipe, view.model.draft(view.place) if draft else view.place
    shown: dict[str, Any] = {
        "recipe": recipe.to_json(),
        "place": recipe.to_full_dict(),
        "link": recipe.to_url(),
        "title": title(view),
        "name": title(view, offsets=False),
        "searching": model.progress < 1,
        "draft": place != view.place,
    }
    if model.generator.draft:
        chosen = dict(place.recipe.settings)
        shown["made_with"] = ", ".join(f"{name} {chosen[name]}" for name in model.generator.draft)
    if keys := instruments.keys_of(model):
        shown["keys"] = list(keys)
    return shown | sound_sent(model, engine.render(place), heard)


def sound_sent(model: Model, sound: Sound, heard: bool = True) -> dict[str, Any]:
    """A sound of a model, and its picture, as JSON values; `heard` as of `show`.

    Numbers travel as base64 of little-endian arrays: "notes" are (notes, 4) float32 of pitch, onset, duration and
    velocity, "pcm" the waveform in 16 bit, as a WAV has it. Where "played_by" is "piano" the browser plays the notes,
    and no waveform is sent. "gain" is the factor at which the page plays the sound, so that all checkpoints are equally
    loud; pictures, "pcm" and files are without it. "free" says that the sound has notes which lie on no grid.
    """
    shown: dict[str, Any] = {
        "seconds": sound.seconds,
        "formats": formats.available(sound),
        "played_by": sound.played_by,
        "free": sound.notes is not None and sound.tempo is None,
        "gain": model.level.gain if model.level else 1.0,
    }
    if sound.played_by is None and (heard or (sound.notes is None and sound.log_mel is None)):
        shown["pcm"] = {"rate": sound.sample_rate, "data": packed(formats.pcm16(sound.waveform))}
    if sound.notes is not None:
        shown["notes"] = packed_notes(sound.notes)
        shown["about"] = f"Piano roll: {len(sound.notes)} notes in {sound.seconds:.1f} seconds"
    elif sound.log_mel is not None:
        shown["picture"] = picture(sound.log_mel)
        low, high = sound.log_mel.frequencies[[0, -1]]
        shown["about"] = f"Spectrogram: {sound.seconds:.2f} seconds, {low:.0f} to {high:.0f} Hz"
    else:
        shown["about"] = f"Waveform: {sound.seconds:.2f} seconds"
    return shown


def appraise(engine: Engine, view: View) -> dict[str, Any]:
    """What the judge hears, in words, and how unusual the latent is, once a place is no longer changed.

    "remoteness" is `LatentSpace.remoteness`, for a gauge; "usual" says that it is within the middle 90 % of random
    places, where nothing needs to be said; "distance" is the same in words. "directions" is how much of the search for
    directions is done, from 0 to 1.
    """
    model, heard = view.model, engine.hear(view.place)
    likely = [label for label in sorted(heard, key=heard.__getitem__, reverse=True)[:2] if heard[label] >= WORTH_SAYING]
    words = []
    if likely:
        words.append(f"The judge hears {' or '.join(f'{label} ({int(100 * heard[label])} %)' for label in likely)}.")
    elif heard and model.generator.condition is not None and not any(heard.values()):
        words.append(f"The judge hears no {model.generator.condition.name}.")
    remoteness = model.generator.latent.remoteness(engine.latent(view.place))
    return {
        "words": " ".join(words),
        "remoteness": remoteness,
        "usual": 0.05 <= remoteness <= 0.95,
        "distance": remoteness_in_words(remoteness),
        "directions": model.progress,
    }


def remoteness_in_words(remoteness: float) -> str:
    """`LatentSpace.remoteness` in words."""
    if remoteness > 0.995:
        return "Farther from the centre of latent space than nearly all random places."
    if remoteness < 0.005:
        return "Nearer to the centre of latent space than nearly all random places."
    return f"Farther from the centre of latent space than {100 * remoteness:.0f} % of random places."


def title(view: View, offsets: bool = True) -> str:
    """A place in a few words, e.g. "spoken-digits · digit 3 · seed 7 · pc1 +1.5"; the last only with `offsets`."""
    recipe, condition = view.recipe, view.model.generator.condition
    words = [recipe.model]
    if condition is not None:
        blend = f" → {recipe.label_b} at {100 * recipe.blend:.0f} %" if recipe.blend else ""
        words.append(f"{condition.name} {recipe.label}{blend}")
    if recipe.mix:
        words.append(mix_title(recipe.mix))
    else:
        morph = f"seed {recipe.seed} → {recipe.seed_b} at {recipe.t:.2f}"
        words.append(f"seed {recipe.seed}" if recipe.t == 0 else morph)
    if recipe.offsets and offsets:
        more = ", …" * (len(recipe.offsets) > 3)
        words.append(", ".join(f"{name} {x:+.3g}" for name, x in recipe.offsets[:3]) + more)
    return " · ".join(words)


def mix_title(mix: tuple[tuple[int, float], ...]) -> str:
    """A mix in a few words: "mix of seeds 3, 7", or "seeds 3 + 12 − 7" if a weight is negative."""
    if all(weight > 0 for _, weight in mix):
        return f"seed {mix[0][0]}" if len(mix) == 1 else f"mix of seeds {', '.join(str(seed) for seed, _ in mix)}"
    terms = [
        (" − " if weight < 0 else " + ") + (f"{abs(weight):.3g} × " if abs(weight) != 1 else "") + str(seed)
        for seed, weight in sorted(mix, key=lambda pair: pair[1] < 0)
    ]
    return "seeds " + "".join(terms).removeprefix(" + ").strip()


def picture(log_mel: LogMel) -> dict[str, Any]:
    """A log-mel spectrogram in 256 levels, from its loudest point down to RANGE_DB below; the lowest band first."""
    decibels = 20 / math.log(10) * log_mel.values
    levels = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1) * 255
    return {
        "bands": levels.shape[0],
        "frames": levels.shape[1],
        "levels": packed(levels.round().astype(np.uint8)),
        "frame": log_mel.hop_length / log_mel.sample_rate,
        "frequencies": log_mel.frequencies.round(1).tolist(),
    }


def packed(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def packed_notes(notes: Sequence[Note]) -> str:
    """Notes as base64 of (notes, 4) float32: pitch, onset, duration and velocity."""
    return packed(np.array([(n.pitch, n.onset, n.duration, n.velocity) for n in notes], "<f4"))


def save(engine: Engine, recipe: Recipe, name: str, tempo: Any = None) -> tuple[str, bytes]:
    """Name and bytes of a saved file, the same as the command line writes.

    Args:
        tempo: beats per minute of the grid to which notes are moved; None to leave them as they are.
    Raises:
        ValueError: for an unknown format, a tempo out of range, or one for a sound without notes.
    """
    place = engine.complete(recipe)
    if tempo is None:
        return file_name(engine, place, name), encode(engine, place, name)
    tempo = checked_number("the tempo", tempo, MIN_TEMPO, MAX_TEMPO)
    sound = formats.on_grid(engine.render(place), tempo)
    return f"{formats.stem(engine, place.recipe, tempo=tempo)}.{name}", formats.encode(sound, place.recipe, name)


def loop(engine: Engine, recipe: Recipe, start: Any, end: Any) -> dict[str, Any]:
    """A part of a place's sound as a loop, for the page to play: "pcm" as of `show`, and where it really starts and
    ends, in seconds. Raises as `loops.cut_loop`."""
    cut = loops.cut_loop(engine.render(engine.complete(recipe)), start, end)
    rate = cut.sample_rate
    pcm = {"rate": rate, "data": packed(formats.pcm16(cut.waveform))}
    return {"start": cut.start / rate, "end": cut.end / rate, "pcm": pcm}


def save_loop(engine: Engine, recipe: Recipe, start: Any, end: Any) -> tuple[str, bytes]:
    """Name and bytes of a loop's WAV file, with the samples that the page plays. Raises as `loops.cut_loop`."""
    place = engine.complete(recipe)
    cut = loops.cut_loop(engine.render(place), start, end)
    return loops.name(engine, place, cut), loops.encode(engine, place, cut)


def file_name(engine: Engine, place: Place, name: str) -> str:
    """The name of a place's file in a format."""
    return f"{formats.stem(engine, place.recipe)}.{name}"


def encode(engine: Engine, place: Place, name: str) -> bytes:
    """The bytes of a place's file. Raises ValueError for an unknown format."""
    return formats.encode(engine.render(place), place.recipe, name)

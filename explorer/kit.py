"""`Kit`: eight places on the pads of a drum machine, and a beat of one bar that plays them.

Like a `Recipe` it is small and exact, and is written as the query of a link, as JSON, and inside saved files.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from explorer.recipe import VERSION, Recipe, RecipeError, checked_number

PADS, STEPS = 8, 16
MAX_SECONDS = 2.0  # of a sound that a pad can play
TEMPO, MIN_TEMPO, MAX_TEMPO = 110.0, 30.0, 300.0  # beats per minute; a beat is four steps
SWING, MIN_SWING, MAX_SWING = 50.0, 50.0, 75.0  # share of the first of two steps in per cent; 50 is straight
BEAT = "82800808aaa800020000000000000000"  # to begin with
PREFIX = "kit."  # of a kit's fields in a link, beside those of a place
SHARED = ("version", "model", "weights")  # fields of a recipe that all pads of a kit have in common

_HAT = r"\bhats?\b|\bhi ?hat|\bhh\b"
# Words in a label, in the order of the pads, and the General MIDI notes of such a drum, the usual one first.
DRUMS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"\bkick|\bbass ?drum|\bbd\b", (36, 35)),
    (r"\bsnare|\bsd\b", (38, 40)),
    (rf"\bchh\b|(?=.*\bclosed\b)(?=.*({_HAT}))", (42, 44)),
    (rf"\bohh\b|(?=.*\bopen\b)(?=.*({_HAT}))", (46,)),
    (_HAT, (42, 44, 46)),
    (r"\bclap", (39,)),
    (r"\btoms?\b", (45, 50, 47, 43, 48, 41)),
    (r"\bcrash|\bcymbal", (49, 57)),
    (r"\bride\b", (51, 59)),
    (r"\brim|\bside ?stick", (37,)),
    (r"\bcow ?bell", (56,)),
    (r"\bshaker|\bmaraca", (70, 69)),
    (r"\btambourine", (54,)),
    (r"\bconga|\bbongo", (63, 64, 62, 60, 61)),
    (r"\bclave|\bwood ?block", (75, 76, 77)),
)
HATS = range(2, 5)  # in DRUMS
CHORD = (0, 4, 7)  # semitones of a major triad
OTHER_NOTES = (36, 38, 42, 46, 39, 45, 50, 49, 37, 56, 51, 70, 54, 63, 75)  # for sounds that are none of these drums


@dataclass(frozen=True)
class Kit:
    """Eight places of one checkpoint, and a bar of sixteen steps.

    Attributes:
        pads: the PADS recipes, which share model and weights.
        beat: for each pad the steps that strike it, as a number of STEPS bits; the highest bit is the first step.
        tempo: beats per minute, MIN_TEMPO ... MAX_TEMPO.
        swing: how much of a pair of steps the first one takes, in per cent, MIN_SWING ... MAX_SWING.
        choke: numbers, from 1, of the pads that silence each other, as the two pedals of a hi-hat do. A pad always
            silences itself.
    Raises:
        RecipeError: if a value is missing, of the wrong kind or out of range, NaN included.
    """

    pads: tuple[Recipe, ...]
    beat: tuple[int, ...] = tuple(int(BEAT[i : i + 4], 16) for i in range(0, len(BEAT), 4))
    tempo: float = TEMPO
    swing: float = SWING
    choke: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.pads) != PADS:
            raise RecipeError(f"a kit has {PADS} pads, not {len(self.pads)}")
        if len({(pad.model, pad.weights) for pad in self.pads}) > 1:
            raise RecipeError("the pads of a kit are places of one checkpoint")
        if len(self.beat) != PADS or not all(0 <= steps < 1 << STEPS for steps in self.beat):
            raise RecipeError(f"a beat has {STEPS} steps for each of {PADS} pads")
        for name, low, high in (("tempo", MIN_TEMPO, MAX_TEMPO), ("swing", MIN_SWING, MAX_SWING)):
            object.__setattr__(self, name, checked_number(name, getattr(self, name), low, high))
        if not set(self.choke) <= set(range(1, PADS + 1)):
            raise RecipeError(f"the pads of a choke group are numbers from 1 to {PADS}")
        object.__setattr__(self, "choke", tuple(sorted(set(self.choke))))

    @property
    def model(self) -> str:
        return self.pads[0].model

    @property
    def bar(self) -> float:
        """Seconds from the first step to the first step of the next bar."""
        return self.onset(STEPS)

    def onset(self, step: int) -> float:
        """Seconds from the first step to a step, counted from 0."""
        return (step // 2 + step % 2 * self.swing / 100) * 30 / self.tempo

    def strikes(self) -> list[tuple[int, int]]:
        """(step, pad), both from 0, of each hit in a bar, in the order of time; of pads that silence each other only
        the first is struck at one step."""
        found = []
        for step in range(STEPS):
            struck = [pad for pad in range(PADS) if self.beat[pad] >> (STEPS - 1 - step) & 1]
            choking = [pad for pad in struck if pad + 1 in self.choke]
            found += [(step, pad) for pad in struck if pad not in choking[1:]]
        return found

    def silenced_by(self, pad: int) -> set[int]:
        """The pads, from 0, that fall silent when this one is struck."""
        return {number - 1 for number in self.choke} if pad + 1 in self.choke else {pad}

    def notes(self) -> tuple[int, ...]:
        """A General MIDI drum note for each pad, all different, by its label if that names a drum."""
        taken: list[int] = []
        for pad in self.pads:
            drum = _drum(pad.label)
            wanted = (*(DRUMS[drum][1] if drum is not None else ()), *OTHER_NOTES)
            taken.append(next(note for note in wanted if note not in taken))
        return tuple(taken)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the shared fields of the recipes once, the beat as four hexadecimal digits a pad."""
        return {
            "version": VERSION,
            "model": self.model,
            "weights": self.pads[0].weights,
            "pads": [{"seed": pad.seed, **_own(pad)} for pad in self.pads],
            "beat": "".join(f"{steps:04x}" for steps in self.beat),
            "tempo": self.tempo,
            "swing": self.swing,
            "choke": "".join(map(str, self.choke)),
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Kit":
        """Parses what `to_dict` writes. Raises RecipeError, also for an unknown field."""
        if not isinstance(data, dict) or not isinstance(data.get("pads"), list):
            raise RecipeError("a kit is an object with a list of 'pads'")
        fields = ("pads", "beat", "tempo", "swing", "choke")
        if unknown := sorted(set(data) - {*SHARED, *fields}):
            raise RecipeError(f"a kit has no field {', '.join(unknown)}")
        if missing := [name for name in fields if name not in data]:
            raise RecipeError(f"this kit lacks its {missing[0]}")
        if len(data["pads"]) != PADS:
            raise RecipeError(f"a kit has {PADS} pads, not {len(data['pads'])}")
        shared = {name: data[name] for name in SHARED if name in data}
        pads = []
        for number, own in enumerate(data["pads"], 1):
            if not isinstance(own, dict) or "seed" not in own:
                raise RecipeError(f"pad {number} of this kit is missing")
            try:
                pads.append(Recipe.from_dict({**own, **shared}))
            except RecipeError as error:
                raise RecipeError(f"pad {number}: {error}") from None
        beat, choke = data["beat"], data["choke"]
        if not isinstance(beat, str) or not re.fullmatch(f"[0-9a-f]{{{PADS * STEPS // 4}}}", beat):
            raise RecipeError(f"a beat is written as {PADS * STEPS // 4} hexadecimal digits, not {beat!r:.60}")
        if not isinstance(choke, str) or not re.fullmatch(f"[1-{PADS}]{{0,{PADS}}}", choke):
            raise RecipeError(f"a choke group is written as numbers of pads such as 34, not {choke!r:.60}")
        rows = tuple(int(beat[i : i + STEPS // 4], 16) for i in range(0, len(beat), STEPS // 4))
        return cls(tuple(pads), rows, data["tempo"], data["swing"], tuple(map(int, choke)))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Kit":
        """Parses what `to_json` writes. Raises RecipeError as `from_dict`, and if the text is not JSON."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"not a kit: {error}") from None
        return cls.from_dict(data)

    def to_url(self, base: str = "") -> str:
        """A link: `base` and the kit as its query, such as kit.tempo=110&kit.1.seed=7, beside model and weights."""
        shared = {"model": self.model, **({"weights": self.pads[0].weights} if self.pads[0].weights else {})}
        flat = {name: str(value) for name, value in self.to_dict().items() if name not in (*SHARED, "pads")}
        link = f"{base}?{urlencode(shared)}&{urlencode({PREFIX + name: value for name, value in flat.items()})}"
        for number, pad in enumerate(self.pads, 1):
            own = replace(pad, model="", weights="").to_url()  # ?version=1&model=&seed=7
            pairs = [pair for pair in parse_qsl(own[1:], keep_blank_values=True) if pair[0] not in (*SHARED, "seed")]
            for name, value in [("seed", str(pad.seed)), *pairs]:
                link += "&" + urlencode({f"{PREFIX}{number}.{name}": value})
        return link

    @classmethod
    def from_url(cls, text: str) -> "Kit":
        """Parses what `to_url` writes: a whole link or its query alone; ignores parameters that are not the kit's.

        Raises:
            RecipeError: if a value cannot be read, or a pad or no model is named.
        """
        try:
            query = urlsplit(text).query if "?" in text else text
        except ValueError as error:
            raise RecipeError(f"not a link: {error}") from None
        shared: dict[str, str] = {}
        data: dict[str, Any] = {}
        places: list[list[tuple[str, str]]] = [[] for _ in range(PADS)]
        for key, value in parse_qsl(query, keep_blank_values=True):
            if key in SHARED:
                shared[key] = value
            if not key.startswith(PREFIX):
                continue
            name, dot, field = key.removeprefix(PREFIX).partition(".")
            if dot and re.fullmatch(f"[1-{PADS}]", name):
                places[int(name) - 1].append((field, value))
            elif name in ("tempo", "swing"):
                try:
                    data[name] = float(value)
                except ValueError:
                    raise RecipeError(f"{name} must be a number, not {value!r:.60}") from None
            else:
                data[key.removeprefix(PREFIX)] = value
        data["pads"] = []
        for number, place in enumerate(places, 1):
            try:
                recipe = Recipe.from_url(urlencode([*place, *shared.items()]))
            except RecipeError as error:
                raise RecipeError(f"pad {number}: {error}") from None
            data["pads"].append({"seed": recipe.seed, **_own(recipe)} if ("seed" in dict(place)) else None)
        return cls.from_dict({**shared, **data, "version": VERSION})


def new(model: str, labels: Sequence[str] | None, seeds: Sequence[int] = range(PADS)) -> Kit:
    """A kit of seeds with the labels in turn: drums in the order of DRUMS, other labels in their own. Hats choke each
    other.

    Args:
        seeds: PADS of them.
    """
    return labelled(model, arranged(labels) if labels else None, seeds)


def labelled(model: str, labels: Sequence[str] | None, seeds: Sequence[int]) -> Kit:
    """A kit of seeds with the labels in turn, in this order. Hats choke each other."""
    turns = [labels[i % len(labels)] if labels else None for i in range(len(seeds))]
    hats = tuple(number for number, label in enumerate(turns, 1) if _drum(label) in HATS)
    pads = tuple(Recipe(model, seed=seed, label=label) for seed, label in zip(seeds, turns, strict=True))
    return Kit(pads, choke=hats if len(hats) > 1 else ())


def arranged(labels: Sequence[str]) -> list[str]:
    """Labels in the order of the pads: kick, snare, hats and so on; other labels after these, in their own order."""
    return sorted(labels, key=lambda label: len(DRUMS) if (drum := _drum(label)) is None else drum)


def chord(pitches: Sequence[int]) -> list[int]:
    """Up to PADS of some pitches that sound well together: tones of a major triad on the lowest one, over the whole
    range.

    Args:
        pitches: MIDI note numbers, at least one.
    """
    lowest = min(pitches)
    tones = sorted(pitch for pitch in pitches if (pitch - lowest) % 12 in CHORD)
    count = min(PADS, len(tones))
    return [tones[round(i * (len(tones) - 1) / max(1, count - 1))] for i in range(count)]


def _drum(label: str | None) -> int | None:
    """The index in DRUMS of the drum that a label names; None if it names none."""
    words = " ".join(re.findall("[a-z]+", (label or "").lower()))
    return next((i for i, (pattern, _) in enumerate(DRUMS) if re.search(pattern, words)), None)


def _own(pad: Recipe) -> dict[str, Any]:
    return {name: value for name, value in pad.to_dict().items() if name not in SHARED}

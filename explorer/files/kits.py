"""Kits of checkpoints, and their files: the loop, the pattern, and the hits for a sampler.

    >>> kit = new(engine, "spoken-digits")
    >>> write_hits(engine, kit, Path("kit"))
    >>> write(engine, kit, Path("loop.wav"))

Every file contains the kit, so the app opens it again. Equal kits give equal bytes.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from explorer import atomic
from explorer import kit as kits
from explorer.engine import Engine
from explorer.files import formats
from explorer.files.instruments import keys_of
from explorer.files.ready import AUDIBLE
from explorer.kit import MAX_SECONDS, PADS, STEPS, Kit
from explorer.recipe import RecipeError
from explorer.sound.base import Note, Sound

FADE = 0.005  # seconds in which a hit falls silent when another one cuts it, as in the app
VELOCITY = 100  # of the pattern's MIDI notes


def new(engine: Engine, name: str, seeds: Sequence[int] = range(PADS), labels: Sequence[str] | None = None) -> Kit:
    """A kit of a checkpoint: eight seeds, with the labels in turn, and a simple beat.

    Args:
        labels: in the order of the pads; None for those of the checkpoint, drums in their usual order, of keys a chord.
    Raises:
        CheckpointError, RecipeError: as `complete`.
    """
    model = engine.model(name)
    if labels is None and (keys := keys_of(model)):
        labels = [keys[pitch] for pitch in kits.chord(list(keys))]
    if labels is not None:
        return complete(engine, kits.labelled(name, labels, seeds))
    return complete(engine, kits.new(name, model.card.labels, seeds))


def complete(engine: Engine, kit: Kit) -> Kit:
    """Completes the recipe of every pad.

    Raises:
        CheckpointError: as `Engine.complete`.
        RecipeError: naming the pad, if the checkpoint has no such label, direction or setting; also if its sounds are
            longer than MAX_SECONDS.
    """
    model = engine.model(kit.model)
    if (seconds := model.generator.representation.seconds) > MAX_SECONDS:
        raise RecipeError(
            f"a sound of {kit.model!r} takes {seconds:.3g} s, and a pad plays sounds of up to {MAX_SECONDS:g} s"
        )
    pads = []
    for number, pad in enumerate(kit.pads, 1):
        try:
            pads.append(model.complete(pad).recipe)
        except RecipeError as error:
            raise RecipeError(f"pad {number}: {error}") from None
    return replace(kit, pads=tuple(pads))


def audible(sound: Sound) -> int:
    """The first sample that is not silence before the sound, where a hit begins, as in the app."""
    pcm = np.abs(formats.pcm16(sound.waveform).astype(np.int32))
    return int(np.argmax(pcm * AUDIBLE > pcm.max()))


def loop(kit: Kit, sounds: Sequence[Sound]) -> Sound:
    """One bar of the beat, which can be repeated without a gap: what still sounds at its end is heard at its start.

    The hits of step i begin at sample `round(kit.onset(i) * sample_rate)`, without the silence before them. If their
    sum exceeds full scale, the whole is scaled down to full scale.

    Args:
        sounds: of the pads, of one sample rate.
    """
    rate = sounds[0].sample_rate
    size = round(kit.bar * rate)
    fall = np.linspace(1, 0, round(FADE * rate) + 1, dtype=np.float32)[1:]

    def synthesize() -> np.ndarray:
        waveforms = [sound.waveform[audible(sound) :] for sound in sounds]
        longest = max(map(len, waveforms))
        before = -(-longest // size)  # bars whose hits may still sound
        hits = [
            (bar * size + round(kit.onset(step) * rate), pad)
            for bar in range(before + 2)
            for step, pad in kit.strikes()
        ]
        mix = np.zeros((before + 2) * size + longest, np.float32)
        for i, (onset, pad) in enumerate(hits):
            cut = next((later for later, by in hits[i + 1 :] if pad in kit.silenced_by(by)), None)
            part = waveforms[pad]
            if cut is not None and cut - onset < len(part):
                part = part[: cut - onset + len(fall)].copy()
                part[cut - onset :] *= fall[: len(part) - (cut - onset)]
            mix[onset : onset + len(part)] += part
        bar = mix[before * size : (before + 1) * size]
        return bar / max(np.float32(1), np.abs(bar).max())

    return Sound(synthesize, rate, size / rate)


def pattern(kit: Kit) -> tuple[Note, ...]:
    """One bar of the beat as General MIDI drum notes, each half a step long."""
    notes = kit.notes()
    return tuple(Note(notes[pad], kit.onset(step), kit.bar / STEPS / 2, VELOCITY) for step, pad in kit.strikes())


def stem(kit: Kit) -> str:
    """The name of a kit's files, without suffix."""
    return formats.safe_name(f"{kit.model}-kit-{kit.tempo:g}bpm")


def encode(engine: Engine, kit: Kit, name: str) -> bytes:
    """The bytes of a file in one of FORMATS: "wav" for the loop, "mid" for the pattern, "zip" for the hits.

    Raises:
        ValueError: if there is no such format, or the beat of a loop or a pattern is empty.
        CheckpointError, RecipeError: as `complete`.
    """
    if name not in FORMATS:
        raise ValueError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    if name != "zip" and not kit.strikes():
        raise ValueError("the beat is empty: set some steps first")
    return FORMATS[name](engine, complete(engine, kit))


def write(engine: Engine, kit: Kit, path: Path) -> None:
    """Writes a file in the format of its suffix, one of FORMATS, completely or not at all. Raises as `encode`."""
    atomic.write_bytes(path, encode(engine, kit, path.suffix.removeprefix(".").lower()))


def hits(engine: Engine, kit: Kit) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files for a sampler: a WAV of each pad, which contains its recipe; kit.sfz, which puts
    them on their General MIDI notes and skips the silence before them; and kit.json, which the app opens.

    Args:
        kit: completed.
    """
    names, starts = [], []
    for number, (pad, note) in enumerate(zip(kit.pads, kit.notes(), strict=True), 1):
        names.append(
            formats.safe_name(f"{number}-{pad.label or formats.stem(engine, pad).removeprefix(pad.model + '-')}-{note}")
            + ".wav"
        )
        sound = engine.render(pad)
        starts.append(audible(sound))
        yield names[-1], formats.encode(sound, pad, "wav")
    yield "kit.sfz", _sfz(kit, names, starts).encode("utf-8")
    yield "kit.json", (kit.to_json() + "\n").encode("utf-8")


def write_hits(engine: Engine, kit: Kit, folder: Path) -> int:
    """Writes the files of `hits` into a folder and returns their number. Raises as `complete` and `write_all`."""
    return formats.write_all(hits(engine, complete(engine, kit)), folder)


def _sfz(kit: Kit, names: Sequence[str], starts: Sequence[int]) -> str:
    """An instrument of the SFZ format: one region a pad; pads that choke each other are in one group."""
    lines = [f"// {kit.model}, seeds {', '.join(str(pad.seed) for pad in kit.pads)}"]
    for number, (name, start, note) in enumerate(zip(names, starts, kit.notes(), strict=True), 1):
        group = min(kit.choke) if number in kit.choke else number
        lines.append(
            f"<region> sample={name} offset={start} key={note} pitch_keytrack=0 loop_mode=one_shot "
            f"group={group} off_by={group} off_mode=fast"
        )
    return "\n".join(lines) + "\n"


def _wav(engine: Engine, kit: Kit) -> bytes:
    return formats.FORMATS["wav"](loop(kit, [engine.render(pad) for pad in kit.pads]), kit.to_json())


def _mid(engine: Engine, kit: Kit) -> bytes:
    from explorer.sound import midi

    stream = io.BytesIO()
    midi.write_drums(pattern(kit), kit.tempo, kit.bar, stream, kit.to_json())
    return stream.getvalue()


def _zip(engine: Engine, kit: Kit) -> bytes:
    return formats.zipped(hits(engine, kit))


FORMATS: Mapping[str, Callable[[Engine, Kit], bytes]] = {"wav": _wav, "mid": _mid, "zip": _zip}

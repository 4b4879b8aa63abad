"""Builds a set of drum hits to train on, from SoundFonts, folders of one-shots, and the drum synthesiser.

Recordings that sound alike are taken once, and a drum with all its relatives (the same sample in another kit or
SoundFont, another velocity) is on one side only: for training or for validation.
"""

import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from explorer.sound.mel_scale import mel_filters
from training.data.debian import unpacked
from training.data.drum_kits import SAMPLE_RATE, VELOCITIES, DrumHit, drum_hits, kin
from training.data.drum_synth import PARAMETERS, draw, synthesise
from training.data.drum_synth import SAMPLE_RATE as SYNTH_RATE
from training.data.files import AUDIO, find, read_content
from training.data.inventory import Inventory, Unusable
from training.data.labels import related
from training.data.one_shots import PEAK, drum_of, shape_hit
from training.data.recordings import read_audio
from training.data.soundfont import SOUNDFONTS, SoundFont, soundfont
from training.task import DataError

LABELS = tuple(PARAMETERS)
SECONDS = 1.6  # of a hit that is written
OPEN_SECONDS = 0.25  # a hat that takes longer for 95 % of its energy is open, whatever it is called
LOOK_RATE, LOOK_SAMPLES = 16_000, 16_384  # at which hits are compared
SAME, NEAR = 1.0, 2.0  # dB between mel spectrograms: of the same sound, and of one drum
HELD_OUT = 0.2  # share of each label's recordings for validation, at least one
SYNTH_HELD_OUT = 5  # one in so many synthesised hits


@dataclass(frozen=True)
class Source:
    """A file that is known by its hash: its name, and the licence of its sounds."""

    name: str
    licence: str


KNOWN = {
    "6f531493ac4e4d9772fd96b2488ea1790af81c196135fbdd25997da0781fc60e": Source("fluid-soundfont-gm 3.1-5.3", "MIT"),
    "74594e8f4250680adf590507a306655a299935343583256f3b722c48a1bc1cb0": Source("FluidR3_GM.sf2", "MIT"),
    "ece0ce63dc4d4d44fecbd3ee6761b328e66c189892b2b369cbd8e79b4411a82b": Source(
        "musescore-general-soundfont-lossless 0.2.1-1", "MIT, parts CC0 or public domain"
    ),
    "59287cbb0f424ec76d1bc269eee40dfe0b02252588d72eb016b5d2382e710a8f": Source(
        "MuseScore_General_Full.sf2", "MIT, parts CC0 or public domain"
    ),
    "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d": Source(
        "sonic-pi-samples 3.2.2~repack-8", "CC0 1.0"
    ),
}
RENDITION = re.compile(r"[-_](vl\d+|rr\d+|hard|soft)(?=[-_]|$)")  # velocities and repetitions of one drum
WITH_MORE = ("FluidR3_GM", "MuseScore_General_Full")
# Sounds of these two SoundFonts beyond the keys of General MIDI: bank, program, keys, label.
BEYOND_GENERAL_MIDI = (
    (128, 0, (67, 68), "cowbell"),  # agogo
    (128, 0, (75, 76, 77), "rim"),  # claves, wood blocks
    (128, 48, (38,), "snare"),
    (128, 48, (57,), "crash"),
    (128, 56, (50, 52, 57), "snare"),  # marching snare
    (128, 56, (53, 55, 59), "rim"),
    (128, 58, (71, 90), "crash"),  # marching cymbals
    (128, 58, (82, 84), "ride"),
    (128, 96, (36, 48, 60, 72, 84, 96), "tom"),  # marching tenors
    (128, 96, (37, 40, 49, 52, 61, 73, 85, 97), "rim"),
    (0, 113, (60, 66, 72), "cowbell"),  # agogo
    (0, 116, (36, 42, 48, 54), "tom"),  # taiko
    (0, 117, (40, 46, 52, 58), "tom"),
    (8, 117, (40, 46, 52, 58), "tom"),
    (0, 118, (36, 42, 48, 54, 60), "tom"),  # synthesised
    (8, 118, (36, 42, 48, 54, 60), "tom"),
)


@dataclass(frozen=True)
class Hit:
    """A recorded hit: (n,) at SAMPLE_RATE, its label and name, what it is related by, and how it looks (`_look`)."""

    waveform: np.ndarray
    label: str
    name: str
    kin: frozenset[str]
    look: np.ndarray


def build(sources: Sequence[Path], out: Path, synthesised: int) -> str:
    """Writes `out/recorded` and `out/synthesised`, each with train/LABEL/*.flac and valid/LABEL/*.flac, and NOTICE.md.

    `out/synthesised/parameters.json` holds the parameters of each synthesised hit. The same sources and number give the
    same sounds.

    Args:
        sources: SoundFonts, Debian packages that hold SoundFonts or recordings, and folders of both.
        synthesised: hits of each label.
    Returns:
        A table of what was written, and why the rest was not.
    Raises:
        DataError: if `out` exists, a source cannot be read, or none holds a drum.
    """
    if out.exists():
        raise DataError(f"{out} exists already: name a new folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        place, inventory = Path(scratch) / "set", Inventory("hits")
        notices = ["# Sources of these sounds", ""]
        hits = [hit for source in sources for hit in _hits_of(source, Path(scratch), notices, inventory)]
        if sources and not hits:
            raise DataError(f"{', '.join(map(str, sources))}: no drum in it: {inventory.reasons() or 'no sounds'}")
        kept = _without_repetitions(hits)
        sides = _sides(kept)
        for number, (hit, side) in enumerate(zip(kept, sides, strict=True)):
            _write(
                place / "recorded" / side / hit.label / f"{number:04}-{hit.name.replace(' ', '-')}.flac",
                hit.waveform,
                SAMPLE_RATE,
            )
        _synthesise(place / "synthesised", synthesised)
        notices.append(f"- The drum synthesiser of this repository, {synthesised} hits of each label: MIT")
        (place / "NOTICE.md").write_text("\n".join([*notices, ""]), encoding="utf-8")
        place.replace(out)
    count = Counter((hit.label, side) for hit, side in zip(kept, sides, strict=True))
    lines = [f"{'recordings':<12}{'train':>7}{'valid':>7}"]
    lines += [f"{label:<12}{count[label, 'train']:>7}{count[label, 'valid']:>7}" for label in LABELS]
    lines.append(f"{len(kept):,} recordings, and {synthesised:,} synthesised hits of each label, in {out}")
    if len(kept) < len(hits):
        lines.append(f"left out: {len(hits) - len(kept):,} × sounds like another")
    return "\n".join([*lines, *([f"left out: {inventory.reasons()}"] if inventory.skipped else [])])


def _hits_of(source: Path, scratch: Path, notices: list[str], inventory: Inventory) -> Iterator[Hit]:
    """The hits of a source; adds what is known of its licence to the notices."""
    if source.is_dir():
        notices.append(f"- The folder {source.name}: its licence is not known here")
        for file in find(source, AUDIO | SOUNDFONTS, inventory):
            yield from _hits_in(file.path, file.name, inventory)
        return
    if not source.is_file():
        raise DataError(f"{source}: no such file or folder")
    sha256 = read_content(source).sha256
    known = KNOWN.get(sha256, Source(source.name, "its licence is not known here"))
    notices.append(f"- {known.name}, SHA-256 {sha256}: {known.licence}")
    if source.suffix.lower() != ".deb":
        yield from _hits_in(source, PurePosixPath(source.name), inventory)
        return
    for name, copy in unpacked(source, _wanted, scratch):
        if name.name == "copyright":
            lines = copy.read_text(encoding="utf-8", errors="replace").splitlines()
            notices += ["", "  Its copyright file:", "", *(f"      {line}".rstrip() for line in lines), ""]
        else:
            yield from _hits_in(copy, name, inventory)


def _wanted(name: PurePosixPath) -> bool:
    return name.suffix.lower() in AUDIO | SOUNDFONTS or name.match("usr/share/doc/*/copyright")


def _hits_in(path: Path, name: PurePosixPath, inventory: Inventory) -> Iterator[Hit]:
    """The hits in a file that is called `name` where it comes from."""
    try:
        if path.suffix.lower() in SOUNDFONTS:
            with soundfont(path) as font:
                yield from _of_soundfont(font, name.stem)
        elif label := drum_of(name.parent.name) or drum_of(name.stem):
            waveform = read_audio(path, SAMPLE_RATE, SECONDS)
            if label == "closed-hat" and "closed" not in name.stem and _rings(waveform):
                label = "open-hat"
            drum = RENDITION.sub("", name.stem)
            yield Hit(waveform, label, name.stem, frozenset([drum]), _look(waveform))
        else:
            inventory.skip(name, "neither its folder nor its name says which drum it is")
    except Unusable as error:
        inventory.skip(name, str(error))


def _of_soundfont(font: SoundFont, name: str) -> Iterator[Hit]:
    hits = list(drum_hits(font))
    if name in WITH_MORE:
        kits = {(kit.bank, kit.program): kit for kit in font.presets}
        for bank, program, keys, label in BEYOND_GENERAL_MIDI:
            if kit := kits.get((bank, program)):
                hits += [DrumHit(kit, k, v, label, font.voices(kit, k, v)) for k in keys for v in VELOCITIES]
    for hit in hits:
        waveform = font.render(hit.kit, hit.key, hit.velocity, SECONDS, SAMPLE_RATE)
        try:
            look = _look(waveform)
        except Unusable:
            continue  # a key without a sound
        yield Hit(waveform, hit.label, f"{name} {hit.kit.bank} {hit.name}", kin(font, hit), look)


def _rings(waveform: np.ndarray) -> bool:
    energy = np.cumsum(shape_hit(waveform, SAMPLE_RATE, LOOK_RATE, LOOK_SAMPLES).astype(np.float64) ** 2)
    return bool(np.searchsorted(energy, 0.95 * energy[-1]) > OPEN_SECONDS * LOOK_RATE)


def _look(waveform: np.ndarray) -> np.ndarray:
    """The mel spectrogram of a hit in dB, at most 60 below its peak, by which it is compared."""
    hit = shape_hit(waveform, SAMPLE_RATE, LOOK_RATE, LOOK_SAMPLES)
    frames = np.lib.stride_tricks.sliding_window_view(hit, 512)[::128]
    power = np.abs(np.fft.rfft(frames * np.hanning(512))) ** 2 @ mel_filters(LOOK_RATE, 512, 40).T
    look: np.ndarray = 10 * np.log10(np.maximum(power / power.max(), 1e-6)).ravel().astype(np.float32)
    return look


def _without_repetitions(hits: Sequence[Hit]) -> list[Hit]:
    """Leaves out hits that sound as an earlier one of their label; those that sound near it become its kin."""
    kept: dict[str, list[Hit]] = {label: [] for label in LABELS}
    for hit in hits:
        earlier = kept.setdefault(hit.label, [])
        apart = np.array([np.sqrt(np.mean((other.look - hit.look) ** 2)) for other in earlier])
        if earlier and apart.min() < SAME:
            k = int(apart.argmin())
            earlier[k] = replace(earlier[k], kin=earlier[k].kin | hit.kin)
            continue
        near = [earlier[k].kin for k in np.flatnonzero(apart < NEAR)]
        earlier.append(replace(hit, kin=hit.kin.union(*near)))
    return [hit for own in kept.values() for hit in own]


def _sides(hits: Sequence[Hit]) -> list[str]:
    """ "train" or "valid" for each hit: about `HELD_OUT` of each label, whole groups of relatives at a time."""
    groups = list(related({k: hit.kin for k, hit in enumerate(hits)}).values())
    sizes = Counter((group, hit.label) for group, hit in zip(groups, hits, strict=True))
    of_label = Counter(hit.label for hit in hits)
    held: Counter[str] = Counter()
    valid = set()
    for group in sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).hexdigest()):
        own = {label: sizes[group, label] for label in LABELS if sizes[group, label]}
        room = {label: max(1, HELD_OUT * of_label[label]) - held[label] for label in own}
        if all(own[label] <= room[label] and own[label] < of_label[label] for label in own):
            valid.add(group)
            held.update(own)
    return ["valid" if group in valid else "train" for group in groups]


def _synthesise(folder: Path, count: int) -> None:
    parameters: dict[str, Mapping[str, float]] = {}
    for number, label in enumerate(LABELS):
        for k, values in enumerate(draw(label, count, np.random.RandomState(1000 + number))):
            side = "valid" if k % SYNTH_HELD_OUT == 0 else "train"
            name = f"{side}/{label}/{label}-{k:04}.flac"
            parameters[name] = values
            _write(folder / name, synthesise(label, values, 10_000 * number + k), SYNTH_RATE)
    if parameters:
        (folder / "parameters.json").write_text(json.dumps(parameters, indent=1) + "\n", encoding="utf-8")


def _write(path: Path, waveform: np.ndarray, rate: int) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform * (PEAK / np.abs(waveform).max()), rate, subtype="PCM_16")

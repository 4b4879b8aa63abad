"""Reads SoundFont 2 files (.sf2): their presets, and the sound of a key.

After the SoundFont Technical Specification 2.04. A key is rendered from its samples with their tuning, loops, pan,
attenuation, volume envelope and low-pass filter, held for a time or to the end. Modulators (but the default one from
velocity to loudness), LFOs, the modulation envelope, chorus and reverb are left out: short sounds seldom need them.

A file may claim anything. Its lists of presets are checked before they are used, samples are read from the disk only
when a key needs them, and memory is bounded by the seconds asked for.
"""

import hashlib
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from training.data.files import Content, explain, opened
from training.data.inventory import Unusable
from training.data.recordings import SAMPLE_RATES, mono, resample

SOUNDFONTS = frozenset((".sf2",))
DRUM_BANK = 128
MAX_LISTS = 32_000_000  # bytes of all lists together; the largest SoundFonts have a hundredth
MAX_ZONES = 10_000  # of instruments, looked through for one key
MAX_VOICES = 64  # samples that sound together
MAX_SHIFT = 6000  # cents that a sample is transposed by
NOT_IN_THE_FILE = 0x8010  # bits of a sample's type: in a ROM, or compressed
DECIBELS_OF_DECAY = 96.0  # that the decay of the volume envelope covers in its time

# The lists of a SoundFont, each with a record at its end that only closes the one before (section 7).
LISTS = {
    b"phdr": np.dtype("S20, <u2, <u2, <u2, <u4, <u4, <u4"),  # name, program, bank, first zone
    b"pbag": np.dtype("<u2, <u2"),  # first generator, first modulator
    b"pgen": np.dtype("<u2, <i2"),  # generator, amount
    b"inst": np.dtype("S20, <u2"),  # name, first zone
    b"ibag": np.dtype("<u2, <u2"),
    b"igen": np.dtype("<u2, <i2"),
    b"shdr": np.dtype("S20, <u4, <u4, <u4, <u4, <u4, u1, i1, <u2, <u2"),
}

# Generators, by their numbers (section 8.1.2), and the values of those that are not 0 where nothing is said.
START, END, LOOP_START, LOOP_END = 0, 1, 2, 3
START_COARSE, END_COARSE, LOOP_START_COARSE, LOOP_END_COARSE = 4, 12, 45, 50
CUTOFF, RESONANCE, PAN = 8, 9, 17
DELAY, ATTACK, HOLD, DECAY, SUSTAIN, RELEASE, KEY_TO_HOLD, KEY_TO_DECAY = 33, 34, 35, 36, 37, 38, 39, 40
INSTRUMENT, KEYS, VELOCITIES, KEY, VELOCITY, ATTENUATION = 41, 43, 44, 46, 47, 48
COARSE_TUNE, FINE_TUNE, SAMPLE, MODE, SCALE_TUNING, ROOT_KEY = 51, 52, 53, 54, 56, 58
DEFAULTS = {CUTOFF: 13500, DELAY: -12000, ATTACK: -12000, HOLD: -12000, DECAY: -12000, SCALE_TUNING: 100}
DEFAULTS |= {KEY: -1, VELOCITY: -1, ROOT_KEY: -1}
ADDRESSES = (START, END, LOOP_START, LOOP_END, START_COARSE, END_COARSE, LOOP_START_COARSE, LOOP_END_COARSE)
SHAPING = frozenset((*ADDRESSES, CUTOFF, RESONANCE, PAN, DELAY, ATTACK, HOLD, DECAY, SUSTAIN, MODE))
NOT_OF_PRESETS = frozenset((*ADDRESSES, KEYS, VELOCITIES, KEY, VELOCITY, INSTRUMENT, SAMPLE, MODE, ROOT_KEY))

Generators = dict[int, int]


@dataclass(frozen=True)
class Preset:
    """An instrument or, in bank 128, a drum kit."""

    name: str
    bank: int
    program: int
    zones: range


@dataclass(frozen=True)
class Sample:
    """Where a sample lies in the file, in samples from the first; `pitch` is its MIDI key, `correction` in cents."""

    start: int
    end: int
    loop_start: int
    loop_end: int
    rate: int
    pitch: int
    correction: int


@dataclass(frozen=True)
class Voice:
    """A sample that a key plays: transposed by `cents`, scaled by `gain`, and shaped by generators of `SHAPING`.

    `release` is how long it takes to die away by 96 dB once the key is let go, in timecents. Voices that differ in
    nothing else are equal.
    """

    sample: int
    cents: int
    gain: float
    generators: tuple[tuple[int, int], ...]
    release: int = field(default=-12000, compare=False)


@contextmanager
def soundfont(path: Path, content: Content | None = None) -> Iterator["SoundFont"]:
    """Opens a SoundFont.

    Raises:
        Unusable: if it is none, is damaged, or has changed since `content` was read; inside the block too.
    """
    try:
        with opened(path, content) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            yield SoundFont(file)
    except OSError as error:
        raise Unusable(explain(error)) from None


class SoundFont:
    """An open SoundFont: its presets, and what their keys sound like.

    Raises:
        Unusable: if the file is no SoundFont, is cut short, or its lists contradict each other.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._samples_at, self._samples = 0, 0  # position, count
        self._low_bytes_at: int | None = None  # of samples of 24 bits
        lists = self._read_lists()
        self._headers = lists[b"shdr"][:-1]
        self._preset_zones = _Zones(lists[b"pbag"], lists[b"pgen"])
        self._instrument_zones = _Zones(lists[b"ibag"], lists[b"igen"])
        self._instruments = _ranges(lists[b"inst"]["f1"], len(self._instrument_zones))
        heads = lists[b"phdr"]
        zones = _ranges(heads["f3"], len(self._preset_zones))
        self.presets = tuple(
            Preset(_text(head["f0"]), int(head["f2"]), int(head["f1"]), its)
            for head, its in zip(heads[:-1], zones, strict=True)
        )

    def drum_kits(self) -> tuple[Preset, ...]:
        """The presets of the drum bank, the first of each program."""
        kits = [preset for preset in self.presets if preset.bank == DRUM_BANK]
        return tuple({kit.program: kit for kit in reversed(kits)}.values())[::-1]

    def melodic(self) -> tuple[Preset, ...]:
        return tuple(preset for preset in self.presets if preset.bank != DRUM_BANK)

    def voices(self, preset: Preset, key: int, velocity: int) -> tuple[Voice, ...]:
        """The samples that a key plays; none if the preset has no sound there.

        Args:
            key, velocity: MIDI, 0-127.
        """
        found, looked_at = [], 0
        for outer in _matching(self._preset_zones, preset.zones, INSTRUMENT, key, velocity):
            if not 0 <= outer[INSTRUMENT] < len(self._instruments):
                raise Unusable("a damaged SoundFont: a preset names an instrument that is not there")
            inside = self._instruments[outer[INSTRUMENT]]
            looked_at += len(inside)
            if looked_at > MAX_ZONES:
                raise Unusable(f"a damaged SoundFont: a key looks through more than {MAX_ZONES:,} zones")
            for inner in _matching(self._instrument_zones, inside, SAMPLE, key, velocity):
                if not 0 <= inner[SAMPLE] < len(self._headers):
                    raise Unusable("a damaged SoundFont: an instrument names a sample that is not there")
                values = DEFAULTS | inner
                for number, amount in outer.items():
                    if number not in NOT_OF_PRESETS:  # presets change what instruments say
                        values[number] = values.get(number, 0) + amount
                if sample := self._sample(values[SAMPLE]):
                    found.append(_voice(values, sample, key, velocity))
        if len(found) > MAX_VOICES:
            raise Unusable(f"a damaged SoundFont: a key plays more than {MAX_VOICES} samples at once")
        return tuple(found)

    def render(
        self,
        preset: Preset,
        key: int,
        velocity: int,
        seconds: float,
        sample_rate: int,
        held: float = math.inf,
    ) -> np.ndarray:
        """The sound of a key that is held for a number of seconds, as one channel.

        Returns:
            (round(seconds * sample_rate),) float32; full scale is 1, but several samples together may exceed it.
            All zeros if the preset has no sound at that key.
        """
        length = round(seconds * sample_rate)
        mix = np.zeros((length, 2), np.float32)
        for voice in self.voices(preset, key, velocity):
            mix += self._render(voice, length, sample_rate, held)
        return mono(mix)

    def sample_hash(self, index: int) -> str:
        """SHA-256 of a sample's numbers: equal for copies of it, in other SoundFonts too."""
        sample = self._sample(index)
        assert sample is not None
        self._file.seek(self._samples_at + 2 * sample.start)
        digest = hashlib.sha256()
        left = 2 * (sample.end - sample.start)
        while left and (block := self._file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
        return digest.hexdigest()

    def _sample(self, index: int) -> Sample | None:
        """A sample's header, or None if the file does not hold it: it is in a ROM, compressed, or its header lies."""
        header = self._headers[index]
        start, end, loop_start, loop_end, rate, pitch, correction, _, kind = (
            header[f"f{k}"].item() for k in range(1, 10)
        )
        if kind & NOT_IN_THE_FILE or not start < end <= self._samples or not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
            return None
        return Sample(start, end, loop_start, loop_end, rate, pitch, correction)

    def _read_lists(self) -> dict[bytes, np.ndarray]:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        head = self._file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"sfbk":
            raise Unusable("not a SoundFont")
        found: dict[bytes, bytes] = {}
        for name, at, length in self._chunks(12, 8 + struct.unpack("<I", head[4:8])[0], size):
            if name != b"LIST":
                continue
            self._file.seek(at)
            kind = self._file.read(4)
            for inner, start, bytes_of in self._chunks(at + 4, at + length, size):
                if kind == b"sdta" and inner == b"smpl":
                    self._samples_at, self._samples = start, bytes_of // 2
                elif kind == b"sdta" and inner == b"sm24":
                    self._low_bytes_at, low_bytes = start, bytes_of
                elif kind == b"pdta" and inner in LISTS:
                    if bytes_of + sum(map(len, found.values())) > MAX_LISTS:
                        raise Unusable(f"a damaged SoundFont: more than {MAX_LISTS // 1_000_000} MB of lists")
                    self._file.seek(start)
                    found[inner] = self._file.read(bytes_of)
        if missing := sorted(name.decode() for name in LISTS.keys() - found.keys()):
            raise Unusable(f"a damaged SoundFont: it lacks {', '.join(missing)}")
        if self._low_bytes_at is not None and low_bytes < self._samples:
            self._low_bytes_at = None  # as the specification says: then the samples have 16 bits
        lists = {}
        for name, record in LISTS.items():
            if not found[name] or len(found[name]) % record.itemsize:
                raise Unusable(f"a damaged SoundFont: {name.decode()} is not made of whole records")
            lists[name] = np.frombuffer(found[name], record)
        return lists

    def _chunks(self, at: int, end: int, size: int) -> Iterator[tuple[bytes, int, int]]:
        """Yields name, position and length of each chunk of a list that lies in `at:end` of a file of `size` bytes."""
        if end > size:
            raise Unusable("a SoundFont that is cut short: its header names more bytes than there are")
        while at + 8 <= end:
            self._file.seek(at)
            name, length = struct.unpack("<4sI", self._file.read(8))
            if at + 8 + length > end:
                raise Unusable("a damaged SoundFont: a part of it is longer than the whole")
            yield name, at + 8, length
            at += 8 + length + length % 2

    def _render(self, voice: Voice, length: int, sample_rate: int, held: float) -> np.ndarray:
        """One sample, as (length, 2)."""
        sample, values = self._sample(voice.sample), dict(voice.generators)
        assert sample is not None
        rate = round(sample.rate * 2 ** (voice.cents / 1200))
        waveform = self._read(sample, values, -(-length * rate // sample_rate) + rate // 100)
        waveform = _low_passed(resample(waveform, rate, sample_rate)[:length], values, sample_rate)
        waveform = waveform * _envelope(values, len(waveform), sample_rate) * voice.gain
        if held < math.inf:
            since = (np.arange(len(waveform)) / sample_rate - held).clip(0)
            waveform = waveform * 10 ** (-DECIBELS_OF_DECAY / 20 * since / max(_seconds(voice.release), 1e-2))
        right = 0.5 + np.clip(values.get(PAN, 0), -500, 500) / 1000
        panned = waveform[:, None] * np.sqrt(2 * np.array([1 - right, right]))
        return np.pad(panned, ((0, length - len(waveform)), (0, 0))).astype(np.float32)

    def _read(self, sample: Sample, values: Generators, frames: int) -> np.ndarray:
        """The first `frames` of a sample, its loop repeated: (at most frames,) float32."""

        def moved(at: int, fine: int, coarse: int) -> int:
            return min(max(at + values.get(fine, 0) + 32768 * values.get(coarse, 0), 0), self._samples)

        start = moved(sample.start, START, START_COARSE)
        end = moved(sample.end, END, END_COARSE)
        loop = moved(sample.loop_start, LOOP_START, LOOP_START_COARSE)
        again = moved(sample.loop_end, LOOP_END, LOOP_END_COARSE)
        looped = values.get(MODE, 0) in (1, 3) and start <= loop < again <= end
        waveform = self._numbers(start, min(again if looped else end, start + frames))
        if not looped or len(waveform) >= frames:
            return waveform
        at = np.arange(frames)
        period = again - loop
        return waveform[np.where(at < again - start, at, loop - start + (at - (loop - start)) % period)]

    def _numbers(self, start: int, end: int) -> np.ndarray:
        """Samples `start:end` of the file in [-1, 1]: 16 bits, or 24 if the file has their lower bytes."""
        count = max(0, end - start)
        self._file.seek(self._samples_at + 2 * start)
        numbers = np.frombuffer(self._file.read(2 * count), "<i2").astype(np.float32) / 2**15
        if self._low_bytes_at is not None:
            self._file.seek(self._low_bytes_at + start)
            numbers += np.frombuffer(self._file.read(count), "u1").astype(np.float32) / 2**23
        return numbers


def _voice(values: Generators, sample: Sample, key: int, velocity: int) -> Voice:
    key = values[KEY] if values[KEY] >= 0 else key
    velocity = values[VELOCITY] if values[VELOCITY] >= 0 else velocity
    root = values[ROOT_KEY] if values[ROOT_KEY] >= 0 else sample.pitch if sample.pitch <= 127 else 60
    cents = values[SCALE_TUNING] * (key - root) + 100 * values.get(COARSE_TUNE, 0) + values.get(FINE_TUNE, 0)
    # Velocity attenuates by 960 cB on a concave curve (section 8.4.1); attenuation counts 0.4 of its centibels, as in
    # the hardware of the format's authors, for which SoundFonts are made.
    gain = (max(velocity, 1) / 127) ** 2 * 10 ** (-0.4 * max(0, values.get(ATTENUATION, 0)) / 200)
    values[HOLD] += values.get(KEY_TO_HOLD, 0) * (60 - key)
    values[DECAY] += values.get(KEY_TO_DECAY, 0) * (60 - key)
    shaping = tuple(sorted((number, amount) for number, amount in values.items() if number in SHAPING))
    cents = min(max(cents + sample.correction, -MAX_SHIFT), MAX_SHIFT)
    return Voice(values[SAMPLE], cents, gain, shaping, values.get(RELEASE, -12000))


def _ranges(first: np.ndarray, count: int) -> list[range]:
    """The records of each owner, from the index of its first one."""
    if (np.diff(first.astype(np.int64)) < 0).any() or first[-1] > count:
        raise Unusable("a damaged SoundFont: its lists point outside of each other")
    return [range(a, b) for a, b in zip(first[:-1].tolist(), first[1:].tolist(), strict=True)]


class _Zones:
    """The zones of presets or instruments, each read when it is first asked for."""

    def __init__(self, bags: np.ndarray, generators: np.ndarray) -> None:
        self._ranges, self._generators = _ranges(bags["f0"], len(generators)), generators
        self._read: dict[int, Generators] = {}

    def __len__(self) -> int:
        return len(self._ranges)

    def __getitem__(self, index: int) -> Generators:
        if index not in self._read:
            its = self._ranges[index]
            self._read[index] = dict(self._generators[its.start : its.stop].tolist())
        return self._read[index]


def _matching(zones: _Zones, its: range, what: int, key: int, velocity: int) -> Iterator[Generators]:
    """The zones for a key and velocity that name a `what`; a first one that names none is the default of the others."""
    common: Generators = {}
    for k in its:
        zone = zones[k]
        if what not in zone:
            if k == its.start:
                common = zone
            continue
        zone = common | zone
        if _within(zone, KEYS, key) and _within(zone, VELOCITIES, velocity):
            yield zone


def _within(zone: Generators, which: int, value: int) -> bool:
    low, high = struct.unpack("<BB", struct.pack("<h", zone.get(which, 0x7F00)))
    return bool(low <= value <= high)


def _seconds(timecents: float) -> float:
    return 0.0 if timecents <= -12000 else float(2 ** (min(timecents, 8000) / 1200))


def _envelope(values: Generators, length: int, sample_rate: int) -> np.ndarray:
    """The volume envelope of a key that is held: (length,) in [0, 1]."""
    t = np.arange(length) / sample_rate - _seconds(values[DELAY])
    attack = _seconds(values[ATTACK])
    held = attack + _seconds(values[HOLD])
    decay = _seconds(values[DECAY])
    sustain = min(max(values.get(SUSTAIN, 0) / 10, 0.0), DECIBELS_OF_DECAY)
    falling = np.minimum((t - held).clip(0) * (DECIBELS_OF_DECAY / max(decay, 1e-3)), sustain)
    rising = np.where(t < 0, 0.0, (t / attack).clip(0, 1) if attack else 1.0)
    envelope: np.ndarray = (rising * 10 ** (-falling / 20)).astype(np.float32)
    return envelope


def _low_passed(waveform: np.ndarray, values: Generators, sample_rate: int) -> np.ndarray:
    """The filter at rest: two poles, its cutoff in cents above 8.176 Hz, its resonance in centibels."""
    cutoff = 8.176 * 2 ** (min(max(values[CUTOFF], 1500), 13500) / 1200)
    if cutoff > 0.45 * sample_rate:
        return waveform
    b, a = _low_pass(cutoff / sample_rate, 10 ** ((min(max(values.get(RESONANCE, 0), 0), 960) / 10 - 3.01) / 20))
    from scipy.signal import lfilter

    filtered: np.ndarray = lfilter(b, a, waveform)
    return filtered.astype(np.float32)


@lru_cache(maxsize=64)
def _low_pass(frequency: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a second-order low-pass filter (Bristow-Johnson); `frequency` in cycles per sample."""
    w = 2 * np.pi * frequency
    alpha = np.sin(w) / (2 * q)
    b = (1 - np.cos(w)) * np.array([0.5, 1.0, 0.5])
    return b / (1 + alpha), np.array([1 + alpha, -2 * np.cos(w), 1 - alpha]) / (1 + alpha)


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode("latin-1").strip()

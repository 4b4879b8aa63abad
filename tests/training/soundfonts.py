"""Writes SoundFonts for tests, after the SoundFont Technical Specification 2.04."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

RATE = 44_100
INSTRUMENT, KEYS, SAMPLE = 41, 43, 53


@dataclass(frozen=True)
class Zone:
    """The keys that play a sample, and other generators of the zone by their number."""

    keys: tuple[int, int]
    sample: np.ndarray
    generators: Mapping[int, int] = field(default_factory=dict)
    root: int = 60
    correction: int = 0
    loop: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class TestPreset:
    __test__ = False

    bank: int
    program: int
    zones: Sequence[Zone]
    generators: Mapping[int, int] = field(default_factory=dict)


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def soundfont_bytes(presets: Sequence[TestPreset], bits: int = 16) -> bytes:
    """A SoundFont of one instrument for each preset; samples are float in [-1, 1]."""
    phdr = pbag = pgen = inst = ibag = igen = shdr = b""
    numbers: list[np.ndarray] = []
    at = presets_zones = preset_generators = zones = generators = samples = 0
    for index, preset in enumerate(presets):
        phdr += struct.pack("<20sHHHIII", b"preset", preset.program, preset.bank, presets_zones, 0, 0, 0)
        pbag += struct.pack("<HH", preset_generators, 0)
        for number, amount in (*preset.generators.items(), (INSTRUMENT, index)):
            pgen += struct.pack("<Hh", number, amount)
            preset_generators += 1
        presets_zones += 1
        inst += struct.pack("<20sH", b"instrument", zones)
        for zone in preset.zones:
            ibag += struct.pack("<HH", generators, 0)
            igen += struct.pack("<HBB", KEYS, *zone.keys)
            for number, amount in (*zone.generators.items(), (SAMPLE, samples)):
                igen += struct.pack("<Hh", number, amount)
            generators += 2 + len(zone.generators)
            zones += 1
            end = at + len(zone.sample)
            loop = [at + point for point in zone.loop]
            shdr += struct.pack("<20sIIIIIBbHH", b"sample", at, end, *loop, RATE, zone.root, zone.correction, 0, 1)
            numbers += [zone.sample, np.zeros(46)]
            at = end + 46
            samples += 1
    phdr += struct.pack("<20sHHHIII", b"EOP", 0, 0, presets_zones, 0, 0, 0)
    pbag += struct.pack("<HH", preset_generators, 0)
    pgen += struct.pack("<Hh", 0, 0)
    inst += struct.pack("<20sH", b"EOI", zones)
    ibag += struct.pack("<HH", generators, 0)
    igen += struct.pack("<Hh", 0, 0)
    shdr += struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    whole = np.round(np.concatenate([*numbers, np.zeros(1)]) * 2**23).clip(-(2**23), 2**23 - 1).astype(np.int64)
    sdta = b"sdta" + chunk(b"smpl", (whole >> 8).astype("<i2").tobytes())
    if bits == 24:
        sdta += chunk(b"sm24", (whole & 255).astype("u1").tobytes())
    pdta = b"pdta" + b"".join(
        chunk(name, data)
        for name, data in (
            (b"phdr", phdr),
            (b"pbag", pbag),
            (b"pmod", bytes(10)),
            (b"pgen", pgen),
            (b"inst", inst),
            (b"ibag", ibag),
            (b"imod", bytes(10)),
            (b"igen", igen),
            (b"shdr", shdr),
        )
    )
    info = b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 4 if bits == 24 else 1))
    return chunk(b"RIFF", b"sfbk" + chunk(b"LIST", info) + chunk(b"LIST", sdta) + chunk(b"LIST", pdta))


def tone(frequency: float, seconds: float = 1.0, decay: float = 0.2) -> np.ndarray:
    """A decaying sine at RATE."""
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.8 * np.sin(2 * np.pi * frequency * t) * np.exp(-t / decay)


def kit(program: int = 0, pitch: float = 1.0) -> TestPreset:
    """A drum kit of a kick, two snares of one sample, and a closed hat."""
    hat = 0.5 * np.random.RandomState(round(100 * pitch)).uniform(-1, 1, 4000) * np.exp(-np.arange(4000) / 800)
    snares = [Zone((key, key), tone(200 * pitch), root=38) for key in (38, 40)]
    return TestPreset(128, program, [Zone((36, 36), tone(60 * pitch), root=36), *snares, Zone((42, 42), hat, root=42)])

"""Makes the piano samples of this folder from the Salamander Grand Piano; run once, by hand.

    for layer in 4 10 14; do
        npm pack @audio-samples/piano-velocity$layer && tar xzf audio-samples-piano-velocity$layer-*.tgz
        mv package salamander/velocity$layer
    done
    python explorer/sound/samples/make.py salamander

This writes `*.ogg` and `manifest.json`, which `explorer/sound/synth.py` describes. Of each stereo recording it keeps
the louder channel (the two are often in opposite phase, so that their sum sounds hollow), from the attack to where the
note is lost in the room's noise. Level and tuning are not changed but measured; corrections are in the manifest.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

# Three of the sixteen recorded layers: name, number, and the highest velocity each is used for, midway between the
# velocities they were recorded at, about 40, 76 and 108.
LAYERS = (("soft", 4, 58), ("medium", 10, 92), ("hard", 14, 127))
SAMPLE_RATE = 44100
LEAD = 0.003  # seconds kept before the attack
QUALITY = 0.6  # of Vorbis: about 80 kbit/s
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
BODY = 0.4  # seconds after the attack over which level is measured


def read(path: Path) -> np.ndarray:
    """A stereo recording (samples, 2), resampled to SAMPLE_RATE."""
    wave, rate = sf.read(path)
    return resample_poly(wave, SAMPLE_RATE, rate, axis=0)


def cut(wave: np.ndarray, pitch: int) -> np.ndarray:
    """Trims a recording (samples,) from just before its attack to where it falls into the noise, with fades."""
    attack = int(np.argmax(np.abs(wave) > 0.02 * np.abs(wave).max()))
    wave = wave[max(0, attack - int(LEAD * SAMPLE_RATE)) :]
    hop = SAMPLE_RATE // 10
    level = np.sqrt((wave[: len(wave) // hop * hop].reshape(-1, hop) ** 2).mean(1))
    noise = np.sort(level)[: len(level) // 8 + 1].mean()
    over = np.flatnonzero(level > max(1.6 * noise, level.max() / 1000))
    longest = np.interp(pitch, [21, 60, 108], [7.0, 5.0, 1.0])
    length = int(np.clip((over[-1] + 1) / 10, 0.6, longest) * SAMPLE_RATE)
    wave = wave[:length].copy()
    fade_in, fade_out = int(LEAD * SAMPLE_RATE), int(0.3 * length)
    wave[:fade_in] *= np.sin(np.linspace(0, np.pi / 2, fade_in)) ** 2
    wave[-fade_out:] *= np.cos(np.linspace(0, np.pi / 2, fade_out)) ** 2
    return wave


def deviation(wave: np.ndarray, pitch: int) -> float:
    """Deviation of a note from equal temperament in cents, positive if sharp.

    Measured on the first partial, or, in the bass, where the ear follows higher ones, on the first four, weighted by
    magnitude.
    """
    body = wave[int(0.03 * SAMPLE_RATE) : int(1.5 * SAMPLE_RATE)]
    size = 2**20
    spectrum = np.abs(np.fft.rfft(body * np.blackman(len(body)), size))
    cents, weights = [], []
    for k in (1, 2, 3, 4) if pitch < 57 else (1,):
        ideal = k * 440 * 2 ** ((pitch - 69) / 12) * size / SAMPLE_RATE
        low, high = (int(ideal * 2 ** (c / 1200)) for c in (-45, 45))
        top = low + int(np.argmax(spectrum[low:high]))
        a, b, c = np.log(spectrum[top - 1 : top + 2])
        cents.append(1200 * np.log2((top + (a - c) / (a - 2 * b + c) / 2) / ideal))
        weights.append(spectrum[top])
    return float(np.average(cents, weights=weights))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder holding velocity4, velocity10 and velocity14")
    source = parser.parse_args().source
    target = Path(__file__).resolve().parent

    found = {}
    for path in sorted(source.glob(f"velocity{LAYERS[1][1]}/audio/*.ogg")):
        if match := re.fullmatch(r"([A-G]#?)(\d)v\d+", path.stem):
            found[NAMES.index(match[1]) + 12 * (int(match[2]) + 1)] = match[1] + match[2]

    level, tuning, samples = {}, {}, []
    body = slice(0, int(BODY * SAMPLE_RATE))
    for pitch in sorted(found):
        stereo = {n: read(source / f"velocity{n}" / "audio" / f"{found[pitch]}v{n}.ogg") for _, n, _ in LAYERS}
        middle = stereo[LAYERS[1][1]]
        channel = int(np.argmax((middle[:SAMPLE_RATE] ** 2).mean(0)))
        level[pitch] = 10 * np.log10(np.mean([(cut(c, pitch)[body] ** 2).mean() for c in middle.T]))
        tuning[pitch] = np.mean([deviation(cut(s[:, channel], pitch), pitch) for s in stereo.values()])
        for layer, (name, number, _) in enumerate(LAYERS):
            wave = cut(stereo[number][:, channel], pitch)
            file = f"{name}-{found[pitch].replace('#', 's')}.ogg"
            sf.write(target / file, wave, SAMPLE_RATE, format="OGG", subtype="VORBIS", compression_level=1 - QUALITY)
            power = 10 * np.log10((wave[body] ** 2).mean())
            samples.append(
                {"file": file, "pitch": pitch, "layer": layer, "seconds": len(wave) / SAMPLE_RATE, "level": power}
            )

    # Smooth curves of this piano's own stretched tuning and of its balance from bass to treble: the deviation of a
    # single recording from them is accidental, and is corrected.
    pitches = np.array(sorted(found))
    x = (pitches - 69) / 39
    powers = np.stack([x, x**2, x**3], 1)  # without a constant: A4 is 440 Hz
    stretch = powers @ np.linalg.lstsq(powers, np.array([tuning[p] for p in pitches]), rcond=None)[0]
    balance = np.polyval(np.polyfit(x, [level[p] for p in pitches], 3), x)
    for sample in samples:
        i = int(np.flatnonzero(pitches == sample["pitch"])[0])
        sample["cents"] = round(float(stretch[i] - tuning[sample["pitch"]]), 2)
        sample["gain"] = round(float(10 ** ((balance[i] - sample.pop("level")) / 20)), 4)
        sample["seconds"] = round(sample["seconds"], 3)
        print(sample, f"{tuning[sample['pitch']]:+.1f} -> {stretch[i]:+.1f}, {balance[i]:.1f} dB")
    layers = [{"name": name, "max_velocity": top} for name, _, top in LAYERS]
    lines = ",\n    ".join(json.dumps(s) for s in samples)
    (target / "manifest.json").write_text(
        f'{{\n  "layers": {json.dumps(layers)},\n  "samples": [\n    {lines}\n  ]\n}}\n'
    )


if __name__ == "__main__":
    main()

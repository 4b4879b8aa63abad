"""A small drum synthesiser, each of whose hits has six to eight known parameters.

It fills classes of which few recordings can be had, and its parameters are a truth against which directions in a latent
space can be measured. Kicks and toms are sines whose pitch falls; snares two modes and noise; claps bursts of noise;
hats and cymbals six squares and noise above a cutoff; cowbells two squares; shakers a swell of noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 48_000  # Hz; three times that of training data, so that squares do not alias
SECONDS = 1.1
SQUARES = np.array([1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523])  # ratios of the oscillators of the TR-808's cymbal

Values = Mapping[str, float]


@dataclass(frozen=True)
class Parameter:
    """A parameter and its range; `even` says on which scale values are spread evenly."""

    name: str
    low: float
    high: float
    even: str = "linear"  # or "log", for frequencies and times

    def at(self, share: np.ndarray) -> np.ndarray:
        """The value at `share` of the range, 0 to 1."""
        if self.even == "log":
            return self.low * (self.high / self.low) ** share
        return self.low + (self.high - self.low) * share


def _hz(name: str, low: float, high: float) -> Parameter:
    return Parameter(name, low, high, "log")


_seconds = _hz  # times are spread evenly over a log scale too
_share = Parameter

# `pitch`, `brightness`, `decay` and `attack` mean the same in each class: Hz, Hz, s until -60 dB, s.
_METAL = (
    _hz("pitch", 200, 480),
    _share("metal", 0, 1),  # squares : noise
    _share("spread", 0, 0.05),  # of the squares' ratios
    _share("stroke", 0, 1.2),  # the stick's attack, above the ringing
)
PARAMETERS: Mapping[str, tuple[Parameter, ...]] = {
    "kick": (
        _hz("pitch", 40, 80),
        _share("sweep", 0.5, 3),  # octaves that the pitch falls
        _seconds("sweep_time", 0.008, 0.06),
        _seconds("decay", 0.3, 2.0),
        _share("click", 0, 0.5),
        _hz("brightness", 1500, 7000),  # of the click
        _share("drive", 1, 3.5),
    ),
    "snare": (
        _hz("pitch", 140, 280),
        _share("overtone", 0.1, 0.9),
        _seconds("tone_decay", 0.15, 0.8),
        _share("noise", 0.3, 0.95),
        _seconds("decay", 0.15, 1.3),
        _hz("low_cut", 250, 1500),
        _hz("brightness", 2500, 7500),
    ),
    "clap": (
        _share("bursts", 3, 5),  # rounded
        _seconds("spacing", 0.007, 0.014),
        _seconds("burst_decay", 0.025, 0.06),
        _seconds("decay", 0.2, 1.2),
        _share("tail", 0.4, 1),
        _hz("low_cut", 500, 1200),
        _hz("brightness", 1800, 6000),
    ),
    "rim": (
        _hz("pitch", 400, 1800),
        _share("ratio", 1.3, 2.9),  # of the second mode
        _share("overtone", 0.3, 1),
        _seconds("decay", 0.04, 0.2),
        _share("noise", 0.05, 0.8),
        _seconds("noise_decay", 0.015, 0.08),
        _hz("low_cut", 800, 3000),
    ),
    "tom": (
        _hz("pitch", 70, 260),
        _share("sweep", 0.1, 0.9),
        _seconds("sweep_time", 0.02, 0.1),
        _seconds("decay", 0.4, 2.5),
        _share("overtone", 0, 0.4),
        _share("noise", 0, 0.3),
        _hz("brightness", 1500, 6000),
    ),
    "closed-hat": (*_METAL, _seconds("decay", 0.07, 0.4), _hz("low_cut", 2500, 6500), _seconds("attack", 2e-4, 3e-3)),
    "open-hat": (*_METAL, _seconds("decay", 0.9, 3.0), _hz("low_cut", 2500, 6500), _seconds("attack", 2e-4, 5e-3)),
    "crash": (*_METAL, _seconds("decay", 2.0, 5.0), _hz("low_cut", 800, 4000), _seconds("attack", 2e-4, 1e-2)),
    "ride": (
        *_METAL,
        _seconds("decay", 2.5, 6.0),
        _hz("low_cut", 1500, 4500),
        _share("ping", 0.3, 2),
        _hz("ping_pitch", 2000, 4500),
    ),
    "cowbell": (
        _hz("pitch", 480, 760),
        _share("ratio", 1.42, 1.55),
        _seconds("decay", 0.3, 2.0),
        _share("stroke", 0.3, 1.2),
        _share("balance", 0.3, 0.7),  # of the two squares
        _hz("low_cut", 400, 800),
        _hz("brightness", 1600, 5000),
    ),
    "shaker": (
        _seconds("attack", 0.008, 0.06),
        _share("curve", 1, 2.5),  # of the swell
        _seconds("decay", 0.08, 0.6),
        _share("second", 0, 0.5),  # level of the stroke back
        _seconds("second_after", 0.06, 0.12),
        _hz("low_cut", 2200, 5000),
        _hz("brightness", 5500, 7800),
    ),
}


def draw(label: str, count: int, rng: np.random.RandomState) -> list[dict[str, float]]:
    """Draws parameters that cover each range evenly, as a Latin hypercube: every n-th of a range has one value."""
    columns = [
        parameter.at((rng.permutation(count) + rng.uniform(size=count)) / count) for parameter in PARAMETERS[label]
    ]
    names = [parameter.name for parameter in PARAMETERS[label]]
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def synthesise(label: str, values: Values, seed: int) -> np.ndarray:
    """A hit: about (52_800,) float32 at 48 kHz, at any level. The same values and seed give the same hit.

    Args:
        values: one for each of `PARAMETERS[label]`.
        seed: of its noise and the phases of its squares.
    """
    hit: np.ndarray = _CLASSES[label](values, np.random.RandomState(seed), np.arange(round(SECONDS * SAMPLE_RATE)))
    return hit.astype(np.float32)


def _kick(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    body = np.tanh(v["drive"] * _falling(v, n) * _decay(n, v["decay"])) / np.tanh(v["drive"])
    click = _band(rng.standard_normal(len(n)), 800, v["brightness"]) * _decay(n, 0.04)
    return body + v["click"] * click


def _snare(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    tone = (_sine(n, v["pitch"]) + v["overtone"] * _sine(n, 1.7 * v["pitch"])) * _decay(n, v["tone_decay"])
    noise = _unit(_band(rng.standard_normal(len(n)), v["low_cut"], v["brightness"])) * _decay(n, v["decay"])
    return (1 - v["noise"]) * tone + v["noise"] * 0.5 * noise


def _clap(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    envelope = np.zeros(len(n))
    bursts = round(v["bursts"])
    for k in range(bursts):
        since = n - round(k * v["spacing"] * SAMPLE_RATE)
        last = k == bursts - 1
        burst = (v["tail"] if last else 1.0) * _decay(since.clip(0), v["decay"] if last else v["burst_decay"])
        envelope = np.maximum(envelope, np.where(since >= 0, burst, 0))
    return _band(rng.standard_normal(len(n)), v["low_cut"], v["brightness"], order=1) * envelope


def _rim(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    tone = (_sine(n, v["pitch"]) + v["overtone"] * _sine(n, v["ratio"] * v["pitch"])) * _decay(n, v["decay"])
    noise = _unit(_high(rng.standard_normal(len(n)), v["low_cut"])) * _decay(n, v["noise_decay"])
    return tone + v["noise"] * noise


def _tom(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    overtone = _sine(n, 1.59 * v["pitch"]) * _decay(n, 0.4 * v["decay"])  # the second mode of a round skin
    noise = _unit(_band(rng.standard_normal(len(n)), 400, v["brightness"])) * _decay(n, 0.15)
    return _falling(v, n) * _decay(n, v["decay"]) + v["overtone"] * overtone + v["noise"] * noise


def _metal(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    ratios = SQUARES * (1 + v["spread"] * rng.uniform(-1, 1, len(SQUARES)))
    squares = sum(np.sign(_sine(n, v["pitch"] * ratio, rng.uniform(0, 2 * np.pi))) for ratio in ratios)
    mixed = v["metal"] * _unit(_high(squares, v["low_cut"]))
    mixed = mixed + (1 - v["metal"]) * _unit(_high(rng.standard_normal(len(n)), v["low_cut"]))
    attack = np.minimum(1, n / (SAMPLE_RATE * v["attack"])) if "attack" in v else 1.0
    return mixed * attack * (_decay(n, v["decay"]) + v["stroke"] * _decay(n, 0.12))


def _ride(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    ping = (_sine(n, v["ping_pitch"]) + 0.5 * _sine(n, 1.47 * v["ping_pitch"])) * _decay(n, 1.0)
    return _metal(v, rng, n) + v["ping"] * ping


def _cowbell(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    low, high = np.sign(_sine(n, v["pitch"])), np.sign(_sine(n, v["ratio"] * v["pitch"]))
    mixed = _band((1 - v["balance"]) * low + v["balance"] * high, v["low_cut"], v["brightness"], order=1)
    return mixed * (_decay(n, v["decay"]) + v["stroke"] * _decay(n, 0.08))


def _shaker(v: Values, rng: np.random.RandomState, n: np.ndarray) -> np.ndarray:
    def stroke(since: np.ndarray) -> np.ndarray:
        t = since / SAMPLE_RATE
        rising = (t / v["attack"]).clip(0, 1) ** v["curve"]
        return rising * _decay((since - v["attack"] * SAMPLE_RATE).clip(0), v["decay"])

    back = v["second"] * stroke(n - v["second_after"] * SAMPLE_RATE - v["attack"] * SAMPLE_RATE)
    return _band(rng.standard_normal(len(n)), v["low_cut"], v["brightness"]) * (stroke(n) + back)


_CLASSES: Mapping[str, Callable[[Values, np.random.RandomState, np.ndarray], np.ndarray]] = {
    "kick": _kick,
    "snare": _snare,
    "clap": _clap,
    "rim": _rim,
    "tom": _tom,
    "closed-hat": _metal,
    "open-hat": _metal,
    "crash": _metal,
    "ride": _ride,
    "cowbell": _cowbell,
    "shaker": _shaker,
}


def _decay(n: np.ndarray, seconds: float) -> np.ndarray:
    """Falls by 60 dB in `seconds`."""
    return 10 ** (-3 * n / (seconds * SAMPLE_RATE))


def _sine(n: np.ndarray, frequency: float, phase: float = 0.0) -> np.ndarray:
    return np.sin(phase + 2 * np.pi * frequency / SAMPLE_RATE * n)


def _falling(v: Values, n: np.ndarray) -> np.ndarray:
    """A sine that starts `sweep` octaves above its pitch and falls towards it."""
    octaves = v["sweep"] * np.exp(-n / (v["sweep_time"] * SAMPLE_RATE))
    return np.sin(2 * np.pi / SAMPLE_RATE * np.cumsum(v["pitch"] * 2**octaves))


def _band(waveform: np.ndarray, low: float, high: float, order: int = 2) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    band: np.ndarray = sosfilt(butter(order, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"), waveform)
    return band


def _high(waveform: np.ndarray, cutoff: float) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    high: np.ndarray = sosfilt(butter(2, cutoff, "highpass", fs=SAMPLE_RATE, output="sos"), waveform)
    return high


def _unit(waveform: np.ndarray) -> np.ndarray:
    """Scaled to a root mean square of 0.5."""
    return 0.5 * waveform / np.sqrt((waveform**2).mean())

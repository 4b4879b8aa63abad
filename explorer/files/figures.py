"""Figures of sounds and of training, for the screen and for print, by matplotlib.

pyplot is not used, since threads would share its global state. Colours can be distinguished by colour-blind people and
in greyscale: viridis and magma, and Okabe and Ito's palette (2008) for lines.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from explorer.sound.base import LogMel, Note, Sound, note_name

BLACK_KEYS = (1, 3, 6, 8, 10)
RANGE_DB = 60.0  # range of a spectrogram's colours, below its loudest point
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
GRID = "#c8ccd4"


def figure(sound: Sound) -> Figure:
    """The default figure of a sound: its notes, else its spectrogram, else its waveform."""
    fig = Figure(figsize=(8, 4), dpi=150, layout="constrained")
    axes = fig.add_subplot()
    colours = _draw(axes, sound, _highest([sound]), _octaves([sound]))
    _colour_bar(fig, [axes], colours)
    return fig


def morph(sounds: Sequence[Sound], ts: Sequence[float]) -> Figure:
    """The sounds of a morph, in panels that share axes and colours.

    Args:
        ts: the t of each sound, in [0, 1].
    """
    return sheet(sounds, [f"t = {t:.2f}" for t in ts])


def sheet(sounds: Sequence[Sound], titles: Sequence[str]) -> Figure:
    """Several sounds of one kind, in panels that share axes and colours.

    Raises:
        ValueError: if the numbers of titles and sounds differ.
    """
    columns = math.ceil(math.sqrt(len(sounds)))
    rows = math.ceil(len(sounds) / columns)
    fig = Figure(figsize=(3.4 * columns + 0.8, 2.3 * rows), dpi=150, layout="constrained")
    grid = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    top, octaves = _highest(sounds), _octaves(sounds)
    colours = None
    for axes, sound, title in zip(panels[: len(sounds)], sounds, titles, strict=True):
        colours = _draw(axes, sound, top, octaves)
        axes.set_title(title, fontsize=9)
        axes.label_outer()
    panels[0].set_xlim(0, max(axes.get_xlim()[1] for axes in panels[: len(sounds)]))
    for axes in panels[len(sounds) :]:
        axes.set_axis_off()
    _colour_bar(fig, panels, colours)
    return fig


def frames(sounds: Sequence[Sound], titles: Sequence[str]) -> Iterator[Figure]:
    """A figure of each sound, with the same axes and colours, for an animation."""
    top, octaves = _highest(sounds), _octaves(sounds)
    seconds = max(sound.seconds for sound in sounds)
    for sound, title in zip(sounds, titles, strict=True):
        fig = Figure(figsize=(8, 4), dpi=150, layout="constrained")
        axes = fig.add_subplot()
        colours = _draw(axes, sound, top, octaves)
        axes.set_title(title)
        if sound.notes is not None:  # other sounds of one generator are equally long
            axes.set_xlim(0, seconds)
        _colour_bar(fig, [axes], colours)
        yield fig


def training_curves(metrics: Sequence[Mapping[str, float]]) -> Figure:
    """Curves of a training run: the critic's loss, its estimate of the Wasserstein distance, and the gradient penalty.

    Args:
        metrics: lines of `metrics.jsonl`, each with `step` and some of `critic_loss`, `wasserstein`, `penalty`.
    """
    fig = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    curves = (
        (upper, "wasserstein", "Wasserstein estimate", BLUE),
        (upper, "critic_loss", "critic loss", ORANGE),
        (lower, "penalty", "gradient penalty", GREEN),
    )
    for axes, name, label, colour in curves:
        points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
        steps, values = np.array(points, dtype=float).reshape(-1, 2).T
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=colour, label=label, linewidth=1.6)
    for axes in (upper, lower):
        axes.axhline(0, color="black", linewidth=0.5)
        axes.grid(color=GRID, linewidth=0.5)
        axes.legend(frameon=False)
    lower.set_xlabel("step")
    return fig


def _draw(axes: Axes, sound: Sound, top: float, octaves: tuple[int, int]) -> ScalarMappable | None:
    if sound.notes is not None:
        return _draw_notes(axes, sound.notes, sound.seconds, octaves)
    if sound.log_mel is not None:
        return _draw_log_mel(axes, sound.log_mel, top)
    axes.plot(np.arange(len(sound.waveform)) / sound.sample_rate, sound.waveform, color=BLUE, linewidth=0.5)
    axes.set(xlim=(0, sound.seconds), ylim=(-1, 1), xlabel="time (s)", ylabel="amplitude")
    return None


def _draw_notes(axes: Axes, notes: Sequence[Note], seconds: float, octaves: tuple[int, int]) -> ScalarMappable:
    low, high = octaves
    for pitch in range(low, high):
        if pitch % 12 in BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f3f4f7", linewidth=0, zorder=0)
    for c in range(low, high + 1, 12):
        axes.axhline(c - 0.5, color=GRID, linewidth=0.8, zorder=1)
    corners = [
        [
            (n.onset, n.pitch - 0.45),
            (n.onset + n.duration, n.pitch - 0.45),
            (n.onset + n.duration, n.pitch + 0.45),
            (n.onset, n.pitch + 0.45),
        ]
        for n in notes
    ]
    bars = PolyCollection(
        corners, cmap=_velocity_colours(), norm=Normalize(1, 127), linewidths=0.5, edgecolors="face", zorder=2
    )
    bars.set_array(np.array([n.velocity for n in notes], dtype=float))
    axes.add_collection(bars)
    ticks = range(low, high + 1, 12)
    axes.set_yticks(list(ticks), [note_name(c) for c in ticks])
    axes.set(xlim=(0, seconds), ylim=(low - 0.5, high + 0.5), xlabel="time (s)", ylabel="key")
    axes.xaxis.set_major_locator(MaxNLocator(8))
    return bars


def _velocity_colours() -> LinearSegmentedColormap:
    """Viridis reversed, from light for soft to dark for loud, without the yellow, which is invisible on white."""
    return LinearSegmentedColormap.from_list("velocity", colormaps["viridis"](np.linspace(0.88, 0, 256)))


def _draw_log_mel(axes: Axes, log_mel: LogMel, top: float) -> ScalarMappable:
    decibels = 20 / math.log(10) * log_mel.values
    bands, frames = decibels.shape
    frame = log_mel.hop_length / log_mel.sample_rate
    image = axes.imshow(
        decibels - top,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0,
        extent=(-frame / 2, (frames - 0.5) * frame, -0.5, bands - 0.5),
    )
    first, last = log_mel.frequencies[[0, -1]]
    ticks = [f for f in (250, 500, 1000, 2000, 4000, 8000, 16000) if first <= f <= last]
    axes.set_yticks(np.interp(ticks, log_mel.frequencies, np.arange(bands)), [f"{f:,}" for f in ticks])
    axes.set(xlim=(0, (frames - 0.5) * frame), xlabel="time (s)", ylabel="frequency (Hz)")
    return image


def _highest(sounds: Sequence[Sound]) -> float:
    """Level of the loudest point of all spectrograms, in dB."""
    return 20 / math.log(10) * max((float(s.log_mel.values.max()) for s in sounds if s.log_mel is not None), default=0)


def _octaves(sounds: Sequence[Sound]) -> tuple[int, int]:
    """MIDI numbers of the nearest Cs below and above all notes, at least two octaves apart."""
    pitches = [note.pitch for sound in sounds for note in sound.notes or ()] or [60]
    low, high = min(pitches) // 12 * 12, -(-max(pitches) // 12) * 12
    return low, max(high, low + 24)


def _colour_bar(fig: Figure, panels: Sequence[Axes], colours: ScalarMappable | None) -> None:
    if colours is not None:
        label = "velocity" if isinstance(colours, PolyCollection) else "level (dB)"
        fig.colorbar(colours, ax=list(panels), label=label, pad=0.02, fraction=0.05)


def _smooth(values: np.ndarray, share: float = 0.02) -> np.ndarray:
    """Centred moving average over `share` of the curve to either side, over fewer points near its ends."""
    reach = max(1, int(share * len(values)))
    index = np.arange(len(values))
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[last] - total[first]) / (last - first)

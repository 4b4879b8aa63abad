"""Measures the inversion of spectrograms into sound, quality and speed: the vocoder (learned) against Griffin-Lim."""

import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import librosa
import numpy as np
import torch
from pystoi import stoi
from torch import Tensor
from tqdm import tqdm

from explorer import checkpoint, shelf
from explorer.judge import Judge
from explorer.sound.mel import MelRepresentation
from explorer.sound.vocoder import LearnedVocoder
from training.data.audio import load_waveforms
from training.evaluation.judge import find_judge
from training.evaluation.latent_space import draw, outputs
from training.evaluation.tables import Column, Table, Target
from training.vocoder import VocoderRecipe, representation, roughen

CLIPS_JOINED = 10  # for one STOI and PESQ measurement: both need some seconds of speech
AUDIBLE_DB = 50.0  # frames that are quieter than the loudest one by more count as silence
RECORDED = "recordings"
STOI_FAILED = 1e-3  # pystoi returns less if too little speech is left; real values are higher

Inversion = Callable[[Tensor], np.ndarray]

NEEDS_RECORDING = (
    Column("stoi", "STOI", ideal="high"),
    Column("pesq", "PESQ", ideal="high"),
    Column("lsd", "LSD, dB", ideal="low"),
)
NEEDS_SPECTROGRAM = (
    Column("mel_error", "mel error", ideal="low"),
    Column("accuracy", "right", True, "high"),
    Column("lost", "lost", True, "low"),
    Column("cost", "ms per s", ideal="low"),
)


def inversions(vocoder: LearnedVocoder) -> dict[str, Inversion]:
    """The methods that are compared, by name, each from one log-mel (n_mels, frames) to a waveform (samples,)."""
    mel = representation(vocoder.config)
    c = mel.config

    def nnls(log_mel: Tensor) -> np.ndarray:
        magnitude = librosa.feature.inverse.mel_to_stft(
            np.pad((log_mel.exp() - c.floor).clamp_min(0).numpy(), ((0, 0), (0, 1))),
            sr=c.sample_rate,
            n_fft=c.n_fft,
            power=1.0,
        )
        waveform: np.ndarray = librosa.griffinlim(
            magnitude, hop_length=c.hop_length, n_fft=c.n_fft, length=c.samples, random_state=0
        )
        return waveform

    return {
        "pseudo-inverse, fast Griffin-Lim": lambda log_mel: mel.invert(log_mel[None])[0].numpy(),
        "NNLS, Griffin-Lim (librosa)": nnls,
        "learned": lambda log_mel: vocoder(log_mel[None])[0].numpy(),
    }


def inversion_tables(path: Path, folder: Path, cache: Path, judge: Path | None, clips: int) -> list[Table]:
    """Measures each inversion on spectrograms of recordings, on the same with noise and blur, and on generated ones.

    Args:
        path: a vocoder, or a checkpoint that includes one, whose generated spectrograms are then measured too.
        folder, cache, judge: as in `training.evaluation.evaluate.evaluate`.
        clips: number of sounds of each kind, evenly spread over the validation set.
    Raises:
        CheckpointError: if the file or the judge cannot be used.
        DataError: if the folder cannot be used.
    """
    vocoder = checkpoint.load_part(path, "vocoder", LearnedVocoder)
    generator = checkpoint.load(path)[0] if path in shelf.find_checkpoints(path.parent).values() else None
    mel = representation(vocoder.config)
    options = {"sample_rate": str(mel.sample_rate)}
    if generator is not None and generator.condition is not None:
        options["labels"] = ",".join(generator.condition.labels)
    data = load_waveforms(folder, cache, options)
    classifier = find_judge(data, cache, judge)
    rows = np.linspace(0, len(data.valid) - 1, min(clips, len(data.valid))).astype(int)
    recordings, labels = data.valid[rows].float(), data.valid_labels[rows].numpy()
    with torch.inference_mode():
        clean = mel.log_mel(recordings)
        rough = roughen(clean, mel.config.floor, VocoderRecipe(), torch.Generator().manual_seed(0))
        tables = [
            _table("Inversion of recordings", vocoder, clean, classifier, labels, recordings),
            _table("Inversion of recordings, roughened", vocoder, rough, classifier, labels, recordings),
        ]
        if generator is not None and isinstance(generator.representation, MelRepresentation):
            z, condition, labels = draw(generator, range(len(rows)))
            x = torch.stack(list(outputs(generator, z, condition, lambda _: None)))
            made = generator.representation.denormalize(x)
            tables.append(
                _table(
                    "Inversion of generated spectrograms",
                    vocoder,
                    made,
                    classifier,
                    None if condition is None else labels,
                )
            )
    return tables


def _table(
    title: str,
    vocoder: LearnedVocoder,
    log_mel: Tensor,
    judge: Judge,
    labels: np.ndarray | None,
    recordings: Tensor | None = None,
) -> Table:
    mel = representation(vocoder.config)
    heard = {} if recordings is None else {RECORDED: recordings.numpy()}
    cost = {}
    for name, invert in inversions(vocoder).items():
        invert(log_mel[0])  # not timed: tables and memory are set up
        start = time.process_time()
        heard[name] = np.stack([invert(item) for item in tqdm(log_mel, desc=name, unit="sound", leave=False)])
        cost[name] = 1000 * (time.process_time() - start) / (len(log_mel) * mel.seconds)
    figures: dict[str, dict[str, float]] = {name: {} for name in heard}
    for name, waveforms in heard.items():
        if labels is not None:
            figures[name]["accuracy"] = float((judge.hear(waveforms)[0].argmax(1) == labels).mean())
        if name == RECORDED:
            continue
        figures[name]["cost"] = cost[name]
        figures[name]["mel_error"] = float((mel.log_mel(torch.from_numpy(waveforms)) - log_mel).abs().mean())
        if recordings is not None:
            figures[name] |= quality(recordings.numpy(), waveforms, mel.sample_rate, mel.config.n_fft)
            if labels is not None:
                figures[name]["lost"] = figures[RECORDED]["accuracy"] - figures[name]["accuracy"]
    columns = [
        column
        for column in (*NEEDS_RECORDING, *NEEDS_SPECTROGRAM)
        if any(column.key in row for row in figures.values())
    ]
    targets = {"stoi": Target(low=0.9), "lost": Target(high=0.01), "cost": Target(high=15.0)}
    band = "narrow" if mel.sample_rate == 8000 else "wide"
    notes = {
        "stoi": f"STOI and PESQ ({band} band) on {CLIPS_JOINED} sounds joined",
        "lsd": f"LSD: log-spectral distance over frames within {AUDIBLE_DB:g} dB of the loudest",
        "mel_error": "mel error: mean distance, in nepers, of the sound's own log-mel from the one it was made from",
        "cost": "ms per s: milliseconds of one processor for a second of sound",
    }
    return Table(
        title,
        tuple(columns),
        figures,
        {c.key: targets[c.key] for c in columns if c.key in targets},
        (f"{len(log_mel)} sounds", *(notes[c.key] for c in columns if c.key in notes)),
    )


def quality(real: np.ndarray, output: np.ndarray, sample_rate: int, n_fft: int) -> Mapping[str, float]:
    """Similarity of waveforms (n, samples) to the recordings that they were reconstructed from.

    Returns:
        "stoi" (Taal et al., 2011), 0 to 1; "lsd", dB; and "pesq" (ITU-T P.862), up to 4.5, if the package pesq is
        installed, which is optional since it needs a compiler.
    """
    scores: dict[str, list[float]] = {name: [] for name in ("stoi", *(["pesq"] if find_spec("pesq") else []))}
    for first in range(0, len(real), CLIPS_JOINED):
        group = slice(first, first + CLIPS_JOINED)
        spans = real[group] != 0
        here = np.concatenate([r[_span(s)] for r, s in zip(real[group], spans, strict=True)])
        there = np.concatenate([o[_span(s)] for o, s in zip(output[group], spans, strict=True)])
        if (score := stoi(here, there, sample_rate)) > STOI_FAILED:
            scores["stoi"].append(score)
        if "pesq" in scores:
            from pesq import pesq

            scores["pesq"].append(pesq(sample_rate, here, there, "nb" if sample_rate == 8000 else "wb"))
    return {name: float(np.mean(values)) for name, values in scores.items()} | {
        "lsd": log_spectral_distance(real, output, n_fft)
    }


def _span(heard: np.ndarray) -> slice:
    places = np.flatnonzero(heard)
    return slice(places[0], places[-1] + 1)


def log_spectral_distance(real: np.ndarray, output: np.ndarray, n_fft: int) -> float:
    """Log-spectral distance in dB: root mean square difference of level over frequencies, averaged over audible frames.

    1e-5 of the magnitude of a full-scale sine is added to both, since digital silence has no finite level.

    Args:
        real, output: (n, samples)
    """

    def level(waveforms: np.ndarray) -> np.ndarray:
        spectrum = librosa.stft(waveforms, n_fft=n_fft, hop_length=n_fft // 4)
        return 20 * np.log10(np.abs(spectrum) + 1e-5 * n_fft)

    wanted, got = level(real), level(output)
    loudness = wanted.max(axis=1)
    audible = loudness > loudness.max(axis=1, keepdims=True) - AUDIBLE_DB
    distance = np.sqrt(np.square(wanted - got).mean(axis=1))
    return float(distance[audible].mean())

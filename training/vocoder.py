"""Training the learned inversion: spectrograms of real recordings in, the recordings out.

The phase that a spectrogram has lost cannot be known, so losses compare magnitudes only, at several resolutions
(Yamamoto et al., 2020, "Parallel WaveGAN", arXiv:1910.11480). Spectrograms are roughened a little before they go in,
for a generator will not draw them as clean as a microphone does.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from explorer import checkpoint
from explorer.checkpoint import config_from_dict
from explorer.sound.mel import MelConfig, MelRepresentation
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig
from training.data.audio import FRAMES, HOP_SECONDS, load_waveforms
from training.data.inventory import table
from training.export import portable, read_run
from training.loop import LOG_EVERY, METRICS, STATE, TrainingError, last_state, save_state, stop_requests

GAP_SECONDS = 0.05  # of silence between two recordings
WINDOWS = (1 / 8, 1 / 4, 1 / 2, 1, 2)  # of the loss, as multiples of n_fft
COMPARED = 2  # windows drawn anew at every step: over many steps as good as all, and half the price
NYQUIST_MARGIN = 0.97
log = logging.getLogger(__name__)

CARD = """# {name}

A learned inversion: log-mel spectrograms to sound in one pass. {parameters:,} parameters, exported at step {step:,}.
It plays no sound by itself; checkpoints of `spectogan` that are exported beside it carry a copy.

| | |
|---|---|
| spectrograms | {sample_rate} Hz, n_fft {n_fft}, hop {hop_length}, {n_mels} bands, floor {floor} |
| data | {data} |
| licence of the weights | say it here: what the data's licence permits |
| command | `{command}` |
| hardware | {hardware} |
"""


@dataclass(frozen=True)
class VocoderRecipe:
    """Every number of a run.

    Attributes:
        lr: peak of the learning rate: a hundred steps up to it, then half a cosine down.
        tones: share of a batch that is a steady harmonic tone instead of speech. Without them, what no voice sustains
            comes out as noise.
        noise, band_noise: largest deviation of the noise added to a log-mel, per pixel and per band.
        blur: largest share that a pixel gives to each of its neighbours, in time and in frequency.
        state_every: steps between saved states.
    """

    steps: int = 10_000
    batch_size: int = 16
    lr: float = 2e-3
    tones: float = 0.13
    noise: float = 0.15
    band_noise: float = 0.1
    blur: float = 0.2
    seed: int = 0
    state_every: int = 250


@dataclass
class VocoderRun:
    """Everything that changes while training; `save_state` writes it and `load_state` reads it."""

    vocoder: LearnedVocoder
    recipe: VocoderRecipe
    optimizers: dict[str, torch.optim.Adam]
    rng: torch.Generator
    device: torch.device
    bfloat16: bool
    step: int = 0

    @property
    def seed(self) -> int:
        return self.recipe.seed

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vocoder": self.vocoder}


def representation(config: VocoderConfig) -> MelRepresentation:
    """The spectrogram that a vocoder inverts, not normalised."""
    c = config
    return MelRepresentation(
        MelConfig(
            c.sample_rate,
            c.n_fft,
            c.hop_length,
            c.n_mels,
            FRAMES,
            c.floor,
            mean=(0.0,) * c.n_mels,
            scale=(1.0,) * c.n_mels,
        )
    )


def blank_config(sample_rate: int) -> VocoderConfig:
    """The network for spectrograms as `training.data.audio` makes them at a sample rate."""
    hop = round(sample_rate * HOP_SECONDS)
    return VocoderConfig(sample_rate=sample_rate, n_fft=4 * hop, hop_length=hop)


def load_streams(folders: Sequence[Path], cache: Path, sample_rate: int) -> dict[str, list[Tensor]]:
    """Each folder's recordings as one long waveform, for "train" and "valid". Raises DataError as `load_waveforms`."""
    clips = [load_waveforms(folder, cache, {"sample_rate": str(sample_rate)}) for folder in folders]
    for folder, found in zip(folders, clips, strict=True):
        log.info("%s\n%s", folder, table(found.meta["inventory"]))
    gap = round(GAP_SECONDS * sample_rate)
    return {"train": [join(c.train, gap) for c in clips], "valid": [join(c.valid, gap) for c in clips]}


def join(waveforms: Tensor, gap: int) -> Tensor:
    """(n, samples) -> (m,): one after another without the zeros around each, `gap` zeros behind each."""
    parts = []
    for waveform in waveforms:
        heard = waveform.nonzero()[:, 0]
        if len(heard):
            parts.append(F.pad(waveform[heard[0] : heard[-1] + 1].float(), (0, gap)))
    return torch.cat(parts) if parts else torch.zeros(0)


def start(config: VocoderConfig, recipe: VocoderRecipe, device: torch.device, bfloat16: bool) -> VocoderRun:
    """A fresh network and optimizer, initialised from `recipe.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        vocoder = LearnedVocoder(config)
    vocoder = vocoder.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(vocoder.parameters(), lr=recipe.lr, betas=(0.8, 0.99), fused=True)
    rng = torch.Generator(device).manual_seed(recipe.seed)
    return VocoderRun(vocoder, recipe, {"vocoder": optimizer}, rng, device, bfloat16)


def train(run: VocoderRun, streams: Sequence[Tensor], folder: Path) -> None:
    """Runs to the last step, or to the next step after SIGINT or SIGTERM, saving state either way.

    Raises:
        TrainingError: if a figure is no longer finite, or the recordings are too short; the last good state stays.
        KeyboardInterrupt: after SIGINT or SIGTERM, once the state is saved.
    """
    recipe, mel = run.recipe, representation(run.vocoder.config)
    longest = round(1.15 * mel.config.samples)
    streams = [stream.to(run.device) for stream in streams if len(stream) > longest]
    if not streams:
        raise TrainingError(f"too little sound to train on: {longest / mel.sample_rate:.1f} s are needed")
    seen: list[dict[str, Tensor]] = []
    since = time.perf_counter()
    with (
        stop_requests() as stop,
        (folder / METRICS).open("a", encoding="utf-8") as log,
        tqdm(total=recipe.steps, initial=run.step, unit="step", smoothing=0.05, dynamic_ncols=True) as bar,
    ):
        while run.step < recipe.steps:
            seen.append(step(run, mel, streams))
            run.step += 1
            bar.update()
            last = run.step == recipe.steps or stop.is_set()
            saving = run.step % recipe.state_every == 0 or last
            if run.step % LOG_EVERY == 0 or saving:
                means = {name: float(torch.stack([figures[name] for figures in seen]).mean()) for name in seen[0]}
                seen = []
                if not all(map(math.isfinite, means.values())):
                    raise TrainingError(
                        f"the loss is no longer finite at step {run.step}; the state of the last good "
                        f"step is kept in {folder / STATE}: resume from it with a lower --lr"
                    )
                seconds, since = time.perf_counter() - since, time.perf_counter()
                log.write(json.dumps({"step": run.step, "seconds": round(seconds, 3), **means}) + "\n")
                log.flush()
                bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
            if saving:
                save_state(run, folder)
            if stop.is_set():
                raise KeyboardInterrupt


def step(run: VocoderRun, mel: MelRepresentation, streams: Sequence[Tensor]) -> dict[str, Tensor]:
    """One update; the figures of its batch."""
    recipe, optimizer = run.recipe, run.optimizers["vocoder"]
    cosine = (1 + math.cos(math.pi * min(1, run.step / recipe.steps))) / 2
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr * min(1, (run.step + 1) / 100) * max(0.01, cosine)
    real = batch(streams, mel.config, recipe, run.rng)
    log_mel = mel.log_mel(real)
    with torch.autocast(run.device.type, torch.bfloat16, enabled=run.bfloat16):
        drawn = run.vocoder.draw(roughen(log_mel, mel.config.floor, recipe, run.rng))
    output = run.vocoder.settle(drawn, log_mel, rounds=1)  # so that the network learns what the rounds leave to it
    picked = torch.randperm(len(WINDOWS), generator=run.rng, device=run.device)[:COMPARED].tolist()
    compared = [spectral_loss(output, real, round(WINDOWS[i] * mel.config.n_fft)) for i in picked]
    figures = {"mel_error": (mel.log_mel(output) - log_mel).abs().mean(), "spectral": torch.stack(compared).mean()}
    loss = figures["mel_error"] + figures["spectral"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.vocoder.parameters(), 5.0)
    optimizer.step()
    return {name: value.detach() for name, value in figures.items()}


def spectral_loss(output: Tensor, real: Tensor, n_fft: int) -> Tensor:
    """Spectral convergence plus mean distance of log-magnitudes, of waveforms (batch, samples).

    Equations 4 and 5 of Yamamoto et al. (2020). A magnitude of 1e-5 of a full-scale sine is added before the
    logarithm, for the spectrograms know nothing of what is below.
    """
    window = torch.hann_window(n_fft, device=real.device)
    quiet = 1e-5 * n_fft

    def magnitude(waveform: Tensor) -> Tensor:
        spectrum = torch.stft(waveform, n_fft, n_fft // 4, window=window, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()  # its slope at silence is finite

    drawn, wanted = magnitude(output), magnitude(real)
    distance = (drawn - wanted).square().sum((1, 2)).sqrt() / (wanted.square().sum((1, 2)).sqrt() + quiet)
    return distance.mean() + ((drawn + quiet).log() - (wanted + quiet).log()).abs().mean()


def batch(streams: Sequence[Tensor], mel: MelConfig, recipe: VocoderRecipe, rng: torch.Generator) -> Tensor:
    """(batch_size, samples): excerpts of all streams, and some steady tones.

    Excerpts, as many of each stream, are played up to 15 % faster or slower (one speed a batch), up to 6 dB louder or
    softer, and now and then begin or end in silence.
    """
    n, samples, device = recipe.batch_size, mel.samples, rng.device
    draw = _uniform(rng)
    tones = round(recipe.tones * n)
    shares = [len(part) for part in torch.arange(n - tones).tensor_split(len(streams))]
    length = mel.hop_length * round(mel.frames * (0.85 + 0.3 * float(draw(1))))
    place = torch.arange(length, device=device)
    excerpts = torch.cat(
        [
            stream[torch.randint(len(stream) - length, (share, 1), generator=rng, device=device) + place]
            for stream, share in zip(streams, shares, strict=True)
        ]
    )
    excerpts = resample(excerpts, samples) * 10 ** (0.6 * draw(n - tones, 1) - 0.3)
    edge = draw(4, n - tones, 1) * torch.tensor([0.25, 0.25, 1, 1], device=device)[:, None, None]
    time = torch.linspace(0, 1, samples, device=device)
    silent = ((time < edge[0]) & (edge[2] < 0.3)) | ((time > 1 - edge[1]) & (edge[3] < 0.3))
    return torch.cat([excerpts * ~silent, steady_tones(tones, mel, rng)]).clamp(-1, 1)


def resample(waveform: Tensor, samples: int) -> Tensor:
    """(batch, n) -> (batch, samples): the same in more or fewer samples, band-limited."""
    spectrum = torch.fft.rfft(waveform)[:, : samples // 2 + 1]
    stretched: Tensor = torch.fft.irfft(spectrum, n=samples) * (samples / waveform.shape[1])
    return stretched


def steady_tones(n: int, mel: MelConfig, rng: torch.Generator) -> Tensor:
    """(n, samples): one to twelve harmonics of a fundamental from 80 Hz up, that start and end inside."""
    draw = _uniform(rng)
    top = NYQUIST_MARGIN * mel.sample_rate / 2
    time = torch.arange(mel.samples, device=rng.device) / mel.sample_rate
    number = torch.arange(1, 13, device=rng.device)
    partials = 80 * (top / 80) ** draw(n, 1) * number
    strength = torch.exp(-1.5 * draw(n, 1) * (number - 1)) * (partials < top)
    waves = (2 * math.pi * (partials[..., None] * time + draw(n, len(number), 1))).sin() * strength[..., None]
    mixed = waves.sum(1)
    length = mel.samples / mel.sample_rate
    inside = (time > 0.2 * length * draw(n, 1)) & (time < length * (1 - 0.2 * draw(n, 1)))
    loudness = 0.05 + 0.4 * draw(n, 1)
    return mixed * inside * loudness / mixed.abs().amax(1, keepdim=True)


def roughen(log_mel: Tensor, floor: float, recipe: VocoderRecipe, rng: torch.Generator) -> Tensor:
    """(batch, n_mels, frames) with noise and blur, as much as a fresh draw for each item says."""
    n, n_mels, _ = log_mel.shape
    draw = _uniform(rng)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=rng, device=rng.device)

    for axis in (1, 2):
        share = recipe.blur * draw(n, 1, 1) * (draw(n, 1, 1) < 0.5)
        first, last = log_mel.narrow(axis, 0, 1), log_mel.narrow(axis, -1, 1)
        wide, size = torch.cat([first, log_mel, last], axis), log_mel.shape[axis]
        log_mel = (1 - 2 * share) * log_mel + share * (wide.narrow(axis, 0, size) + wide.narrow(axis, 2, size))
    log_mel = log_mel + recipe.noise * draw(n, 1, 1) * normal(*log_mel.shape)
    log_mel = log_mel + recipe.band_noise * draw(n, 1, 1) * normal(n, n_mels, 1)
    return log_mel.clamp_min(math.log(floor))


def export(folder: Path, name: str, target: Path) -> Path:
    """Writes `target/NAME.safetensors` from a run's last saved state, and a first model card if there is none.

    Raises:
        TrainingError: if the run, or its state, cannot be read.
    """
    about = read_run(folder)
    vocoder = LearnedVocoder(config_from_dict(VocoderConfig, about["config"]))
    state = last_state(folder)
    vocoder.load_state_dict(state["modules"]["vocoder"])
    names = [Path(source).name for source in about["data"]]
    command = portable(about["command"])
    provenance = {
        **{k: about[k] for k in ("recipe", "hardware", "minutes")},
        "command": command,
        "data": names,
        "step": state["step"],
    }
    path = target / f"{name}.safetensors"
    checkpoint.save_part(path, "vocoder", vocoder, provenance)
    card = target / f"{name}.md"
    if not card.exists():
        card.write_text(
            CARD.format(
                name=name,
                parameters=sum(p.numel() for p in vocoder.parameters()),
                step=state["step"],
                data=", ".join(names),
                command=command,
                hardware=about["hardware"],
                **about["config"],
            ),
            encoding="utf-8",
        )
    return path


def _uniform(rng: torch.Generator) -> Callable[..., Tensor]:
    return lambda *size: torch.rand(size, generator=rng, device=rng.device)

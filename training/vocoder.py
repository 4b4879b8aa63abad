"""Trains the vocoder: a network that inverts spectrograms ("learned inversion"), trained on real recordings.

A spectrogram does not hold the phase, so losses compare magnitudes only, at several resolutions (Yamamoto et al., 2020,
"Parallel WaveGAN", arXiv:1910.11480). Noise and blur are added to the spectrograms before they go in, since generated
ones are not as clean as recorded ones.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer import atomic, checkpoint
from explorer.checkpoint import config_from_dict
from explorer.sound.mel import MelConfig, MelRepresentation
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig
from training.data.audio import FRAMES, HOP_SECONDS, load_waveforms
from training.data.inventory import table
from training.objective import Objective, Schedule
from training.options import check, count, real
from training.runs import TrainingError, last_state, portable, read_run
from training.task import DataError, Prepared

GAP_SECONDS = 0.05  # silence between two recordings
RESOLUTIONS = (1 / 8, 1 / 4, 1 / 2, 1, 2)  # window lengths of the loss, as multiples of n_fft
LONGEST = 1.15  # length of an excerpt before it is sped up, as a multiple of the length afterwards
RESOLUTIONS_PER_STEP = 2  # drawn at random: over many steps as good as all of them, at half the cost
NYQUIST_MARGIN = 0.97  # highest partial of a tone, as a share of half the sample rate
log = logging.getLogger(__name__)

CARD = """# {name}

A vocoder: a network that turns log-mel spectrograms into sound in one pass. {parameters:,} parameters, exported at
step {step:,}. It makes no sounds by itself; checkpoints of `spectogan` that are exported beside it include a copy.

| | |
|---|---|
| spectrograms | {sample_rate} Hz, n_fft {n_fft}, hop {hop_length}, {n_mels} bands, floor {floor} |
| data | {data} |
| licence of the weights | to be filled in: what the data's licence permits |
| command | `{command}` |
| hardware | {hardware} |
"""


@dataclass(frozen=True)
class VocoderRecipe:
    """The hyperparameters of a run. The text beside each field is its help.

    Raises:
        ValueError: naming the number that is out of its range.
    """

    steps: int = count(10_000, "steps of training", low=1)
    batch_size: int = count(16, "excerpts in a batch", low=1, high=2**16)
    lr: float = real(2e-3, "peak learning rate: linear warm-up over 100 steps, then half a cosine down")
    # Without tones, sounds that are held longer than any in speech come out as noise.
    tones: float = real(0.13, "share of a batch that is steady harmonic tones instead of recordings", high=1)
    noise: float = real(0.15, "largest standard deviation of noise added to each pixel of a log-mel")
    band_noise: float = real(0.1, "largest standard deviation of noise added to each band of a log-mel")
    blur: float = real(
        0.2, "largest share of a pixel that is blurred into each neighbour, in time and in frequency", high=0.5
    )
    seed: int = count(0, "seed of the initial weights and of all random numbers", high=2**63 - 1)
    state_every: int = count(250, "steps between saved states, from which --resume continues", low=1)

    def __post_init__(self) -> None:
        check(self)
        if round(self.tones * self.batch_size) == self.batch_size:
            raise ValueError(
                f"tones of {self.tones:g} leave no recording in a batch of {self.batch_size}: lower the share of tones"
            )


class VocoderObjective(Objective):
    """Trains a vocoder to match the magnitudes of real recordings at several resolutions.

    The training set holds one long waveform for each folder.
    """

    def __init__(self, vocoder: LearnedVocoder, recipe: VocoderRecipe, device: torch.device, bfloat16: bool) -> None:
        super().__init__(
            Schedule({"inversion": recipe.steps}, recipe.state_every, recipe.steps), recipe.seed, device, bfloat16
        )
        self.recipe, self.mel = recipe, representation(vocoder.config)
        self.vocoder = vocoder.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimizers["vocoder"] = torch.optim.AdamW(
            vocoder.parameters(), lr=recipe.lr, betas=(0.8, 0.99), fused=True
        )

    def modules(self) -> dict[str, nn.Module]:
        return {"vocoder": self.vocoder}

    def update(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        recipe = self.recipe
        cosine = (1 + math.cos(math.pi * min(1, self.step / recipe.steps))) / 2
        self.set_rate("vocoder", recipe.lr * min(1, (self.step + 1) / 100) * max(0.01, cosine))
        figures = self._errors(batch(tuple(data.values()), self.mel.config, recipe, self.rng))
        self.descend("vocoder", figures["mel_error"] + figures["spectral"], clip=5.0)
        return figures

    def probe(self, data: Mapping[str, Tensor], items: int) -> Tensor:
        few = replace(self.recipe, batch_size=items, tones=0.0)
        return self._errors(batch(tuple(data.values()), self.mel.config, few, self.rng))["mel_error"]

    def _errors(self, real: Tensor) -> dict[str, Tensor]:
        recipe, mel = self.recipe, self.mel
        log_mel = mel.log_mel(real)
        with self.autocast():
            drawn = self.vocoder.draw(roughen(log_mel, mel.config.floor, recipe, self.rng))
        output = self.vocoder.settle(
            drawn, log_mel, rounds=1
        )  # with a correction round as in use, so that the network learns what the round does not do
        picked = torch.randperm(len(RESOLUTIONS), generator=self.rng, device=self.device)[
            :RESOLUTIONS_PER_STEP
        ].tolist()
        compared = [spectral_loss(output, real, round(RESOLUTIONS[i] * mel.config.n_fft)) for i in picked]
        return {"mel_error": (mel.log_mel(output) - log_mel).abs().mean(), "spectral": torch.stack(compared).mean()}


def representation(config: VocoderConfig) -> MelRepresentation:
    """The log-mel spectrogram that a vocoder inverts, without normalisation."""
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
    """The vocoder's configuration for spectrograms as `training.data.audio` makes them at a sample rate in Hz."""
    hop = round(sample_rate * HOP_SECONDS)
    return VocoderConfig(sample_rate=sample_rate, n_fft=4 * hop, hop_length=hop)


def prepare(folders: Sequence[Path], cache: Path, sample_rate: int) -> Prepared:
    """Prepares each folder's recordings as one long waveform; folders with hardly any sound are left out.

    Raises:
        DataError: if a folder cannot be used (as `load_waveforms`), or all hold too little sound.
    """
    clips = [load_waveforms(folder, cache, {"sample_rate": str(sample_rate)}) for folder in folders]
    for folder, found in zip(folders, clips, strict=True):
        log.info("%s\n%s", folder, table(found.meta["inventory"]))
    gap = round(GAP_SECONDS * sample_rate)
    train, valid = (
        {str(k): join(waveforms, gap) for k, waveforms in enumerate(part)}
        for part in ([c.train for c in clips], [c.valid for c in clips])
    )
    longest = round(LONGEST * representation(blank_config(sample_rate)).config.samples)
    minutes = {
        part: [round(len(stream) / sample_rate / 60, 1) for stream in streams.values()]
        for part, streams in (("train", train), ("valid", valid))
    }
    kept = {name: stream for name, stream in train.items() if len(stream) > longest}
    if not kept:
        raise DataError(
            f"too little sound to train on: at least {longest / sample_rate:.1f} s are needed in one folder"
        )
    return Prepared(kept, valid, {"minutes": minutes})


def join(waveforms: Tensor, gap: int) -> Tensor:
    """Joins waveforms (n, samples) into one (m,): each without the zeros around it, and with `gap` zeros after it."""
    parts = []
    for waveform in waveforms:
        nonzero = waveform.nonzero()[:, 0]
        if len(nonzero):
            parts.append(F.pad(waveform[nonzero[0] : nonzero[-1] + 1].float(), (0, gap)))
    return torch.cat(parts) if parts else torch.zeros(0)


def start(config: VocoderConfig, recipe: VocoderRecipe, device: torch.device, bfloat16: bool) -> VocoderObjective:
    """Makes the objective of a new run; the network is initialised from `recipe.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        vocoder = LearnedVocoder(config)
    return VocoderObjective(vocoder, recipe, device, bfloat16)


def spectral_loss(output: Tensor, real: Tensor, n_fft: int) -> Tensor:
    """Spectral convergence plus mean distance of log-magnitudes, of waveforms (batch, samples).

    Equations 4 and 5 of Yamamoto et al. (2020). 1e-5 of the magnitude of a full-scale sine is added before the
    logarithm, since the spectrograms hold nothing below it.
    """
    window = torch.hann_window(n_fft, device=real.device)
    quiet = 1e-5 * n_fft

    def magnitude(waveform: Tensor) -> Tensor:
        spectrum = torch.stft(waveform, n_fft, n_fft // 4, window=window, return_complex=True)
        return (
            spectrum.real.square() + spectrum.imag.square() + 1e-9
        ).sqrt()  # 1e-9 keeps the gradient finite at silence

    drawn, wanted = magnitude(output), magnitude(real)
    distance = (drawn - wanted).square().sum((1, 2)).sqrt() / (wanted.square().sum((1, 2)).sqrt() + quiet)
    return distance.mean() + ((drawn + quiet).log() - (wanted + quiet).log()).abs().mean()


def batch(streams: Sequence[Tensor], mel: MelConfig, recipe: VocoderRecipe, rng: torch.Generator) -> Tensor:
    """Draws a batch of waveforms (batch_size, samples): excerpts, equally many of each stream, and some steady tones.

    Excerpts are augmented: up to 15 % faster or slower (one speed per batch), up to 6 dB louder or softer, and some
    begin or end in silence.
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
    """Stretches or compresses waveforms (batch, n) to (batch, samples) by Fourier resampling."""
    spectrum = torch.fft.rfft(waveform)[:, : samples // 2 + 1]
    stretched: Tensor = torch.fft.irfft(spectrum, n=samples) * (samples / waveform.shape[1])
    return stretched


def steady_tones(n: int, mel: MelConfig, rng: torch.Generator) -> Tensor:
    """Draws n steady tones (n, samples): up to twelve harmonics of a fundamental of 80 Hz or more.

    Each starts after the beginning and stops before the end.
    """
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
    """Adds noise and blur to log-mels (batch, n_mels, frames), by an amount drawn for each item."""
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
    state = last_state(folder)
    try:
        vocoder = LearnedVocoder(config_from_dict(VocoderConfig, about["config"]))
        vocoder.load_state_dict(state["modules"]["vocoder"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise TrainingError(f"{folder} holds no run of a vocoder, or a damaged one: {error}") from None
    names, config = [Path(source).name for source in about["data"]], asdict(vocoder.config)
    command = portable(about["command"])
    provenance: dict[str, Any] = {
        **{k: about[k] for k in ("recipe", "hardware", "minutes") if k in about},
        "command": command,
        "data": names,
        "step": state["step"],
    }
    path = target / f"{name}.safetensors"
    checkpoint.save_part(path, "vocoder", vocoder, provenance)
    card = target / f"{name}.md"
    if not card.exists():
        atomic.write_text(
            card,
            CARD.format(
                name=name,
                parameters=sum(p.numel() for p in vocoder.parameters()),
                step=state["step"],
                data=", ".join(names),
                command=command,
                hardware=about["hardware"],
                **config,
            ),
        )
    return path


def _uniform(rng: torch.Generator) -> Callable[..., Tensor]:
    return lambda *size: torch.rand(size, generator=rng, device=rng.device)

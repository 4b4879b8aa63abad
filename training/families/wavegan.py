"""Trains WaveGAN: first a conditional variational autoencoder, then WGAN-GP with its decoder as the generator.

The critic sees the samples, as in the paper, with phase shuffle (Donahue et al., 2019, arXiv:1802.04208, section 3.3),
and beside them two log-spectrograms of the same sound: without these, hats and snares come out as tones. It is a
projection critic (Miyato and Koyama, 2018, arXiv:1802.05637) with an auxiliary label classifier (Odena et al., 2017,
arXiv:1610.09585). Real and generated sounds are augmented alike in speed, equalisation, delay and gain before it sees
them, so that it does not memorise a small training set (DiffAugment: Zhao et al., 2020, arXiv:2006.10738).

The first numbers of the latent are those of attributes such as pitch and decay, in the warm start because they replace
what the encoder says, then by a loss; see `training.families.attributes`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Generator
from explorer.generators.wavegan import LENGTH, STRIDE, Modulated, PitchEnvelope, Upsampling, WaveGAN, catmull_rom
from explorer.sound.mel_scale import mel_filters
from training import parallel
from training.data.one_shots import ONSET
from training.families.attributes import CHUNK, NAMES, Whitening
from training.families.one_shots import OneShotTask
from training.latents import draw_latents
from training.networks import ConditionalCritic, DownBlock, he_normal, posterior
from training.options import Number
from training.parallel import rand, randint, randn
from training.task import Batch, Prepared, TrainingRecipe
from training.wgan_gp import WGANGP, AdversarialTask, Networks

HOP, ROWS = 128, 128  # of the critic's spectrograms: samples between frames, rows of equal width
WINDOWS = (1024, 256)  # samples
FLOOR = 3e-4  # magnitude added before the logarithm, where a full-scale sine has 1: -70 dB
MIDDLE, RANGE = -5.0, 8.0  # log-magnitudes to about [-0.4, 0.6], at which they and the samples differ about as much
MEL_SIZES = ((2048, 128), (512, 64), (128, 24))  # window, bands: of the warm start's loss
PLANES = 6  # of the spectrograms of a view
WIDTH = 512  # features of critic and encoder, half of them of the samples
SHUFFLE = 2  # the largest shift of phase shuffle
# Augmentation, at most: octaves, nepers (standard deviation), samples, nepers.
SPEED, EQUALISER, DELAY, GAIN = 1 / 6, 0.25, 32, 0.2
HEARD = 4096  # recordings, at most, by which attributes are standardised
TURNED = 2048  # sounds by which the latent is turned and the pitch envelope is tuned
TUNINGS, NUDGE = 3, 0.25  # Gauss-Newton steps, and the octaves by which each tries what is heard
NOISE, FARTHEST = 0.1, 3.0  # deviation added to the attributes of a recording as latents, and their limit
AUGMENTED = 0.75  # share of the sounds that are augmented; below 0.8 the generator does not learn augmentations


class WaveTask(OneShotTask, AdversarialTask):
    """Trains WaveGAN on short sounds that begin at once, conditional on their labels if they have any."""

    family = "wavegan"
    summary = "a generator of one-shots (waveforms), on folders of short recordings or SoundFonts (e.g. drums)"
    generator_class = WaveGAN
    numbers = MappingProxyType(
        {
            "kl_weight": Number("weight of the KL divergence, in nats for each sound, in the warm start", low=0),
            "attribute_weight": Number(
                "weight of the loss that ties the first numbers of the latent to pitch, decay and so on; 0: free", low=0
            ),
        }
    )
    defaults = TrainingRecipe(
        batch_size=64,
        warm_steps=2000,
        steps=12_000,
        cooldown=3000,
        critic_steps=2,
        warm_lr=5e-4,
        generator_lr=2e-4,
        critic_lr=2e-4,
        penalty_weight=10.0,
        penalty_every=2,
        auxiliary_weight=1.0,
        reconstruction_weight=5.0,
        reconstruction_every=4,
        ema_decay=0.999,
        snapshot_every=1000,
        state_every=500,
        extra={"kl_weight": 1e-3, "attribute_weight": 1.0},
    )
    fine_tuning = replace(
        defaults,
        batch_size=32,
        warm_steps=0,
        steps=400,
        head_start=100,
        cooldown=200,
        reconstruction_weight=0.0,
        generator_lr=1e-4,
        ema_decay=0.98,
        snapshot_every=100,
        state_every=100,
        extra={**defaults.extra, "attribute_weight": 0.0},  # few recordings say little of what is usual
    )

    heard: Whitening | None = None  # of the objective's recordings; None where attributes have no weight
    turns = False  # whether the latent is that of a checkpoint, whose first numbers may mean anything

    def objective(
        self, recipe: TrainingRecipe, data: Prepared, config: Mapping[str, Any], device: torch.device, bfloat16: bool
    ) -> WGANGP:
        made = super().objective(recipe, data, config, device, bfloat16)
        assert isinstance(made.critic, ConditionalCritic)
        assert isinstance(made.critic.trunk, Trunk)
        made.critic.trunk.rng = made.rng  # for phase shuffle
        if _weight(recipe):
            rng = torch.Generator().manual_seed(recipe.seed)
            real = self.batch(data.train, torch.randperm(len(data.train["x"]), generator=rng)[:HEARD], rng)
            self.heard = Whitening(real.x, real.condition, data.meta["sample_rate"]).to(device)
            self.turns = not recipe.warm_steps
        upsamplings = [m for g in (made.generator, made.ema) for m in g.modules() if isinstance(m, Upsampling)]

        def smooth(*_: object) -> None:
            for upsampling in upsamplings:
                upsampling.smooth()

        for name in {"warm", "generator"} & set(made.optimizers):
            made.optimizers[name].register_step_post_hook(smooth)
        return made

    def begin_adversarial(self, networks: Networks, ema: Generator) -> None:
        """Makes the weights smooth that a checkpoint brought, which may not be; turns their latent; tunes the pitch."""
        for module in networks.generator.modules():
            if isinstance(module, Upsampling):
                module.smooth()
        if self.heard is None or networks.generator.latent.prior != "normal":
            return
        both = (networks.generator, ema)
        if self.turns:
            rotation = slopes_first(networks.generator, self.heard)
            for generator in both:
                turn(generator, rotation)
        tune(both, self.heard)
        parallel.same_weights(both)

    def critic(self, generator: Generator) -> nn.Module:
        return ConditionalCritic(Trunk(generator.representation.shape[0]), WIDTH, len(generator.config.labels))

    def encoder(self, generator: Generator) -> nn.Module:
        return Encoder(generator.representation.shape[0], generator.latent.size)

    def warm_loss(
        self, generator: Generator, encoder: nn.Module, batch: Batch, recipe: TrainingRecipe, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean distances of log-mels of three sizes and of samples, plus the weighted KL divergence from the prior.

        Mel bands are wide, so that noise is compared by its level in each, not by its single peaks.
        """
        encoded = encoder(view(batch.x))
        if self.heard is None:
            z, divergence = posterior(encoded, rng)
        else:
            known = self.heard(batch.x, batch.condition)[:, : generator.latent.size].clamp(-FARTHEST, FARTHEST)
            known = known + NOISE * randn(known.shape, rng)
            z, divergence = posterior(encoded.unflatten(1, (2, -1))[:, :, known.shape[1] :].flatten(1), rng)
            z = torch.cat([known * generator.latent.std, z], dim=1)
        output = generator(z, batch.condition).float()
        spectral = torch.stack([_mel_distance(output, batch.x, *size) for size in MEL_SIZES]).mean()
        error = (output - batch.x).abs().mean()
        loss = spectral + error + recipe.extra["kl_weight"] * divergence
        return loss, {"spectral": spectral, "error": error, "divergence": divergence}

    def matching_loss(
        self, networks: Networks, tensors: Mapping[str, Tensor], recipe: TrainingRecipe, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """How far the attributes of generated sounds are from the first numbers of their latents."""
        if self.heard is None:
            return {}
        latent, n = networks.generator.latent, max(1, recipe.batch_size // parallel.world_size() // 2)
        condition = tensors["condition"][self.draw(tensors, n, rng)] if "condition" in tensors else None
        z = draw_latents(latent, n, rng)
        found = self.heard(networks.generator(z, condition), condition)[:, : latent.size]
        # Squared differences, but of the attributes' long tails absolute ones.
        return {"attribute_loss": _weight(recipe) * F.smooth_l1_loss(found, z[:, : len(NAMES)] / latent.std)}

    def real_view(self, batch: Batch, encoder: nn.Module | None, rng: torch.Generator) -> Tensor:
        return view(augment(batch.x, rng))

    def fake_view(self, generator: Generator, z: Tensor, condition: Tensor | None, rng: torch.Generator) -> Tensor:
        return view(augment(generator(z, condition).float(), rng))


@torch.no_grad()
def slopes_first(generator: Generator, heard: Whitening, sounds: int = TURNED) -> Tensor:
    """The rotation (latent, latent) whose first columns are the directions in which the attributes of sounds grow.

    The directions are those of a linear fit, made orthogonal. All others change as little as that allows, so where the
    first numbers control the attributes already the rotation is near the identity.
    """
    size = generator.latent.size
    z, label = _places(generator, sounds, heard.mean.device)
    found = _hear(generator, heard, z, label)
    inputs = torch.cat([z, label], dim=1)
    ridge = 0.01 * sounds * torch.eye(inputs.shape[1], device=z.device)
    slopes = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ found)[:size, :size]
    left, _, right = torch.linalg.svd(slopes, full_matrices=False)
    others = torch.eye(size, device=z.device)[:, slopes.shape[1] :]
    rotation, triangle = torch.linalg.qr(torch.cat([left @ right, others], dim=1))
    return rotation * triangle.diagonal().sign()


@torch.no_grad()
def turn(generator: Generator, rotation: Tensor) -> None:
    """Changes a generator so that it makes of z what it made of `rotation @ z`."""
    assert isinstance(generator, WaveGAN)
    size, network = generator.latent.size, generator.network
    for layer in (generator.start, network.mapping[0] if isinstance(network, Modulated) else None):
        if isinstance(layer, nn.Linear):
            layer.weight[:, :size] = layer.weight[:, :size] @ rotation


@torch.no_grad()
def tune(generators: Sequence[Generator], heard: Whitening, sounds: int = TURNED // 2) -> None:
    """Sets the constant of the pitch envelope, if there is one, so that pitch follows the first number of the latent.

    By Gauss-Newton steps: a fit, linear in the style, of what each sound of the first generator lacks, weighted by how
    much octaves change what is heard, which for noise is little. The other generators get the same.
    """
    generator = generators[0]
    envelopes = [m for g in generators for m in g.modules() if isinstance(m, PitchEnvelope)]
    if not envelopes:
        return
    octaves, styles = envelopes[0].octaves, list[Tensor]()
    hook = octaves.register_forward_pre_hook(lambda _, inputs: styles.append(inputs[0]))
    for k in range(TUNINGS):
        z, label = _places(generator, sounds, heard.mean.device, seed=k)
        styles.clear()
        found = _hear(generator, heard, z, label)[:, 0]
        inputs = F.pad(torch.cat(styles), (0, 1), value=1.0)
        octaves.bias[0] += NUDGE
        slope = (_hear(generator, heard, z, label)[:, 0] - found) / NUDGE
        octaves.bias[0] -= NUDGE
        most = heard.inverse[0, 0] / (label @ heard.deviation)[:, 0]  # what octaves change in a tone
        rows = slope.clamp_min(0).minimum(most)[:, None] * inputs
        ridge = 0.01 * inputs.square().sum(0).mean() * torch.eye(inputs.shape[1], device=z.device)
        change = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ (z[:, 0] / generator.latent.std - found))
        octaves.weight[0] += change[:-1]
        octaves.bias[0] += change[-1]
    hook.remove()
    for envelope in envelopes:
        envelope.load_state_dict(envelopes[0].state_dict())


def _places(generator: Generator, sounds: int, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Latents (sounds, latent) and one-hot labels, in turn (sounds, labels), or ones without labels."""
    rng = torch.Generator(device).manual_seed(seed)
    z = draw_latents(generator.latent, sounds, rng)
    labels = max(1, len(generator.config.labels))
    return z, torch.eye(labels, device=device).repeat(sounds, 1)[:sounds]


def _hear(generator: Generator, heard: Whitening, z: Tensor, label: Tensor) -> Tensor:
    """The whitened attributes (sounds, 6) of sounds, none farther than recordings."""
    labelled = generator.config.labels
    return torch.cat(
        [
            heard(generator(a, b if labelled else None), b)
            for a, b in zip(z.split(CHUNK), label.split(CHUNK), strict=True)
        ]
    ).clamp(-FARTHEST, FARTHEST)


def _mel_distance(output: Tensor, real: Tensor, n_fft: int, bands: int) -> Tensor:
    """Mean absolute difference of log-mels of waveforms (batch, samples), whatever their sample rate."""
    filters = _filters(n_fft, bands, real.device)
    a, b = ((filters @ _magnitudes(x, n_fft, n_fft // 4) + FLOOR).log() for x in (output, real))
    return (a - b).abs().mean()


@lru_cache(maxsize=16)  # or each step would wait for a copy to the device
def _filters(n_fft: int, bands: int, device: torch.device) -> Tensor:
    filters = torch.from_numpy(mel_filters(16_000, n_fft, bands)).to(device)
    return filters / filters.sum(1, keepdim=True).clamp_min(1e-9)


@lru_cache(maxsize=16)
def _window(n_fft: int, device: torch.device) -> Tensor:
    return torch.hann_window(n_fft, device=device)


def _magnitudes(x: Tensor, n_fft: int, hop: int) -> Tensor:
    """(batch, samples) -> (batch, 1 + n_fft // 2, 1 + samples // hop); a full-scale sine has 1."""
    window = _window(n_fft, x.device)
    spectrum = torch.stft(x, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt() * (4 / n_fft)


def view(x: Tensor) -> Tensor:
    """What critic and encoder see: (batch, samples) -> (batch, 7 * samples), samples and two log-spectrograms.

    Both have 128 rows of equal width for `samples / 128` frames. For the long window each row holds four bins, for the
    short one each frame holds two, so that both make (planes, 128, frames) of single magnitudes: six planes in all.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        frames = x.shape[1] // HOP
        planes = []
        for n_fft in WINDOWS:
            bins = n_fft // 2 // ROWS  # in a row
            steps = 2 if bins == 1 else 1  # in a frame
            values = (_magnitudes(x, n_fft, HOP // steps)[:, 1:, : frames * steps] + FLOOR).log()
            values = values.reshape(len(x), ROWS, bins, frames, steps).permute(0, 2, 4, 1, 3)
            planes.append((values.flatten(1) - MIDDLE) / RANGE)
        return torch.cat([x, *planes], dim=1)


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Changes speed and pitch, equalisation, delay and gain of most items of (batch, samples), differentiably."""
    n = len(x)
    changed = (rand((n, 1), rng) < AUGMENTED).float()
    x = at_speed(x, changed * SPEED * (2 * rand((n, 1), rng) - 1))
    spectrum = torch.fft.rfft(x)
    frequency = torch.linspace(0, 1, spectrum.shape[1], device=x.device)
    along = torch.log2(1 + 63 * frequency) / 6 * math.pi  # 0 to pi, finer for low frequencies
    order = torch.arange(1, 4, device=x.device)[:, None]
    curve = (changed * EQUALISER * randn((n, 3), rng)) @ torch.cos(order * along)  # nepers
    curve = curve + changed * GAIN * (2 * rand((n, 1), rng) - 1)
    phase = -math.pi * frequency * changed * DELAY * (2 * rand((n, 1), rng) - 1)
    return torch.fft.irfft(spectrum * torch.polar(curve.exp(), phase), x.shape[1])


def at_speed(x: Tensor, octaves: Tensor) -> Tensor:
    """(batch, samples) at 2**octaves (batch, 1) times the speed, its onset unmoved, by cubic interpolation."""
    n = x.shape[1]
    at = (ONSET + (torch.arange(n, device=x.device) - ONSET) * 2.0**octaves).clamp(0, n)
    low = at.floor()
    padded, index, weights = F.pad(x, (1, 3)), low.long(), catmull_rom(at - low)
    return sum(padded.gather(1, index + k) * weights[..., k] for k in range(4))  # type: ignore[return-value]


class WaveTrunk(nn.Module):
    """The paper's critic before its last layer: (batch, samples) -> (batch, 16 * width, samples / 4**5).

    Five convolutions of length 25 and stride 4, with phase shuffle between them. Each is computed as one of 7 on groups
    of 4 steps, which is the same with 3 taps more.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (1, *(width * 2**k for k in range(5)))
        taps = 2 * (LENGTH // 2 // STRIDE) + 1
        self.convolutions = nn.ModuleList(
            nn.Conv2d(STRIDE * a, b, (1, taps), padding=(0, taps // 2)) for a, b in pairwise(channels)
        )

    def forward(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        x = x[:, None, :, None]  # (batch, 1, steps, channels)
        for i, convolution in enumerate(self.convolutions):
            grouped = x.reshape(len(x), 1, x.shape[2] // STRIDE, -1).permute(0, 3, 1, 2)
            x = F.leaky_relu(convolution(grouped), 0.2).permute(0, 2, 3, 1)
            if rng is not None and i < len(self.convolutions) - 1:
                x = phase_shuffle(x, SHUFFLE, rng)
        return x.flatten(1)


def phase_shuffle(x: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Shifts each item of (batch, 1, steps, channels) by -n to n steps; the gap is filled by reflection."""
    steps = x.shape[2]
    at = (torch.arange(steps, device=x.device) + randint(-n, n + 1, (len(x), 1), rng)).abs()
    at = steps - 1 - (steps - 1 - at).abs()
    return x.gather(2, at[:, None, :, None].expand_as(x))


class Trunk(nn.Module):
    """Features of views: (batch, 7 * samples) -> (batch, 2 * width). No item of a batch affects another."""

    def __init__(
        self, samples: int, channels: tuple[int, ...] = (32, 64, 128, 256), wave: int = 32, width: int = WIDTH // 2
    ) -> None:
        super().__init__()
        self.samples = samples
        self.rng: torch.Generator | None = None  # without it there is no phase shuffle
        self.wave = WaveTrunk(wave)
        self.wave_last = nn.Linear(16 * wave * (samples // STRIDE**5), width)
        self.first = nn.Conv2d(PLANES, channels[0], 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(channels)))
        coarse = [side // 2 ** len(channels) for side in (ROWS, samples // HOP)]
        self.last = nn.Linear(channels[-1] * coarse[0] * coarse[1], width)

    def forward(self, seen: Tensor) -> Tensor:
        a = self.wave_last(self.wave(seen[:, : self.samples], self.rng))
        planes = seen[:, self.samples :].reshape(len(seen), PLANES, ROWS, -1)
        h = self.blocks(self.first(planes.contiguous(memory_format=torch.channels_last)))
        b = self.last(F.leaky_relu(h, 0.2).flatten(1))
        return F.leaky_relu(torch.cat([a, b], dim=1), 0.2)


class Encoder(nn.Module):
    """The VAE's encoder: (batch, 7 * samples) -> (batch, 2 * latent), mean and log-variance of the latent."""

    def __init__(self, samples: int, latent: int, trunk: Trunk | None = None) -> None:
        super().__init__()
        self.trunk = trunk or Trunk(samples)
        self.head = nn.Linear(WIDTH, 2 * latent)
        he_normal(self)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.trunk(x))
        return out


def _weight(recipe: TrainingRecipe) -> float:
    return recipe.extra.get("attribute_weight", 0.0)  # a run from before has none

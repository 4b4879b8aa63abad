"""PianoGAN: one latent vector -> 256 piano notes with all their attributes.

`autoregressive` writes notes as they are performed, with touch and pedal (`PerformanceRepresentation`), one after
another (`explorer.generators.performer`). The latent is the course of a piece (`Course`): its register, pace, lengths
and loudness, and how they change. A second latent is the noise that each note is drawn by. It learns from likelihoods,
without a critic.

`flow` generates a code of 64 steps (four notes each) and decodes it to notes. The latent becomes noise
over the code's time axis; a 1-D convolutional network with attention moves it, in a few Euler steps, to a code of
music; a second network decodes it. Training (`training/families/pianogan.py`) warm-starts the first as a rectified flow
(Liu et al., 2022, arXiv:2209.03003) and the second as an autoencoder's decoder, then trains both against a critic.

`dcgan` is the architecture of the original PianoGAN: transposed convolutions of length 25 that upsample by 4 (as in
WaveGAN, Donahue et al., 2018, arXiv:1802.04208); its option `even_rhythm` holds steps and durations constant.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.base import Generator
from explorer.generators.performer import HEAD, Course, Performer, chances, draw
from explorer.latent import LatentSpace
from explorer.sound.base import Settings, check_size
from explorer.sound.notes import (
    CHANNELS,
    CHORD_BELOW,
    EVEN_DURATION,
    EVEN_STEP,
    KEYS,
    LOWEST,
    NOTES,
    PERFORMED,
    STEP,
    TOUCH,
    VELOCITY,
    NotesRepresentation,
    PerformanceRepresentation,
    encode_notes,
)

AUTOREGRESSIVE = "autoregressive"
FOLD = 4  # notes per code step
CODE_STEPS = NOTES // FOLD
GROUPS = 8  # groups of channels in each group norm
SIZES = {  # upper limits of a configuration's numbers
    "latent_size": 65_536,
    "code_size": 1024,
    "width": 4096,
    "blocks": 64,
    "decoder_width": 4096,
    "flow_steps": 1000,
    "dcgan_width": 1024,
}
SECTIONS = 8  # equal parts of a piece, in `features`
ON_HOST = {"cpu"}  # device types whose memory can be read without a synchronisation


@dataclass(frozen=True)
class PianoGANConfig:
    """Shape of the networks.

    Attributes:
        latent_size: for `flow` a multiple of `code_size`; 12 for `autoregressive`.
        code_size: channels of the code; one code step describes four notes.
        width, blocks: of `Mover`, the network that turns noise into codes, or of `Performer`, whose width is a multiple
            of 32.
        decoder_width: of `Decoder`, the network that turns codes into notes, or of the networks of `Performer` that
            choose a note's numbers.
        flow_steps: Euler steps of `flow`, each with the same weights.
        dcgan_width: channels of the last hidden layer of `dcgan`.
        even_rhythm: hold steps and durations constant.
    """

    architecture: Literal["flow", "dcgan", "autoregressive"] = "flow"
    latent_size: int = 256
    code_size: int = 64
    width: int = 192
    blocks: int = 6
    decoder_width: int = 256
    flow_steps: int = 4
    dcgan_width: int = 64
    even_rhythm: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in ("flow", "dcgan", "autoregressive"):
            raise ValueError(f"architecture is 'flow', 'dcgan' or 'autoregressive', not {self.architecture!r}")
        if not isinstance(self.even_rhythm, bool):
            raise ValueError(f"even_rhythm is true or false, not {self.even_rhythm!r}")
        for name, most in SIZES.items():
            check_size(name, getattr(self, name), most)
        if grouped := [name for name in ("width", "decoder_width") if getattr(self, name) % GROUPS]:
            raise ValueError(f"{' and '.join(grouped)} must be a multiple of {GROUPS}, the groups of the norms")


class PianoGAN(Generator):
    """The generator that the module describes: normal latents (latent_size,) -> (91, 256) with one-hot pitches."""

    family = "pianogan"
    Config = PianoGANConfig

    def __init__(self, config: PianoGANConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PianoGANConfig()
        self.latent = LatentSpace((config.latent_size,))
        self.representation = NotesRepresentation()
        if config.architecture == "flow":
            self.field = NoiseField(config.latent_size, config.code_size)
            self.mover = Mover(config.code_size, config.width, config.blocks)
            self.decoder = Decoder(config.code_size, config.decoder_width)
        elif config.architecture == AUTOREGRESSIVE:
            if config.latent_size != Course.SIZE:
                raise ValueError(f"latent_size is {Course.SIZE}, the numbers of a course, not {config.latent_size}")
            self.representation, self.traceable = PerformanceRepresentation(), False
            self.noise = LatentSpace(self.representation.shape, stream=1)
            self.course = Course()
            self.performer = Performer(config.width, config.blocks, config.decoder_width)
        else:
            self.dcgan = DCGAN(config.latent_size, config.dcgan_width)

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings, noise: Tensor | None = None) -> Tensor:
        if noise is not None:
            pieces = zip(self.network(noise).numpy(force=True), z.numpy(force=True), strict=True)
            return torch.cat([draw(self.performer, chance, course) for chance, course in pieces]).to(z.device)
        logits = self.network(z)
        return self.harden(logits if self.training else self.playable(logits))

    @classmethod
    def warm_up(cls) -> None:
        with torch.random.fork_rng(devices=[]):
            small = Performer(width=HEAD, blocks=1, note_width=8)
        draw(small, np.full((PERFORMED, NOTES), 0.5), np.zeros(Course.SIZE))  # compiles it

    def network(self, x: Tensor) -> Tensor:
        """Latents (batch, latent_size) -> pitch logits, and times and velocities before tanh, (batch, 91, 256).

        Of `autoregressive`: normal noise (batch, 92, 256) -> the chances by which notes are drawn, of that shape.
        """
        if self.config.architecture == AUTOREGRESSIVE:
            return chances(x)
        logits: Tensor = self.decoder(self.codes(x)) if self.config.architecture == "flow" else self.dcgan(x)
        return logits

    def codes(self, z: Tensor) -> Tensor:
        """(batch, latent_size) -> codes (batch, code_size, 1, 64), by Euler's method from the noise."""
        x: Tensor = self.field(z)
        n = self.config.flow_steps
        for k in range(n):
            x = x + self.mover(x, torch.full((len(x),), k / n, device=x.device)) / n
        return x

    def playable(self, logits: Tensor) -> Tensor:
        """Masks, in logits (batch, 91, 256), keys that an earlier note of the same chord has: a piano cannot strike a
        key twice at once."""
        if self.config.even_rhythm:  # no chords
            return logits
        found = logits.detach().float()
        on_host = found.device.type in ON_HOST and not torch.compiler.is_exporting()
        mask = torch.from_numpy(np.stack([_taken(x) for x in found.numpy()])) if on_host else _taken_on_device(found)
        return torch.cat([logits[:, :KEYS].masked_fill(mask, -math.inf), logits[:, KEYS:]], dim=1)

    def harden(self, logits: Tensor) -> Tensor:
        """Pitch logits and times (batch, 91, 256) -> notes in [-1, 1] with one-hot pitches.

        The gradient is that of the softmax (straight-through: Bengio et al., 2013, arXiv:1308.3432).
        """
        logits = logits.float()
        share = logits[:, :KEYS].softmax(1)
        hard = F.one_hot(share.argmax(1), KEYS).to(share.dtype).movedim(-1, 1)
        keys = (hard + (share - share.detach())) * 2 - 1
        times = logits[:, KEYS:].tanh()
        if self.config.even_rhythm:
            even = encode_notes(*(torch.tensor([v]) for v in (LOWEST, EVEN_STEP, EVEN_DURATION, 1)))
            rhythm = even[STEP:VELOCITY].to(times).expand(len(times), 2, NOTES)
            times = torch.cat([rhythm, times[:, 2:]], dim=1)
        return torch.cat([keys, times], dim=1)

    def features(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(batch, 32): mean register, step, duration and velocity of eight sections, scaled to similar spread."""
        x = self(z, condition)
        register = (x[:, :KEYS] + 1).mul(torch.linspace(-1, 1, KEYS).to(x)[:, None]).sum(1, keepdim=True) / 2
        sections = F.adaptive_avg_pool1d(torch.cat([register, x[:, KEYS:TOUCH]], dim=1), SECTIONS)
        return (sections / torch.tensor([0.14, 0.2, 0.2, 0.2]).to(x)[:, None]).flatten(1)


def _taken(logits: np.ndarray) -> np.ndarray:
    """Logits (91, 256) -> mask (88, 256) of keys that earlier notes of the chord have; each takes its best free key."""
    chord = np.tanh(logits[STEP]) < CHORD_BELOW
    keys, taken = logits[:KEYS].argmax(0), np.zeros((KEYS, NOTES), dtype=bool)
    for i in range(1, NOTES):
        if chord[i]:
            taken[:, i] = taken[:, i - 1]
            taken[keys[i - 1], i] = True
            taken[:, i] &= not taken[
                :, i
            ].all()  # in an untrained generator a chord may have more notes than there are keys
            if taken[keys[i], i]:
                keys[i] = np.where(taken[:, i], -np.inf, logits[:KEYS, i]).argmax()
    return taken


def _taken_on_device(logits: Tensor) -> Tensor:
    """`_taken` for a batch, without synchronising with the device; on a CPU it is ten times slower than `_taken`."""
    keys, chord = logits[:, :KEYS].movedim(-1, 0), (logits[:, STEP].tanh() < CHORD_BELOW).movedim(-1, 0)

    def step(carry: tuple[Tensor, Tensor], note: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        (taken, before), (key, in_chord) = carry, note
        now = (taken | F.one_hot(before, KEYS).bool()) & in_chord[:, None]
        taken = now & ~now.all(1, keepdim=True)
        return (taken, key.masked_fill(taken, -math.inf).argmax(1)), taken.clone()

    first = torch.zeros_like(keys[0], dtype=torch.bool)
    carry = first, keys[0].argmax(1)
    if torch.compiler.is_exporting():  # as one loop, not as thousands of steps
        from torch._higher_order_ops.scan import scan

        _, rest = scan(step, carry, (keys[1:], chord[1:]))
        return torch.cat([first[None], rest]).movedim(0, -1)
    rows = [first]
    for note in zip(keys[1:], chord[1:], strict=True):
        carry, row = step(carry, note)
        rows.append(row)
    return torch.stack(rows, dim=-1)


class NoiseField(nn.Module):
    """Turns a latent into white noise over a time axis of `steps`: (batch, latent) -> (batch, code, 1, steps).

    The slowest components of each code channel (in the cosine transform along time) are the latent's own components, so
    a move in latent space changes the whole piece; the faster ones are random Fourier features of the latent (Rahimi &
    Recht, 2007), which are nearly independent for independent latents, yet change smoothly with the latent. Nothing
    here is learned; the frequencies and phases are drawn from a fixed seed.
    """

    BANDWIDTH = 3.0  # norm of each feature's frequency: large enough that cosines over the prior average to 0

    frequency: Tensor
    phase: Tensor
    cosines: Tensor

    def __init__(self, latent_size: int, code_size: int, steps: int = CODE_STEPS) -> None:
        super().__init__()
        if latent_size % code_size or latent_size > code_size * steps:
            raise ValueError(f"latent_size must be a multiple of {code_size}, the channels of its noise")
        self.slow, self.fast = latent_size // code_size, steps - latent_size // code_size
        fast = code_size * self.fast
        rng = np.random.RandomState(0)
        frequency = rng.standard_normal((fast, latent_size)) * self.BANDWIDTH / math.sqrt(latent_size)
        time, k = np.arange(steps) + 0.5, np.arange(steps)[:, None]
        cosines = np.cos(np.pi * k * time / steps) * math.sqrt(2 / steps)
        cosines[0] /= math.sqrt(2)
        for name, value in (("frequency", frequency), ("phase", rng.uniform(0, 2 * np.pi, fast)), ("cosines", cosines)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast(
            z.device.type, enabled=False
        ):  # in 16 bit the phases would be too coarse and give other noise
            slow = z.float().reshape(len(z), -1, self.slow)
            fast = math.sqrt(2) * torch.cos(F.linear(z.float(), self.frequency) + self.phase)
            spectrum = torch.cat([slow, fast.reshape(len(z), -1, self.fast)], dim=-1)
            return (spectrum @ self.cosines).unsqueeze(2)


class Mover(nn.Module):
    """Velocity of the flow: noisy codes (batch, code, 1, 64) and times (batch,) in [0, 1] -> (batch, code, 1, 64)."""

    FREQUENCIES = 32

    def __init__(self, code_size: int, width: int, blocks: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(2 * self.FREQUENCIES, width), nn.SiLU())
        self.enter = nn.Conv2d(code_size, width, (1, 3), padding=(0, 1))
        self.place = nn.Parameter(torch.randn(1, width, 1, CODE_STEPS) * 0.02)
        self.blocks = nn.ModuleList(
            MoverBlock(width, dilation=2 ** (k % 3), attention=k % 3 == 2) for k in range(blocks)
        )
        self.leave = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, code_size, 1))
        nn.init.zeros_(self.leave[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angle = t[:, None] * torch.exp(torch.linspace(0, 5, self.FREQUENCIES, device=t.device))
        time = self.time(torch.cat([angle.cos(), angle.sin()], dim=1))
        x = self.enter(x) + self.place
        for block in self.blocks:
            x = block(x, time)
        out: Tensor = self.leave(x)
        return out


class WideConv(nn.Conv2d):
    """A convolution along time, (batch, channels, 1, 64) to the same shape; in eval mode as one matrix product.

    For one item on a CPU, torch's dilated convolution copies element by element, which takes longer than the product.
    """

    def forward(self, x: Tensor) -> Tensor:
        step, steps = self.dilation[1], x.shape[-1]
        if self.training or step == 1 or self.bias is None:
            return super().forward(x)
        padded = F.pad(x, (int(self.padding[1]), int(self.padding[1])))
        taps = [padded[..., 0, k * step : k * step + steps] for k in range(self.kernel_size[1])]
        columns = torch.stack(taps, dim=2).flatten(1, 2)  # (batch, channels * 5, 64)
        weight = self.weight.flatten(1).expand(len(x), -1, -1)
        return torch.baddbmm(self.bias[:, None], weight, columns)[:, :, None]


class MoverBlock(nn.Module):
    """Residual block: norm, scale and shift by time, dilated convolution of length 5; in some blocks attention."""

    HEADS = 4

    def __init__(self, width: int, dilation: int, attention: bool) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 2 * width)
        self.norm = nn.GroupNorm(8, width, affine=False)
        self.wide = WideConv(width, width, (1, 5), padding=(0, 2 * dilation), dilation=(1, dilation))
        self.point = nn.Conv2d(width, width, 1)
        self.attend = nn.Conv2d(width, 3 * width, 1) if attention else None
        self.merge = nn.Conv2d(width, width, 1) if attention else None
        for layer in (self.modulate, self.point, self.merge):
            if layer is not None:
                nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.modulate(time)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm(x) * (1 + scale) + shift)
        x = x + self.point(F.silu(self.wide(h)))
        if self.attend is not None and self.merge is not None:
            # (batch, 3 * width, 1, 64) -> three times (batch, heads, 64, width / heads)
            parts = self.attend(self.norm(x)).squeeze(2).unflatten(1, (3, self.HEADS, -1)).transpose(-1, -2)
            query, key, value = parts.unbind(1)
            # Not the fused kernel: on a CPU its backward pass takes ten times as long for so short a sequence.
            share = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
            mixed = share.to(value.dtype) @ value
            x = x + self.merge(mixed.transpose(-1, -2).flatten(1, 2).unsqueeze(2))
        return x


class ResidualBlock(nn.Module):
    """Residual block of the decoder: norm, convolution along time, pointwise convolution."""

    def __init__(self, width: int, length: int = 3) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.wide = nn.Conv2d(width, width, (1, length), padding=(0, length // 2))
        self.point = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.point(F.silu(self.wide(F.silu(self.norm(x)))))
        return x + h


class Decoder(nn.Module):
    """Codes (batch, code, 1, 64) -> (batch, 91, 256): pitch logits, and times and velocities before tanh."""

    def __init__(self, code_size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(code_size, width, (1, 3), padding=(0, 1)),
            ResidualBlock(width),
            ResidualBlock(width),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, FOLD * CHANNELS, 1),
        )

    def forward(self, codes: Tensor) -> Tensor:
        return unfold(self.layers(codes))


class DCGAN(nn.Module):
    """(batch, latent) -> logits (batch, 91, 256): a linear layer to 4 time steps, upsampled three times by 4."""

    LENGTH = 25

    def __init__(self, latent_size: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(latent_size, 4 * 8 * width)
        widths = (8 * width, 4 * width, 2 * width, CHANNELS)
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(a, b, self.LENGTH, stride=4, padding=11, output_padding=1) for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) for w in widths[:-1])

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.enter(z).unflatten(1, (-1, 4))
        for norm, up in zip(self.norms, self.up, strict=True):
            x = up(F.relu(norm(x)))
        return x


def fold(x: Tensor) -> Tensor:
    """(batch, channels, 256) -> (batch, 4 * channels, 1, 64): stacks the channels of four notes into one step."""
    batch, channels, _ = x.shape
    return x.reshape(batch, channels, CODE_STEPS, FOLD).permute(0, 3, 1, 2).reshape(batch, -1, 1, CODE_STEPS)


def unfold(x: Tensor) -> Tensor:
    """(batch, 4 * channels, 1, 64) -> (batch, channels, 256), the inverse of `fold`."""
    return x.reshape(len(x), FOLD, -1, CODE_STEPS).permute(0, 2, 3, 1).reshape(len(x), -1, NOTES)

"""A transformer over the notes of a piece (Vaswani et al., 2017, arXiv:1706.03762), with or without a time as input.

Blocks are pre-norm. Attention has rotary position embeddings (Su et al., 2021, arXiv:2104.09864), so that a block can
look a fixed number of notes back, where a motif was before. Given times, each block is scaled, shifted and gated by
them (adaLN-single: Chen et al., 2023, arXiv:2310.00426).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Transformer(nn.Module):
    """(batch, length, inputs) -> (batch, length, outputs).

    Args:
        width: a multiple of `heads` times 2.
        timed: whether `forward` takes times (batch,) in [0, 1].
    """

    FREQUENCIES = 64

    def __init__(
        self, inputs: int, outputs: int, length: int, width: int, blocks: int, heads: int, timed: bool = False
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of {2 * heads}, twice the heads, not {width}")
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(Block(width, heads, timed) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.time = (
            nn.Sequential(nn.Linear(2 * self.FREQUENCIES, width), nn.SiLU(), nn.Linear(width, 6 * width))
            if timed
            else None
        )
        angle = torch.arange(length)[:, None] * 10_000.0 ** -torch.linspace(0, 1, width // heads // 2)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)

    cosine: Tensor
    sine: Tensor

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        change = None
        if self.time is not None and t is not None:
            angle = t[:, None] * torch.exp(torch.linspace(0, 6, self.FREQUENCIES, device=t.device))
            change = self.time(torch.cat([angle.cos(), angle.sin()], dim=1)).unflatten(1, (6, 1, -1))
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, self.cosine, self.sine, change)
        out: Tensor = self.leave(self.norm(x))
        return out


class Block(nn.Module):
    """Attention, then two layers at each position, both residual."""

    def __init__(self, width: int, heads: int, timed: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.change = nn.Parameter(torch.zeros(6, 1, width)) if timed else None
        for layer in (self.merge, self.narrow):
            nn.init.normal_(layer.weight, std=0.02 / 2)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, change: Tensor | None = None) -> Tensor:
        if self.change is None or change is None:
            x = x + self.attention(self.norms[0](x), cosine, sine)
            return x + self.narrow(F.gelu(self.widen(self.norms[1](x)), approximate="tanh"))
        a, b, gate, c, d, second = (change + self.change).unbind(1)  # each (batch, 1, width)
        x = x + (1 + gate) * self.attention(self.norms[0](x) * (1 + a) + b, cosine, sine)
        h = F.gelu(self.widen(self.norms[1](x) * (1 + c) + d), approximate="tanh")
        return x + (1 + second) * self.narrow(h)

    def attention(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        # (batch, length, 3 * width) -> three times (batch, heads, length, width / heads)
        query, key, value = self.attend(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = rotated(query, cosine, sine), rotated(key, cosine, sine)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.merge(mixed.transpose(1, 2).flatten(2))
        return out


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turns pairs of channels (…, length, channels) by the angles of their positions (length, channels / 2)."""
    a, b = x.chunk(2, dim=-1)
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)

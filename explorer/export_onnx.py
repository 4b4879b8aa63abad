"""Exports a checkpoint to ONNX, for programs without PyTorch: from a latent to notes or a waveform, in one file.

Needs the packages of `requirements-onnx.txt`.
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from explorer import atomic
from explorer.generators.base import Generator

TOLERANCE = 1e-3  # of full scale, by which the file may differ from torch
PLACES = 8  # latents, seeds 0, 1, …, that are compared
TIMED = 5  # runs, of which the fastest counts


class Whole(nn.Module):
    """A generator with its decoding.

    Takes `z` (1, *latent.shape) and, if the generator has a condition, its weights `condition` (1, labels) of sum 1.
    Returns what `Representation.decode_tensor` does.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.parts = nn.ModuleDict(dict(generator.representation.parts()))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.generator.representation.decode_tensor(self.generator(z, condition))


@dataclass(frozen=True)
class Comparison:
    """How an exported file compares with torch.

    Attributes:
        error: largest difference over all places and outputs, as a share of each output's full scale.
        torch_ms, onnx_ms: time of one sound, on one thread each.
    """

    error: float
    torch_ms: float
    onnx_ms: float


def export(generator: Generator, path: Path) -> Comparison:
    """Writes NAME.onnx, atomically, after it has been compared with torch.

    Raises:
        ImportError: if the packages are not installed.
        ValueError: if the generator is not traceable, or the sounds differ by more than TOLERANCE; then nothing is
            written.
    """
    if not generator.traceable:
        raise ValueError("this model writes its notes one after another by a program, which an ONNX file cannot hold")
    onnxruntime, _ = (import_module(name) for name in ("onnxruntime", "onnxscript"))  # optional
    whole = Whole(generator).eval()
    names = ["z"] + (["condition"] if generator.condition else [])
    with _Elementary(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        with torch.no_grad():
            whole(*_inputs(generator, 0))
        program = torch.onnx.export(
            whole,
            _inputs(generator, 0),
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=[generator.representation.decoded_name],
        )
    assert program is not None
    with atomic.replacing(path) as partial:
        program.save(partial)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(partial, options, providers=["CPUExecutionProvider"])

        def run(inputs: tuple[Tensor, ...]) -> np.ndarray:
            arrays = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
            return np.asarray(session.run(None, arrays)[0])

        found = compare(whole, run)
        if not found.error <= TOLERANCE:
            raise ValueError(f"the exported file differs from torch by {found.error:.2g} of full scale")
    return found


def compare(whole: Whole, run: Callable[[tuple[Tensor, ...]], np.ndarray]) -> Comparison:
    """Compares a function of the inputs with torch, on PLACES latents, with the labels in turn."""
    generator, threads = whole.generator, torch.get_num_threads()
    error = 0.0
    try:
        torch.set_num_threads(1)
        with torch.inference_mode():
            for seed in range(PLACES):
                inputs = _inputs(generator, seed)
                wanted = whole(*inputs).numpy()
                scale = np.asarray(generator.representation.full_scale)
                error = max(error, float(np.abs((run(inputs) - wanted) / scale).max()))
            return Comparison(error, _milliseconds(lambda: whole(*inputs)), _milliseconds(lambda: run(inputs)))
    finally:
        torch.set_num_threads(threads)


def _inputs(generator: Generator, seed: int) -> tuple[Tensor, ...]:
    z = generator.latent.from_seed(seed)[None]
    if generator.condition is None:
        return (z,)
    labels = generator.condition.labels
    return z, generator.condition.encode(labels[seed % len(labels)])[None]


def _milliseconds(function: Callable[[], Any]) -> float:
    best = math.inf
    for _ in range(TIMED):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return 1000 * best


class _Elementary(TorchFunctionMode):
    """While a network runs or is traced, puts what ONNX runtimes have, and exactly, in place of what they have not.

    Fourier transforms of frames become products with windowed sines, which the file holds once if a run comes before
    the tracing. The hyperbolic tangent is computed in 64 bits: in 32, that of onnxruntime is too coarse for the
    vocoder, whose phases add up small differences.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sines: dict[int, tuple[Tensor, Tensor]] = {}  # by n_fft: cosines and negative sines (bins, 1, n_fft)

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tanh, Tensor.tanh):
            return func(args[0].double()).float()
        if func is torch.stft:
            return self._stft(*args, **kwargs)
        if func is torch.istft:
            return self._istft(*args, **kwargs)
        return func(*args, **kwargs)

    def _windowed_sines(self, n_fft: int, window: Tensor) -> tuple[Tensor, Tensor]:
        if n_fft not in self._sines:
            angle = 2 * np.pi * np.outer(np.arange(1 + n_fft // 2), np.arange(n_fft)) / n_fft
            cosines, sines = (torch.from_numpy(a.astype(np.float32))[:, None] for a in (np.cos(angle), -np.sin(angle)))
            self._sines[n_fft] = cosines * window, sines * window
        return self._sines[n_fft]

    def _stft(self, waveform: Tensor, n_fft: int, hop_length: int, window: Tensor, **options: Any) -> Tensor:
        """`torch.stft` of (batch, samples) with the options that this package uses, as two convolutions."""
        assert options["pad_mode"] == "constant"
        padded = F.pad(waveform, (n_fft // 2, n_fft // 2))[:, None]
        real, imaginary = (F.conv1d(padded, a, stride=hop_length) for a in self._windowed_sines(n_fft, window))
        return torch.complex(real, imaginary)

    def _istft(
        self, spectrum: Tensor, n_fft: int, hop_length: int, window: Tensor, length: int | None = None
    ) -> Tensor:
        """`torch.istft` of (batch, bins, frames) with the options that this package uses, as two convolutions."""
        cosines, sines = self._windowed_sines(n_fft, window)
        weight = torch.full((len(cosines), 1), 2 / n_fft)
        weight[0], weight[-1] = 1 / n_fft, 1 / n_fft  # the other frequencies stand for their conjugates too
        wave = F.conv_transpose1d(spectrum.real * weight, cosines, stride=hop_length)
        wave = wave + F.conv_transpose1d(spectrum.imag * weight, sines, stride=hop_length)
        ones = torch.ones(1, 1, spectrum.shape[-1])
        power = F.conv_transpose1d(ones, window.square()[None, None], stride=hop_length)
        end = n_fft // 2 + length if length is not None else wave.shape[-1] - n_fft // 2
        return wave[:, 0, n_fft // 2 : end] / power[:, 0, n_fft // 2 : end]

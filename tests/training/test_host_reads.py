"""A training step must not read values from the device, as each read makes a GPU wait.

The steps run here on fake tensors, which have shapes but no values, so that any read is an error.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import explorer.generators.pianogan
from explorer.generators.spectogan import SpectoGAN
from training.denoising import Denoising
from training.families import TASKS, gansynth, wavegan
from training.task import Prepared
from training.wgan_gp import WGANGP

PIANO = {"latent_size": 32, "code_size": 16, "width": 16, "blocks": 3, "decoder_width": 16, "flow_steps": 2}


def notes() -> Prepared:
    n = 600
    tensors = {
        "start": torch.arange(n) * (n - 255) // n,
        "pitch": torch.full((n,), 60, dtype=torch.uint8),
        "step": torch.rand(n),
        "duration": torch.rand(n),
        "velocity": torch.full((n,), 64, dtype=torch.uint8),
    }
    return Prepared(tensors, tensors, {})


def spectrograms() -> Prepared:
    config = SpectoGAN.Config()
    x = torch.rand(8, 1, config.mel.n_mels, config.mel.frames) * 2 - 1
    tensors = {"x": x, "condition": torch.eye(2).repeat(4, 1)}
    return Prepared(tensors, tensors, {"mel": vars(config.mel), "labels": ("left", "right")})


def waveforms() -> Prepared:
    tensors = {"x": torch.rand(8, 2048) * 2 - 1, "condition": torch.eye(2).repeat(4, 1)}
    return Prepared(tensors, tensors, {"sample_rate": 16_000, "labels": ("left", "right")})


WAVE = {"latent": 8, "channels": (8, 8, 8, 8), "style": 8}


def tones() -> Prepared:
    places = {"order": torch.arange(8), "rank": torch.arange(8)}
    places |= {"first": torch.zeros(8, dtype=torch.long), "last": torch.full((8,), 7)}
    tensors = {"x": torch.rand(8, 16_384), "condition": torch.eye(49)[:8], "weight": torch.ones(8) / 8, **places}
    return Prepared(tensors, tensors, {"lowest": 36, "highest": 84, "sample_rate": 16_000})


SYNTH = {"latent": 8, "channels": (8, 8, 8, 8, 8), "style": 8}
FAMILIES = [
    ("gansynth", tones, SYNTH),
    ("pianogan", notes, PIANO),
    ("spectogan", spectrograms, {}),
    ("wavegan", waveforms, WAVE),
]


def without_numbers(run: WGANGP | Denoising, tensors: dict[str, Tensor], mode: FakeTensorMode) -> dict[str, Tensor]:
    """Replaces all tensors of a run by fake ones without values; returns the data as fake tensors."""
    new: dict[int, nn.Parameter] = {}
    other = [m for m in vars(run.task).values() if isinstance(m, nn.Module)]
    for root in [*run.modules().values(), *other]:
        for module in root.modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    shape = mode.from_tensor(weight.detach())
                    module._parameters[name] = new[id(weight)] = nn.Parameter(shape, weight.requires_grad)
            module._buffers.update({k: mode.from_tensor(v) for k, v in module._buffers.items() if v is not None})
    for name, optimizer in run.optimizers.items():
        weights = [new[id(p)] for group in optimizer.param_groups for p in group["params"]]
        run.optimizers[name] = torch.optim.Adam(weights, betas=(0.0, 0.9), foreach=False)
    return {k: mode.from_tensor(v) for k, v in tensors.items()}


@pytest.mark.parametrize(("family", "prepared", "config"), FAMILIES, ids=[name for name, _, _ in FAMILIES])
def test_a_training_step_reads_no_values_from_the_device(
    family: str, prepared: Any, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer.generators.pianogan, "ON_HOST", set())
    for cached in ("_filters", "_window"):
        monkeypatch.setattr(wavegan, cached, getattr(wavegan, cached).__wrapped__)
    monkeypatch.setattr(gansynth, "_partials", gansynth._partials.__wrapped__)
    task, data = TASKS[family](), prepared()
    extra = {**task.defaults.extra, "matching_windows": 4.0} if family == "pianogan" else task.defaults.extra
    recipe = replace(
        task.defaults,
        batch_size=4,
        warm_steps=1,
        steps=1,
        critic_steps=1,
        penalty_every=1,
        reconstruction_every=1,
        extra=extra,
    )
    run = task.objective(recipe, data, config, torch.device("cpu"), bfloat16=False)
    assert isinstance(run, WGANGP)
    mode = FakeTensorMode()
    tensors = without_numbers(run, dict(data.train), mode)
    with mode:
        figures = run.warm_step(tensors)
        run.step = 1
        figures |= run.adversarial_step(tensors)
        assert {"penalty", "generator_loss", "reconstruction_loss"} <= set(figures)
        with pytest.raises(DataDependentOutputException):
            figures["penalty"].item()


def test_a_step_of_denoising_or_distillation_reads_no_values_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavegan, "_window", wavegan._window.__wrapped__)
    task, data = TASKS["diffwave"](), waveforms()
    config = {"latent": 8, "bands": 16, "channels": 8, "layers": 2, "style": 8}
    recipe = replace(task.defaults, batch_size=4, steps=1, distil_steps=1, distil_items=8)
    run = task.objective(recipe, data, config, torch.device("cpu"), bfloat16=False)
    assert isinstance(run, Denoising)
    assert run.teacher is not None
    taught = run.task.teach(run.teacher, recipe.distil_items, run.rng)
    mode = FakeTensorMode()
    tensors = without_numbers(run, dict(data.train), mode)
    run.taught = {name: mode.from_tensor(rows) for name, rows in taught.items()}
    with mode:
        run.update(tensors)
        run.step = 1
        figures = run.update(tensors)
        with pytest.raises(DataDependentOutputException):
            figures["error"].item()

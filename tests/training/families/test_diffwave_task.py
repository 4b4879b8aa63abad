"""The task of DiffWave: that it learns, resumes bit for bit, and leaves out what guidance needs left out."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor

import training.__main__
from explorer.engine import Engine
from explorer.generators.diffwave import DiffWave, DiffWaveConfig
from explorer.recipe import Recipe
from explorer.sound.waveform import WaveformConfig
from training.denoising import Denoising
from training.families.diffwave import DiffWaveTask, disguised
from training.families.wavegan import Encoder
from training.runs import TrainingError, load_state, save_state
from training.task import Batch, Prepared

SAMPLES = 2048
CONFIG = {"latent": 4, "bands": 16, "channels": 16, "layers": 4, "cycle": 4, "style": 16}


def sounds() -> Prepared:
    """Decaying tones of two pitches, labelled."""
    label = torch.arange(8) % 2
    time = torch.arange(SAMPLES) / 16_000
    x = torch.sin(2 * torch.pi * 300 * (1 + label[:, None]) * time) * torch.exp(-time * 30)
    return Prepared(
        {"x": x, "condition": F.one_hot(label, 2).float()}, {}, {"sample_rate": 16_000, "labels": ("a", "b")}
    )


def start(config: Mapping[str, object] | None = None, **changes: object) -> Denoising:
    task = DiffWaveTask()
    recipe = replace(task.defaults, **{"batch_size": 8, "steps": 40, "cooldown": 0, "lr": 2e-2, **changes})  # type: ignore[arg-type]
    made = task.objective(recipe, sounds(), {**CONFIG, **(config or {})}, torch.device("cpu"), bfloat16=False)
    assert isinstance(made, Denoising)
    return made


def steps(objective: Denoising, n: int) -> list[float]:
    data, errors = sounds().train, []
    for _ in range(n):
        errors.append(objective.update(data)["error"].item())
        objective.step += 1
    return errors


def test_it_learns_to_find_sounds_in_noise() -> None:
    errors = steps(start(), 40)
    assert sum(errors[-8:]) < 0.8 * sum(errors[:8])


def test_the_training_data_has_unit_variance_in_each_band_and_frame() -> None:
    generator = start().generator
    assert isinstance(generator, DiffWave)
    loud = generator.scale > 2 * generator.scale.min()
    assert bool(loud.any())
    power = (
        generator.points(DiffWaveTask().batch(sounds().train, torch.arange(8), torch.Generator()).x).square().mean(0)
    )
    torch.testing.assert_close(power[loud], torch.ones_like(power[loud]))
    assert float(power.max()) < 1 + 1e-4


def test_the_errors_of_sub_bands_count_by_steps_of_hearing() -> None:
    """By the number of equivalent rectangular bandwidths below f kHz, 21.4 log10(4.37 f + 1)."""
    weights = DiffWaveTask.weights(DiffWave(DiffWaveConfig(WaveformConfig(16_000, 2048), bands=64, channels=8)))
    assert float(weights.mean()) == pytest.approx(1)
    below = [math.log10(4.37 * f + 1) / math.log10(4.37 * 8 + 1) for f in (0.5, 1, 4)]
    assert [float(weights[: round(8 * f)].sum() / 64) for f in (0.5, 1, 4)] == pytest.approx(below, abs=0.01)


def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(tmp_path: Path) -> None:
    whole, first, second = start(), start(), start(seed=1)
    steps(whole, 4)
    steps(first, 2)
    save_state(first, tmp_path)
    load_state(second, tmp_path)
    steps(second, 2)
    for name, module in whole.modules().items():
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, second.modules()[name].state_dict()[key]), (name, key)


DISTILLED: dict[str, Any] = {"steps": 40, "distil_steps": 40, "distil_items": 64, "lr": 1e-2, "ema_decay": 0.9}


def test_distilled_it_makes_in_two_steps_what_it_made_in_sixteen_with_guidance() -> None:
    objective = start({"distilled": False}, **DISTILLED)  # as a checkpoint to start from may say
    steps(objective, 80)
    teacher, learned = objective.teacher, objective.ema
    assert isinstance(teacher, DiffWave)
    assert isinstance(learned, DiffWave)
    assert "guidance" not in learned.settings
    rows = objective.task.teach(teacher, 16, torch.Generator().manual_seed(1))  # other noises than it learned from
    z, condition, noise = rows["z"], rows["condition"], rows["noise"].float()

    def missed(generator: DiffWave, **settings: str) -> float:
        *_, found = generator.estimates(z, condition, {"steps": "2", "grain": "0", **settings}, noise)
        return float((found - rows["point"]).square().mean())

    with torch.no_grad():
        assert missed(learned) < 0.5 * missed(teacher, guidance="2")


def test_a_run_resumed_in_distillation_has_the_bits_of_one_that_never_stopped(tmp_path: Path) -> None:
    changes = {**DISTILLED, "steps": 2, "distil_steps": 4, "distil_items": 8}
    whole, first, second = start(**changes), start(**changes), start(**changes, seed=1)
    steps(whole, 6)
    steps(first, 4)
    save_state(first, tmp_path)
    load_state(second, tmp_path)
    second.seed = first.seed  # which `run.json` holds
    steps(second, 2)
    for name, module in whole.modules().items():
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, second.modules()[name].state_dict()[key]), (name, key)


def test_the_original_cannot_be_distilled() -> None:
    with pytest.raises(TrainingError, match="distil-steps"):
        start({"architecture": "original", "bands": 1, "channels": 8}, distil_steps=1)


def test_disguised_hits_are_the_same_but_for_sign_and_half_a_millisecond() -> None:
    x = torch.randn(1, 256, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(0)
    found = {disguised(x, rng).numpy().tobytes() for _ in range(300)}
    allowed = {(sign * x.roll(k, 1)).numpy().tobytes() for sign in (1, -1) for k in range(-8, 9)}
    assert found == allowed


def test_dropped_items_hear_neither_latent_nor_label() -> None:
    generator = start().generator
    assert isinstance(generator, DiffWave)
    z, condition = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), torch.eye(2)
    dropped = torch.tensor([[True], [False]])
    style = generator.style(z, condition, dropped)
    said = generator.style(z, condition)
    assert style is not None
    assert said is not None
    assert generator.nothing is not None
    assert torch.equal(style[0], generator.nothing)
    assert torch.equal(style[1], said[1])


def test_an_encoder_gives_the_latents_that_the_network_hears() -> None:

    def gradient(dropout: float) -> Tensor:
        objective = start(dropout=dropout, kl_weight=0.0)
        assert isinstance(objective.generator, DiffWave)
        torch.nn.init.ones_(objective.generator.network.leave.weight)  # at zero, from which no gradient comes back
        task, data = objective.task, sounds().train
        batch = task.batch(data, torch.arange(8), objective.rng)
        loss, _ = task.loss(objective.generator, objective.encoder, batch, objective.recipe, objective.rng)
        assert isinstance(objective.encoder, Encoder)
        (found,) = torch.autograd.grad(loss, objective.encoder.head.weight, allow_unused=True)
        return torch.zeros(1) if found is None else found

    assert bool(gradient(0.0).any())
    assert not bool(gradient(1.0).any())


def test_the_original_has_no_encoder_and_learns_noise() -> None:
    objective = start({"architecture": "original", "bands": 1, "channels": 8})
    assert set(objective.modules()) == {"generator", "ema"}
    assert set(objective.update(sounds().train)) == {"error"}


def test_a_batch_has_one_peak() -> None:
    batch = DiffWaveTask().batch({"x": sounds().train["x"] * 0.1}, torch.arange(4), torch.Generator())
    assert isinstance(batch, Batch)
    assert batch.x.abs().amax(1).tolist() == pytest.approx([0.95] * 4)


def test_the_command_describes_trains_resumes_exports_and_plays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.export.measured", lambda generator, samples, progress: ())
    for label in ("kick", "snare"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for k in range(5):
            wave = np.random.RandomState(k).uniform(-0.9, 0.9, 8000) * np.exp(-np.arange(8000) / 500)
            soundfile.write(tmp_path / "sounds" / label / f"{k}.wav", wave, 16_000)
    run, shelf = tmp_path / "run", tmp_path / "shelf"
    new = ["--data", str(tmp_path / "sounds"), "--config", *(f"{k}={v}" for k, v in CONFIG.items()), "bands=64"]
    numbers = ["--steps", "1", "--batch-size", "2", "--threads", "1"]

    def train(*argv: str) -> int:
        return training.__main__.main(["diffwave", "--out", str(run), *argv])

    assert train(*new, *numbers, "--dry-run") == 0
    assert not run.exists()
    assert "1 denoising" in capsys.readouterr().out
    assert train(*new, *numbers) == 0
    assert train("--resume", "--steps", "2") == 0
    assert (run / "snapshots" / "0000002-0.wav").exists()
    assert training.__main__.main(["export", str(run), "--name", "toy", "--checkpoints", str(shelf), "--encoder"]) == 0
    engine = Engine(shelf)
    assert engine.model("toy").card.labels == ("kick", "snare")
    assert engine.render(Recipe("toy", settings=(("steps", "2"),))).one_shot

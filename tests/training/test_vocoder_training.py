"""Training the vocoder: its batches, its losses, resuming, and export."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.checkpoint import load_part
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig
from training.__main__ import main
from training.loop import train
from training.runs import METRICS, RUN, load_state, save_state
from training.task import DataError
from training.vocoder import (
    VocoderObjective,
    VocoderRecipe,
    batch,
    join,
    prepare,
    representation,
    resample,
    roughen,
    spectral_loss,
    start,
    steady_tones,
)

CONFIG = VocoderConfig(channels=8, blocks=1, rounds=1)
RECIPE = VocoderRecipe(steps=2, batch_size=3, tones=0.34, state_every=1)
MEL = representation(CONFIG)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def sine(frequency: float, samples: int, rate: int = 8000) -> Tensor:
    return torch.sin(2 * torch.pi * frequency * torch.arange(samples) / rate)


@pytest.fixture
def speech() -> dict[str, Tensor]:
    return {"0": 0.1 * torch.randn(30_000, generator=rng())}


def fresh(recipe: VocoderRecipe = RECIPE) -> VocoderObjective:
    return start(CONFIG, recipe, torch.device("cpu"), bfloat16=False)


def test_a_step_lowers_the_loss_of_its_own_batch(tmp_path: Path, speech: dict[str, Tensor]) -> None:
    run = fresh(VocoderRecipe(steps=30, batch_size=4, tones=0.0, lr=3e-3))
    train(run, speech, tmp_path)
    errors = [json.loads(line)["mel_error"] for line in (tmp_path / METRICS).read_text().splitlines()]
    assert errors[-1] < errors[0]


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path: Path, speech: dict[str, Tensor]) -> None:
    unbroken, stopped, resumed = fresh(), fresh(), fresh()
    for folder in ("unbroken", "stopped"):
        (tmp_path / folder).mkdir()
    train(unbroken, speech, tmp_path / "unbroken")
    stopped.update(speech)
    stopped.step = 1
    save_state(stopped, tmp_path / "stopped")
    load_state(resumed, tmp_path / "stopped")
    assert resumed.step == 1
    train(resumed, speech, tmp_path / "stopped")
    for name, weight in unbroken.vocoder.state_dict().items():
        assert torch.equal(resumed.vocoder.state_dict()[name], weight), name


def test_too_little_sound_is_an_error(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data" / "3_jackson_10.wav", np.random.RandomState(0).randn(4000) * 0.1, 8000)
    with pytest.raises(DataError, match="too little sound"):
        prepare([tmp_path / "data"], tmp_path / "cache", 8000)


def test_clips_are_joined_without_the_silence_around_them() -> None:
    clips = torch.tensor([[0.0, 1, 0, 2, 0], [0, 0, 0, 0, 0], [3, 0, 0, 0, 0]])
    assert join(clips, gap=1).tolist() == [1, 0, 2, 0, 3, 0]


@pytest.mark.parametrize("samples", [8192, 7040, 9344])
def test_resampling_keeps_the_shape_of_a_wave(samples: int) -> None:
    cycles = 40
    before = torch.cos(2 * torch.pi * cycles * torch.arange(8192) / 8192)[None]
    after = torch.cos(2 * torch.pi * cycles * torch.arange(samples) / samples)[None]
    torch.testing.assert_close(resample(before, samples), after, atol=1e-4, rtol=0)


def test_equal_waveforms_have_no_spectral_loss() -> None:
    wave = sine(300, 8192)[None]
    assert float(spectral_loss(wave, wave.clone(), 512)) == 0


def test_half_the_amplitude_has_spectral_convergence_one_half_and_log_distance_ln_2() -> None:
    wave = torch.randn(1, 8192, generator=rng())
    assert float(spectral_loss(0.5 * wave, wave, 512)) == pytest.approx(0.5 + np.log(2), abs=0.01)


def test_the_loss_has_a_finite_gradient_at_silence() -> None:
    silence = torch.zeros(1, 8192, requires_grad=True)
    spectral_loss(silence, sine(300, 8192)[None], 512).backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()


def test_without_noise_and_blur_a_log_mel_stays_as_it_is() -> None:
    log_mel = MEL.log_mel(sine(300, 8192)[None])
    assert torch.equal(roughen(log_mel, 2e-3, VocoderRecipe(noise=0, band_noise=0, blur=0), rng()), log_mel)


def test_blur_spreads_a_pixel_to_its_neighbours_and_loses_nothing() -> None:
    pixel = torch.zeros(64, 64, 64)
    pixel[:, 30, 30] = 1.0
    blurred = roughen(pixel, 2e-3, VocoderRecipe(noise=0, band_noise=0, blur=0.2), rng())
    torch.testing.assert_close(blurred.sum((1, 2)), torch.ones(64))
    assert (blurred[:, 30, 30] < 1).any()


def test_steady_tones_stay_below_the_highest_frequency() -> None:
    tones = steady_tones(20, MEL.config, rng())
    spectrum = torch.fft.rfft(tones[:, 2048:6144] * torch.hann_window(4096)).abs()
    lowest = spectrum[:, : round(75 / (8000 / 4096))].amax(1)
    assert (lowest < 0.02 * spectrum.amax(1)).all()
    assert tones.abs().max() <= 0.45


def test_a_batch_takes_as_many_excerpts_of_each_stream() -> None:
    streams = [torch.full((20_000,), 0.1), torch.full((20_000,), -0.1)]
    made = batch(streams, MEL.config, VocoderRecipe(batch_size=8, tones=0.25), rng())
    assert made.shape == (8, 8192)
    assert made.mean(1).sign().tolist()[:6] == [1, 1, 1, -1, -1, -1]


def test_the_command_trains_and_writes_a_file_that_loads(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "data").mkdir()
    for take in range(10, 14):
        wave = np.random.RandomState(take).randn(4000) * 0.1
        soundfile.write(tmp_path / "data" / f"3_jackson_{take}.wav", wave, 8000)
    command = [
        "vocoder",
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "run"),
        "--steps",
        "2",
        "--batch-size",
        "2",
        "--threads",
        "1",
    ]
    assert main([*command, "--dry-run"]) == 0
    assert not (tmp_path / "run").exists()
    assert main([*command, "--name", "tiny", "--checkpoints", str(tmp_path / "made")]) == 0
    assert load_part(tmp_path / "made" / "tiny.safetensors", "vocoder", LearnedVocoder).config.sample_rate == 8000
    assert json.loads((tmp_path / "run" / RUN).read_text())["recipe"]["steps"] == 2
    assert "tiny" in (tmp_path / "made" / "tiny.md").read_text()
    for made in (tmp_path / "made").iterdir():  # where the data lay is nobody's business
        assert str(tmp_path).encode() not in made.read_bytes()


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path, speech: dict[str, Tensor]) -> None:
    train(fresh(), speech, tmp_path)
    assert main(["vocoder", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2


def test_a_batch_of_nothing_but_tones_is_refused() -> None:
    with pytest.raises(ValueError, match="leave no recording"):
        VocoderRecipe(batch_size=2, tones=0.8)

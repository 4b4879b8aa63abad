"""The quality measures of an inversion, on waveforms whose values are known."""

import numpy as np
import pytest
import torch

from explorer.sound.vocoder import VocoderConfig
from training.evaluation.inversion import inversions, log_spectral_distance, quality
from training.vocoder import VocoderRecipe, representation, start


def speechlike(n: int) -> np.ndarray:
    """(n, 8192): noise that swells and fades four times a second, as syllables do; silence at both ends."""
    random = np.random.RandomState(0)
    time = np.arange(8192) / 8000
    swelling = (0.1 * (1 + np.sin(2 * np.pi * 4 * time)) * (time > 0.1) * (time < 0.9)).astype(np.float32)
    return random.randn(n, 8192).astype(np.float32) * swelling


def test_a_recording_has_perfect_similarity_to_itself() -> None:
    waves = speechlike(10)
    figures = quality(waves, waves, 8000, 512)
    assert figures["stoi"] == pytest.approx(1, abs=1e-6)
    assert figures["lsd"] == 0


def test_steady_noise_in_place_of_syllables_has_low_intelligibility() -> None:
    waves = speechlike(10)
    noise = 0.1 * np.random.RandomState(1).randn(10, 8192).astype(np.float32)
    assert quality(waves, noise, 8000, 512)["stoi"] < 0.5


def test_ten_times_the_amplitude_is_a_distance_of_20_db() -> None:
    waves = speechlike(2)
    assert log_spectral_distance(waves, 10 * waves, 512) == pytest.approx(20, abs=0.6)


def test_every_inversion_keeps_the_pitch_of_a_tone() -> None:
    run = start(VocoderConfig(channels=8, blocks=1), VocoderRecipe(), torch.device("cpu"), bfloat16=False)
    mel = representation(run.vocoder.config)
    tone = 0.2 * torch.sin(2 * torch.pi * 1000 * torch.arange(8192) / 8000)
    with torch.inference_mode():
        for name, invert in inversions(run.vocoder).items():
            waveform = invert(mel.log_mel(tone[None])[0])
            spectrum = np.abs(np.fft.rfft(waveform * np.hanning(8192)))
            assert spectrum.argmax() * 8000 / 8192 == pytest.approx(1000, abs=40), name

"""Log-mels: filters and values equal librosa's, and decoded sounds resemble the encoded ones."""

import librosa
import numpy as np
import pytest
import torch

from explorer.sound.base import Sound
from explorer.sound.mel import MelConfig, MelRepresentation, fit
from explorer.sound.mel_scale import mel_filters, mel_frequencies

CONFIG = MelConfig()


def tone(frequency: float, config: MelConfig = CONFIG, amplitude: float = 0.3) -> Sound:
    time = np.arange(config.samples) / config.sample_rate
    waveform = (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
    return Sound(lambda: waveform, config.sample_rate, config.samples / config.sample_rate)


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), [(8000, 512, 64), (16000, 1024, 80), (22050, 2048, 128)])
def test_the_filters_are_librosas(rate: int, n_fft: int, n_mels: int) -> None:
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels)
    np.testing.assert_allclose(mel_filters(rate, n_fft, n_mels), theirs, atol=1e-7)
    np.testing.assert_allclose(mel_frequencies(rate, n_mels), librosa.mel_frequencies(n_mels + 2, fmax=rate / 2))


def test_the_log_mel_is_librosas() -> None:
    sound = tone(440)
    spectrum = librosa.stft(sound.waveform, n_fft=512, hop_length=128, pad_mode="constant")
    mel = librosa.filters.mel(sr=8000, n_fft=512, n_mels=64) @ np.abs(spectrum)
    ours = MelRepresentation(CONFIG).log_mel(torch.from_numpy(sound.waveform)[None])[0]
    np.testing.assert_allclose(ours.numpy(), np.log(mel + CONFIG.floor)[:, :64], atol=1e-4)


@pytest.mark.parametrize("frequency", [200.0, 440.0, 1000.0, 2500.0])
def test_a_tone_is_encoded_in_its_band_and_decoded_at_its_pitch(frequency: float) -> None:
    representation = MelRepresentation(CONFIG)
    x = representation.encode(tone(frequency))
    assert x.shape == representation.shape
    sound = representation.decode(x)
    assert sound.log_mel is not None
    band = int(sound.log_mel.values.mean(1).argmax())
    spacing = np.diff(sound.log_mel.frequencies).max() if frequency > 1000 else 70
    assert abs(sound.log_mel.frequencies[band] - frequency) < spacing
    spectrum = np.abs(np.fft.rfft(sound.waveform * np.hanning(len(sound.waveform))))
    found = spectrum.argmax() * sound.sample_rate / len(sound.waveform)
    assert abs(found - frequency) < spacing


def test_a_decoded_sound_has_the_right_length_and_does_not_clip() -> None:
    representation = MelRepresentation(CONFIG)
    loud = representation.decode(torch.ones(representation.shape))
    assert loud.waveform.shape == (8192,)
    assert loud.waveform.dtype == np.float32
    assert np.abs(loud.waveform).max() <= 1


def test_silence_stays_silent() -> None:
    representation = MelRepresentation(CONFIG)
    silence = Sound(lambda: np.zeros(8192, np.float32), 8000, 1.024)
    assert np.abs(representation.decode(representation.encode(silence)).waveform).max() < 1e-3


def test_encoding_a_decoded_sound_gives_nearly_the_same_log_mel() -> None:
    representation = MelRepresentation(CONFIG)
    time = np.arange(8192) / 8000
    glide = (0.3 * np.sin(2 * np.pi * (200 * time + 150 * time**2)) * np.hanning(8192)).astype(np.float32)
    x = representation.encode(Sound(lambda: glide, 8000, 1.024))
    again = representation.encode(representation.decode(x))
    assert float((again - x).abs().mean()) < 0.05


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16000 Hz"):
        MelRepresentation(CONFIG).encode(tone(440, MelConfig(sample_rate=16000)))


def test_mean_and_scale_need_a_number_for_each_band() -> None:
    with pytest.raises(ValueError, match="64 bands"):
        MelConfig(mean=(0.0,))


@pytest.mark.parametrize("length", [0, 1, 5, 8, 9, 20])
def test_fit_keeps_the_middle(length: int) -> None:
    fitted = fit(np.arange(1, length + 1, dtype=np.float32), 8)
    assert len(fitted) == 8
    kept = fitted[fitted > 0]
    assert len(kept) == min(length, 8)
    if length:
        assert abs(kept.mean() - (length + 1) / 2) <= 0.5

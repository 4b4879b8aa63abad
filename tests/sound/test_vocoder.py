"""The learned vocoder: shapes, reproducible bits, pitch of tones, and how checkpoints carry it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from toy import make

from explorer import checkpoint, shelf
from explorer.checkpoint import CheckpointError, load_part, save_part
from explorer.generators.base import Generator
from explorer.generators.spectogan import SpectoGAN
from explorer.sound.mel import MelConfig, MelRepresentation
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig, phase_clock

SMALL = VocoderConfig(channels=16, blocks=2, rounds=2)
MEL = MelRepresentation(MelConfig())


@pytest.fixture
def small() -> LearnedVocoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LearnedVocoder(SMALL).eval().requires_grad_(False)


def find_vocoder(folder: Path, mel: MelConfig) -> LearnedVocoder | None:
    return shelf.find_parts(folder, MelRepresentation(mel)).get("vocoder")


def generator_with(vocoder: LearnedVocoder) -> SpectoGAN:
    generator = SpectoGAN(SpectoGAN.Config(channels=(16, 8, 8, 8, 8)))
    generator.representation.carry("vocoder", vocoder)
    return generator


@pytest.fixture(scope="module")
def shipped() -> LearnedVocoder:
    found = find_vocoder(shelf.DEFAULT_FOLDER, MelConfig())
    assert found is not None
    return found


def tone(frequency: float, amplitude: float = 0.2) -> Tensor:
    """(1, samples) of a sine."""
    time = torch.arange(MEL.config.samples) / MEL.sample_rate
    return (amplitude * torch.sin(2 * torch.pi * frequency * time))[None]


def noise(*size: int) -> Tensor:
    return 0.1 * torch.randn(size, generator=torch.Generator().manual_seed(0))


def test_a_waveform_has_hop_length_samples_per_frame(small: LearnedVocoder) -> None:
    waveform = small(torch.zeros(2, 64, 40))
    assert waveform.shape == (2, 40 * 128)
    assert waveform.isfinite().all()


def test_an_item_has_the_same_bits_in_any_batch(small: LearnedVocoder) -> None:
    log_mel = MEL.log_mel(noise(5, 8192))
    together = small(log_mel)
    assert all(torch.equal(small(log_mel[i : i + 1])[0], together[i]) for i in range(5))


@pytest.mark.parametrize("frequency", [110.0, 220.0, 333.0, 520.0, 790.0])
def test_the_phase_clock_advances_at_the_frequency_of_a_steady_tone(frequency: float) -> None:
    log_mel = MEL.log_mel(tone(frequency))
    angle = phase_clock(log_mel, SMALL)[0, log_mel[0, :, 32].argmax()].numpy()
    per_frame = np.diff(np.unwrap(angle - 2 * np.pi * frequency * 0.016 * np.arange(64)))
    assert abs(per_frame[5:-5].mean() / (2 * np.pi * 0.016)) < 1.5  # Hz; bands are 36 Hz apart


def test_the_phase_clock_follows_a_gliding_tone_from_band_to_band() -> None:
    def phase(seconds: np.ndarray) -> np.ndarray:
        return 2 * np.pi * (300 * seconds + 150 * seconds**2)  # from 300 to 607 Hz

    glide = 0.2 * np.sin(phase(np.arange(8192) / 8000)).astype(np.float32)
    log_mel = MEL.log_mel(torch.from_numpy(glide)[None])
    loudest = log_mel[0].argmax(0)
    assert len(loudest.unique()) > 5
    angle = phase_clock(log_mel, SMALL)[0].numpy()[loudest, np.arange(64)]
    fast = np.diff(np.unwrap(angle - phase(0.016 * np.arange(64)))) / (2 * np.pi * 0.016)  # Hz
    assert np.abs(fast[5:-5]).max() < 5


def test_settling_keeps_a_waveform_that_already_has_the_log_mel(small: LearnedVocoder) -> None:
    waveform = noise(1, 8192)
    settled = small.settle(waveform, MEL.log_mel(waveform), rounds=3)
    torch.testing.assert_close(settled, waveform, atol=1e-4, rtol=0)


def test_settling_brings_a_log_mel_closer_round_by_round(small: LearnedVocoder) -> None:
    wanted, waveform = MEL.log_mel(tone(440)), noise(1, 8192)
    errors = [float((MEL.log_mel(small.settle(waveform, wanted, rounds=n)) - wanted).abs().mean()) for n in (0, 1, 4)]
    assert errors[0] > 3 * errors[1] > 3 * errors[2] / 2


@pytest.mark.parametrize("frequency", [150.0, 220.0, 333.0])
def test_a_tone_keeps_its_pitch(shipped: LearnedVocoder, frequency: float) -> None:
    waveform = shipped(MEL.log_mel(tone(frequency)))[0].numpy()
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(8192), 8 * 8192))
    assert spectrum.argmax() * 8000 / (8 * 8192) == pytest.approx(frequency, abs=4)


def test_silence_stays_silent(shipped: LearnedVocoder) -> None:
    assert float(shipped(MEL.log_mel(torch.zeros(1, 8192))).abs().max()) < 1e-3


def test_a_vocoder_is_stored_in_16_bit(tmp_path: Path, small: LearnedVocoder) -> None:
    save_part(tmp_path / "v.safetensors", "vocoder", small, {"step": 1})
    loaded = load_part(tmp_path / "v.safetensors", "vocoder", LearnedVocoder)
    assert loaded.config == small.config
    for name, weight in small.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.half().float())


def test_a_vocoder_is_found_by_the_spectrograms_it_inverts(tmp_path: Path, small: LearnedVocoder) -> None:
    save_part(tmp_path / "v.safetensors", "vocoder", small, {})
    assert find_vocoder(tmp_path, MelConfig(frames=100)) is not None
    assert find_vocoder(tmp_path, MelConfig(sample_rate=16000, n_fft=1024, hop_length=256)) is None
    assert shelf.find_checkpoints(tmp_path) == {}


def test_a_checkpoint_decodes_with_the_vocoder_it_carries(tmp_path: Path, small: LearnedVocoder) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, generator_with(small), dtype=torch.bfloat16)
    representation = checkpoint.load(path)[0].representation
    assert representation.settings == {"inversion": ("learned", "griffin-lim")}
    x = MEL.normalize(MEL.log_mel(tone(440)))[0]
    expected = load_part(path, "vocoder", LearnedVocoder)(MEL.denormalize(x[None]))[0].numpy()
    np.testing.assert_array_equal(representation.decode(x).waveform, expected)
    fallback = representation.decode(x, {"inversion": "griffin-lim"}).waveform
    np.testing.assert_array_equal(fallback, MEL.decode(x).waveform)


def test_a_vocoder_inside_a_checkpoint_is_found_too(tmp_path: Path, small: LearnedVocoder) -> None:
    checkpoint.save(tmp_path / "a.safetensors", SpectoGAN(SpectoGAN.Config(channels=(16, 8, 8, 8, 8))))
    assert find_vocoder(tmp_path, MelConfig()) is None
    checkpoint.save(tmp_path / "b.safetensors", generator_with(small))
    found = find_vocoder(tmp_path, MelConfig())
    assert found is not None
    assert found.config == small.config


def test_a_vocoder_of_other_spectrograms_is_refused(tmp_path: Path, small: LearnedVocoder) -> None:
    other = LearnedVocoder(replace(SMALL, floor=1e-3))
    with pytest.raises(ValueError, match="for other spectrograms"):
        generator_with(other)
    write_with_vocoder(tmp_path / "c.safetensors", SpectoGAN(SpectoGAN.Config(channels=(16, 8, 8, 8, 8))), other)
    with pytest.raises(CheckpointError, match="for other spectrograms"):
        checkpoint.load(tmp_path / "c.safetensors")


def test_a_family_without_spectrograms_takes_no_vocoder(tmp_path: Path, small: LearnedVocoder) -> None:
    with pytest.raises(ValueError, match="carries no vocoder"):
        make().representation.carry("vocoder", small)
    write_with_vocoder(tmp_path / "c.safetensors", make(), small)
    with pytest.raises(CheckpointError, match="holds a vocoder, which family 'toy' does not use"):
        checkpoint.load(tmp_path / "c.safetensors")


def write_with_vocoder(path: Path, generator: Generator, vocoder: LearnedVocoder) -> None:
    """Writes a file that no program here writes: with a vocoder that does not fit its generator."""
    checkpoint.save(path, generator)
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weights = {f"vocoder.{name}": weight for name, weight in vocoder.state_dict().items()}
    save_file(tensors | weights, path, {**metadata, "vocoder": json.dumps(asdict(vocoder.config))})


def test_a_vocoder_without_one_of_its_weights_is_refused(tmp_path: Path, small: LearnedVocoder) -> None:
    path = tmp_path / "v.safetensors"
    save_part(path, "vocoder", small, {})
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors["vocoder.head.weight"]
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        load_part(path, "vocoder", LearnedVocoder)


def test_loading_a_vocoder_from_a_checkpoint_without_one_is_an_error(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.safetensors", make())
    with pytest.raises(CheckpointError, match="no vocoder"):
        load_part(tmp_path / "c.safetensors", "vocoder", LearnedVocoder)

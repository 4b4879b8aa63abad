"""Checkpoints as ONNX files, run by onnxruntime without PyTorch. Skipped only where its packages are not installed."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.__main__ import main
from explorer.engine import Engine
from explorer.export_onnx import TOLERANCE, _Elementary, export
from explorer.generators.base import Generator
from explorer.generators.pianogan import PianoGAN, PianoGANConfig
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.recipe import Recipe
from explorer.sound.mel import MelConfig
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig

if os.environ.get("CI") != "true":
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")


def small(family: str, frames: int = 64, rounds: int = 5) -> Generator:
    """A small untrained generator: of words, with so many frames and, of a vocoder, rounds of projection."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "piano":
            piano = PianoGANConfig(latent_size=32, code_size=16, width=16, blocks=3, decoder_width=16)
            return PianoGAN(piano).eval().requires_grad_(False)
        config = SpectoGANConfig(
            MelConfig(frames=frames), latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("yes", "no")
        )
        generator = SpectoGAN(config)
        if family == "words with a vocoder":
            mel = generator.config.mel
            vocoder = VocoderConfig(
                mel.sample_rate, mel.n_fft, mel.hop_length, mel.n_mels, mel.floor, channels=8, blocks=1, rounds=rounds
            )
            generator.representation.carry("vocoder", LearnedVocoder(vocoder).eval().requires_grad_(False))
        return generator.eval().requires_grad_(False)


@pytest.mark.parametrize("family", ["piano", "words", "words with a vocoder"])
def test_onnxruntime_gives_the_sound_that_torch_gives(tmp_path: Path, family: str) -> None:
    import onnxruntime

    generator = small(family)
    found = export(generator, tmp_path / "a.onnx")
    assert found.error <= TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    inputs = {"z": generator.latent.from_seed(99)[None].numpy()}  # a place that `export` has not compared
    condition = None
    if generator.condition:
        condition = generator.condition.encode("no")[None]
        inputs["condition"] = condition.numpy()
    (output,) = session.run(None, inputs)
    with torch.inference_mode():
        sound = generator.representation.decode(generator(torch.from_numpy(inputs["z"]), condition)[0])
    if sound.notes is None:
        np.testing.assert_allclose(output[0], sound.waveform, atol=TOLERANCE)
    else:  # rows of pitch, step, duration, velocity and touch
        assert sorted(output[0, :, 0]) == sorted(note.pitch for note in sound.notes)
        np.testing.assert_allclose(output[0, :, 1].sum(), sound.notes[-1].onset, rtol=TOLERANCE)


def test_a_generator_that_differs_in_onnxruntime_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.export_onnx.TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="differs from torch"):
        export(small("words with a vocoder", frames=16, rounds=0), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_transforms_by_convolution_are_those_of_torch() -> None:
    rng = np.random.RandomState(0)
    waveform = torch.from_numpy(rng.standard_normal((2, 1024)).astype(np.float32))
    window = torch.hann_window(256)

    def both(length: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        spectrum = torch.stft(waveform, 256, 64, window=window, pad_mode="constant", return_complex=True)
        spectrum = spectrum[..., : 16 if length else 17]
        return spectrum, torch.istft(spectrum, 256, 64, window=window, length=length)

    for length in (None, 1024):
        wanted = both(length)
        with _Elementary():
            found = both(length)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_command_exports_a_shipped_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-onnx", "spoken-digits", "--out", str(tmp_path / "a.onnx")]) == 0
    assert "of full scale of PyTorch" in capsys.readouterr().out
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    engine = Engine()
    generator = engine.model("spoken-digits").generator
    assert generator.condition
    inputs = {
        "z": generator.latent.from_seed(7)[None].numpy(),
        "condition": generator.condition.encode("3")[None].numpy(),
    }
    wanted = engine.render(Recipe("spoken-digits", seed=7, label="3")).waveform
    np.testing.assert_allclose(session.run(None, inputs)[0][0], wanted, atol=TOLERANCE)


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export-onnx", "spoken-digits", "--out", str(tmp_path / "a.onnx")]) == 2
    assert "latent-explorer[onnx]" in capsys.readouterr().err


def test_a_generator_that_is_a_program_is_refused(tmp_path: Path) -> None:
    config = PianoGANConfig(architecture="autoregressive", latent_size=12, width=32, blocks=1, decoder_width=16)
    with pytest.raises(ValueError, match="ONNX file cannot hold"):
        export(PianoGAN(config), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())

"""GANSynth: the published network, and what the default knows of pitch."""

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.generators.gansynth import GANSynth, GANSynthConfig, Harmonic, Partials, pixel_norm
from explorer.sound.spectrum import LOUDNESS, SpectrumConfig, SpectrumRepresentation

SMALL = GANSynthConfig(latent=16, channels=(16, 8, 8), style=8)
CANONICAL = GANSynthConfig(
    SpectrumConfig(n_fft=2048, hop_length=512, frames=128),
    *(24, 84),
    latent=256,
    architecture="original",
    channels=(256, 256, 256, 256, 128, 64, 32),
)


def small() -> GANSynth:
    torch.manual_seed(0)
    return GANSynth(SMALL).eval().requires_grad_(False)


def key(generator: GANSynth, name: str) -> Tensor:
    assert generator.condition is not None
    return generator.condition.encode(name)[None]


def test_the_original_has_the_layers_of_the_papers_table() -> None:
    with torch.device("meta"):
        found = [tuple(p.shape) for p in GANSynth(CANONICAL).parameters() if p.dim() > 1]
    pairs = [(256, 256)] * 7 + [(256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32)]
    assert found == [(256 + 61, 256, 16, 2), *((b, a, 3, 3) for a, b in pairs), (2, 32, 1, 1)]


def test_the_original_makes_128_frames_of_1024_bins_from_2_by_16() -> None:
    assert CANONICAL.coarse == (16, 2)
    with torch.device("meta"):
        generator = GANSynth(CANONICAL)
        assert generator(torch.zeros(1, 256), torch.zeros(1, 61)).shape == (1, 2, 1024, 128)
    assert CANONICAL.spectrum.samples / 16_000 == pytest.approx(4, abs=0.1)


def test_pixel_norm_makes_every_pixels_mean_square_1() -> None:
    x = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(0)) * 7
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(2, 3, 5))


def test_the_condition_is_a_scale_of_pitches() -> None:
    condition = small().condition
    assert condition is not None
    assert (condition.kind, len(condition.labels)) == ("pitch", 49)
    assert (condition.labels[0], condition.labels[-1]) == ("C2", "C6")
    assert condition.turn(0) == condition.turn(7) == "C4"  # where no key is asked for


@pytest.mark.parametrize("pitch", [36, 57, 69, 84])
def test_the_partials_are_where_an_analysis_finds_them(pitch: int) -> None:
    frequency, c = 440 * 2 ** ((pitch - 69) / 12), SMALL.spectrum
    count = int(6000 / frequency)
    t = np.arange(c.samples) / c.sample_rate
    wave = np.cos(2 * np.pi * frequency * t[:, None] * np.arange(1, count + 1)).mean(1)
    x = SpectrumRepresentation(c).analyse(torch.from_numpy(wave.astype(np.float32))[None])[0]
    features, advance = Partials(SMALL)(torch.eye(49)[pitch - 36][None])
    loud = x[0, :, 20] > x[0, :, 20].max() - 0.1
    turn = (x[1, :, 20] - advance[0, :, 20]) / 2
    assert float((turn - turn.round()).abs()[loud].max()) < 0.01
    assert float(features[0, 0, :, 0][loud].min()) > 0.5


def test_a_mean_of_two_pitches_is_the_pitch_between_them() -> None:
    partials, a4 = Partials(SMALL), 69 - 36
    between = torch.zeros(1, 49)
    between[0, a4], between[0, a4 + 2] = 0.5, 0.5
    torch.testing.assert_close(partials(between)[1], partials(torch.eye(49)[a4 + 1][None])[1], atol=1e-4, rtol=0)


def test_a_new_generator_is_in_tune() -> None:
    generator, z = small(), torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    x = generator(z, key(generator, "A4"))
    row, turns = 28 - 1, 440 * 256 / 16_000  # 440 Hz lie in the 28th bin
    assert float(x[0, 1, row, 8:40].median()) == pytest.approx(2 * (turns - round(turns)), abs=0.3)


@pytest.mark.parametrize("amplitude", [0.01, 0.9])
def test_a_note_of_any_loudness_is_brought_to_one(amplitude: float) -> None:
    representation = SpectrumRepresentation(SMALL.spectrum)
    time = torch.arange(SMALL.spectrum.samples) / 16_000
    x = representation.analyse((amplitude * (2 * torch.pi * 440 * time).sin())[None])
    x[:, 0] = Harmonic(SMALL).evened(x[:, 0])
    middle = representation.synthesise(x)[0, 2000:-2000]
    assert float(middle.square().mean().sqrt()) == pytest.approx(LOUDNESS, rel=0.01)


def test_the_networks_shipped_shape_fits_a_cpu() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    generator = GANSynth(GANSynthConfig())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator(torch.zeros(1, 128), torch.ones(1, 49) / 49)
    assert counter.get_total_flops() / 2 <= 0.35e9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "other"}, "architecture"),
        ({"lowest": 90}, "lowest <= highest"),
        ({"channels": (8, 0)}, "channels"),
        ({"channels": (8,) * 9}, "must divide"),
        ({"latent": 1.5}, "latent"),
        ({"spectrum": None}, "spectrum"),
    ],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GANSynthConfig(**changes)  # type: ignore[arg-type]

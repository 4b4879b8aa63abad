"""WaveGAN: the published network, and what the default adds to it."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from explorer.checkpoint import config_from_dict, load
from explorer.generators.wavegan import PitchEnvelope, Upsampling, WaveGAN, WaveGANConfig, folding, interpolate
from explorer.shelf import DEFAULT_FOLDER
from explorer.sound.waveform import WaveformConfig

SMALL = WaveGANConfig(WaveformConfig(16_000, 4096), ("kick", "snare"), latent=16, channels=(16, 16, 16, 16), style=8)
D = 64  # model size of the paper


def original(**changes: object) -> WaveGAN:
    channels = (16 * D, 8 * D, 4 * D, 2 * D, D)
    changes = {"latent": 100, "prior": "uniform", "channels": channels, **changes}
    return WaveGAN(WaveGANConfig(architecture="original", **changes))  # type: ignore[arg-type]


def small(seed: int = 0) -> WaveGAN:
    torch.manual_seed(seed)
    return WaveGAN(SMALL).eval().requires_grad_(False)


def test_the_original_has_the_kernels_of_the_papers_table_3() -> None:
    published = [
        *((100, 256 * D), (256 * D,)),
        *((25, 16 * D, 8 * D), (8 * D,)),
        *((25, 8 * D, 4 * D), (4 * D,)),
        *((25, 4 * D, 2 * D), (2 * D,)),
        *((25, 2 * D, D), (D,)),
        *((25, D, 1), (1,)),
    ]
    found = [p.numel() for p in original().parameters()]
    assert found == [int(np.prod(shape)) for shape in published]


def test_the_original_makes_16384_samples_by_five_upsamplings_by_4() -> None:
    network = original(channels=(16, 8, 4, 2, 1))
    assert network.coarse == (16, 1, 16)
    assert network(torch.rand(2, 100) * 2 - 1).shape == (2, 16_384)


def test_the_post_filter_of_the_original_has_512_numbers_and_keeps_the_length() -> None:
    plain, filtered = original(channels=(16, 8, 4, 2, 1)), original(channels=(16, 8, 4, 2, 1), post_filter=512)
    numbers = [sum(p.numel() for p in network.parameters()) for network in (filtered, plain)]
    assert numbers[0] - numbers[1] == 512
    assert filtered(torch.rand(1, 100)).shape == (1, 16_384)


def test_upsampling_is_repetition_and_a_convolution_of_25_if_its_filters_are_folded_so() -> None:
    rng = torch.Generator().manual_seed(0)
    kernel, x = torch.randn(1, 1, 25, generator=rng), torch.randn(1, 1, 32, generator=rng)
    up = Upsampling(1, 1).requires_grad_(False)
    up.weight.copy_(torch.einsum("k,kpj->pj", kernel[0, 0], folding())[:, None, None])
    expected = F.conv1d(F.interpolate(x, scale_factor=4, mode="nearest"), kernel, padding=12)
    torch.testing.assert_close(up(x[:, :, None])[:, :, 0], expected, atol=1e-5, rtol=0)


def test_smooth_filters_make_a_constant_of_a_constant_and_a_ramp_of_a_ramp() -> None:
    torch.manual_seed(0)
    up = Upsampling(3, 2).to(memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
    up.weight.normal_()
    assert up.bias is not None
    up.bias.normal_()
    up.smooth()
    ramp = torch.arange(16.0).expand(1, 3, 1, 16)
    for x in (torch.ones_like(ramp), ramp):
        inside = up(x)[0, :, 0, 12:-12]  # beyond it the filters reach outside of x
        torch.testing.assert_close(inside.diff(n=2), torch.zeros(2, 38), atol=1e-4, rtol=0)
    smooth = up.weight.clone()
    up.smooth()
    torch.testing.assert_close(up.weight, smooth)


def test_interpolation_keeps_a_parabola_and_gradients_reach_positions() -> None:
    grid = torch.arange(12.0, dtype=torch.float64)
    x = torch.stack([grid, grid.square()], dim=1)[None]
    at = torch.tensor([[1.0, 1.25, 7.5, 9.99]], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(interpolate(x, at)[0], torch.stack([at[0], at[0].square()], dim=1))
    slope = torch.autograd.grad(interpolate(x, at)[..., 1].sum(), at)[0]
    torch.testing.assert_close(slope, 2 * at.detach())


@pytest.mark.parametrize(
    ("octaves", "early", "late"), [((0.5, 0, 0), 0.5, 0.5), ((-1, 0, 0), -1, -1), ((0, 0, 1), 0.75, 0)]
)
def test_a_pitch_envelope_raises_a_tone_by_octaves_that_glide(
    octaves: tuple[float, ...], early: float, late: float
) -> None:
    hertz, rate, steps = 100.0, 4000, 4096
    envelope = PitchEnvelope(WaveformConfig(16_000, 16_384), steps, 8).requires_grad_(False)
    envelope.octaves.weight.zero_()
    limited = 2 * torch.atanh(torch.tensor(octaves) / 2)  # what the envelope's limit makes of it is `octaves`
    envelope.octaves.bias.copy_(limited)
    tone = torch.sin(2 * torch.pi * hertz / rate * torch.arange(steps))[None, None, None]
    heard = envelope(tone, torch.zeros(1, 8))[0, 0, 0].numpy()
    assert heard[8] == pytest.approx(float(tone[0, 0, 0, 8]), abs=1e-5)  # the onset
    for expected, (begin, end) in ((early, (8, 248)), (late, (1600, 2400))):
        crossings = np.flatnonzero(np.diff(np.sign(heard[begin:end])))
        found = (len(crossings) - 1) / 2 * rate / (crossings[-1] - crossings[0])
        assert np.log2(found / hertz) == pytest.approx(expected, abs=0.06)


def test_a_configuration_from_before_has_no_pitch_envelope() -> None:
    before = {name: value for name, value in asdict(SMALL).items() if name != "pitch_envelope"}
    assert config_from_dict(WaveGANConfig, before) == replace(SMALL, pitch_envelope=False)


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_no_sound_is_silent_or_clipped_or_begins_or_ends_with_a_click(scale: float) -> None:
    generator = small()
    z = generator.latent.sample(8, np.random.RandomState(0)) * scale
    x = generator(z, torch.eye(2).repeat(4, 1))
    torch.testing.assert_close(x.abs().amax(1), torch.full((8,), 0.95))
    assert float(x[:, [0, -1]].abs().max()) < 1e-6


def test_the_label_changes_the_sound() -> None:
    generator = small()
    z = generator.latent.sample(1, np.random.RandomState(0))
    assert not torch.equal(generator(z, torch.eye(2)[:1]), generator(z, torch.eye(2)[1:]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "modern"}, "architecture"),
        ({"prior": "cauchy"}, "prior"),
        ({"channels": ()}, "channels"),
        ({"channels": (0, 8)}, "channels"),
        ({"channels": (8,)}, "at least two"),
        ({"latent": 2.5}, "latent"),
        ({"post_filter": -1}, "post_filter"),
        ({"pitch_envelope": 1}, "pitch_envelope"),
        ({"waveform": WaveformConfig(16_000, 1000)}, "divisible by 1024"),
    ],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WaveGANConfig(**changes)  # type: ignore[arg-type]


def test_shipped_drums_neither_buzz_at_the_rate_of_an_inner_layer_nor_begin_with_a_click() -> None:
    generator, _ = load(DEFAULT_FOLDER / "drums.safetensors")
    assert generator.condition is not None
    labels = len(generator.condition.labels)
    z = generator.latent.sample(12 * labels, np.random.RandomState(0))
    x = generator(z, torch.eye(labels).repeat(12, 1)).numpy()
    tail = x[:, 2048:8192] * np.hanning(6144)
    frequency = np.fft.rfftfreq(2**16, 1 / 16_000)
    low = (frequency >= 30) & (frequency <= 800)
    loudest = frequency[low][np.abs(np.fft.rfft(tail, 2**16))[:, low].argmax(1)]
    buzzing = np.abs(loudest - 62.5 * np.round(loudest / 62.5).clip(1)) <= 1.5  # 16,000 / 256
    assert buzzing.mean() < 0.15  # 0.05 by chance, 0.78 with filters that are not smooth
    assert (np.abs(x[:, 32]) / np.abs(x).max(1)).mean() < 0.1  # recordings: 0.05

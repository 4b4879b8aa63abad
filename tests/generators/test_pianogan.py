"""PianoGAN: its notes, its noise field and its code; what holds for every family is tested in tests/contract."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from explorer.generators.pianogan import (
    NoiseField,
    PianoGAN,
    PianoGANConfig,
    _taken,
    _taken_on_device,
    fold,
    unfold,
)
from explorer.sound.notes import DURATION, EVEN_DURATION, EVEN_STEP, KEYS, STEP, decode_notes

SMALL = PianoGANConfig(latent_size=32, code_size=16, width=16, blocks=3, decoder_width=16, flow_steps=2, dcgan_width=4)


def build(**changes: Any) -> PianoGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PianoGAN(replace(SMALL, **changes)).eval().requires_grad_(False)


@pytest.fixture(params=["flow", "dcgan"])
def generator(request: pytest.FixtureRequest) -> PianoGAN:
    return build(architecture=request.param)


def test_every_note_has_exactly_one_key(generator: PianoGAN) -> None:
    keys = generator(generator.latent.from_seed(1)[None])[0, :KEYS]
    assert torch.equal((keys == 1).sum(0), torch.ones(256, dtype=torch.int64))
    assert torch.equal((keys == -1).sum(0), torch.full((256,), 87))


def test_no_chord_has_a_key_twice(generator: PianoGAN) -> None:
    logits = torch.randn(1, 91, 256, generator=torch.Generator().manual_seed(0))
    logits[0, 60] += 3  # most notes prefer one key, and many are chords
    logits[0, STEP] -= 1
    notes = decode_notes(generator.harden(generator.playable(logits))[0])
    chord = (notes[:, 1] > 0).cumsum(0)
    struck = list(zip(chord.tolist(), notes[:, 0].tolist(), strict=True))
    assert len(set(struck)) == len(struck) == 256
    assert len(set(chord.tolist())) < 200  # there are chords


def test_a_chord_of_more_notes_than_keys_still_has_one_key_per_note(generator: PianoGAN) -> None:
    logits = torch.randn(1, 91, 256, generator=torch.Generator().manual_seed(0))
    logits[0, STEP] = -9
    assert torch.equal((generator.harden(generator.playable(logits))[0, :KEYS] == 1).sum(0), torch.ones(256))


def test_the_chord_mask_is_the_same_on_every_device() -> None:
    logits = torch.randn(3, 91, 256, generator=torch.Generator().manual_seed(0))
    logits[:, 60] += 3
    logits[1, STEP] -= 1
    logits[2, STEP] = -9  # one chord of more notes than keys
    expected = torch.stack([torch.from_numpy(_taken(x.numpy())) for x in logits])
    assert expected.any(1).any(1).all()
    assert torch.equal(_taken_on_device(logits), expected)


def test_an_item_has_the_same_bits_in_any_batch(generator: PianoGAN) -> None:
    z = torch.stack([generator.latent.from_seed(s) for s in range(5)])
    together = generator(z)
    assert all(torch.equal(together[k : k + 1], generator(z[k : k + 1])) for k in range(5))


def test_gradients_reach_every_weight(generator: PianoGAN) -> None:
    generator.train().requires_grad_(True)
    z = torch.stack([generator.latent.from_seed(s) for s in range(4)])
    for module in generator.modules():  # residual branches start at zero, which blocks gradients
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    (generator(z) * torch.randn(4, 91, 256, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_even_rhythm_holds_steps_and_durations_constant(generator: PianoGAN) -> None:
    even = build(architecture=generator.config.architecture, even_rhythm=True)
    x = even(even.latent.from_seed(1)[None])[0]
    assert x[STEP].unique().numel() == x[DURATION].unique().numel() == 1
    notes = decode_notes(x)
    assert notes[1:, 1].mean().item() == pytest.approx(EVEN_STEP, rel=1e-4)
    assert notes[:, 2].mean().item() == pytest.approx(EVEN_DURATION, rel=1e-4)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="'flow', 'dcgan' or 'autoregressive', not 'rnn'"):
        build(architecture="rnn")


def test_a_latent_size_that_is_no_multiple_of_code_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a multiple of 16"):
        build(latent_size=40)


def test_the_noise_field_is_white() -> None:
    z = torch.randn(4000, 256, generator=torch.Generator().manual_seed(0))
    x = NoiseField(256, 64)(z).flatten(1)[:, ::5]
    # Means and covariances of 4,000 white samples have a standard error of 1 / sqrt(4000) = 0.016.
    assert x.mean(0).abs().max() < 0.1
    torch.testing.assert_close(x.T @ x / len(x), torch.eye(x.shape[1]), atol=0.15, rtol=0)


def test_a_small_change_of_the_latent_changes_the_noise_field_little() -> None:
    z = torch.randn(1, 256, generator=torch.Generator().manual_seed(0))
    field = NoiseField(256, 64)
    step = torch.zeros(1, 256)
    step[0, 5] = 0.1
    assert (field(z + step) - field(z)).square().mean().sqrt() < 0.05


def test_the_slowest_components_of_the_noise_field_are_those_of_the_latent() -> None:
    z = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    means = NoiseField(32, 8)(z)[0, :, 0].mean(1)  # the constant component, whose basis vector is 1 / 8 everywhere
    torch.testing.assert_close(means * 8, z.view(8, 4)[:, 0], atol=1e-4, rtol=0)


def test_unfold_inverts_fold() -> None:
    x = torch.arange(2 * 3 * 256.0).view(2, 3, 256)
    assert torch.equal(unfold(fold(x)), x)


def test_four_neighbours_share_a_code_step() -> None:
    x = torch.arange(256.0).view(1, 1, 256)
    assert fold(x)[0, :, 0, 1].tolist() == [4, 5, 6, 7]


def test_features_are_32_numbers_per_item() -> None:
    generator = build()
    assert generator.features(torch.stack([generator.latent.from_seed(s) for s in range(3)])).shape == (3, 32)

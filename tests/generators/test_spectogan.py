"""SpectoGAN; what holds for every family is tested in tests/contract."""

from typing import Any

import pytest
import torch

from explorer.generators.spectogan import SpectoGAN
from explorer.sound.mel import MelConfig

SMALL: dict[str, Any] = {"latent": 8, "channels": (16, 16, 8, 8, 8), "style": 8}
ORIGINAL = SpectoGAN.Config(blocks="dcgan", channels=(16, 8, 8, 4), latent=8, prior="uniform")


def test_the_dcgan_blocks_are_transposed_5x5_convolutions_that_double_the_spectrogram() -> None:
    generator = SpectoGAN(ORIGINAL)
    shapes = [(b.kernel_size, b.stride) for b in generator.blocks]
    assert shapes == [((5, 5), (2, 2))] * 4
    z = torch.rand(2, 8) * 2 - 1
    assert generator(z).shape == (2, 1, 64, 64)


def test_the_condition_changes_the_output() -> None:
    torch.manual_seed(0)
    generator = SpectoGAN(SpectoGAN.Config(labels=("0", "1"), **SMALL)).eval()
    z = torch.randn(1, 8)
    zero, one = (generator(z, torch.eye(2)[k : k + 1]) for k in (0, 1))
    assert not torch.allclose(zero, one)


def test_the_largest_of_the_first_numbers_chooses_the_voice_and_if_it_is_clear_by_how_much_does_not_matter() -> None:
    torch.manual_seed(0)
    generator = SpectoGAN(SpectoGAN.Config(labels=("0", "1"), voices=("ann", "bob", "eve"), **SMALL)).eval()
    assert generator.mapping is not None
    for layer in (generator.start, generator.mapping):
        torch.nn.init.zeros_(layer.weight[:, :3])  # so that only the choice is heard
    z = torch.zeros(4, 8)
    z[0, 0], z[1, 0], z[2, 1], z[3, 2] = 4.0, 8.0, 4.0, 4.0
    with torch.no_grad():
        ann, ann_too, bob, eve = generator(z, torch.eye(2)[[0, 0, 0, 0]])
    torch.testing.assert_close(ann, ann_too, atol=1e-5, rtol=0)
    assert not torch.allclose(ann, bob, atol=1e-2)
    assert not torch.allclose(bob, eve, atol=1e-2)


def test_the_axis_of_a_voice_leads_to_it_from_anywhere() -> None:
    generator = SpectoGAN(SpectoGAN.Config(labels=("0",), voices=("ann", "bob", "eve"), **SMALL))
    axis, z = generator.axes["Voice bob"], torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    assert float(axis.norm()) == pytest.approx(1)
    assert set(z[:, :3].argmax(1).tolist()) == {0, 1, 2}
    assert set((z + 6 * axis)[:, :3].argmax(1).tolist()) == {1}


@pytest.mark.parametrize("wrong", [{"labels": ()}, {"labels": ("0",), "latent": 1}])
def test_voices_need_labels_and_room_in_the_latent(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="voices need labels"):
        SpectoGAN.Config(voices=("ann", "bob"), **{**SMALL, **wrong})


def test_a_condition_is_needed_where_there_are_labels_and_refused_where_not() -> None:
    with pytest.raises(ValueError, match="needs a condition"):
        SpectoGAN(SpectoGAN.Config(labels=("0", "1"), **SMALL))(torch.zeros(1, 8))
    with pytest.raises(ValueError, match="takes no condition"):
        SpectoGAN(SpectoGAN.Config(**SMALL))(torch.zeros(1, 8), torch.ones(1, 1))


def test_a_spectrogram_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be halved"):
        SpectoGAN(SpectoGAN.Config(mel=MelConfig(frames=60), **SMALL))


def test_at_its_shipped_size_an_item_has_the_same_bits_alone_and_in_a_batch() -> None:
    # Small networks would not reveal it: only from some 200 channels does the order of summation depend on the batch.
    torch.manual_seed(0)
    generator = SpectoGAN(SpectoGAN.Config(labels=("0", "1"))).eval()
    z, condition = torch.randn(3, 128), torch.eye(2)[[0, 1, 0]]
    with torch.inference_mode():
        together = generator(z, condition)
        alone = torch.cat([generator(z[i : i + 1], condition[i : i + 1]) for i in range(3)])
    assert torch.equal(together, alone)

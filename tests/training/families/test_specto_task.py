"""The task of SpectoGAN; the training loop itself is tested in test_loop."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explorer.generators.spectogan import SpectoGAN, of_kinds
from training.families.spectogan import WIDTH, Encoder, SpectoTask, Trunk, augment
from training.networks import ConditionalCritic
from training.task import Batch

SHAPE = (1, 64, 64)


def pictures(n: int) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def critic() -> ConditionalCritic:
    torch.manual_seed(0)
    return ConditionalCritic(Trunk(SHAPE), WIDTH, classes=3)


class Prior(nn.Module):
    """An encoder that returns the prior for every input: mean 0, log-variance 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 16)


def test_augmented_silence_stays_silence() -> None:
    silence = torch.full((8, *SHAPE), -1.0)
    assert torch.equal(augment(silence, torch.Generator().manual_seed(1)), silence)


def test_augmentation_by_nothing_changes_nothing() -> None:
    x = pictures(4)
    moved = augment(x, torch.Generator().manual_seed(1), frames=0, bands=0, gain=0.0)
    torch.testing.assert_close(moved, x)


def test_augmentation_shifts_by_no_more_than_its_limits() -> None:
    x = torch.full((64, *SHAPE), -1.0)
    x[:, 0, 30, 30] = 1.0
    moved = augment(x, torch.Generator().manual_seed(1), frames=4, bands=1, gain=0.0)
    places = (moved == 1).nonzero()
    assert len(places) == 64
    assert (set(places[:, 2].tolist()), set(places[:, 3].tolist())) == ({29, 30, 31}, set(range(26, 35)))


def test_no_item_changes_the_critic_score_of_another() -> None:
    x = pictures(3).requires_grad_()
    scores, _ = critic()(x, torch.eye(3))
    (slope,) = torch.autograd.grad(scores[0], x)
    assert slope[0].abs().sum() > 0
    assert slope[1:].abs().sum() == 0


def test_the_score_depends_on_the_given_label_and_the_classification_does_not() -> None:
    judge, x = critic(), pictures(1)
    (score, verdict), (other_score, other_verdict) = (judge(x, torch.eye(3)[k : k + 1]) for k in (0, 1))
    assert not torch.equal(score, other_score)
    assert torch.equal(verdict, other_verdict)


def test_a_critic_without_labels_only_scores() -> None:
    scores, verdict = ConditionalCritic(Trunk(SHAPE), WIDTH, classes=0)(pictures(2), None)
    assert (scores.shape, verdict) == ((2,), None)


def test_the_kl_divergence_is_zero_if_the_encoder_returns_the_prior() -> None:
    task = SpectoTask()
    generator = SpectoGAN(SpectoGAN.Config(latent=8, channels=(8, 8, 8, 8, 8), style=8))
    batch = Batch(pictures(4))
    loss, figures = task.warm_loss(generator, Prior(), batch, task.defaults, torch.Generator().manual_seed(0))
    assert figures["divergence"] == 0
    assert loss == figures["error"]


class Echo(SpectoGAN):
    """A generator of two labels and three voices that makes silence and keeps what it was asked for."""

    def __init__(self) -> None:
        voices = ("ann", "bob", "eve")
        super().__init__(SpectoGAN.Config(labels=("0", "1"), voices=voices, latent=8, channels=(8,) * 5, style=8))

    def forward(self, z: Tensor, condition: Tensor | None = None, *_: Any) -> Tensor:
        self.z, self.asked = z, condition
        return torch.full((len(z), *SHAPE), -1.0)


def test_generated_items_speak_in_the_voices_of_the_real_ones_that_the_critic_compares_them_with() -> None:
    generator, n = Echo(), 4096
    voice, label = torch.arange(n) % 3, torch.arange(n) % 2
    condition = of_kinds(torch.eye(2)[label], torch.eye(3)[voice])
    z = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    SpectoTask().fake_view(generator, z, condition, torch.Generator())
    assert generator.asked is not None
    assert torch.equal(generator.asked, torch.eye(2)[label])
    assert torch.equal(generator.z[:, :3].argmax(1), voice)
    # For each latent the numbers are the same in another order: with every voice as often, the prior is kept.
    torch.testing.assert_close(generator.z.sort(1).values, z.sort(1).values)
    assert torch.equal(generator.z[:, 3:], z[:, 3:])
    others = generator.z[:, :3][torch.arange(3) != voice[:, None]]
    assert abs(float(generator.z[:, :3].mean())) < 0.03
    assert float(others.mean()) == pytest.approx(-0.423, abs=0.03)  # a half of minus the mean of the largest of three


def test_where_the_data_are_of_a_stranger_latents_choose_the_voice() -> None:
    generator, z = Echo(), torch.randn(5, 8)
    condition = of_kinds(torch.eye(2)[[0, 1, 0, 1, 0]], torch.full((1, 3), 1 / 3))
    SpectoTask().fake_view(generator, z, condition, torch.Generator())
    assert torch.equal(generator.z, z)


def test_the_critic_sees_how_four_of_a_kind_differ() -> None:
    alike, different = pictures(1).expand(4, *SHAPE), pictures(4)
    seen = SpectoTask().real_view(Batch(torch.cat([alike, different])), None, torch.Generator())
    assert seen.shape == (8, 2, 64, 64)
    torch.testing.assert_close(seen[:4, 1], torch.full((4, 64, 64), 0.01))  # the smallest that is told from none
    expected = (different.var(0, correction=0) + 1e-4).sqrt()
    torch.testing.assert_close(seen[4:, 1:], expected.expand(4, *SHAPE))


def test_those_that_are_compared_are_of_one_kind_and_every_recording_is_drawn_as_often() -> None:
    kind = torch.tensor([0] * 30 + [1] * 10)
    tensors = {"x": torch.zeros(40, *SHAPE), "condition": torch.eye(2)[kind]}
    index = SpectoTask().draw(tensors, 40_000, torch.Generator().manual_seed(0))
    groups = kind[index].unflatten(0, (-1, 4))
    assert torch.equal(groups.amin(1), groups.amax(1))
    assert index.bincount().tolist() == pytest.approx([1000] * 40, rel=0.2)


def test_the_encoder_gives_a_mean_and_a_variance_for_each_number_of_the_latent() -> None:
    assert Encoder(SHAPE, latent=8)(pictures(2)).shape == (2, 16)

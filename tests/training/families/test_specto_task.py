"""The task of SpectoGAN; the training loop itself is tested in test_loop."""

import torch
from torch import Tensor, nn

from explorer.generators.spectogan import SpectoGAN
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


def test_the_encoder_gives_a_mean_and_a_variance_for_each_number_of_the_latent() -> None:
    assert Encoder(SHAPE, latent=8)(pictures(2)).shape == (2, 16)

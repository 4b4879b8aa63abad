"""What networks of several families share: first weights, a halving block, a conditional critic, a VAE's posterior, and
groups of one kind, whose items a critic compares."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.parallel import local_rows, randn, world_size

SLOPE = 0.2  # negative slope of the leaky ReLUs in the critics
GROUP = 4  # consecutive items of one kind that a critic compares


def he_normal(network: nn.Module) -> None:
    """Draws weights from He et al.'s normal distribution (2015, arXiv:1502.01852) and sets biases to 0.

    PyTorch's default shrinks a signal to some 0.6 in each layer. After ten layers the difference between two items is
    then smaller than bfloat16 can resolve beside the biases, and a critic without normalisation learns nothing.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class DownBlock(nn.Module):
    """A residual block of two 3x3 convolutions that halves height and width."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(before, before, 3, padding=1)
        self.conv_2 = nn.Conv2d(before, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_1(F.leaky_relu(x, 0.2))
        h = F.avg_pool2d(self.conv_2(F.leaky_relu(h, 0.2)), 2)
        return (h + self.skip(F.avg_pool2d(x, 2))) * 0.7071  # 1 / sqrt(2) keeps the variance


class ConditionalCritic(nn.Module):
    """Scores how real an item is for its label, and classifies its label.

    A projection critic (Miyato and Koyama, 2018, arXiv:1802.05637) with an auxiliary classifier (Odena et al., 2017,
    arXiv:1610.09585).

    Args:
        trunk: views (batch, ...) -> features (batch, width).
        classes: the number of labels; 0 without.
    """

    def __init__(self, trunk: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.score = nn.Linear(width, 1)
        self.projection = nn.Linear(classes, width, bias=False) if classes else None
        self.classify = nn.Linear(width, classes) if classes else None
        he_normal(self)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Views (batch, ...), one-hot labels (batch, classes) -> scores (batch,), logits (batch, classes) or None."""
        h = self.trunk(x)
        score = self.score(h)[:, 0]
        if self.projection is None or self.classify is None or condition is None:
            return score, None
        return score + (self.projection(condition) * h).sum(1), self.classify(h)


def posterior(encoded: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws latents from an encoder's normal distributions (Kingma and Welling, 2014, arXiv:1312.6114).

    Args:
        encoded: (batch, 2 * latent), mean and log-variance.
    Returns:
        Latents (batch, latent), and the mean KL divergence from a standard normal prior, in nats for each item.
    """
    mean, log_variance = encoded.float().chunk(2, dim=1)
    noise = randn(mean.shape, rng)
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
    return mean + noise * (log_variance / 2).exp(), divergence


def draw_groups(condition: Tensor, weight: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draws indices (n,) of items in groups of `GROUP` that have the same condition; single ones if n is no multiple.

    Args:
        condition: (items, kinds), one-hot or shares.
        weight: (items,), how often an item is drawn.
    """
    total = n * world_size()
    if n % GROUP:
        return local_rows(torch.multinomial(weight, total, replacement=True, generator=rng))
    first = torch.multinomial(weight, total // GROUP, replacement=True, generator=rng)
    same = condition[first] @ condition.T
    return local_rows(torch.multinomial(same * weight, GROUP, replacement=True, generator=rng).flatten())


def group_variance(x: Tensor) -> Tensor:
    """The variance of each number within groups of `GROUP` consecutive items, of the shape of x (batch, ...).

    A critic that sees one item at a time hardly minds if all of one kind are alike (minibatch standard deviation,
    Karras et al., 2018, arXiv:1710.10196). A batch that holds no whole number of groups is one group.
    """
    size = len(x) if len(x) % GROUP else GROUP
    return x.unflatten(0, (-1, size)).var(1, unbiased=False).repeat_interleave(size, dim=0)

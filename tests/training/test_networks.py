"""How networks without norms start."""

import pytest
import torch
from torch import nn

from training.networks import he_normal


@pytest.mark.parametrize(
    ("layer", "inputs"), [(nn.Linear(400, 900), 400), (nn.Conv1d(16, 900, 25), 400), (nn.Conv2d(16, 900, 5), 400)]
)
def test_weights_have_the_spread_that_keeps_a_signal_and_biases_are_zero(
    layer: nn.Linear | nn.Conv1d | nn.Conv2d, inputs: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        he_normal(layer)
    # He et al. (2015), equation 15: the variance is 2 / ((1 + a^2) inputs)
    assert float(layer.weight.detach().std()) == pytest.approx((2 / (1 + 0.2**2) / inputs) ** 0.5, rel=0.01)
    assert layer.bias is not None
    assert not layer.bias.any()

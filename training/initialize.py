"""Weight initialisation for networks without normalisation layers."""

from torch import nn

SLOPE = 0.2  # negative slope of the leaky ReLUs in the critics


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

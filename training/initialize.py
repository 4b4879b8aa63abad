"""How networks without norms start, so that signals neither die out nor blow up on their way through them."""

from torch import nn

SLOPE = 0.2  # of the leaky rectifiers that the critics use


def he_normal(network: nn.Module) -> None:
    """Draws weights from He et al.'s normal distribution (2015, arXiv:1502.01852) and sets biases to 0.

    PyTorch's own start shrinks a signal to some 0.6 a layer. After ten layers what tells two items apart is then
    smaller than a bfloat16 can resolve beside the biases, and a critic without norms learns nothing.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

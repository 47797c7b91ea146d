"""Linear layers with a fixed start."""

from torch import nn


def zero_linear(width: int, outputs: int) -> nn.Linear:
    """A zero-initialised linear layer."""
    layer = nn.Linear(width, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

"""Encoder of the current step: the direct path from today's features to the state."""

from torch import Tensor, nn

BLOCKS = 2
"""Residual blocks; two find feature interactions that one misses."""


class ResidualBlock(nn.Module):
    """`x + W2 dropout(gelu(W1 norm(x)))`, twice as wide inside.

    Shapes:
        `[samples, width]` -> the same.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.inside(x)
        return output


class SnapshotEncoder(nn.Module):
    """Today's features through a residual network: `norm(block(block(W dropout(x))))`.

    On tabular features trees are hard to beat; a residual network with dropout on the features comes closest
    (Gorishniy et al., 2021, "Revisiting Deep Learning Models for Tabular Data", eq. 2).

    Args:
        num_features: features of a step.
        width: of the blocks; may be large, because they run once per sample.
        dropout: share dropped inside the blocks, and at most 0.2 of the features.

    Shapes:
        x `[samples, features]` in standard deviations -> `[samples, width]`.
    """

    def __init__(self, num_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(min(dropout, 0.2)),
            nn.Linear(num_features, width),
            *(ResidualBlock(width, dropout) for _ in range(BLOCKS)),
            nn.LayerNorm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.layers(x)
        return encoded

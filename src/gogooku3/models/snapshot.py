"""What the current step alone says: the direct path from today's features to the state."""

import torch
from torch import Tensor, nn

KNOTS = (-3.0, -1.5, -0.8, -0.4, -0.15, 0.0, 0.15, 0.4, 0.8, 1.5, 3.0)
"""Borders of the pieces, in standard deviations of the day's cross-section: finer where stocks crowd."""


class SnapshotEncoder(nn.Module):
    """Today's features, each cut into pieces of its own, so that steps and thresholds are easy to learn.

    Trees owe their strength on tables to thresholds; a piecewise-linear encoding gives a network the same
    (Gorishniy, Rubachev and Babenko, 2022, "On Embeddings for Numerical Features in Tabular Deep Learning",
    eq. 1-2): a value becomes, piece by piece, how far it has passed that piece, 0 to 1, less what the day's
    mean has, so that a missing value says nothing. The plain value goes along.

    Args:
        num_features: features of a step.
        hidden_dim: width of the state.
        dropout: share dropped of the pieces' sum and of the hidden layer.

    Shapes:
        x `[samples, features]` in standard deviations -> `[samples, hidden]`.
    """

    low: Tensor
    width: Tensor
    mean: Tensor

    def __init__(self, num_features: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        knots = torch.tensor(KNOTS)
        self.register_buffer("low", knots[:-1], persistent=False)
        self.register_buffer("width", knots.diff(), persistent=False)
        self.register_buffer("mean", (-self.low / self.width).clamp(0, 1), persistent=False)
        self.pieces = nn.Linear(num_features * (len(KNOTS) - 1), hidden_dim)
        self.plain = nn.Linear(num_features, hidden_dim, bias=False)
        self.mix = nn.Sequential(
            nn.LayerNorm(hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        passed = ((x[:, :, None] - self.low) / self.width).clamp(0, 1) - self.mean
        encoded: Tensor = self.mix(self.pieces(passed.flatten(1)) + self.plain(x))
        return encoded

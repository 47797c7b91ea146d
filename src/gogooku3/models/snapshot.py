"""Snapshot: a residual network on today's features and their ranks, without windows or neighbours."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gogooku3.models.linear_layers import zero_linear

BLOCKS = 2
"""Residual blocks; two find feature interactions that one misses."""
BINS = 8
"""Bins of a feature's rank."""
MAX_FEATURE_DROPOUT = 0.1
"""Largest share of features dropped in training; more of it loses signal."""


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


class SnapshotNetwork(nn.Module):
    """Today's features through a residual network: `W norm(block(block(V [x, bins(rank)])))`.

    Each feature enters as its standardised value and as a piecewise-linear encoding of its rank in the day:
    `bin_b = clip(8 rank - b, 0, 1) - 1/2` for b = 0 .. 7 (Gorishniy et al., 2022, "On Embeddings for
    Numerical Features in Tabular Deep Learning", eq. 1, with the day's quantiles as borders). Trees are hard
    to beat on tabular features because they cut at thresholds, and the bins let a network do so. Otherwise a
    residual network comes closest to trees (Gorishniy et al., 2021, "Revisiting Deep Learning Models for
    Tabular Data", eq. 2). The last layer is 0 at initialisation.

    Args:
        num_features: features of a day.
        width: of the blocks.
        outputs: horizons.
        dropout: share dropped inside the blocks, and at most `MAX_FEATURE_DROPOUT` of the features.

    Shapes:
        x `[samples, features]` in standard deviations, ranks `[samples, features]` from 0 to 1
        -> `[samples, outputs]`.
    """

    def __init__(self, num_features: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.feature_dropout = min(dropout, MAX_FEATURE_DROPOUT)
        self.first = nn.Linear(num_features * (1 + BINS), width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, dropout) for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(width)
        self.last = zero_linear(width, outputs)

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        return self.predict(self.encode(x, ranks))

    def encode(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Values and bins `[samples, features x 9]`; dropout takes a feature's value and bins together."""
        bins = torch.arange(BINS, device=x.device, dtype=x.dtype)
        encoded = (BINS * ranks[:, :, None] - bins).clamp(0, 1) - 0.5
        if self.training:
            kept = functional.dropout(torch.ones_like(x), self.feature_dropout)
            x, encoded = x * kept, encoded * kept[:, :, None]
        return torch.cat([x, encoded.flatten(1)], dim=1)

    def predict(self, encoded: Tensor) -> Tensor:
        """Output `[samples, outputs]` for what `encode` returns."""
        state = self.blocks(self.first(encoded))
        # Full precision: bfloat16 rounding would create ties in a day's ranking.
        with torch.autocast(state.device.type, enabled=False):
            output: Tensor = self.last(self.norm(state.to(self.last.weight.dtype)))
        return output


class SnapshotByHorizon(nn.Module):
    """One snapshot network per horizon, each 0 until `keep` sets its weights.

    Args:
        num_features, width, dropout: of each network.
        horizons: trading days ahead.

    Shapes:
        as of `SnapshotNetwork`, with one output per horizon.
    """

    def __init__(self, num_features: int, width: int, horizons: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.settings = (num_features, width, len(horizons), dropout)
        self.networks = nn.ModuleList(SnapshotNetwork(num_features, width, 1, dropout) for _ in horizons)

    def forward(self, x: Tensor, ranks: Tensor) -> Tensor:
        networks = cast(Sequence[SnapshotNetwork], self.networks)
        encoded = networks[0].encode(x, ranks)
        return torch.cat([network.predict(encoded) for network in networks], dim=1)

    def new_learner(self) -> SnapshotNetwork:
        """A new network that learns all horizons together."""
        return SnapshotNetwork(*self.settings)

    def keep(self, position: int, weights: Mapping[str, Tensor], scale: float = 1.0) -> None:
        """Set the network of one horizon, by position, to a learner's weights, its output times `scale`."""
        own = {
            name: scale * tensor[position : position + 1] if name.startswith("last.") else tensor
            for name, tensor in weights.items()
        }
        self.networks[position].load_state_dict(own)


def ranks_within(x: Tensor, groups: Tensor) -> Tensor:
    """Average rank of each feature within its group, from 0 to 1; 1/2 in a group of one.

    Shapes:
        x `[samples, features]`, groups int `[samples]` -> `[samples, features]`.

    >>> ranks_within(torch.tensor([[1.0], [3.0], [3.0]]), torch.tensor([0, 0, 0])).flatten().tolist()
    [0.0, 0.75, 0.75]
    """
    ranks = torch.full_like(x, 0.5)
    for group in groups.unique():
        rows = torch.nonzero(groups == group).flatten()
        if len(rows) > 1:
            values = x.index_select(0, rows).t().contiguous()
            ordered = values.sort(dim=1).values
            below = torch.searchsorted(ordered, values)
            not_above = torch.searchsorted(ordered, values, right=True)
            ranks[rows] = ((below + not_above - 1).t() / (2 * (len(rows) - 1))).to(x.dtype)
    return ranks

"""Inputs of a small network."""

from collections.abc import Callable

import pytest
import torch

from gogooku3.models.atft_gat_fan import ModelInputs
from gogooku3.models.graph_attention import Neighbours

MakeInputs = Callable[..., ModelInputs]


def _make_inputs(series: int = 6, days: int = 1, steps: int = 10, market_dim: int = 0) -> ModelInputs:
    """Stretches of 5 features with absent steps; three neighbours per sample, some negative or invalid."""
    generator = torch.Generator().manual_seed(2)
    samples = series * days
    mask = torch.rand(series, steps, generator=generator) < 0.8
    mask[:, steps - days :] = True
    x = torch.randn(series, steps, 5, generator=generator) * mask[:, :, None]
    position = torch.arange(samples)
    hops = torch.stack([torch.randperm(series - 1, generator=generator)[:3] + 1 for _ in range(samples)])
    index = (position[:, None] + days * hops) % samples
    weight = 2 * torch.rand(samples, 3, generator=generator) - 1
    valid = torch.rand(samples, 3, generator=generator) < 0.8
    market = torch.randn(days, market_dim, generator=generator) if market_dim else None
    ranks = torch.rand(samples, 5, generator=generator)
    return ModelInputs(x, mask, position % days, Neighbours(index, weight, valid), market, ranks, days)


@pytest.fixture(scope="session")
def make_inputs() -> MakeInputs:
    return _make_inputs

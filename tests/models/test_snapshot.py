"""The snapshot: bins and ranks by hand, a scalar twin, its dropout, and one network per horizon."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from gogooku3.models.snapshot import (
    BINS,
    BLOCKS,
    ResidualBlock,
    SnapshotByHorizon,
    SnapshotNetwork,
    ranks_within,
)


def network(features: int = 3, width: int = 8, outputs: int = 2, dropout: float = 0.0) -> SnapshotNetwork:
    """A network with random weights, including the norms and the last layer."""
    made = SnapshotNetwork(features, width, outputs, dropout)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def normed(values: list[float], norm: nn.LayerNorm) -> list[float]:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values) + norm.eps)
    scale, shift = norm.weight.tolist(), norm.bias.tolist()
    return [s * (v - mean) / deviation + b for v, s, b in zip(values, scale, shift, strict=True)]


def passed(values: list[float], linear: nn.Linear) -> list[float]:
    weights, bias = linear.weight.tolist(), linear.bias.tolist()
    return [
        b + sum(w * v for w, v in zip(row, values, strict=True)) for row, b in zip(weights, bias, strict=True)
    ]


def twin(values: list[float], ranks: list[float], made: SnapshotNetwork) -> list[float]:
    """One sample through the network, number by number."""
    bins = [min(max(8 * rank - number, 0), 1) - 0.5 for rank in ranks for number in range(8)]
    state = passed(values + bins, made.first)
    for block in made.blocks:
        norm, widen, _, _, narrow = block.inside
        wide = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in passed(normed(state, norm), widen)]
        state = [old + new for old, new in zip(state, passed(wide, narrow), strict=True)]
    return passed(normed(state, made.norm), made.last)


def test_a_block_by_hand() -> None:
    """norm((3, 1)) = (1, -1); only the first number passes, as gelu(1) = 0.8413."""
    block = ResidualBlock(2, dropout=0.0)
    _, widen, _, _, narrow = block.inside
    with torch.no_grad():
        for parameter in (widen.weight, widen.bias, narrow.weight, narrow.bias):
            parameter.zero_()
        widen.weight[0, 0] = 1.0
        narrow.weight[1, 0] = 10.0
    found = block(torch.tensor([[3.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[3.0, 1.0 + 8.413]]), atol=1e-3, rtol=0)


def test_values_and_bins_by_hand() -> None:
    """A rank of 0.3 fills two bins of eight and 0.4 of the third."""
    encoded = network(features=2).encode(torch.tensor([[7.0, -2.0]]), torch.tensor([[0.3, 1.0]]))
    expected = [7.0, -2.0, 0.5, 0.5, -0.1, *[-0.5] * 5, *[0.5] * 8]
    torch.testing.assert_close(encoded, torch.tensor([expected]), atol=1e-6, rtol=0)


def test_it_equals_a_scalar_twin() -> None:
    made, x, ranks = network(), 2 * torch.randn(6, 3), torch.rand(6, 3)
    assert len(made.blocks) == BLOCKS == 2
    expected = torch.tensor([twin(*sample, made) for sample in zip(x.tolist(), ranks.tolist(), strict=True)])
    torch.testing.assert_close(made(x, ranks), expected, atol=1e-4, rtol=1e-4)


def test_it_is_zero_at_first_and_the_gradient_reaches_every_weight() -> None:
    x, ranks = torch.randn(5, 3), torch.rand(5, 3)
    assert torch.equal(SnapshotNetwork(3, 8, 2, 0.1)(x, ranks), torch.zeros(5, 2))
    assert torch.equal(SnapshotByHorizon(3, 8, [1, 5], 0.1)(x, ranks), torch.zeros(5, 2))
    made = network()
    (made(x, ranks) * torch.randn(5, 2)).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def learned(label: Tensor, x: Tensor) -> float:
    """Share of a label's variance that the network explains after 100 steps."""
    model, ranks = SnapshotNetwork(x.shape[1], 16, 1, 0.0), ranks_within(x, torch.zeros(len(x)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = functional.mse_loss(model(x, ranks), label)
        loss.backward()
        optimiser.step()
    return 1 - loss.item() / label.var().item()


def test_an_interaction_and_a_threshold_are_learned() -> None:
    x = torch.randn(512, 4)
    assert learned(x[:, :1] * x[:, 1:2], x) > 0.9
    assert learned((x[:, 2:3] > 0.5).float(), x) > 0.9


@pytest.mark.parametrize(("dropout", "share"), [(0.0, 0.0), (0.05, 0.05), (0.3, 0.1)])
def test_at_most_a_tenth_of_the_features_is_dropped_in_training_with_their_bins(
    dropout: float, share: float
) -> None:
    made, x, ranks = network(100, dropout=dropout), torch.ones(200, 100), torch.ones(200, 100)
    values, bins = made.train().encode(x, ranks).split([100, 100 * BINS], dim=1)
    assert (values == 0).float().mean().item() == pytest.approx(share, abs=0.02)
    assert values.mean().item() == pytest.approx(1, abs=0.03), "the remaining features are scaled up"
    assert torch.equal(bins.view(200, 100, BINS), 0.5 * values[:, :, None].expand(-1, -1, BINS))
    assert (made.eval().encode(x, ranks)[:, :100] == 1).all()


def test_keep_sets_one_horizons_network_to_the_learners_weights() -> None:
    whole, x, ranks = SnapshotByHorizon(3, 8, [1, 5, 10], 0.1).eval(), torch.randn(5, 3), torch.rand(5, 3)
    learner = whole.new_learner().eval()
    for parameter in learner.parameters():
        nn.init.normal_(parameter)
    weights = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    whole.keep(1, weights)
    expected = learner(x, ranks)[:, 1]
    with torch.no_grad():
        learner.first.weight.add_(1)
    found = whole(x, ranks)
    torch.testing.assert_close(found[:, 1], expected)
    assert (found[:, [0, 2]] == 0).all()
    whole.keep(2, weights)
    assert torch.equal(whole(x, ranks)[:, 1], found[:, 1])


def test_bfloat16_makes_no_ties() -> None:
    made, x, ranks = network(outputs=1), torch.randn(2000, 3), torch.rand(2000, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(x, ranks)
    assert found.dtype == torch.float32 and len(found.unique()) > 1900


# --- ranks -------------------------------------------------------------------------------------------------


def test_ranks_by_hand() -> None:
    """Two groups of three and two samples, with ties, and a group of one."""
    x = torch.tensor([[1.0, 5.0], [0.0, 9.0], [3.0, 5.0], [7.0, 9.0], [3.0, 5.0], [2.0, 2.0]])
    groups = torch.tensor([4, 0, 4, 0, 4, 1])
    expected = [[0, 0.5], [0, 0.5], [0.75, 0.5], [1, 0.5], [0.75, 0.5], [0.5, 0.5]]
    assert ranks_within(x, groups).tolist() == expected


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), samples=st.integers(2, 30), groups=st.integers(1, 4))
def test_ranks_equal_scipys_within_each_group(seed: int, samples: int, groups: int) -> None:
    random = np.random.default_rng(seed)
    x, group = random.integers(0, 9, (samples, 3)).astype(np.float32), random.integers(0, groups, samples)
    ranks = ranks_within(torch.from_numpy(x), torch.from_numpy(group)).numpy()
    for number in np.unique(group):
        own = x[group == number]
        expected = (rankdata(own, axis=0) - 1) / (len(own) - 1) if len(own) > 1 else np.full((1, 3), 0.5)
        np.testing.assert_allclose(ranks[group == number], expected, atol=1e-6)

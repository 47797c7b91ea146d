"""The encoder of today's features: by hand, against a scalar twin, and its dropout."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.snapshot import BLOCKS, ResidualBlock, SnapshotEncoder


def encoder(features: int = 3, width: int = 8, dropout: float = 0.0) -> SnapshotEncoder:
    """An encoder with random weights, including the norms."""
    made = SnapshotEncoder(features, width, dropout)
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


def twin(sample: list[float], made: SnapshotEncoder) -> list[float]:
    """One sample through the encoder, number by number."""
    _, first, *blocks, last = made.layers
    assert isinstance(first, nn.Linear) and isinstance(last, nn.LayerNorm)
    state = passed(sample, first)
    for block in blocks:
        assert isinstance(block, ResidualBlock)
        norm, widen, _, _, narrow = block.inside
        assert (
            isinstance(norm, nn.LayerNorm) and isinstance(widen, nn.Linear) and isinstance(narrow, nn.Linear)
        )
        wide = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in passed(normed(state, norm), widen)]
        state = [old + new for old, new in zip(state, passed(wide, narrow), strict=True)]
    return normed(state, last)


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


def test_a_block_is_residual() -> None:
    block, x = ResidualBlock(4, dropout=0.0), torch.randn(5, 4)
    nn.init.zeros_(block.inside[-1].weight)
    nn.init.zeros_(block.inside[-1].bias)
    assert torch.equal(block(x), x)


def test_it_equals_a_scalar_twin() -> None:
    made, x = encoder(), 2 * torch.randn(6, 3)
    assert sum(isinstance(layer, ResidualBlock) for layer in made.layers) == BLOCKS == 2
    expected = torch.tensor([twin(sample, made) for sample in x.tolist()])
    torch.testing.assert_close(made(x), expected, atol=1e-4, rtol=1e-4)


def test_every_state_is_standardised_before_it_is_read() -> None:
    state = SnapshotEncoder(5, 32, 0.0)(100 * torch.randn(7, 5))
    torch.testing.assert_close(state.mean(dim=1), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(state.std(dim=1, correction=0), torch.ones(7), atol=1e-3, rtol=0)


def test_samples_are_independent_and_the_gradient_reaches_every_weight() -> None:
    made, x = encoder(), torch.randn(5, 3)
    torch.testing.assert_close(made(x)[2:3], made(x[2:3]))
    (made(x) * torch.randn(5, 8)).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def learned(label: Tensor, x: Tensor) -> float:
    """Share of a label's variance that an encoder and a linear layer explain after 150 steps."""
    torch.manual_seed(0)
    model = nn.Sequential(SnapshotEncoder(x.shape[1], 16, 0.0), nn.Linear(16, 1))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = functional.mse_loss(model(x), label)
        loss.backward()
        optimiser.step()
    return 1 - loss.item() / label.var().item()


def test_an_interaction_and_a_threshold_are_learned() -> None:
    x = torch.randn(512, 4)
    assert learned(x[:, :1] * x[:, 1:2], x) > 0.9
    assert learned((x[:, 2:3] > 0.5).float(), x) > 0.8


@pytest.mark.parametrize(("dropout", "share"), [(0.0, 0.0), (0.1, 0.1), (0.3, 0.2), (0.9, 0.2)])
def test_at_most_a_fifth_of_the_features_is_dropped_in_training(dropout: float, share: float) -> None:
    made = SnapshotEncoder(100, 8, dropout)
    seen: list[Tensor] = []
    made.layers[1].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    made.train()(torch.ones(200, 100))
    assert (seen[0] == 0).float().mean().item() == pytest.approx(share, abs=0.02)
    assert seen[0].mean().item() == pytest.approx(1, abs=0.03), "the remaining features are scaled up"
    made.eval()(torch.ones(2, 100))
    assert (seen[1] == 1).all()


# --- in the network ----------------------------------------------------------------------------------------


def network(**changes: object) -> ATFTGATFANModel:
    torch.manual_seed(0)
    return ATFTGATFANModel(5, 8, 2, 1, [1, 5], sequence_length=6, dropout=0.0, **changes).eval()  # type: ignore[arg-type]


def test_its_width_is_hidden_dim_or_snapshot_dim() -> None:
    assert network().snapshot.layers[1].out_features == 8
    wide = network(snapshot_dim=40)
    assert wide.snapshot.layers[1].out_features == 40
    assert wide.settings["snapshot_dim"] == 40
    again = ATFTGATFANModel(**wide.settings)
    again.load_state_dict(wide.state_dict())
    assert torch.equal(again.eval()(torch.ones(3, 6, 5)), wide(torch.ones(3, 6, 5)))


def test_it_feeds_the_direct_path_and_the_temporal_part() -> None:
    """The direct path depends only on the current step, not on the rest of the window."""
    model, x = network(), torch.randn(7, 6, 5)
    nn.init.normal_(model.direct.weight)
    expected = model.direct(model.snapshot(x[:, -1]))
    torch.testing.assert_close(model(x), expected)
    past = torch.cat([torch.randn(7, 5, 5), x[:, -1:]], dim=1)
    torch.testing.assert_close(model(past), expected)
    nn.init.zeros_(model.direct.weight)
    for head in model.heads.values():
        nn.init.normal_(head[-1].weight)
    before = model(x)
    nn.init.zeros_(model.temporal.today.weight)
    assert not torch.allclose(model(x), before)

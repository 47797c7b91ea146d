"""Each part of the network can be switched off; the others stay and everything still runs."""

from collections.abc import Callable

import pytest
import torch
from networks import random_network

from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelInputs

STOCKS, MARKET = 6, 3
SWITCHES = {
    "use_frequency_norm": ("frequency.",),
    "use_temporal_attention": ("temporal.temporal_attention.", "temporal.regime.sharpness."),
    "use_graph_attention": ("graph.", "graph_norm.", "graph_output."),
    "use_regime": ("temporal.regime.",),
}
"""Switch -> prefixes of its parameters."""

each_switch = pytest.mark.parametrize("switch", SWITCHES)


def network(**changes: object) -> ATFTGATFANModel:
    return random_network(market_dim=MARKET, **changes)


@pytest.fixture
def inputs(make_inputs: Callable[..., ModelInputs]) -> ModelInputs:
    return make_inputs(STOCKS, 2, market_dim=MARKET)


@each_switch
def test_switching_a_part_off_removes_only_its_parameters_and_its_effect(
    switch: str, inputs: ModelInputs
) -> None:
    whole, without = network(), network(**{switch: False})
    names = {name for name, _ in whole.named_parameters()}
    left = {name for name, _ in without.named_parameters()}
    assert names - left == {name for name in names if name.startswith(SWITCHES[switch])}
    assert left < names
    without.load_state_dict(whole.state_dict(), strict=False)
    assert not torch.allclose(whole(*inputs), without(*inputs), atol=1e-3)


@each_switch
def test_without_a_part_the_network_predicts_explains_learns_and_is_rebuilt(
    switch: str, inputs: ModelInputs, make_inputs: Callable[..., ModelInputs]
) -> None:
    model = network(**{switch: False})
    predictions = model(*inputs)
    predictions.square().sum().backward()
    assert predictions.shape == (2 * STOCKS, 2) and predictions.isfinite().all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    again = ATFTGATFANModel(**model.settings)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(*inputs), predictions)
    day = make_inputs(STOCKS, market_dim=MARKET)
    output = model.explain(*day[:6])
    torch.testing.assert_close(output.predictions, model(*day))
    layers = 0 if switch == "use_temporal_attention" else 2
    assert output.temporal_attention.shape == (STOCKS, layers, 2, 8)
    neighbours = 0 if switch == "use_graph_attention" else 3
    assert output.graph_attention.shape == (STOCKS, 2, 1 + neighbours)
    torch.testing.assert_close(output.graph_attention.sum(dim=-1), torch.ones(STOCKS, 2))


def test_all_parts_may_be_off_at_once(inputs: ModelInputs) -> None:
    model = network(**dict.fromkeys(SWITCHES, False))
    alone = inputs._replace(day_index=None, neighbours=None, market=None)
    assert torch.equal(model(*alone), model(*inputs)), "day, market and graph have no effect"
    assert (
        model.explain(*inputs._replace(day_index=None, neighbours=None)[:5]).temporal_attention.numel() == 0
    )

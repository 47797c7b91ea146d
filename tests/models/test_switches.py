"""Each part of the network can be switched off; the others stay and everything still runs."""

import pytest
import torch
from networks import random_network
from torch import Tensor

from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.graph_attention import Neighbours

STOCKS, STEPS, FEATURES, HIDDEN, HEADS, LAYERS, MARKET = 6, 8, 5, 16, 2, 2, 3
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


def inputs(days: int = 1) -> dict[str, Tensor | Neighbours | int]:
    """Windows of six stocks per day, each with the next one as neighbour, and the market's state."""
    samples = days * STOCKS
    mask = torch.rand(samples, STEPS) < 0.8
    mask[:, -1] = True
    day = torch.arange(days).repeat_interleave(STOCKS)
    ring = (torch.arange(samples) + 1 - STOCKS * ((torch.arange(samples) + 1) % STOCKS == 0))[:, None]
    return {
        "x": torch.randn(samples, STEPS, FEATURES) * mask[:, :, None],
        "step_mask": mask,
        "day_index": day,
        "neighbours": Neighbours(
            ring, torch.where(ring % 2 == 0, -0.5, 0.5), torch.ones_like(ring, dtype=bool)
        ),
        "n_days": days,
        "market": torch.randn(days, MARKET),
    }


def names(model: ATFTGATFANModel) -> set[str]:
    return {name for name, _ in model.named_parameters()}


@each_switch
def test_switching_a_part_off_removes_only_its_parameters(switch: str) -> None:
    whole, without = names(network()), names(network(**{switch: False}))
    gone = {name for name in whole if name.startswith(SWITCHES[switch])}
    assert gone
    assert whole - without == gone
    assert without <= whole


@each_switch
def test_without_a_part_the_network_predicts_explains_and_learns(switch: str) -> None:
    model, given = network(**{switch: False}), inputs(days=2)
    predictions = model(**given)
    assert predictions.shape == (2 * STOCKS, 2) and predictions.isfinite().all()
    output = model.explain(**given)
    torch.testing.assert_close(output.predictions, predictions)
    layers = 0 if switch == "use_temporal_attention" else LAYERS
    assert output.temporal_attention.shape == (2 * STOCKS, layers, HEADS, STEPS)
    neighbours = 0 if switch == "use_graph_attention" else 1
    assert output.graph_attention.shape == (2 * STOCKS, HEADS, 1 + neighbours)
    torch.testing.assert_close(output.graph_attention.sum(dim=-1), torch.ones(2 * STOCKS, HEADS))
    torch.testing.assert_close(output.feature_importance.sum(dim=1), torch.ones(2 * STOCKS))
    predictions.square().sum().backward()
    without_gradient = [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert without_gradient == []


@each_switch
def test_every_part_changes_the_predictions(switch: str) -> None:
    """The same weights with and without it predict differently."""
    whole, without, given = network(), network(**{switch: False}), inputs()
    without.load_state_dict(whole.state_dict(), strict=False)
    assert not torch.allclose(whole(**given), without(**given), atol=1e-3)


@each_switch
def test_without_a_part_other_days_still_change_no_prediction(switch: str) -> None:
    model, given = network(**{switch: False}), inputs(days=2)
    both = model(**given)
    first = {**given, "n_days": 1, "market": given["market"][:1]}
    first["neighbours"] = Neighbours(*(part[:STOCKS] for part in given["neighbours"]))
    first |= {name: given[name][:STOCKS] for name in ("x", "step_mask", "day_index")}
    torch.testing.assert_close(model(**first), both[:STOCKS], atol=1e-6, rtol=1e-6)


@each_switch
def test_without_a_part_the_network_is_rebuilt_from_settings_and_weights(switch: str) -> None:
    model, given = network(**{switch: False}), inputs()
    again = ATFTGATFANModel(**model.settings)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(**given), model(**given))


def test_all_parts_may_be_off_at_once() -> None:
    model = network(**dict.fromkeys(SWITCHES, False))
    given = inputs()
    assert model(**given).isfinite().all()
    windows = {name: given[name] for name in ("x", "step_mask")}
    assert torch.equal(model(**windows), model(**given)), "day, market and graph have no effect"
    output = model.explain(**given)
    assert output.temporal_attention.numel() == 0


def test_without_the_graph_neighbours_have_no_effect() -> None:
    """The regime is off too, because it also links the stocks of a day."""
    for graph, changes in ((True, True), (False, False)):
        model, given = network(use_graph_attention=graph, use_regime=False), inputs()
        before = model(**given)[0]
        given["x"][1] *= -1
        assert torch.equal(model(**given)[0], before) != changes


def test_the_market_changes_predictions_and_unknown_means_zeros() -> None:
    model, given = network(), inputs(days=2)
    before = model(**given)
    unknown = model(**{**given, "market": None})
    assert torch.equal(unknown, model(**{**given, "market": torch.zeros(2, MARKET)}))
    moved = given["market"].clone()
    moved[1] += 1
    after = model(**{**given, "market": moved})
    assert torch.equal(after[:STOCKS], before[:STOCKS]), "another day's market does not matter"
    assert not torch.allclose(after[STOCKS:], before[STOCKS:])
    without_regime = network(use_regime=False)
    assert torch.equal(without_regime(**given), without_regime(**{**given, "market": None}))


@pytest.mark.parametrize("market_dim", [0, 290])
def test_the_default_network_keeps_to_5_6_million_parameters_with_the_markets_state(market_dim: int) -> None:
    assert 5_550_000 <= ATFTGATFANModel(market_dim=market_dim).n_parameters <= 5_650_000


def test_an_untrained_network_starts_neutral() -> None:
    """FAN, regime and gates are neutral at initialisation."""
    settings = {"input_dim": FEATURES, "hidden_dim": HIDDEN, "num_heads": HEADS, "sequence_length": STEPS}
    whole = ATFTGATFANModel(**settings, market_dim=MARKET).eval()
    plain = ATFTGATFANModel(**settings, use_frequency_norm=False, use_regime=False).eval()
    plain.load_state_dict(whole.state_dict(), strict=False)
    given = inputs()
    torch.testing.assert_close(whole(**given), plain(**given), atol=1e-5, rtol=1e-4)
    assert torch.equal(whole.frequency.gain(given["x"]), torch.ones(STOCKS, 5, FEATURES))

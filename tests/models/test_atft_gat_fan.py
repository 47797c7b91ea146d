"""The network: size, parts of its predictions, invariances, and explanations."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import pytest
import torch
from networks import random_network

from gogooku3.errors import ConfigError
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelInputs
from gogooku3.models.graph_attention import Neighbours
from gogooku3.models.snapshot import ranks_within

STOCKS, LENGTH, STEPS, FEATURES, MARKET = 6, 8, 10, 5, 3

MakeInputs = Callable[..., ModelInputs]


def network(**changes: object) -> ATFTGATFANModel:
    """Random weights in every part, the linear path included, and shares of neither 0 nor 1."""
    model = random_network(**{"market_dim": MARKET, **changes})
    torch.nn.init.normal_(model.linear.weight)
    torch.nn.init.uniform_(model.snapshot_share, 0.3, 0.9)
    torch.nn.init.uniform_(model.windows_share, 0.3, 0.9)
    return model


@pytest.fixture
def day(make_inputs: MakeInputs) -> ModelInputs:
    """Inputs of one day."""
    return make_inputs(STOCKS, market_dim=MARKET)


@pytest.fixture
def three_days(make_inputs: MakeInputs) -> ModelInputs:
    """Inputs whose last three days are predicted."""
    return make_inputs(STOCKS, 3, market_dim=MARKET)


def without_gradient(model: ATFTGATFANModel) -> list[str]:
    return [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


# --- size and shapes ---------------------------------------------------------------------------------------


def test_the_default_network_has_5_6_million_parameters_and_the_documented_shapes() -> None:
    for market_dim in (0, 290):
        assert 5_550_000 <= ATFTGATFANModel(market_dim=market_dim).n_parameters <= 5_650_000
    model, x = ATFTGATFANModel(), torch.randn(3, 60, 145)
    assert model.prediction_horizons == (1, 5, 10, 20)
    assert torch.equal(model.eval()(x), torch.zeros(3, 4)), "every part is 0 before it is fitted"
    output = model.explain(x)
    assert output.temporal_attention.shape == (3, 4, 8, 60)
    assert output.graph_embeddings.shape == (3, 256)
    assert output.contributions.shape == (3, 4, 145)
    assert output.feature_importance.shape == (3, 145) and (output.feature_importance == 0).all()


def test_an_explanation_has_the_documented_shapes_and_its_shares_sum_to_one(day: ModelInputs) -> None:
    output = network().explain(*day[:6])
    assert output.predictions.shape == (STOCKS, 2) and output.predictions.dtype == torch.float32
    assert output.temporal_attention.shape == (STOCKS, 2, 2, LENGTH)
    assert output.feature_importance.shape == (STOCKS, FEATURES)
    assert output.graph_attention.shape == (STOCKS, 2, 4)
    assert output.graph_embeddings.shape == (STOCKS, 16)
    assert output.contributions.shape == (STOCKS, 2, FEATURES)
    for shares in (output.temporal_attention, output.graph_attention, output.feature_importance):
        assert (shares >= 0).all()
        torch.testing.assert_close(shares.sum(dim=-1), torch.ones(shares.shape[:-1]))
    assert (output.temporal_attention.permute(0, 3, 1, 2)[~day.step_mask[:, -LENGTH:]] == 0).all()


def test_three_days_give_one_prediction_per_series_day_and_horizon(three_days: ModelInputs) -> None:
    assert network()(*three_days).shape == (STOCKS * 3, 2)
    assert network(prediction_horizons=[3])(*three_days).shape == (STOCKS * 3, 1)


# --- the prediction ----------------------------------------------------------------------------------------


def test_a_prediction_is_the_linear_path_plus_the_shares_of_snapshot_and_heads(day: ModelInputs) -> None:
    model, today = network(), day.x[:, -1]
    embedding = model.explain(*day[:6]).graph_embeddings
    linear, snapshot = today @ model.linear.weight, model.snapshot(today, day.ranks)
    heads = torch.cat([head(model.heads_norm(embedding)) for head in model.heads.values()], dim=1)
    expected = linear + model.snapshot_share * snapshot + model.windows_share * heads
    torch.testing.assert_close(model(*day), expected)
    model.windows_share.copy_(torch.tensor([0.5, 0.0]))
    model.snapshot_share.copy_(torch.tensor([0.25, 0.0]))
    found = model(*day)
    torch.testing.assert_close(found[:, 0], (linear + 0.25 * snapshot + 0.5 * heads)[:, 0])
    assert torch.equal(found[:, 1], linear[:, 1]), "a share of 0 leaves a part out"


def test_samples_are_ordered_day_by_day_within_a_series(three_days: ModelInputs) -> None:
    """Each of three days equals the prediction of that day from its past, with its neighbours and market."""
    model, given = network(), three_days
    found = model(*given).unflatten(0, (STOCKS, 3))
    for number in range(3):
        own, end = torch.arange(STOCKS) * 3 + number, STEPS - 2 + number
        links = given.neighbours
        neighbours = Neighbours(links.index[own] // 3, links.weight[own], links.valid[own])
        assert (links.index[own] % 3 == number).all()
        single = model(
            *(given.x[:, :end], given.step_mask[:, :end], torch.zeros(STOCKS, dtype=torch.long)),
            *(neighbours, given.market[number : number + 1], given.ranks[own]),
        )
        torch.testing.assert_close(found[:, number], single, atol=1e-5, rtol=1e-4)


def test_nothing_after_a_day_changes_its_predictions(three_days: ModelInputs) -> None:
    """Bit for bit, for features, absent steps, the market, and ranks that are computed."""
    model, given = network(), three_days._replace(ranks=None)
    before = model(*given).unflatten(0, (STOCKS, 3))
    for number in range(2):
        future = STEPS - 2 + number
        x, mask, market = given.x.clone(), given.step_mask.clone(), given.market.clone()
        x[:, future:] = 30 * torch.randn_like(x[:, future:])
        mask[:, future:], market[number + 1 :] = False, 9.0
        after = model(*given._replace(x=x, step_mask=mask, market=market)).unflatten(0, (STOCKS, 3))
        assert torch.equal(after[:, : number + 1], before[:, : number + 1])
        assert not torch.allclose(after[:, -1], before[:, -1])


def test_missing_ranks_are_those_among_the_samples_of_a_day(three_days: ModelInputs) -> None:
    model, given = network(), three_days._replace(ranks=None)
    ranks = ranks_within(given.x[:, -3:].flatten(0, 1), torch.arange(3).repeat(STOCKS))
    expected = model(*given._replace(ranks=ranks))
    for day_index in (given.day_index, None):
        assert torch.equal(model(*given._replace(day_index=day_index)), expected)
    assert not torch.allclose(model(*three_days), expected)


def test_permuting_stocks_permutes_predictions(day: ModelInputs) -> None:
    model, order = network(), torch.randperm(STOCKS)
    position = torch.empty_like(order)
    position[order] = torch.arange(STOCKS)
    index, weight, valid = day.neighbours
    moved = Neighbours(position[index[order]], weight[order], valid[order])
    permuted = model(day.x[order], day.step_mask[order], None, moved, day.market, day.ranks[order])
    torch.testing.assert_close(permuted, model(*day)[order], atol=1e-5, rtol=1e-5)


def test_only_a_neighbour_changes_the_prediction_of_another_stock(day: ModelInputs) -> None:
    model = network()
    before = model(*day)
    moved = model(*day._replace(x=torch.cat([-day.x[:1], day.x[1:]]))) != before
    linked = (day.neighbours.index == 0) & day.neighbours.valid
    assert 1 < linked.any(dim=1).sum() < STOCKS - 1
    assert moved.any(dim=1)[1:].equal(linked.any(dim=1)[1:])
    torch.testing.assert_close(
        model(*day._replace(neighbours=None)), model(*day._replace(neighbours=Neighbours.none(STOCKS)))
    )


def test_the_market_changes_predictions_and_unknown_means_zeros(day: ModelInputs) -> None:
    model = network()
    unknown = model(*day._replace(market=None))
    torch.testing.assert_close(unknown, model(*day._replace(market=torch.zeros(1, MARKET))))
    assert not torch.allclose(unknown, model(*day))
    assert torch.equal(model(*day._replace(day_index=None)), model(*day))


def test_the_standing_graph_serves_the_windows_of_its_stocks(day: ModelInputs) -> None:
    index, weight, valid = (part.numpy() for part in day.neighbours)
    graph = StockGraph(tuple("abcdef"), index, np.where(valid, weight, 0), valid, dt.date(2024, 1, 31))
    model, alone = network(graph_info=graph), day._replace(neighbours=None)
    torch.testing.assert_close(model(*alone), model(*day))
    model.update_graph(StockGraph(graph.codes, index, -graph.weights, valid, graph.as_of))
    later = day._replace(
        neighbours=Neighbours(day.neighbours.index, -day.neighbours.weight, day.neighbours.valid)
    )
    torch.testing.assert_close(model(*alone), model(*later))
    assert not torch.allclose(model(*alone), model(*day))
    with pytest.raises(ValueError, match="standing graph has 6 stocks but 4 samples came"):
        model(day.x[:4])


# --- explanations ------------------------------------------------------------------------------------------


def test_a_feature_that_the_network_does_not_read_has_no_importance(day: ModelInputs) -> None:
    model, unread = network(), [2, 4]
    with torch.no_grad():
        model.frequency.frequency_weights[:, 2] = 0
        model.frequency.scale_network[0].weight[:, unread] = 0
        model.temporal.input_projection.weight[:, 4] = 0
        model.linear.weight[unread] = 0
        for part in model.snapshot.networks:
            part.first.weight[:, unread] = 0
            part.first.weight[:, FEATURES:].unflatten(1, (FEATURES, -1))[:, unread] = 0
    importance = model.explain(*day[:6]).feature_importance
    assert (importance[:, unread] == 0).all()
    assert (importance[:, [0, 1, 3]] > 0).all()


def test_contributions_equal_finite_differences_and_importance_is_their_share(day: ModelInputs) -> None:
    """Central differences of the day's summed predictions: a feature and its rank (from 1/2) +- 0.01 %."""
    model = network().double()
    neighbours = day.neighbours._replace(weight=day.neighbours.weight.double())
    day = day._replace(x=day.x.double(), market=day.market.double(), neighbours=neighbours)
    day = day._replace(ranks=day.ranks.double())
    output = model.explain(*day[:6])
    for feature in range(FEATURES):
        step = torch.zeros(FEATURES, dtype=torch.double)
        step[feature] = 1e-4
        with torch.no_grad():
            more, less = (
                model(*day._replace(x=day.x * scale, ranks=0.5 + (day.ranks - 0.5) * scale)).sum(dim=0)
                for scale in (1 + step, 1 - step)
            )
        gained = (more - less) / 2e-4
        found = output.contributions[:, :, feature].sum(dim=0)
        torch.testing.assert_close(found, gained, atol=5e-3, rtol=5e-3)
    size = output.contributions.abs().sum(dim=1)
    torch.testing.assert_close(output.feature_importance, size / size.sum(dim=1, keepdim=True))
    one = model.explain(*day[:6], [5]).contributions
    torch.testing.assert_close(one[:, 0], output.contributions[:, 1])


def test_explaining_changes_no_prediction_mode_or_gradient(day: ModelInputs) -> None:
    expected = network()(*day)
    for checkpointing in (False, True):
        model = network(gradient_checkpointing=checkpointing)
        model.train()
        with torch.no_grad():
            output = model.explain(*day[:6])
        torch.testing.assert_close(output.predictions, expected)
        assert model.training and not day.x.requires_grad
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not any(part.requires_grad for part in output)


# --- training ----------------------------------------------------------------------------------------------


def test_dropout_is_off_in_evaluation_and_the_gradient_reaches_every_weight(three_days: ModelInputs) -> None:
    model = network()
    assert torch.equal(model(*three_days), model(*three_days))
    model(*three_days).square().sum().backward()
    assert without_gradient(model) == []
    model.train()
    assert not torch.allclose(model(*three_days), model(*three_days))


def test_gradient_checkpointing_with_dropout_gives_the_same_gradients(three_days: ModelInputs) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = network(gradient_checkpointing=checkpointing).train()
        torch.manual_seed(4)
        model(*three_days).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_it_predicts_and_learns_in_bfloat16(three_days: ModelInputs, checkpointing: bool) -> None:
    model = network(gradient_checkpointing=checkpointing)
    exact = model(*three_days)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(*three_days)
    assert found.dtype == torch.float32 and len(found.unique()) == found.numel()
    torch.testing.assert_close(found, exact, atol=0.15, rtol=0.1)
    found.square().sum().backward()
    assert without_gradient(model) == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# --- settings ----------------------------------------------------------------------------------------------


def test_a_network_is_rebuilt_from_its_settings_and_weights(day: ModelInputs) -> None:
    model = network(dropout=0.1, num_frequencies=3, snapshot_dim=40)
    again = ATFTGATFANModel(**model.settings)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(*day), model(*day))
    widths = [each.snapshot.networks[0].first.out_features for each in (again, network())]
    assert widths == [40, 8], "half of hidden_dim by default"


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"hidden_dim": 15}, "hidden_dim is 15 and num_heads 2"),
        ({"hidden_dim": 0}, "hidden_dim is 0"),
        ({"prediction_horizons": []}, "give at least one"),
        ({"prediction_horizons": [5, 5]}, "each once"),
        ({"num_layers": 0}, "num_layers is 0; set it to 1 or more"),
        ({"sequence_length": 1}, "sequence_length is 1; set it to 2 or more"),
    ],
)
def test_wrong_sizes_are_refused_at_construction(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        random_network(**wrong)


def test_stretches_and_features_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=f"expected stretches of at least {LENGTH} steps, got 7"):
        network()(torch.zeros(STOCKS, 7, FEATURES))
    for model in (network(), network(use_frequency_norm=False)):
        for function in (model, model.explain):
            with pytest.raises(ValueError, match=f"expected {FEATURES} features, got 4"):
                function(torch.zeros(STOCKS, LENGTH, 4))

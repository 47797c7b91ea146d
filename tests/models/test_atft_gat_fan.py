"""The network: size, invariances of its predictions, and explanations."""

import datetime as dt

import numpy as np
import pytest
import torch
from networks import random_network
from torch import Tensor

from gogooku3.errors import ConfigError
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.graph_attention import Neighbours

STOCKS, STEPS, FEATURES = 6, 8, 5


def stock_graph(seed: int = 0) -> StockGraph:
    """Three neighbours per stock, some negative, some absent."""
    rng = np.random.default_rng(seed)
    neighbours = np.stack([rng.permutation(np.delete(np.arange(STOCKS), i))[:3] for i in range(STOCKS)])
    valid = rng.random((STOCKS, 3)) < 0.8
    weights = np.where(valid, rng.uniform(-1, 1, (STOCKS, 3)), 0).astype(np.float32)
    codes = tuple(f"{i:04}" for i in range(STOCKS))
    return StockGraph(codes, neighbours, weights, valid, dt.date(2024, 1, 31))


def as_neighbours(graph: StockGraph) -> Neighbours:
    return Neighbours(
        torch.from_numpy(graph.neighbours), torch.from_numpy(graph.weights), torch.from_numpy(graph.valid)
    )


def windows(samples: int = STOCKS, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Windows with absent steps, which are 0; the current step is always present."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, STEPS, FEATURES, generator=generator)
    mask = torch.rand(samples, STEPS, generator=generator) < 0.8
    mask[:, -1] = True
    return x * mask[:, :, None], mask


def two_days(neighbours: Neighbours) -> Neighbours:
    """The same edges on two consecutive days of a batch."""
    return Neighbours(
        torch.cat([neighbours.index, neighbours.index + STOCKS]),
        neighbours.weight.repeat(2, 1),
        neighbours.valid.repeat(2, 1),
    )


def test_the_default_network_has_5_6_million_parameters() -> None:
    model = ATFTGATFANModel()
    assert 5_550_000 <= model.n_parameters <= 5_650_000
    assert model.prediction_horizons == (1, 5, 10, 20)


def test_a_window_gives_one_prediction_per_horizon() -> None:
    x, mask = windows()
    predictions = random_network()(x, mask)
    assert predictions.shape == (STOCKS, 2)
    assert predictions.dtype == torch.float32
    assert random_network(prediction_horizons=[3])(x).shape == (STOCKS, 1)


def test_permuting_stocks_permutes_predictions() -> None:
    model, (x, mask) = random_network(), windows()
    neighbours = as_neighbours(stock_graph())
    predictions = model(x, mask, neighbours=neighbours)
    order = torch.randperm(STOCKS)
    position = torch.empty_like(order)
    position[order] = torch.arange(STOCKS)
    moved = Neighbours(position[neighbours.index[order]], neighbours.weight[order], neighbours.valid[order])
    permuted = model(x[order], mask[order], neighbours=moved)
    torch.testing.assert_close(permuted, predictions[order], atol=1e-6, rtol=1e-5)


def test_other_days_in_the_batch_change_no_prediction() -> None:
    model, (x, mask), (later, later_mask) = random_network(), windows(), windows(seed=3)
    neighbours = as_neighbours(stock_graph())
    single_day = model(x, mask, neighbours=neighbours)
    day = torch.arange(2).repeat_interleave(STOCKS)
    for scale in (1, -20):
        both = model(
            torch.cat([x, scale * later]), torch.cat([mask, later_mask]), day, two_days(neighbours), n_days=2
        )
        torch.testing.assert_close(both[:STOCKS], single_day, atol=1e-6, rtol=0)
    shuffled = torch.randperm(2 * STOCKS)
    no_neighbours = Neighbours.none(2 * STOCKS)
    both = model(torch.cat([x, later]), torch.cat([mask, later_mask]), day, no_neighbours, n_days=2)
    mixed = model(
        torch.cat([x, later])[shuffled],
        torch.cat([mask, later_mask])[shuffled],
        day[shuffled],
        no_neighbours,
        n_days=2,
    )
    torch.testing.assert_close(mixed, both[shuffled], atol=1e-6, rtol=0)


def test_a_neighbour_of_the_same_day_changes_the_prediction() -> None:
    model, (x, mask) = random_network(), windows()
    neighbours = as_neighbours(stock_graph())
    neighbour = int(neighbours.index[0][neighbours.valid[0]][0])
    before = model(x, mask, neighbours=neighbours)[0]
    x[neighbour] *= -1
    assert not torch.allclose(model(x, mask, neighbours=neighbours)[0], before)


def test_without_a_graph_and_with_an_empty_one_predictions_are_equal() -> None:
    model, (x, mask) = random_network(), windows()
    torch.testing.assert_close(model(x, mask), model(x, mask, neighbours=Neighbours.none(STOCKS)))


def test_the_graph_at_construction_serves_the_windows_of_its_stocks() -> None:
    graph, (x, mask) = stock_graph(), windows()
    expected = random_network()(x, mask, neighbours=as_neighbours(graph))
    model = random_network(graph_info=graph)
    torch.testing.assert_close(model(x, mask), expected)
    assert model.graph_info is graph


def test_update_graph_replaces_the_standing_graph() -> None:
    (x, mask), later = windows(), stock_graph(9)
    model = random_network(graph_info=stock_graph())
    before = model(x, mask)
    model.update_graph(later)
    assert model.graph_info is later
    assert not torch.allclose(model(x, mask), before)
    torch.testing.assert_close(model(x, mask), random_network()(x, mask, neighbours=as_neighbours(later)))


def test_a_standing_graph_of_another_size_is_refused() -> None:
    x, mask = windows(4)
    with pytest.raises(ValueError, match="standing graph has 6 stocks but 4 samples came"):
        random_network(graph_info=stock_graph())(x, mask)


def test_an_explanation_has_the_documented_shapes() -> None:
    x, mask = windows()
    model = random_network(graph_info=stock_graph())
    output = model.explain(x, mask)
    assert output.predictions.shape == (STOCKS, 2)
    assert output.temporal_attention.shape == (STOCKS, 2, 2, STEPS)
    assert output.feature_importance.shape == (STOCKS, FEATURES)
    assert output.graph_attention.shape == (STOCKS, 2, 4)
    assert output.graph_embeddings.shape == (STOCKS, 16)


def test_attention_and_importance_sum_to_one() -> None:
    x, mask = windows()
    output = random_network(graph_info=stock_graph()).explain(x, mask)
    for shares in (output.temporal_attention, output.graph_attention, output.feature_importance):
        assert (shares >= 0).all()
        torch.testing.assert_close(shares.sum(dim=-1), torch.ones(shares.shape[:-1]))
    assert (output.temporal_attention.permute(0, 3, 1, 2)[~mask] == 0).all()


def test_a_feature_that_the_network_does_not_read_has_no_importance() -> None:
    model, (x, mask) = random_network(), windows()
    unread = [2, 4]
    with torch.no_grad():
        model.frequency.frequency_weights[:, 2] = 0
        model.frequency.scale_network[0].weight[:, unread] = 0
        model.temporal.input_projection.weight[:, 4] = 0
        model.snapshot.layers[1].weight[:, unread] = 0
    importance = model.explain(x, mask).feature_importance
    assert (importance[:, unread] == 0).all()
    assert (importance[:, [0, 1, 3]] > 0).all()


def test_contributions_equal_finite_differences() -> None:
    # Central differences of the day's summed predictions, for a feature scaled by 1 +- 1e-4.
    model, (x, mask) = random_network().double(), windows()
    x, neighbours = x.double(), as_neighbours(stock_graph())
    neighbours = neighbours._replace(weight=neighbours.weight.double())
    contributions = model.explain(x, mask, neighbours=neighbours).contributions
    assert contributions.shape == (STOCKS, 2, FEATURES)
    for feature in range(FEATURES):
        step = torch.zeros(FEATURES, dtype=torch.double)
        step[feature] = 1e-4
        with torch.no_grad():
            more = model(x * (1 + step), mask, neighbours=neighbours).double().sum(dim=0)
            less = model(x * (1 - step), mask, neighbours=neighbours).double().sum(dim=0)
        gained = (more - less) / 2e-4
        torch.testing.assert_close(contributions[:, :, feature].sum(dim=0), gained, atol=5e-3, rtol=5e-3)


def test_gradient_checkpointing_changes_no_explanation() -> None:
    x, mask = windows()
    plain, saving = (random_network(gradient_checkpointing=on).explain(x, mask) for on in (False, True))
    for one, other in zip(plain, saving, strict=True):
        torch.testing.assert_close(one, other)


def test_importance_is_the_share_of_a_features_contributions_over_all_horizons() -> None:
    x, mask = windows()
    output = random_network(graph_info=stock_graph()).explain(x, mask)
    size = output.contributions.abs().sum(dim=1)
    torch.testing.assert_close(output.feature_importance, size / size.sum(dim=1, keepdim=True))


def test_explaining_keeps_mode_and_gradients_and_works_under_no_grad() -> None:
    model, (x, mask) = random_network(), windows()
    model.train()
    with torch.no_grad():
        output = model.explain(x, mask)
    assert model.training and not x.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(part.requires_grad for part in output)
    torch.testing.assert_close(model.explain(x, mask).predictions, output.predictions, atol=0, rtol=0)


def test_explaining_changes_no_prediction() -> None:
    model, (x, mask) = random_network(), windows()
    neighbours = as_neighbours(stock_graph())
    torch.testing.assert_close(
        model.explain(x, mask, neighbours=neighbours).predictions,
        model(x, mask, neighbours=neighbours),
        atol=0,
        rtol=0,
    )


def test_dropout_is_off_in_evaluation() -> None:
    model, (x, mask) = random_network(), windows()
    torch.testing.assert_close(model(x, mask), model(x, mask), atol=0, rtol=0)
    model.train()
    assert not torch.allclose(model(x, mask), model(x, mask))


def test_the_gradient_reaches_every_weight() -> None:
    model, (x, mask) = random_network(), windows()
    model(x, mask, neighbours=as_neighbours(stock_graph())).square().sum().backward()
    without_gradient = [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert without_gradient == []


def test_gradient_checkpointing_with_dropout_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        model, (x, mask) = random_network(gradient_checkpointing=checkpointing), windows()
        model.train()
        torch.manual_seed(4)
        model(x, mask, neighbours=as_neighbours(stock_graph())).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_a_network_is_rebuilt_from_its_settings_and_weights() -> None:
    model, (x, mask) = random_network(dropout=0.1, num_frequencies=3), windows()
    again = ATFTGATFANModel(**model.settings)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(x, mask), model(x, mask), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"hidden_dim": 15}, "hidden_dim is 15 and num_heads 2"),
        ({"hidden_dim": 0}, "hidden_dim is 0"),
        ({"prediction_horizons": []}, "give at least one"),
        ({"prediction_horizons": [5, 5]}, "each once"),
        ({"num_layers": 0}, "num_layers is 0; set it to 1 or more"),
        ({"input_dim": 0}, "input_dim is 0; set it to 1 or more"),
        ({"num_frequencies": 0}, "num_frequencies is 0; set it to 1 or more"),
        ({"num_heads": 0}, "num_heads is 0; set it to 1 or more"),
        ({"sequence_length": 1}, "sequence_length is 1; set it to 2 or more"),
    ],
)
def test_wrong_sizes_are_refused_at_construction(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        random_network(**wrong)


@pytest.mark.parametrize("shape", [(STOCKS, STEPS + 1, FEATURES), (STOCKS, STEPS, FEATURES - 1)])
def test_windows_of_another_size_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"expected windows of {STEPS} steps x {FEATURES} features"):
        random_network()(torch.zeros(shape))

"""Explanations find the planted feature, lag, neighbour and sectors."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from panels import make_panel
from tests.training.test_batches import one_day

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.batches import Batch, Block, PanelBatches, StackedGraphs
from gogooku3.training.explanations import (
    Explanations,
    explain_days,
    principal_components,
)
from gogooku3.training.trainer import ATFTTrainer

DAYS, STOCKS, FEATURES, STEPS = 130, 40, 6, 20
TRAIN, VALIDATION, TEST = range(0, 90), range(95, 110), range(115, 130)
FEATURE, LAG = 3, 12
STRENGTHS = (0.9, 0.5, 0.3)
"""|correlation| of each stock's three neighbours; the first carries the label."""


def panel(values: np.ndarray, label: np.ndarray, seed: int = 9) -> Panel:
    """Two horizons; targets are the label plus noise of a tenth of its standard deviation."""
    noise = 0.1 * label.std() * np.random.default_rng(seed).normal(size=(*label.shape, 2))
    return make_panel(values, label[:, :, None] + noise)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(DAYS, STOCKS, FEATURES))


def one_graph(rows: np.ndarray, correlations: tuple[float, ...] = STRENGTHS) -> StackedGraphs:
    """One graph for all days: neighbours of each stock `[stocks, K]`, and their correlations."""
    weights = np.tile(np.array(correlations, dtype=np.float32), (STOCKS, 1))
    neighbours = rows.astype(np.int64)[None]
    return StackedGraphs(np.zeros(DAYS, np.int64), neighbours, weights[None], np.ones(neighbours.shape, bool))


def network(**changes: Any) -> ATFTGATFANModel:
    torch.manual_seed(0)
    return ATFTGATFANModel(FEATURES, 16, 2, 1, [1, 5], sequence_length=STEPS, dropout=0.0, **changes)


def trained(market: Panel, epochs: int, graph: StackedGraphs | None = None) -> ATFTTrainer:
    """A small network that has learned the label and predicted the test days."""
    settings = {
        "epochs": epochs,
        "batch_size": 184,
        "learning_rate": 1e-2,
        "mixed_precision": False,
        "progress_bar": False,
        "logging": {"tensorboard": False},
        "early_stopping": {"patience": epochs},
        "snapshot": {"batch_size": 256, "passes": 1.0, "refit": False},
    }
    trainer = ATFTTrainer(network(), PanelSlice(market, TRAIN), PanelSlice(market, VALIDATION), settings)
    trainer.batches.set_graphs(graph)
    assert trainer.fit()["best_score"] > 0.5, "a network that learned nothing cannot be explained"
    trainer.predict(PanelSlice(market, TEST))
    return trainer


def explain(trainer: ATFTTrainer, **options: Any) -> Explanations:
    return explain_days(trainer.model, trainer.batches, trainer.panel, TEST, **{"max_days": 4, **options})


def untrained(market: Panel, graph: StackedGraphs | None = None) -> tuple[ATFTGATFANModel, PanelBatches]:
    """An untrained network with random last layers, which are otherwise zero."""
    model = network()
    snapshots = (network.last for network in model.snapshot.networks)
    for layer in (*snapshots, *(head[-1] for head in model.heads.values())):
        torch.nn.init.normal_(layer.weight)
    return model, PanelBatches(market, market.targets, STEPS, graph)


# --- planted truth -----------------------------------------------------------------------------------------


def test_the_planted_features_are_the_most_important_in_their_order() -> None:
    values = noise()
    label = values[:, :, FEATURE] + 0.5 * values[:, :, 1]
    features = explain(trained(panel(values, label), epochs=3)).features
    for horizon in (1, 5):
        own = features.filter(pl.col("horizon") == horizon)
        assert own["feature"].to_list()[:2] == ["f3", "f1"]
        assert own["importance"].to_list()[0] > 0.4
        assert own["importance"].sum() == pytest.approx(1)


def test_a_contribution_equal_for_all_stocks_does_not_count() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    model, batches = untrained(market)
    size = explain_days(model, batches, market, TEST, max_days=1).features
    contributions = model.explain(*one_day(batches, TEST[-1]).inputs[:-1]).contributions
    apart = (contributions - contributions.mean(dim=0)).abs().mean(dim=0)
    expected = (apart / apart.sum(dim=1, keepdim=True)).double()
    for position, horizon in enumerate((1, 5)):
        own = dict(size.filter(pl.col("horizon") == horizon).select("feature", "importance").iter_rows())
        assert [own[name] for name in market.features] == pytest.approx(expected[position].tolist(), rel=1e-4)


def test_temporal_attention_peaks_at_the_planted_lag() -> None:
    values = noise()
    label = np.random.default_rng(1).normal(size=(DAYS, STOCKS))
    label[LAG:] = values[:-LAG, :, 2]
    explained = explain(trained(panel(values, label), epochs=9))
    by_lag = explained.attention.group_by("lag").agg(pl.col("attention").mean()).sort("attention")
    assert by_lag["lag"].to_list()[-1] == LAG
    assert by_lag["attention"].to_list()[-1] > 2 * by_lag["attention"].to_list()[-2]
    assert explained.features["feature"].to_list()[0] == "f2"


def test_graph_attention_prefers_the_planted_neighbour() -> None:
    """Groups of four stocks are linked, so that all links of a stock meet in its block."""
    rng = np.random.default_rng(2)
    groups = rng.permutation(STOCKS).reshape(-1, 4)
    neighbours = np.empty((STOCKS, 3), dtype=int)
    for group in groups:
        for stock in group:
            neighbours[stock] = rng.permutation(group[group != stock])
    values = noise()
    label = values[:, neighbours[:, 0], FEATURE]
    explained = explain(trained(panel(values, label), epochs=8, graph=one_graph(neighbours)))
    by_neighbour = dict(explained.neighbours.select("heard", "attention").iter_rows())
    assert by_neighbour["0.8 to 1.0"] > 1.5 * by_neighbour["0.4 to 0.6"]
    assert by_neighbour["0.8 to 1.0"] > 1.5 * by_neighbour["0.2 to 0.4"]
    planted = {(f"{i:04}", f"{neighbours[i, 0]:04}") for i in range(STOCKS)}
    strongest = set(explained.edges.head(STOCKS).select("receiver", "source").iter_rows())
    assert len(planted & strongest) > 0.9 * STOCKS


def test_embeddings_cluster_by_sector() -> None:
    rng = np.random.default_rng(3)
    sector = np.arange(STOCKS) % 2
    factor = rng.choice([-1.0, 1.0], size=(DAYS, 1)) * np.where(sector == 0, 1.0, -1.0)
    values = noise()
    values[:, :, 0] += factor
    neighbours = np.stack([rng.permutation(np.flatnonzero(sector == sector[i]))[:3] for i in range(STOCKS)])
    trainer = trained(panel(values, factor), epochs=4, graph=one_graph(neighbours, (0.6, 0.6, 0.6)))
    names = {f"{stock:04}": ("banks", "machines")[sector[stock]] for stock in range(STOCKS)}
    table = explain(trainer, sectors=names).embeddings
    assert dict(table.select("code", "sector").iter_rows()) == names
    position = table.select("x", "y").to_numpy()
    distance = np.linalg.norm(position[:, None] - position, axis=2)
    same = table["sector"].to_numpy()[:, None] == table["sector"].to_numpy()
    within = distance[same & ~np.eye(len(position), dtype=bool)].mean()
    assert within < 0.6 * distance[~same].mean()


# --- what the tables promise -------------------------------------------------------------------------------


def test_the_tables_have_the_documented_columns_and_shares_sum_to_one() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    neighbours = np.roll(np.arange(3 * STOCKS).reshape(STOCKS, 3) % STOCKS, 5, axis=0)
    model, batches = untrained(market, one_graph(neighbours))
    explained = explain_days(model, batches, market, TEST, max_days=2)
    columns = {name: table.columns for name, table in vars(explained).items()}
    assert columns == {
        "features": ["feature", "horizon", "importance"],
        "attention": ["layer", "head", "lag", "attention"],
        "neighbours": ["heard", "links", "attention", "even"],
        "edges": ["date", "receiver", "source", "correlation", "attention"],
        "embeddings": ["date", "code", "x", "y", "sector", "prediction"],
    }
    for _, head in explained.attention.group_by("layer", "head"):
        assert head["lag"].to_list() == list(range(STEPS))
        assert head["attention"].sum() == pytest.approx(1, abs=1e-6)
    neighbours = explained.neighbours
    assert neighbours["links"].to_list() == [2 * STOCKS] * 4
    assert neighbours["attention"].sum() == pytest.approx(1, abs=1e-6), "a stock's attention sums to one"
    assert neighbours["even"].to_list() == [0.25] * 4
    assert explained.edges.height == 3 * STOCKS
    assert (
        str(explained.edges["date"].unique().item()) == str(explained.embeddings["date"][0]) == "2024-05-12"
    )
    assert explained.embeddings["sector"].null_count() == STOCKS


def test_later_data_change_no_explanation() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    days = range(TEST.start, TEST.start + 5)
    tables = []
    for _ in range(2):
        model, batches = untrained(market)
        tables.append(vars(explain_days(model, batches, market, days)))
        market.values[days.stop :] = 7.0
        market.targets[days.start :] = -3.0
    assert all(tables[0][name].equals(tables[1][name]) for name in tables[0])


def test_explaining_leaves_the_network_as_it_was() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    model, batches = untrained(market)
    model.train()
    model.heads_norm.weight.grad = torch.ones(16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    explain_days(model, batches, market, TEST, max_days=1)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    grads = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert grads == {"heads_norm.weight"} and (model.heads_norm.weight.grad == 1).all()


def test_evenly_spread_days_including_the_last_are_explained() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    model, batches = untrained(market)
    gathered: list[int] = []
    gather = batches.gather

    def watched(blocks: list[Block]) -> Batch:
        gathered.extend(day for block in blocks for day in block.days)
        return gather(blocks)

    batches.gather = watched  # type: ignore[method-assign]
    explain_days(model, batches, market, TEST, max_days=3)
    assert gathered == [115, 122, 129]
    for most, expected in ((2 * STOCKS, [115, 129]), (STOCKS - 1, [129])):
        gathered.clear()
        explain_days(model, batches, market, TEST, max_samples=most)
        assert gathered == expected, "max_samples limits the days, the last one is always explained"
    gathered.clear()
    explain_days(model, batches, market, range(10, 25), max_days=20)
    assert gathered == list(range(19, 25)), "days without a full window are skipped"


def test_without_a_graph_a_stock_attends_only_to_itself() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    neighbours = np.roll(np.arange(3 * STOCKS).reshape(STOCKS, 3) % STOCKS, 5, axis=0)
    for model, graph in ((network(), None), (network(use_graph_attention=False), one_graph(neighbours))):
        batches = PanelBatches(market, market.targets, STEPS, graph)
        explained = explain_days(model, batches, market, TEST, max_days=1)
        assert explained.neighbours.rows() == [("itself", STOCKS, 1.0, 1.0)]
        assert explained.edges.is_empty()


def test_without_temporal_attention_the_table_of_lags_is_empty() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    model = network(use_temporal_attention=False)
    batches = PanelBatches(market, market.targets, STEPS)
    assert explain_days(model, batches, market, TEST, max_days=1).attention.is_empty()


def test_days_without_samples_are_refused() -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    model, batches = untrained(market)
    with pytest.raises(DataError, match="no day from 0 to 9 has a sample"):
        explain_days(model, batches, market, range(10))


def test_components_by_hand_have_a_fixed_sign() -> None:
    # Points on a line of slope 3/4, 5 apart; the largest loading (of the first axis) is positive.
    points = np.array([[0.0, 0.0], [4.0, 3.0], [-4.0, -3.0]])
    expected = [[0, 0], [5, 0], [-5, 0]]
    np.testing.assert_allclose(principal_components(points), expected, atol=1e-12)
    np.testing.assert_allclose(principal_components(np.ones((3, 5))), np.zeros((3, 2)), atol=1e-12)

"""Batches hold whole days, equal those of a slow twin, and use no later day."""

import datetime as dt
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import make_panel

from gogooku3.data.panel import Panel
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.training import batches
from gogooku3.training.batches import (
    Batch,
    DayBatchSampler,
    PanelBatches,
    StackedGraphs,
    standing_graph,
)

DAYS, STOCKS, FEATURES, STEPS = 45, 7, 3, 5


def panel(seed: int = 0, present: float = 0.7) -> Panel:
    """Stocks that trade on some days; values are 0 on the others."""
    rng = np.random.default_rng(seed)
    mask = rng.random((DAYS, STOCKS)) < present
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)) * mask[:, :, None]
    targets = np.where(mask[:, :, None], rng.normal(size=(DAYS, STOCKS, 2)), np.nan)
    return make_panel(values, targets, mask, first_day="2024-01-22")


def schedule(market: Panel) -> GraphSchedule:
    builder = FinancialGraphBuilder(
        correlation_window=10, max_edges_per_node=3, min_edges_per_node=1, correlation_threshold=0.3
    )
    returns = np.where(market.mask, market.values[:, :, 0], np.nan)
    return GraphSchedule.build(market.dates, market.codes, returns, builder)


def graph(codes: tuple[str, ...], as_of: dt.date | None) -> StockGraph:
    """Each stock has the next one as neighbour."""
    n = len(codes)
    neighbours = (np.arange(n)[:, None] + 1) % n
    weights = np.linspace(-1, 1, n, dtype=np.float32)[:, None]
    return StockGraph(codes, neighbours, weights, np.ones((n, 1), dtype=bool), as_of)


def keys(batch: Batch) -> list[tuple[int, int]]:
    return list(zip(batch.day.tolist(), batch.stock.tolist(), strict=True))


# --- which days make a batch -------------------------------------------------------------------------------


def test_batches_by_hand_keep_the_calendar_without_a_seed() -> None:
    sizes = np.array([0, 2, 3, 0, 1, 3, 2])
    sampler = DayBatchSampler(sizes, range(1, 7), batch_size=7)
    # The largest day has 3 samples, so 2 days fit; day 3 has none.
    assert list(sampler) == [[1, 2], [4, 5], [6]]
    assert len(sampler) == 3


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    batch_size=st.integers(1, 60),
    seed=st.one_of(st.none(), st.integers(0, 99)),
    epoch=st.integers(0, 3),
)
def test_every_day_with_samples_is_served_once_within_batch_size(
    sizes: list[int], batch_size: int, seed: int | None, epoch: int
) -> None:
    sampler = DayBatchSampler(np.array(sizes), range(len(sizes)), batch_size, seed)
    count = len(sampler)
    sampler.set_epoch(epoch)
    served = list(sampler)
    assert sorted(day for batch in served for day in batch) == [day for day, size in enumerate(sizes) if size]
    assert len(served) == len(sampler) == count, "the loop and the schedule rely on it"
    for batch in served:
        assert len(batch) == 1 or sum(sizes[day] for day in batch) <= batch_size


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    sizes = np.full(40, 5)

    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = DayBatchSampler(sizes, range(40), 20, seed)
        sampler.set_epoch(epoch)
        torch.rand(3), np.random.default_rng().random()
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert order(1, 3) == order(1, 3)


def test_no_days_make_no_batches() -> None:
    sampler = DayBatchSampler(np.array([0, 0, 3]), range(0, 2), 10, seed=1)
    assert len(sampler) == 0
    assert list(sampler) == []


# --- what a batch holds ------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    present=st.floats(0.2, 1),
    days=st.lists(st.integers(STEPS - 1, DAYS - 1), min_size=1, max_size=4, unique=True),
    long=st.sampled_from([1, 2, 16]),
)
def test_a_batch_equals_a_slow_twin(seed: int, present: float, days: list[int], long: int) -> None:
    """Windows are copied as blocks, row by row, or mixed."""
    market = panel(seed, present)
    days = [day for day in days if market.mask[day].any()]
    if not days:
        return
    graphs = schedule(market)
    with patch.object(batches, "LONG_RUN", long):
        batch = PanelBatches(market, market.targets, STEPS, graphs).gather(days)

    expected = [(day, stock) for day in days for stock in range(STOCKS) if market.mask[day, stock]]
    assert keys(batch) == expected
    assert batch.n_days == len(days)
    assert batch.day_index.tolist() == [days.index(day) for day, _ in expected]
    for row, (day, stock) in enumerate(expected):
        window = slice(day - STEPS + 1, day + 1)
        np.testing.assert_array_equal(batch.x[row], market.values[window, stock])
        np.testing.assert_array_equal(batch.step_mask[row], market.mask[window, stock])
        np.testing.assert_array_equal(batch.labels[row], market.targets[day, stock])
        own = graphs.graph_for(market.dates[day])
        neighbours = {
            expected.index((day, other)): weight
            for other, weight, valid in zip(
                own.neighbours[stock].tolist(), own.weights[stock].tolist(), own.valid[stock], strict=True
            )
            if valid and (day, other) in expected
        }
        valid = batch.neighbours.valid[row]
        found = zip(batch.neighbours.index[row][valid], batch.neighbours.weight[row][valid], strict=True)
        assert {int(i): float(w) for i, w in found} == neighbours
        assert (batch.neighbours.weight[row][~valid] == 0).all()
    assert batch.neighbours.index.min() >= 0


def test_the_test_data_cover_absent_neighbours_and_days_without_a_graph() -> None:
    market = panel(3)
    graphs = schedule(market)
    batches = PanelBatches(market, market.targets, STEPS, graphs)
    early, late = batches.gather([STEPS]), batches.gather([DAYS - 1])
    assert not early.neighbours.valid.any()
    assert late.neighbours.valid.any()
    present = graphs.valid[-1][late.stock.numpy()]
    assert late.neighbours.valid.sum() < present.sum()


def test_without_graphs_there_are_no_neighbours() -> None:
    market = panel()
    batch = PanelBatches(market, market.targets, STEPS).gather([9, 12])
    assert batch.neighbours.index.shape == (len(batch.day), 0)


def test_graphs_may_be_replaced_and_removed() -> None:
    market = panel(3)
    batches = PanelBatches(market, market.targets, STEPS)
    batches.set_graphs(schedule(market))
    assert batches.gather([DAYS - 1]).neighbours.valid.any()
    batches.set_graphs(None)
    assert not batches.gather([DAYS - 1]).neighbours.valid.any()


def test_rows_to_serve_may_be_chosen() -> None:
    market = panel()
    chosen = market.sample_mask(STEPS)
    chosen[:, ::2] = False
    batches = PanelBatches(market, market.targets, STEPS, samples=chosen)
    np.testing.assert_array_equal(batches.samples_by_day, chosen.sum(axis=1))
    assert set(batches.gather([10, 11]).stock.tolist()) <= {1, 3, 5}


def test_each_batch_holds_the_windows_of_its_days() -> None:
    market = panel(present=1)
    batches = PanelBatches(market, market.targets, STEPS)
    for days in ([10], [20, 21, 22], [11], [30, 4]):
        batch = batches.gather(days)
        np.testing.assert_array_equal(batch.x[-1, -1], market.values[days[-1], -1])
        assert batch.x.shape == (len(days) * STOCKS, STEPS, FEATURES)


@pytest.mark.parametrize("present", [0.7, 1.0])
def test_a_batch_outlives_the_next_one(present: float) -> None:
    """Validation collects labels, days and stocks over a whole epoch."""
    market = panel(present=present)
    batches = PanelBatches(market, market.targets, STEPS)
    first = batches.gather([10, 11])
    x, step_mask, labels, held = first.x.clone(), first.step_mask.clone(), first.labels.clone(), keys(first)
    batches.gather([30, 31])
    assert keys(first) == held and torch.equal(first.labels.nan_to_num(), labels.nan_to_num())
    assert torch.equal(first.x, x) and torch.equal(first.step_mask, step_mask)


def test_changing_values_after_a_day_changes_no_batch_up_to_it() -> None:
    market = panel(5)
    last = 36
    rng = np.random.default_rng(1)
    values, targets, mask = market.values.copy(), market.targets.copy(), market.mask.copy()
    mask[last + 1 :] = rng.random(mask[last + 1 :].shape) < 0.5
    values[last + 1 :] = rng.normal(size=values[last + 1 :].shape) * mask[last + 1 :, :, None]
    targets[last + 1 :] = 9
    changed = replace(market, values=values, targets=targets, mask=mask)
    first, second = (PanelBatches(p, p.targets, STEPS, schedule(p)) for p in (market, changed))
    sampler = DayBatchSampler(first.samples_by_day, range(last + 1), 20, seed=1)
    assert list(sampler) == list(DayBatchSampler(second.samples_by_day, range(last + 1), 20, seed=1))
    for days in sampler:
        one = first.gather(days)
        two = second.gather(days)
        for name in ("x", "step_mask", "day_index", "labels", "day", "stock"):
            assert torch.equal(torch.nan_to_num(getattr(one, name)), torch.nan_to_num(getattr(two, name))), (
                name
            )
        for part, other in zip(one.neighbours, two.neighbours, strict=True):
            assert torch.equal(part, other)


def test_moving_to_a_device_changes_no_batch() -> None:
    market = panel()
    batches = PanelBatches(market, market.targets, STEPS, schedule(market))
    before = batches.gather([40, 41])
    x = before.x.clone()
    after = batches.to(torch.device("cpu")).gather([40, 41])
    torch.testing.assert_close(after.x, x)
    assert torch.equal(after.neighbours.index, before.neighbours.index)


# --- a standing graph --------------------------------------------------------------------------------------


def test_a_standing_graph_serves_days_from_its_as_of_day_on() -> None:
    market = panel()
    stacked = standing_graph(graph(market.codes, dt.date(2024, 2, 1)), market)
    assert stacked.snapshot_index.tolist() == [-1] * 10 + [0] * (DAYS - 10)
    batches = PanelBatches(market, market.targets, STEPS, stacked)
    assert not batches.gather([9]).neighbours.valid.any()
    assert batches.gather([10]).neighbours.valid.any()


def test_a_graph_without_an_as_of_day_serves_none() -> None:
    market = panel()
    assert (standing_graph(graph(market.codes, None), market).snapshot_index == -1).all()


def test_a_standing_graph_is_aligned_to_the_panels_stocks() -> None:
    market = panel(present=1)
    # Another order; "9999" is not in the panel, and three stocks of the panel are not in the graph.
    codes = ("0005", "9999", "0002", "0000", "0003")
    stacked = standing_graph(graph(codes, dt.date(2024, 1, 22)), market)
    batch = PanelBatches(market, market.targets, STEPS, stacked).gather([20])
    valid = batch.neighbours.valid
    neighbours = {
        stock: batch.neighbours.index[stock][valid[stock]].tolist()
        for stock in range(STOCKS)
        if valid[stock].any()
    }
    # Edges 0005 <- 9999 and 9999 <- 0002 are dropped; 0002 <- 0000, 0000 <- 0003, 0003 <- 0005 stay.
    assert neighbours == {2: [0], 0: [3], 3: [5]}
    assert batch.neighbours.weight[2, valid[2]].tolist() == [0.0]
    assert batch.neighbours.weight[3, valid[3]].tolist() == [1.0]


def test_an_empty_stack_of_snapshots_means_no_graphs() -> None:
    market = panel()
    empty = StackedGraphs(
        np.full(DAYS, -1),
        np.zeros((0, STOCKS, 2), dtype=int),
        np.zeros((0, STOCKS, 2)),
        np.zeros((0, STOCKS, 2), bool),
    )
    batch = PanelBatches(market, market.targets, STEPS, empty).gather([20])
    assert batch.neighbours.index.shape[1] == 0


@pytest.mark.parametrize("days", [[20], [20, 30]])
def test_neighbours_are_of_the_same_day(days: list[int]) -> None:
    market = panel(7)
    batches = PanelBatches(market, market.targets, STEPS, schedule(market))
    batch = batches.gather(days)
    receiver, slot = batch.neighbours.valid.nonzero(as_tuple=True)
    source = batch.neighbours.index[receiver, slot]
    assert torch.equal(batch.day[source], batch.day[receiver])
    assert not torch.equal(batch.stock[source], batch.stock[receiver])

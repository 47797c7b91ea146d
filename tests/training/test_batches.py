"""Batches hold blocks of a month, equal those of a slow twin, and use no later day and no other block."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_network
from panels import make_panel

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.preprocessing.day_ranks import TOP_RANK, day_ranks
from gogooku3.training.batches import (
    Batch,
    Block,
    PanelBatches,
    StackedGraphs,
    predict_batch,
    predict_days,
    standing_graph,
)
from gogooku3.training.losses import MultiHorizonFinancialLoss

DAYS, STOCKS, FEATURES, STEPS, MARKET = 45, 7, 5, 8, 3
JANUARY, FEBRUARY, MARCH = range(0, 10), range(10, 39), range(39, 45)


def panel(seed: int = 0, present: float = 0.7) -> Panel:
    """Stocks that trade on some days; values are 0 on the others."""
    rng = np.random.default_rng(seed)
    mask = rng.random((DAYS, STOCKS)) < present
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)) * mask[:, :, None]
    targets = np.where(mask[:, :, None], rng.normal(size=(DAYS, STOCKS, 2)), np.nan)
    return make_panel(values, targets, mask, first_day="2024-01-22")


def market_state() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(DAYS, MARKET)).astype(np.float32)


def schedule(market: Panel) -> GraphSchedule:
    builder = FinancialGraphBuilder(
        correlation_window=10, max_edges_per_node=3, min_edges_per_node=1, correlation_threshold=0.3
    )
    returns = np.where(market.mask, market.values[:, :, 0], np.nan)
    return GraphSchedule.build(market.dates, market.codes, returns, builder)


def ring(codes: tuple[str, ...], as_of: dt.date | None) -> StockGraph:
    """Each stock has the next one as neighbour."""
    n = len(codes)
    neighbours = (np.arange(n)[:, None] + 1) % n
    weights = np.linspace(-1, 1, n, dtype=np.float32)[:, None]
    return StockGraph(codes, neighbours, weights, np.ones((n, 1), dtype=bool), as_of)


def batches_of(market: Panel, samples: np.ndarray | None = None) -> PanelBatches:
    """Batches with graphs and the market's state."""
    return PanelBatches(market, market.targets, STEPS, schedule(market), samples, market_state())


def one_day(batches: PanelBatches, day: int) -> Batch:
    """All samples of a day."""
    return batches.gather([batches.block(range(day, day + 1))])


def all_stocks(days: range) -> Block:
    return Block(days, np.arange(STOCKS))


# --- stretches ---------------------------------------------------------------------------------------------


def test_a_stretch_starts_a_window_before_the_month_by_hand() -> None:
    """Values are the day's number plus one; blocks of two months and of several lengths share a batch."""
    number = np.arange(1, DAYS + 1)[:, None, None] * np.ones((1, STOCKS, FEATURES))
    market = make_panel(number, np.zeros((DAYS, STOCKS, 2)), first_day="2024-01-22")
    batches = PanelBatches(market, market.targets, STEPS)
    blocks = [Block(range(12, 14), np.array([1, 4])), Block(range(7, 9), np.array([2]))]
    batch = batches.gather(blocks)
    # Days 2 to 8 of a month are computed, after 8 days before the month and its first two days.
    assert batch.inputs.days == 7 and batch.inputs.x.shape == (3, 17, FEATURES)
    february = [*range(3, 15), *[0] * 5]
    january = [*[0] * 8, *range(1, 10)]
    assert batch.inputs.x[:, :, 0].tolist() == [february, february, january]
    assert batch.inputs.step_mask is not None
    assert batch.inputs.step_mask.tolist() == [
        [step > 0 for step in own] for own in (february, february, january)
    ]
    assert batch.day[batch.sample].tolist() == [12, 13, 12, 13, 7, 8]
    assert batch.stock[batch.sample].tolist() == [1, 1, 4, 4, 2, 2]


@st.composite
def blocks_of_the_market(draw: st.DrawFn) -> list[Block]:
    blocks = []
    for month in draw(st.lists(st.sampled_from([JANUARY, FEBRUARY, MARCH]), min_size=1, max_size=3)):
        first = draw(st.integers(month.start, month.stop - 1))
        last = draw(st.integers(first, month.stop - 1))
        stocks = draw(st.sets(st.integers(0, STOCKS - 1), min_size=1))
        blocks.append(Block(range(first, last + 1), np.array(sorted(stocks))))
    return blocks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), present=st.floats(0.2, 1), blocks=blocks_of_the_market())
def test_a_batch_equals_a_slow_twin(seed: int, present: float, blocks: list[Block]) -> None:
    market = panel(seed, present)
    batches = batches_of(market)
    samples, ranks = market.sample_mask(STEPS), day_ranks(market.values, market.mask)
    batch = batches.gather(blocks)
    days, graphs = batch.inputs.days, schedule(market)
    assert batch.inputs.step_mask is not None and batch.inputs.neighbours is not None
    assert batch.inputs.market is not None and batch.inputs.ranks is not None
    assert batch.inputs.neighbours.index.min() >= 0
    series = [(block, stock) for block in blocks for stock in block.stocks.tolist()]
    served = 0
    for number, (block, stock) in enumerate(series):
        month = next(m for m in (JANUARY, FEBRUARY, MARCH) if block.days.start in m)
        steps = batch.inputs.x.shape[1]
        for step in range(steps):
            day = month.start - STEPS + step
            present_then = 0 <= day < block.days.stop and market.mask[day, stock]
            assert batch.inputs.step_mask[number, step] == present_then
            expected = market.values[day, stock] if present_then else np.zeros(FEATURES)
            np.testing.assert_array_equal(batch.inputs.x[number, step], expected)
        for position in range(days):
            place = number * days + position
            day = month.start - STEPS + steps - days + position
            is_sample = day in block.days and samples[day, stock]
            assert batch.sample[place] == is_sample
            valid = batch.inputs.neighbours.valid[place]
            assert (batch.inputs.neighbours.weight[place][~valid] == 0).all()
            if not is_sample:
                assert batch.labels[place].isnan().all() and not valid.any()
                continue
            served += 1
            assert (batch.day[place], batch.stock[place]) == (day, stock)
            np.testing.assert_array_equal(batch.labels[place], market.targets[day, stock])
            np.testing.assert_array_equal(batch.inputs.market[batch.day_index[place]], market_state()[day])
            np.testing.assert_allclose(batch.inputs.ranks[place], ranks[day, stock] / TOP_RANK, rtol=1e-6)
            own = graphs.graph_for(market.dates[day])
            first = next(i for i, (other, _) in enumerate(series) if other is block)
            neighbours = {
                (first + block.stocks.tolist().index(other)) * days + position: weight
                for other, weight, linked in zip(
                    own.neighbours[stock].tolist(), own.weights[stock].tolist(), own.valid[stock], strict=True
                )
                if linked and other in block.stocks and samples[day, other]
            }
            index, weight = batch.inputs.neighbours.index[place], batch.inputs.neighbours.weight[place]
            assert dict(zip(index[valid].tolist(), weight[valid].tolist(), strict=True)) == neighbours
    assert batch.sample.sum() == served
    assert batch.n_days == len(set(batch.day.tolist())) and batch.day_index.max() < batch.n_days
    assert torch.equal(batch.inputs.day_index, batch.day_index)


def test_neighbours_are_of_the_same_block_and_day_by_hand() -> None:
    market = panel(present=1)
    graph = standing_graph(ring(market.codes, dt.date(2024, 1, 1)), market)
    batches = PanelBatches(market, market.targets, STEPS, graph)
    blocks = [Block(range(20, 22), np.array([0, 1, 2])), Block(range(40, 41), np.array([0, 6]))]
    neighbours = batches.gather(blocks).inputs.neighbours
    assert neighbours is not None
    # February: days 11 and 12 of the month are asked for, and 10 days of gap before them for March's block.
    places = {(0, 10): (1, 10), (0, 11): (1, 11), (1, 10): (2, 10), (1, 11): (2, 11), (4, 1): (3, 1)}
    days = neighbours.index.shape[0] // 5
    begin = 1
    expected = {s * days + d - begin: t * days + e - begin for (s, d), (t, e) in places.items()}
    valid = neighbours.valid[:, 0]
    receivers = valid.nonzero().flatten().tolist()
    assert dict(zip(receivers, neighbours.index[valid, 0].tolist(), strict=True)) == expected


# --- what a prediction depends on --------------------------------------------------------------------------


def test_gaps_do_not_enter_the_loss_or_the_predictions() -> None:
    market, model = panel(2), random_network(market_dim=MARKET)
    batches = batches_of(market)
    batch = batches.gather([all_stocks(range(9, 10)), all_stocks(range(15, 25)), all_stocks(MARCH)])
    assert 0.1 < batch.sample.float().mean() < 0.9
    criterion = MultiHorizonFinancialLoss({1: 1.0, 5: 0.7}, correlation_weight=0.5)
    predictions, kept = predict_batch(model, batch), batch.sample
    whole = criterion(predictions, batch.labels, batch.day_index, batch.n_days)
    parts = predictions[kept], batch.labels[kept], batch.day_index[kept], batch.n_days
    torch.testing.assert_close(whole, criterion(*parts))
    found = predict_days(model, batches, range(0, DAYS))
    day, stock = PanelSlice(market, range(DAYS)).rows(STEPS)
    assert found.shape == (len(day), 2)
    for number in (12, 30, 44):
        alone = one_day(batches, number)
        assert alone.stock.tolist() == stock[day == number].tolist()
        np.testing.assert_allclose(found[day == number], predict_batch(model, alone), atol=1e-5)


def test_a_prediction_does_not_depend_on_the_other_blocks_of_a_batch() -> None:
    market, model = panel(3), random_network(market_dim=MARKET)
    batches = batches_of(market)
    own = Block(range(15, 30), np.array([0, 2, 3, 5]))
    alone = batches.gather([own])
    joined = batches.gather([all_stocks(MARCH), own, all_stocks(JANUARY), all_stocks(FEBRUARY)])
    expected = predict_batch(model, alone)[alone.sample]
    series = torch.arange(len(joined.day)) // joined.inputs.days
    place = joined.sample & (series >= STOCKS) & (series < STOCKS + len(own.stocks))
    torch.testing.assert_close(predict_batch(model, joined)[place], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("last", [12, 25, 40])
def test_changing_everything_after_a_day_changes_no_prediction_up_to_it(last: int) -> None:
    """Bit for bit, because the blocks have the same shapes; the graph of a month is known before it."""
    market, model = panel(5), random_network(market_dim=MARKET)
    rng = np.random.default_rng(1)
    values, targets, mask = market.values.copy(), market.targets.copy(), market.mask.copy()
    mask[last + 1 :] = rng.random(mask[last + 1 :].shape) < 0.5
    values[last + 1 :] = rng.normal(size=values[last + 1 :].shape) * mask[last + 1 :, :, None]
    targets[last + 1 :] = 9
    changed = replace(market, values=values, targets=targets, mask=mask)
    state = market_state()
    state[last + 1 :] = 7
    first = batches_of(market)
    second = PanelBatches(changed, targets, STEPS, schedule(changed), market=state)
    blocks = [all_stocks(month) for month in (JANUARY, FEBRUARY, MARCH)]
    before, after = first.gather(blocks), second.gather(blocks)
    past = before.sample & (before.day <= last)
    assert torch.equal(past, after.sample & (after.day <= last))
    one, other = predict_batch(model, before), predict_batch(model, after)
    assert torch.equal(one[past], other[past])
    assert not torch.equal(one[before.sample & ~past], other[before.sample & ~past])


# --- rows without windows ----------------------------------------------------------------------------------


def test_rows_are_by_day_then_stock_with_features_ranks_and_labels() -> None:
    market = panel(4)
    batches = PanelBatches(market, market.targets, STEPS)
    day, stock = PanelSlice(market, range(20, 23)).rows(STEPS)
    rows = batches.rows([20, 21, 22])
    x, ranks = batches.today(rows)
    np.testing.assert_array_equal(x, market.values[day, stock])
    expected = day_ranks(market.values, market.mask)[day, stock] / TOP_RANK
    np.testing.assert_allclose(ranks, expected, rtol=1e-6)
    np.testing.assert_array_equal(batches.labels(rows), market.targets[day, stock])


def test_the_part_of_today_that_was_set_comes_with_the_batch() -> None:
    market = panel(4)
    batches = PanelBatches(market, market.targets, STEPS)
    assert not one_day(batches, 20).base.any()
    rows = batches.rows([20, 22])
    batches.set_base([20, 22], torch.arange(2.0 * len(rows)).view(-1, 2))
    batch = batches.gather([all_stocks(range(20, 23))])
    for day, values in ((20, batches.base_of), (22, batches.base_of)):
        own = batch.sample & (batch.day == day)
        np.testing.assert_array_equal(
            batch.base[own], values(batch.day[own].numpy(), batch.stock[own].numpy())
        )
    assert not batch.base[batch.day == 21].any()
    assert batch.base[batch.sample & (batch.day == 20)][:, 0].tolist() == [
        2.0 * number for number in range(int(batches.samples_by_day[20]))
    ]


def test_months_are_the_days_with_samples_and_rows_to_serve_may_be_chosen() -> None:
    market = panel()
    chosen = market.sample_mask(STEPS)
    chosen[:, ::2] = False
    chosen[[12, 13, 38]] = False
    batches = PanelBatches(market, market.targets, STEPS, samples=chosen)
    np.testing.assert_array_equal(batches.samples_by_day, chosen.sum(axis=1))
    served = [day for day in range(DAYS) if chosen[day].any()]
    months = batches.months(range(0, 42))
    assert [(month.start, month.stop) for month in months] == [
        (served[0], 10),
        (min(day for day in served if day >= 10), max(day for day in served if day < 39) + 1),
        (min(day for day in served if day >= 39), max(day for day in served if day < 42) + 1),
    ]
    assert batches.months(range(0, STEPS - 1)) == []
    assert set(batches.block(range(14, 30)).stocks.tolist()) <= {1, 3, 5}


# --- graphs ------------------------------------------------------------------------------------------------


def test_graphs_may_be_replaced_and_removed_and_be_empty() -> None:
    market = panel(3)
    batches = PanelBatches(market, market.targets, STEPS)
    empty = np.zeros((0, STOCKS, 2), dtype=int)
    for graphs in (None, StackedGraphs(np.full(DAYS, -1), empty, empty.astype(float), empty.astype(bool))):
        batches.set_graphs(schedule(market))
        assert one_day(batches, DAYS - 1).inputs.neighbours.valid.any()
        batches.set_graphs(graphs)
        alone = one_day(batches, DAYS - 1)
        assert alone.inputs.neighbours.index.shape == (len(alone.day), 0)


def test_a_standing_graph_serves_whole_months_from_its_as_of_day_on() -> None:
    """A prediction in a month does not depend on which days of the month are predicted with it."""
    market = panel(present=1)
    for as_of, first in ((dt.date(2024, 2, 1), 10), (dt.date(2024, 2, 2), 39), (dt.date(2024, 1, 22), 0)):
        stacked = standing_graph(ring(market.codes, as_of), market)
        assert stacked.snapshot_index.tolist() == [-1] * first + [0] * (DAYS - first)
        batches = PanelBatches(market, market.targets, STEPS, stacked)
        for day in (9, 10, 38, 39):
            assert one_day(batches, day).inputs.neighbours.valid.any() == (day >= first)
    assert (standing_graph(ring(market.codes, None), market).snapshot_index == -1).all()


def test_a_standing_graph_is_aligned_to_the_panels_stocks() -> None:
    market = panel(present=1)
    # Another order; "9999" is not in the panel, and three stocks of the panel are not in the graph.
    codes = ("0005", "9999", "0002", "0000", "0003")
    stacked = standing_graph(ring(codes, dt.date(2024, 1, 22)), market)
    found = one_day(PanelBatches(market, market.targets, STEPS, stacked), 20).inputs.neighbours
    neighbours = {
        stock: found.index[stock][found.valid[stock]].tolist()
        for stock in range(STOCKS)
        if found.valid[stock].any()
    }
    # Edges 0005 <- 9999 and 9999 <- 0002 are dropped; 0002 <- 0000, 0000 <- 0003, 0003 <- 0005 stay.
    assert neighbours == {2: [0], 0: [3], 3: [5]}
    assert found.weight[2, found.valid[2]].tolist() == [0.0]
    assert found.weight[3, found.valid[3]].tolist() == [1.0]

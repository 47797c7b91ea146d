"""Monthly snapshots: the days they use and are used on; later data changes no earlier snapshot."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gogooku3.errors import DataError
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule

CODES = [f"{1301 + i}" for i in range(9)]
BUILDER = FinancialGraphBuilder(max_edges_per_node=4, min_edges_per_node=2)


def trading_days(n_days: int, start: str = "2023-01-04") -> NDArray[np.datetime64]:
    return np.busday_offset(start, np.arange(n_days), roll="forward")


def noise(n_days: int, n_stocks: int = 9, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    returns = 0.01 * rng.normal(size=(n_days, 1)) + 0.01 * rng.normal(size=(n_days, n_stocks))
    returns[rng.random(returns.shape) < 0.05] = np.nan
    return returns.astype(np.float32)


def test_a_day_uses_the_snapshot_of_its_month() -> None:
    dates = trading_days(150)
    schedule = GraphSchedule.build(dates, CODES, noise(150), BUILDER)
    months = dates.astype("datetime64[M]")
    assert schedule.months.tolist() == np.unique(months).tolist()
    assert schedule.snapshot_index.dtype == np.int64
    assert (schedule.months[schedule.snapshot_index] == months).all()


def test_a_snapshot_is_the_graph_of_the_window_before_its_month() -> None:
    dates, returns = trading_days(150), noise(150)
    schedule = GraphSchedule.build(dates, CODES, returns, BUILDER)
    first = int(np.argmax(dates >= np.datetime64("2023-06-01")))
    expected = BUILDER.edges_from_returns(returns[first - 60 : first], CODES, as_of=dt.date(2023, 5, 31))
    assert expected.n_edges > 0
    assert schedule.graph_for(dt.date(2023, 6, 1)) == expected
    assert schedule.graph_for(dt.date(2023, 6, 30)) == expected


def test_every_snapshot_is_known_before_the_first_day_that_uses_it() -> None:
    dates = trading_days(150)
    schedule = GraphSchedule.build(dates, CODES, noise(150), BUILDER)
    for month, graph in enumerate(schedule.graphs[1:], start=1):
        first_served = dates[schedule.snapshot_index == month][0]
        assert graph.as_of == dates[dates < first_served][-1].item()


@given(month=st.integers(0, 6), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_returns_from_the_months_first_trading_day_on_never_matter(month: int, seed: int) -> None:
    dates, returns = trading_days(150), noise(150, seed=seed)
    before = GraphSchedule.build(dates, CODES, returns, BUILDER)
    first = int(np.argmax(before.snapshot_index == month))
    changed = returns.copy()
    changed[first:] = np.random.default_rng(seed + 1).normal(size=changed[first:].shape)
    after = GraphSchedule.build(dates, CODES, changed, BUILDER)
    assert after.graphs[: month + 1] == before.graphs[: month + 1]
    if month < 6:
        assert after.graphs[-1] != before.graphs[-1]


def test_the_last_day_before_the_month_does_matter() -> None:
    dates, returns = trading_days(150), noise(150)
    first = int(np.argmax(dates >= np.datetime64("2023-06-01")))
    changed = returns.copy()
    changed[first - 1] = np.linspace(-1, 1, 9)
    june = dt.date(2023, 6, 1)
    one, other = (GraphSchedule.build(dates, CODES, r, BUILDER) for r in (returns, changed))
    assert one.graph_for(june) != other.graph_for(june)
    assert one.graph_for(dt.date(2023, 5, 31)) == other.graph_for(dt.date(2023, 5, 31))


@pytest.mark.parametrize("n_first", [60, 83, 84, 120])
def test_appended_days_change_no_bit_of_earlier_snapshots(n_first: int) -> None:
    dates, returns = trading_days(150), noise(150)
    whole = GraphSchedule.build(dates, CODES, returns, BUILDER)
    part = GraphSchedule.build(dates[:n_first], CODES, returns[:n_first], BUILDER)
    assert whole.graphs[: len(part.graphs)] == part.graphs
    assert whole.snapshot_index[:n_first].tolist() == part.snapshot_index.tolist()


def test_a_later_listing_changes_no_bit_of_earlier_snapshots() -> None:
    dates, returns = trading_days(150), noise(150)
    listed = np.full((150, 1), np.nan, dtype=np.float32)
    listed[100:] = 0.02 * np.random.default_rng(5).normal(size=(50, 1))
    without = GraphSchedule.build(dates, CODES, returns, BUILDER)
    joined = GraphSchedule.build(dates, ["0001", *CODES], np.hstack([listed, returns]), BUILDER)
    for graph, wider in zip(without.graphs[:5], joined.graphs[:5], strict=True):
        assert wider.subset(CODES) == graph


def test_the_first_months_without_history_have_no_edges() -> None:
    schedule = GraphSchedule.build(trading_days(150), CODES, noise(150), BUILDER)
    january, february, march = schedule.graphs[:3]
    assert january.as_of is None and january.n_edges == 0
    assert february.as_of == dt.date(2023, 1, 31) and february.n_edges > 0  # 20 days
    assert march.n_edges > 0
    later = GraphSchedule.build(trading_days(140, "2023-01-05"), CODES, noise(140), BUILDER)
    assert later.graphs[1].n_edges == 0  # 19 days


def test_stacked_arrays_hold_every_snapshot() -> None:
    schedule = GraphSchedule.build(trading_days(150), CODES, noise(150), BUILDER)
    n_months = len(schedule.graphs)
    assert schedule.neighbours.shape == schedule.weights.shape == schedule.valid.shape == (n_months, 9, 4)
    assert schedule.neighbours.dtype == np.int64 and schedule.weights.dtype == np.float32
    for i, graph in enumerate(schedule.graphs):
        np.testing.assert_array_equal(schedule.neighbours[i], graph.neighbours)
        np.testing.assert_array_equal(schedule.weights[i], graph.weights)
        np.testing.assert_array_equal(schedule.valid[i], graph.valid)


def test_the_summary_has_one_row_per_snapshot() -> None:
    schedule = GraphSchedule.build(trading_days(150), CODES, noise(150), BUILDER)
    table = schedule.summary()
    assert table.columns == [
        "month",
        "as_of",
        "days",
        "n_edges",
        "turnover",
        "n_stocks_with_edges",
        "negative_share",
        "mean_abs_correlation",
    ]
    assert table["days"].sum() == 150
    assert table["month"][0] == "2023-01" and table["as_of"][0] is None and table["turnover"][0] is None
    assert table["n_edges"].to_list() == [graph.n_edges for graph in schedule.graphs]
    assert table["turnover"][1] == 1.0
    assert table["turnover"][2:].is_between(0, 1).all() and (table["turnover"][2:] > 0).any()
    assert table["n_stocks_with_edges"].to_list() == [0, *[9] * (table.height - 1)]
    assert table["negative_share"][0] is None and table["mean_abs_correlation"][0] is None


# Over twenty days A and B move together, C against them, and D has no returns.
_MOVES = np.tile([[1.0, 1.0, -1.0, np.nan], [-1.0, -1.0, 1.0, np.nan]], (16, 1))


def hand_schedule(second_month: tuple[int, ...] = (0, 1, 2, 3), **changes: object) -> GraphSchedule:
    """32 days in January and February, one in March; from day 20 on the stocks may be permuted."""
    dates = np.append(trading_days(32, "2024-01-02"), np.datetime64("2024-03-01"))
    returns = np.vstack([_MOVES, _MOVES[:1]])
    returns[20:] = returns[20:, second_month]
    rules = {"correlation_window": 10, "max_edges_per_node": 2, "min_edges_per_node": 0, **changes}
    return GraphSchedule.build(dates, "ABCD", returns, FinancialGraphBuilder(**rules))  # type: ignore[arg-type]


def test_the_summary_by_hand() -> None:
    table = hand_schedule().summary()
    assert table["month"].to_list() == ["2024-01", "2024-02", "2024-03"]
    assert table["days"].to_list() == [22, 10, 1]
    assert table["n_edges"].to_list() == [0, 6, 6]  # A, B and C are connected
    assert table["turnover"].to_list() == [None, 1.0, 0.0]
    assert table["n_stocks_with_edges"].to_list() == [0, 3, 3]
    assert table["negative_share"].to_list() == [None, pytest.approx(4 / 6), pytest.approx(4 / 6)]
    assert table["mean_abs_correlation"].to_list() == [None, pytest.approx(1), pytest.approx(1)]


def test_means_are_over_the_months_with_edges_in_the_given_days() -> None:
    schedule = hand_schedule(second_month=(3, 1, 2, 0))  # in March, D replaces A
    assert schedule.means() == {
        "snapshots": 2,
        "edges": 6.0,
        "turnover": pytest.approx(4 / 6),  # only the edges between B and C remain
        "negative_share": pytest.approx(4 / 6),
        "mean_abs_correlation": pytest.approx(1.0),
        "isolated": 1.0,
    }
    assert schedule.means(range(30))["snapshots"] == 1 and schedule.means(range(30))["turnover"] == 0.0
    assert set(schedule.means(range(5)).values()) == {0}
    assert str(schedule) == (
        "3 monthly graphs of 4 stocks, 2 with edges: 6 edges on average, 67% negative, |correlation| 1.00, "
        "1.0 stocks without edges, 67% of edges new each month"
    )


def test_turnover_against_another_schedule_is_the_mean_over_common_months() -> None:
    both, together = hand_schedule(), hand_schedule(include_negative_correlation=False)
    assert both.edge_turnover(both) == 0.0
    # January has no edges in either; later two of six remain.
    assert together.edge_turnover(both) == both.edge_turnover(together) == pytest.approx((0 + 4 + 4) / 6 / 3)
    later = GraphSchedule.build(trading_days(5, "2025-01-06"), CODES, noise(5), BUILDER)
    assert both.edge_turnover(later) == 0.0


def test_a_schedule_keeps_its_builder() -> None:
    assert GraphSchedule.build(trading_days(50), CODES, noise(50), BUILDER).builder == BUILDER


def test_a_day_outside_the_schedule_is_refused() -> None:
    schedule = GraphSchedule.build(trading_days(50), CODES, noise(50), BUILDER)
    assert schedule.graph_for(np.datetime64("2023-02-12")) is schedule.graphs[1]  # a Sunday
    with pytest.raises(DataError, match="from 2023-01 to 2023-03; build it from data"):
        schedule.graph_for(dt.date(2023, 4, 1))
    with pytest.raises(DataError, match="no graph for 2022-12-30"):
        schedule.graph_for(dt.date(2022, 12, 30))


def test_a_wrong_calendar_or_shape_is_refused() -> None:
    dates = trading_days(50)
    with pytest.raises(DataError, match=r"\[49, 9\]; expected \[50 days, 9 stocks\]"):
        GraphSchedule.build(dates, CODES, noise(49), BUILDER)
    with pytest.raises(DataError, match="ascending order"):
        GraphSchedule.build(dates[::-1], CODES, noise(50), BUILDER)
    with pytest.raises(DataError, match="ascending order"):
        GraphSchedule.build(dates[:0], CODES, noise(0), BUILDER)

"""Edges by hand and against a slow implementation; no effect of stock order or of the future."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_table import weekdays
from numpy.typing import NDArray

from gogooku3.errors import ConfigError, DataError
from gogooku3.graph import builder
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.correlation import masked_correlation
from gogooku3.graph.stock_graph import StockGraph

NAN = float("nan")
FIRST_DAY = dt.date(2023, 1, 2)
# Over four days: corr(A, B) = 0.8, corr(A, C) = -1, corr(B, C) = -0.8; D is at right angles to A and C
# and correlates with B at 0.6.
HAND = np.array(
    [
        [1.0, 1.4, -1.0, 1.0],
        [1.0, 0.2, -1.0, -1.0],
        [-1.0, -0.2, 1.0, 1.0],
        [-1.0, -1.4, 1.0, -1.0],
    ]
)


def market(seed: int, n_days: int, n_stocks: int, missing: float = 0.0) -> NDArray[np.float64]:
    """Returns with a market factor; every third stock moves against it."""
    rng = np.random.default_rng(seed)
    beta = np.where(np.arange(n_stocks) % 3 == 0, -1.0, 1.0)
    returns = 0.01 * rng.normal(size=(n_days, 1)) * beta + 0.01 * rng.normal(size=(n_days, n_stocks))
    returns[rng.random(returns.shape) < missing] = np.nan
    return returns


def names(n_stocks: int) -> list[str]:
    return [f"{1301 + 7 * i}" for i in range(n_stocks)]


def frame(returns: NDArray[np.floating], column: str = "ret_1d") -> pl.DataFrame:
    """One row per stock and day, without missing returns."""
    n_days, n_stocks = returns.shape
    return pl.DataFrame(
        {
            "date": np.repeat(np.array(weekdays(n_days, FIRST_DAY), dtype="datetime64[D]"), n_stocks),
            "code": names(n_stocks) * n_days,
            column: returns.ravel(),
        }
    ).filter(pl.col(column).is_not_nan())


def edges(graph: StockGraph) -> dict[tuple[str, str], float]:
    """{(source, receiver): weight}."""
    source, receiver = graph["edge_index"]
    ends = zip(source.tolist(), receiver.tolist(), strict=True)
    weights = graph["edge_weight"].tolist()
    return {(graph.codes[s], graph.codes[r]): w for (s, r), w in zip(ends, weights, strict=True)}


def hand_builder(**changes: object) -> FinancialGraphBuilder:
    rules = {"correlation_window": 4, "min_edges_per_node": 0, "max_edges_per_node": 2, **changes}
    return FinancialGraphBuilder(**rules)  # type: ignore[arg-type]


def test_four_stocks_by_hand() -> None:
    graph = hand_builder().edges_from_returns(HAND, "ABCD", as_of=dt.date(2024, 1, 4))
    assert edges(graph) == pytest.approx(
        {
            ("C", "A"): -1.0,
            ("B", "A"): 0.8,
            ("A", "B"): 0.8,
            ("C", "B"): -0.8,
            ("A", "C"): -1.0,
            ("B", "C"): -0.8,
            ("B", "D"): 0.6,
        }
    )
    assert graph.neighbours.tolist() == [[2, 1], [0, 2], [0, 1], [1, 3]]
    assert graph.valid.tolist() == [[True, True], [True, True], [True, True], [True, False]]
    assert graph.weights[3, 1] == 0.0
    assert graph.as_of == dt.date(2024, 1, 4)


def test_without_negative_correlation_only_stocks_that_move_together_have_edges() -> None:
    together = hand_builder(include_negative_correlation=False, min_edges_per_node=2)
    graph = together.edges_from_returns(HAND, "ABCD")
    assert set(edges(graph)) == {("B", "A"), ("A", "B"), ("D", "B"), ("B", "D")}


def test_a_stock_with_few_edges_takes_its_strongest_below_the_threshold() -> None:
    strict = hand_builder(correlation_threshold=0.95)
    assert set(edges(strict.edges_from_returns(HAND, "ABCD"))) == {("C", "A"), ("A", "C")}
    filled = hand_builder(correlation_threshold=0.95, min_edges_per_node=1).edges_from_returns(HAND, "ABCD")
    assert edges(filled) == pytest.approx({("C", "A"): -1, ("A", "C"): -1, ("A", "B"): 0.8, ("B", "D"): 0.6})


def test_a_correlation_at_the_threshold_is_an_edge() -> None:
    assert ("B", "D") in edges(hand_builder(correlation_threshold=0.6).edges_from_returns(HAND, "ABCD"))
    assert ("B", "D") not in edges(hand_builder(correlation_threshold=0.61).edges_from_returns(HAND, "ABCD"))


def test_a_correlation_of_zero_is_never_an_edge() -> None:
    generous = hand_builder(correlation_threshold=0.0, min_edges_per_node=2)
    assert generous.edges_from_returns(HAND[:, [0, 3]], "AD").n_edges == 0
    assert generous.edges_from_returns(HAND[:, [1, 3]], "BD").n_edges == 2


def test_ties_go_to_the_smaller_code_in_any_order() -> None:
    twins = HAND[:, [0, 1, 1, 1]]
    one = hand_builder(max_edges_per_node=1)
    assert ("M", "A") in edges(one.edges_from_returns(twins, ["A", "Z", "M", "N"]))
    assert ("M", "A") in edges(one.edges_from_returns(twins, ["A", "N", "Z", "M"]))


def slow_edges(builder: FinancialGraphBuilder, returns: NDArray[np.float64], codes: list[str]) -> dict:  # type: ignore[type-arg]
    """The rule of the docstring, one stock at a time."""
    correlation = masked_correlation(returns)
    found = {}
    for i, receiver in enumerate(codes):
        candidates = []
        for j, source in enumerate(codes):
            c = float(correlation[i, j])
            strength = abs(c) if builder.include_negative_correlation else c
            if j != i and strength > 0:
                candidates.append((-strength, source, c))
        candidates.sort()
        for rank, (negative, source, c) in enumerate(candidates[: builder.max_edges_per_node]):
            if -negative >= builder.correlation_threshold or rank < builder.min_edges_per_node:
                found[source, receiver] = c
    return found


@given(
    seed=st.integers(0, 10_000),
    n_stocks=st.integers(1, 14),
    most=st.integers(1, 12),
    least=st.integers(0, 12),
    threshold=st.floats(0, 1),
    negative=st.booleans(),
    missing=st.sampled_from([0.0, 0.1, 0.4]),
)
@settings(max_examples=60, deadline=None)
def test_edges_equal_the_rule_applied_to_one_stock_at_a_time(
    seed: int, n_stocks: int, most: int, least: int, threshold: float, negative: bool, missing: float
) -> None:
    builder = FinancialGraphBuilder(30, negative, most, threshold, min(least, most))
    returns = market(seed, 30, n_stocks, missing)
    graph = builder.edges_from_returns(returns, names(n_stocks))
    assert edges(graph) == pytest.approx(slow_edges(builder, returns, names(n_stocks)), abs=1e-6)
    assert graph.neighbours.shape == (n_stocks, most)
    own = np.arange(n_stocks)[:, None]
    assert (graph.valid == (graph.neighbours != own)).all()
    assert (graph.weights[~graph.valid] == 0).all()
    strength = np.abs(graph.weights)
    assert (np.diff(strength, axis=1) <= 0).all(), "strongest first, padding last"


@given(seed=st.integers(0, 10_000), order=st.permutations(range(12)), coarse=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_order_of_stocks_changes_nothing(seed: int, order: list[int], coarse: bool) -> None:
    returns = market(seed, 24, 12, 0.1)
    if coarse:  # many equal correlations
        returns = np.sign(returns)
        returns[:, 6:] = returns[:, :6]
    builder = FinancialGraphBuilder(24, max_edges_per_node=4, min_edges_per_node=2)
    codes = names(12)
    graph = builder.edges_from_returns(returns, codes)
    permuted = builder.edges_from_returns(returns[:, order], [codes[i] for i in order])
    assert permuted.subset(codes) == graph


def test_a_stock_without_history_has_no_edges_and_changes_no_other_stock() -> None:
    returns = market(1, 60, 20)
    returns[:, 5] = np.nan
    returns[:21, 6] = np.nan
    builder = FinancialGraphBuilder()
    graph = builder.edges_from_returns(returns, names(20))
    absent = {names(20)[5], names(20)[6]}
    assert not any(absent & set(pair) for pair in edges(graph))
    rest = [i for i in range(20) if i not in (5, 6)]
    alone = builder.edges_from_returns(returns[:, rest], [names(20)[i] for i in rest])
    assert graph.subset(alone.codes) == alone


def test_forty_of_sixty_days_are_enough_history() -> None:
    returns = market(1, 60, 20)
    returns[:20, 6] = np.nan
    graph = FinancialGraphBuilder().edges_from_returns(returns, names(20))
    assert graph.valid[6].sum() >= 5


def test_a_window_of_fewer_than_twenty_days_carries_no_edges() -> None:
    assert FinancialGraphBuilder().edges_from_returns(market(2, 19, 12), names(12)).n_edges == 0
    assert FinancialGraphBuilder().edges_from_returns(market(2, 20, 12), names(12)).n_edges > 0
    assert FinancialGraphBuilder().edges_from_returns(np.empty((0, 12)), names(12)).n_edges == 0


def test_fifty_stocks_have_a_plausible_number_of_edges() -> None:
    graph = FinancialGraphBuilder().build_graph(frame(market(3, 80, 60)), names(60)[:50], "2024-12-31")
    assert graph["n_nodes"] == 50
    assert 250 <= graph["n_edges"] <= 500
    assert (graph["edge_weight"] < 0).any() and (graph["edge_weight"] > 0).any()
    kept = FinancialGraphBuilder(include_negative_correlation=False).build_graph(frame(market(3, 80, 60)))
    assert (kept["edge_weight"] > 0).all()


def test_exactly_the_last_window_of_market_days_is_used() -> None:
    returns = market(4, 90, 12, 0.05)
    days = weekdays(90, FIRST_DAY)
    graph = FinancialGraphBuilder().build_graph(frame(returns), names(12), days[79])
    assert graph == FinancialGraphBuilder().edges_from_returns(returns[20:80], names(12), as_of=days[79])
    shorter = FinancialGraphBuilder().build_graph(frame(returns), names(12), days[79], date_window=30)
    assert shorter == FinancialGraphBuilder(30).edges_from_returns(returns[50:80], names(12), as_of=days[79])


def test_date_end_may_be_text_a_weekend_or_past_the_data() -> None:
    data = frame(market(5, 40, 8))
    build = FinancialGraphBuilder(30).build_graph
    friday = build(data, names(8), dt.date(2023, 2, 17))
    assert friday.as_of == dt.date(2023, 2, 17)
    assert build(data, names(8), "2023-02-19") == friday
    assert build(data, names(8), dt.datetime(2023, 2, 18, 15, 30)) == friday
    assert build(data, names(8), "2030-01-01") == build(data, names(8)) == build(data)
    assert build(data).as_of == weekdays(40, FIRST_DAY)[-1]


def test_prices_give_the_same_graph_as_their_returns() -> None:
    returns = market(6, 70, 10)
    prices = 100 * np.cumprod(1 + returns, axis=0)
    from_prices = FinancialGraphBuilder().build_graph(frame(prices, "close"))
    from_returns = FinancialGraphBuilder().build_graph(frame(returns))
    assert from_prices.neighbours.tolist() == from_returns.neighbours.tolist()
    np.testing.assert_allclose(from_prices.weights, from_returns.weights, atol=1e-6)


def test_a_return_needs_the_price_of_the_market_day_before() -> None:
    returns = market(7, 61, 6)
    prices = 100 * np.cumprod(1 + returns, axis=0)
    prices[30, 2] = np.nan
    prices[40, 3] = 0.0
    returns[30:32, 2] = np.nan
    returns[40:42, 3] = np.nan
    from_prices = FinancialGraphBuilder().build_graph(frame(prices, "close"))
    from_returns = FinancialGraphBuilder().build_graph(frame(returns))
    np.testing.assert_allclose(from_prices.weights, from_returns.weights, atol=1e-6)


def test_rescaling_a_stocks_whole_history_of_prices_changes_no_edge() -> None:
    prices = 100 * np.cumprod(1 + market(8, 70, 10), axis=0)
    split = prices.copy()
    split[:, 4] *= 0.25
    build = FinancialGraphBuilder().build_graph
    assert build(frame(split, "close")) == build(frame(prices, "close"))


@pytest.mark.parametrize("column", ["ret_1d", "close"])
@pytest.mark.parametrize("future", ["altered", "removed", "a new stock", "a new day"])
def test_the_future_changes_no_bit_of_a_graph(column: str, future: str) -> None:
    values = market(9, 100, 12, 0.05)
    data = frame(100 * np.exp(values) if column == "close" else values, column)
    cut = weekdays(100, FIRST_DAY)[69]
    later = pl.col("date") > cut
    other_value = pl.when(later).then(pl.col(column) * -3 + 1).otherwise(column).alias(column)
    listing = data.filter(later).with_columns(pl.lit("0001").alias("code")).unique("date")
    changed = {
        "altered": data.with_columns(other_value),
        "removed": data.filter(~later),
        "a new stock": pl.concat([data, listing]),
        "a new day": pl.concat([data, data.tail(1).with_columns(pl.lit(dt.date(2024, 1, 1)).alias("date"))]),
    }[future]
    build = FinancialGraphBuilder().build_graph
    graph = build(data, names(12), cut)
    assert graph.n_edges > 0
    assert build(changed, names(12), cut) == graph
    if future == "a new stock":
        assert build(changed, ["0001", *names(12)], cut).subset(names(12)) == graph


def test_the_order_of_rows_and_the_spelling_of_keys_do_not_matter() -> None:
    data = frame(market(10, 60, 8))
    build = FinancialGraphBuilder().build_graph
    shuffled = data.sample(fraction=1.0, shuffle=True, seed=1).rename({"date": "Date", "code": "LocalCode"})
    assert build(shuffled) == build(data)
    numbered = data.with_columns(pl.col("code").cast(pl.Int64), pl.col("date").cast(pl.Datetime))
    assert build(numbered) == build(data)


def test_stock_codes_may_be_a_series_a_generator_or_left_out() -> None:
    data = frame(market(11, 60, 8))
    build = FinancialGraphBuilder().build_graph
    assert build(data, data["code"].unique(maintain_order=True)).n_edges > 0
    assert build(data, names(8)) == build(data, (code for code in names(8))) == build(data)


def test_wrong_stock_codes_are_refused() -> None:
    data = frame(market(12, 30, 4))
    build = FinancialGraphBuilder().build_graph
    with pytest.raises(DataError, match="unknown stock codes: 9999, X; the frame has 1301, 1308"):
        build(data, ["1301", "X", "9999"])
    with pytest.raises(DataError, match="repeated stock codes: 1301"):
        build(data, ["1301", "1308", "1301"])
    with pytest.raises(DataError, match="single string '1301'"):
        build(data, "1301")
    with pytest.raises(DataError, match="stock_codes is empty"):
        build(data, [])


def test_the_error_for_missing_returns_lists_the_columns_and_a_fix() -> None:
    data = frame(market(13, 30, 4), "momentum")
    with pytest.raises(DataError, match=r"'ret_1d' or 'close' .* date, code, momentum; .* return_column"):
        FinancialGraphBuilder().build_graph(data)
    with pytest.raises(DataError, match="looked for 'daily'"):
        FinancialGraphBuilder(return_column="daily").build_graph(data)
    assert FinancialGraphBuilder(return_column="momentum").build_graph(data).n_edges > 0


def test_an_unreadable_frame_is_refused_with_the_reason() -> None:
    data = frame(market(14, 30, 4))
    build = FinancialGraphBuilder().build_graph
    with pytest.raises(DataError, match=r"needs the column code, which is missing; it has date"):
        build(data.drop("code"))
    with pytest.raises(DataError, match="not a number"):
        build(data.with_columns(pl.col("ret_1d").cast(pl.String)))
    with pytest.raises(DataError, match=r"str\.to_date"):
        build(data.with_columns(pl.col("date").cast(pl.String)))
    with pytest.raises(DataError, match="1301 has two rows on 2023-01-02"):
        build(pl.concat([data, data.head(1)]))
    with pytest.raises(DataError, match="no row with a date"):
        build(data.clear())


def test_a_date_end_before_the_data_or_unreadable_is_refused() -> None:
    data = frame(market(15, 30, 4))
    with pytest.raises(DataError, match="is 2022-12-30 but the frame runs from 2023-01-02 to 2023-02-10"):
        FinancialGraphBuilder().build_graph(data, date_end="2022-12-30")
    with pytest.raises(DataError, match="YYYY-MM-DD"):
        FinancialGraphBuilder().build_graph(data, date_end="31/12/2022")


def test_codes_must_match_the_columns_of_returns() -> None:
    with pytest.raises(DataError, match="4 columns but there are 3 codes"):
        FinancialGraphBuilder().edges_from_returns(HAND, "ABC")
    with pytest.raises(DataError, match="repeated stock codes: A"):
        FinancialGraphBuilder().edges_from_returns(HAND, "ABCA")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"correlation_window": 2}, "correlation_window is 2; choose a whole number from 3"),
        ({"correlation_window": 60.0}, "whole number"),
        ({"max_edges_per_node": 0, "min_edges_per_node": 0}, "max_edges_per_node is 0"),
        ({"min_edges_per_node": -1}, "min_edges_per_node is -1"),
        ({"min_edges_per_node": True}, "min_edges_per_node is True"),
        ({"max_edges_per_node": 3}, "min_edges_per_node is 5 but max_edges_per_node is 3"),
        ({"correlation_threshold": 1.5}, "from 0 to 1"),
        ({"correlation_threshold": NAN}, "from 0 to 1"),
        ({"return_column": "target_1d"}, "looks into the future"),
        ({"return_column": "close"}, "a price, not a return"),
    ],
)
def test_a_bad_rule_fails_at_construction(rule: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FinancialGraphBuilder(**rule)  # type: ignore[arg-type]


def test_the_number_of_stocks_per_block_changes_no_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returns = market(5, n_days=60, n_stocks=23)
    codes = [f"{stock:04}" for stock in range(23)]
    whole = FinancialGraphBuilder().edges_from_returns(returns, codes)
    monkeypatch.setattr(builder, "_ROWS", 3)
    found = FinancialGraphBuilder().edges_from_returns(returns, codes)
    assert np.array_equal(found.neighbours, whole.neighbours) and np.array_equal(found.weights, whole.weights)
    assert not (found.neighbours == np.arange(23)[:, None])[found.valid].any()

"""Overnight and daytime returns, value traded, size and sectors, by hand and without look-ahead."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gogooku3.errors import ConfigError, DataError
from gogooku3.evaluation.market import Market
from gogooku3.evaluation.portfolio import portfolio_returns

DAYS = [dt.date(2024, 1, day) for day in (4, 5, 8, 9)]


def prices(**columns: list) -> pl.DataFrame:
    """Stocks A and B on four days; columns are ordered by day, A before B."""
    keys = {"date": [day for day in DAYS for _ in "AB"], "code": ["A", "B"] * 4}
    default = {
        "open": [10.0, 5.0, 11.0, 5.0, 12.0, 5.0, 12.0, 5.0],
        "close": [10.0, 5.0, 12.0, 5.0, 9.0, 5.0, 12.0, 5.0],
        "volume": [1.0, 100.0, 2.0, 100.0, 3.0, 100.0, 4.0, 100.0],
    }
    return pl.DataFrame({**keys, **(default | columns)})


def one_day(frame: pl.DataFrame) -> pl.DataFrame:
    close = pl.col("close")
    return frame.sort("code", "date").select(
        "date", "code", (close.shift(-1).over("code") / close - 1).alias("return")
    )


def test_a_return_splits_into_night_and_daytime():
    market = Market(one_day(prices()), prices())
    assert market.night[:, 0] == pytest.approx([0.1, 0.0, 12 / 9 - 1, np.nan], nan_ok=True)
    assert market.daytime[:, 0] == pytest.approx([12 / 11 - 1, -0.25, 0.0, np.nan], nan_ok=True)
    assert (1 + market.night) * (1 + market.daytime) - 1 == pytest.approx(market.returns, nan_ok=True)


def test_a_stock_without_an_opening_price_is_traded_at_the_close():
    frame = prices(open=[10.0, 5.0, None, 5.0, 12.0, 5.0, 12.0, 5.0])
    market = Market(one_day(prices()), frame)
    assert (market.night[0, 0], market.daytime[0, 0]) == pytest.approx((0.2, 0.0))


def test_a_halted_stock_earns_its_whole_move_when_it_trades_again():
    frame = prices().filter(~((pl.col("code") == "A") & pl.col("date").is_in(DAYS[1:3])))
    returns = one_day(prices()).with_columns(
        pl.when((pl.col("code") == "A") & (pl.col("date") < DAYS[3]))
        .then(None)
        .otherwise("return")
        .alias("return")
    )
    market = Market(returns, frame)
    np.testing.assert_allclose(market.returns[:, 0], [0.0, 0.0, 0.2, np.nan])
    # The opening price of the last day is 12, after a last close of 10.
    np.testing.assert_allclose(market.night[:, 0], [0.0, 0.0, 0.2, np.nan])
    assert market.traded[:, 0].tolist() == [True, False, False, True]
    assert not market.gone.any() and not market.delisted.any()


def test_a_stock_that_never_trades_again_earns_the_delisting_return_and_is_gone():
    frame = prices().filter((pl.col("code") == "B") | (pl.col("date") <= DAYS[1]))
    returns = one_day(prices()).with_columns(
        pl.when((pl.col("code") == "A") & (pl.col("date") >= DAYS[1]))
        .then(None)
        .otherwise("return")
        .alias("return")
    )
    market = Market(returns, frame, delisting_return=-0.3)
    np.testing.assert_allclose(market.returns[:, 0], [0.2, -0.3, np.nan, np.nan])
    assert market.delisted[:, 0].tolist() == [False, True, False, False]
    assert market.gone[:, 0].tolist() == [False, False, True, True]
    assert not market.gone[:, 1].any()


def test_complete_daily_returns_need_no_prices():
    """With the column `traded`, missing days are a halt (A) or a delisting (B)."""
    given = pl.DataFrame(
        {
            "date": [*DAYS, DAYS[0], DAYS[2], DAYS[3], DAYS[0], DAYS[1]],
            "code": [*"CCCC", *"AAA", *"BB"],
            "return": [0.0, 0.0, 0.0, None, 0.0, -0.6, None, 0.1, None],
            "traded": [True, True, True, True, True, False, True, True, True],
        }
    )
    market = Market(given, delisting_return=-1.0)
    np.testing.assert_allclose(market.returns[:, 0], [0.0, 0.0, -0.6, np.nan])
    np.testing.assert_allclose(market.returns[:, 1], [0.1, -1.0, np.nan, np.nan])
    assert market.gone[:, 1].tolist() == [False, False, True, True]


def test_returns_that_differ_from_the_prices_are_earned_at_the_close():
    market = Market(one_day(prices()), prices(close=[10.0, 5.0, 24.0, 5.0, 18.0, 5.0, 24.0, 5.0]))
    np.testing.assert_allclose(market.night[:, 0], [0.2, 12 / 24 - 1, 12 / 18 - 1, np.nan])
    np.testing.assert_allclose(market.daytime[:, 0], [0.0, 0.5, 1.0, np.nan])


def test_the_value_traded_uses_no_later_day():
    market = Market(one_day(prices()), prices())
    assert market.value[:, 0] == pytest.approx([10.0, 17.0, 61 / 3, 109 / 4])
    assert market.value[:, 1] == pytest.approx([500.0] * 4)
    assert market.size.tolist() == [[0.0, 1.0]] * 4
    changed = prices(
        close=[10.0, 5.0, 12.0, 5.0, 99.0, 1.0, 99.0, 1.0],
        volume=[1.0, 100.0, 2.0, 100.0, 9e9, 1.0, 9e9, 1.0],
    )
    later = Market(one_day(prices()), changed)
    assert (later.value[:2] == market.value[:2]).all() and (later.size[:2] == market.size[:2]).all()


def test_size_is_market_value_if_the_prices_have_it():
    # A trades less than B but has more market value; that of B is unknown on the second day.
    market_caps = prices(known_market_cap=[9e9, 1e9, 9e9, None, 9e9, 1e9, 1e9, 9e9])
    market = Market(one_day(prices()), market_caps)
    np.testing.assert_array_equal(market.size, [[1.0, 0.0], [0.0, np.nan], [1.0, 0.0], [0.0, 1.0]])
    assert market.value[:, 1] == pytest.approx([500.0] * 4)
    unknown = prices(known_market_cap=[None] * 8).cast({"known_market_cap": pl.Float64})
    assert Market(one_day(prices()), unknown).size.tolist() == [[0.0, 1.0]] * 4
    only_caps = Market(one_day(prices()), market_caps.drop("volume"))
    assert only_caps.value is None
    np.testing.assert_array_equal(only_caps.size, market.size)


def _table(scores: list[float]) -> pl.DataFrame:
    return one_day(prices()).select(
        "date",
        "code",
        fold=0,
        model=pl.lit("m"),
        horizon=1,
        prediction=pl.col("code").replace_strict({"A": scores[0], "B": scores[1]}),
        target="return",
    )


def test_the_capacity_is_the_capital_at_which_trades_reach_the_volume_share():
    # Day 1 buys 1 of A (value traded 10) and sells 1 of B (500); the limit is 1 % of 10. Then A and capital
    # gain 20 %: A's weight stays 1, and 1 - 1 / 1.2 of B is sold again. On the last day both fall by 25 %.
    result = portfolio_returns(_table([1.0, 0.0]), prices=prices())
    assert result["capacity"].to_list() == pytest.approx([0.1, 5 / (1 - 1 / 1.2), 5 / (1 / 0.75 - 1)])
    bigger = portfolio_returns(_table([1.0, 0.0]), prices=prices(), volume_share=0.05)
    assert bigger["capacity"][0] == pytest.approx(0.5)
    long = portfolio_returns(_table([0.0, 1.0]), prices=prices(), side="long_only")
    assert long["capacity"][0] == pytest.approx(5.0)


def test_size_and_sector_tilts_of_one_stock_per_leg():
    priced = prices().with_columns(sector=pl.col("code").replace_strict({"A": "tech", "B": "banks"}))
    result = portfolio_returns(_table([1.0, 0.0]), prices=priced)
    # Long the least traded stock and short the most; one sector long, the other short.
    assert result["size_tilt"].to_list() == [-1.0] * 3
    assert result["sector_tilt"].to_list() == [2.0] * 3
    one_sector = portfolio_returns(_table([1.0, 0.0]), prices=prices().with_columns(sector=pl.lit("all")))
    assert one_sector["sector_tilt"].to_list() == [None] * 3
    long = portfolio_returns(_table([0.0, 1.0]), prices=priced, side="long_only")
    assert long["size_tilt"].to_list() == [0.5] * 3


def test_prices_do_not_change_returns_at_the_close():
    table = _table([1.0, 0.0])
    shared = ["gross", "net", "turnover", "n_held"]
    assert (
        portfolio_returns(table, prices=prices())
        .select(shared)
        .equals(portfolio_returns(table).select(shared))
    )


def test_invalid_settings_and_prices_are_refused():
    table = _table([1.0, 0.0])
    with pytest.raises(ConfigError, match="needs opening prices"):
        portfolio_returns(table, entry="open")
    with pytest.raises(ConfigError, match=r"borrow_rate is -0\.1"):
        portfolio_returns(table, borrow_rate=-0.1)
    with pytest.raises(DataError, match="lack 1 of the 4 days that are scored, such as 2024-01-09"):
        portfolio_returns(table, prices=prices().filter(pl.col("date") < DAYS[3]))
    with pytest.raises(DataError, match="more than one row for a stock and day"):
        portfolio_returns(table, prices=pl.concat([prices(), prices()]))
    with pytest.raises(DataError, match="column open"):
        portfolio_returns(table, prices=prices().drop("open"))

"""Prices that are not those of the predictions are refused or reported."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gogooku3.errors import DataError
from gogooku3.evaluation.daily_series import daily_series
from gogooku3.evaluation.price_check import check_prices_match

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(60)]
CODES = [str(7200 + stock) for stock in range(10)]


@pytest.fixture(scope="module")
def prices() -> pl.DataFrame:
    moves = np.random.default_rng(1).normal(0, 0.02, size=(60, 10))
    close = 100 * np.cumprod(1 + moves, axis=0)
    return pl.DataFrame(
        {
            "date": np.repeat(np.array(DAYS, dtype="datetime64[D]"), 10),
            "code": CODES * 60,
            "open": close.ravel(),
            "close": close.ravel(),
        }
    )


@pytest.fixture(scope="module")
def table(prices: pl.DataFrame) -> pl.DataFrame:
    target = pl.col("close").shift(-1).over("code") / pl.col("close") - 1
    return prices.select(
        "date", "code", fold=0, model=pl.lit("m"), horizon=1, prediction=pl.col("close"), target=target
    )


def test_the_prices_of_the_table_agree(table, prices):
    check = check_prices_match(table, prices)
    assert check.to_dict() == {"predictions": 600, "without_price": 0, "compared": 590, "different": 0}


def test_other_spellings_of_the_codes_are_refused(table, prices):
    other = prices.with_columns(pl.col("code") + ".T")
    with pytest.raises(DataError, match=r"no row for 600 of the 600 predictions, such as 7200 on 2024-01-01"):
        daily_series(table, prices=other)
    with pytest.raises(DataError, match="no row for 300 of the 600"):
        check_prices_match(table, prices.filter(pl.col("code") < "7205"))


def test_unadjusted_prices_are_refused(table, prices):
    # One split of 2 for 1 for every stock, on different days.
    day = pl.col("date").rank("dense").over("code").cast(pl.Int64)
    before = day < 10 + pl.col("code").cast(pl.Int64) - 7200
    raw = prices.with_columns(pl.col("open", "close") * pl.when(before).then(2.0).otherwise(1.0))
    with pytest.raises(DataError, match=r"10 of 590 returns in the prices differ .* adjusted for splits"):
        check_prices_match(table, raw)


def test_a_few_differences_are_counted_and_those_returns_are_not_believed(table, prices):
    wrong = (pl.col("code") == "7203") & (pl.col("date") == DAYS[30])
    some = prices.with_columns(pl.col("open", "close") * pl.when(wrong).then(2.0).otherwise(1.0))
    some = some.filter(~((pl.col("code") == "7204") & (pl.col("date") > DAYS[50])))
    series = daily_series(table, prices=some)
    assert (series.prices.different, series.prices.without_price) == (2, 9)
    expected = daily_series(table, prices=prices).long_short
    assert series.long_short["gross"].to_list() == expected["gross"].to_list()


def test_the_shortest_horizon_is_compared(table, prices):
    target = pl.col("close").shift(-5).over("code") / pl.col("close") - 1
    five = table.with_columns(horizon=5, target=prices.select(target).to_series())
    assert check_prices_match(five, prices).to_dict()["different"] == 0
    with pytest.raises(DataError, match="over 5 trading days"):
        check_prices_match(five.with_columns(pl.col("target") * 1.3), prices)

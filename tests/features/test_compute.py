"""Features of sparse markets are computed and kept per row."""

import datetime as dt

import numpy as np
import polars as pl

from gogooku3.features.compute import Rows, compute_features
from gogooku3.features.price_grid import build_grid


def sparse_market(n_stocks: int = 60, n_days: int = 90, share: float = 0.1) -> pl.DataFrame:
    """Prices of stocks that trade on a tenth of the days, sorted by (code, date)."""
    random = np.random.default_rng(0)
    stock, day = np.nonzero(random.random((n_stocks, n_days)) < share)
    close = 100 * np.exp(random.normal(scale=0.1, size=len(stock)))
    first = dt.date(2024, 1, 1)
    dates = pl.date_range(first, first + dt.timedelta(n_days - 1), eager=True)
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    return pl.DataFrame({"date": dates[day], "code": [f"{s:03}" for s in stock], **columns, "volume": 1.0})


def test_the_memory_of_a_feature_follows_the_rows_not_days_times_stocks() -> None:
    prices = sparse_market()
    grid = build_grid(prices)
    column = Rows.of(grid).empty()
    assert column.nbytes == 4 * prices.height < grid.present.size


def test_columns_and_dense_values_convert_into_each_other() -> None:
    prices = sparse_market()
    grid = build_grid(prices)
    rows = Rows.of(grid)
    dense = grid.prices["close"].astype(np.float32)
    cells, numbers = rows.places(slice(10, 20))
    column = rows.empty()
    column[numbers] = dense[:, 10:20].ravel()[cells]
    expected = np.full_like(dense, np.nan)
    expected[:, 10:20] = dense[:, 10:20]
    np.testing.assert_array_equal(rows.spread(column), expected)


def test_features_of_a_sparse_market_belong_to_its_rows() -> None:
    prices = sparse_market()
    features = compute_features(prices)
    assert features.select("date", "code").equals(prices.select("date", "code").sort("date", "code"))
    weekdays = (prices["date"].dt.weekday() - 1).cast(pl.Float32)
    expected = prices.select("date", "code", weekday=weekdays).sort("date", "code")["weekday"]
    assert features["weekday"].equals(expected)

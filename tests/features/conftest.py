"""A small synthetic market with late listings, gaps, missing highs and lows, and days without volume."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

MakePrices = Callable[..., pl.DataFrame]


def _make_prices(
    n_days: int = 160,
    n_stocks: int = 6,
    seed: int = 0,
    dirt: float = 0.03,
    sectors: int = 0,
    index: bool = False,
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    shape = (n_days, n_stocks)
    market = 0.01 * rng.normal(size=(n_days, 1))
    close = 100 * np.exp(np.cumsum(market + 0.02 * rng.normal(size=shape), axis=0))
    open_ = close * np.exp(0.01 * rng.normal(size=shape))
    high = np.maximum(open_, close) * np.exp(0.01 * rng.random(shape))
    low = np.minimum(open_, close) * np.exp(-0.01 * rng.random(shape))
    volume = np.exp(10 + rng.normal(size=shape)).round()
    for values in (high, low, open_):
        values[rng.random(shape) < dirt / 2] = np.nan
    volume[rng.random(shape) < dirt] = 0
    listed = rng.integers(0, n_days // 4, n_stocks) if dirt else np.zeros(n_stocks, int)
    traded = (rng.random(shape) >= dirt) & (np.arange(n_days)[:, None] >= listed)
    traded[:, 0] = True
    day, stock = np.nonzero(traded)
    dates = [dt.date(2020, 1, 1) + dt.timedelta(days=int(d) + 2 * (int(d) // 5)) for d in range(n_days)]
    columns = {"date": [dates[d] for d in day], "code": [f"S{s:02d}" for s in stock]}
    for name, values in (("open", open_), ("high", high), ("low", low), ("close", close), ("volume", volume)):
        columns[name] = values[day, stock]
    if sectors:
        columns["sector"] = [f"sector {s % sectors}" for s in stock]
    if index:
        columns["index_close"] = 1000 * np.exp(np.cumsum(market[:, 0]))[day]
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None)).sort("code", "date")


@pytest.fixture(name="make_prices", scope="session")
def make_prices_fixture() -> MakePrices:
    return _make_prices

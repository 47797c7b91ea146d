"""The daily series of a prediction table, computed once for scores and charts."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from gogooku3.evaluation.daily_ic import GROUP, daily_ic
from gogooku3.evaluation.market import Market
from gogooku3.evaluation.portfolio import Entry, Side, one_day_returns, portfolio_returns
from gogooku3.evaluation.prediction_table import by_horizon, check_predictions, shared_rows
from gogooku3.schema import CODE, DATE


@dataclass(frozen=True)
class Trading:
    """Settings of `portfolio_returns`, which documents them."""

    cost_bps: float = 10.0
    quantile: float = 0.2
    entry: Entry = "close"
    borrow_rate: float = 0.0
    volume_share: float = 0.01


DEFAULT_TRADING = Trading()


@dataclass(frozen=True)
class DailySeries:
    """Daily correlations and portfolio returns, one row per model, horizon, fold and day."""

    trading: Trading
    checked: pl.DataFrame
    """The prediction table in canonical types and order."""
    scored: pl.DataFrame
    """Its rows that every competing model predicts."""
    lost: dict[str, int]
    """Rows excluded from `scored`, by model."""
    correlations: pl.DataFrame
    """See `daily_ic`."""
    long_short: pl.DataFrame
    """See `portfolio_returns`; `market` is the mean one-day return of all stocks."""
    long_only: pl.DataFrame
    """The same of the long legs."""
    one_day: pl.DataFrame
    """`date, code, return`: the one-day returns of the portfolios' stocks."""


def daily_series(
    table: pl.DataFrame,
    trading: Trading = DEFAULT_TRADING,
    daily_returns: pl.DataFrame | None = None,
    prices: pl.DataFrame | None = None,
) -> DailySeries:
    """Check a prediction table, keep the rows that all models share, and compute their daily series.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`).
        trading: portfolio settings.
        daily_returns, prices: see `portfolio_returns`.

    Raises:
        DataError: a malformed table, no shared rows, no one-day returns, or malformed prices.
        ConfigError: `trading` is out of range, or needs prices that are not given.
    """
    checked = check_predictions(table)
    scored, lost = shared_rows(checked)
    one_day = one_day_returns(checked) if daily_returns is None else daily_returns
    settings: dict[str, Any] = {**asdict(trading), "daily_returns": one_day, "prices": prices}
    market = Market(one_day)
    average = pl.DataFrame({DATE: market.dates[DATE], "market": market.average()}, nan_to_null=True)

    def compute(daily: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        return by_horizon(scored, daily).sort(*GROUP, DATE)

    def portfolios(side: Side) -> pl.DataFrame:
        returns = compute(lambda rows: portfolio_returns(rows, **settings, side=side))
        return returns.join(average, on=DATE, how="left", maintain_order="left")

    correlations = compute(daily_ic)
    long_short, long_only = portfolios("long_short"), portfolios("long_only")
    return DailySeries(trading, checked, scored, lost, correlations, long_short, long_only, one_day)


DECAY_LAGS = (1, 2, 3, 5, 10, 20)
"""Days ahead at which predictions are correlated with one-day returns."""


def ic_decay(series: DailySeries, horizon: int) -> pl.DataFrame:
    """Correlate predictions with the one-day returns of later days, to measure how long they stay good.

    For each lag, the prediction of day `t` for `horizon` days is paired with the one-day return that ends on
    trading day `t + lag`. Days without that return have no row.

    Returns:
        `daily_ic`'s columns and `lag`.
    """
    dates = series.one_day.select(pl.col(DATE).unique().sort())
    calendar = dates.with_columns(pl.int_range(pl.len()).alias("day"))
    codes = pl.col(CODE).cast(pl.String).cast(series.scored.schema[CODE], strict=False)
    returns = series.one_day.join(calendar, on=DATE).select("day", codes, pl.col("return").alias("target"))
    rows = series.scored.filter(horizon=horizon).drop("target").join(calendar, on=DATE)
    frames = []
    for lag in DECAY_LAGS:
        later = returns.with_columns(pl.col("day") - (lag - 1))
        frames.append(daily_ic(rows.join(later, on=["day", CODE])).with_columns(lag=lag))
    return pl.concat(frames)

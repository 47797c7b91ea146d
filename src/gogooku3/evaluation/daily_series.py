"""The daily series of a prediction table, made once: what scores summarise and charts draw."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from gogooku3.evaluation.daily_ic import GROUP, daily_ic
from gogooku3.evaluation.market import Market
from gogooku3.evaluation.portfolio import Entry, one_day_returns, portfolio_returns
from gogooku3.evaluation.prediction_table import by_horizon, check_predictions, shared_rows
from gogooku3.schema import CODE, DATE


@dataclass(frozen=True)
class Trading:
    """How predictions are held; `portfolio_returns` says what each one means."""

    cost_bps: float = 10.0
    quantile: float = 0.2
    entry: Entry = "close"
    borrow_rate: float = 0.0
    volume_share: float = 0.01


DEFAULT_TRADING = Trading()


@dataclass(frozen=True)
class DailySeries:
    """Tables with a row a model, horizon, fold and day, but for `checked` and `scored` (a row a prediction)
    and `market` (a row a day)."""

    trading: Trading
    checked: pl.DataFrame
    """The prediction table, canonical."""
    scored: pl.DataFrame
    """Its rows that every model shares."""
    lost: dict[str, int]
    """Rows that sharing cost each model."""
    correlations: pl.DataFrame
    """As `daily_ic` returns them."""
    long_short: pl.DataFrame
    """Long-short portfolios, as `portfolio_returns` returns them."""
    long_only: pl.DataFrame
    """Their long legs, likewise."""
    market: pl.DataFrame
    """`date, market`: the mean one-day return of all stocks, from the close of `date` on."""
    one_day: pl.DataFrame
    """`date, code, return`: what the books were paid with."""


def daily_series(
    table: pl.DataFrame,
    trading: Trading = DEFAULT_TRADING,
    daily_returns: pl.DataFrame | None = None,
    prices: pl.DataFrame | None = None,
) -> DailySeries:
    """Check a prediction table, cut it to the rows all models share, and follow it day by day.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`).
        trading: how it is held.
        daily_returns, prices: as for `portfolio_returns`.

    Raises:
        DataError: a malformed table, no shared rows, no one-day returns, or malformed prices.
        ConfigError: how it is held contradicts itself.
    """
    checked = check_predictions(table)
    scored, lost = shared_rows(checked)
    one_day = one_day_returns(checked) if daily_returns is None else daily_returns
    rules: dict[str, Any] = {**asdict(trading), "daily_returns": one_day, "prices": prices}
    market = Market(one_day)
    average = pl.DataFrame({DATE: market.dates[DATE], "market": market.average()}, nan_to_null=True)

    def followed(follow: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        return by_horizon(scored, follow).sort(*GROUP, DATE)

    return DailySeries(
        trading=trading,
        checked=checked,
        scored=scored,
        lost=lost,
        correlations=followed(daily_ic),
        long_short=followed(lambda rows: portfolio_returns(rows, **rules)),
        long_only=followed(lambda rows: portfolio_returns(rows, **rules, side="long_only")),
        market=average,
        one_day=one_day,
    )


DECAY_LAGS = (1, 2, 3, 5, 10, 20)
"""Days ahead at which a prediction's rank correlation with that one day's return is taken."""


def decay(series: DailySeries, horizon: int) -> pl.DataFrame:
    """How long predictions stay good: their daily correlation with single later days.

    The prediction of day `t` for `horizon` days is set against the one-day return that ends on trading day
    `t + lag`, for each lag up to 20. Days whose return isn't known yet have no row.

    Returns:
        `daily_ic`'s columns and `lag`.
    """
    calendar = series.one_day.select(pl.col(DATE).unique().sort()).with_row_index("day")
    calendar = calendar.with_columns(pl.col("day").cast(pl.Int64))
    kind = series.scored.schema[CODE]
    codes = pl.col(CODE).cast(pl.String).cast(kind, strict=False)
    returns = series.one_day.join(calendar, on=DATE).select("day", codes, pl.col("return").alias("target"))
    rows = series.scored.filter(pl.col("horizon") == horizon).drop("target").join(calendar, on=DATE)
    frames = []
    for lag in DECAY_LAGS:
        later = returns.with_columns(pl.col("day") - (lag - 1))
        daily = daily_ic(rows.join(later, on=["day", CODE]))
        frames.append(daily.with_columns(pl.lit(lag).alias("lag")))
    return pl.concat(frames)

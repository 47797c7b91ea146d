"""The daily series of a prediction table, computed once for scores and charts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from gogooku3.evaluation.daily_ic import GROUP, daily_ic
from gogooku3.evaluation.market import RETURN, Market
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.portfolio import Side, Trading, holdings, simulate
from gogooku3.evaluation.prediction_table import by_horizon, check_predictions, shared_rows
from gogooku3.evaluation.price_check import PriceCheck, check_prices_match
from gogooku3.evaluation.spacing import calendar_spacing
from gogooku3.schema import CODE, DATE

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
    """See `portfolio_returns`; `market` is the mean return of all stocks."""
    long_only: pl.DataFrame
    """The same of the long legs."""
    one_day: pl.DataFrame
    """`date, code, return`: the one-day returns of the portfolios' stocks; empty if there are none."""
    calendar: pl.Series
    """Trading days of `one_day`."""
    period_days: int
    """Trading days of a row of the portfolios: 1, or the spacing of a table without daily returns."""
    spacing_days: int
    """Trading days from one prediction to the next."""
    prices: PriceCheck | None
    """Comparison of the prices with the predictions; None without prices."""

    @property
    def periods_per_year(self) -> float:
        """Rows of the portfolios per year."""
        return PERIODS_PER_YEAR / self.period_days

    def target_overlap(self, horizon: int) -> int:
        """Predictions whose targets overlap with one prediction's, itself included."""
        return -(-horizon // self.spacing_days)

    def return_overlap(self, horizon: int) -> int:
        """Rows of the portfolios for which a book is held."""
        return -(-horizon // self.period_days)


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
        DataError: a malformed table, no shared rows, no one-day returns, irregular dates, or prices that are
            malformed or not those of the table.
        ConfigError: `trading` is out of range, or needs prices that are not given.
    """
    trading.check(prices is not None)
    checked = check_predictions(table)
    matched = None if prices is None else check_prices_match(checked, prices)
    scored, lost = shared_rows(checked)
    held = holdings(checked, daily_returns, prices, trading.delisting_return)

    def compute(daily: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        return by_horizon(scored, daily).sort(*GROUP, DATE)

    def portfolios(side: Side) -> pl.DataFrame:
        return compute(lambda rows: simulate(rows, held, trading, side, has_prices=prices is not None))

    some = next(iter(held.values()))
    days = scored.select(DATE).unique().join(some.market.dates, on=DATE)["day"].sort().to_numpy()
    return DailySeries(
        trading,
        checked,
        scored,
        lost,
        compute(daily_ic),
        portfolios("long_short"),
        portfolios("long_only"),
        _one_day(some.market).clear() if some.period_days > 1 else _one_day(some.market),
        some.market.dates[DATE],
        some.period_days,
        some.period_days * calendar_spacing(days),
        matched,
    )


def _one_day(market: Market) -> pl.DataFrame:
    """Known one-day returns as `date, code, return`."""
    day, stock = np.nonzero(np.isfinite(market.returns))
    return pl.DataFrame(
        {
            DATE: market.dates[DATE].gather(day),
            CODE: market.codes[CODE].gather(stock),
            RETURN: market.returns[day, stock],
        }
    )


DECAY_LAGS = (1, 2, 3, 5, 10, 20)
"""Days ahead at which predictions are correlated with one-day returns."""


def ic_decay(series: DailySeries, horizon: int) -> pl.DataFrame:
    """Correlate predictions with the one-day returns of later days, to measure how long they stay good.

    For each lag, the prediction of day `t` for `horizon` days is paired with the one-day return that ends on
    trading day `t + lag`. Days without that return have no row.

    Returns:
        `daily_ic`'s columns and `lag`.
    """
    calendar = series.calendar.to_frame().with_columns(pl.int_range(pl.len()).alias("day"))
    codes = pl.col(CODE).cast(pl.String).cast(series.scored.schema[CODE], strict=False)
    returns = series.one_day.join(calendar, on=DATE).select("day", codes, pl.col("return").alias("target"))
    rows = series.scored.filter(horizon=horizon).drop("target").join(calendar, on=DATE)
    frames = []
    for lag in DECAY_LAGS:
        later = returns.with_columns(pl.col("day") - (lag - 1))
        frames.append(daily_ic(rows.join(later, on=["day", CODE])).with_columns(lag=lag))
    return pl.concat(frames)

"""Recognises tables of survivors: years of a market in which no stock ends."""

import polars as pl

from gogooku3.schema import CODE, DATE

ENDED_DAYS = 20
"""A stock without a row on the last 20 trading days has ended; suspensions are shorter."""
_YEARS, _DAYS_PER_YEAR = 2, 365.25
_MIN_STOCKS = 20
"""Stocks below which two years without a delisting are no surprise."""


def alive_stocks(keys: pl.DataFrame) -> int:
    """Stocks with a row on one of the last `ENDED_DAYS` trading days of `date, code`."""
    days = keys[DATE].unique().sort()
    return keys.filter(pl.col(DATE).is_in(days.tail(ENDED_DAYS).implode()))[CODE].n_unique()


def survivorship_warning(keys: pl.DataFrame) -> str | None:
    """A sentence if no stock ends in two years or more; None otherwise.

    Args:
        keys: `date, code`, one row per stock and day.
    """
    if keys.is_empty():
        return None
    years = (keys[DATE].max() - keys[DATE].min()).days / _DAYS_PER_YEAR  # type: ignore[operator, union-attr]
    n_stocks = keys[CODE].n_unique()
    if years < _YEARS or n_stocks < _MIN_STOCKS or alive_stocks(keys) < n_stocks:
        return None
    return (
        f"none of the {n_stocks:,} stocks ends in {years:.1f} years: the data seem to hold only survivors, "
        "so returns, and scores of signals that prefer risky stocks, come out too high; add delisted stocks"
    )

"""A table in which no stock ever ends is called one of survivors."""

import datetime as dt

import polars as pl
import pytest

from gogooku3.data.quality.survivors import survivorship_warning


def keys(n_stocks: int, years: int, ended: int = 0) -> pl.DataFrame:
    """Weekly rows; `ended` stocks end after half of the time."""
    days = [dt.date(2020, 1, 1) + dt.timedelta(7 * week) for week in range(53 * years)]
    rows = [
        (day, f"{stock:03}")
        for stock in range(n_stocks)
        for day in (days[: len(days) // 2] if stock < ended else days)
    ]
    return pl.DataFrame(rows, schema=["date", "code"], orient="row")


def test_years_without_an_end_are_reported_with_their_effect():
    warning = survivorship_warning(keys(30, 3))
    assert warning.startswith("none of the 30 stocks ends in 3.0 years: the data seem to hold only survivors")
    assert "come out too high" in warning


@pytest.mark.parametrize("table", [keys(30, 1), keys(10, 3), keys(30, 3, ended=1), keys(30, 3).clear()])
def test_short_or_small_tables_and_those_with_an_end_are_not(table):
    assert survivorship_warning(table) is None

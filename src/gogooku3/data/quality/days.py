"""The market's days: thin, incomplete, missing, repeated and future ones, and days that a stock misses."""

import datetime as dt
from collections.abc import Iterator

import polars as pl

from gogooku3.config.quality import DayRules
from gogooku3.data.quality.exchange_calendar import check_days
from gogooku3.data.quality.problem import EXAMPLES, Problem, at_rows, problem
from gogooku3.schema import CODE, DATE

MANY = 10
"""Stocks traded on both of two days, below which their prices may agree by chance."""


def stocks_by_day(frame: pl.DataFrame) -> pl.DataFrame:
    """`date, stocks`, ascending: how many rows each day has."""
    return frame.group_by(DATE).agg(stocks=pl.len()).drop_nulls().sort(DATE)


def day_problems(frame: pl.DataFrame, rules: DayRules) -> Iterator[Problem]:
    """What is wrong with the days of a table of prices or of a data set."""
    days = stocks_by_day(frame)
    if days.is_empty():
        return
    thin = days.filter(pl.col("stocks") < rules.min_stocks)
    if thin.height:
        examples = [{DATE: day, "value": f"{stocks} stocks"} for day, stocks in thin.head(EXAMPLES).rows()]
        advice = "cross-sections this thin are not standardised by themselves"
        check = f"days with under {rules.min_stocks} stocks"
        yield problem("thin_day", DATE, thin.height, advice, *examples, check=check)
    usual = days["stocks"].slice(max(0, days.height - 21), min(20, days.height - 1)).median()
    last, stocks = days[DATE][-1], days["stocks"][-1]
    if isinstance(usual, float) and stocks < rules.last_day_share * usual:
        example = {DATE: last, "value": f"{stocks} stocks, usually {usual:.0f}"}
        advice = "leave it out (end_date) or wait until it is complete"
        yield problem("last_day_incomplete", DATE, 1, advice, example)
    pauses = days.select(DATE, pause=pl.col(DATE).diff().dt.total_days())
    pauses = pauses.filter(pl.col("pause") > rules.longest_pause).sort("pause", descending=True)
    if pauses.height:
        examples = [
            {DATE: day, "value": f"{pause} days after the trading day before"}
            for day, pause in pauses.head(EXAMPLES).rows()
        ]
        yield problem("market_pause", DATE, pauses.height, "check for missing files", *examples)
    future = frame[DATE] > dt.date.today() + dt.timedelta(days=1)
    yield from at_rows("future_day", frame, future, DATE, "correct the year or remove the rows")
    yield from _gaps(frame, days)


def calendar_problems(frame: pl.DataFrame, exchange: str) -> Iterator[Problem]:
    """Days on which the exchange did not trade, and sessions of it without a row."""
    days = frame[DATE].drop_nulls().unique().to_list()
    if not days:
        return
    check = check_days(days, exchange)
    for name, found, says, advice in (
        (
            "no_session",
            check.extra,
            f"no session of {exchange}",
            "remove these days, or name another calendar",
        ),
        ("missing_session", check.missing, f"session of {exchange} without a row", "check for missing files"),
    ):
        if found:
            examples = [{DATE: day} for day in found[:EXAMPLES]]
            yield problem(name, DATE, len(found), advice, *examples, check=says)


def repeated_days(traded: pl.DataFrame, rules: DayRules) -> Iterator[Problem]:
    """Days on which nearly every stock has the close and the volume of the day before: a holiday filled up.

    Args:
        traded: rows with a close, sorted by (code, date), with `volume`.
    """
    same_stock = pl.col(CODE) == pl.col(CODE).shift(1)
    same = (pl.col("close") == pl.col("close").shift(1)) & (pl.col("volume") == pl.col("volume").shift(1))
    days = (
        traded.lazy()
        .filter((pl.col("volume") > 0) | (pl.col("volume").shift(1) > 0))
        .select(DATE, both=same_stock, same=same_stock & same)
        .group_by(DATE)
        .agg(pl.col("both").sum(), pl.col("same").sum())
        .filter((pl.col("both") >= MANY) & (pl.col("same") >= rules.repeated_share * pl.col("both")))
        .sort(DATE)
        .collect()
    )
    if days.height:
        examples = [
            {DATE: day, "value": f"{same:,} of {both:,} stocks as on the day before"}
            for day, both, same in days.head(EXAMPLES).rows()
        ]
        advice = "no trading day, most often a holiday that was filled up: remove it"
        yield problem("repeated_day", DATE, days.height, advice, *examples)


def _gaps(frame: pl.DataFrame, days: pl.DataFrame) -> Iterator[Problem]:
    """Trading days on which a stock has no row though it had one before and after."""
    spans = frame.group_by(CODE).agg(first=pl.col(DATE).min(), last=pl.col(DATE).max(), rows=pl.len())
    calendar = days[DATE]
    first, last = (calendar.search_sorted(spans[end]).cast(pl.Int64) for end in ("first", "last"))
    # Double rows are reported by themselves; here they must not make a gap negative.
    spans = spans.with_columns(missing=(last - first + 1 - spans["rows"].cast(pl.Int64)).clip(lower_bound=0))
    if total := int(spans["missing"].sum()):
        worst = spans.filter(pl.col("missing") > 0).sort(["missing", CODE], descending=[True, False])
        examples = [
            {CODE: code, "value": f"misses {missing:,} days"}
            for code, missing in worst.head(EXAMPLES).select(CODE, "missing").rows()
        ]
        yield problem("missing_stock_days", CODE, total, "fine for suspensions", *examples)

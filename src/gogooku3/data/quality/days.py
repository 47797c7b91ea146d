"""Checks of the market's days: thin, incomplete, missing, repeated and future ones, and gaps of a stock."""

import datetime as dt
from collections.abc import Iterator

import polars as pl

from gogooku3.config.quality import DayRules
from gogooku3.data.quality.exchange_calendar import check_days
from gogooku3.data.quality.problem import Problem, problem, problem_at, problem_of
from gogooku3.data.trading_days import describe_strays, shifted_days, stray_rows
from gogooku3.schema import CODE, DATE

MIN_TRADED = 10
"""Stocks traded on both of two days; with fewer, equal prices may be a coincidence."""


def stocks_by_day(frame: pl.DataFrame) -> pl.DataFrame:
    """Number of rows per day: `date, stocks`, ascending."""
    return frame.group_by(DATE).agg(stocks=pl.len()).drop_nulls().sort(DATE)


def day_problems(frame: pl.DataFrame, rules: DayRules) -> Iterator[Problem]:
    """Problems of the days of prices or of a data set."""
    days = stocks_by_day(frame)
    if days.is_empty():
        return
    thin = days.filter(pl.col("stocks") < rules.min_stocks)
    thin = thin.select(DATE, value=pl.format("{} stocks", "stocks"))
    yield from problem_of("thin_day", DATE, thin, f"days with fewer than {rules.min_stocks} stocks")
    usual = days["stocks"].slice(max(0, days.height - 21), min(20, days.height - 1)).median()
    if isinstance(usual, float):
        incomplete = days.tail(1).filter(pl.col("stocks") < rules.last_day_share * usual)
        incomplete = incomplete.select(DATE, value=pl.format(f"{{}} stocks, usually {usual:.0f}", "stocks"))
        yield from problem_of("last_day_incomplete", DATE, incomplete)
    pauses = days.select(DATE, pause=pl.col(DATE).diff().dt.total_days())
    pauses = pauses.filter(pl.col("pause") > rules.longest_pause).sort("pause", descending=True)
    pauses = pauses.select(DATE, value=pl.format("{} days after the previous trading day", "pause"))
    yield from problem_of("market_pause", DATE, pauses)
    yield from problem_at("future_day", frame, frame[DATE] > dt.date.today() + dt.timedelta(days=1), DATE)
    yield from _gaps(frame, days[DATE])


def session_problems(keys: pl.DataFrame, timed: bool) -> Iterator[Problem]:
    """Problems of rows on weekdays without sessions, and of days that a time zone has shifted.

    `keys` are those of the rows with a close; `timed`: the days are times in UTC.
    """
    if (strays := stray_rows(keys)) is not None:
        check, advice = describe_strays(strays)
        yield from problem_of("stray_rows", DATE, strays.rows, check, advice)
    if shifted := shifted_days(keys[DATE]):
        name = "shifted_days" if timed else "odd_weekdays"
        yield problem(name, DATE, keys[DATE].n_unique(), check=f"trades on {shifted}")


def calendar_problems(frame: pl.DataFrame, exchange: str) -> Iterator[Problem]:
    """Problems of days without a session of the exchange, and of sessions without a row."""
    days = frame[DATE].drop_nulls().unique().to_list()
    if not days:
        return
    calendar = check_days(days, exchange)
    extra, missing = pl.DataFrame({DATE: calendar.extra}), pl.DataFrame({DATE: calendar.missing})
    yield from problem_of("no_session", DATE, extra, f"not a session of {exchange}")
    yield from problem_of("missing_session", DATE, missing, f"session of {exchange} without rows")


def repeated_days(traded: pl.DataFrame, rules: DayRules) -> Iterator[Problem]:
    """Problem of days on which nearly every stock has the previous day's close and volume: a filled holiday.

    `traded` holds the rows with a close, sorted by (code, date), with `volume`.
    """
    same_stock = pl.col(CODE) == pl.col(CODE).shift(1)
    same = (pl.col("close") == pl.col("close").shift(1)) & (pl.col("volume") == pl.col("volume").shift(1))
    days = (
        traded.lazy()
        .filter((pl.col("volume") > 0) | (pl.col("volume").shift(1) > 0))
        .select(DATE, both=same_stock, same=same_stock & same)
        .group_by(DATE)
        .agg(pl.col("both").sum(), pl.col("same").sum())
        .filter((pl.col("both") >= MIN_TRADED) & (pl.col("same") >= rules.repeated_share * pl.col("both")))
        .sort(DATE)
        .select(DATE, value=pl.format("{} of {} stocks as on the previous day", "same", "both"))
        .collect()
    )
    yield from problem_of("repeated_day", DATE, days)


def _gaps(frame: pl.DataFrame, calendar: pl.Series) -> Iterator[Problem]:
    """Problem of trading days between a stock's first and last row on which it has no row."""
    spans = frame.group_by(CODE).agg(first=pl.col(DATE).min(), last=pl.col(DATE).max(), rows=pl.len())
    first, last = (calendar.search_sorted(spans[end]).cast(pl.Int64) for end in ("first", "last"))
    # Duplicate rows have a check already; they must not make a gap negative here.
    spans = spans.with_columns(missing=(last - first + 1 - spans["rows"].cast(pl.Int64)).clip(lower_bound=0))
    worst = spans.filter(pl.col("missing") > 0).sort(["missing", CODE], descending=[True, False])
    examples = worst.select(CODE, value=pl.format("misses {} days", "missing"))
    yield from problem_of("missing_stock_days", CODE, examples, count=int(worst["missing"].sum()))

"""Finds rows that would move the market's calendar: days without a session, days shifted by a time zone."""

from dataclasses import dataclass

import polars as pl

from gogooku3.schema import CODE, DATE

NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_THIN = 0.75
"""Share of the stocks of the days around, below which a day is thin."""
_VERY_THIN = 0.1
_REGULAR = 0.05
"""Share of a stock's rows on one weekday from which it trades there regularly."""
_FEW_DAYS = 4
_ENOUGH_DAYS = 20
_MIDNIGHT = r"[T ]0?0:00(:00(\.0+)?)?(Z|\+00:?00)?$"
_OTHER_ZONE = r"[+-](0[1-9]|1[0-4]):?[0-5]\d$"


@dataclass(frozen=True)
class StrayRows:
    """Rows on weekdays on which the market has no sessions.

    Attributes:
        rows: `date, code`, sorted.
        weekdays: their names.
        every_day: stocks that trade there regularly, such as coins; empty if one row is not theirs.
    """

    rows: pl.DataFrame
    weekdays: tuple[str, ...]
    every_day: tuple[str, ...]


def stray_rows(keys: pl.DataFrame) -> StrayRows | None:
    """Find rows on weekdays on which few of the stocks trade; None if there are none.

    A weekday has no sessions if most of its days are thin, while those of at least three other weekdays
    hardly ever are. A session on an unusual weekday in which most stocks trade is no stray.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 29), eager=True)
    >>> coin = pl.DataFrame({"date": days, "code": "BTC"})
    >>> stock = coin.filter(days.dt.weekday() < 6)
    >>> stray_rows(pl.concat([coin, stock.with_columns(code=pl.lit("A"))])).every_day
    ('BTC',)
    """
    if keys.is_empty():
        return None
    days = _stocks_by_day(keys)
    thin = pl.col("stocks") < _THIN * pl.col("most")
    days = days.with_columns(thin=thin, weekday=pl.col(DATE).dt.weekday())
    span = pl.date_range(days[DATE][0], days[DATE][-1], eager=True).dt.weekday()
    weekdays = days.group_by("weekday").agg(days=pl.len(), thin=pl.col("thin").sum()).sort("weekday")
    share = weekdays["thin"] / weekdays["days"]
    possible = pl.Series([int((span == weekday).sum()) for weekday in weekdays["weekday"]])
    unusual = (weekdays["days"] < possible / 2) | (weekdays["thin"] >= _FEW_DAYS)
    closed = weekdays["weekday"].filter((share > 0.5) & unusual)
    if closed.is_empty() or int((share < 0.2).sum()) < 3:
        return None
    strays = days.filter(pl.col("thin") & pl.col("weekday").is_in(closed.implode()))
    rows = keys.join(strays.select(DATE), on=DATE, how="semi").select(DATE, CODE).sort(DATE, CODE)
    regular = (
        keys.group_by(CODE)
        .agg(share=pl.col(DATE).dt.weekday().is_in(closed.implode()).mean(), rows=pl.len())
        .filter(pl.col("share") >= _REGULAR * len(closed), pl.col("rows") >= _FEW_DAYS)[CODE]
    )
    every_day = () if rows.filter(~rows[CODE].is_in(regular.implode())).height else regular.sort()
    return StrayRows(rows, tuple(NAMES[weekday - 1] for weekday in closed), tuple(every_day))


def describe_strays(strays: StrayRows) -> tuple[str, str]:
    """The fault in words, and the advice."""
    weekdays = " and ".join(f"{name}s" for name in strays.weekdays)
    if strays.every_day:
        codes = strays.every_day
        who = (
            f"{codes[0]} and {len(codes) - 1:,} more stocks trade" if len(codes) > 1 else f"{codes[0]} trades"
        )
        return f"{who} on {weekdays}, the others do not", "build a data set per market, or leave these out"
    day, code = strays.rows.row(0)
    what = f"{strays.rows.height:,} rows are on {weekdays}, on which few stocks trade ({day}, {code})"
    return what, "remove them: they would count as trading days of all stocks"


def thin_days(keys: pl.DataFrame) -> pl.DataFrame:
    """Days with under a tenth of the stocks of the days around: `date, stocks, most`."""
    days = _stocks_by_day(keys)
    return days.filter(pl.col("stocks") < _VERY_THIN * pl.col("most")).select(DATE, "stocks", "most")


def _stocks_by_day(keys: pl.DataFrame) -> pl.DataFrame:
    """`date, stocks, most`, ascending: a day's stocks, and the most on one of the nine days around."""
    days = keys.group_by(DATE).agg(stocks=pl.len()).drop_nulls().sort(DATE)
    around = days.rolling(DATE, period="9d", offset="-5d").agg(most=pl.col("stocks").max())
    return days.with_columns(around["most"])


def shifted_days(days: pl.Series) -> str | None:
    """The weekdays by which days seem to be shifted by a time zone; None if they look like a market's.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 29), eager=True)
    >>> shifted_days(days.filter(days.dt.weekday() < 6).dt.offset_by("-1d"))
    'Sundays and never on Fridays'
    """
    days = days.unique()
    if len(days) < _ENOUGH_DAYS:
        return None
    counts = days.dt.weekday().value_counts()
    share = dict(zip(counts[counts.columns[0]], counts["count"] / counts["count"].sum(), strict=True))
    for traded, never in ((7, 5), (6, 1)):
        if share.get(traded, 0) >= 0.1 and share.get(never, 0) < 0.02:
            return f"{NAMES[traded - 1]}s and never on {NAMES[never - 1]}s"
    return None


def has_utc_times(column: pl.Series) -> bool:
    """Return True if days are times of day, in UTC or without a zone.

    >>> [has_utc_times(pl.Series([f"2024-01-04T15:00:00{zone}"])) for zone in ("", "Z", "+09:00")]
    [True, True, False]
    """
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone not in (None, "UTC", "Etc/UTC"):
            return False
        return bool((column.dt.truncate("1d") != column).any())
    if column.dtype != pl.String:
        return False
    times = column.filter(column.str.contains(r"\d[T ]\d{1,2}:").fill_null(False)).str.strip_chars()
    return bool((~times.str.contains(_MIDNIGHT) & ~times.str.contains(_OTHER_ZONE)).any())

"""Sessions of exchanges, and the closing time of Tokyo."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from gogooku3.errors import ConfigError, DataError, choices

LATER_CLOSE_FROM = dt.date(2024, 11, 5)
TOKYO = "XTKS"


def tokyo_close(day: dt.date) -> dt.time:
    """Closing time of the Tokyo Stock Exchange: 15:30 from 2024-11-05, 15:00 before.

    >>> tokyo_close(dt.date(2024, 11, 1)), tokyo_close(dt.date(2024, 11, 5))
    (datetime.time(15, 0), datetime.time(15, 30))
    """
    return dt.time(15, 30) if day >= LATER_CLOSE_FROM else dt.time(15, 0)


@dataclass(frozen=True)
class CalendarCheck:
    """Differences between the days of a table and the sessions of an exchange."""

    name: str
    missing: tuple[dt.date, ...]
    """Sessions between the first and the last day on which the table has no row."""
    extra: tuple[dt.date, ...]
    """Days of the table on which the exchange did not trade."""


def check_days(days: Sequence[dt.date], name: str = TOKYO) -> CalendarCheck:
    """Compare days with the sessions of an exchange, from the first day to the last.

    Tokyo's outage of 2020-10-01 does not count as a session.

    Args:
        days: in any order.
        name: market identifier code: XTKS Tokyo, XNYS New York, XNAS Nasdaq, XLON London.

    Raises:
        ConfigError: the exchange is unknown, or `exchange_calendars` is not installed.
        DataError: `days` is empty.
    """
    if not days:
        raise DataError("there are no days to compare with a calendar")
    try:
        import exchange_calendars
    except ModuleNotFoundError:
        raise ConfigError(
            "a calendar needs exchange_calendars, which is not installed; pip install 'gogooku3[calendar]'"
        ) from None
    if name not in exchange_calendars.get_calendar_names():
        codes = [n for n in exchange_calendars.get_calendar_names(include_aliases=False) if n.startswith("X")]
        raise ConfigError(f"unknown exchange '{name}'; choose a market identifier code: {choices(codes)}")
    first, last = min(days), max(days)
    # The library raises for days outside a calendar's first and last session, hence the margin.
    margin = dt.timedelta(10)
    calendar = exchange_calendars.get_calendar(name, start=first - margin, end=last + margin)
    sessions = {day.date() for day in calendar.sessions_in_range(str(first), str(last))}
    return CalendarCheck(name, tuple(sorted(sessions - set(days))), tuple(sorted(set(days) - sessions)))

"""The newest day of a Yahoo ticker whose session is finished, so that its bar no longer changes."""

import datetime as dt
import re
from zoneinfo import ZoneInfo

DELAY = dt.timedelta(minutes=30)
"""Time after the close until a bar is complete: Yahoo's quotes are up to 20 minutes late."""

_CLOSES = {
    "": ("America/New_York", "16:00"),
    **dict.fromkeys(("TO", "V"), ("America/Toronto", "16:00")),
    "SA": ("America/Sao_Paulo", "18:00"),
    "T": ("Asia/Tokyo", "15:30"),
    "HK": ("Asia/Hong_Kong", "16:10"),
    **dict.fromkeys(("SS", "SZ"), ("Asia/Shanghai", "15:00")),
    **dict.fromkeys(("KS", "KQ"), ("Asia/Seoul", "15:30")),
    **dict.fromkeys(("TW", "TWO"), ("Asia/Taipei", "13:30")),
    **dict.fromkeys(("NS", "BO"), ("Asia/Kolkata", "15:30")),
    "AX": ("Australia/Sydney", "16:15"),
    "L": ("Europe/London", "16:35"),
    **dict.fromkeys(("PA", "AS", "BR", "MI", "MC", "DE", "SW"), ("Europe/Berlin", "17:40")),
}
"""Time zone and closing time by the ticker's suffix; auctions included."""
_STOCK = re.compile(r"[A-Z0-9-]+?(?:\.([A-Z]+))?", re.ASCII)
_COIN = re.compile(r"[A-Z0-9]+-(USD|EUR|GBP|JPY|BTC|USDT)", re.ASCII)
_LATEST_ZONE = dt.timedelta(hours=12)
"""A day ends last, 12 hours after UTC, on Baker Island."""


def last_finished_day(ticker: str, now: dt.datetime) -> dt.date:
    """The newest calendar day whose session is over.

    For tickers of other kinds (indices, futures, currencies, unknown exchanges), a day is over when it has
    ended everywhere.

    Args:
        ticker: in Yahoo's spelling.
        now: with a time zone.

    >>> evening = dt.datetime(2024, 1, 4, 7, 0, tzinfo=dt.UTC)
    >>> [str(last_finished_day(ticker, evening)) for ticker in ("7203.T", "AAPL", "BTC-USD", "^N225")]
    ['2024-01-04', '2024-01-03', '2024-01-03', '2024-01-02']
    """
    name = ticker.upper()
    if _COIN.fullmatch(name):
        return now.astimezone(dt.UTC).date() - dt.timedelta(days=1)
    stock = _STOCK.fullmatch(name)
    session = _CLOSES.get(stock[1] or "") if stock else None
    if session is None:
        return (now.astimezone(dt.UTC) - _LATEST_ZONE).date() - dt.timedelta(days=1)
    zone, close = session
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    closes = dt.datetime.combine(local.date(), dt.time.fromisoformat(close)) + DELAY
    return local.date() if local >= closes else local.date() - dt.timedelta(days=1)

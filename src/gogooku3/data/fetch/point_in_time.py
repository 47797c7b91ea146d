"""From J-Quants' raw files to prices as they were known on each day.

Prices are adjusted forward, from the first day on: a split changes nothing of what was written before it.
Stocks come on the day they are listed and go on the day they are delisted; sector and section are the day's.
A disclosure counts for its day if it came before the close, else for the next trading day.
"""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from gogooku3.data.fetch.jquants_data import BARS, CALENDAR, MASTER, TOPIX, trading_days
from gogooku3.data.fetch.store import RawStore
from gogooku3.data.quality.exchange_calendar import tokyo_close
from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, INDEX_CLOSE, SECTOR

STOCK_SECTIONS = ("0101", "0102", "0104", "0106", "0107", "0111", "0112", "0113")
"""Sections of domestic stocks: First, Second, Mothers and JASDAQ until 2022-04-01, Prime, Standard and Growth
since. Funds, trusts and the professional market are left out."""

FACTOR = "split_factor"
"""Product of the adjustment factors up to and including the day, by stock."""


@dataclass(frozen=True)
class TokyoPrices:
    """Prices with the facts known at each close, and what was left out.

    frame: `date, code, open, high, low, close, volume, split_factor, sector` and, where there is one,
        `index_close`; sorted by (code, date).
    dropped: rows left out, by reason.
    """

    frame: pl.DataFrame
    dropped: dict[str, int]


def tokyo_prices(store: RawStore) -> TokyoPrices:
    """Prices of all domestic stocks that were listed on each day.

    Raises:
        DataError: the store lacks bars or listings, or a file can't be read.
    """
    bars = adjusted_bars(store.read(BARS, ["Date", "Code", "O", "H", "L", "C", "Vo", "AdjFactor"]))
    listed = store.read(MASTER, ["Date", "Code", "S33", "Mkt"]).rename(
        {"Date": DATE, "Code": CODE, "S33": SECTOR}
    )
    joined = bars.join(listed, on=[DATE, CODE], how="left")
    unlisted = joined["Mkt"].is_null()
    stocks = joined.filter(pl.col("Mkt").is_in(STOCK_SECTIONS))
    if stocks.is_empty():
        raise DataError(
            f"{store.folder}: none of {joined.height:,} bars belongs to a stock listed on its day; fetch the "
            "data sets 'bars' and 'master' for the same days"
        )
    dropped = {
        "no listing on the day": int(unlisted.sum()),
        "not a domestic stock (fund, trust, other section)": joined.height
        - stocks.height
        - int(unlisted.sum()),
    }
    if TOPIX in store.datasets():
        topix = store.read(TOPIX, ["Date", "C"]).rename({"Date": DATE, "C": INDEX_CLOSE})
        stocks = stocks.join(topix.unique(DATE, keep="last"), on=DATE, how="left")
    frame = stocks.drop("Mkt").sort(CODE, DATE)
    return TokyoPrices(frame, {reason: rows for reason, rows in dropped.items() if rows})


def adjusted_bars(raw: pl.DataFrame) -> pl.DataFrame:
    """Bars as quoted to bars adjusted forward from each stock's first day.

    A price is divided, and a volume multiplied, by the product of all adjustment factors up to its day, so a
    row depends on no later split. (The vendor's adjusted columns do: they differ with the day of the fetch.)

    Returns:
        `date, code, open, high, low, close, volume, split_factor`, sorted by (code, date).

    >>> raw = pl.DataFrame({"Date": [dt.date(2024, 1, 4), dt.date(2024, 1, 5)], "Code": ["13010"] * 2,
    ...     "O": [100., 50.], "H": [100., 50.], "L": [100., 50.], "C": [100., 50.], "Vo": [10., 20.],
    ...     "AdjFactor": [1.0, 0.5]})
    >>> adjusted_bars(raw).select("close", "volume").rows()
    [(100.0, 10.0), (100.0, 10.0)]
    """
    factor = pl.col("AdjFactor").fill_null(1.0).cum_prod().over("Code", order_by="Date")
    prices = {"open": "O", "high": "H", "low": "L", "close": "C"}
    return (
        raw.with_columns(factor.alias(FACTOR))
        .select(
            pl.col("Date").alias(DATE),
            pl.col("Code").alias(CODE),
            *((pl.col(found) / pl.col(FACTOR)).alias(name) for name, found in prices.items()),
            (pl.col("Vo") * pl.col(FACTOR)).alias("volume"),
            FACTOR,
        )
        .sort(CODE, DATE)
    )


def known_on(disclosed: pl.DataFrame, sessions: pl.Series) -> pl.Series:
    """The trading day at whose close a disclosure was known.

    Before the close of a trading day: that day. At the close or after, at no known time, or on a day without
    trading: the next trading day. Null where the sessions end before.

    Args:
        disclosed: `DiscDate: Date, DiscTime: String` (such as 15:00:00 or 15:00), a row a disclosure.
        sessions: trading days in order.

    >>> days = pl.Series([dt.date(2024, 1, 4), dt.date(2024, 1, 5), dt.date(2024, 1, 9)])
    >>> at = {"DiscDate": [dt.date(2024, 1, 5)] * 2, "DiscTime": ["14:59:59", "15:00:00"]}
    >>> known_on(pl.DataFrame(at), days).to_list()
    [datetime.date(2024, 1, 5), datetime.date(2024, 1, 9)]
    """
    days = sessions.to_list()
    place = {day: position for position, day in enumerate(days)}
    known = []
    for day, text in disclosed.select("DiscDate", "DiscTime").iter_rows():
        position = place.get(day)
        if position is not None and (time := _time_of(text)) is not None and time < tokyo_close(day):
            known.append(days[position])
            continue
        after = int(sessions.search_sorted(day, side="right"))
        known.append(days[after] if after < len(days) else None)
    return pl.Series("known_on", known, dtype=pl.Date)


def market_sessions(store: RawStore) -> pl.Series:
    """All trading days of the stored calendar, in order: those of the bars may end earlier."""
    calendar = store.read(CALENDAR, ["Date", "HolDiv"])
    return pl.Series(trading_days(calendar, dt.date.min, dt.date.max), dtype=pl.Date)


def _time_of(text: str | None) -> dt.time | None:
    try:
        return dt.time.fromisoformat(text or "")
    except ValueError:
        return None

"""Prices from J-Quants' raw files, as they were known on each day: adjusted forward from a stock's first day,
with the sector and section of the day; stocks enter with their listing and leave with their delisting."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from gogooku3.data.fetch.jquants_data import BARS, CALENDAR, MASTER, TOPIX, trading_days
from gogooku3.data.fetch.store import RawStore
from gogooku3.data.quality.exchange_calendar import tokyo_close
from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, INDEX_CLOSE, SECTOR

STOCK_SECTIONS = ("0101", "0102", "0104", "0106", "0107", "0111", "0112", "0113")
"""Sections of domestic stocks: First, Second, Mothers and JASDAQ until 2022-04-01; Prime, Standard and Growth
since. Funds, trusts and the professional market are left out."""

FACTOR = "split_factor"
"""Product of a stock's adjustment factors up to and including the day."""


@dataclass(frozen=True)
class TokyoPrices:
    """Prices of domestic stocks, and the rows left out.

    frame: `date, code, open, high, low, close, volume, split_factor, sector` and, if TOPIX is stored,
        `index_close`; sorted by (code, date). `add_known_facts` replaces `split_factor` by facts.
    dropped: number of rows left out, by reason.
    """

    frame: pl.DataFrame
    dropped: dict[str, int]


def tokyo_prices(store: RawStore) -> TokyoPrices:
    """Prices of all domestic stocks that were listed on each day.

    Raises:
        DataError: the store lacks bars or listings, or a file can't be read.
    """
    bars = adjusted_bars(store.read(BARS, ["Date", "Code", "O", "H", "L", "C", "Vo", "AdjFactor"]))
    listings = store.read(MASTER, ["Date", "Code", "S33", "Mkt"])
    listings = listings.rename({"Date": DATE, "Code": CODE, "S33": SECTOR})
    joined = bars.join(listings, on=[DATE, CODE], how="left")
    stocks = joined.filter(pl.col("Mkt").is_in(STOCK_SECTIONS))
    if stocks.is_empty():
        raise DataError(
            f"{store.folder}: none of {joined.height:,} bars belongs to a stock listed on its day; fetch the "
            "data sets 'bars' and 'master' for the same days"
        )
    unlisted = joined["Mkt"].null_count()
    dropped = {
        "no listing on the day": unlisted,
        "not a domestic stock (fund, trust, other section)": joined.height - stocks.height - unlisted,
    }
    if TOPIX in store.datasets():
        topix = store.read(TOPIX, ["Date", "C"]).rename({"Date": DATE, "C": INDEX_CLOSE})
        stocks = stocks.join(topix.unique(DATE, keep="last"), on=DATE, how="left")
    frame = stocks.drop("Mkt").sort(CODE, DATE)
    return TokyoPrices(frame, {reason: rows for reason, rows in dropped.items() if rows})


def adjusted_bars(raw: pl.DataFrame) -> pl.DataFrame:
    """Adjust quoted bars forward from each stock's first day.

    Divides prices, and multiplies volumes, by the product of all adjustment factors up to the day, so no row
    depends on a later split. (The vendor's adjusted columns do: they depend on the day of the fetch.)

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
            *((pl.col(column) / pl.col(FACTOR)).alias(name) for name, column in prices.items()),
            (pl.col("Vo") * pl.col(FACTOR)).alias("volume"),
            FACTOR,
        )
        .sort(CODE, DATE)
    )


def known_on(disclosed: pl.DataFrame, sessions: pl.Series) -> pl.Series:
    """Trading day at whose close a disclosure was known.

    The day itself if the disclosure came before the close; else the next trading day: after the close,
    without a time, or on a day without trading. Null if the sessions end before.

    Args:
        disclosed: `DiscDate: Date, DiscTime: String` (such as 15:00:00 or 15:00), one row per disclosure.
        sessions: trading days, ascending.

    >>> days = pl.Series([dt.date(2024, 1, 4), dt.date(2024, 1, 5), dt.date(2024, 1, 9)])
    >>> at = {"DiscDate": [dt.date(2024, 1, 5)] * 2, "DiscTime": ["14:59:59", "15:00:00"]}
    >>> known_on(pl.DataFrame(at), days).to_list()
    [datetime.date(2024, 1, 5), datetime.date(2024, 1, 9)]
    """
    trading = set(sessions)
    known = []
    for day, text in disclosed.select("DiscDate", "DiscTime").iter_rows():
        try:
            before_close = day in trading and dt.time.fromisoformat(text or "") < tokyo_close(day)
        except ValueError:
            before_close = False
        known.append(day if before_close else session_after(day, sessions))
    return pl.Series("known_on", known, dtype=pl.Date)


def session_after(day: dt.date, sessions: pl.Series, count: int = 1) -> dt.date | None:
    """The `count`-th trading day after a day; None if the sessions end before."""
    index = int(sessions.search_sorted(day, side="right")) + count - 1
    return sessions[index] if index < len(sessions) else None


def market_sessions(store: RawStore) -> pl.Series:
    """All trading days of the stored calendar, ascending; the bars may end earlier."""
    calendar = store.read(CALENDAR.name, ["Date", "HolDiv"])
    return pl.Series(trading_days(calendar, dt.date.min, dt.date.max), dtype=pl.Date)

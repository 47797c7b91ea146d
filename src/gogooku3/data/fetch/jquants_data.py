"""Data sets of J-Quants: how each is requested, and when an answer is final. Needs no client."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

BARS, MASTER, TOPIX = "bars", "master", "topix"
STATEMENTS, FLOWS, MARGIN = "statements", "flows", "margin"


@dataclass(frozen=True)
class Dataset:
    """One kind of data."""

    name: str
    unit: Literal["session", "day", "month"]
    """One file per trading day, calendar day or month."""
    ask: Callable[[Any, str, str], Any] = field(repr=False)
    """Request to the client for the first and last day of a unit, as YYYY-MM-DD."""
    keys: tuple[str, ...]
    """Columns to sort by."""
    needed: tuple[str, ...]
    """Columns without which the data can't be used."""
    dates: tuple[str, ...] = ("Date",)
    text: tuple[str, ...] | None = None
    """Text columns; None: all but the dates. The others are numbers."""
    settled_after_days: int | None = None
    """Calendar days after which an answer is final, even an empty one. None: a non-empty answer is final at
    once, and an empty one never is."""
    required: bool = False
    """True if prices can't be made without it."""


CALENDAR = Dataset(
    name="calendar",
    unit="month",
    ask=lambda api, first, last: api.get_mkt_calendar(from_yyyymmdd=first, to_yyyymmdd=last),
    keys=("Date",),
    needed=("Date", "HolDiv"),
    required=True,
)
"""Trading calendar, fetched before every other data set."""

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name=BARS,
            unit="session",
            ask=lambda api, first, last: api.get_eq_bars_daily(date_yyyymmdd=first),
            keys=("Code", "Date"),
            needed=("Date", "Code", "O", "H", "L", "C", "Vo", "AdjFactor"),
            text=("Code", "UL", "LL", "MUL", "MLL", "AUL", "ALL"),
            required=True,
        ),
        Dataset(
            name=MASTER,
            unit="session",
            ask=lambda api, first, last: api.get_eq_master(date=first),
            keys=("Code", "Date"),
            needed=("Date", "Code", "S33", "Mkt"),
            required=True,
        ),
        Dataset(
            name=TOPIX,
            unit="month",
            ask=lambda api, first, last: api.get_idx_bars_daily_topix(from_yyyymmdd=first, to_yyyymmdd=last),
            keys=("Date",),
            needed=("Date", "C"),
            text=(),
            settled_after_days=2,
        ),
        Dataset(
            name=STATEMENTS,
            unit="day",
            ask=lambda api, first, last: api.get_fin_summary_cursor(date_yyyymmdd=first)[0],
            keys=("Code", "DiscNo"),
            needed=("DiscDate", "DiscTime", "Code", "DiscNo", "DocType"),
            dates=("DiscDate", "CurPerSt", "CurPerEn", "CurFYSt", "CurFYEn", "NxtFYSt", "NxtFYEn"),
            settled_after_days=1,
        ),
        Dataset(
            name=FLOWS,
            unit="month",
            ask=lambda api, first, last: api.get_eq_investor_types(from_yyyymmdd=first, to_yyyymmdd=last),
            keys=("Section", "PubDate", "StDate"),
            needed=("PubDate", "StDate", "EnDate", "Section", "FrgnBal", "TotTot"),
            dates=("PubDate", "StDate", "EnDate"),
            text=("Section",),
            settled_after_days=40,
        ),
        Dataset(
            name=MARGIN,
            unit="session",
            ask=lambda api, first, last: api.get_mkt_margin_interest(date_yyyymmdd=first),
            keys=("Code", "Date"),
            needed=("PubDate", "Date", "Code", "ShrtVol", "LongVol"),
            dates=("PubDate", "Date"),
            text=("Code", "IssType"),
            settled_after_days=14,
        ),
    )
}
"""Data sets that a fetch may choose, by name, in the order of their requests."""


def trading_days(calendar: pl.DataFrame, first: dt.date, last: dt.date) -> list[dt.date]:
    """Trading days of a stored calendar: full days (HolDiv 1) and half days (2)."""
    is_open = pl.col("HolDiv").is_in(["1", "2"]) & pl.col("Date").is_between(first, last)
    return calendar.filter(is_open)["Date"].unique().sort().to_list()

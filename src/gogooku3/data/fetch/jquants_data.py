"""What is kept of J-Quants, and how it is asked for. Needs no client."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

CALENDAR, BARS, MASTER, TOPIX = "calendar", "bars", "master", "topix"
STATEMENTS, FLOWS, MARGIN = "statements", "flows", "margin"


@dataclass(frozen=True)
class Dataset:
    """One kind of data: how it is asked for, and when an answer is final."""

    name: str
    unit: Literal["session", "day", "month"]
    """A file a trading day, a calendar day, or a month."""
    ask: Callable[[Any, str, str], Any] = field(repr=False)
    """Of the client, for the first and the last day of a unit, as YYYY-MM-DD."""
    keys: tuple[str, ...]
    needed: tuple[str, ...]
    """Columns without which the data can't be used."""
    dates: tuple[str, ...]
    text: tuple[str, ...] | None
    """Columns of words; None: all but the dates. The others are numbers."""
    settled_after_days: int | None
    """Calendar days after which an answer won't change, an empty one included. None: what comes is final at
    once, and an empty answer is never believed."""
    required: bool = False
    """Whether a data set of prices can't be made without it."""


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            BARS,
            "session",
            lambda client, first, last: client.get_eq_bars_daily(date_yyyymmdd=first),
            ("Code", "Date"),
            ("Date", "Code", "O", "H", "L", "C", "Vo", "AdjFactor"),
            ("Date",),
            ("Code", "UL", "LL", "MUL", "MLL", "AUL", "ALL"),
            settled_after_days=None,
            required=True,
        ),
        Dataset(
            MASTER,
            "session",
            lambda client, first, last: client.get_eq_master(date=first),
            ("Code", "Date"),
            ("Date", "Code", "S33", "Mkt"),
            ("Date",),
            None,
            settled_after_days=None,
            required=True,
        ),
        Dataset(
            TOPIX,
            "month",
            lambda client, first, last: client.get_idx_bars_daily_topix(
                from_yyyymmdd=first, to_yyyymmdd=last
            ),
            ("Date",),
            ("Date", "C"),
            ("Date",),
            (),
            settled_after_days=2,
        ),
        Dataset(
            STATEMENTS,
            "day",
            lambda client, first, last: client.get_fin_summary_cursor(date_yyyymmdd=first)[0],
            ("Code", "DiscNo"),
            ("DiscDate", "DiscTime", "Code", "DiscNo", "DocType"),
            ("DiscDate", "CurPerSt", "CurPerEn", "CurFYSt", "CurFYEn", "NxtFYSt", "NxtFYEn"),
            None,
            settled_after_days=1,
        ),
        Dataset(
            FLOWS,
            "month",
            lambda client, first, last: client.get_eq_investor_types(from_yyyymmdd=first, to_yyyymmdd=last),
            ("Section", "PubDate", "StDate"),
            ("PubDate", "StDate", "EnDate", "Section", "FrgnBal", "TotTot"),
            ("PubDate", "StDate", "EnDate"),
            ("Section",),
            settled_after_days=40,
        ),
        Dataset(
            MARGIN,
            "session",
            lambda client, first, last: client.get_mkt_margin_interest(date_yyyymmdd=first),
            ("Code", "Date"),
            ("PubDate", "Date", "Code", "ShrtVol", "LongVol"),
            ("PubDate", "Date"),
            ("Code", "IssType"),
            settled_after_days=14,
        ),
    )
}
"""By name, what is asked for first first."""


def trading_days(calendar: pl.DataFrame, first: dt.date, last: dt.date) -> list[dt.date]:
    """Days on which stocks were traded: full days (HolDiv 1) and half days (2)."""
    open_ = calendar.filter(pl.col("HolDiv").is_in(["1", "2"]) & pl.col("Date").is_between(first, last))
    return open_["Date"].unique().sort().to_list()

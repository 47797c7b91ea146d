"""Fetches missing daily prices of listed tickers from Yahoo Finance, one file per stock."""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.data.fetch.pandas_frames import to_polars
from gogooku3.data.fetch.store import RawStore
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.atomic import write_parquet_atomic

Download = Callable[..., Any]
"""`yfinance.download`."""
BATCH = 50
"""Tickers per call; the library fetches those of one call in parallel."""
FRESH_DAYS = 4
"""Calendar days by which a file may end early and still be current: a weekend and a holiday."""
COLUMNS = ("Date", "Code", "Open", "High", "Low", "Close", "Volume")


@dataclass
class YahooReport:
    """Result of a fetch."""

    written: int = 0
    kept: int = 0
    empty: list[str] = field(default_factory=list)
    """Tickers without any data."""


def read_tickers(path: Path) -> list[str]:
    """Read tickers from a text file, one per line; blank lines and text after a `#` are skipped.

    Raises:
        DataError: there is no such file, it has no ticker, or a line is not a ticker.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(
            f"the tickers in {path} can't be read ({reason}); name a text file with one ticker per line"
        ) from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise DataError(f"{path} has no ticker; write one per line in Yahoo's spelling: AAPL, 7203.T")
    if wrong := [name for name in names if not re.fullmatch(r"[A-Za-z0-9^][A-Za-z0-9.=^-]*", name)]:
        raise DataError(
            f"{path}: these are not tickers: {choices(wrong, 4)}; write one per line in Yahoo's spelling"
        )
    return list(dict.fromkeys(names))


def fetch_yahoo(
    folder: Path,
    tickers: Sequence[str],
    first: dt.date,
    last: dt.date,
    download: Download,
    on_progress: Callable[[int, int], None] | None = None,
) -> YahooReport:
    """Write each ticker's daily prices between two days, both included, to `folder/TICKER.parquet`.

    Raises:
        ConfigError: the days are in the wrong order.
        DataError: Yahoo's answer lacks a column, or there is no data for any ticker.
    """
    if first > last:
        raise ConfigError(f"the first day {first} is after the last day {last}; swap --from and --to")
    report = YahooReport()
    with RawStore(folder).writing():
        missing = [name for name in tickers if not _is_current(folder / f"{name}.parquet", first, last)]
        report.kept = len(tickers) - len(missing)
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            # Yahoo excludes the end day. Without auto_adjust, prices are adjusted for splits only.
            span = {"start": str(first), "end": str(last + dt.timedelta(1))}
            answer = download(batch, **span, auto_adjust=False, group_by="ticker", progress=False)
            for name in batch:
                if (frame := _ticker_frame(answer, name)).is_empty():
                    report.empty.append(name)
                    continue
                write_parquet_atomic(folder / f"{name}.parquet", frame)
                report.written += 1
            if on_progress:
                on_progress(start + len(batch), len(missing))
    if missing and not report.written and not report.kept:
        raise DataError(
            f"Yahoo has no data for any of {choices(tickers, 4)}; check network, spelling and days"
        )
    return report


def _ticker_frame(answer: Any, name: str) -> pl.DataFrame:
    """One ticker's rows of a download; empty if there are none."""
    if len(answer) == 0 or name not in answer.columns.get_level_values(0):
        return pl.DataFrame()
    rows = answer[name].dropna(how="all").rename_axis(index="Date").reset_index()
    rows["Code"] = name
    if missing := [column for column in COLUMNS if column not in rows.columns]:
        raise DataError(f"Yahoo's answer for {name} lacks {choices(missing)}; it has {choices(rows.columns)}")
    if rows["Date"].dt.tz is not None:
        rows["Date"] = rows["Date"].dt.tz_localize(None)
    return to_polars(rows[list(COLUMNS)], f"Yahoo's answer for {name}", dates=["Date"], text=["Code"])


def _is_current(file: Path, first: dt.date, last: dt.date) -> bool:
    """Return True if a file covers these days, apart from days without trading at both ends."""
    if not file.is_file():
        return False
    try:
        date = pl.col("Date")
        days = pl.scan_parquet(file, glob=False).select(first=date.min(), last=date.max()).collect()
    except (pl.exceptions.PolarsError, OSError):
        return False
    stored_first, stored_last = days.row(0)
    slack = dt.timedelta(FRESH_DAYS)
    return bool(stored_last and stored_last >= last - slack and stored_first <= first + slack)

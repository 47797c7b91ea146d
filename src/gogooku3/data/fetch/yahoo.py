"""Fetches daily prices of listed tickers from Yahoo Finance, a file a stock; only what is not there yet."""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.data.fetch.pandas_frames import to_polars
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.atomic import atomic_path
from gogooku3.files.locks import exclusive

Download = Callable[..., Any]
"""`yfinance.download`."""

BATCH = 50
"""Tickers a call: the library fetches those of one call in parallel."""
FRESH_DAYS = 4
"""Calendar days by which a file may end early and still be current: a weekend and a holiday."""
COLUMNS = ("Date", "Code", "Open", "High", "Low", "Close", "Volume")


@dataclass
class YahooReport:
    """What a fetch brought."""

    written: int = 0
    kept: int = 0
    empty: list[str] = field(default_factory=list)
    """Tickers for which nothing came."""


def read_tickers(path: Path) -> list[str]:
    """Tickers of a text file, one a line; blank lines and what follows a `#` are skipped.

    Raises:
        DataError: no such file, no ticker in it, or a line that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(
            f"the tickers in {path} can't be read ({reason}); name a text file, a ticker a line"
        ) from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise DataError(f"{path} names no ticker; write one a line, as Yahoo spells it: AAPL, 7203.T")
    if wrong := [name for name in names if not re.fullmatch(r"[A-Za-z0-9^][A-Za-z0-9.=^-]*", name)]:
        raise DataError(f"{path}: no tickers are {choices(wrong, 4)}; write one a line, as Yahoo spells it")
    return list(dict.fromkeys(names))


def fetch_yahoo(
    folder: Path,
    tickers: Sequence[str],
    first: dt.date,
    last: dt.date,
    download: Download,
    told: Callable[[int, int], None] | None = None,
) -> YahooReport:
    """Bring each ticker's daily prices between two days, both included, as `folder/TICKER.parquet`.

    Raises:
        ConfigError: the days are the wrong way round.
        DataError: Yahoo's answer lacks a column, or nothing came for any ticker.
    """
    if first > last:
        raise ConfigError(f"the first day {first} lies after the last {last}; swap --from and --to")
    report = YahooReport()
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock", f"{folder} is being written by another process"):
        missing = [name for name in tickers if not _is_current(folder / f"{name}.parquet", first, last)]
        report.kept = len(tickers) - len(missing)
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            _fetch_part(folder, part, first, last, download, report)
            if told:
                told(start + len(part), len(missing))
    if missing and not report.written and not report.kept:
        raise DataError(
            f"Yahoo sent nothing for any of {choices(tickers, 4)}; check network, spelling and days"
        )
    return report


def _fetch_part(
    folder: Path,
    tickers: Sequence[str],
    first: dt.date,
    last: dt.date,
    download: Download,
    report: YahooReport,
) -> None:
    # Yahoo's end is the day after; prices adjusted for splits alone, as the rest of the package wants them.
    end = last + dt.timedelta(1)
    answer = download(
        list(tickers), start=str(first), end=str(end), auto_adjust=False, group_by="ticker", progress=False
    )
    for name in tickers:
        frame = _of_ticker(answer, name)
        if frame.is_empty():
            report.empty.append(name)
            continue
        with atomic_path(folder / f"{name}.parquet") as temporary:
            frame.write_parquet(temporary, compression="zstd")
        report.written += 1


def _of_ticker(answer: Any, name: str) -> pl.DataFrame:
    if len(answer) == 0 or name not in answer.columns.get_level_values(0):
        return pl.DataFrame()
    own = answer[name].dropna(how="all").rename_axis(index="Date").reset_index()
    if lacking := [column for column in COLUMNS if column not in (*own.columns, "Code")]:
        raise DataError(f"Yahoo's answer for {name} lacks {choices(lacking)}; it has {choices(own.columns)}")
    if own["Date"].dt.tz is not None:
        own["Date"] = own["Date"].dt.tz_localize(None)
    own["Code"] = name
    return to_polars(own[list(COLUMNS)], f"Yahoo's answer for {name}", dates=["Date"], text=["Code"])


def _is_current(file: Path, first: dt.date, last: dt.date) -> bool:
    """Whether a file holds these days, as far as markets were open. An earlier start is fetched anew."""
    if not file.is_file():
        return False
    try:
        days = pl.scan_parquet(file).select(
            pl.col("Date").min().alias("first"), pl.col("Date").max().alias("last")
        )
        held_first, held_last = days.collect().row(0)
    except (pl.exceptions.PolarsError, OSError):
        return False
    late = dt.timedelta(FRESH_DAYS)
    return bool(held_last and held_last >= last - late and held_first <= first + late)

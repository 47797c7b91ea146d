"""Fetches missing daily prices of listed tickers from Yahoo Finance, one file per stock."""

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.data.fetch.pandas_frames import to_polars
from gogooku3.data.fetch.store import RawStore
from gogooku3.data.fetch.yahoo_sessions import last_finished_day
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.atomic import write_parquet_atomic, write_text_atomic

Download = Callable[..., Any]
"""`yfinance.download`."""
BATCH = 50
"""Tickers per call; the library fetches those of one call in parallel."""
REQUESTED = ".requested.json"
"""First day that was requested of each ticker; a stock listed later has no rows from there on."""
REVISED = 1e-4
"""Relative change of a stored close that shows a later split; Yahoo rounds to about 1e-7."""
COLUMNS = ("Date", "Code", "Open", "High", "Low", "Close", "Volume")


@dataclass
class YahooReport:
    """Result of a fetch."""

    written: int = 0
    kept: int = 0
    empty: list[str] = field(default_factory=list)
    """Tickers without any data."""
    behind: dict[str, dt.date] = field(default_factory=dict)
    """Last day of tickers that end before others of their exchange."""


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
    now: dt.datetime | None = None,
) -> YahooReport:
    """Write each ticker's daily prices between two days, both included, to `folder/TICKER.parquet`.

    Of a file that exists, only the days from its last one on are requested; all are fetched again if its last
    close has changed since, as a split changes all earlier prices. Days whose session is not finished `now`
    (the current time by default) are not stored.

    Raises:
        ConfigError: the days are in the wrong order.
        DataError: Yahoo's answer lacks a column, or there is no data for any ticker.
    """
    if first > last:
        raise ConfigError(f"the first day {first} is after the last day {last}; swap --from and --to")
    now = now or dt.datetime.now(dt.UTC)
    with RawStore(folder).writing():
        fetch = _Fetch(folder, first, download, on_progress)
        for name in tickers:
            fetch.add(name, min(last, last_finished_day(name, now)))
        fetch.run()
        fetch.compare_last_days(tickers)
    if fetch.requested and not fetch.report.written and not fetch.report.kept:
        raise DataError(
            f"Yahoo has no data for any of {choices(tickers, 4)}; check network, spelling and days"
        )
    return fetch.report


class _Fetch:
    """The requests of one fetch: tickers by the days that they lack."""

    def __init__(
        self,
        folder: Path,
        first: dt.date,
        download: Download,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.folder, self.first, self.download, self.on_progress = folder, first, download, on_progress
        self.report = YahooReport()
        self.requested, self.done = 0, 0
        self.missing: dict[tuple[dt.date, dt.date], list[str]] = {}
        self.stored: dict[str, pl.DataFrame] = {}
        self.first_days = _read_first_days(folder)

    def add(self, name: str, last: dt.date) -> None:
        """Plan the request of a ticker up to a day."""
        stored = _read_stored(self.folder / f"{name}.parquet")
        begin = self.first
        if stored is not None:
            asked = self.first_days.get(name, stored["Date"][0])
            if asked <= self.first and stored["Date"][-1] >= last:
                self.report.kept += 1
                return
            if asked <= self.first:
                begin, self.stored[name] = stored["Date"][-1], stored
        if begin > last:
            self.report.empty.append(name)
            return
        self._request(name, begin, last)

    def run(self) -> None:
        """Request what is missing, in batches of the same days."""
        while self.missing:
            (begin, last), names = self.missing.popitem()
            for start in range(0, len(names), BATCH):
                batch = names[start : start + BATCH]
                # Yahoo excludes the end day. Without auto_adjust, prices are adjusted for splits only.
                span = {"start": str(begin), "end": str(last + dt.timedelta(1))}
                answer = self.download(batch, **span, auto_adjust=False, group_by="ticker", progress=False)
                for name in batch:
                    self._write(name, _ticker_frame(answer, name, last), last)
                self._save_first_days(batch)
                self.done += len(batch)
                if self.on_progress:
                    self.on_progress(self.done, self.requested)

    def compare_last_days(self, tickers: Sequence[str]) -> None:
        """Report tickers whose file ends before others of their exchange."""
        ends: dict[str, dict[str, dt.date]] = {}
        for name in tickers:
            if (stored := _read_stored(self.folder / f"{name}.parquet")) is not None:
                ends.setdefault(name.partition(".")[2], {})[name] = stored["Date"][-1]
        for days in ends.values():
            newest = max(days.values())
            self.report.behind |= {name: day for name, day in days.items() if day < newest}

    def _request(self, name: str, begin: dt.date, last: dt.date) -> None:
        self.missing.setdefault((begin, last), []).append(name)
        self.requested += 1

    def _write(self, name: str, rows: pl.DataFrame, last: dt.date) -> None:
        """Write a ticker's file, or plan a request of all days if its earlier prices were revised."""
        stored = self.stored.pop(name, None)
        if rows.is_empty():
            if stored is None:
                self.report.empty.append(name)
            else:
                self.report.kept += 1
            return
        if stored is not None:
            overlap = rows.row(0, named=True)
            before = stored.row(-1, named=True)
            same_day = overlap["Date"] == before["Date"]
            if not same_day or not _is_close(overlap["Close"], before["Close"]):
                self._request(name, self.first, last)
                return
            rows = pl.concat([stored.head(-1), rows])
        self.report.written += 1
        write_parquet_atomic(self.folder / f"{name}.parquet", rows)

    def _save_first_days(self, names: Sequence[str]) -> None:
        for name in names:
            self.first_days[name] = min(self.first, self.first_days.get(name, self.first))
        days = {name: str(day) for name, day in sorted(self.first_days.items())}
        write_text_atomic(self.folder / REQUESTED, json.dumps(days, indent=0))


def _ticker_frame(answer: Any, name: str, last: dt.date) -> pl.DataFrame:
    """One ticker's rows of a download up to a day, by date; empty if there are none."""
    if len(answer) == 0 or name not in answer.columns.get_level_values(0):
        return pl.DataFrame()
    rows = answer[name].dropna(how="all").rename_axis(index="Date").reset_index()
    rows["Code"] = name
    if missing := [column for column in COLUMNS if column not in rows.columns]:
        raise DataError(f"Yahoo's answer for {name} lacks {choices(missing)}; it has {choices(rows.columns)}")
    if rows["Date"].dt.tz is not None:
        rows["Date"] = rows["Date"].dt.tz_localize(None)
    frame = to_polars(rows[list(COLUMNS)], f"Yahoo's answer for {name}", dates=["Date"], text=["Code"])
    return frame.filter(pl.col("Date") <= last).sort("Date")


def _is_close(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=REVISED)


def _read_stored(file: Path) -> pl.DataFrame | None:
    """Rows of a ticker's file by date; None if there is no usable one."""
    try:
        frame = pl.read_parquet(file, columns=list(COLUMNS), glob=False)
    except (pl.exceptions.PolarsError, OSError):
        return None
    return None if frame.is_empty() or frame["Date"].null_count() else frame.sort("Date")


def _read_first_days(folder: Path) -> dict[str, dt.date]:
    """First requested day by ticker; empty without a readable file."""
    try:
        days = json.loads((folder / REQUESTED).read_text(encoding="utf-8"))
        return {str(name): dt.date.fromisoformat(day) for name, day in days.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}

"""Contents of a raw store of J-Quants: files, days and gaps of each data set. Reads no values."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gogooku3.data.fetch.jquants_data import CALENDAR, DATASETS, trading_days
from gogooku3.data.fetch.store import RawStore, days_between, month_of
from gogooku3.errors import DataError
from gogooku3.files.tables import collect, scan_table


@dataclass(frozen=True)
class RawContents:
    """One data set of a raw store."""

    name: str
    unit: str
    """Period of one file: `session` (a trading day), calendar `day`, or `month`."""
    files: int
    rows: int
    first: str
    """First stored unit, as in its file's name."""
    last: str
    open: tuple[str, ...]
    """Units whose answer may still change."""
    holes: tuple[str, ...] | None
    """Missing units between the first and the last; None if that takes a calendar and there is none."""
    bytes: int


def raw_contents(store: RawStore) -> list[RawContents]:
    """Each data set of a store, sorted by name. Sessions are those of the store's own calendar.

    Raises:
        DataError: a file can't be read, or its name is not a day or month.
    """
    return [_contents(store, name) for name in store.datasets()]


def is_raw_store(folder: Path) -> bool:
    """Return True for the layout of a raw store: `data set/month=2024-01/2024-01-04.parquet`."""
    return bool(RawStore(folder).datasets())


def _contents(store: RawStore, name: str) -> RawContents:
    units, files = store.units(name), store.files(name)
    days = {unit: _first_day(store, name, unit) for unit in units}
    unit = DATASETS[name].unit if name in DATASETS else "month"
    return RawContents(
        name=name,
        unit=unit,
        files=len(files),
        rows=sum(collect(scan_table(file).select(pl.len()), file).item() for file in files),
        first=units[0],
        last=units[-1],
        open=tuple(unit for unit in units if not store.has(name, unit)),
        holes=_holes(store, unit, days),
        bytes=sum(file.stat().st_size for file in files),
    )


def _first_day(store: RawStore, name: str, unit: str) -> dt.date:
    try:
        return dt.date.fromisoformat(f"{unit}-01"[:10])
    except ValueError:
        raise DataError(
            f"{store.folder / name} has a file '{unit}', whose name is not a day or month; move it elsewhere"
        ) from None


def _holes(store: RawStore, unit: str, stored: Mapping[str, dt.date]) -> tuple[str, ...] | None:
    first, last = min(stored.values()), max(stored.values())
    days = days_between(first, last)
    if unit == "session":
        if CALENDAR.name not in store.datasets():
            return None
        days = trading_days(store.read(CALENDAR.name), first, last)
    expected = {month_of(day) if unit == "month" else str(day) for day in days}
    return tuple(sorted(expected - set(stored)))

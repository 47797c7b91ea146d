"""What a raw store of J-Quants holds: files, days and holes of each data set. No value is read."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gogooku3.data.fetch.jquants_data import CALENDAR, DATASETS, trading_days
from gogooku3.data.fetch.store import RawStore, month_of
from gogooku3.data.parquet_layout import read_layout
from gogooku3.errors import DataError


@dataclass(frozen=True)
class RawContents:
    """One data set of a raw store."""

    name: str
    unit: str
    """What a file holds: a `session` (trading day), a calendar `day`, or a `month`."""
    files: int
    rows: int
    first: str
    """The first day or month, as the store names it."""
    last: str
    open: tuple[str, ...]
    """Days or months of which the answer may still change."""
    holes: tuple[str, ...] | None
    """Days or months between the first and the last that are not there; None where the calendar that would
    tell is not there."""
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return asdict(self)


def raw_contents(store: RawStore) -> list[RawContents]:
    """Each data set of a store, in the order of their names.

    Sessions are those of the store's own calendar; what lies before the first file or after the last is no
    hole.

    Raises:
        DataError: a file in the store can't be read, or is named after no day or month.
    """
    return [_contents(store, name) for name in store.datasets()]


def _contents(store: RawStore, name: str) -> RawContents:
    units = store.units(name)
    days = {held: _first_day(store, name, held) for held in units}
    unit = DATASETS[name].unit if name in DATASETS else "month"
    files = [store.path(name, held, store.has(name, held)) for held in units]
    return RawContents(
        name=name,
        unit=unit,
        files=len(files),
        rows=sum(read_layout(file).rows for file in files),
        first=units[0],
        last=units[-1],
        open=tuple(held for held in units if not store.has(name, held)),
        holes=_holes(store, unit, days),
        bytes=sum(file.stat().st_size for file in files),
    )


def _first_day(store: RawStore, name: str, unit: str) -> dt.date:
    """A day, or the first of a month."""
    try:
        return dt.date.fromisoformat(f"{unit}-01"[:10])
    except ValueError:
        raise DataError(
            f"{store.folder / name} holds a file '{unit}', which is named after no day or month; "
            "move it elsewhere"
        ) from None


def _holes(store: RawStore, unit: str, held: Mapping[str, dt.date]) -> tuple[str, ...] | None:
    """Units between the first and the last that are not among those held, with their days."""
    wanted: Collection[str]
    first, last = min(held.values()), max(held.values())
    if unit == "session":
        if CALENDAR not in store.datasets():
            return None
        wanted = [str(day) for day in trading_days(store.read(CALENDAR), first, last)]
    else:
        span = [first + dt.timedelta(days) for days in range((last - first).days + 1)]
        wanted = [str(day) for day in span] if unit == "day" else {month_of(day) for day in span}
    return tuple(sorted(set(wanted) - set(held)))


def is_raw_store(folder: Path) -> bool:
    """Whether a folder is laid out as a raw store: `data set/month=2024-01/2024-01-04.parquet`."""
    return bool(RawStore(folder).datasets())

"""Raw files as downloaded, each written once and atomically: `jquants/bars/month=2024-01/2024-01-04.parquet`.
An answer that may still change is named `2024-01-04.open.parquet` until it is requested again."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.files.atomic import write_parquet_atomic
from gogooku3.files.locks import exclusive

LOCK = ".lock"
OPEN = ".open"


class RawStore:
    """Raw files of one source, in a folder that the first write creates. A unit is a day (`2024-01-31`) or a
    month (`2024-01`)."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, dataset: str, unit: str, settled: bool = True) -> Path:
        """Path of the final or open file of a unit."""
        return self.folder / dataset / f"month={unit[:7]}" / f"{unit}{'' if settled else OPEN}.parquet"

    def has(self, dataset: str, unit: str) -> bool:
        """Return True if the final file of a unit exists."""
        return self.path(dataset, unit).is_file()

    def units(self, dataset: str) -> list[str]:
        """Stored days or months, ascending."""
        files = (self.folder / dataset).glob("month=*/*.parquet")
        return sorted({file.stem.removesuffix(OPEN) for file in files})

    def files(self, dataset: str) -> list[Path]:
        """File of each stored unit: the final one if it exists, else the open one."""
        return [self.path(dataset, unit, self.has(dataset, unit)) for unit in self.units(dataset)]

    def write(self, dataset: str, unit: str, frame: pl.DataFrame, settled: bool = True) -> None:
        """Write a unit atomically; equal rows give equal bytes."""
        write_parquet_atomic(self.path(dataset, unit, settled), frame)
        if settled:
            self.path(dataset, unit, settled=False).unlink(missing_ok=True)

    def read(self, dataset: str, columns: list[str] | None = None) -> pl.DataFrame:
        """All rows of a data set in order of units; columns missing in a file are null in its rows.

        If every answer was empty, the frame has no columns.

        Raises:
            DataError: nothing is stored, or a file can't be read.
        """
        if not (files := self.files(dataset)):
            raise DataError(f"{self.folder} has no {dataset}; it has {choices(self.datasets())}")
        parts = [part for file in files if (part := _read(file, columns)).width]
        return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()

    def datasets(self) -> list[str]:
        """Names of the stored data sets, sorted."""
        return sorted({file.parent.parent.name for file in self.folder.glob("*/month=*/*.parquet")})

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock out other writers while the block runs.

        Raises:
            DataError: another process holds the lock.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / LOCK, f"{self.folder} is being written by another process"):
            yield


def month_of(day: dt.date) -> str:
    """Month of a day, as in file names.

    >>> month_of(dt.date(2024, 1, 31))
    '2024-01'
    """
    return f"{day:%Y-%m}"


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Calendar days from first to last, both included."""
    return [first + dt.timedelta(days) for days in range((last - first).days + 1)]


def _read(file: Path, columns: list[str] | None) -> pl.DataFrame:
    try:
        if columns is not None:
            schema = pl.scan_parquet(file, glob=False).collect_schema()
            columns = [name for name in columns if name in schema]
        return pl.read_parquet(file, columns=columns, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"{file} can't be read as Parquet ({reason}); delete it and fetch again") from None

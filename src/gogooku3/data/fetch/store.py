"""Raw files as they came: a folder a data set, a folder a month, a file a day; each written once, whole.

    raw/jquants/bars/month=2024-01/2024-01-04.parquet

What may still change is called `2024-01-04.open.parquet` until it is asked for again. Any Parquet reader
takes the lot, DuckDB for one: `select * from 'raw/jquants/bars/*/*.parquet'`.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.files.atomic import atomic_path
from gogooku3.files.locks import exclusive

LOCK = ".lock"
OPEN = ".open"


class RawStore:
    """The raw files of one source.

    Args:
        folder: of the source; made when something is written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, dataset: str, unit: str, settled: bool = True) -> Path:
        """Where the file of a day (`2024-01-31`) or a month (`2024-01`) lies."""
        name = f"{unit}.parquet" if settled else f"{unit}{OPEN}.parquet"
        return self.folder / dataset / f"month={unit[:7]}" / name

    def has(self, dataset: str, unit: str) -> bool:
        """Whether a day or month is there and won't change."""
        return self.path(dataset, unit).is_file()

    def units(self, dataset: str) -> list[str]:
        """The days or months that are there, in order."""
        files = (self.folder / dataset).glob("month=*/*.parquet")
        return sorted({file.stem.removesuffix(OPEN) for file in files})

    def write(self, dataset: str, unit: str, frame: pl.DataFrame, settled: bool = True) -> Path:
        """Write a day or a month whole; equal rows give equal bytes."""
        path = self.path(dataset, unit, settled)
        with atomic_path(path) as temporary:
            frame.write_parquet(temporary, compression="zstd")
        if settled:
            self.path(dataset, unit, settled=False).unlink(missing_ok=True)
        return path

    def read(self, dataset: str, columns: list[str] | None = None) -> pl.DataFrame:
        """All rows of a data set, days in order; columns that a file lacks are null in its rows.

        Where every answer was empty, so is the frame, without columns.

        Raises:
            DataError: nothing is there, or a file can't be read.
        """
        files = [self.path(dataset, unit, self.has(dataset, unit)) for unit in self.units(dataset)]
        if not files:
            raise DataError(f"{self.folder} holds no {dataset}; it has {choices(self.datasets())}")
        parts = [part for file in files if (part := _read(file, columns)).width]
        return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()

    def datasets(self) -> list[str]:
        """Names of the data sets that are there."""
        if not self.folder.is_dir():
            return []
        return sorted({file.parent.parent.name for file in self.folder.glob("*/month=*/*.parquet")})

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep every other writer out of the store while the block runs.

        Raises:
            DataError: another process writes here now.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / LOCK, f"{self.folder} is being written by another process"):
            yield


def month_of(day: dt.date) -> str:
    """The month of a day, as the store names it.

    >>> month_of(dt.date(2024, 1, 31))
    '2024-01'
    """
    return f"{day:%Y-%m}"


def _read(file: Path, columns: list[str] | None) -> pl.DataFrame:
    try:
        if columns is None:
            return pl.read_parquet(file, glob=False, hive_partitioning=False)
        present = pl.read_parquet_schema(file)
        wanted = [name for name in columns if name in present]
        return pl.read_parquet(file, columns=wanted, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"{file} can't be read as Parquet ({reason}); delete it and fetch again") from None

"""Compute the catalogue's features from prices, a few stocks at a time: their arrays stay in the cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.features.catalog import CATALOG
from gogooku3.features.feature import Array, Feature
from gogooku3.features.market import DayView
from gogooku3.features.price_grid import MarketGrid, build_grid
from gogooku3.schema import CODE, DATE
from gogooku3.system import available_cores, freed_memory_kept

BLOCK_CELLS = 80_000
"""Days x stocks computed together: 0.6 MB per array, about a core's second-level cache."""
_KEPT = 4 << 20
"""Bytes; freed blocks up to this size are reused. A block's arrays are smaller, whole columns larger."""

Column = NDArray[np.float32]
"""A feature of every row, `[rows]`."""

Progress = Callable[[str, float], None]
"""Called with the step's name and the share done, 0 to 1."""


def compute_features(prices: pl.DataFrame, progress: Progress | None = None) -> pl.DataFrame:
    """Compute the catalogue for every row of prices: `date, code`, 139 Float32, sorted by (date, code).

    Each value is known at the close of its day; later rows change no bit of it. Null marks an unknown value:
    too little history (a rolling statistic needs two thirds of its window, an indicator all of it), a missing
    price, a division by zero. No value is infinite or NaN.

    Args:
        prices: `date, code, open, high, low, close, volume` and, where known, `sector`, `index_close`;
            in any order; zero, negative and non-finite prices count as missing.
        progress: called after each block of stocks.

    Raises:
        DataError: a column is missing, the table is empty, or keys are null or repeated.
    """
    grid = build_grid(prices)
    rows = Rows.of(grid)
    with feature_threads() as pool:
        made = {feature.name: rows.empty() for feature in CATALOG}
        await_all(stock_tasks(grid, CATALOG, made, rows, pool), progress)
        return table_of(grid, CATALOG, made, rows, pool)


@dataclass(frozen=True)
class Rows:
    """Places of a table's rows in `[days, stocks]`: features are kept per row, so memory follows the rows.

    Attributes:
        number: int32 `[days, stocks]`; number of each row by (date, code), -1 where there is none.
        count: rows.
    """

    number: NDArray[np.int32]
    count: int

    @staticmethod
    def of(grid: MarketGrid) -> "Rows":
        """Number the rows of a grid."""
        count = int(grid.present.sum())
        number = np.full(grid.present.shape, -1, np.int32)
        number[grid.present] = np.arange(count, dtype=np.int32)
        return Rows(number, count)

    def empty(self) -> Column:
        """A column of NaN."""
        return np.full(self.count, np.nan, np.float32)

    def places(self, stocks: slice = slice(None)) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Flat positions in `[days, stocks]` of the rows of some stocks, and the rows' numbers."""
        number = self.number[:, stocks].ravel()
        cells = np.flatnonzero(number >= 0)
        return cells, number[cells]

    def spread(self, column: Column) -> NDArray[np.float32]:
        """A column as `[days, stocks]`, NaN where there is no row."""
        dense = np.full(self.number.shape, np.nan, np.float32)
        cells, numbers = self.places()
        dense.ravel()[cells] = column[numbers]
        return dense


class _Spread(Mapping[str, NDArray[np.float32]]):
    """Columns as `[days, stocks]`, made when they are asked for."""

    def __init__(self, made: Mapping[str, Column], rows: Rows) -> None:
        self._made, self._rows = made, rows

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._rows.spread(self._made[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def stock_tasks(
    grid: MarketGrid,
    features: Sequence[Feature],
    made: Mapping[str, Column],
    rows: Rows,
    pool: ThreadPoolExecutor,
) -> list[Future[None]]:
    """Start to compute the features of stage `stock`; the rows are those of the last days of the grid."""
    features = [feature for feature in features if feature.stage == "stock"]
    n_days, n_stocks = grid.present.shape
    step = max(1, BLOCK_CELLS // n_days)
    skipped = n_days - len(rows.number)

    def work(stocks: slice) -> None:
        block = grid.block(stocks)
        cells, numbers = rows.places(stocks)
        with np.errstate(all="ignore"):
            for feature in features:
                values = feature.compute(block)[skipped:].ravel()
                made[feature.name][numbers] = finite(values[cells])

    return [pool.submit(work, slice(start, start + step)) for start in range(0, n_stocks, step)]


def await_all(tasks: Sequence[Future[None]], progress: Progress | None) -> None:
    """Wait for the tasks to end and report progress."""
    for done, task in enumerate(as_completed(tasks), start=1):
        task.result()
        if progress:
            progress("features", done / len(tasks))


def table_of(
    grid: MarketGrid,
    features: Sequence[Feature],
    made: dict[str, Column],
    rows: Rows,
    pool: ThreadPoolExecutor,
) -> pl.DataFrame:
    """Compute the features of stage `day`; return all features as one row per stock and day, with its keys.

    Empties `made`.
    """
    view = DayView(grid.calendar, grid.group, _Spread(made, rows))

    cells, numbers = rows.places()

    def compare(feature: Feature) -> None:
        made[feature.name][numbers] = finite(feature.compute(view).ravel()[cells])

    list(pool.map(compare, [feature for feature in features if feature.stage == "day"]))

    def column(name: str) -> pl.Series:
        # Popped, so that each array is freed once its column exists.
        return pl.Series(name, made.pop(name), nan_to_null=True)

    day, stock = np.nonzero(grid.present)
    keys = [grid.dates.gather(day).alias(DATE), grid.codes.gather(stock).alias(CODE)]
    return pl.DataFrame([*keys, *pool.map(column, list(made))])


def finite(values: Array) -> NDArray[np.float32]:
    """Convert to Float32, with NaN for infinities."""
    narrow = values.astype(np.float32)
    narrow[np.isinf(narrow)] = np.nan
    return narrow


@contextmanager
def feature_threads() -> Iterator[ThreadPoolExecutor]:
    """Thread pool for features; inside, a block's freed memory is reused by the next block."""
    # Beyond four cores memory is the limit, not arithmetic.
    with freed_memory_kept(largest=_KEPT), ThreadPoolExecutor(min(4, available_cores())) as pool:
        yield pool

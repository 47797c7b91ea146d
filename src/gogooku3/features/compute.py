"""Compute the catalogue's features from prices, a few stocks at a time: their arrays stay in the cache."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager

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

Dense = NDArray[np.float32]

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
    with feature_threads() as pool:
        made = {feature.name: np.empty(grid.present.shape, np.float32) for feature in CATALOG}
        await_all(stock_tasks(grid, CATALOG, made, pool), progress)
        return table_of(grid, CATALOG, made, pool)


def stock_tasks(
    grid: MarketGrid, features: Sequence[Feature], made: dict[str, Dense], pool: ThreadPoolExecutor
) -> list[Future[None]]:
    """Start to compute the features of stage `stock`, for as many of the last days as `made` has rows."""
    features = [feature for feature in features if feature.stage == "stock"]
    n_days, n_stocks = grid.present.shape
    step = max(1, BLOCK_CELLS // n_days)

    def work(stocks: slice) -> None:
        block = grid.block(stocks)
        with np.errstate(all="ignore"):
            for feature in features:
                out = made[feature.name]
                out[:, stocks] = finite(feature.compute(block)[n_days - len(out) :])

    return [pool.submit(work, slice(start, start + step)) for start in range(0, n_stocks, step)]


def await_all(tasks: Sequence[Future[None]], progress: Progress | None) -> None:
    """Wait for the tasks to end and report progress."""
    for done, task in enumerate(as_completed(tasks), start=1):
        task.result()
        if progress:
            progress("features", done / len(tasks))


def table_of(
    grid: MarketGrid, features: Sequence[Feature], made: dict[str, Dense], pool: ThreadPoolExecutor
) -> pl.DataFrame:
    """Compute the features of stage `day`; return all features as one row per stock and day, with its keys.

    Empties `made`.
    """
    view = DayView(grid.dates, grid.group, made)

    def compare(feature: Feature) -> None:
        made[feature.name][:] = finite(feature.compute(view))

    list(pool.map(compare, [feature for feature in features if feature.stage == "day"]))
    rows = np.flatnonzero(grid.present)

    def column(name: str) -> pl.Series:
        # Popped, so that each dense array is freed once its column exists.
        return pl.Series(name, made.pop(name).ravel()[rows], nan_to_null=True)

    day, stock = np.nonzero(grid.present)
    keys = [grid.dates.gather(day).alias(DATE), grid.codes.gather(stock).alias(CODE)]
    return pl.DataFrame([*keys, *pool.map(column, list(made))])


def finite(values: Array) -> Dense:
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

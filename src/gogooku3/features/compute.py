"""Prices in, the catalogue's features out. A few stocks at a time, so that their arrays stay in the cache."""

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
"""Days x stocks computed together: 0.6 MB an array, about a core's second-level cache."""

_KEPT = 4 << 20
"""Bytes. Arrays of a few stocks are smaller, columns of all rows larger."""

Dense = NDArray[np.float32]

Progress = Callable[[str, float], None]
"""Called with the step's name and the share done, 0 to 1."""


def compute_features(prices: pl.DataFrame, progress: Progress | None = None) -> pl.DataFrame:
    """Compute the catalogue for every row of prices: `date, code`, 139 Float32, sorted by (date, code).

    Each value is known at the close of its day; later rows change no bit of it. Unknown is null: too little
    history (a rolling statistic needs two thirds of its window, an indicator all of it), a missing price, a
    zero to divide by. No value is infinite or NaN.

    Args:
        prices: `date, code, open, high, low, close, volume` and, where known, `sector`, `index_close`;
            in any order; zero, negative and non-finite prices count as missing.
        progress: told how far it is.

    Raises:
        DataError: a column is missing, the table is empty, or keys are null or double.
    """
    grid = build_grid(prices)
    with feature_threads() as pool:
        made = {feature.name: np.empty(grid.present.shape, np.float32) for feature in CATALOG}
        await_all(stock_tasks(grid, CATALOG, made, pool), progress)
        return table_of(grid, CATALOG, made, pool)


def stock_tasks(
    grid: MarketGrid, features: Sequence[Feature], made: dict[str, Dense], pool: ThreadPoolExecutor
) -> list[Future[None]]:
    """Begin to compute the features that take one stock's past, on the last days that `made` has room for."""
    features = [feature for feature in features if feature.stage == "stock"]
    n_days, n_stocks = grid.present.shape
    step = max(1, BLOCK_CELLS // n_days)

    def work(stocks: slice) -> None:
        block = grid.block(stocks)
        with np.errstate(all="ignore"):
            for feature in features:
                out = made[feature.name]
                out[:, stocks] = finite(feature.compute(block)[n_days - len(out) :])

    return [
        pool.submit(work, slice(start, min(start + step, n_stocks))) for start in range(0, n_stocks, step)
    ]


def await_all(tasks: Sequence[Future[None]], progress: Progress | None) -> None:
    """Wait for the tasks' end, telling how far they are."""
    for done, task in enumerate(as_completed(tasks), start=1):
        task.result()
        if progress:
            progress("features", done / len(tasks))


def table_of(
    grid: MarketGrid, features: Sequence[Feature], made: dict[str, Dense], pool: ThreadPoolExecutor
) -> pl.DataFrame:
    """Compute those features that compare a day's stocks; then all that are made, as rows with their keys.

    `made` is used up.
    """
    view = DayView(grid.dates, grid.group, made)

    def compare(feature: Feature) -> None:
        made[feature.name][:] = finite(feature.compute(view))

    list(pool.map(compare, [feature for feature in features if feature.stage == "day"]))
    rows = np.flatnonzero(grid.present)

    def column(name: str) -> pl.Series:
        # Popped, so that not every dense array lives on beside its column.
        return pl.Series(name, made.pop(name).ravel()[rows], nan_to_null=True)

    return pl.DataFrame([*_keys(grid), *pool.map(column, list(made))])


def finite(values: Array) -> Dense:
    """As Float32, NaN where infinite."""
    narrow = values.astype(np.float32)
    narrow[np.isinf(narrow)] = np.nan
    return narrow


@contextmanager
def feature_threads() -> Iterator[ThreadPoolExecutor]:
    """Threads to compute features with; meanwhile a block's memory is kept for the next."""
    with freed_memory_kept(largest=_KEPT), ThreadPoolExecutor(_workers()) as pool:
        yield pool


def _keys(grid: MarketGrid) -> list[pl.Series]:
    day, stock = np.nonzero(grid.present)
    return [grid.dates.gather(day).alias(DATE), grid.codes.gather(stock).alias(CODE)]


def _workers() -> int:
    """Cores this process may use, at most four: beyond that memory, not arithmetic, is the limit."""
    return min(4, available_cores())

"""Computes the catalogue's features of the last days from only as much history as their lookbacks need.

The values are bit-identical to those of `compute_features` on all days.
"""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.features.catalog import CATALOG, FEATURE_NAMES
from gogooku3.features.compute import (
    BLOCK_CELLS,
    Column,
    Progress,
    Rows,
    await_all,
    feature_threads,
    finite,
    stock_tasks,
    table_of,
)
from gogooku3.features.feature import Array, Feature
from gogooku3.features.price_grid import STALE_DAYS, StockBlock, build_grid
from gogooku3.schema import CODE, DATE, KEYS, OHLCV

BAR_FAMILY = "technical"
"""Family of features whose lookbacks count a stock's own bars instead of market days."""
_STEPS = (0, 30, 70, 130, 270, 540, 820, 10_000)
"""Bounds of groups of lookbacks, so that short ones are not computed over the history of long ones."""

_BY_DAY = [feature for feature in CATALOG if feature.family != BAR_FAMILY]
_BY_BAR = [feature for feature in CATALOG if feature.family == BAR_FAMILY]


def compute_tail(prices: pl.DataFrame, first: dt.date, progress: Progress | None = None) -> pl.DataFrame:
    """Compute the catalogue for every row from a day on: `date, code`, 139 Float32, sorted by (date, code).

    Args:
        prices: as `compute_features` takes them, sorted by (code, date).
        first: a day on which some stock has a row.
        progress: called with the share done.
    """
    date = prices[DATE].to_physical().to_numpy()
    days = np.flatnonzero(np.bincount(date - date.min())) + date.min()
    since = pl.Series([first]).to_physical()[0]
    n_new = int((days >= since).sum())
    longest = max(feature.lookback for feature in _BY_DAY)
    start = days[max(0, len(days) - n_new - _reach(longest))]
    grid = build_grid(prices[np.flatnonzero(date >= start)])
    new = grid.last(n_new)
    rows = Rows.of(new)
    made = {feature.name: rows.empty() for feature in _BY_DAY}
    with feature_threads() as pool:
        tasks: list[Future[None]] = []
        for lookback, features in _by_lookback(_BY_DAY):
            tasks += stock_tasks(grid.last(n_new + _reach(lookback)), features, made, rows, pool)
        bars = _NewBars.of(prices, np.flatnonzero(date >= since))
        indicators = {feature.name: np.full(len(bars.rows), np.nan, np.float32) for feature in _BY_BAR}
        await_all([*tasks, *bars.tasks(indicators, pool)], progress)
        frame = table_of(new, _BY_DAY, made, rows, pool)
    by_day = np.argsort(date[bars.rows], kind="stable")
    if not prices.select(KEYS)[bars.rows[by_day]].equals(frame.select(KEYS)):
        raise AssertionError("families of features disagree about the rows")
    columns = [pl.Series(name, values[by_day], nan_to_null=True) for name, values in indicators.items()]
    return frame.hstack(columns).select(*KEYS, *FEATURE_NAMES)


def _reach(lookback: int) -> int:
    """Days of history needed for a lookback: a previous close may be `STALE_DAYS` old."""
    return lookback + 2 * STALE_DAYS


def _by_lookback(features: list[Feature]) -> Iterator[tuple[int, list[Feature]]]:
    """Groups of features with similar lookbacks, with the longest of each."""
    for low, high in pairwise(_STEPS):
        if group := [feature for feature in features if low <= feature.lookback < high]:
            yield max(feature.lookback for feature in group), group


@dataclass(frozen=True)
class _NewBars:
    """The rows from a day on, and the earlier bars of their stocks.

    Attributes:
        prices: price columns by name, NaN where unknown; all rows of the table.
        rows: row numbers of the new rows, ascending.
        stock: index of each new row's stock, from 0.
        begin, new, end: each stock's first row, its first new row, and the row after its last.
        bars: known bars of the table up to and including each row.
    """

    prices: dict[str, Array]
    rows: NDArray[np.intp]
    stock: NDArray[np.intp]
    begin: NDArray[np.intp]
    new: NDArray[np.intp]
    end: NDArray[np.intp]
    bars: NDArray[np.intp]

    @staticmethod
    def of(prices: pl.DataFrame, rows: NDArray[np.intp]) -> "_NewBars":
        """Find the bars of prices sorted by (code, date), given the numbers of the new rows."""
        numbers = {name: prices[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in OHLCV}
        lengths = prices[CODE].rle().struct.field("len").to_numpy().astype(np.intp)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        owner = np.searchsorted(starts, rows, side="right") - 1
        owners, new, stock = np.unique(owner, return_index=True, return_inverse=True)
        known = np.isfinite(numbers["high"]) & np.isfinite(numbers["low"]) & np.isfinite(numbers["close"])
        return _NewBars(
            prices=numbers,
            rows=rows,
            stock=stock,
            begin=starts[owners],
            new=rows[new],
            end=ends[owners],
            bars=np.cumsum(known),
        )

    def tasks(self, made: dict[str, Column], pool: ThreadPoolExecutor) -> list[Future[None]]:
        """Start computing the indicators of the new rows, in blocks of stocks with similar row counts."""
        groups = [(self._needed(lookback + 1), features) for lookback, features in _by_lookback(_BY_BAR)]
        longest = groups[-1][0]
        order = np.argsort(longest, kind="stable")[::-1]
        tasks, start = [], 0
        while start < len(order):
            stocks = order[start : start + max(1, BLOCK_CELLS // int(longest[order[start]]))]
            tasks.append(pool.submit(self._compute, stocks, groups, made))
            start += len(stocks)
        return tasks

    def _needed(self, count: int) -> NDArray[np.intp]:
        """Number of each stock's last rows that include `count` bars before the new ones."""
        begin = np.searchsorted(self.bars, self.bars[self.new] - count)
        return self.end - np.maximum(begin, self.begin)

    def _compute(
        self,
        stocks: NDArray[np.intp],
        groups: list[tuple[NDArray[np.intp], list[Feature]]],
        made: dict[str, Column],
    ) -> None:
        column = np.full(len(self.end), -1)
        column[stocks] = np.arange(len(stocks))
        chosen = np.flatnonzero(column[self.stock] >= 0)
        back = self.end[self.stock[chosen]] - self.rows[chosen]
        columns = column[self.stock[chosen]]
        prices = self._last(stocks, int(groups[-1][0][stocks].max()))
        for needed, features in groups:
            n_rows = int(needed[stocks].max())
            own = {name: values[-n_rows:] for name, values in prices.items()}
            block = StockBlock(**own, market=np.full(n_rows, np.nan))
            with np.errstate(all="ignore"):
                for feature in features:
                    made[feature.name][chosen] = finite(feature.compute(block)[n_rows - back, columns])

    def _last(self, stocks: NDArray[np.intp], count: int) -> dict[str, Array]:
        """The last rows of some stocks `[rows, stocks]`, NaN before a stock's first."""
        rows = self.end[stocks] - count + np.arange(count)[:, None]
        before = rows < self.begin[stocks]
        return {name: np.where(before, np.nan, values[rows]) for name, values in self.prices.items()}

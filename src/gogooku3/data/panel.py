"""The panel: every row of a market as one dense cube `[days, stocks, features]` and a mask.

It is made once; splits are day ranges over it, windows are slices of it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, HORIZONS, require_columns, target_column

BLOCK_ROWS = 32_768
"""Rows in a row group of what `data build` writes: 18 MB of 139 features."""
_FRAME_ROWS = BLOCK_ROWS // 2
"""Rows of a frame copied at a time. Twice as many are held in memory in addition to frame and panel."""

_PIECE_ROWS = 4112
"""Rows moved from columns to the cube at a time, which fit in the CPU cache. Columns are then 257 cache lines
apart; with a power of two the cells of a row would compete for the same few cache lines."""


@dataclass(frozen=True)
class Panel:
    """A market as arrays; axes are day, stock, feature, horizon.

    Attributes:
        dates: trading days, ascending, `datetime64[D]` `[days]`.
        codes: stocks, ascending, `[stocks]`.
        features: names of the last axis of `values`.
        values: float32 `[days, stocks, features]`; NaN is missing until a normaliser has run.
        mask: bool `[days, stocks]`; true where the stock traded that day.
        targets: float32 `[days, stocks, horizons]`; forward returns, NaN where unknown.
        horizons: trading days ahead, one per target.
    """

    dates: np.ndarray
    codes: tuple[str, ...]
    features: tuple[str, ...]
    values: np.ndarray
    mask: np.ndarray
    targets: np.ndarray
    horizons: tuple[int, ...]

    @property
    def n_days(self) -> int:
        """Trading days."""
        return len(self.dates)

    @property
    def n_stocks(self) -> int:
        """Stocks that trade on at least one day."""
        return len(self.codes)

    @property
    def n_rows(self) -> int:
        """Rows: one stock on one day it traded."""
        return int(self.mask.sum())

    def feature_index(self, name: str) -> int:
        """Position of a feature.

        Raises:
            DataError: no such feature.
        """
        require_columns(self.features, [name], "the panel")
        return self.features.index(name)

    def sample_mask(self, sequence_length: int) -> np.ndarray:
        """Bool `[days, stocks]`: rows with a full window of `sequence_length` market days."""
        samples = self.mask.copy()
        samples[: sequence_length - 1] = False
        return samples

    @staticmethod
    def from_frame(
        frame: pl.DataFrame,
        features: Sequence[str],
        horizons: Sequence[int] = HORIZONS,
        reserve: Sequence[str] = (),
        storage: Path | None = None,
    ) -> "Panel":
        """Copy the rows of a data set to a cube.

        Args:
            frame: `date, code, target_{h}d, features`, unique by (date, code), in any order.
            features: columns to take, in this order.
            horizons: targets to take; a horizon without a column is all NaN.
            reserve: names of further features to reserve columns for (NaN), which are filled without a copy.
            storage: file for a memory-mapped cube; None keeps it in memory.

        Raises:
            DataError: a column is missing, the frame is empty, or a key occurs twice.
        """
        require_columns(frame.columns, features, "the data set")
        panel, cell = allocate_panel(frame, features, horizons, reserve, storage)
        if features:
            numbers = pl.col(list(features)).cast(pl.Float32).fill_null(np.nan)
            starts = range(0, frame.height, _FRAME_ROWS)
            blocks = (frame.slice(start, _FRAME_ROWS).select(numbers) for start in starts)
            write_values(panel, zip(blocks, np.split(cell, starts[1:]), strict=True))
        else:
            panel.values[...] = np.nan
        return panel


@dataclass(frozen=True)
class PanelSlice:
    """Some days of a panel. Only their rows are samples; windows may begin before, labels close later.

    Attributes:
        panel: the whole market, normalised.
        days: half-open range of day numbers.
    """

    panel: Panel
    days: range

    def rows(self, sequence_length: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Day and stock number of every sample, int64 `[samples]` each, ordered by day, then stock."""
        samples = self.panel.sample_mask(sequence_length)[self.days.start : self.days.stop]
        day, stock = np.nonzero(samples)
        return day + self.days.start, stock

    def keys(self, sequence_length: int = 1) -> pl.DataFrame:
        """`date, code` of every sample, in the order of `rows`."""
        day, stock = self.rows(sequence_length)
        return pl.DataFrame(
            {DATE: pl.Series(self.panel.dates[day], dtype=pl.Date), CODE: np.array(self.panel.codes)[stock]}
        )


def allocate_panel(
    frame: pl.DataFrame,
    features: Sequence[str],
    horizons: Sequence[int] = HORIZONS,
    reserve: Sequence[str] = (),
    storage: Path | None = None,
) -> tuple[Panel, np.ndarray]:
    """Make a panel of a frame's keys and targets, and return the cell of each row: day * stocks + stock.

    Its values are uninitialised until `write_values` writes them. All else is as in `Panel.from_frame`.

    Raises:
        DataError: a key is missing, the frame is empty, or a key occurs twice.
    """
    require_columns(frame.columns, [DATE, CODE], "the data set")
    if frame.is_empty():
        raise DataError("the data set has no rows; a panel needs at least one day and one stock")
    dates, codes = frame[DATE].unique().sort(), frame[CODE].unique().sort()
    n_days, n_stocks = len(dates), len(codes)
    day = np.searchsorted(dates.to_numpy(), frame[DATE].to_numpy())
    cell = day * n_stocks + frame[CODE].cast(pl.Enum(codes)).to_physical().to_numpy().astype(np.int64)
    mask = np.zeros(n_days * n_stocks, dtype=bool)
    mask[cell] = True
    if repeated := frame.height - int(mask.sum()):
        raise DataError(
            f"{repeated} rows repeat a (date, code) that another row has; keep one row per stock and day"
        )
    shape = (n_days, n_stocks, len(features) + len(reserve))
    if storage is None:
        values = np.empty(shape, dtype=np.float32)
    else:
        storage.parent.mkdir(parents=True, exist_ok=True)
        # A plain array: the memmap subclass runs Python code at every slice.
        values = np.asarray(np.memmap(storage, dtype=np.float32, mode="w+", shape=shape))
    targets = np.full((n_days * n_stocks, len(horizons)), np.nan, dtype=np.float32)
    for position, name in enumerate(map(target_column, horizons)):
        if name in frame.columns:
            targets[cell, position] = frame[name].cast(pl.Float32).fill_null(np.nan).to_numpy()
    panel = Panel(
        dates=dates.to_numpy().astype("datetime64[D]"),
        codes=tuple(codes.to_list()),
        features=(*features, *reserve),
        values=values,
        mask=mask.reshape(n_days, n_stocks),
        targets=targets.reshape(n_days, n_stocks, len(horizons)),
        horizons=tuple(horizons),
    )
    return panel, cell


def write_values(panel: Panel, blocks: Iterable[tuple[pl.DataFrame, np.ndarray]]) -> None:
    """Write the values of an allocated panel: features in the first columns, NaN in all other cells.

    Args:
        panel: made by `allocate_panel`.
        blocks: the features of some rows, Float32 without nulls, and the cell of each row. One block is
            written while the next one is made; there are never more than two.
    """
    values = panel.values.reshape(-1, len(panel.features))

    def write(columns: pl.DataFrame, cell: np.ndarray) -> Iterator[None]:
        def move(start: int) -> None:
            rows = cell[start : start + _PIECE_ROWS]
            values[rows, : columns.width] = columns.slice(start, _PIECE_ROWS).to_numpy()
            values[rows, columns.width :] = np.nan

        return pool.map(move, range(0, columns.height, _PIECE_ROWS))

    with ThreadPoolExecutor(2) as pool:
        writing: Iterator[None] = iter(())
        for columns, cell in blocks:
            # Waits for the block before.
            deque(writing, maxlen=0)
            writing = write(columns, cell)
        deque(writing, maxlen=0)
    values[~panel.mask.reshape(-1)] = np.nan

"""The panel: every row of a market as one dense cube `[days, stocks, features]` and a mask.

Made once; splits are day ranges over it, windows are slices of it, and nothing here looks ahead.
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
"""Rows of a frame laid out at a time. Copies of twice as many are all that is held beside frame and panel."""

_PIECE_ROWS = 4112
"""Rows moved from columns to the cube at a time: they stay in the cache, where columns lie 257 lines apart. A
power of two would put the cells of a row into the same few places of it."""


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
        horizons: trading days ahead, one a target.
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
        """Bool `[days, stocks]`: rows whose window of `sequence_length` market days lies in the data."""
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
        """Lay the rows of a data set out as a cube.

        Args:
            frame: `date, code, target_{h}d, features`, unique by (date, code), in any order.
            features: columns to take, in this order.
            horizons: targets to take; a horizon without a column is all NaN.
            reserve: names of further features to leave room for (NaN), so that adding them
                copies nothing.
            storage: file for a memory-mapped cube; None keeps it in memory.

        Raises:
            DataError: a column is missing, the frame is empty, or a key occurs twice.
        """
        require_columns(frame.columns, features, "the data set")
        panel, place = lay_out(frame, features, horizons, reserve, storage)
        if features:
            numbers = pl.col(list(features)).cast(pl.Float32).fill_null(np.nan)
            starts = range(0, frame.height, _FRAME_ROWS)
            blocks = (frame.slice(start, _FRAME_ROWS).select(numbers) for start in starts)
            fill(panel, zip(blocks, np.split(place, starts[1:]), strict=True))
        else:
            panel.values[...] = np.nan
        return panel


@dataclass(frozen=True)
class PanelSlice:
    """Some days of a panel; windows may look back past the first of them, labels stay inside.

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


def lay_out(
    frame: pl.DataFrame,
    features: Sequence[str],
    horizons: Sequence[int] = HORIZONS,
    reserve: Sequence[str] = (),
    storage: Path | None = None,
) -> tuple[Panel, np.ndarray]:
    """The panel of a frame's keys and targets, and the place of each row among its cells.

    Its values hold anything yet: `fill` writes them. All else is as in `Panel.from_frame`.

    Raises:
        DataError: a key is missing, the frame is empty, or a key occurs twice.
    """
    require_columns(frame.columns, [DATE, CODE], "the data set")
    if frame.is_empty():
        raise DataError("the data set has no rows; a panel needs at least one day and one stock")
    day, stock, dates, codes = _row_positions(frame)
    n_days, n_stocks, width = len(dates), len(codes), len(features) + len(reserve)
    place = day * n_stocks + stock
    mask = np.zeros(n_days * n_stocks, dtype=bool)
    mask[place] = True
    if int(mask.sum()) != frame.height:
        raise DataError(
            f"{frame.height - int(mask.sum())} rows repeat a (date, code) that another row has; "
            "keep one row a stock and day"
        )
    values = _empty_cube((n_days * n_stocks, width), storage)
    targets = np.full((n_days * n_stocks, len(horizons)), np.nan, dtype=np.float32)
    for position, horizon in enumerate(horizons):
        if target_column(horizon) in frame.columns:
            column = frame[target_column(horizon)].cast(pl.Float32)
            targets[place, position] = column.fill_null(np.nan).to_numpy()
    panel = Panel(
        dates=dates,
        codes=codes,
        features=(*features, *reserve),
        values=values.reshape(n_days, n_stocks, width),
        mask=mask.reshape(n_days, n_stocks),
        targets=targets.reshape(n_days, n_stocks, len(horizons)),
        horizons=tuple(horizons),
    )
    return panel, place


def fill(panel: Panel, blocks: Iterable[tuple[pl.DataFrame, np.ndarray]]) -> None:
    """Write the values of a panel that `lay_out` made: features in the first columns, NaN in all other cells.

    Args:
        blocks: the features of some rows, Float32 without nulls, and the place of each row. One is written
            while the next one is made; there are never more than two.
    """
    cells = panel.values.reshape(-1, len(panel.features))

    def write(columns: pl.DataFrame, place: np.ndarray) -> Iterator[None]:
        def move(start: int) -> None:
            rows = place[start : start + _PIECE_ROWS]
            cells[rows, : columns.width] = columns.slice(start, _PIECE_ROWS).to_numpy()
            cells[rows, columns.width :] = np.nan

        return pool.map(move, range(0, columns.height, _PIECE_ROWS))

    with ThreadPoolExecutor(2) as pool:
        writing: Iterator[None] = iter(())
        for columns, place in blocks:
            deque(writing, maxlen=0)
            writing = write(columns, place)
        deque(writing, maxlen=0)
    cells[~panel.mask.reshape(-1)] = np.nan


def _row_positions(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Day number and stock number of each row, with the sorted days and codes they count."""
    dates = frame[DATE].unique().sort()
    day = np.searchsorted(dates.to_numpy(), frame[DATE].to_numpy())
    codes = frame[CODE].unique().sort()
    stock = frame[CODE].cast(pl.Enum(codes)).to_physical().to_numpy().astype(np.int64)
    return day, stock, dates.to_numpy().astype("datetime64[D]"), tuple(codes.to_list())


def _empty_cube(shape: tuple[int, int], storage: Path | None) -> np.ndarray:
    if storage is None:
        return np.empty(shape, dtype=np.float32)
    storage.parent.mkdir(parents=True, exist_ok=True)
    # As a plain array: the subclass would run Python at every operation on a part of it.
    return np.asarray(np.memmap(storage, dtype=np.float32, mode="w+", shape=shape))

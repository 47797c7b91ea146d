"""Standardise many days in place, each with its own cross-section only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gogooku3.preprocessing.day_columns import DayColumns, DayStatistics, Float32
from gogooku3.preprocessing.outliers import clip_day, reclip

_DAYS = 8
"""Days whose outliers and derived columns are handled together: single days would cost more calls."""


@dataclass(frozen=True)
class DerivedColumns:
    """Features computed from a day's z-scores, written after the columns they are computed from.

    Attributes:
        width: number of features.
        of_day: a standardised day -> float32 `[stocks, width]`, NaN where unknown.
        compare: completes in place the features that compare the stocks of a day: float32
            `[stocks, days, width]`; rows beyond a day's number of stocks are NaN.
    """

    width: int
    of_day: Callable[[DayColumns], np.ndarray]
    compare: Callable[[np.ndarray], None]


@dataclass(frozen=True)
class _RawCells:
    """Cells of the features that a day could not scale."""

    day: int
    features: np.ndarray
    """All of these features."""
    seen: np.ndarray
    """Those with any value."""
    cells: np.ndarray
    """Raw values of `seen`."""


class StandardizedDays:
    """Blocks of one day each, standardised in place: mean 0, deviation 1, clipped; missing and absent are 0.

    Features that a day cannot scale (fewer than `MIN_STOCKS` known values, or no spread) stay raw until
    `apply_fallback`, which may be called again with other statistics.

    Args:
        blocks: float32 `[stocks, features]` for each day, overwritten; what is not finite is missing.
        present: bool `[stocks]` for each day: the rows that exist.
        clip: largest |z|, in standard deviations.
        derived: computes the last features from the z-scores of the others; they are then standardised too,
            so that each day is read and written once.

    Attributes:
        statistics: of each day and feature before standardisation.
        n_rows, missing_cells: rows that exist, and their cells that are not finite.
    """

    def __init__(
        self,
        blocks: Sequence[Float32] | Float32,
        present: Sequence[NDArray[np.bool_]] | NDArray[np.bool_],
        n_features: int,
        clip: float,
        derived: DerivedColumns | None = None,
    ) -> None:
        self.blocks, self.present, self.clip = blocks, present, clip
        self.n_features = n_features
        self.statistics = DayStatistics.empty(len(blocks), n_features)
        self.n_rows = 0
        self._derived = derived
        self._width = n_features - (derived.width if derived else 0)
        self._raw: list[_RawCells] = []
        # Serial: with two threads the interpreter's lock costs what they save.
        for first in range(0, len(blocks), _DAYS):
            self._standardize(range(first, min(first + _DAYS, len(blocks))))
        self.missing_cells = self.n_rows * n_features - int(self.statistics.count.sum())

    def apply_fallback(self, mean: np.ndarray, std: np.ndarray) -> NDArray[np.int64]:
        """Scale the raw cells with these statistics, clipped; missing becomes 0.

        Returns:
            number of rows scaled so, for each feature.
        """
        rows = np.zeros(self.n_features, np.int64)
        for raw in self._raw:
            scaled = (raw.cells - mean[raw.seen]) / std[raw.seen]
            np.clip(scaled, -self.clip, self.clip, out=scaled)
            np.copyto(scaled, 0, where=np.isnan(scaled))
            stocks = np.flatnonzero(self.present[raw.day])
            self.blocks[raw.day][stocks[:, None], raw.seen] = scaled
            rows[raw.features] += len(stocks)
        return rows

    def _standardize(self, days: range) -> None:
        stocks = [np.flatnonzero(self.present[day]) for day in days]
        self.n_rows += sum(map(len, stocks))
        n_derived = self.n_features - self._width
        derived = np.full((max(map(len, stocks)), len(days), n_derived), np.nan, np.float32)
        outliers = []
        for number, (day, rows) in enumerate(zip(days, stocks, strict=True)):
            # Absent stocks would look like missing cells. Copied whole: memory is read fastest in one pass.
            columns = DayColumns.of(self.blocks[day].copy()[rows, : self._width])
            columns.standardize()
            if self._derived:
                derived[: len(rows), number] = self._derived.of_day(columns)
            usable, day_outliers = clip_day(columns, self.clip)
            outliers.append(day_outliers)
            self._record(slice(day, day + 1), slice(self._width), columns)
            self._store(day, rows, 0, columns.values, usable)
            self.blocks[day][~self.present[day]] = 0
        if self._derived:
            self._derived.compare(derived)
        # The derived features of several days, placed next to each other, are columns like any others.
        columns = DayColumns.of(derived.reshape(len(derived), -1).copy())
        columns.standardize()
        usable, derived_outliers = clip_day(columns, self.clip)
        self._record(slice(days.start, days.stop), slice(self._width, None), columns)
        *clipped, clipped_derived = reclip([*outliers, derived_outliers], self.clip)
        columns.values[:, derived_outliers.features] = clipped_derived.T
        scores, usable = columns.values.reshape(derived.shape), usable.reshape(len(days), -1)
        for number, (day, rows) in enumerate(zip(days, stocks, strict=True)):
            block = self.blocks[day]
            block[rows[:, None], outliers[number].features] = clipped[number].T
            block[rows, self._width :] = derived[: len(rows), number]
            self._store(day, rows, self._width, scores[: len(rows), number], usable[number])

    def _record(self, days: slice, features: slice, columns: DayColumns) -> None:
        """Record the statistics of some days and features."""
        shape = self.statistics.count[days, features].shape
        self.statistics.count[days, features] = columns.count.reshape(shape)
        self.statistics.mean[days, features] = columns.centre.reshape(shape)
        self.statistics.variance[days, features] = columns.variance.reshape(shape)

    def _store(
        self, day: int, stocks: np.ndarray, first: int, scores: np.ndarray, usable: np.ndarray
    ) -> None:
        """Write a day's neighbouring features, from number `first` on; keep those raw that are not usable."""
        block, after = self.blocks[day], first + len(usable)
        if usable.all():
            block[stocks, first:after] = scores
            return
        features = first + np.flatnonzero(~usable)
        seen = features[self.statistics.count[day, features] > 0]
        # Rows first: picking single cells costs more than reading the cells between them.
        raw = block[stocks, features[0] : features[-1] + 1][:, seen - features[0]]
        raw[~np.isfinite(raw)] = np.nan
        block[stocks, first:after] = scores
        block[stocks[:, None], seen] = raw
        self._raw.append(_RawCells(day, features, seen, raw))

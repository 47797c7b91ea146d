"""One day's columns less their means, with their statistics. No other day is read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_CONSTANT = 1e-6
"""A standard deviation below this share of the mean is Float32 rounding: the column is constant that day."""
_FEW = 1 / 16
"""Share of missing cells below which they are written one by one rather than in a pass over all cells."""


@dataclass
class DayStatistics:
    """Count, mean and variance of each day and feature before standardisation, float64 `[days, features]`."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @staticmethod
    def empty(n_days: int, n_features: int) -> "DayStatistics":
        """Zeros, to be filled in day by day."""
        return DayStatistics(*np.zeros((3, n_days, n_features)))

    def pooled(self, days: slice) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over all rows of some days (Chan et al., 1979).

        A feature without any value has mean 0 and deviation 1; a constant feature has deviation 1.
        """
        count, mean, variance = self.count[days], self.mean[days], self.variance[days]
        total = np.maximum(count.sum(axis=0), 1)
        centre = (count * mean).sum(axis=0) / total
        deviation = np.sqrt((count * (variance + (mean - centre) ** 2)).sum(axis=0) / total)
        return centre, np.where(deviation > 1e-6 * np.abs(centre), deviation, 1.0)


@dataclass
class DayColumns:
    """The cross-section of one day, ready to be standardised.

    Attributes:
        values: float32 `[stocks, features]`, less `mean`; 0 where unknown. z-scores after `standardize`.
        missing: bool `[stocks, features]`; None where all is known.
        cells: flat indices of the missing cells.
        count: known values of each feature, int64 `[features]`.
        mean: of the known values, computed in float32.
        drift: rounding error of `mean`: the mean of `values`.
        variance: of the known values, float32.
    """

    values: Float32
    missing: NDArray[np.bool_] | None
    cells: NDArray[np.intp]
    count: NDArray[np.int64]
    mean: Float32
    drift: Float32
    variance: Float32

    @staticmethod
    def of(block: Float32) -> "DayColumns":
        """Sum over the stocks in the order given; NaN and infinities are unknown.

        A column with values whose squares exceed float32 (2e19) counts as constant with mean 0.

        Args:
            block: float32 `[stocks, features]`; overwritten if contiguous, because it becomes `values`.

        >>> day = DayColumns.of(np.float32([[1, 5], [3, np.nan]]))
        >>> day.count.tolist(), day.mean.tolist(), day.variance.tolist()
        ([2, 1], [2.0, 5.0], [1.0, 0.0])
        """
        n_stocks, n_features = block.shape
        values = np.ascontiguousarray(block)
        missing = np.isfinite(values)
        np.logical_not(missing, out=missing)
        cells = np.flatnonzero(missing)
        count = np.full(n_features, n_stocks)
        if len(cells):
            count -= np.bincount(cells % n_features, minlength=n_features)
            _clear(values, missing, cells)
        known = np.maximum(count, 1).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.einsum("sf->f", values) / known
            values -= mean
            if len(cells):
                _clear(values, missing, cells)
            # A second pass: float32 sums of large values lose digits, sums of their deviations don't.
            drift = np.einsum("sf->f", values) / known
            variance = np.einsum("sf,sf->f", values, values) / known - drift * drift
        np.maximum(variance, 0, out=variance)
        if len(overflown := np.flatnonzero(~np.isfinite(variance))):
            values[:, overflown] = 0
            for statistic in (mean, drift, variance):
                statistic[overflown] = 0
        return DayColumns(values, missing if len(cells) else None, cells, count, mean, drift, variance)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Mean of the known values, in double precision."""
        return self.mean.astype(np.float64) + self.drift

    def standardize(self) -> Float32:
        """Turn the values into z-scores in place; 0 where unknown or where the column is constant."""
        std = np.sqrt(self.variance)
        varies = std > _CONSTANT * np.abs(self.mean)
        self.values -= self.drift
        self.values *= np.where(varies, 1 / np.where(varies, std, 1), 0)
        if self.missing is not None:
            _clear(self.values, self.missing, self.cells)
        return self.values


def _clear(values: Float32, missing: NDArray[np.bool_], cells: NDArray[np.intp]) -> None:
    """Write 0 into the missing cells, in place."""
    if len(cells) < _FEW * values.size:
        values.reshape(-1)[cells] = 0
    else:
        np.copyto(values, 0, where=missing)

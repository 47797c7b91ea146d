"""Clip one day's z-scores so that outliers neither dominate nor compress the other stocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gogooku3.preprocessing.day_columns import DayColumns, Float32
from gogooku3.schema import MIN_STOCKS

TOLERANCE = 0.05
"""Largest |mean| and |deviation - 1| of a day's standardised feature."""
_MAX_PASSES = 30

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outliers:
    """Features of a day that clipping moved too far from mean 0, deviation 1, with their unclipped z-scores.

    Attributes:
        features: column indices.
        cells: float32 `[features, stocks]`, 0 where unknown.
        unknown: bool, likewise; False where all are known.
    """

    features: NDArray[np.intp]
    cells: Float32
    unknown: NDArray[np.bool_] | bool


def clip_day(day: DayColumns, clip: float) -> tuple[NDArray[np.bool_], Outliers]:
    """Clip a standardised day in place.

    Returns:
        `usable`, bool `[features]`: True if the day has enough stocks and spread to scale the feature by
        itself (the values of the others are meaningless); and `outliers`, the features to pass to `reclip`.
    """
    flat = day.variance <= (1e-5 * np.abs(day.centre)) ** 2
    usable = (day.count >= MIN_STOCKS) & ~flat
    known, width = np.maximum(day.count, 1), day.values.shape[1]
    # Few cells are beyond the clip, and a column's sums after clipping follow from those cells only.
    cells = np.flatnonzero((day.values > clip) | (day.values < -clip))
    column = cells % width
    z = day.values.reshape(-1)[cells].astype(np.float64)
    clipped = np.copysign(clip, z)
    mean = np.bincount(column, clipped - z, width) / known
    square = 1 + np.bincount(column, clipped**2 - z**2, width) / known
    off = np.flatnonzero(_too_far_off(mean, square) & usable)
    outliers = Outliers(off, day.values[:, off].T, day.missing is not None and day.missing[:, off].T)
    day.values.reshape(-1)[cells] = clipped
    return usable, outliers


def reclip(outliers: Sequence[Outliers], clip: float) -> list[Float32]:
    """Clip the tail of each feature and standardise the rest again until |mean| and |std - 1| are small.

    Returns:
        `[features, stocks]` for each, 0 where unknown; independent of the others in the same call.
    """
    sizes = [day.cells.shape for day in outliers]
    rows, width = sum(n for n, _ in sizes), max((stocks for _, stocks in sizes), default=0)
    cells, unknown = np.zeros((rows, width)), np.ones((rows, width), bool)
    ends = np.cumsum([n for n, _ in sizes]).tolist()
    for day, end, (n, stocks) in zip(outliers, ends, sizes, strict=True):
        cells[end - n : end, :stocks], unknown[end - n : end, :stocks] = day.cells, day.unknown
    shift, scale = _fit_clipped(cells, np.count_nonzero(unknown, axis=1), clip)
    cells -= shift[:, None]
    cells /= scale[:, None]
    clipped = np.clip(cells, -clip, clip, dtype=np.float32, casting="same_kind")
    np.copyto(clipped, 0, where=unknown)
    return [clipped[end - n : end, :stocks] for end, (n, stocks) in zip(ends, sizes, strict=True)]


def _fit_clipped(cells: Floats, unknown: NDArray[np.intp], clip: float) -> tuple[Floats, Floats]:
    """Shift and scale that give each row of cells mean 0 and deviation 1 after clipping.

    With k cells beyond the clip (d more above than below) and the other m cells at mean u and
    deviation s, the clipped row has mean 0 and deviation 1 after `(x - a) / b` where
    `a = u + b clip d / m` and `b^2 = m s^2 / (n - clip^2 k - clip^2 d^2 / m)`. That may change which
    cells are beyond the clip, so the equations are solved again. A row with only two distinct values
    left has no solution and keeps the result of the last pass.

    Args:
        cells: `[rows, cells]`, 0 where unknown.
        unknown: number of unknown cells, `[rows]`.
        clip: largest absolute value.
    """
    shift, scale = np.zeros(len(cells)), np.ones(len(cells))
    rows = np.arange(len(cells))
    for number in range(_MAX_PASSES):
        part, absent, a, b = cells[rows], unknown[rows], shift[rows], scale[rows]
        n = cells.shape[1] - absent
        floor, ceiling = a - clip * b, a + clip * b
        # Unknown cells are 0, so they are taken out of every count and sum.
        high = _write_where(part > ceiling[:, None], ceiling, part) - absent * (ceiling < 0)
        low = _write_where(part < floor[:, None], floor, part) - absent * (floor > 0)
        zero = np.clip(0.0, floor, ceiling)
        total = np.einsum("rc->r", part) - absent * zero
        square = np.einsum("rc,rc->r", part, part) - absent * zero**2
        rest, excess = n - high - low, high - low
        centre = (total - high * ceiling - low * floor) / np.maximum(rest, 1)
        variance = (square - high * ceiling**2 - low * floor**2) / np.maximum(rest, 1) - centre**2
        room = n - clip**2 * (high + low) - clip**2 * excess**2 / np.maximum(rest, 1)
        go_on = (room > 0) & (variance > 1e-11 * centre**2)
        # Rows within the tolerance are done; the first pass has no solution to measure yet.
        if number:
            go_on &= _too_far_off((total / n - a) / b, (square - 2 * a * total + n * a**2) / (n * b**2))
        rows = rows[go_on]
        if not len(rows):
            break
        scale[rows] = np.sqrt(rest[go_on] * variance[go_on] / room[go_on])
        shift[rows] = centre[go_on] + scale[rows] * clip * excess[go_on] / rest[go_on]
    return shift, scale


def _write_where(flags: NDArray[np.bool_], values: Floats, cells: Floats) -> NDArray[np.intp]:
    """Write each row's value where flags are set, in place; return the number of flags per row."""
    flagged = np.flatnonzero(flags)
    rows = flagged // flags.shape[1]
    cells.reshape(-1)[flagged] = values[rows]
    return np.bincount(rows, minlength=len(flags))


def _too_far_off(mean: np.ndarray, square: np.ndarray) -> NDArray[np.bool_]:
    """Columns whose mean, or whose deviation (from the mean square), is too far from 0 and 1."""
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return (np.abs(mean) > 0.6 * TOLERANCE) | (np.abs(deviation - 1) > 0.6 * TOLERANCE)

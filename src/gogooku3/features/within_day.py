"""Comparisons within one day: quantiles over all stocks, quantiles and means over a group of stocks."""

import numpy as np
from numpy.typing import NDArray

from gogooku3.data.prices import ROUNDING
from gogooku3.features.feature import Array

Float32 = NDArray[np.float32]

_SIGN = np.uint32(1 << 31)
_LAST = np.uint64(2**64 - 1)
_DAYS = 16
"""Days compared at a time: their arrays stay in the cache."""


def quantiles(values: Float32) -> Float32:
    """(Average rank - 0.5) / number of known values, for each row: in (0, 1), ties share it; NaN stays NaN.

    >>> quantiles(np.float32([[7, 5, np.nan, 5, 9]])).tolist()
    [[0.625, 0.25, nan, 0.25, 0.875]]
    """
    n_rows, n = values.shape
    unknown = np.isnan(values)
    # Value bits above, column below: NumPy sorts such integers many times faster than it computes an argsort.
    bits = _ascending_bits(values)
    bits[unknown] = 0xFFFFFFFF
    keys = bits.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort(axis=1)
    starts, lengths = _runs(_changes(keys >> np.uint64(32)))
    row = starts // n
    first = starts - row * n
    known = n - np.count_nonzero(unknown, axis=1)
    middle = ((2 * first + lengths) / (2 * np.maximum(known, 1))[row]).astype(np.float32)
    middle[first >= known[row]] = np.nan
    out = np.empty((n_rows, n), np.float32)
    cells = (keys & np.uint64(0xFFFFFFFF)).view(np.int64)
    cells += np.arange(0, keys.size, n)[:, None]
    out.reshape(-1)[cells.reshape(-1)] = np.repeat(middle, lengths)
    return out


def group_quantile(values: Float32, group: NDArray[np.int32]) -> Array:
    """(Average rank - 0.5) / size of each day's group: in (0, 1), ties share it; NaN where group is -1.

    For ratios of prices, such as returns: neighbours that differ only by rounding (see `ties.py`) are ties.

    >>> group_quantile(np.float32([[1, 3, 3, 9]]), np.int32([[0, 0, 0, 1]])).round(3).tolist()
    [[0.167, 0.667, 0.667, 0.5]]
    """
    out = np.empty(values.shape)
    for first in range(0, len(values), _DAYS):
        days = slice(first, first + _DAYS)
        known = np.isfinite(values[days]) & (group[days] >= 0)
        # Keys that ascend by group, then by value; unknown values last.
        high = group[days].astype(np.uint64) << np.uint64(32)
        key = np.where(known, high | _ascending_bits(values[days]), _LAST)
        order = np.argsort(key, axis=1)
        other_group = _changes(np.take_along_axis(key, order, axis=1) >> np.uint64(32))
        ranked = np.take_along_axis(values[days], order, axis=1)
        other_value = other_group.copy()
        with np.errstate(invalid="ignore"):
            other_value[:, 1:] |= np.diff(ranked, axis=1) > ROUNDING
        new_value, value_size = _runs(other_value)
        new_group, group_size = _runs(other_group)
        middle = np.repeat(new_value + value_size / 2, value_size) - np.repeat(new_group, group_size)
        quantile = (middle / np.repeat(group_size, group_size)).reshape(known.shape)
        np.put_along_axis(out[days], order, quantile, axis=1)
        out[days][~known] = np.nan
    return out


def less_group_mean(values: Float32, group: NDArray[np.int32]) -> Array:
    """Each value less the mean of its day and group; NaN where the group is unknown (-1).

    >>> less_group_mean(np.float32([[1, 3, 5]]), np.int32([[0, 0, -1]])).tolist()
    [[-1.0, 1.0, nan]]
    """
    out = np.full(values.shape, np.nan)
    n_groups = int(group.max(initial=0)) + 1
    for first in range(0, len(values), _DAYS):
        days = slice(first, first + _DAYS)
        known = np.isfinite(values[days]) & (group[days] >= 0)
        cell = (group[days] + n_groups * np.arange(len(known))[:, None])[known]
        chosen = values[days][known].astype(np.float64)
        # bincount adds in the order of codes: an absent stock changes no bit of the others' mean.
        with np.errstate(invalid="ignore"):
            mean = np.bincount(cell, weights=chosen) / np.bincount(cell)
        out[days][known] = chosen - mean[cell]
    return out


def _ascending_bits(values: Float32) -> NDArray[np.uint32]:
    """Integers that sort as the values do, -0 as 0; those of NaN are meaningless.

    The bits of a float32 sort like its value once those of negative numbers are inverted.

    >>> _ascending_bits(np.float32([3, -1, -2, 0])).argsort().tolist()
    [2, 1, 3, 0]
    """
    bits = (values + np.float32(0)).view(np.uint32)
    bits ^= np.where(bits & _SIGN, ~np.uint32(0), _SIGN)
    return bits


def _changes(ranked: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """True where a number differs from the one before it in its row, and in the first column.

    >>> _changes(np.uint64([[1, 1, 4], [4, 4, 4]])).tolist()
    [[True, False, True], [True, False, False]]
    """
    new = np.ones(ranked.shape, bool)
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=new[:, 1:])
    return new


def _runs(new: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Starts (in the flattened array) and lengths of the runs, given where one starts.

    >>> starts, lengths = _runs(np.array([[True, False, True], [True, False, False]]))
    >>> starts.tolist(), lengths.tolist()
    ([0, 2, 3], [2, 1, 3])
    """
    starts = np.flatnonzero(new)
    return starts, np.diff(starts, append=new.size)

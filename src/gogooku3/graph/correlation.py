"""Correlations of daily returns over one window, which the caller chooses."""

from contextlib import AbstractContextManager
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

_BLOCK = 64
"""Stocks per block where days are missing: the intermediate products stay in the cache."""
_COMPLETE_BLOCK = 256
"""Stocks per block where no day is missing, which takes a single product."""
_blas = cache(ThreadpoolController)
"""The thread pools of the loaded libraries; finding them takes a millisecond, so it is done once."""
_MIN_VARIANCE = 1e-10
"""Share of a stock's own variance below which its variance on a pair's common days is rounding error."""


def default_min_overlap(n_days: int) -> int:
    """Common days a pair needs: two thirds of the window, at least 3.

    Two days always correlate perfectly, so fewer than 3 carry no information.

    >>> default_min_overlap(60), default_min_overlap(4), default_min_overlap(2)
    (40, 3, 3)
    """
    return max(3, -(-2 * n_days // 3))


def masked_correlation(returns: NDArray[np.floating], min_overlap: int | None = None) -> NDArray[np.float32]:
    """Pearson correlation of each pair of stocks over the days on which both traded.

    Each pair uses its own means and variances over its common days (pairwise complete, as in
    `pandas.DataFrame.corr`). The result is exactly symmetric and within [-1, 1].

    Args:
        returns: `[days, stocks]`, one window; NaN (or infinite) where a return is unknown.
        min_overlap: common days that a pair needs; `default_min_overlap` if None.

    Returns:
        `[stocks, stocks]` float32. NaN where a pair has fewer common days, or where one of the
        two does not vary on them; 1 on the diagonal under the same conditions.

    >>> x = np.array([[1.0, -1.0, 5.0], [2.0, -2.0, 5.0], [4.0, -4.0, 5.0]])
    >>> masked_correlation(x)
    array([[ 1., -1., nan],
           [-1.,  1., nan],
           [nan, nan, nan]], dtype=float32)
    """
    n_days, n_stocks = returns.shape
    needed = default_min_overlap(n_days) if min_overlap is None else min_overlap
    if n_days < needed:
        return np.full((n_stocks, n_stocks), np.nan, dtype=np.float32)
    present = np.isfinite(returns)
    complete = present.all(axis=0)
    # Stocks with missing days first, so that both kinds of pairs are contiguous blocks.
    gaps_first = np.argsort(complete, kind="stable")
    n_gaps = n_stocks - int(complete.sum())

    scores = _standardised(returns[:, gaps_first], present[:, gaps_first])
    with one_blas_thread():
        correlation = np.empty((n_stocks, n_stocks), dtype=np.float32)
        _fill_rows_with_gaps(correlation, scores, present[:, gaps_first], n_gaps, needed)
        for start in range(n_gaps, n_stocks, _COMPLETE_BLOCK):
            covariance = scores[:, start : start + _COMPLETE_BLOCK].T @ scores[:, start:]
            covariance /= n_days
            _fill_both_ways(correlation, start, covariance)
    constant = ~scores.any(axis=0)
    correlation[constant] = np.nan
    correlation[:, constant] = np.nan
    np.clip(correlation, -1.0, 1.0, out=correlation)
    known = np.flatnonzero(np.isfinite(correlation.diagonal()))
    correlation[known, known] = 1.0

    if n_gaps == 0:
        return correlation
    back = np.argsort(gaps_first, kind="stable")
    in_order = np.empty_like(correlation)
    for start in range(0, n_stocks, _COMPLETE_BLOCK):
        rows = slice(start, start + _COMPLETE_BLOCK)
        # mode="clip" lets NumPy write into `out` without a copy; all indices are valid, so none is clipped.
        np.take(correlation[back[rows]], back, axis=1, out=in_order[rows], mode="clip")
    return in_order


def one_blas_thread() -> AbstractContextManager[object]:
    """Run matrix products in the calling thread, in the whole process, until the context ends.

    A product takes a millisecond: BLAS threads cost more than they save (ten times more on busy cores), and
    one thread gives the same bits on every machine. Enter it once around a thread pool, not in each thread:
    each exit restores the limit found at its entry.
    """
    limit: AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return limit


def _standardised(returns: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scale each stock's returns to mean 0 and variance 1 over its own days; 0 where missing or constant."""
    values = np.where(present, returns, 0.0).astype(np.float64)
    count = np.maximum(present.sum(axis=0), 1)
    largest = np.abs(values).max(axis=0)
    values = np.where(present, values - values.sum(axis=0) / count, 0.0)
    deviation = np.sqrt((values * values).sum(axis=0) / count)
    # The mean of equal numbers is rounded, so "constant" is relative to their size.
    varies = deviation > 1e-12 * largest
    return np.asarray(values * np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0))


def _fill_rows_with_gaps(
    correlation: NDArray[np.float32],
    scores: NDArray[np.float64],
    present: NDArray[np.bool_],
    n_gaps: int,
    min_overlap: int,
) -> None:
    """Fill, in place, every pair with one of the first `n_gaps` stocks.

    With sums over common days, cov = Sxy - Sx Sy / n and var = Sxx - Sx^2 / n; each sum is a
    matrix product of scores, squared scores or the mask.
    """
    mask = present.astype(np.float64)
    squares = scores * scores
    for start in range(0, n_gaps, _BLOCK):
        rows, rest = slice(start, min(start + _BLOCK, n_gaps)), slice(start, None)
        days = mask[:, rows].T @ mask[:, rest]
        enough = days >= min_overlap
        per_day = 1.0 / np.maximum(days, 1.0)
        row_sum = scores[:, rows].T @ mask[:, rest]
        column_sum = mask[:, rows].T @ scores[:, rest]
        covariance = scores[:, rows].T @ scores[:, rest]
        covariance -= row_sum * column_sum * per_day
        row_variance = squares[:, rows].T @ mask[:, rest]
        row_variance -= row_sum * row_sum * per_day
        column_variance = mask[:, rows].T @ squares[:, rest]
        column_variance -= column_sum * column_sum * per_day
        # The scores have variance 1, so the floor is a share of a stock's own variance, times the days.
        floor = _MIN_VARIANCE * days
        enough &= (row_variance > floor) & (column_variance > floor)
        row_variance *= column_variance
        row_variance[~enough] = np.nan
        covariance /= np.sqrt(row_variance)
        _fill_both_ways(correlation, start, covariance)


def _fill_both_ways(correlation: NDArray[np.float32], start: int, block: NDArray[np.float64]) -> None:
    """Write `[rows, rest]`, the correlations of some stocks with themselves and all later ones; mirror it."""
    among_rows = block[:, : len(block)]
    # Exactly symmetric: the upper triangle replaces the lower, which may differ by rounding.
    np.copyto(among_rows, among_rows.T.copy(), where=np.tri(len(block), k=-1, dtype=bool))
    rows, rest = slice(start, start + len(block)), slice(start, None)
    correlation[rows, rest] = block
    correlation[rest, rows] = block.T

"""Rolling sums, extremes and exponential means over days, `[days, stocks]` float64. Each value depends only
on its own window, bit for bit: sums double up (2, 4, 8, ... days), so no bad tick leaves a rounding error."""

import math

import numpy as np

from gogooku3.data.prices import ROUNDING
from gogooku3.features.feature import Array

EMA_TOLERANCE = 1e-14
"""An exponential mean drops days whose weight is below this."""
NO_SPREAD = 1e-12
"""A variance below this share of the mean square is rounding error: the values are constant."""


def needed_days(window: int) -> int:
    """Known days that a rolling statistic needs: two thirds of its window.

    >>> needed_days(20), needed_days(60), needed_days(5)
    (14, 40, 4)
    """
    return -(-2 * window // 3)


def shift(values: Array, days: int) -> Array:
    """Value of `days` days before, NaN on the first days.

    >>> shift(np.array([[1.0], [2.0], [3.0]]), 1).ravel().tolist()
    [nan, 1.0, 2.0]
    """
    out = np.empty_like(values)
    out[:days] = np.nan
    out[days:] = values[:-days] if days else values
    return out


def rolling_sum(values: Array, window: int) -> Array:
    """Sum of the last `window` days, of fewer at the start. A NaN makes its windows NaN.

    >>> rolling_sum(np.array([[1.0], [2.0], [4.0], [8.0]]), 3).ravel().tolist()
    [1.0, 3.0, 7.0, 14.0]
    """
    # `power` holds sums of `size` days; the window is put together from the powers of two in its number.
    power, size = values, 1
    while not window & size:
        power, size = _with_earlier(np.add, power, size), size * 2
    # Adding 0.0 turns -0.0 into 0.0.
    out, done = power + 0.0, size
    while done < window:
        power, size = _with_earlier(np.add, power, size), size * 2
        if window & size:
            out[done:] += power[: max(0, len(power) - done)]
            done += size
    return out


def _with_earlier(combine: np.ufunc, values: Array, days: int) -> Array:
    """Combine each day's value with that of `days` days before; the first `days` rows are unchanged."""
    out = np.empty_like(values)
    out[:days] = values[:days]
    if days < len(values):
        combine(values[days:], values[: len(values) - days], out=out[days:])
    return out


def rolling_max(values: Array, window: int) -> Array:
    """Largest known value of the last `window` days, -inf where none is known.

    >>> rolling_max(np.array([[5.0], [np.nan], [1.0], [2.0]]), 2).ravel().tolist()
    [5.0, 5.0, 1.0, 2.0]
    """
    # Two overlapping windows of a power of two cover any window, since a maximum may count a day twice.
    best, size = np.where(np.isnan(values), -np.inf, values), 1
    while 2 * size <= window:
        best, size = _with_earlier(np.maximum, best, size), size * 2
    return _with_earlier(np.maximum, best, window - size) if size < window else best


def days_since_max(values: Array, window: int) -> Array:
    """Days since the largest price of the last `window` days, the latest at ties; NaN if any day is unknown.

    >>> days_since_max(np.array([[1.0], [3.0], [3.0], [2.0]]), 3).ravel().tolist()
    [nan, nan, 0.0, 1.0]
    """
    best, age = rolling_max(values, window), np.full(values.shape, np.nan)
    # Prices above it are the maximum but for rounding (see `ties.py`).
    highest = best - ROUNDING * np.abs(best)
    # From the oldest day to the newest, so that the latest maximum overwrites earlier ones.
    for days in range(min(window, len(values)) - 1, -1, -1):
        np.putmask(age[days:], values[: len(values) - days] >= highest[days:], days)
    age[: window - 1] = np.nan
    age[np.isnan(rolling_sum(values, window))] = np.nan
    return age


def ema_terms(alpha: float) -> int:
    """Days (a power of two) after which an exponential mean's weights are below `EMA_TOLERANCE`.

    >>> ema_terms(1 / 14), ema_terms(2 / 13)
    (512, 256)
    """
    return int(2 ** math.ceil(math.log2(math.log(EMA_TOLERANCE) / math.log(1 - alpha))))


def exponential_sum(values: Array, alpha: float) -> Array:
    """`out[t] = values[t] + (1 - alpha) * out[t-1]`, cut off after `ema_terms(alpha)` days.

    >>> exponential_sum(np.array([[8.0], [0.0], [0.0], [1.0]]), 0.5).ravel().tolist()
    [8.0, 4.0, 2.0, 2.0]
    """
    # As in `rolling_sum`: two sums of `size` days, the older one decayed, make a sum of twice as many.
    total, size, terms = values, 1, ema_terms(alpha)
    while size < min(terms, len(values)):
        longer = np.empty_like(total)
        longer[:size] = total[:size]
        np.multiply((1 - alpha) ** size, total[:-size], out=longer[size:])
        longer[size:] += total[size:]
        total, size = longer, size * 2
    return total


def seeded_ema(values: Array, period: int, first: int, alpha: float | None = None) -> Array:
    """Exponential mean seeded on day `first` with the plain mean of `period` days, like TA-Lib's.

    `alpha` is 2 / (period + 1) unless given (Wilder's is 1 / period). NaN before `first`.

    >>> seeded_ema(np.array([[1.0], [3.0], [5.0]]), period=2, first=1).ravel().round(6).tolist()
    [nan, 2.0, 4.0]
    """
    if len(values) <= first:
        return np.full_like(values, np.nan)
    alpha = 2 / (period + 1) if alpha is None else alpha
    parts = alpha * values
    parts[:first] = 0.0
    parts[first] = rolling_sum(values[first - period + 1 : first + 1], period)[-1] / period
    out = exponential_sum(parts, alpha)
    out[:first] = np.nan
    return out

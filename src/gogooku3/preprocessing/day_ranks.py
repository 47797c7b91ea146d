"""Rank of each feature among the stocks of its day, in one byte."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gogooku3.system import available_cores

TOP_RANK = 255
"""Rank of a day's only largest value; its only smallest has 0."""
MIDDLE_RANK = 128
"""Rank of stocks that are absent on the day."""


def day_ranks(values: np.ndarray, mask: np.ndarray, days: range | None = None) -> NDArray[np.uint8]:
    """Rank each feature among the stocks of a day: 0 is the smallest, `TOP_RANK` the largest.

    Equal values share their average rank, so a feature that is constant on a day has the middle one. Missing
    cells rank as what normalisation made of them (0, the mean). Each day is ranked by itself.

    Args:
        values: float `[all days, stocks, features]`, without NaN.
        mask: bool `[all days, stocks]`, true where the stock exists.
        days: days to rank; None: all.

    Returns:
        uint8 `[days, stocks, features]`; `MIDDLE_RANK` where a stock is absent.

    >>> day_ranks(np.array([[[1.0], [3.0], [3.0], [7.0]]]), np.array([[True, True, True, False]]))[0, :, 0]
    array([  0, 191, 191, 128], dtype=uint8)
    """
    days = range(len(values)) if days is None else days
    ranks = np.full((len(days), *values.shape[1:]), MIDDLE_RANK, dtype=np.uint8)

    def rank_day(number: int) -> None:
        present = np.flatnonzero(mask[days[number]])
        if len(present):
            ranks[number, present] = _ranks(np.ascontiguousarray(values[days[number]][present].T)).T

    with ThreadPoolExecutor(available_cores()) as threads:
        list(threads.map(rank_day, range(len(days))))
    return ranks


def _ranks(columns: np.ndarray) -> NDArray[np.uint8]:
    """Average ranks within each row of `[features, stocks]`."""
    features, stocks = columns.shape
    order = columns.argsort(axis=1)
    ordered = np.take_along_axis(columns, order, axis=1)
    position = np.arange(stocks, dtype=np.int32)
    starts = np.ones((features, stocks), dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=starts[:, 1:])
    first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
    ends = np.roll(starts, -1, axis=1)
    last = np.minimum.accumulate(np.where(ends, position, stocks)[:, ::-1], axis=1)[:, ::-1]
    scaled = (first + last) * (TOP_RANK / (2 * max(stocks - 1, 1)))
    if stocks == 1:
        scaled[:] = MIDDLE_RANK
    ranks = np.empty((features, stocks), dtype=np.uint8)
    np.put_along_axis(ranks, order, np.rint(scaled).astype(np.uint8), axis=1)
    return ranks

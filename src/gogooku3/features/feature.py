"""A catalogue entry, and the rows and families that the catalogue's tables declare entries with."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Float64 numbers, NaN where unknown; `[days, stocks]` unless stated otherwise."""

Stage = Literal["stock", "day"]


@dataclass(frozen=True)
class Feature:
    """One past-only column of the data set, independent of the price level.

    Its value on a day is known at that day's close.
    """

    name: str
    family: str
    formula: str
    """For people: the computation in words and symbols."""
    lookback: int
    """Trading days before the day itself whose prices matter; recursive indicators: until 1e-14 is left."""
    unit: str
    compute: Callable[[Any], Array] = field(repr=False, compare=False)
    stage: Stage = "stock"
    """`stock`: takes a `StockBlock`, one stock's own past and the market's; `day`: takes a `DayView`, the
    other stocks of the day too, and must not look back: an append computes only the new days."""


def row(
    name: str,
    formula: str,
    unit: str,
    compute: Callable[..., Array],
    lookback: int | Callable[..., int],
    *windows: int | tuple[int, ...],
) -> list[Feature]:
    """Declare the features that differ only in their numbers of days: one per window, or a single one.

    Args:
        name, formula: templates; `{}` or `{0}` stands for the window's first number, `{1}` for its second.
        compute: takes the block (or day) and the window's numbers.
        lookback: trading days, or a function of the window's numbers.

    >>> [(f.name, f.lookback) for f in row("mean_{}d", "", "ratio", np.mean, price_window, 5, 20)]
    [('mean_5d', 4), ('mean_20d', 19)]
    """

    def feature(*days: int) -> Feature:
        return Feature(
            name=name.format(*days),
            family="",
            formula=formula.format(*days),
            lookback=lookback if isinstance(lookback, int) else lookback(*days),
            unit=unit,
            compute=lambda block: compute(block, *days),
        )

    return [feature(*window) if isinstance(window, tuple) else feature(window) for window in windows or ((),)]


def family(name: str, *rows: list[Feature], stage: Stage = "stock") -> tuple[Feature, ...]:
    """Put the features of all rows into one family."""
    return tuple(replace(feature, family=name, stage=stage) for features in rows for feature in features)


def price_window(*days: int) -> int:
    """Lookback of windows of prices or volumes: the day itself is one of their days."""
    return max(days) - 1


def return_window(*days: int) -> int:
    """Lookback of windows of daily returns: the oldest return needs the close of the day before it."""
    return max(days)


def chained_windows(*days: int) -> int:
    """Lookback of a window of daily returns that ends where another one begins."""
    return sum(days)

"""What a catalogue entry says: a feature's name, meaning and how to compute it. No formulas here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Float64 numbers, NaN where unknown; `[days, stocks]` unless said otherwise."""

Stage = Literal["stock", "day"]


@dataclass(frozen=True)
class Feature:
    """One past-only column of the data set, free of the price level.

    Its value on a day is known at that day's close.
    """

    name: str
    family: str
    formula: str
    """For people: what is computed, in words and signs."""
    lookback: int
    """Trading days before the day itself whose prices matter; recursive indicators: until 1e-14 is left."""
    unit: str
    compute: Callable[[Any], Array] = field(repr=False, compare=False)
    stage: Stage = "stock"
    """`stock`: takes a `StockBlock`, one stock's own past and the market's; `day`: takes a `DayView`, the
    other stocks of the day too."""

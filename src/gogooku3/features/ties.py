"""The one rule for ties: prices that differ only by rounding are equal.

Two moves of one tick are equal in decimals and may differ in the last bit, or in the last digit of float32
prices. Every comparison, rank and count of a feature goes through this file.
"""

import numpy as np

from gogooku3.data.prices import ROUNDING
from gogooku3.features.feature import Array


def settle(differences: Array, price: Array | float = 1.0) -> Array:
    """Set differences of prices to 0 where they are rounding, in place; returns the same array.

    Args:
        differences: of prices, or of returns (ratios of prices); NaN stays.
        price: the size of the prices compared; 1 for returns.

    >>> settle(np.array([0.3 - 0.1 - 0.2, -5e-7, 0.01, np.nan])).tolist()
    [0.0, 0.0, 0.01, nan]
    """
    differences[np.abs(differences) <= ROUNDING * price] = 0.0
    return differences


def relative_change(new: Array, old: Array) -> Array:
    """`new / old - 1`, and exactly 0 for equal prices.

    >>> relative_change(np.array([0.3, 11.0]), np.array([0.1 + 0.2, 10.0])).round(9).tolist()
    [0.0, 0.1]
    """
    return settle(new / old - 1)

"""The shape of a stock's daily returns: tails, asymmetry, memory; all from clipped returns."""

import numpy as np

from gogooku3.features.feature import Array, chained_windows, family, return_window, row
from gogooku3.features.price_grid import StockBlock, nonzero, pair_moments
from gogooku3.features.rolling import shift


def skewness(block: StockBlock, window: int) -> Array:
    """Third central moment over the (population) variance to 3/2; NaN when that is 0."""
    mean, variance = block.mean("clipped", window), _population_variance(block, window)
    second, third = block.mean("clipped", window, 2), block.mean("clipped", window, 3)
    # E[(x - m)^3] expanded in raw moments, so that rolling sums suffice.
    return (third - 3 * mean * second + 2 * mean * mean * mean) / nonzero(variance * np.sqrt(variance))


def excess_kurtosis(block: StockBlock, window: int) -> Array:
    """Fourth central moment over the squared (population) variance, less 3; NaN when that is 0."""
    mean, variance = block.mean("clipped", window), _population_variance(block, window)
    second, third, fourth = (block.mean("clipped", window, power) for power in (2, 3, 4))
    square = mean * mean
    central = fourth - 4 * mean * third + 6 * square * second - 3 * square * square
    return central / nonzero(variance * variance) - 3


def _population_variance(block: StockBlock, window: int) -> Array:
    days = block.count("clipped", window)
    return block.variance("clipped", window) * (days - 1) / days


# fmt: off
FEATURES = family(
    "distribution",
    row("skew_{}d",
        "(population) skewness of {} clipped daily returns", "1", skewness, return_window, 20, 60),
    row("kurt_{}d",
        "(population) excess kurtosis of {} clipped daily returns", "1", excess_kurtosis, return_window, 60),
    row("downside_dev_{}d", "sqrt({}-day mean of min(clipped return, 0)^2)", "ratio per day",
        lambda b, n: np.sqrt(b.mean("downside", n, 2)), return_window, 20),
    row("max_ret_{}d", "largest of {} clipped daily returns", "ratio",
        lambda b, n: b.highest("clipped", n), return_window, 20),
    row("min_ret_{}d", "smallest of {} clipped daily returns", "ratio",
        lambda b, n: b.lowest("clipped", n), return_window, 20),
    row("up_share_{}d", "share of {} days on which the close rose", "0 to 1",
        lambda b, n: b.mean("rose", n), return_window, 20),
    row("autocorr_lag{0}_{1}d",
        "correlation of {1} clipped daily returns with those at lag {0}", "-1 to 1",
        lambda b, lag, n: pair_moments(b.clipped, shift(b.clipped, lag), n).correlation,
        chained_windows, (1, 60), (2, 60), (3, 60), (4, 60), (5, 60)),
)
# fmt: on

"""The shape of a stock's daily returns: tails, asymmetry, memory. All from clipped returns."""

from functools import partial

import numpy as np

from gogooku3.features.feature import Array, Feature
from gogooku3.features.price_grid import StockBlock, nonzero, pair_moments
from gogooku3.features.rolling import shift


def skewness(block: StockBlock, window: int) -> Array:
    """Third central moment over the (population) variance to 3/2; NaN when that is 0."""
    mean, variance = block.mean("clipped", window), _population_variance(block, window)
    second, third = block.mean("clipped", window, 2), block.mean("clipped", window, 3)
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


def autocorrelation(block: StockBlock, lag: int, window: int) -> Array:
    """Correlation of the window's daily returns with those `lag` days earlier."""
    return pair_moments(block.clipped, shift(block.clipped, lag), window).correlation


FEATURES = (
    *(
        Feature(
            f"skew_{n}d",
            "distribution",
            f"skewness of {n} daily returns",
            n,
            "1",
            partial(skewness, window=n),
        )
        for n in (20, 60)
    ),
    Feature(
        "kurt_60d",
        "distribution",
        "excess kurtosis of 60 daily returns",
        60,
        "1",
        partial(excess_kurtosis, window=60),
    ),
    Feature(
        "downside_dev_20d",
        "distribution",
        "sqrt(mean of 20 days' min(return, 0)^2)",
        20,
        "ratio a day",
        lambda b: np.sqrt(b.mean("downside", 20, 2)),
    ),
    Feature(
        "max_ret_20d",
        "distribution",
        "largest of 20 daily returns",
        20,
        "ratio",
        lambda b: b.highest("clipped", 20),
    ),
    Feature(
        "min_ret_20d",
        "distribution",
        "smallest of 20 daily returns",
        20,
        "ratio",
        lambda b: b.lowest("clipped", 20),
    ),
    Feature(
        "up_share_20d",
        "distribution",
        "share of 20 days on which the close rose",
        20,
        "0 to 1",
        lambda b: b.mean("rose", 20),
    ),
    *(
        Feature(
            f"autocorr_lag{n}_60d",
            "distribution",
            f"correlation of 60 daily returns with those {n} day{'s' if n > 1 else ''} earlier",
            60 + n,
            "-1 to 1",
            partial(autocorrelation, lag=n, window=60),
        )
        for n in (1, 2, 3, 4, 5)
    ),
)

"""Returns, momentum, reversal, volatility and range, from one stock's own prices.

Rolling moments use clipped returns; the returns themselves are given as they are.
"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from gogooku3.features.feature import Array, Feature
from gogooku3.features.price_grid import StockBlock, nonzero
from gogooku3.features.rolling import shift

STREAK_DAYS = 10


def past_return(block: StockBlock, days: int) -> Array:
    """Close over the close `days` days before (which may be a few days older), less 1."""
    return block.close / shift(block.last, days) - 1


def lagged_return(block: StockBlock, days: int) -> Array:
    """The daily return of `days` days before."""
    return shift(block.raw, days)


def skipped_return(block: StockBlock, days: int, skip: int) -> Array:
    """Return from `days` to `skip` days ago: momentum without its latest, reverting part."""
    earlier = shift(block.last, skip) / shift(block.last, days) - 1
    return np.where(np.isnan(block.close), np.nan, earlier)


def mean_gap(block: StockBlock, window: int) -> Array:
    """Close over its mean, less 1."""
    return block.close / block.mean("close", window) - 1


def mean_cross(block: StockBlock, short: int, long: int) -> Array:
    """Mean close of the shorter window over that of the longer, less 1."""
    return block.mean("close", short) / block.mean("close", long) - 1


def high_gap(block: StockBlock, window: int) -> Array:
    """Close over the highest close, less 1: how far below its peak a stock is."""
    return block.close / block.highest("close", window) - 1


def streak(block: StockBlock) -> Array:
    """Days in a row with returns of the day's sign, signed, at most `STREAK_DAYS`."""
    sign = np.sign(block.clipped)
    length, alive = np.abs(sign), np.ones(sign.shape, bool)
    for days in range(1, STREAK_DAYS):
        alive &= shift(sign, days) == sign
        length += alive * np.abs(sign)
    return length * sign


def position(block: StockBlock, window: int) -> Array:
    """Where the close lies between the window's lowest low (0) and highest high (1)."""
    low, high = block.lowest("low", window), block.highest("high", window)
    return (block.close - low) / nonzero(high - low)


def share_of_range(block: StockBlock, distance: Array) -> Array:
    """A price difference of the day over its high - low; NaN on a day without a range."""
    return distance / nonzero(block.high - block.low)


def body(block: StockBlock) -> Array:
    """Close - open over high - low."""
    return share_of_range(block, block.close - block.open)


def upper_shadow(block: StockBlock) -> Array:
    """What of the day's range lies above open and close."""
    return share_of_range(block, block.high - np.maximum(block.open, block.close))


def lower_shadow(block: StockBlock) -> Array:
    """What of the day's range lies below open and close."""
    return share_of_range(block, np.minimum(block.open, block.close) - block.low)


def z_score(block: StockBlock, name: str, window: int) -> Array:
    """Today's value against the window's mean and standard deviation."""
    return (block.series(name) - block.mean(name, window)) / nonzero(block.std(name, window))


def return_surprise(block: StockBlock, days: int, window: int) -> Array:
    """Return over `days` days in standard deviations of the window that ended before them."""
    return past_return(block, days) / nonzero(shift(block.std("clipped", window), days) * math.sqrt(days))


def volume_weighted_surprise(block: StockBlock) -> Array:
    """Today's return surprise times the log of volume over its 20-day mean: did volume confirm the move?"""
    volume = block.log_volume - np.log(nonzero(block.mean("volume", 20)))
    return return_surprise(block, 1, 20) * volume


def efficiency(block: StockBlock, window: int) -> Array:
    """Net log return over the path's length, -1 to 1 (Kaufman's efficiency ratio, signed)."""
    return block.mean("log_return", window) / nonzero(block.mean("log_step", window))


def volatility(block: StockBlock, window: int) -> Array:
    """Sample standard deviation of daily returns."""
    return block.std("clipped", window)


def volatility_ratio(block: StockBlock, short: int, long: int) -> Array:
    """Volatility of the shorter window over that of the longer."""
    return block.std("clipped", short) / nonzero(block.std("clipped", long))


def mean_range(block: StockBlock, window: int) -> Array:
    """Mean log of high over low."""
    return block.mean("log_range", window)


def garman_klass(block: StockBlock, window: int) -> Array:
    """Daily volatility from open, high, low and close."""
    return np.sqrt(np.maximum(block.mean("garman_klass", window), 0.0))


def parkinson(block: StockBlock, window: int) -> Array:
    """Daily volatility from high and low (Parkinson 1980)."""
    return np.sqrt(block.mean("log_range", window, 2) / (4 * math.log(2)))


def jump_share(block: StockBlock, window: int) -> Array:
    """The largest squared return's share in the window's sum of squares."""
    total = block.mean("clipped", window, 2) * block.count("clipped", window)
    return block.highest("absolute", window) ** 2 / nonzero(total)


def _past_returns() -> Iterator[Feature]:
    for n in (1, 2, 3, 5, 10, 20, 60, 120, 250):
        formula = f"close / close {n} trading day{'s' if n > 1 else ''} before - 1"
        yield Feature(f"ret_{n}d", "returns", formula, n, "ratio", partial(past_return, days=n))
    for n in (1, 2, 3, 4, 5):
        formula = f"ret_1d of {n} trading day{'s' if n > 1 else ''} before"
        yield Feature(f"ret_1d_lag{n}", "returns", formula, n + 1, "ratio", partial(lagged_return, days=n))


RETURNS = (
    *_past_returns(),
    Feature("gap_1d", "returns", "open / previous close - 1", 1, "ratio", lambda b: b.open / b.previous - 1),
    Feature(
        "gap_1d_lag1",
        "returns",
        "gap_1d of the day before",
        2,
        "ratio",
        lambda b: shift(b.open / b.previous - 1, 1),
    ),
    Feature("intraday_1d", "returns", "close / open - 1", 0, "ratio", lambda b: b.close / b.open - 1),
)

MOMENTUM = (
    Feature(
        "mom_60d_skip5d",
        "momentum",
        "close 5 days before / close 60 days before - 1",
        60,
        "ratio",
        partial(skipped_return, days=60, skip=5),
    ),
    Feature(
        "mom_120d_skip20d",
        "momentum",
        "close 20 days before / close 120 days before - 1",
        120,
        "ratio",
        partial(skipped_return, days=120, skip=20),
    ),
    Feature(
        "mom_250d_skip20d",
        "momentum",
        "close 20 days before / close 250 days before - 1",
        250,
        "ratio",
        partial(skipped_return, days=250, skip=20),
    ),
    *(
        Feature(
            f"sma_gap_{n}d",
            "momentum",
            f"close / mean close of {n} days - 1",
            n - 1,
            "ratio",
            partial(mean_gap, window=n),
        )
        for n in (20, 60, 120)
    ),
    *(
        Feature(
            f"sma_cross_{n}d_{m}d",
            "momentum",
            f"mean close of {n} days / of {m} days - 1",
            m - 1,
            "ratio",
            partial(mean_cross, short=n, long=m),
        )
        for n, m in ((5, 20), (20, 60))
    ),
    *(
        Feature(
            f"high_gap_{n}d",
            "momentum",
            f"close / highest close of {n} days - 1",
            n - 1,
            "ratio",
            partial(high_gap, window=n),
        )
        for n in (60, 250)
    ),
    Feature(
        "low_gap_250d",
        "momentum",
        "close / lowest close of 250 days - 1",
        249,
        "ratio",
        lambda b: b.close / b.lowest("close", 250) - 1,
    ),
    Feature(
        "mom_per_vol_60d",
        "momentum",
        "mean / standard deviation of 60 daily returns",
        60,
        "standard deviations",
        lambda b: b.mean("clipped", 60) / nonzero(b.std("clipped", 60)),
    ),
    Feature(
        "efficiency_20d",
        "momentum",
        "sum of 20 log returns / sum of their sizes",
        20,
        "-1 to 1",
        partial(efficiency, window=20),
    ),
    Feature(
        "overnight_mean_20d",
        "momentum",
        "mean of 20 days' ln(open / previous close)",
        20,
        "log return a day",
        lambda b: b.mean("log_gap", 20),
    ),
    Feature(
        "intraday_mean_20d",
        "momentum",
        "mean of 20 days' ln(close / open)",
        19,
        "log return a day",
        lambda b: b.mean("log_intraday", 20),
    ),
)

REVERSAL = (
    Feature(
        "ret_z_1d_20d",
        "reversal",
        "ret_1d / standard deviation of the 20 daily returns before it",
        21,
        "standard deviations",
        partial(return_surprise, days=1, window=20),
    ),
    Feature(
        "ret_z_5d_60d",
        "reversal",
        "ret_5d / (sqrt(5) x standard deviation of the 60 daily returns before it)",
        65,
        "standard deviations",
        partial(return_surprise, days=5, window=60),
    ),
    *(
        Feature(
            f"close_z_{n}d",
            "reversal",
            f"(close - mean close of {n} days) / their standard deviation",
            n - 1,
            "standard deviations",
            partial(z_score, name="close", window=n),
        )
        for n in (10, 60)
    ),
    Feature(
        "gap_z_20d",
        "reversal",
        "(gap_1d - mean gap of 20 days) / their standard deviation",
        20,
        "standard deviations",
        partial(z_score, name="gap", window=20),
    ),
    Feature(
        "streak_10d",
        "reversal",
        "days in a row with a return of today's sign, signed, at most 10",
        10,
        "days",
        streak,
    ),
    Feature(
        "close_location_1d",
        "reversal",
        "(2 close - high - low) / (high - low)",
        0,
        "-1 to 1",
        lambda b: share_of_range(b, 2 * b.close - b.high - b.low),
    ),
    Feature(
        "range_position_5d",
        "reversal",
        "(close - lowest low) / (highest high - lowest low) of 5 days",
        4,
        "0 to 1",
        partial(position, window=5),
    ),
    Feature(
        "ret_volume_1d_20d",
        "reversal",
        "ret_z_1d_20d x ln(volume / mean volume of 20 days)",
        21,
        "standard deviations",
        volume_weighted_surprise,
    ),
)

VOLATILITY = (
    *(
        Feature(
            f"vol_{n}d",
            "volatility",
            f"standard deviation of {n} daily returns",
            n,
            "ratio a day",
            partial(volatility, window=n),
        )
        for n in (5, 10, 20, 60, 120)
    ),
    *(
        Feature(
            f"vol_ratio_{n}d_{m}d",
            "volatility",
            f"vol_{n}d / vol_{m}d",
            m,
            "ratio",
            partial(volatility_ratio, short=n, long=m),
        )
        for n, m in ((5, 20), (20, 120))
    ),
    Feature(
        "parkinson_20d",
        "volatility",
        "sqrt(mean of 20 days' ln(high / low)^2 / (4 ln 2))",
        19,
        "log return a day",
        partial(parkinson, window=20),
    ),
    Feature(
        "garman_klass_20d",
        "volatility",
        "sqrt(mean of 20 days' ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2)",
        19,
        "log return a day",
        partial(garman_klass, window=20),
    ),
    Feature(
        "overnight_vol_20d",
        "volatility",
        "standard deviation of 20 gaps",
        20,
        "ratio a day",
        lambda b: b.std("gap", 20),
    ),
    Feature(
        "vol_of_vol_60d",
        "volatility",
        "standard deviation / mean of the sizes of 60 daily returns",
        60,
        "ratio",
        lambda b: b.std("absolute", 60) / nonzero(b.mean("absolute", 60)),
    ),
    Feature(
        "jump_share_20d",
        "volatility",
        "largest / sum of 20 squared daily returns",
        20,
        "0 to 1",
        partial(jump_share, window=20),
    ),
)

RANGE = (
    Feature("range_1d", "range", "ln(high / low)", 0, "log ratio", lambda b: np.log(b.high / b.low)),
    *(
        Feature(
            f"range_{n}d",
            "range",
            f"mean of {n} days' ln(high / low)",
            n - 1,
            "log ratio",
            partial(mean_range, window=n),
        )
        for n in (5, 20)
    ),
    Feature(
        "range_ratio_1d_20d",
        "range",
        "ln(high / low) / its mean of 20 days",
        19,
        "ratio",
        lambda b: b.log_range / nonzero(b.mean("log_range", 20)),
    ),
    Feature(
        "range_position_60d",
        "range",
        "(close - lowest low) / (highest high - lowest low) of 60 days",
        59,
        "0 to 1",
        partial(position, window=60),
    ),
    Feature("body_1d", "range", "(close - open) / (high - low)", 0, "-1 to 1", body),
    Feature(
        "upper_shadow_1d", "range", "(high - max(open, close)) / (high - low)", 0, "0 to 1", upper_shadow
    ),
    Feature("lower_shadow_1d", "range", "(min(open, close) - low) / (high - low)", 0, "0 to 1", lower_shadow),
)

FEATURES = (*RETURNS, *MOMENTUM, *REVERSAL, *VOLATILITY, *RANGE)

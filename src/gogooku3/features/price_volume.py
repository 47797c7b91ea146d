"""Returns, momentum, reversal, volatility and range, from one stock's own prices.

Rolling moments use clipped returns; the returns themselves are not clipped.
"""

import math

import numpy as np

from gogooku3.features.feature import Array, chained_windows, family, price_window, return_window, row
from gogooku3.features.price_grid import StockBlock, nonzero
from gogooku3.features.rolling import shift
from gogooku3.features.ties import relative_change, settle

STREAK_DAYS = 10


def past_return(block: StockBlock, days: int) -> Array:
    """Close over the close `days` days before (which may be a few days older), less 1."""
    return relative_change(block.close, shift(block.last, days))


def skipped_return(block: StockBlock, days: int, skip: int) -> Array:
    """Return from `days` to `skip` days ago: momentum without its latest, reverting part."""
    # NaN on days without a close, although the momentum itself only needs earlier closes.
    earlier = relative_change(shift(block.last, skip), shift(block.last, days))
    return np.where(np.isnan(block.close), np.nan, earlier)


def streak(block: StockBlock) -> Array:
    """Consecutive days whose return has the day's sign, signed, at most `STREAK_DAYS`."""
    sign = np.sign(block.clipped)
    length, unbroken = np.abs(sign), np.ones(sign.shape, bool)
    for days in range(1, STREAK_DAYS):
        unbroken &= shift(sign, days) == sign
        length += unbroken * np.abs(sign)
    return length * sign


def range_position(block: StockBlock, window: int) -> Array:
    """Position of the close between the window's lowest low (0) and highest high (1)."""
    low, high = block.lowest("low", window), block.highest("high", window)
    return (block.close - low) / nonzero(settle(high - low, high))


def share_of_range(block: StockBlock, distance: Array) -> Array:
    """A price difference of the day over its high - low; NaN on a day without a range."""
    return distance / nonzero(settle(block.high - block.low, block.high))


def z_score(block: StockBlock, name: str, window: int) -> Array:
    """The day's value in standard deviations from the window's mean."""
    return (block.series(name) - block.mean(name, window)) / nonzero(block.std(name, window))


def return_surprise(block: StockBlock, days: int, window: int) -> Array:
    """Return over `days` days in standard deviations of the window that ended before them."""
    return past_return(block, days) / nonzero(shift(block.std("clipped", window), days) * math.sqrt(days))


def volume_weighted_surprise(block: StockBlock, days: int, window: int) -> Array:
    """Return surprise times the log of volume over its mean: large when volume confirms the move."""
    volume = block.log_volume - np.log(nonzero(block.mean("volume", window)))
    return return_surprise(block, days, window) * volume


def jump_share(block: StockBlock, window: int) -> Array:
    """The largest squared return over the window's sum of squares."""
    total = block.mean("clipped", window, 2) * block.count("clipped", window)
    return block.highest("absolute", window) ** 2 / nonzero(total)


# Two lines per row: what the user reads, then how it is computed.
# fmt: off
RETURNS = family(
    "returns",
    row("ret_{}d", "close(t) / close(t - {}) - 1", "ratio",
        past_return, return_window, 1, 2, 3, 5, 10, 20, 60, 120, 250),
    row("ret_1d_lag{1}", "ret_1d(t - {1})", "ratio",
        lambda b, _, lag: shift(b.raw, lag), chained_windows, (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)),
    row("gap_1d", "open / previous close - 1", "ratio", lambda b: b.raw_gap, 1),
    row("gap_1d_lag1", "gap_1d(t - 1)", "ratio", lambda b: shift(b.raw_gap, 1), 2),
    row("intraday_1d", "close / open - 1", "ratio", lambda b: relative_change(b.close, b.open), 0),
)

MOMENTUM = family(
    "momentum",
    row("mom_{0}d_skip{1}d", "close(t - {1}) / close(t - {0}) - 1, on days with a close", "ratio",
        skipped_return, return_window, (60, 5), (120, 20), (250, 20)),
    row("sma_gap_{}d", "close / {}-day mean close - 1", "ratio",
        lambda b, n: b.close / b.mean("close", n) - 1, price_window, 20, 60, 120),
    row("sma_cross_{0}d_{1}d", "{0}-day mean close / {1}-day mean close - 1", "ratio",
        lambda b, n, m: b.mean("close", n) / b.mean("close", m) - 1, price_window, (5, 20), (20, 60)),
    row("high_gap_{}d", "close / highest close of {} days - 1", "ratio",
        lambda b, n: b.close / b.highest("close", n) - 1, price_window, 60, 250),
    row("low_gap_{}d", "close / lowest close of {} days - 1", "ratio",
        lambda b, n: b.close / b.lowest("close", n) - 1, price_window, 250),
    row("mom_per_vol_{}d", "mean / standard deviation of {} clipped daily returns", "standard deviations",
        lambda b, n: b.mean("clipped", n) / nonzero(b.std("clipped", n)), return_window, 60),
    # Kaufman's efficiency ratio, signed.
    row("efficiency_{}d", "sum of {} ln(1 + clipped return) / sum of their absolute values", "-1 to 1",
        lambda b, n: b.mean("log_return", n) / nonzero(b.mean("log_step", n)), return_window, 20),
    row("overnight_mean_{}d", "{}-day mean of ln(1 + clipped gap_1d)", "log return per day",
        lambda b, n: b.mean("log_gap", n), return_window, 20),
    row("intraday_mean_{}d", "{}-day mean of ln(1 + clipped intraday_1d)", "log return per day",
        lambda b, n: b.mean("log_intraday", n), price_window, 20),
)

REVERSAL = family(
    "reversal",
    row("ret_z_{0}d_{1}d",
        "ret_{0}d / (sqrt({0}) x standard deviation of the {1} clipped daily returns before it)",
        "standard deviations", return_surprise, chained_windows, (1, 20), (5, 60)),
    row("close_z_{}d", "(close - {0}-day mean close) / {0}-day standard deviation of close",
        "standard deviations", lambda b, n: z_score(b, "close", n), price_window, 10, 60),
    row("gap_z_{}d", "(clipped gap_1d - its {0}-day mean) / its {0}-day standard deviation",
        "standard deviations", lambda b, n: z_score(b, "gap", n), return_window, 20),
    row("streak_10d", "consecutive days with a return of today's sign, signed, at most 10; 0 if unchanged; "
        "a day without a return ends it", "days", streak, STREAK_DAYS),
    row("close_location_1d", "(2 close - high - low) / (high - low)", "-1 to 1",
        lambda b: share_of_range(b, 2 * b.close - b.high - b.low), 0),
    row("range_position_{}d", "(close - lowest low) / (highest high - lowest low) of {} days", "0 to 1",
        range_position, price_window, 5),
    row("ret_volume_{0}d_{1}d", "ret_z_{0}d_{1}d x ln(volume / {1}-day mean volume); unknown without volume",
        "standard deviations", volume_weighted_surprise, chained_windows, (1, 20)),
)

VOLATILITY = family(
    "volatility",
    row("vol_{}d", "standard deviation of {} clipped daily returns", "ratio per day",
        lambda b, n: b.std("clipped", n), return_window, 5, 10, 20, 60, 120),
    row("vol_ratio_{0}d_{1}d", "vol_{0}d / vol_{1}d", "ratio",
        lambda b, n, m: b.std("clipped", n) / nonzero(b.std("clipped", m)),
        return_window, (5, 20), (20, 120)),
    # Parkinson 1980.
    row("parkinson_{}d", "sqrt({}-day mean of clipped ln(high / low)^2 / (4 ln 2))", "log return per day",
        lambda b, n: np.sqrt(b.mean("log_range", n, 2) / (4 * math.log(2))), price_window, 20),
    row("garman_klass_{}d", "sqrt({}-day mean of clipped ln(high / low)^2 / 2 - (2 ln 2 - 1) "
        "ln(1 + clipped intraday_1d)^2); 0 if the mean is negative",
        "log return per day", lambda b, n: np.sqrt(np.maximum(b.mean("garman_klass", n), 0.0)),
        price_window, 20),
    row("overnight_vol_{}d", "standard deviation of {} clipped gaps (gap_1d)", "ratio per day",
        lambda b, n: b.std("gap", n), return_window, 20),
    row("vol_of_vol_{}d", "standard deviation / mean of {} absolute clipped daily returns", "ratio",
        lambda b, n: b.std("absolute", n) / nonzero(b.mean("absolute", n)), return_window, 60),
    row("jump_share_{}d", "largest / sum of {} squared clipped daily returns", "0 to 1",
        jump_share, return_window, 20),
)

RANGE = family(
    "range",
    row("range_1d", "ln(high / low)", "log ratio", lambda b: settle(np.log(b.high / b.low)), 0),
    row("range_{}d", "{}-day mean of clipped ln(high / low)", "log ratio",
        lambda b, n: b.mean("log_range", n), price_window, 5, 20),
    row("range_ratio_1d_{}d", "clipped ln(high / low) / its {}-day mean", "ratio",
        lambda b, n: b.log_range / nonzero(b.mean("log_range", n)), price_window, 20),
    row("range_position_{}d", "(close - lowest low) / (highest high - lowest low) of {} days", "0 to 1",
        range_position, price_window, 60),
    row("body_1d", "(close - open) / (high - low)", "-1 to 1",
        lambda b: share_of_range(b, b.close - b.open), 0),
    row("upper_shadow_1d", "(high - max(open, close)) / (high - low)", "0 to 1",
        lambda b: share_of_range(b, b.high - np.maximum(b.open, b.close)), 0),
    row("lower_shadow_1d", "(min(open, close) - low) / (high - low)", "0 to 1",
        lambda b: share_of_range(b, np.minimum(b.open, b.close) - b.low), 0),
)
# fmt: on

FEATURES = (*RETURNS, *MOMENTUM, *REVERSAL, *VOLATILITY, *RANGE)

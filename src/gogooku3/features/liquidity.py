"""Volume and liquidity. Share volume is compared with the stock's own past; money traded needs no scaling."""

import math

import numpy as np

from gogooku3.features.feature import Array, family, price_window, return_window, row
from gogooku3.features.price_grid import StockBlock, nonzero, pair_moments
from gogooku3.features.price_volume import z_score
from gogooku3.features.rolling import needed_days, rolling_sum, shift

_SPREAD_SCALE = 3 - 2 * math.sqrt(2)


def signed_share(block: StockBlock, window: int) -> Array:
    """Volume on rising days less volume on falling days, over the window's volume."""
    signed = np.where(np.isnan(block.signed_volume), 0.0, block.signed_volume)
    total = np.where(np.isnan(block.signed_volume), 0.0, block.volume)
    share = rolling_sum(signed, window) / nonzero(rolling_sum(total, window))
    # The count is NaN with too few known days, and 0 times it passes the NaN on.
    return share + 0.0 * block.count("signed_volume", window)


def vwap_gap(block: StockBlock, window: int) -> Array:
    """Close over the window's volume-weighted mean close, less 1."""
    dollars = rolling_sum(block.filled("dollars"), window)
    # Volume of the same days as `dollars`, or the mean price would be wrong on days without a close.
    shares = rolling_sum(np.where(block.known("dollars") > 0, block.volume, 0.0), window)
    return block.close / (dollars / nonzero(shares)) - 1 + 0.0 * block.count("dollars", window)


def high_low_spread(block: StockBlock, window: int) -> Array:
    """Mean bid-ask spread from two-day highs and lows (Corwin and Schultz 2012), negative days as 0."""
    square = block.log_range**2
    both = square + shift(square, 1)
    high = np.maximum(block.high, shift(block.high, 1))
    low = np.minimum(block.low, shift(block.low, 1))
    # Volatility grows with time, the spread does not: one- and two-day ranges together separate the two.
    two_day = np.clip(np.log(high / low), 0.0, 1.0) ** 2
    alpha = (np.sqrt(2 * both) - np.sqrt(both)) / _SPREAD_SCALE - np.sqrt(two_day / _SPREAD_SCALE)
    daily = np.maximum(2 * np.expm1(alpha) / (1 + np.exp(alpha)), 0.0)
    known = np.isfinite(daily)
    days = rolling_sum(known.astype(np.float64), window)
    days[days < needed_days(window)] = np.nan
    return rolling_sum(np.where(known, daily, 0.0), window) / days


def log_amihud(block: StockBlock, window: int) -> Array:
    """Log of the mean of |return| / money traded."""
    return np.log(nonzero(block.mean("illiquidity", window)))


# fmt: off
FEATURES = family(
    "volume",
    row("volume_change_1d", "ln(volume / volume of the day before); unknown if either is 0", "log ratio",
        lambda b: b.log_volume - shift(b.log_volume, 1), 1),
    row("volume_ratio_1d_{}d", "volume / {}-day mean volume", "ratio",
        lambda b, n: b.volume / nonzero(b.mean("volume", n)), price_window, 20),
    row("volume_ratio_{0}d_{1}d", "{0}-day mean volume / {1}-day mean volume", "ratio",
        lambda b, n, m: b.mean("volume", n) / nonzero(b.mean("volume", m)), price_window, (5, 20), (20, 120)),
    row("volume_z_{}d",
        "(ln volume - its {0}-day mean) / its {0}-day standard deviation, of days with volume",
        "standard deviations", lambda b, n: z_score(b, "log_volume", n), price_window, 60),
    row("volume_cv_{}d", "{0}-day standard deviation / {0}-day mean of volume", "ratio",
        lambda b, n: b.std("volume", n) / nonzero(b.mean("volume", n)), price_window, 20),
    row("dollar_volume_1d", "ln(close x volume)", "log of money", lambda b: np.log(nonzero(b.dollars)), 0),
    row("dollar_volume_{}d", "ln({}-day mean of close x volume)", "log of money",
        lambda b, n: np.log(nonzero(b.mean("dollars", n))), price_window, 20),
    row("amihud_{}d",
        "ln({}-day mean of |clipped return| / (close x volume)), of days with volume", "log of 1 / money",
        log_amihud, return_window, 20, 60),
    row("amihud_ratio_{0}d_{1}d", "amihud_{0}d - amihud_{1}d", "log ratio",
        lambda b, n, m: log_amihud(b, n) - log_amihud(b, m), return_window, (5, 60)),
    row("zero_volume_share_{}d", "share of {} days without volume", "0 to 1",
        lambda b, n: b.mean("idle", n), price_window, 60),
    row("zero_return_share_{}d", "share of {} days with an unchanged close", "0 to 1",
        lambda b, n: b.mean("unchanged", n), return_window, 60),
    row("signed_volume_{}d",
        "(volume on rising days - on falling days) / volume, of the days of {} with a return", "-1 to 1",
        signed_share, return_window, 5, 20),
    row("ret_volume_corr_{}d",
        "correlation of {} clipped daily returns with ln volume, of days with volume", "-1 to 1",
        lambda b, n: pair_moments(b.clipped, b.log_volume, n).correlation, return_window, 20),
    row("vwap_gap_{}d", "close / {}-day volume-weighted mean close - 1", "ratio",
        vwap_gap, price_window, 20),
    row("spread_{}d",
        "{}-day mean of the bid-ask spread estimated from clipped ln(high / low) of one and two days "
        "(Corwin-Schultz), negative days as 0", "ratio", high_low_spread, return_window, 20),
)
# fmt: on

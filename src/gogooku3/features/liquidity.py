"""Volume and liquidity: share volume only against the stock's own past, money traded as it is."""

import math
from functools import partial

import numpy as np

from gogooku3.features.feature import Array, Feature
from gogooku3.features.price_grid import StockBlock, nonzero, pair_moments
from gogooku3.features.rolling import needed_days, rolling_sum, shift

_SPREAD_SCALE = 3 - 2 * math.sqrt(2)


def signed_share(block: StockBlock, window: int) -> Array:
    """Volume of rising less falling days over all volume of the window."""
    signed = np.where(np.isnan(block.signed_volume), 0.0, block.signed_volume)
    total = np.where(np.isnan(block.signed_volume), 0.0, block.volume)
    share = rolling_sum(signed, window) / nonzero(rolling_sum(total, window))
    return share + 0.0 * block.count("signed_volume", window)


def vwap_gap(block: StockBlock, window: int) -> Array:
    """Close over the window's volume-weighted mean close, less 1."""
    dollars = rolling_sum(block.filled("dollars"), window)
    shares = rolling_sum(np.where(block.known("dollars") > 0, block.volume, 0.0), window)
    return block.close / (dollars / nonzero(shares)) - 1 + 0.0 * block.count("dollars", window)


def high_low_spread(block: StockBlock, window: int) -> Array:
    """Mean bid-ask spread from two-day highs and lows (Corwin and Schultz 2012), negative days as 0."""
    square = block.log_range**2
    both = square + shift(square, 1)
    high = np.maximum(block.high, shift(block.high, 1))
    low = np.minimum(block.low, shift(block.low, 1))
    two_day = np.clip(np.log(high / low), 0.0, 1.0) ** 2
    alpha = (np.sqrt(2 * both) - np.sqrt(both)) / _SPREAD_SCALE - np.sqrt(two_day / _SPREAD_SCALE)
    daily = np.maximum(2 * np.expm1(alpha) / (1 + np.exp(alpha)), 0.0)
    known = np.isfinite(daily)
    days = rolling_sum(known.astype(np.float64), window)
    days[days < needed_days(window)] = np.nan
    return rolling_sum(np.where(known, daily, 0.0), window) / days


def volume_ratio(block: StockBlock, short: int, long: int) -> Array:
    """Mean volume of the shorter window over that of the longer."""
    return block.mean("volume", short) / nonzero(block.mean("volume", long))


def volume_surprise(block: StockBlock, window: int) -> Array:
    """Today's log volume in standard deviations from the window's mean."""
    distance = block.log_volume - block.mean("log_volume", window)
    return distance / nonzero(block.std("log_volume", window))


def log_amihud(block: StockBlock, window: int) -> Array:
    """Log of the mean of |return| / money traded."""
    return np.log(nonzero(block.mean("illiquidity", window)))


def return_volume_correlation(block: StockBlock, window: int) -> Array:
    """Correlation of daily returns with log volume."""
    return pair_moments(block.clipped, block.log_volume, window).correlation


FEATURES = (
    Feature(
        "volume_change_1d",
        "volume",
        "ln(volume / volume of the day before)",
        1,
        "log ratio",
        lambda b: b.log_volume - shift(b.log_volume, 1),
    ),
    Feature(
        "volume_ratio_1d_20d",
        "volume",
        "volume / mean volume of 20 days",
        19,
        "ratio",
        lambda b: b.volume / nonzero(b.mean("volume", 20)),
    ),
    *(
        Feature(
            f"volume_ratio_{n}d_{m}d",
            "volume",
            f"mean volume of {n} days / of {m} days",
            m - 1,
            "ratio",
            partial(volume_ratio, short=n, long=m),
        )
        for n, m in ((5, 20), (20, 120))
    ),
    Feature(
        "volume_z_60d",
        "volume",
        "(ln volume - its mean of 60 days) / their standard deviation",
        59,
        "standard deviations",
        partial(volume_surprise, window=60),
    ),
    Feature(
        "volume_cv_20d",
        "volume",
        "standard deviation / mean of 20 days' volume",
        19,
        "ratio",
        lambda b: b.std("volume", 20) / nonzero(b.mean("volume", 20)),
    ),
    Feature(
        "dollar_volume_1d",
        "volume",
        "ln(close x volume)",
        0,
        "log of money",
        lambda b: np.log(nonzero(b.dollars)),
    ),
    Feature(
        "dollar_volume_20d",
        "volume",
        "ln(mean of 20 days' close x volume)",
        19,
        "log of money",
        lambda b: np.log(nonzero(b.mean("dollars", 20))),
    ),
    *(
        Feature(
            f"amihud_{n}d",
            "volume",
            f"ln(mean of {n} days' |return| / (close x volume))",
            n,
            "log of 1 / money",
            partial(log_amihud, window=n),
        )
        for n in (20, 60)
    ),
    Feature(
        "amihud_ratio_5d_60d",
        "volume",
        "ln(mean |return| / (close x volume) of 5 days / of 60 days)",
        60,
        "log ratio",
        lambda b: log_amihud(b, 5) - log_amihud(b, 60),
    ),
    Feature(
        "zero_volume_share_60d",
        "volume",
        "share of 60 days without volume",
        59,
        "0 to 1",
        lambda b: b.mean("idle", 60),
    ),
    Feature(
        "zero_return_share_60d",
        "volume",
        "share of 60 days with an unchanged close",
        60,
        "0 to 1",
        lambda b: b.mean("unchanged", 60),
    ),
    *(
        Feature(
            f"signed_volume_{n}d",
            "volume",
            f"(volume of rising - of falling days) / volume of {n} days",
            n,
            "-1 to 1",
            partial(signed_share, window=n),
        )
        for n in (5, 20)
    ),
    Feature(
        "ret_volume_corr_20d",
        "volume",
        "correlation of 20 daily returns with ln volume",
        20,
        "-1 to 1",
        partial(return_volume_correlation, window=20),
    ),
    Feature(
        "vwap_gap_20d",
        "volume",
        "close / volume-weighted mean close of 20 days - 1",
        19,
        "ratio",
        partial(vwap_gap, window=20),
    ),
    Feature(
        "spread_20d",
        "volume",
        "mean of 20 days' bid-ask spread after Corwin and Schultz, from highs and lows",
        20,
        "ratio",
        partial(high_low_spread, window=20),
    ),
)

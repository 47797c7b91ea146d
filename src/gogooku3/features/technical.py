"""The classical indicators, seeded as TA-Lib seeds them, on a stock's own bars.

A bar is a day on which the stock's close (or high, low and close) is known; other days are skipped, so a hole
neither breaks nor resets an indicator. Unlike TA-Lib, an indicator without any movement is NaN, not 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gogooku3.features.feature import Array, Feature
from gogooku3.features.price_grid import StockBlock, nonzero
from gogooku3.features.rolling import (
    NO_SPREAD,
    days_since_max,
    ema_terms,
    exponential_sum,
    rolling_max,
    rolling_sum,
    seeded_ema,
    shift,
)

SAME_PRICE = 1e-9
"""Price moves closer than this share of the price are ties: decimal prices in binary differ by rounding."""


@dataclass(frozen=True)
class Bars:
    """Columns squeezed to the days a stock traded, first bar on row 0, and the way back."""

    order: NDArray[np.intp]
    valid: NDArray[np.bool_]

    @classmethod
    def where(cls, valid: NDArray[np.bool_]) -> "Bars":
        """Squeeze to the days where `valid` [days, stocks]."""
        return cls(np.argsort(~valid, axis=0, kind="stable"), valid)

    def pack(self, values: Array) -> Array:
        """Bars first, NaN behind the last one."""
        packed = np.take_along_axis(values, self.order, axis=0)
        packed[~np.take_along_axis(self.valid, self.order, axis=0)] = np.nan
        return packed

    def unpack(self, packed: Array) -> Array:
        """Back to days, NaN between bars."""
        out = np.full(packed.shape, np.nan)
        np.put_along_axis(out, self.order, packed, axis=0)
        out[~self.valid] = np.nan
        return out


class ClosePrices:
    """A block's closes as bars."""

    def __init__(self, block: StockBlock) -> None:
        self.bars = Bars.where(np.isfinite(block.close))
        self.close = self.bars.pack(block.close)


class Candles:
    """A block's high, low, close and volume as bars, with the true range and directional moves."""

    def __init__(self, block: StockBlock) -> None:
        self.bars = Bars.where(np.isfinite(block.high) & np.isfinite(block.low) & np.isfinite(block.close))
        self.high, self.low = self.bars.pack(block.high), self.bars.pack(block.low)
        self.close, self.volume = self.bars.pack(block.close), self.bars.pack(block.volume)
        previous = shift(self.close, 1)
        self.true_low = np.minimum(self.low, previous)
        self.true_range = np.maximum(self.high, previous) - self.true_low
        self.typical = (self.high + self.low + self.close) / 3
        up, down = self.high - shift(self.high, 1), shift(self.low, 1) - self.low
        tie = SAME_PRICE * self.close
        first = np.isnan(up)
        self.plus_move = np.where(first, np.nan, np.where((up > down + tie) & (up > tie), up, 0.0))
        self.minus_move = np.where(first, np.nan, np.where((down > up + tie) & (down > tie), down, 0.0))


def full_sum(values: Array, window: int) -> Array:
    """Rolling sum that is NaN until the window is full."""
    out = rolling_sum(values, window)
    out[: window - 1] = np.nan
    return out


def full_max(values: Array, window: int) -> Array:
    """Rolling maximum that is NaN until the window is full and while it holds a NaN."""
    return rolling_max(values, window) + 0.0 * full_sum(values, window)


def full_min(values: Array, window: int) -> Array:
    """Rolling minimum, as `full_max`."""
    return -full_max(-values, window)


def rsi(prices: ClosePrices, period: int) -> Array:
    """Wilder's relative strength index."""
    change = prices.close - shift(prices.close, 1)
    gain = seeded_ema(np.maximum(change, 0.0), period, period, alpha=1 / period)
    loss = seeded_ema(np.maximum(-change, 0.0), period, period, alpha=1 / period)
    return 100 * gain / nonzero(gain + loss)


def macd_line(prices: ClosePrices) -> Array:
    """12-day less 26-day exponential mean, both seeded on bar 26."""
    return seeded_ema(prices.close, 12, 25) - seeded_ema(prices.close, 26, 25)


def macd(prices: ClosePrices) -> Array:
    """MACD line over close."""
    return macd_line(prices) / prices.close


def macd_signal(prices: ClosePrices) -> Array:
    """9-day exponential mean of the MACD line, over close."""
    return seeded_ema(macd_line(prices), 9, 33) / prices.close


def macd_histogram(prices: ClosePrices) -> Array:
    """MACD line less its signal, over close."""
    line = macd_line(prices)
    return (line - seeded_ema(line, 9, 33)) / prices.close


def trix(prices: ClosePrices) -> Array:
    """One-day change of the triple 15-day exponential mean, percent."""
    smooth = prices.close
    for depth in (1, 2, 3):
        smooth = seeded_ema(smooth, 15, 14 * depth)
    return 100 * (smooth / shift(smooth, 1) - 1)


def _band(prices: ClosePrices, window: int) -> tuple[Array, Array]:
    mean = full_sum(prices.close, window) / window
    variance = full_sum(prices.close**2, window) / window - mean**2
    return mean, np.sqrt(np.where(variance <= NO_SPREAD * mean**2, 0.0, variance))


def bollinger_position(prices: ClosePrices, window: int) -> Array:
    """%b: 0 at the lower band, 1 at the upper; bands at 2 (population) standard deviations."""
    mean, std = _band(prices, window)
    return (prices.close - mean) / nonzero(4 * std) + 0.5


def bollinger_width(prices: ClosePrices, window: int) -> Array:
    """Upper less lower band over the mean."""
    mean, std = _band(prices, window)
    return 4 * std / mean


def atr(candles: Candles, period: int) -> Array:
    """Wilder's average true range over close."""
    return seeded_ema(candles.true_range, period, period, alpha=1 / period) / candles.close


def stochastic(candles: Candles, window: int, smooth: int) -> Array:
    """Close's place in the window's range, 0 to 100, averaged over `smooth` bars."""
    low = full_min(candles.low, window)
    fast = 100 * (candles.close - low) / nonzero(full_max(candles.high, window) - low)
    return full_sum(fast, smooth) / smooth


def stochastic_signal(candles: Candles, window: int) -> Array:
    """3-bar mean of the slow stochastic."""
    return full_sum(stochastic(candles, window, 3), 3) / 3


def williams_r(candles: Candles, window: int) -> Array:
    """Williams' %R: 0 at the window's high, -100 at its low."""
    high = full_max(candles.high, window)
    return -100 * (high - candles.close) / nonzero(high - full_min(candles.low, window))


def cci(candles: Candles, window: int) -> Array:
    """Commodity channel index: typical price against its mean, in 0.015 mean absolute deviations."""
    mean = full_sum(candles.typical, window) / window
    deviation = np.zeros_like(mean)
    for bars in range(window):
        deviation += np.abs(shift(candles.typical, bars) - mean)
    deviation[deviation <= SAME_PRICE * mean] = np.nan
    return (candles.typical - mean) / (0.015 * deviation / window)


def _directional(candles: Candles, move: Array, period: int) -> Array:
    """Wilder's running sum: starts as the plain sum of period - 1 moves on bar `period`."""
    if len(move) < period:
        return np.full_like(move, np.nan)
    parts = move.copy()
    parts[: period - 1] = 0.0
    parts[period - 1] = rolling_sum(move[1:period], period - 1)[-1]
    out = exponential_sum(parts, 1 / period)
    out[:period] = np.nan
    return out


def plus_di(candles: Candles, period: int) -> Array:
    """Upward directional movement over true range, percent."""
    move = _directional(candles, candles.plus_move, period)
    return 100 * move / nonzero(_directional(candles, candles.true_range, period))


def minus_di(candles: Candles, period: int) -> Array:
    """Downward directional movement over true range, percent."""
    move = _directional(candles, candles.minus_move, period)
    return 100 * move / nonzero(_directional(candles, candles.true_range, period))


def adx(candles: Candles, period: int) -> Array:
    """Wilder's average directional index; a bar without any directional movement counts as 0."""
    plus = _directional(candles, candles.plus_move, period)
    minus = _directional(candles, candles.minus_move, period)
    total = plus + minus
    index = np.where(total == 0, 0.0, 100 * np.abs(plus - minus) / nonzero(total))
    return seeded_ema(index, period, 2 * period - 1, alpha=1 / period)


def mfi(candles: Candles, window: int) -> Array:
    """Money flow index: money traded on bars whose typical price rose, percent; ties count for neither."""
    change = candles.typical - shift(candles.typical, 1)
    money, tie = candles.typical * candles.volume, SAME_PRICE * candles.typical
    rising = np.where(change > tie, money, 0.0 * money * change)
    falling = np.where(change < -tie, money, 0.0 * money * change)
    up, down = full_sum(rising, window), full_sum(falling, window)
    return 100 * up / nonzero(up + down)


def aroon(extreme: Array, window: int) -> Array:
    """100 when the extreme is today's, 0 when it is `window` bars old."""
    return 100 * (window - days_since_max(extreme, window + 1)) / window


def ultimate(candles: Candles) -> Array:
    """Williams' ultimate oscillator of 7, 14 and 28 bars."""
    pressure = candles.close - candles.true_low
    short, middle, long = (
        full_sum(pressure, n) / nonzero(full_sum(candles.true_range, n)) for n in (7, 14, 28)
    )
    return 100 * (4 * short + 2 * middle + long) / 7


def _on_closes(indicator: Callable[[ClosePrices], Array]) -> Callable[[StockBlock], Array]:
    def compute(block: StockBlock) -> Array:
        prices: ClosePrices = block.remember(("close bars",), lambda: ClosePrices(block))
        return prices.bars.unpack(indicator(prices))

    return compute


def _on_candles(indicator: Callable[[Candles], Array]) -> Callable[[StockBlock], Array]:
    def compute(block: StockBlock) -> Array:
        candles: Candles = block.remember(("candles",), lambda: Candles(block))
        return candles.bars.unpack(indicator(candles))

    return compute


def _closes(
    name: str, formula: str, bars: int, unit: str, indicator: Callable[[ClosePrices], Array]
) -> Feature:
    return Feature(name, "technical", formula, bars, unit, _on_closes(indicator))


def _candles(name: str, formula: str, bars: int, unit: str, indicator: Callable[[Candles], Array]) -> Feature:
    return Feature(name, "technical", formula, bars, unit, _on_candles(indicator))


def _wilder(period: int) -> int:
    """Bars after which Wilder's mean has forgotten its start."""
    return ema_terms(1 / period) + period


_MACD = ema_terms(2 / 27) + 26
_MACD_SIGNAL = _MACD + ema_terms(2 / 10) + 9
_TRIX = 3 * (ema_terms(2 / 16) + 15)

FEATURES = (
    *(
        _closes(
            f"rsi_{n}d",
            f"relative strength index of {n} days (Wilder)",
            _wilder(n),
            "0 to 100",
            partial(rsi, period=n),
        )
        for n in (6, 14)
    ),
    _closes("macd_12d_26d", "(12-day - 26-day exponential mean of close) / close", _MACD, "ratio", macd),
    _closes(
        "macd_signal_9d",
        "9-day exponential mean of the MACD line / close",
        _MACD_SIGNAL,
        "ratio",
        macd_signal,
    ),
    _closes(
        "macd_hist_9d",
        "(MACD line - its 9-day exponential mean) / close",
        _MACD_SIGNAL,
        "ratio",
        macd_histogram,
    ),
    _closes(
        "trix_15d", "one-day change of the triple 15-day exponential mean of close", _TRIX, "percent", trix
    ),
    _closes(
        "bollinger_b_20d",
        "(close - lower band) / (upper - lower band), mean +- 2 deviations of 20 days",
        19,
        "0 to 1 inside the bands",
        partial(bollinger_position, window=20),
    ),
    _closes(
        "bollinger_width_20d",
        "(upper - lower band) / mean close of 20 days",
        19,
        "ratio",
        partial(bollinger_width, window=20),
    ),
    _candles(
        "atr_14d",
        "average true range of 14 days (Wilder) / close",
        _wilder(14),
        "ratio",
        partial(atr, period=14),
    ),
    _candles(
        "stoch_k_14d",
        "3-day mean of (close - lowest low) / (highest high - lowest low) of 14 days",
        15,
        "0 to 100",
        partial(stochastic, window=14, smooth=3),
    ),
    _candles(
        "stoch_d_14d", "3-day mean of stoch_k_14d", 17, "0 to 100", partial(stochastic_signal, window=14)
    ),
    _candles(
        "williams_r_14d",
        "-(highest high - close) / (highest high - lowest low) of 14 days",
        13,
        "-100 to 0",
        partial(williams_r, window=14),
    ),
    _candles(
        "cci_20d",
        "(typical price - its mean) / (0.015 x mean absolute deviation) of 20 days",
        19,
        "1",
        partial(cci, window=20),
    ),
    _candles(
        "plus_di_14d",
        "upward directional movement / true range of 14 days (Wilder)",
        _wilder(14),
        "0 to 100",
        partial(plus_di, period=14),
    ),
    _candles(
        "minus_di_14d",
        "downward directional movement / true range of 14 days (Wilder)",
        _wilder(14),
        "0 to 100",
        partial(minus_di, period=14),
    ),
    _candles(
        "adx_14d",
        "average directional index of 14 days (Wilder)",
        2 * _wilder(14),
        "0 to 100",
        partial(adx, period=14),
    ),
    _candles("mfi_14d", "money flow index of 14 days", 14, "0 to 100", partial(mfi, window=14)),
    _candles(
        "aroon_up_25d",
        "100 x (25 - days since the highest high of 25 days) / 25",
        25,
        "0 to 100",
        lambda c: aroon(c.high, 25),
    ),
    _candles(
        "aroon_down_25d",
        "100 x (25 - days since the lowest low of 25 days) / 25",
        25,
        "0 to 100",
        lambda c: aroon(-c.low, 25),
    ),
    _candles("ultimate_28d", "ultimate oscillator of 7, 14 and 28 days", 28, "0 to 100", ultimate),
)

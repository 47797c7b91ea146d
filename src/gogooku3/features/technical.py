"""The classical indicators, seeded as in TA-Lib; unlike there, one without movement is NaN, not 0. Days on
which a stock's price is unknown are skipped, so a gap neither breaks nor resets an indicator."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gogooku3.features.feature import Array, family, price_window, return_window, row
from gogooku3.features.price_grid import StockBlock, cached, nonzero
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
from gogooku3.features.ties import settle


class Bars:
    """Columns packed to the days where `valid` [days, stocks], first bar in row 0, and the way back."""

    def __init__(self, valid: NDArray[np.bool_]) -> None:
        self.valid = valid
        self.order = np.argsort(~valid, axis=0, kind="stable")

    def pack(self, values: Array) -> Array:
        """Bars first, NaN after the last one."""
        packed = np.take_along_axis(values, self.order, axis=0)
        packed[~np.take_along_axis(self.valid, self.order, axis=0)] = np.nan
        return packed

    def unpack(self, packed: Array) -> Array:
        """Back to days, NaN between bars."""
        out = np.full(packed.shape, np.nan)
        np.put_along_axis(out, self.order, packed, axis=0)
        out[~self.valid] = np.nan
        return out


class ClosePrices(Bars):
    """A block's closes as bars."""

    def __init__(self, block: StockBlock) -> None:
        super().__init__(np.isfinite(block.close))
        self.close = self.pack(block.close)


class Candles(Bars):
    """A block's high, low, close and volume as bars, with the true range and directional moves."""

    def __init__(self, block: StockBlock) -> None:
        super().__init__(np.isfinite(block.high) & np.isfinite(block.low) & np.isfinite(block.close))
        self.high, self.low = self.pack(block.high), self.pack(block.low)
        self.close, self.volume = self.pack(block.close), self.pack(block.volume)
        previous = shift(self.close, 1)
        self.true_low = np.minimum(self.low, previous)
        self.true_range = settle(np.maximum(self.high, previous) - self.true_low, self.close)
        self.typical = (self.high + self.low + self.close) / 3
        up = settle(self.high - shift(self.high, 1), self.close)
        down = settle(shift(self.low, 1) - self.low, self.close)
        # Only the larger of the two moves counts; neither at a tie.
        larger, first = settle(up - down, self.close), np.isnan(up)
        self.plus_move = np.where(first, np.nan, np.where((larger > 0) & (up > 0), up, 0.0))
        self.minus_move = np.where(first, np.nan, np.where((larger < 0) & (down > 0), down, 0.0))


def full_sum(values: Array, window: int) -> Array:
    """Rolling sum that is NaN until the window is full."""
    out = rolling_sum(values, window)
    out[: window - 1] = np.nan
    return out


def full_max(values: Array, window: int) -> Array:
    """Rolling maximum; NaN until the window is full and while it contains a NaN."""
    return rolling_max(values, window) + 0.0 * full_sum(values, window)


def rsi(prices: ClosePrices, period: int) -> Array:
    """Wilder's relative strength index."""
    change = settle(prices.close - shift(prices.close, 1), prices.close)
    gain = seeded_ema(np.maximum(change, 0.0), period, period, alpha=1 / period)
    loss = seeded_ema(np.maximum(-change, 0.0), period, period, alpha=1 / period)
    return 100 * gain / nonzero(gain + loss)


def macd_line(prices: ClosePrices) -> Array:
    """12-day less 26-day exponential mean, both seeded on bar 26."""
    return seeded_ema(prices.close, 12, 25) - seeded_ema(prices.close, 26, 25)


def macd_histogram(prices: ClosePrices) -> Array:
    """MACD line less its signal (9-day exponential mean), over close."""
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


def stochastic(candles: Candles, window: int) -> Array:
    """Slow stochastic: the close's position in the window's range, 0 to 100, averaged over 3 bars."""
    high, low = full_max(candles.high, window), -full_max(-candles.low, window)
    fast = 100 * (candles.close - low) / nonzero(settle(high - low, high))
    return full_sum(fast, 3) / 3


def williams_r(candles: Candles, window: int) -> Array:
    """Williams' %R: 0 at the window's high, -100 at its low."""
    high, low = full_max(candles.high, window), -full_max(-candles.low, window)
    return -100 * (high - candles.close) / nonzero(settle(high - low, high))


def cci(candles: Candles, window: int) -> Array:
    """Commodity channel index: typical price against its mean, in 0.015 mean absolute deviations."""
    mean = full_sum(candles.typical, window) / window
    deviation = np.zeros_like(mean)
    for bars in range(window):
        deviation += np.abs(shift(candles.typical, bars) - mean)
    deviation = nonzero(settle(deviation / window, mean))
    return (candles.typical - mean) / (0.015 * deviation)


def _directional(move: Array, period: int) -> Array:
    """Wilder's running sum: starts as the plain sum of period - 1 moves on bar `period`."""
    if len(move) < period:
        return np.full_like(move, np.nan)
    parts = move.copy()
    parts[: period - 1] = 0.0
    parts[period - 1] = rolling_sum(move[1:period], period - 1)[-1]
    out = exponential_sum(parts, 1 / period)
    out[:period] = np.nan
    return out


def directional_index(candles: Candles, move: Array, period: int) -> Array:
    """Directional movement (`plus_move` or `minus_move`) over true range, percent."""
    return 100 * _directional(move, period) / nonzero(_directional(candles.true_range, period))


def adx(candles: Candles, period: int) -> Array:
    """Wilder's average directional index; a bar without any directional movement counts as 0."""
    plus, minus = _directional(candles.plus_move, period), _directional(candles.minus_move, period)
    total = plus + minus
    index = np.where(total == 0, 0.0, 100 * np.abs(plus - minus) / nonzero(total))
    return seeded_ema(index, period, 2 * period - 1, alpha=1 / period)


def mfi(candles: Candles, window: int) -> Array:
    """Money flow index: money traded on bars whose typical price rose, percent; ties count for neither."""
    change = settle(candles.typical - shift(candles.typical, 1), candles.typical)
    money = candles.typical * candles.volume
    # 0 x money x change: 0 where all are known, else NaN.
    rising = np.where(change > 0, money, 0.0 * money * change)
    falling = np.where(change < 0, money, 0.0 * money * change)
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


def _on(pack: Callable[[StockBlock], Bars], indicator: Callable[..., Array]) -> Callable[..., Array]:
    def compute(block: StockBlock, *days: int) -> Array:
        bars = pack(block)
        return bars.unpack(indicator(bars, *days))

    return compute


# The bars of a block are packed once for all indicators.
_on_closes = partial(_on, cached(ClosePrices))
_on_candles = partial(_on, cached(Candles))


def wilder_window(period: int) -> int:
    """Bars after which Wilder's mean has forgotten its start."""
    return ema_terms(1 / period) + period


_MACD = ema_terms(2 / 27) + 26
_MACD_SIGNAL = _MACD + ema_terms(2 / 10) + 9
_TRIX = 3 * (ema_terms(2 / 16) + 15)

# fmt: off
FEATURES = family(
    "technical",
    row("rsi_{}d", "100 x mean gain / (mean gain + mean loss), {}-day means (Wilder)", "0 to 100",
        _on_closes(rsi), wilder_window, 6, 14),
    row("macd_12d_26d", "(12-day - 26-day exponential mean of close) / close", "ratio",
        _on_closes(lambda p: macd_line(p) / p.close), _MACD),
    row("macd_signal_9d", "9-day exponential mean of the MACD line / close", "ratio",
        _on_closes(lambda p: seeded_ema(macd_line(p), 9, 33) / p.close), _MACD_SIGNAL),
    row("macd_hist_9d", "(MACD line - its 9-day exponential mean) / close", "ratio",
        _on_closes(macd_histogram), _MACD_SIGNAL),
    row("trix_15d", "100 x one-day change of the triple 15-day exponential mean of close", "percent",
        _on_closes(trix), _TRIX),
    row("bollinger_b_{}d",
        "(close - lower band) / (upper - lower band), bands at {}-day mean +- 2 (population) deviations",
        "0 to 1 inside the bands", _on_closes(bollinger_position), price_window, 20),
    row("bollinger_width_{}d",
        "(upper - lower band) / {}-day mean close, bands at 2 (population) deviations", "ratio",
        _on_closes(bollinger_width), price_window, 20),
    row("atr_{}d", "{}-day average true range (Wilder) / close", "ratio",
        _on_candles(atr), wilder_window, 14),
    row("stoch_k_{}d", "3-day mean of 100 x (close - lowest low) / (highest high - lowest low) of {} days",
        "0 to 100", _on_candles(stochastic), 15, 14),
    row("stoch_d_{}d", "3-day mean of stoch_k_{}d", "0 to 100",
        _on_candles(lambda c, n: full_sum(stochastic(c, n), 3) / 3), 17, 14),
    row("williams_r_{}d",
        "-100 x (highest high - close) / (highest high - lowest low) of {} days", "-100 to 0",
        _on_candles(williams_r), price_window, 14),
    row("cci_{}d", "(typical price - its {0}-day mean) / (0.015 x {0}-day mean deviation from today's mean); "
        "typical price: (high + low + close) / 3", "1",
        _on_candles(cci), price_window, 20),
    row("plus_di_{}d",
        "100 x rises of the high, where larger than falls of the low / true range, {}-day sums (Wilder)",
        "0 to 100",
        _on_candles(lambda c, n: directional_index(c, c.plus_move, n)), wilder_window, 14),
    row("minus_di_{}d",
        "100 x falls of the low, where larger than rises of the high / true range, {}-day sums (Wilder)",
        "0 to 100",
        _on_candles(lambda c, n: directional_index(c, c.minus_move, n)), wilder_window, 14),
    row("adx_{}d",
        "{0}-day mean of 100 x |plus_di - minus_di| / (plus_di + minus_di), 0 without movement (Wilder)",
        "0 to 100",
        _on_candles(adx), lambda n: 2 * wilder_window(n), 14),
    row("mfi_{}d",
        "100 x typical price x volume of the days of {} on which the typical price rose / of those on "
        "which it rose or fell", "0 to 100", _on_candles(mfi), return_window, 14),
    row("aroon_up_{}d",
        "100 x ({0} - days since the highest high) / {0}, of today and {0} days before, the latest at ties",
        "0 to 100",
        _on_candles(lambda c, n: aroon(c.high, n)), return_window, 25),
    row("aroon_down_{}d",
        "100 x ({0} - days since the lowest low) / {0}, of today and {0} days before, the latest at ties",
        "0 to 100",
        _on_candles(lambda c, n: aroon(-c.low, n)), return_window, 25),
    row("ultimate_28d",
        "100 x (4 x 7-day + 2 x 14-day + 28-day sum of (close - min(low, previous close)) / sum of true "
        "range) / 7", "0 to 100", _on_candles(ultimate), 28),
)
# fmt: on

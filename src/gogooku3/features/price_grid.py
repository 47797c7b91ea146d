"""Prices as dense `[days, stocks]` arrays on the market's calendar, with rolling statistics. A day without a
trade is NaN, never squeezed out: a lookback of 20 days means the same 20 days for every stock."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.errors import DataError
from gogooku3.features.feature import Array
from gogooku3.features.rolling import NO_SPREAD, needed_days, rolling_max, rolling_sum, shift
from gogooku3.features.ties import relative_change, settle
from gogooku3.schema import CODE, DATE, INDEX_CLOSE, KEYS, OHLCV, SECTOR, require_columns

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

STALE_DAYS = 5
"""A previous close older than this many trading days counts as unknown."""
RETURN_CLIP = (-0.5, 1.0)
"""Clip for daily returns inside rolling statistics, so that one bad tick can't dominate a window."""


@dataclass(frozen=True)
class MarketGrid:
    """All prices on the market's calendar.

    `calendar` holds all trading days up to the last, `dates` those of the arrays: the last ones.
    `present` [days, stocks] marks the rows of the input; `market` [days] is the market's daily return;
    `group` [days, stocks] numbers each row's sector, -1 where unknown.
    """

    calendar: pl.Series
    dates: pl.Series
    codes: pl.Series
    present: NDArray[np.bool_]
    prices: dict[str, Array]
    market: Array
    group: NDArray[np.int32]

    def last(self, days: int) -> "MarketGrid":
        """The last days only, with the same market returns and calendar."""
        prices = {name: values[-days:] for name, values in self.prices.items()}
        last = replace(self, dates=self.dates[-days:], present=self.present[-days:], prices=prices)
        return replace(last, market=self.market[-days:], group=self.group[-days:])

    def block(self, stocks: slice) -> "StockBlock":
        """Contiguous prices of some stocks."""
        prices = {name: np.ascontiguousarray(values[:, stocks]) for name, values in self.prices.items()}
        return StockBlock(**prices, market=self.market)


def build_grid(prices: pl.DataFrame) -> MarketGrid:
    """Spread a price table over the market's calendar; rows may come in any order.

    Without `index_close` the market's return is the mean of the day's clipped returns over all stocks.

    Raises:
        DataError: a column is missing, the table is empty, a key is null or double, or `index_close` has two
            values on one day.
    """
    require_columns(prices.columns, (*KEYS, *OHLCV), "a price table")
    if prices.is_empty():
        raise DataError("the price table has no rows; features need at least one stock and day")
    for key in KEYS:
        if nulls := prices[key].null_count():
            raise DataError(f"{nulls:,} rows of the price table have no {key}; remove them")
    dates, codes = prices[DATE].unique().sort(), prices[CODE].unique().sort()
    day = dates.search_sorted(prices[DATE]).to_numpy().astype(np.int64)
    stock = codes.search_sorted(prices[CODE]).to_numpy().astype(np.int64)
    present = np.zeros((len(dates), len(codes)), bool)
    present[day, stock] = True
    if repeated := len(prices) - int(present.sum()):
        raise DataError(
            f"{repeated:,} rows of the price table repeat a (date, code); keep one row per stock and day"
        )
    grids = {}
    for name in OHLCV:
        values = prices[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        grids[name] = np.full(present.shape, np.nan)
        grids[name][day, stock] = np.where(np.isfinite(values) & (values >= 0), values, np.nan)
        # A price of 0 is missing; a volume of 0 is a day without trades.
        if name != "volume":
            grids[name][grids[name] == 0] = np.nan
    group = np.full(present.shape, -1, np.int32)
    group[present] = 0
    if SECTOR in prices.columns:
        labels = prices[SECTOR].cast(pl.String)
        group[day, stock] = labels.rank("dense").cast(pl.Int32).fill_null(-1).to_numpy()
    market = _index_return(prices) if INDEX_CLOSE in prices.columns else _universe_return(grids["close"])
    return MarketGrid(dates, dates, codes, present, grids, market, group)


def _index_return(prices: pl.DataFrame) -> Array:
    close = pl.col(INDEX_CLOSE)
    by_day = prices.group_by(DATE).agg(low=close.min(), high=close.max()).sort(DATE)
    differing = by_day.filter(pl.col("low") != pl.col("high"))
    if not differing.is_empty():
        day, low, high = differing.row(0)
        raise DataError(
            f"index_close has the values {low} and {high} on {day}; the index has one close per day"
        )
    level = by_day["low"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    level = np.where(np.isfinite(level) & (level > 0), level, np.nan)[:, None]
    with np.errstate(all="ignore"):
        return np.clip(relative_change(level, previous_close(level)), *RETURN_CLIP)[:, 0]


def _universe_return(close: Array) -> Array:
    with np.errstate(all="ignore"):
        returns = np.clip(relative_change(close, previous_close(close)), *RETURN_CLIP)
        day, stock = np.nonzero(np.isfinite(returns))
        # bincount adds in the order of codes: a stock absent that day changes no bit of the sum.
        total = np.bincount(day, weights=returns[day, stock], minlength=len(close))
        return settle(total / np.bincount(day, minlength=len(close)))


def last_close(close: Array) -> Array:
    """The day's close, or the last known one if it is less than `STALE_DAYS` days old."""
    out = close
    for days in range(1, STALE_DAYS):
        out = np.where(np.isnan(out), shift(close, days), out)
    return out


def previous_close(close: Array) -> Array:
    """The last known close before the day, at most `STALE_DAYS` days old."""
    return shift(last_close(close), 1)


def nonzero(values: Array) -> Array:
    """Replace 0 by NaN in a denominator.

    >>> nonzero(np.array([0.0, 2.0])).tolist()
    [nan, 2.0]
    """
    return np.where(values == 0, np.nan, values)


def cached(
    compute: Callable[Concatenate["StockBlock", Arguments], Result],
) -> Callable[Concatenate["StockBlock", Arguments], Result]:
    """Compute once per block and arguments, for methods and functions that take a `StockBlock` first."""

    @wraps(compute)
    def lookup(block: "StockBlock", *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = (compute, *args, *kwargs.items())
        if key not in block.cache:
            block.cache[key] = compute(block, *args, **kwargs)
        result: Result = block.cache[key]
        return result

    return lookup


class StockBlock:
    """Prices of a few stocks `[days, stocks]` with daily series and rolling statistics of them, cached.

    Statistics name a series of this class: `block.mean("clipped", 20)`. They use the known days of the window
    and are NaN with fewer than two thirds of it.
    """

    def __init__(
        self, open: Array, high: Array, low: Array, close: Array, volume: Array, market: Array
    ) -> None:
        self.open, self.high, self.low, self.close, self.volume = open, high, low, close, volume
        self.market = np.broadcast_to(market[:, None], close.shape)
        self.cache: dict[tuple[Any, ...], Any] = {}

    # Daily series -----------------------------------------------------------------------------------------

    @cached_property
    def last(self) -> Array:
        """Last known close."""
        return last_close(self.close)

    @cached_property
    def previous(self) -> Array:
        """Previous close."""
        return shift(self.last, 1)

    @cached_property
    def raw(self) -> Array:
        """Daily return."""
        return relative_change(self.close, self.previous)

    @cached_property
    def clipped(self) -> Array:
        """Daily return, clipped."""
        return np.clip(self.raw, *RETURN_CLIP)

    @cached_property
    def absolute(self) -> Array:
        """Absolute clipped daily return."""
        return np.abs(self.clipped)

    @cached_property
    def log_return(self) -> Array:
        """Log of 1 + the clipped return."""
        return np.log1p(self.clipped)

    @cached_property
    def log_step(self) -> Array:
        """Absolute log return."""
        return np.abs(self.log_return)

    @cached_property
    def rose(self) -> Array:
        """1.0 on a day the close rose, else 0.0."""
        return np.where(np.isnan(self.raw), np.nan, self.raw > 0)

    @cached_property
    def unchanged(self) -> Array:
        """1.0 on a day the close was unchanged, else 0.0."""
        return np.where(np.isnan(self.raw), np.nan, self.raw == 0)

    @cached_property
    def downside(self) -> Array:
        """Clipped return where negative, else 0."""
        return np.minimum(self.clipped, 0.0)

    @cached_property
    def raw_gap(self) -> Array:
        """Open over previous close - 1."""
        return relative_change(self.open, self.previous)

    @cached_property
    def gap(self) -> Array:
        """Overnight gap, clipped."""
        return np.clip(self.raw_gap, *RETURN_CLIP)

    @cached_property
    def intraday(self) -> Array:
        """Close over open - 1, clipped."""
        return np.clip(relative_change(self.close, self.open), *RETURN_CLIP)

    @cached_property
    def log_range(self) -> Array:
        """Log of high over low, clipped at 1."""
        return np.clip(settle(np.log(self.high / self.low)), 0.0, 1.0)

    @cached_property
    def log_gap(self) -> Array:
        """Log of 1 + the clipped gap."""
        return np.log1p(self.gap)

    @cached_property
    def log_intraday(self) -> Array:
        """Log of 1 + the clipped intraday return."""
        return np.log1p(self.intraday)

    @cached_property
    def garman_klass(self) -> Array:
        """Variance of the day from open, high, low and close (Garman and Klass 1980)."""
        return 0.5 * self.log_range**2 - (2 * math.log(2) - 1) * self.log_intraday**2

    @cached_property
    def dollars(self) -> Array:
        """Close x volume: independent of splits."""
        return self.close * self.volume

    @cached_property
    def log_volume(self) -> Array:
        """Log of volume; NaN on a day without volume."""
        return np.log(np.where(self.volume > 0, self.volume, np.nan))

    @cached_property
    def idle(self) -> Array:
        """1.0 on a day without volume, else 0.0."""
        return np.where(np.isnan(self.volume), np.nan, self.volume == 0)

    @cached_property
    def signed_volume(self) -> Array:
        """Volume with the sign of the day's return."""
        return self.volume * np.sign(self.clipped)

    @cached_property
    def illiquidity(self) -> Array:
        """Absolute return per unit of money traded (Amihud 2002); NaN on a day without volume."""
        return self.absolute / nonzero(self.dollars)

    @cached_property
    def excess(self) -> Array:
        """Clipped return less the market's."""
        return settle(self.clipped - self.market)

    @cached_property
    def beat(self) -> Array:
        """1.0 on a day the return beat the market's, else 0.0."""
        return np.where(np.isnan(self.excess), np.nan, self.excess > 0)

    # Rolling statistics -----------------------------------------------------------------------------------

    def series(self, name: str) -> Array:
        """A daily series by name."""
        values: Array = getattr(self, name)
        return values

    @cached
    def known(self, name: str) -> Array:
        """1.0 where the series is known, else 0.0."""
        return np.isfinite(self.series(name)).astype(np.float64)

    @cached
    def filled(self, name: str) -> Array:
        """The series with 0.0 where unknown."""
        return np.where(self.known(name) > 0, self.series(name), 0.0)

    @cached
    def count(self, name: str, window: int) -> Array:
        """Known days of the window, NaN when too few."""
        days = rolling_sum(self.known(name), window)
        days[days < needed_days(window)] = np.nan
        return days

    @cached
    def mean(self, name: str, window: int, power: int = 1) -> Array:
        """Mean of the series' `power` over the window."""
        values = product = self.filled(name)
        for _ in range(power - 1):
            product = product * values
        return rolling_sum(product, window) / self.count(name, window)

    @cached
    def variance(self, name: str, window: int) -> Array:
        """Sample variance; exactly 0 when the window is constant."""
        days, square = self.count(name, window), self.mean(name, window, 2)
        spread = square - self.mean(name, window) ** 2
        # The difference of two nearly equal numbers is rounding error, not spread.
        return np.where(spread <= NO_SPREAD * square, 0.0, spread) * days / (days - 1)

    @cached
    def std(self, name: str, window: int) -> Array:
        """Sample standard deviation."""
        return np.sqrt(self.variance(name, window))

    @cached
    def highest(self, name: str, window: int) -> Array:
        """Largest known value of the window; NaN with too few known days."""
        # The count is NaN there, and adding 0 times it passes the NaN on.
        return rolling_max(self.series(name), window) + 0.0 * self.count(name, window)

    @cached
    def lowest(self, name: str, window: int) -> Array:
        """Smallest known value of the window; NaN with too few known days."""
        return -rolling_max(-self.series(name), window) + 0.0 * self.count(name, window)


@dataclass(frozen=True)
class PairMoments:
    """Two series over the same window, using the days on which both are known."""

    mean_x: Array
    mean_y: Array
    var_x: Array
    var_y: Array
    covariance: Array

    @property
    def slope(self) -> Array:
        """Regression slope of x on y; NaN when y is constant."""
        return self.covariance / nonzero(self.var_y)

    @property
    def correlation(self) -> Array:
        """Correlation; NaN when either is constant."""
        return np.clip(self.covariance / nonzero(np.sqrt(self.var_x * self.var_y)), -1.0, 1.0)


def pair_moments(x: Array, y: Array, window: int) -> PairMoments:
    """Moments (population) of two series over the last `window` days; NaN with fewer than two thirds known.

    >>> x = np.arange(6.0)[:, None]
    >>> float(pair_moments(2 * x, x, 6).slope[-1, 0].round(9))
    2.0
    """
    both = np.isfinite(x) & np.isfinite(y)
    days = rolling_sum(both.astype(np.float64), window)
    days[days < needed_days(window)] = np.nan
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    mean_x, mean_y = rolling_sum(x, window) / days, rolling_sum(y, window) / days
    square_x, square_y = rolling_sum(x * x, window) / days, rolling_sum(y * y, window) / days
    var_x, var_y = square_x - mean_x**2, square_y - mean_y**2
    var_x = np.where(var_x <= NO_SPREAD * square_x, 0.0, var_x)
    var_y = np.where(var_y <= NO_SPREAD * square_y, 0.0, var_y)
    covariance = rolling_sum(x * y, window) / days - mean_x * mean_y
    return PairMoments(mean_x, mean_y, var_x, var_y, covariance)

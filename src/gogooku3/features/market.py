"""A stock against its market, its sector and the calendar: relative strength, beta, idiosyncratic parts.

The market is the index where the prices carry `index_close`, else the mean of all stocks' clipped daily
returns; the sector is the `sector` column, else everyone.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.features.feature import Array, Feature
from gogooku3.features.order import ascending_bits, runs
from gogooku3.features.price_grid import PairMoments, StockBlock, nonzero, pair_moments
from gogooku3.features.price_volume import past_return
from gogooku3.features.rolling import needed_days, rolling_sum, shift

_DAYS = 16
"""Days compared together: their arrays stay in the cache."""
_LAST = np.uint64(2**64 - 1)

TURN_DAYS = 3
"""Calendar days on either side of a month's end that count as its turn."""


def market_past_return(block: StockBlock, days: int) -> Array:
    """The market's compounded return over `days` days; NaN when a third of them is unknown."""
    log_return = np.log1p(block.market)
    known = np.isfinite(log_return)
    total = rolling_sum(np.where(known, log_return, 0.0), days)
    enough = rolling_sum(known.astype(np.float64), days) >= needed_days(days)
    return np.where(enough, np.expm1(total), np.nan)


def relative_return(block: StockBlock, days: int) -> Array:
    """The stock's return less the market's over the same days."""
    return past_return(block, days) - market_past_return(block, days)


def with_market(block: StockBlock, window: int, lag: int = 0) -> PairMoments:
    """Moments of the stock's and the market's (of `lag` days before) daily returns."""

    def make() -> PairMoments:
        return pair_moments(block.clipped, shift(block.market, lag), window)

    moments: PairMoments = block.remember(("market", window, lag), make)
    return moments


def beta(block: StockBlock, window: int, lag: int = 0) -> Array:
    """Slope of the stock's daily returns on the market's of `lag` days before."""
    return with_market(block, window, lag).slope


def market_correlation(block: StockBlock, window: int) -> Array:
    """Correlation of the stock's daily returns with the market's."""
    return with_market(block, window).correlation


def residual_volatility(block: StockBlock, window: int) -> Array:
    """Standard deviation of what beta leaves unexplained."""
    moments = with_market(block, window)
    return np.sqrt(np.maximum(moments.var_x - moments.slope * moments.covariance, 0.0))


def residual_return(block: StockBlock, days: int, window: int) -> Array:
    """Sum over `days` days of return - beta x market return, with today's beta of `window` days."""
    both = np.isfinite(block.excess)
    own = rolling_sum(np.where(both, block.clipped, 0.0), days)
    market = rolling_sum(np.where(both, block.market, 0.0), days)
    value = own - with_market(block, window).slope * market
    return value + 0.0 * block.count("excess", days)


def down_capture(block: StockBlock, window: int) -> Array:
    """Mean return on days the market fell over the market's mean then; NaN with fewer than 5 such days."""
    falling = np.isfinite(block.clipped) & (block.market < 0)
    own = rolling_sum(np.where(falling, block.clipped, 0.0), window)
    market = rolling_sum(np.where(falling, block.market, 0.0), window)
    enough = rolling_sum(falling.astype(np.float64), window) >= 5
    return np.where(enough, own / nonzero(market), np.nan) + 0.0 * block.count("excess", window)


def information_ratio(block: StockBlock, window: int) -> Array:
    """Mean over standard deviation of the daily return less the market's."""
    return block.mean("excess", window) / nonzero(block.std("excess", window))


@dataclass(frozen=True)
class DayView:
    """What a feature that compares stocks within a day may see: features already made, sectors, dates.

    `values` are Float32 features by name, `group` numbers sectors (-1 unknown); all are `[days, stocks]`.
    """

    dates: pl.Series
    group: NDArray[np.int32]
    values: Mapping[str, NDArray[np.float32]]

    def by_day(self, values: pl.Series) -> Array:
        """One value a day, the same for every stock."""
        column = values.cast(pl.Float64).to_numpy()
        return np.broadcast_to(column[:, None], self.group.shape)


def less_group_mean(values: NDArray[np.float32], group: NDArray[np.int32]) -> Array:
    """Each value less the mean of its day and group; NaN where the group is unknown (-1).

    >>> less_group_mean(np.float32([[1, 3, 5]]), np.int32([[0, 0, -1]])).tolist()
    [[-1.0, 1.0, nan]]
    """
    out = np.full(values.shape, np.nan)
    n_groups = int(group.max(initial=0)) + 1
    for days in _blocks(len(values)):
        known = np.isfinite(values[days]) & (group[days] >= 0)
        cell = (group[days] + n_groups * np.arange(len(known))[:, None])[known]
        chosen = values[days][known].astype(np.float64)
        # bincount adds in the order of codes: a stock that is absent changes no bit of the others' mean.
        with np.errstate(invalid="ignore"):
            mean = np.bincount(cell, weights=chosen) / np.bincount(cell)
        out[days][known] = chosen - mean[cell]
    return out


def group_quantile(values: NDArray[np.float32], group: NDArray[np.int32]) -> Array:
    """Each value's place among its day and group: (average rank - 0.5) / size, in (0, 1); ties share it.

    >>> group_quantile(np.float32([[1, 3, 3, 9]]), np.int32([[0, 0, 0, 1]])).round(3).tolist()
    [[0.167, 0.667, 0.667, 0.5]]
    """
    out = np.empty(values.shape)
    for days in _blocks(len(values)):
        out[days] = _quantiles(values[days], group[days])
    return out


def _blocks(n_days: int) -> Iterator[slice]:
    for first in range(0, n_days, _DAYS):
        yield slice(first, first + _DAYS)


def _quantiles(values: NDArray[np.float32], group: NDArray[np.int32]) -> Array:
    known = np.isfinite(values) & (group >= 0)
    # Numbers that ascend by group, then by value, the unknown last.
    key = np.where(known, group.astype(np.uint64) << np.uint64(32) | ascending_bits(values), _LAST)
    order = np.argsort(key, axis=1)
    key = np.take_along_axis(key, order, axis=1)
    new_value, value_size = runs(key)
    new_group, group_size = runs(key >> np.uint64(32))
    middle = np.repeat(new_value + value_size / 2, value_size) - np.repeat(new_group, group_size)
    out = np.empty(values.shape)
    np.put_along_axis(out, order, (middle / np.repeat(group_size, group_size)).reshape(values.shape), axis=1)
    out[~known] = np.nan
    return out


def sector_relative(day: DayView, name: str) -> Array:
    """A feature less its mean over the sector."""
    return less_group_mean(day.values[name], day.group)


def sector_rank(day: DayView, name: str) -> Array:
    """A feature's place within the sector."""
    return group_quantile(day.values[name], day.group)


def turn_of_month(day: DayView) -> Array:
    """1 on the first and last `TURN_DAYS` calendar days of a month, else 0."""
    number, last = day.dates.dt.day(), day.dates.dt.month_end().dt.day()
    return day.by_day((number <= TURN_DAYS) | (number > last - TURN_DAYS))


def month_angle(day: DayView, wave: Callable[[Array], Array]) -> Array:
    """The month as a place on the year's circle."""
    month = day.dates.dt.month().cast(pl.Float64).to_numpy()
    return day.by_day(pl.Series(wave(2 * math.pi * (month - 1) / 12)))


MARKET = (
    *(
        Feature(
            f"market_rel_ret_{n}d",
            "market",
            f"ret_{n}d - the market's return over the same days",
            n,
            "ratio",
            partial(relative_return, days=n),
        )
        for n in (1, 5, 20, 60)
    ),
    Feature(
        "beat_market_share_20d",
        "market",
        "share of 20 days on which the return beat the market's",
        20,
        "0 to 1",
        lambda b: b.mean("beat", 20),
    ),
    Feature(
        "info_ratio_60d",
        "market",
        "mean / standard deviation of 60 daily returns less the market's",
        60,
        "standard deviations",
        partial(information_ratio, window=60),
    ),
    Feature(
        "down_capture_60d",
        "market",
        "mean return / mean market return on the falling days of 60",
        60,
        "ratio",
        partial(down_capture, window=60),
    ),
)

BETA = (
    *(
        Feature(
            f"beta_{n}d",
            "beta",
            f"slope of {n} daily returns on the market's",
            n,
            "ratio",
            partial(beta, window=n),
        )
        for n in (60, 120)
    ),
    *(
        Feature(
            f"market_corr_{n}d",
            "beta",
            f"correlation of {n} daily returns with the market's",
            n,
            "-1 to 1",
            partial(market_correlation, window=n),
        )
        for n in (60, 120)
    ),
    *(
        Feature(
            f"idio_vol_{n}d",
            "beta",
            f"standard deviation of {n} daily returns' residuals on the market",
            n,
            "ratio a day",
            partial(residual_volatility, window=n),
        )
        for n in (60, 120)
    ),
    *(
        Feature(
            f"idio_ret_{n}d",
            "beta",
            f"sum of {n} days' return - beta_60d x market return",
            60,
            "ratio",
            partial(residual_return, days=n, window=60),
        )
        for n in (1, 5, 20)
    ),
    Feature(
        "lag_beta_60d",
        "beta",
        "slope of 60 daily returns on the market's of the day before",
        61,
        "ratio",
        partial(beta, window=60, lag=1),
    ),
)

_RANKED = (("ret_1d", 1), ("ret_5d", 5), ("ret_20d", 20), ("vol_20d", 20))

SECTOR = (
    *(
        Feature(
            f"sector_rel_ret_{n}d",
            "sector",
            f"ret_{n}d - its mean over the sector that day",
            n,
            "ratio",
            partial(sector_relative, name=f"ret_{n}d"),
            "day",
        )
        for n in (1, 5, 20)
    ),
    *(
        Feature(
            f"sector_rank_{name}",
            "sector",
            f"(rank of {name} within the sector that day - 0.5) / size",
            days,
            "0 to 1",
            partial(sector_rank, name=name),
            "day",
        )
        for name, days in _RANKED
    ),
)

CALENDAR = (
    Feature(
        "weekday",
        "calendar",
        "day of the week, Monday 0",
        0,
        "0 to 6",
        lambda d: d.by_day(d.dates.dt.weekday() - 1),
        "day",
    ),
    Feature(
        "month_sin",
        "calendar",
        "sin(2 pi (month - 1) / 12)",
        0,
        "-1 to 1",
        partial(month_angle, wave=np.sin),
        "day",
    ),
    Feature(
        "month_cos",
        "calendar",
        "cos(2 pi (month - 1) / 12)",
        0,
        "-1 to 1",
        partial(month_angle, wave=np.cos),
        "day",
    ),
    Feature(
        "turn_of_month",
        "calendar",
        "1 on the first and last 3 calendar days of a month, else 0",
        0,
        "0 or 1",
        turn_of_month,
        "day",
    ),
)

FEATURES = (*MARKET, *SECTOR, *BETA, *CALENDAR)

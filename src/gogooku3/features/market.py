"""A stock against its market, its sector and the calendar: relative strength, beta, idiosyncratic parts.

The market is the index where the prices have `index_close`, else the mean of all stocks' clipped daily
returns; the sector is the `sector` column, else all stocks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.features.feature import Array, chained_windows, family, return_window, row
from gogooku3.features.price_grid import PairMoments, StockBlock, cached, nonzero, pair_moments
from gogooku3.features.price_volume import past_return
from gogooku3.features.rolling import needed_days, rolling_sum, shift
from gogooku3.features.within_day import group_quantile, less_group_mean

TURN_DAYS = 3
"""Days on either side of a month's end that count as the turn of the month."""


def market_past_return(block: StockBlock, days: int) -> Array:
    """The market's compounded return over `days` days; NaN when more than a third of them is unknown."""
    log_return = np.log1p(block.market)
    known = np.isfinite(log_return)
    total = rolling_sum(np.where(known, log_return, 0.0), days)
    enough = rolling_sum(known.astype(np.float64), days) >= needed_days(days)
    return np.where(enough, np.expm1(total), np.nan)


@cached
def with_market(block: StockBlock, window: int, lag: int) -> PairMoments:
    """Moments of the stock's daily returns with the market's of `lag` days before."""
    return pair_moments(block.clipped, shift(block.market, lag), window)


def beta(block: StockBlock, window: int, lag: int = 0) -> Array:
    """Slope of the stock's daily returns on the market's of `lag` days before."""
    return with_market(block, window, lag).slope


def residual_volatility(block: StockBlock, window: int) -> Array:
    """Standard deviation of what beta leaves unexplained."""
    moments = with_market(block, window, 0)
    return np.sqrt(np.maximum(moments.var_x - moments.slope * moments.covariance, 0.0))


def residual_return(block: StockBlock, days: int, window: int) -> Array:
    """Sum over `days` days of return - beta x market return, with today's beta of `window` days."""
    both = np.isfinite(block.excess)
    own = rolling_sum(np.where(both, block.clipped, 0.0), days)
    market = rolling_sum(np.where(both, block.market, 0.0), days)
    # Both sums cover the same days: those on which stock and market returns are known.
    return own - beta(block, window) * market + 0.0 * block.count("excess", days)


def down_capture(block: StockBlock, window: int) -> Array:
    """Mean return on days the market fell over the market's mean then; NaN with fewer than 5 such days."""
    falling = np.isfinite(block.clipped) & (block.market < 0)
    own = rolling_sum(np.where(falling, block.clipped, 0.0), window)
    market = rolling_sum(np.where(falling, block.market, 0.0), window)
    enough = rolling_sum(falling.astype(np.float64), window) >= 5
    return np.where(enough, own / nonzero(market), np.nan) + 0.0 * block.count("excess", window)


@dataclass(frozen=True)
class DayView:
    """The input of features that compare stocks within a day: features already computed, sectors, calendar.

    `values` are Float32 features by name, `group` numbers sectors (-1 unknown); all are `[days, stocks]`. The
    last trading days of `calendar` are those days; the earlier ones are history.
    """

    calendar: pl.Series
    group: NDArray[np.int32]
    values: Mapping[str, NDArray[np.float32]]

    def by_day(self, values: pl.Series) -> Array:
        """One value per trading day of the calendar as `[days, stocks]`, the same for every stock."""
        of_days = values.cast(pl.Float64).to_numpy()[-len(self.group) :]
        return np.broadcast_to(of_days[:, None], self.group.shape)


def turn_of_month(day: DayView) -> Array:
    """1 on the first `TURN_DAYS` trading days and the last `TURN_DAYS` weekdays of a month, else 0.

    The past trading days are counted; of the days ahead only the weekdays are known, not the holidays. In the
    month in which the calendar begins, weekdays are counted on its first days, too.
    """
    dates = day.calendar.to_numpy().astype("M8[D]")
    month, following = dates.astype("M8[M]"), dates.astype("M8[M]") + 1
    first = np.busday_count(month.astype("M8[D]"), dates) < TURN_DAYS
    first[month != month[0]] = True
    first[TURN_DAYS:] = month[TURN_DAYS:] != month[:-TURN_DAYS]
    last = np.busday_count(dates + 1, following.astype("M8[D]")) < TURN_DAYS
    return day.by_day(pl.Series(first | last))


def month_angle(day: DayView, wave: Callable[[Array], Array]) -> Array:
    """The month's angle on the circle of a year, as its sine or cosine."""
    month = day.calendar.dt.month().cast(pl.Float64).to_numpy()
    return day.by_day(pl.Series(wave(2 * math.pi * (month - 1) / 12)))


# Two lines per row: what the user reads, then how it is computed.
# fmt: off
MARKET = family(
    "market",
    row("market_rel_ret_{}d", "ret_{0}d - the market's {0}-day return, compounded", "ratio",
        lambda b, n: past_return(b, n) - market_past_return(b, n), return_window, 1, 5, 20, 60),
    row("beat_market_share_{}d", "share of {} days on which the clipped return beat the market's", "0 to 1",
        lambda b, n: b.mean("beat", n), return_window, 20),
    row("info_ratio_{}d", "mean / standard deviation of {} clipped daily returns less the market's",
        "standard deviations",
        lambda b, n: b.mean("excess", n) / nonzero(b.std("excess", n)), return_window, 60),
    row("down_capture_{}d",
        "mean clipped return / mean market return on the days of {} on which the market fell; unknown "
        "with fewer than 5", "ratio", down_capture, return_window, 60),
)

SECTOR = family(
    "sector",
    row("sector_rel_ret_{}d", "ret_{}d - its sector mean that day", "ratio",
        lambda day, n: less_group_mean(day.values[f"ret_{n}d"], day.group), return_window, 1, 5, 20),
    row("sector_rank_ret_{}d", "(average rank of ret_{}d within the sector that day - 0.5) / size", "0 to 1",
        lambda day, n: group_quantile(day.values[f"ret_{n}d"], day.group), return_window, 1, 5, 20),
    row("sector_rank_vol_{}d", "(average rank of vol_{}d within the sector that day - 0.5) / size", "0 to 1",
        lambda day, n: group_quantile(day.values[f"vol_{n}d"], day.group), return_window, 20),
    stage="day",
)

BETA = family(
    "beta",
    row("beta_{}d",
        "slope of {} clipped daily returns on the market's", "ratio", beta, return_window, 60, 120),
    row("market_corr_{}d", "correlation of {} clipped daily returns with the market's", "-1 to 1",
        lambda b, n: with_market(b, n, 0).correlation, return_window, 60, 120),
    row("idio_vol_{}d",
        "(population) standard deviation of the residuals of {} clipped daily returns on the market's",
        "ratio per day", residual_volatility, return_window, 60, 120),
    row("idio_ret_{}d", "{0}-day sum of clipped return - today's beta_{1}d x market return", "ratio",
        residual_return, return_window, (1, 60), (5, 60), (20, 60)),
    row("lag_beta_{}d", "slope of {} clipped daily returns on the market's of the day before", "ratio",
        beta, chained_windows, (60, 1)),
)

CALENDAR = family(
    "calendar",
    row("weekday", "day of the week, Monday 0", "0 to 6",
        lambda day: day.by_day(day.calendar.dt.weekday() - 1), 0),
    row("month_sin", "sin(2 pi (month - 1) / 12)", "-1 to 1", lambda day: month_angle(day, np.sin), 0),
    row("month_cos", "cos(2 pi (month - 1) / 12)", "-1 to 1", lambda day: month_angle(day, np.cos), 0),
    row("turn_of_month", "1 on the first 3 trading days and the last 3 weekdays of a month, else 0; holidays "
        "ahead are unknown", "0 or 1", turn_of_month, TURN_DAYS),
    stage="day",
)
# fmt: on

FEATURES = (*MARKET, *SECTOR, *BETA, *CALENDAR)

"""Profit and loss of a prediction table: quantile books, overlapping for horizons above a day.

Weights are decided at the close of `date`. Entered there, they earn from that close to the next one; entered
at the next open, from that open on. Every horizon is paid in the same coin, one-day returns, so a 20-day
book's profit is spread over its 20 days.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.evaluation.daily_ic import GROUP
from gogooku3.evaluation.market import RETURN, UNKNOWN_SECTOR, Market
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.portfolio_weights import (
    Floats,
    check_quantile,
    long_weights,
    overlapping_books,
    quantile_weights,
    turnover,
)
from gogooku3.schema import CODE, DATE, ONE_DAY, ONE_DAY_RETURN

Side = Literal["long_short", "long_only"]
Entry = Literal["close", "open"]

FITS = 0.95
"""Share of a day's trading that must fit into the market for the day's capacity."""
_HELD = 1e-12


def one_day_returns(table: pl.DataFrame) -> pl.DataFrame:
    """Every stock's return from the close of `date` to the next one.

    A table's 1-day targets or, without horizon 1, its column `return_1d`.

    Args:
        table: prediction table; only its rows with horizon 1 are read, where it has any.

    Returns:
        `date, code, return`, one row a stock and day; null where unknown.

    Raises:
        DataError: the table has neither rows with horizon 1 nor the column.
    """
    rows, column = table.filter(pl.col("horizon") == ONE_DAY), "target"
    if rows.is_empty() and ONE_DAY_RETURN in table.columns:
        rows, column = table, ONE_DAY_RETURN
    if rows.is_empty():
        raise DataError(
            "a portfolio's daily profit needs one-day returns: the prediction table has the horizons "
            f"{choices(sorted(table['horizon'].unique()))} and not 1; add horizon 1 or the column "
            f"{ONE_DAY_RETURN}, or pass daily_returns with the columns {DATE}, {CODE}, {RETURN}"
        )
    target = pl.col(column).cast(pl.Float64).fill_nan(None)
    # The models of a table share their targets, so whichever is known will do.
    return rows.lazy().group_by(DATE, CODE).agg(target.max().alias(RETURN)).sort(DATE, CODE).collect()


def portfolio_returns(
    table: pl.DataFrame,
    quantile: float = 0.2,
    cost_bps: float = 10.0,
    daily_returns: pl.DataFrame | None = None,
    *,
    side: Side = "long_short",
    entry: Entry = "close",
    borrow_rate: float = 0.0,
    volume_share: float = 0.01,
    prices: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Daily profit of holding each model's and horizon's books, gross and net of costs.

    A horizon of `h` days is held as `h` overlapping books: each day `1 / h` of the capital goes into
    that day's top `quantile` (and short: bottom), equal weights, for `h` days. Folds stand alone: books
    start empty on a fold's first day, so its first `h - 1` days are invested in part. Opening the
    books is charged, closing the last ones is not. The capital stays the same: a day's profit is put aside,
    and the weights' drift is set right at no cost.

    A held stock without a known return earns 0 and is counted in `n_unknown`. A day on which no
    stock's return is known (the last one of a market) has no row.

    Args:
        table: prediction table, in any order; every prediction is finite.
        quantile: each leg's share of the day's stocks, in (0, 0.5].
        cost_bps: cost of a unit of capital traded one way, in basis points.
        daily_returns: `date, code, return`, the return from the close of `date` to the next trading day's;
            null: `one_day_returns` of the table. Its dates are the trading calendar.
        side: `long_short`: one unit of capital long, one short; `long_only`: the long leg alone.
        entry: `close`: traded at the close of the prediction's day; `open`: at the next opening price.
        borrow_rate: what lending fees cost, a fraction of the capital short a year.
        volume_share: share of a stock's mean traded value that a trade may take, for `capacity`.
        prices: `date, code, open, close`, and where known `volume, sector, known_market_cap`; needed for
            `entry="open"`.

    Returns:
        `model, horizon, fold, date, gross, net, turnover, n_held, n_unknown`, sorted by the first four.
        Returns are fractions of the capital, which stands long once and (long-short) short once; `turnover`
        is `sum |w_t - w_(t-1)|`. With prices also, null where they don't tell: `capacity`, the capital, in
        the prices' currency, at which 95 % of what is traded that day stays below `volume_share` of a stock's
        mean traded value; `size_tilt`, the held stocks' mean rank by market value (`known_market_cap`), or
        by traded value without it, long minus short, each from 0 to 1; `sector_tilt`, the sum over sectors of
        |net weight|, 0 where every sector is neutral.

    Raises:
        DataError: no one-day returns in the table and none given, or malformed ones, or malformed prices.
        ConfigError: `quantile` is not in (0, 0.5], a negative cost or rate, or the open without prices.

    >>> from datetime import date
    >>> table = pl.DataFrame({
    ...     "date": [date(2024, 1, 4)] * 2, "code": ["A", "B"], "fold": 0, "model": "m", "horizon": 1,
    ...     "prediction": [0.5, -0.5], "target": [0.03, 0.01],
    ... })
    >>> portfolio_returns(table).select(pl.col("gross", "net").round(4), "turnover").row(0)
    (0.02, 0.018, 2.0)
    """
    check_quantile(quantile)
    if not cost_bps >= 0.0:
        raise ConfigError(f"cost_bps is {cost_bps}, but a cost is 0 or more basis points; try 10")
    if not borrow_rate >= 0.0:
        raise ConfigError(f"borrow_rate is {borrow_rate}, but a fee is 0 or more a year; try 0.01")
    if entry == "open" and prices is None:
        raise ConfigError("entry at the open needs opening prices; give prices, or enter at the close")
    market = Market(one_day_returns(table) if daily_returns is None else daily_returns, prices)
    located = market.locate(table.select(*GROUP, DATE, CODE, "prediction"))
    frames = []
    for rows in _groups(located):
        first, held = _holdings(rows, len(market.codes), quantile, side)
        span = slice(first, first + len(held))
        profit = _profit(held, market, span, entry, cost_bps / 1e4, borrow_rate)
        tilts = _tilts(held, market, span, volume_share) if prices is not None else {}
        names = [pl.lit(rows[name][0], rows.schema[name]).alias(name) for name in GROUP]
        series = pl.DataFrame({DATE: market.dates[DATE][span], **profit, **tilts}, nan_to_null=True)
        known = pl.Series(np.isfinite(market.returns[span]).any(axis=1))
        frames.append(series.filter(known).select(*names, pl.all()))
    return pl.concat(frames) if frames else pl.DataFrame(schema=_schema(table, prices is not None))


def _groups(located: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of each model, horizon and fold, in their order."""
    ordered = located.sort(*GROUP)
    start = 0
    for length in ordered.group_by(*GROUP, maintain_order=True).len()["len"]:
        yield ordered[start : start + length]
        start += length


def _holdings(rows: pl.DataFrame, n_stocks: int, quantile: float, side: Side) -> tuple[int, Floats]:
    """First day and weights `[days, stocks]` of one model and horizon in one fold, whose rows these are."""
    day, stock = rows["day"].to_numpy(), rows["stock"].to_numpy()
    first, last = int(day.min()), int(day.max())
    scores = np.full((last - first + 1, n_stocks), np.nan)
    scores[day - first, stock] = rows["prediction"].cast(pl.Float64).to_numpy()
    weights = long_weights(scores, quantile) if side == "long_only" else quantile_weights(scores, quantile)
    return first, overlapping_books(weights, int(rows["horizon"][0]))


def _profit(
    held: Floats, market: Market, span: slice, entry: Entry, cost: float, borrow_rate: float
) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]:
    """A day's gross and net return, turnover and counts; `cost` is a fraction of what is traded."""
    outcomes = market.returns[span]
    if entry == "open" and market.night is not None and market.daytime is not None:
        # The night belongs to what was bought at the open before, as the day has left it, the day to what is
        # bought at its open.
        daytime = np.nan_to_num(market.daytime[span])
        before = np.vstack([np.zeros_like(held[:1]), (held * (1.0 + daytime))[:-1]])
        gross = _earned(before, market.night[span]) + _earned(held, daytime)
    else:
        gross = _earned(held, outcomes)
    traded = turnover(held)
    lent = np.maximum(-held, 0.0).sum(axis=1) * borrow_rate / PERIODS_PER_YEAR
    is_held = np.abs(held) > _HELD
    return {
        "gross": gross,
        "net": gross - traded * cost - lent,
        "turnover": traded,
        "n_held": is_held.sum(axis=1),
        "n_unknown": (is_held & ~np.isfinite(outcomes)).sum(axis=1),
    }


def _earned(weights: Floats, returns: Floats) -> Floats:
    total: Floats = (weights * np.where(np.isfinite(returns), returns, 0.0)).sum(axis=1)
    return total


def _tilts(held: Floats, market: Market, span: slice, volume_share: float) -> dict[str, Floats]:
    """What the books lean on, and how much capital they can carry; NaN where prices don't tell."""
    nothing: Floats = np.full(len(held), np.nan)
    capacity = size_tilt = sector_tilt = nothing
    if market.value is not None:
        capacity = _capacity(held, market.value[span], volume_share)
    if market.size is not None:
        legs = [np.maximum(held, 0.0), np.maximum(-held, 0.0)]
        long, short = (_mean_rank(leg, market.size[span]) for leg in legs)
        # Without a short leg the tilt is against the middle of the market.
        size_tilt = long - np.where(legs[1].any(axis=1), short, 0.5)
    if market.sector is not None:
        # A stock without a sector takes the last column, which is cut off.
        members = np.eye(len(market.sectors) + 1)[market.sector][:, :UNKNOWN_SECTOR]
        sector_tilt = np.abs(held @ members).sum(axis=1)
    return {"capacity": capacity, "size_tilt": size_tilt, "sector_tilt": sector_tilt}


def _mean_rank(leg: Floats, size: Floats) -> Floats:
    """Mean size of a leg's stocks by day, where any is known."""
    known = np.where(np.isfinite(size), leg, 0.0)
    total = known.sum(axis=1)
    weighted = (known * np.nan_to_num(size)).sum(axis=1)
    mean: Floats = np.divide(weighted, total, out=np.full(len(leg), np.nan), where=total > _HELD)
    return mean


def _capacity(held: Floats, value: Floats, volume_share: float) -> Floats:
    """The capital at which `FITS` of each day's trading, by weight, stays below its share of the value."""
    traded = np.abs(np.diff(held, axis=0, prepend=np.zeros_like(held[:1])))
    result: Floats = np.full(len(held), np.nan)
    for day in range(len(held)):
        moved = (traded[day] > _HELD) & np.isfinite(value[day])
        if moved.any():
            weight = traded[day][moved]
            limits = value[day][moved] * volume_share / weight
            order = np.argsort(limits)
            beyond = np.cumsum(weight[order]) / weight.sum()
            result[day] = limits[order][np.searchsorted(beyond, 1.0 - FITS + 1e-12)]
    return result


def _schema(table: pl.DataFrame, priced: bool) -> dict[str, pl.DataType]:
    """Columns of an empty result."""
    names = {name: table.schema[name] for name in (*GROUP, DATE)}
    floats = {name: pl.Float64() for name in ("gross", "net", "turnover")}
    tilts = {name: pl.Float64() for name in ("capacity", "size_tilt", "sector_tilt")} if priced else {}
    return {**names, **floats, "n_held": pl.Int64(), "n_unknown": pl.Int64(), **tilts}

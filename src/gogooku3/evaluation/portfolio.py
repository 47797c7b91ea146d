"""Daily returns of quantile portfolios from a prediction table, overlapping for horizons above one day.

Weights are decided at the close of `date` and earn one-day returns from that close, or from the next open.
"""

from typing import Any, Literal

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
    overlapping_weights,
    quantile_weights,
    turnover,
)
from gogooku3.schema import CODE, DATE, ONE_DAY, ONE_DAY_RETURN

Side = Literal["long_short", "long_only"]
Entry = Literal["close", "open"]

CAPACITY_SHARE = 0.95
"""Share of a day's trading that must stay within `volume_share` at the day's capacity."""
_MIN_WEIGHT = 1e-12


def one_day_returns(table: pl.DataFrame) -> pl.DataFrame:
    """One-day returns from a prediction table's targets at horizon 1, else from its column `return_1d`.

    Returns:
        `date, code, return`, one row per stock and day: the return from the close of `date` to the next
        close; null if unknown.

    Raises:
        DataError: the table has neither.
    """
    rows, column = table.filter(pl.col("horizon") == ONE_DAY), "target"
    if rows.is_empty() and ONE_DAY_RETURN in table.columns:
        rows, column = table, ONE_DAY_RETURN
    if rows.is_empty():
        raise DataError(
            "daily portfolio returns need one-day returns: the prediction table has the horizons "
            f"{choices(sorted(table['horizon'].unique()))} and not 1; add horizon 1 or the column "
            f"{ONE_DAY_RETURN}, or pass daily_returns with the columns {DATE}, {CODE}, {RETURN}"
        )
    target = pl.col(column).cast(pl.Float64).fill_nan(None)
    # Models share their targets, so any known one is right.
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
    """Daily returns of each model's portfolio at each horizon, gross and net of costs.

    A horizon of `h` days is held as `h` overlapping books: each day, `1 / h` of the capital is put for `h`
    days into that day's top `quantile` (short: bottom), equally weighted. Every fold starts without
    positions, so its first `h - 1` days are partly invested. Opening positions costs, closing them at a
    fold's end does not. Profits are not reinvested, and weights are rebalanced for free.

    A held stock without a known return earns 0 and is counted in `n_unknown`. A day without any known return
    (the last one of a market) has no row.

    Args:
        table: prediction table with finite predictions, in any order.
        quantile: each leg's share of the day's stocks, in (0, 0.5].
        cost_bps: one-way trading cost, in basis points of the capital traded.
        daily_returns: `date, code, return`, the return from the close of `date` to the close of the next
            trading day; null: `one_day_returns` of the table. Its dates are the trading calendar.
        side: `long_short`: one unit of capital long, one short; `long_only`: only the long leg.
        entry: `close`: trade at the close of the prediction's day; `open`: at the next opening price.
        borrow_rate: annual lending fee, as a fraction of the capital short.
        volume_share: largest share of a stock's mean traded value in one trade, for `capacity`.
        prices: `date, code, open, close`, and optionally `volume, sector, known_market_cap`; needed for
            `entry="open"`.

    Returns:
        `model, horizon, fold, date, gross, net, turnover, n_held, n_unknown`, sorted by the first four.
        Returns are fractions of the capital of one leg; `turnover` is `sum |w_t - w_(t-1)|`. With prices
        also, null if unknown: `capacity`, the capital, in the prices' currency, at which 95 % of the day's
        trading stays below `volume_share` of a stock's mean traded value; `size_tilt`, the mean rank (0 to 1)
        of the stocks held by market value (`known_market_cap`), or by traded value without it, long minus
        short; `sector_tilt`, the sum over sectors of |net weight|, 0 if every sector is neutral.

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
        raise ConfigError(f"cost_bps is {cost_bps}, but must be 0 or more basis points; try 10")
    if not borrow_rate >= 0.0:
        raise ConfigError(f"borrow_rate is {borrow_rate}, but must be 0 or more per year; try 0.01")
    if entry == "open" and prices is None:
        raise ConfigError("entry at the open needs opening prices; give prices, or enter at the close")
    market = Market(one_day_returns(table) if daily_returns is None else daily_returns, prices)
    located = market.locate(table.select(*GROUP, DATE, CODE, "prediction"))
    frames = []
    for _, rows in located.sort(*GROUP).group_by(*GROUP, maintain_order=True):
        first, held = _holdings(rows, len(market.codes), quantile, side)
        days = slice(first, first + len(held))
        returns = _returns(held, market, days, entry, cost_bps / 1e4, borrow_rate)
        exposure = _exposure(held, market, days, volume_share) if prices is not None else {}
        frame = pl.DataFrame({DATE: market.dates[DATE][days], **returns, **exposure}, nan_to_null=True)
        known = pl.Series(np.isfinite(market.returns[days]).any(axis=1))
        frames.append(rows[:1].select(*GROUP).join(frame.filter(known), how="cross"))
    if frames:
        return pl.concat(frames)
    floats = dict.fromkeys(("gross", "net", "turnover"), pl.Float64())
    counts = dict.fromkeys(("n_held", "n_unknown"), pl.Int64())
    tilts = dict.fromkeys(
        ("capacity", "size_tilt", "sector_tilt") if prices is not None else (), pl.Float64()
    )
    group = {name: table.schema[name] for name in (*GROUP, DATE)}
    return pl.DataFrame(schema={**group, **floats, **counts, **tilts})


def _holdings(rows: pl.DataFrame, n_stocks: int, quantile: float, side: Side) -> tuple[int, Floats]:
    """First day and weights `[days, stocks]` of one model, horizon and fold."""
    day, stock = rows["day"].to_numpy(), rows["stock"].to_numpy()
    first, last = int(day.min()), int(day.max())
    scores = np.full((last - first + 1, n_stocks), np.nan)
    scores[day - first, stock] = rows["prediction"].cast(pl.Float64).to_numpy()
    weights = long_weights(scores, quantile) if side == "long_only" else quantile_weights(scores, quantile)
    return first, overlapping_weights(weights, int(rows["horizon"][0]))


def _returns(
    held: Floats, market: Market, days: slice, entry: Entry, cost: float, borrow_rate: float
) -> dict[str, npt.NDArray[Any]]:
    """Daily gross and net returns, turnover and counts; `cost` is a fraction of the capital traded."""
    outcomes = market.returns[days]
    if entry == "open" and market.night is not None and market.daytime is not None:
        # Positions from the previous open, grown by that day, earn the night; new positions earn the day.
        daytime = np.nan_to_num(market.daytime[days])
        before = np.vstack([np.zeros_like(held[:1]), (held * (1.0 + daytime))[:-1]])
        gross = _earned(before, market.night[days]) + _earned(held, daytime)
    else:
        gross = _earned(held, outcomes)
    traded = turnover(held)
    lending_fee = np.maximum(-held, 0.0).sum(axis=1) * borrow_rate / PERIODS_PER_YEAR
    is_held = np.abs(held) > _MIN_WEIGHT
    return {
        "gross": gross,
        "net": gross - traded * cost - lending_fee,
        "turnover": traded,
        "n_held": is_held.sum(axis=1),
        "n_unknown": (is_held & ~np.isfinite(outcomes)).sum(axis=1),
    }


def _earned(weights: Floats, returns: Floats) -> Floats:
    total: Floats = (weights * np.where(np.isfinite(returns), returns, 0.0)).sum(axis=1)
    return total


def _exposure(held: Floats, market: Market, days: slice, volume_share: float) -> dict[str, Floats]:
    """Daily capacity, size tilt and sector tilt; NaN if unknown."""
    capacity = size_tilt = sector_tilt = np.full(len(held), np.nan)
    if market.value is not None:
        capacity = _capacity(held, market.value[days], volume_share)
    if market.size is not None:
        legs = [np.maximum(held, 0.0), np.maximum(-held, 0.0)]
        long, short = (_mean_rank(leg, market.size[days]) for leg in legs)
        # Without a short leg, compare with the middle of the market.
        size_tilt = long - np.where(legs[1].any(axis=1), short, 0.5)
    if market.sector is not None:
        # A stock without a sector has the last column, which is cut off.
        members = np.eye(len(market.sectors) + 1)[market.sector][:, :UNKNOWN_SECTOR]
        sector_tilt = np.abs(held @ members).sum(axis=1)
    return {"capacity": capacity, "size_tilt": size_tilt, "sector_tilt": sector_tilt}


def _mean_rank(leg: Floats, size: Floats) -> Floats:
    """Daily mean size of a leg's stocks with a known size."""
    known = np.where(np.isfinite(size), leg, 0.0)
    total, weighted = known.sum(axis=1), (known * np.nan_to_num(size)).sum(axis=1)
    mean: Floats = np.divide(weighted, total, out=np.full(len(leg), np.nan), where=total > _MIN_WEIGHT)
    return mean


def _capacity(held: Floats, value: Floats, volume_share: float) -> Floats:
    """Daily capital at which `CAPACITY_SHARE` of the trading stays below `volume_share` of the value."""
    traded = np.abs(np.diff(held, axis=0, prepend=np.zeros_like(held[:1])))
    result: Floats = np.full(len(held), np.nan)
    for day in range(len(held)):
        is_traded = (traded[day] > _MIN_WEIGHT) & np.isfinite(value[day])
        if is_traded.any():
            weight = traded[day][is_traded]
            limits = value[day][is_traded] * volume_share / weight
            order = np.argsort(limits)
            over_limit = np.cumsum(weight[order]) / weight.sum()
            result[day] = limits[order][np.searchsorted(over_limit, 1.0 - CAPACITY_SHARE + 1e-12)]
    return result

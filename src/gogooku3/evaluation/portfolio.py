"""Daily returns of quantile portfolios from a prediction table, overlapping for horizons above one day.

Weights are decided at the close of `date` and earn one-day returns from that close, or from the next open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.evaluation.daily_ic import GROUP
from gogooku3.evaluation.market import RETURN, UNKNOWN_SECTOR, Market
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.portfolio_weights import (
    Floats,
    check_quantile,
    drifted_weights,
    grown_weights,
    long_weights,
    overlapping_weights,
    quantile_weights,
)
from gogooku3.evaluation.spacing import calendar_spacing, table_spacing
from gogooku3.schema import CODE, DATE, ONE_DAY, ONE_DAY_RETURN

Side = Literal["long_short", "long_only"]
Entry = Literal["close", "open"]

CAPACITY_SHARE = 0.95
"""Share of a day's trading that must stay within `volume_share` at the day's capacity."""
_MIN_WEIGHT = 1e-12


@dataclass(frozen=True)
class Trading:
    """Settings of `portfolio_returns`, which documents them."""

    cost_bps: float = 10.0
    quantile: float = 0.2
    entry: Entry = "close"
    borrow_rate: float = 0.0
    volume_share: float = 0.01
    delisting_return: float = 0.0

    def check(self, has_prices: bool) -> None:
        """Raise a ConfigError for a setting out of range, or the open without prices."""
        check_quantile(self.quantile)
        if not self.cost_bps >= 0.0:
            raise ConfigError(f"cost_bps is {self.cost_bps}, but must be 0 or more basis points; try 10")
        if not self.borrow_rate >= 0.0:
            raise ConfigError(f"borrow_rate is {self.borrow_rate}, but must be 0 or more per year; try 0.01")
        if not self.delisting_return >= -1.0:
            raise ConfigError(
                f"delisting_return is {self.delisting_return}, but a stock can't lose more than everything; "
                "-1 is a total loss"
            )
        if self.entry == "open" and not has_prices:
            raise ConfigError("entry at the open needs opening prices; give prices, or enter at the close")


@dataclass(frozen=True)
class Holding:
    """Returns that the portfolios of one horizon earn."""

    market: Market
    periods: int
    """Periods a book is held."""
    period_days: int
    """Trading days of a period: 1, or the spacing of a table that is not daily and has no daily returns."""


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
            f"{ONE_DAY_RETURN}, or pass daily_returns with the columns {DATE}, {CODE}, {RETURN}, or prices"
        )
    return _returns_of(rows, column)


def holdings(
    table: pl.DataFrame,
    daily_returns: pl.DataFrame | None = None,
    prices: pl.DataFrame | None = None,
    delisting_return: float = 0.0,
) -> dict[int, Holding]:
    """The returns that the portfolios of each horizon earn, and for how many periods they are held.

    Daily returns come from `daily_returns`, else from the table's one-day returns, else from prices. A table
    that is not daily has no one-day returns between its dates: with prices, its books earn the prices' daily
    returns. Without, a period is the spacing of its dates: books up to that horizon earn their own target in
    the period, and longer ones the targets of the horizon that equals the spacing.

    Args:
        table, daily_returns, prices, delisting_return: as for `portfolio_returns`.

    Raises:
        DataError: no source of returns for a horizon, irregular dates, or malformed prices.
    """
    horizons = sorted(int(each) for each in table["horizon"].unique())
    if daily_returns is None and prices is None:
        spacing = table_spacing(table[DATE])
        if spacing > 1:
            return {each: _of_period(table, each, spacing) for each in horizons}
    if daily_returns is None:
        has_returns = ONE_DAY in horizons or ONE_DAY_RETURN in table.columns
        if prices is None or (has_returns and _is_daily(table[DATE], prices[DATE])):
            daily_returns = one_day_returns(table)
        else:
            daily_returns = _all_days(table, prices)
    market = Market(daily_returns, prices, delisting_return)
    return {each: Holding(market, each, 1) for each in horizons}


def _of_period(table: pl.DataFrame, horizon: int, spacing: int) -> Holding:
    """Holding of a table that is not daily, with its targets as returns of a period."""
    source = min(horizon, spacing)
    rows = table.filter(pl.col("horizon") == source)
    if horizon % source or rows.is_empty():
        raise DataError(
            f"the prediction table has a date every {spacing} trading days, so portfolios of {horizon} days "
            f"need targets of {spacing} days; give daily prices (`evaluate --prices`), or predictions for "
            f"{spacing} days"
        )
    return Holding(Market(_returns_of(rows, "target")), horizon // source, spacing)


def _returns_of(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    target = pl.col(column).cast(pl.Float64).fill_nan(None)
    # Models share their targets, so any known one is right.
    return rows.lazy().group_by(DATE, CODE).agg(target.max().alias(RETURN)).sort(DATE, CODE).collect()


def _all_days(table: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Days of the prices within the table's dates, and the table's stocks, with unknown returns."""
    inside = pl.col(DATE).is_between(table[DATE].min(), table[DATE].max())
    own = table.select(DATE, CODE).unique()
    days = prices.filter(inside).select(DATE, pl.lit(table[CODE][0]).alias(CODE)).unique().cast(own.schema)
    return pl.concat([own, days]).unique().with_columns(pl.lit(None, pl.Float64).alias(RETURN))


def _is_daily(dates: pl.Series, calendar: pl.Series) -> bool:
    days = calendar.unique().sort().search_sorted(dates.unique().sort())
    return calendar_spacing(days.to_numpy()) == 1


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
    delisting_return: float = 0.0,
) -> pl.DataFrame:
    """Daily returns of each model's portfolio at each horizon, gross and net of costs.

    A horizon of `h` days is held as `h` overlapping books: each day, `1 / h` of the capital is put for `h`
    days into that day's top `quantile` (short: bottom), equally weighted. Books carry over from fold to fold;
    the first `h - 1` days of the first fold are partly invested. Weights are restored every day, and trading
    them back from where returns moved them is part of the turnover. Opening positions costs, closing them
    after the last day does not.

    With prices or complete daily returns (see `Market`), a halted stock earns its whole move on the day it
    trades again, and a stock that never does earns `delisting_return`. Otherwise a held stock without a
    known return earns 0 and is counted in `n_unknown`. A day without any known return (the last one of a
    market) has no row.

    Args:
        table: prediction table with finite predictions, in any order.
        quantile: each leg's share of the day's stocks, in (0, 0.5].
        cost_bps: one-way trading cost, in basis points of the capital traded.
        daily_returns: `date, code, return`, the return from the close of `date` to the close of the next
            trading day, and optionally `traded`, see `Market`; null: see `holdings`. Its dates are the
            trading calendar.
        side: `long_short`: one unit of capital long, one short; `long_only`: only the long leg.
        entry: `close`: trade at the close of the prediction's day; `open`: at the next opening price.
        borrow_rate: annual lending fee, as a fraction of the capital short.
        volume_share: largest share of a stock's mean traded value in one trade, for `capacity`.
        prices: `date, code, open, close`, and optionally `volume, sector, known_market_cap`; needed for
            `entry="open"`. They give the returns that are not known otherwise.
        delisting_return: of a held stock that never trades again, from its last close: -1 is a total loss.

    Returns:
        `model, horizon, fold, date, gross, net, turnover, n_held, n_unknown, n_delisted, market`, sorted by
        the first four. Returns are fractions of the day's capital of one leg; `turnover` is the capital
        traded, see `portfolio_weights.turnover`; `market` is the mean return of all stocks. With prices also,
        null if unknown: `capacity`, the capital, in the prices' currency, at which 95 % of the day's
        trading stays below `volume_share` of a stock's mean traded value; `size_tilt`, the mean rank (0 to 1)
        of the stocks held by market value (`known_market_cap`), or by traded value without it, long minus
        short; `sector_tilt`, the sum over sectors of |net weight|, 0 if every sector is neutral.

    Raises:
        DataError: no one-day returns, or malformed ones, irregular dates, or malformed prices.
        ConfigError: `quantile` is not in (0, 0.5], a negative cost or rate, or the open without prices.

    >>> from datetime import date
    >>> table = pl.DataFrame({
    ...     "date": [date(2024, 1, 4)] * 2, "code": ["A", "B"], "fold": 0, "model": "m", "horizon": 1,
    ...     "prediction": [0.5, -0.5], "target": [0.03, 0.01],
    ... })
    >>> portfolio_returns(table).select(pl.col("gross", "net").round(4), "turnover").row(0)
    (0.02, 0.018, 2.0)
    """
    trading = Trading(cost_bps, quantile, entry, borrow_rate, volume_share, delisting_return)
    trading.check(prices is not None)
    if table.is_empty():
        return _empty(table, prices is not None)
    held = holdings(table, daily_returns, prices, delisting_return)
    return simulate(table, held, trading, side, has_prices=prices is not None)


def simulate(
    table: pl.DataFrame, held: Mapping[int, Holding], trading: Trading, side: Side, has_prices: bool
) -> pl.DataFrame:
    """`portfolio_returns` with `holdings` that are known; `has_prices` adds the columns that need them."""
    frames = []
    keys = ("model", "horizon")
    for (_, horizon), rows in table.sort(*keys).group_by(*keys, maintain_order=True):
        holding = held[int(horizon)]
        frames.append(_one_portfolio(rows, holding, trading, side, has_prices))
    return pl.concat(frames).sort(*GROUP, DATE)


def _one_portfolio(
    rows: pl.DataFrame, holding: Holding, trading: Trading, side: Side, has_prices: bool
) -> pl.DataFrame:
    """Daily returns of one model and horizon over all folds."""
    market = holding.market
    located = market.locate(rows.select(*GROUP, DATE, CODE, "prediction"))
    day, stock = located["day"].to_numpy(), located["stock"].to_numpy()
    days = slice(int(day.min()), int(day.max()) + 1)
    scores = np.full((days.stop - days.start, len(market.codes)), np.nan)
    scores[day - days.start, stock] = located["prediction"].cast(pl.Float64).to_numpy()
    weigh = long_weights if side == "long_only" else quantile_weights
    traded = None if market.traded is None else market.traded[days]
    spacing = calendar_spacing(np.unique(day))
    held = overlapping_weights(weigh(scores, trading.quantile), holding.periods, spacing, traded)
    if market.gone is not None:
        held[market.gone[days]] = 0.0
    before, gross = _trade(held, market, days, trading.entry)
    if market.gone is not None:
        # A delisted stock is paid out, not sold.
        before[market.gone[days]] = 0.0
    traded_weights = held - before
    is_held = np.abs(held) > _MIN_WEIGHT
    turnover = np.abs(traded_weights).sum(axis=1)
    per_period = holding.period_days / PERIODS_PER_YEAR
    lending_fee = np.maximum(-held, 0.0).sum(axis=1) * trading.borrow_rate * per_period
    frame = pl.DataFrame(
        {
            DATE: market.dates[DATE][days],
            "gross": gross,
            "net": gross - turnover * trading.cost_bps / 1e4 - lending_fee,
            "turnover": turnover,
            "n_held": is_held.sum(axis=1),
            "n_unknown": (is_held & ~np.isfinite(market.returns[days])).sum(axis=1),
            "n_delisted": np.zeros(len(held), dtype=np.int64)
            if market.delisted is None
            else (is_held & market.delisted[days]).sum(axis=1),
            "market": market.average[days],
            **(_exposure(held, traded_weights, market, days, trading.volume_share) if has_prices else {}),
        },
        nan_to_null=True,
    )
    predicted = located.select(*GROUP, DATE).unique(DATE)
    dated = frame.join(predicted, on=DATE, how="left", maintain_order="left")
    # Days without predictions belong to the fold before them; between folds they count if anything is held.
    fold = pl.col("fold")
    within = fold.forward_fill() == fold.backward_fill()
    known = pl.Series(np.isfinite(market.returns[days]).any(axis=1))
    dated = dated.filter(known & dated.select(within | (pl.col("n_held") > 0)).to_series())
    return dated.with_columns(pl.col(GROUP).forward_fill()).select(*GROUP, *frame.columns)


def _trade(held: Floats, market: Market, days: slice, entry: Entry) -> tuple[Floats, Floats]:
    """Weights before each day's trading, `[days, stocks]`, and the gross returns, `[days]`."""
    if entry == "close" or market.night is None or market.daytime is None:
        return drifted_weights(held, market.returns[days]), _earned(held, market.returns[days])
    # Positions from the previous open, grown by that day, earn the night; new positions earn the day.
    night, daytime = np.nan_to_num(market.night[days]), market.daytime[days]
    overnight = drifted_weights(held, daytime)
    gross = (1.0 + _earned(overnight, night)) * (1.0 + _earned(held, daytime)) - 1.0
    return grown_weights(overnight, night), gross


def _earned(weights: Floats, returns: Floats) -> Floats:
    total: Floats = (weights * np.where(np.isfinite(returns), returns, 0.0)).sum(axis=1)
    return total


def _exposure(
    held: Floats, traded: Floats, market: Market, days: slice, volume_share: float
) -> dict[str, Floats]:
    """Daily capacity, size tilt and sector tilt; NaN if unknown."""
    capacity = size_tilt = sector_tilt = np.full(len(held), np.nan)
    if market.value is not None:
        capacity = _capacity(np.abs(traded), market.value[days], volume_share)
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


def _capacity(traded: Floats, value: Floats, volume_share: float) -> Floats:
    """Daily capital at which `CAPACITY_SHARE` of the trading stays below `volume_share` of the value."""
    result: Floats = np.full(len(traded), np.nan)
    for day in range(len(traded)):
        is_traded = (traded[day] > _MIN_WEIGHT) & np.isfinite(value[day])
        if is_traded.any():
            weight = traded[day][is_traded]
            limits = value[day][is_traded] * volume_share / weight
            order = np.argsort(limits)
            over_limit = np.cumsum(weight[order]) / weight.sum()
            result[day] = limits[order][np.searchsorted(over_limit, 1.0 - CAPACITY_SHARE + 1e-12)]
    return result


def _empty(table: pl.DataFrame, has_prices: bool) -> pl.DataFrame:
    floats = dict.fromkeys(("gross", "net", "turnover"), pl.Float64())
    counts = dict.fromkeys(("n_held", "n_unknown", "n_delisted"), pl.Int64())
    priced = ("capacity", "size_tilt", "sector_tilt") if has_prices else ()
    group = {name: table.schema[name] for name in (*GROUP, DATE)}
    more = dict.fromkeys(("market", *priced), pl.Float64())
    return pl.DataFrame(schema={**group, **floats, **counts, **more})

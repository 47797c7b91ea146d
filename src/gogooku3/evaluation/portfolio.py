"""Profit and loss of a prediction table: long-short books, overlapping for horizons above a day.

Weights are taken at the close of `date` and earn from there to the next close. Every horizon is paid
in the same coin, one-day returns, so a 20-day book's profit is spread over its 20 days.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.evaluation.books import Floats, check_quantile, overlapping_books, quantile_weights, turnover
from gogooku3.evaluation.daily import GROUP
from gogooku3.schema import CODE, DATE, require_columns

RETURN = "return"
_HELD = 1e-12


def one_day_returns(table: pl.DataFrame) -> pl.DataFrame:
    """Every stock's return from the close of `date` to the next one, from a table's 1-day targets.

    Args:
        table: prediction table; only its rows with horizon 1 are read.

    Returns:
        `date, code, return`, one row a stock and day; null where unknown.

    Raises:
        DataError: the table has no row with horizon 1.
    """
    rows = table.filter(pl.col("horizon") == 1)
    if rows.is_empty():
        raise DataError(
            "a portfolio's daily profit needs one-day returns: the prediction table has the horizons "
            f"{choices(sorted(table['horizon'].unique()))} and not 1; add horizon 1, or pass "
            f"daily_returns with the columns {DATE}, {CODE}, {RETURN}"
        )
    target = pl.col("target").cast(pl.Float64).fill_nan(None)
    # The models of a table share their targets, so whichever is known will do.
    return rows.lazy().group_by(DATE, CODE).agg(target.max().alias(RETURN)).sort(DATE, CODE).collect()


def portfolio_returns(
    table: pl.DataFrame,
    quantile: float = 0.2,
    cost_bps: float = 10.0,
    daily_returns: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Daily profit of holding each model's and horizon's long-short books, gross and net of costs.

    A horizon of `h` days is held as `h` overlapping books: each day `1 / h` of the capital goes into
    that day's top `quantile` (short: bottom), equal weights, for `h` days. Folds stand alone: books
    start empty on a fold's first day, so its first `h - 1` days are invested in part. Opening the
    books is charged, closing the last ones is not. The weights' drift between two days is ignored.

    A held stock without a known return earns 0 and is counted in `n_unknown`. A day on which no
    stock's return is known (the last one of a market) has no row.

    Args:
        table: prediction table, in any order; every prediction is finite.
        quantile: each leg's share of the day's stocks, in (0, 0.5].
        cost_bps: cost of a unit of capital traded one way, in basis points.
        daily_returns: `date, code, return`, the return from the close of `date` to the next trading day's;
            null: the table's own 1-day targets. Its dates are the trading calendar.

    Returns:
        `model, horizon, fold, date, gross, net, turnover, n_held, n_unknown`, sorted by the first four.
        Returns are fractions of the capital, which stands long once and short once; `turnover` is
        `sum |w_t - w_(t-1)|`.

    Raises:
        DataError: no one-day returns in the table and none given, or malformed ones.
        ConfigError: `quantile` is not in (0, 0.5], or a negative cost.

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
    market = _Market(one_day_returns(table) if daily_returns is None else daily_returns)
    located = market.locate(table.select(*GROUP, DATE, CODE, "prediction"))
    frames = [_fold_returns(rows, market, quantile, cost_bps) for rows in _groups(located)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=_schema(table))


class _Market:
    """One-day returns as a dense `[days, stocks]` array with its calendar."""

    def __init__(self, daily_returns: pl.DataFrame) -> None:
        require_columns(daily_returns.columns, (DATE, CODE, RETURN), "daily_returns")
        frame = daily_returns.select(DATE, CODE, pl.col(RETURN).cast(pl.Float64))
        if frame.select(DATE, CODE).is_duplicated().any():
            raise DataError("daily_returns has more than one row for a stock and day; keep one of each")
        self.dates = frame.select(pl.col(DATE).unique().sort()).with_row_index("day")
        self.codes = frame.select(pl.col(CODE).unique().sort()).with_row_index("stock")
        self.returns: Floats = np.full((len(self.dates), len(self.codes)), np.nan)
        rows = self.locate(frame)
        self.returns[rows["day"].to_numpy(), rows["stock"].to_numpy()] = rows[RETURN].to_numpy()

    def locate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the numbers `day` and `stock` to a frame with dates and codes.

        Raises:
            DataError: a date or code that the returns don't have.
        """
        keyed = frame.with_columns(pl.col(CODE).cast(pl.String).cast(self.codes.schema[CODE], strict=False))
        located = keyed.join(self.dates, on=DATE, how="left", maintain_order="left").join(
            self.codes, on=CODE, how="left", maintain_order="left"
        )
        lost = frame.filter(located["day"].is_null() | located["stock"].is_null())
        if len(lost):
            example = lost.row(0, named=True)
            raise DataError(
                f"{len(lost)} predictions are for a day or stock without any one-day return, such as "
                f"{example[CODE]} on {example[DATE]}; give returns for all days and stocks predicted"
            )
        return located


def _groups(located: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of each model, horizon and fold, in their order."""
    ordered = located.sort(*GROUP)
    start = 0
    for length in ordered.group_by(*GROUP, maintain_order=True).len()["len"]:
        yield ordered[start : start + length]
        start += length


def _fold_returns(rows: pl.DataFrame, market: _Market, quantile: float, cost_bps: float) -> pl.DataFrame:
    """Daily profit of one model and horizon in one fold, whose located rows these are."""
    day, stock = rows["day"].to_numpy(), rows["stock"].to_numpy()
    first, last = int(day.min()), int(day.max())
    scores = np.full((last - first + 1, len(market.codes)), np.nan)
    scores[day - first, stock] = rows["prediction"].cast(pl.Float64).to_numpy()
    horizon = int(rows["horizon"][0])
    held = overlapping_books(quantile_weights(scores, quantile), horizon)
    outcomes = market.returns[first : last + 1]
    known = np.isfinite(outcomes)
    gross = (held * np.where(known, outcomes, 0.0)).sum(axis=1)
    traded = turnover(held)
    is_held: npt.NDArray[np.bool_] = np.abs(held) > _HELD
    series = pl.DataFrame(
        {
            DATE: market.dates[DATE][first : last + 1],
            "gross": gross,
            "net": gross - traded * cost_bps / 1e4,
            "turnover": traded,
            "n_held": is_held.sum(axis=1),
            "n_unknown": (is_held & ~known).sum(axis=1),
        }
    ).filter(pl.Series(known.any(axis=1)))
    names = [pl.lit(rows[name][0], rows.schema[name]).alias(name) for name in GROUP]
    return series.select(*names, pl.all())


def _schema(table: pl.DataFrame) -> dict[str, pl.DataType]:
    """Columns of an empty result."""
    names = {name: table.schema[name] for name in (*GROUP, DATE)}
    floats = {name: pl.Float64() for name in ("gross", "net", "turnover")}
    return {**names, **floats, "n_held": pl.Int64(), "n_unknown": pl.Int64()}

"""Scores of predictions as pure functions on arrays (lists, NumPy, CPU tensors).

Inputs of every function are `[days, stocks]`, or flat with one date per value, or flat without dates.
"""

import numpy as np
import numpy.typing as npt

from gogooku3.errors import DataError
from gogooku3.evaluation.portfolio_weights import Floats, quantile_weights, turnover

MIN_NAMES = 3
"""Fewest pairs for a day's correlation: two always correlate perfectly."""
PERIODS_PER_YEAR = 252
"""Trading days per year."""


def information_coefficient(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, dates: npt.ArrayLike | None = None
) -> float:
    """Mean daily Pearson correlation of predictions and targets.

    Pairs with a missing value are dropped; days with fewer than 3 pairs, or with constant predictions or
    targets, are skipped; NaN if no day is left. Flat input without dates is one cross-section.

    Args:
        predictions: `[days, stocks]` or `[rows]`.
        targets: the same shape.
        dates: `[rows]`, or `[days]` for 2-D input; any comparable values.

    Raises:
        DataError: the shapes don't match.

    >>> information_coefficient([1, 2, 3], [2, 4, 6])
    1.0
    >>> information_coefficient([1, 2, 3, 1, 2, 3], [1, 2, 3, 3, 2, 1], dates=[1, 1, 1, 2, 2, 2])
    0.0
    """
    return _mean_correlation(*_pairs(predictions, targets, dates))


def rank_information_coefficient(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, dates: npt.ArrayLike | None = None
) -> float:
    """Mean daily Spearman correlation of predictions and targets; ties get their average rank.

    Missing values, skipped days, shapes and errors are those of `information_coefficient`.

    >>> rank_information_coefficient([1, 2, 30], [0.1, 0.2, 0.3])
    1.0
    """
    left, right, day = _pairs(predictions, targets, dates)
    return _mean_correlation(_ranks(left, day), _ranks(right, day), day)


def compute_sharpe_ratio(
    predictions: npt.ArrayLike,
    returns: npt.ArrayLike,
    dates: npt.ArrayLike | None = None,
    quantile: float = 0.2,
    periods_per_year: int = PERIODS_PER_YEAR,
    cost_bps: float = 0.0,
) -> float:
    """Annualised Sharpe ratio of a portfolio that is rebalanced daily by the predictions.

    `[days, stocks]`, or flat with dates: long the top `quantile`, short the bottom one, equal weights. Flat
    without dates: one asset over time, with the prediction's sign as its position. A stock without a
    prediction is not held, a missing return of a held stock counts as 0, and a day without any return is
    skipped. NaN for fewer than 2 days or returns without spread.

    Args:
        predictions: known at the close at which `returns` begin.
        returns: one-day returns, as fractions. Longer returns overlap and would count days twice: score them
            as a prediction table (`evaluation.portfolio`).
        dates: see `information_coefficient`.
        quantile: each leg's share of the stocks, in (0, 0.5].
        periods_per_year: trading days per year.
        cost_bps: one-way trading cost, in basis points of the capital traded.

    Raises:
        DataError: the shapes don't match, or a cost on flat input with dates, where stocks have no identity.
        ConfigError: `quantile` is not in (0, 0.5].

    >>> round(compute_sharpe_ratio([1.0, 1.0, -1.0], [0.01, 0.02, -0.03]), 1)
    31.7
    """
    series = _strategy_returns(predictions, returns, dates, quantile, cost_bps)
    return annualised_sharpe(series, periods_per_year)


def compute_max_drawdown(
    predictions: npt.ArrayLike,
    returns: npt.ArrayLike | None = None,
    dates: npt.ArrayLike | None = None,
    quantile: float = 0.2,
    cost_bps: float = 0.0,
) -> float:
    """Largest fall of the compounded equity from its peak, as a positive fraction of the peak.

    With predictions and returns, the equity is that of `compute_sharpe_ratio`'s portfolio. Without `returns`,
    the first argument is the return series itself. The start counts as a peak; a total loss is 1; NaN for an
    empty series.

    Raises:
        DataError: the shapes don't match, or a cost on flat input with dates.
        ConfigError: `quantile` is not in (0, 0.5].

    >>> round(compute_max_drawdown([0.10, -0.20, 0.05, -0.10, 0.30]), 3)
    0.244
    >>> compute_max_drawdown(predictions=[1, -1], returns=[-0.25, -0.10])
    0.25
    """
    if returns is None:
        series = np.asarray(predictions, dtype=np.float64)
        if series.ndim != 1:
            raise DataError(f"a return series is flat, but this one has the shape {series.shape}")
    else:
        series = _strategy_returns(predictions, returns, dates, quantile, cost_bps)
    if len(series) == 0:
        return float("nan")
    equity = equity_curve(series)
    peak = np.maximum.accumulate(np.concatenate(([1.0], equity)))[1:]
    return float(np.max(1.0 - equity / peak))


def equity_curve(returns: npt.ArrayLike) -> Floats:
    """Compound returns, starting from 1; missing returns count as 0, and equity never falls below 0.

    >>> equity_curve([0.5, -0.5]).tolist()
    [1.5, 0.75]
    """
    series = np.nan_to_num(np.asarray(returns, dtype=np.float64), nan=0.0)
    equity: Floats = np.maximum(1.0 + series, 0.0).cumprod()
    return equity


def annualised_return(returns: npt.ArrayLike, periods_per_year: float = PERIODS_PER_YEAR) -> float:
    """Compound annual growth rate of returns, as a fraction; missing returns count as 0, a total loss is -1.

    NaN for an empty series.

    >>> round(annualised_return([0.1, -0.05], periods_per_year=2), 3)
    0.045
    """
    equity = equity_curve(returns)
    return float(equity[-1] ** (periods_per_year / len(equity)) - 1.0) if len(equity) else float("nan")


def annualised_sharpe(returns: npt.ArrayLike, periods_per_year: float = PERIODS_PER_YEAR) -> float:
    """Mean over sample standard deviation, times the square root of the periods per year.

    Missing returns are dropped. NaN for fewer than 2 returns or returns without spread.

    >>> round(annualised_sharpe([0.01, 0.03], periods_per_year=1), 4)
    1.4142
    """
    series = np.asarray(returns, dtype=np.float64)
    series = series[np.isfinite(series)]
    if len(series) < 2:
        return float("nan")
    spread = float(series.std(ddof=1))
    # Rounding gives a constant series a spread of about 1e-17 of its size.
    if spread <= 1e-12 * float(np.abs(series).max()):
        return float("nan")
    return float(series.mean() / spread * np.sqrt(periods_per_year))


def _arrays(left: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, Floats]:
    try:
        first, second = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"predictions and targets must be numbers ({error}); convert them") from None
    if first.shape != second.shape or first.ndim not in (1, 2):
        raise DataError(
            f"predictions have the shape {first.shape} and targets {second.shape}; give both the same shape, "
            "[days, stocks] or [rows]"
        )
    return first, second


def _day_numbers(shape: tuple[int, ...], dates: npt.ArrayLike | None) -> npt.NDArray[np.int64]:
    """Index in date order of every row of a flat array, or of every day of a 2-D one."""
    if dates is None:
        return np.arange(shape[0]) if len(shape) == 2 else np.zeros(shape[0], dtype=np.int64)
    labels = np.asarray(dates)
    if labels.shape != shape[:1]:
        raise DataError(f"dates have the shape {labels.shape}, but need {shape[:1]}: one date per row")
    _, numbers = np.unique(labels, return_inverse=True)
    return numbers.astype(np.int64)


def _pairs(
    left: npt.ArrayLike, right: npt.ArrayLike, dates: npt.ArrayLike | None
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Complete pairs sorted by day, and the day of each, counted from 0 without gaps; all `[rows]`."""
    first, second = _arrays(left, right)
    day = _day_numbers(first.shape, dates)
    if first.ndim == 2:
        day = np.repeat(day, first.shape[1])
    first, second = first.ravel(), second.ravel()
    known = np.isfinite(first) & np.isfinite(second)
    _, day = np.unique(day[known], return_inverse=True)
    order = np.argsort(day, kind="stable")
    return first[known][order], second[known][order], day[order].astype(np.int64)


def _mean_correlation(left: Floats, right: Floats, day: npt.NDArray[np.int64]) -> float:
    """Mean daily Pearson correlation; small or constant days are skipped."""
    if len(day) == 0:
        return float("nan")
    starts = np.flatnonzero(np.diff(day, prepend=-1))
    n = np.diff(np.append(starts, len(day)))
    usable = n >= MIN_NAMES
    centred = []
    for values in (left, right):
        # Not a variance of zero: rounding gives constants a tiny variance.
        usable &= np.maximum.reduceat(values, starts) > np.minimum.reduceat(values, starts)
        centred.append(values - np.repeat(np.add.reduceat(values, starts) / n, n))
    x, y = centred
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.sqrt(np.add.reduceat(x * x, starts) * np.add.reduceat(y * y, starts))
        correlation = np.add.reduceat(x * y, starts) / size
    return float(np.clip(correlation[usable], -1.0, 1.0).mean()) if usable.any() else float("nan")


def _ranks(values: Floats, day: npt.NDArray[np.int64]) -> Floats:
    """Average ranks within each day."""
    order = np.lexsort((values, day))
    in_order, days = values[order], day[order]
    first = np.ones(len(values), dtype=bool)
    first[1:] = (in_order[1:] != in_order[:-1]) | (days[1:] != days[:-1])
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(values))
    ranks = np.empty(len(values))
    # Ranks within the whole array suffice: subtracting the day's mean removes the offset.
    ranks[order] = np.repeat((starts + ends - 1) / 2.0, ends - starts)
    return ranks


def _strategy_returns(
    predictions: npt.ArrayLike,
    returns: npt.ArrayLike,
    dates: npt.ArrayLike | None,
    quantile: float,
    cost_bps: float,
) -> Floats:
    """Daily net returns of the portfolio of `compute_sharpe_ratio`."""
    scores, outcomes = _arrays(predictions, returns)
    if scores.ndim == 1 and dates is None:
        weights, outcomes = np.sign(np.nan_to_num(scores))[:, None], outcomes[:, None]
    else:
        if scores.ndim == 1:
            if cost_bps:
                raise DataError(
                    "costs need each stock's position on the day before; pass [days, stocks] arrays"
                )
            scores, outcomes = _days_by_position(scores, outcomes, dates)
        elif dates is not None:
            order = np.argsort(_day_numbers(scores.shape, dates), kind="stable")
            scores, outcomes = scores[order], outcomes[order]
        weights = quantile_weights(scores, quantile)
    known = np.isfinite(outcomes)
    gross = (weights * np.where(known, outcomes, 0.0)).sum(axis=1)
    net: Floats = gross - turnover(weights, outcomes) * cost_bps / 1e4
    return net[known.any(axis=1)]


def _days_by_position(scores: Floats, outcomes: Floats, dates: npt.ArrayLike | None) -> tuple[Floats, Floats]:
    """Reshape flat rows to `[days, most rows per day]`, padded with NaN; columns are not stocks."""
    day = _day_numbers(scores.shape, dates)
    order = np.argsort(day, kind="stable")
    in_order = day[order]
    n = np.bincount(in_order)
    position = np.arange(len(day)) - np.repeat(np.cumsum(n) - n, n)
    shape = (len(n), int(n.max(initial=0)))
    padded = np.full(shape, np.nan), np.full(shape, np.nan)
    for target, source in zip(padded, (scores, outcomes), strict=True):
        target[in_order, position] = source[order]
    return padded

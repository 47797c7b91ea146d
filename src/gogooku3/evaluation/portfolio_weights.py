"""Portfolio weights from daily scores, as arrays `[days, stocks]`.

A long-short book is long one unit of capital in the highest scores and short one unit in the lowest. Longer
horizons hold several books at once, each with its share of the capital.
"""

import numpy as np
import numpy.typing as npt

from gogooku3.errors import ConfigError

Floats = npt.NDArray[np.float64]


def check_quantile(quantile: float) -> None:
    """Raise a ConfigError unless `quantile` is in (0, 0.5]: the legs neither overlap nor are empty."""
    if not 0.0 < quantile <= 0.5:
        raise ConfigError(
            f"quantile is {quantile}, but each leg's share of the stocks is above 0 and up to 0.5; try 0.2"
        )


def quantile_weights(scores: npt.ArrayLike, quantile: float = 0.2) -> Floats:
    """Equal weights for every day's top `quantile` of stocks, summing to +1, and the bottom one, to -1.

    A leg holds `floor(quantile * n)` of the `n` stocks with a score, at least one. Stocks tied at a leg's
    edge share its remaining places equally, so the order of the stocks has no effect. A day whose scores are
    all equal has no weights, and neither has a missing (NaN or infinite) score.

    Args:
        scores: `[days, stocks]`, known when the weights are decided.
        quantile: each leg's share of the stocks, in (0, 0.5].

    Returns:
        `[days, stocks]`; each day sums to 0, its absolute values to 2 (0 if all scores are equal).

    Raises:
        ConfigError: `quantile` is not in (0, 0.5].

    >>> quantile_weights([[0.3, 0.1, 0.2, 0.9, 0.5]]).tolist()
    [[0.0, -1.0, 0.0, 1.0, 0.0]]
    >>> quantile_weights([[1.0, 1.0, 0.0, np.nan]], 0.3).tolist()
    [[0.5, 0.5, -1.0, 0.0]]
    """
    values = np.asarray(scores, dtype=np.float64)
    return long_weights(values, quantile) - long_weights(-values, quantile)


def long_weights(scores: npt.ArrayLike, quantile: float = 0.2) -> Floats:
    """Long leg of `quantile_weights`: each day sums to 1, or to 0 if all scores are equal.

    >>> long_weights([[0.3, 0.1, 0.2, 0.9, 0.5]]).tolist()
    [[0.0, 0.0, 0.0, 1.0, 0.0]]
    """
    check_quantile(quantile)
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return np.zeros_like(values)
    values = np.where(np.isfinite(values), values, np.nan)
    n = np.isfinite(values).sum(axis=1)
    # 1e-9 keeps 0.2 * 15 at 3 despite rounding.
    places = np.maximum(np.floor(n * quantile + 1e-9), 1).astype(np.int64)
    ordered = np.sort(values, axis=1)  # NaN goes last
    days = np.arange(len(values))
    edge = ordered[days, np.maximum(n - places, 0)]
    differs = ordered[:, 0] < ordered[days, np.maximum(n - 1, 0)]
    above = values > edge[:, None]
    tied = values == edge[:, None]
    share = (places - above.sum(axis=1)) / np.maximum(tied.sum(axis=1), 1)
    return (above + tied * share[:, None]) / places[:, None] * differs[:, None]


def overlapping_weights(
    weights: npt.ArrayLike, horizon: int, spacing: int = 1, traded: npt.ArrayLike | None = None
) -> Floats:
    """Hold each day's weights for `horizon` days, each book with its share of the capital.

    A book is opened every `spacing` days, so `ceil(horizon / spacing)` books share the capital. Every unit of
    capital is in one book at a time, so no day's return is counted twice (Jegadeesh and Titman, 1993). Days
    before the first row count as zero, so the first `horizon - 1` days are partly invested.

    Args:
        weights: `[days, stocks]` decided on each day.
        horizon: days a book is held, 1 or more.
        spacing: days from one book to the next, 1 or more.
        traded: `[days, stocks]`, True where a stock has a close. A book opened at a stock's last close before
            a halt keeps the stock until it trades again: there was no price to sell at. Other books sell at
            that last close when their time comes.

    >>> overlapping_weights([[1.0], [0.0], [-1.0]], 2).tolist()
    [[0.5], [0.5], [-0.5]]
    >>> overlapping_weights([[1.0], [0.0], [0.0]], 1, traded=[[True], [False], [True]]).tolist()
    [[1.0], [1.0], [0.0]]
    """
    decided = np.asarray(weights, dtype=np.float64)
    held: Floats = np.zeros_like(decided)
    for age in range(min(horizon, len(decided))):
        held[age:] += decided[: len(decided) - age]
    if traded is not None:
        day = np.arange(len(decided))[:, None]
        last_close = np.maximum.accumulate(np.where(traded, day, -1), axis=0)
        day_of, stock = np.nonzero((last_close >= 0) & (day - last_close >= horizon))
        held[day_of, stock] += decided[last_close[day_of, stock], stock]
    held /= -(-horizon // spacing)
    return held


def grown_weights(held: npt.ArrayLike, returns: npt.ArrayLike) -> Floats:
    """Weights after their returns, relative to the capital, `[days, stocks]`: `w (1 + r) / (1 + sum w r)`.

    Missing returns count as 0, and a total loss leaves no positions.

    >>> grown_weights([[1.0, -1.0]], [[0.1, 0.0]]).round(3).tolist()
    [[1.0, -0.909]]
    """
    weights, moves = np.asarray(held, dtype=np.float64), np.nan_to_num(np.asarray(returns, dtype=np.float64))
    growth = 1.0 + (weights * moves).sum(axis=1, keepdims=True)
    grown: Floats = np.divide(weights * (1.0 + moves), growth, out=np.zeros_like(weights), where=growth > 0.0)
    return grown


def drifted_weights(held: npt.ArrayLike, returns: npt.ArrayLike) -> Floats:
    """Weights before each day's trading: `grown_weights` of the day before.

    Args:
        held: `[days, stocks]`, after each day's trading.
        returns: `[days, stocks]`, earned from then on until the next day's trading.

    Returns:
        `[days, stocks]`; the first day has no positions.

    >>> drifted_weights([[1.0, -1.0], [0.0, 0.0]], [[0.1, 0.0], [0.0, 0.0]]).round(3).tolist()
    [[0.0, 0.0], [1.0, -0.909]]
    """
    grown = grown_weights(held, returns)
    return np.concatenate([np.zeros_like(grown[:1]), grown[:-1]])


def turnover(held: npt.ArrayLike, returns: npt.ArrayLike | None = None) -> Floats:
    """Capital traded each day, as a fraction, starting without positions; `[days]`.

    Yesterday's weights have drifted by yesterday's returns, so unchanged weights are a trade too. Replacing
    both legs entirely trades 4. Arguments are those of `drifted_weights`; without returns, prices don't move.

    >>> turnover([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]).tolist()
    [2.0, 0.0, 4.0]
    >>> turnover([[1.0, -1.0], [1.0, -1.0]], [[0.1, 0.0], [0.0, 0.0]]).round(3).tolist()
    [2.0, 0.091]
    """
    weights = np.asarray(held, dtype=np.float64)
    before = drifted_weights(weights, np.zeros_like(weights) if returns is None else returns)
    total: Floats = np.abs(weights - before).sum(axis=1)
    return total

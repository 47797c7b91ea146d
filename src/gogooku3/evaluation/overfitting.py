"""Probability of backtest overfitting of the best of many configurations, from their daily returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.portfolio_weights import Floats
from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.schema import DATE

BLOCKS = 16
"""Default number of blocks, as in the paper: 12,870 ways to choose half of them."""


@dataclass(frozen=True)
class Overfitting:
    """Performance, on the other half of the days, of the configuration that is best on one half."""

    probability: float
    """Share of splits in which the selected configuration is no better than the median on the other half."""
    loss: float
    """Share of splits in which it loses money there."""
    chosen: float
    """Its annualised Sharpe ratio on the days used to select it, averaged over splits."""
    outside: float
    """The same on the other days."""
    n_configurations: int
    n_days: int
    n_splits: int


def probability_of_overfitting(returns: npt.ArrayLike, blocks: int = BLOCKS) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    The days are split into `blocks` equal blocks (surplus days at the start are dropped). For every choice of
    half of the blocks, the configuration with the best Sharpe ratio there is selected, and its relative rank
    `w = rank / (N + 1)` among the `N` configurations on the other half is computed. The probability is that
    of `log(w / (1 - w)) <= 0` (Bailey, Borwein, Lopez de Prado and Zhu, 2017). Ties share their rank; of
    several best configurations, the first is selected.

    Args:
        returns: `[days, configurations]` in time order, without missing values.
        blocks: an even number, 2 or more.

    Raises:
        DataError: fewer than two configurations, missing returns, an odd number of blocks, or fewer than two
            days per block.

    >>> steady = np.tile([0.01, 0.02, 0.0, 0.01], 20)
    >>> probability_of_overfitting(np.stack([steady, -steady, 0.5 - steady], axis=1), blocks=4).probability
    0.0
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(
            "the probability of overfitting needs daily returns [days, 2 or more configurations], not the "
            f"shape {values.shape}; add configurations"
        )
    if not np.isfinite(values).all():
        raise DataError("some configuration's return is missing on some day; keep the days that all have")
    if blocks < 2 or blocks % 2:
        raise DataError(
            f"blocks is {blocks}, but half of the blocks must be a whole number; use an even number"
        )
    if len(values) < 2 * blocks:
        raise DataError(
            f"{len(values)} days are too few for {blocks} blocks of two or more days; use more days"
        )
    length = len(values) // blocks
    used = values[len(values) - length * blocks :].reshape(blocks, length, -1)
    sums, squares = used.sum(axis=1), (used**2).sum(axis=1)
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    inside = np.zeros((len(halves), blocks))
    np.put_along_axis(inside, halves, 1.0, axis=1)
    n = length * blocks // 2
    in_sample = _sharpes(inside @ sums, inside @ squares, n)
    out_of_sample = _sharpes((1.0 - inside) @ sums, (1.0 - inside) @ squares, n)
    best = in_sample.argmax(axis=1)
    splits = np.arange(len(best))
    chosen, outside = in_sample[splits, best], out_of_sample[splits, best]
    below = (out_of_sample < outside[:, None]).sum(axis=1)
    tied = (out_of_sample == outside[:, None]).sum(axis=1)
    relative_rank = (below + (tied + 1) / 2) / (values.shape[1] + 1)
    annual = math.sqrt(PERIODS_PER_YEAR)
    return Overfitting(
        probability=float((relative_rank <= 0.5).mean()),
        loss=float((outside < 0.0).mean()),
        chosen=float(chosen.mean()) * annual,
        outside=float(outside.mean()) * annual,
        n_configurations=values.shape[1],
        n_days=length * blocks,
        n_splits=len(halves),
    )


def configurations(returns: Mapping[str, pl.DataFrame], horizon: int) -> tuple[list[str], Floats]:
    """Names (`run: model`) and net returns `[days, configurations]` of every model at a horizon.

    Takes results of `portfolio_returns` by run. Only days that all models have are kept. The oracle and exact
    duplicates, such as a baseline that the runs share, are dropped.

    Raises:
        DataError: no model has this horizon, or no day is shared by all.
    """
    columns = [
        rows.select(DATE, pl.col("net").alias(f"{run}: {model}"))
        for run, frame in returns.items()
        for (model,), rows in frame.filter(horizon=horizon).group_by("model", maintain_order=True)
        if model != ORACLE
    ]
    if not columns:
        raise DataError(f"no run has a model that predicts {horizon} days ahead; compare another horizon")
    shared = columns[0]
    for column in columns[1:]:
        shared = shared.join(column, on=DATE, how="inner")
    if shared.is_empty():
        raise DataError(
            "the runs share no test day, so their models can't be compared; name runs with common test days"
        )
    values = shared.sort(DATE).drop(DATE)
    _, first = np.unique(values.to_numpy(), axis=1, return_index=True)
    kept = values[:, sorted(first.tolist())]
    return kept.columns, kept.to_numpy()


def _sharpes(total: Floats, squares: Floats, n: int) -> Floats:
    """Daily Sharpe ratios from sums over `n` days; 0 without spread."""
    mean = total / n
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0.0) * n / (n - 1))
    # Rounding gives a constant series a spread of about 1e-9 of its size.
    constant = spread <= 1e-8 * np.sqrt(squares / n)
    result: Floats = np.where(constant, 0.0, mean / np.where(constant, 1.0, spread))
    return result

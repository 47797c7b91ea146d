"""Whether the best of many configurations was chosen by luck; daily returns in, a probability out."""

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
"""Blocks of days by default: 12,870 ways to choose half of them, as in the paper."""


@dataclass(frozen=True)
class Overfitting:
    """What choosing the best configuration on half of the days is worth on the other half.

    `probability` is the share of splits in which the chosen one does no better than the median there;
    `loss` the share in which it loses money; `chosen` and `outside` the annualised Sharpe ratio of the chosen
    one on the days that chose it and on the others, averaged over splits.
    """

    probability: float
    loss: float
    chosen: float
    outside: float
    n_configurations: int
    n_days: int
    n_splits: int


def probability_of_overfitting(returns: npt.ArrayLike, blocks: int = BLOCKS) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    The days are cut into `blocks` equal blocks (the first days that don't fill one are left out). For every
    choice of half of them, the configuration with the best Sharpe ratio is picked there, and its relative
    rank `w` among the `N` configurations on the other half is taken, `w = rank / (N + 1)`. The
    probability is that of `log(w / (1 - w)) <= 0` (Bailey, Borwein, Lopez de Prado and Zhu, 2017). Ties
    share their rank; of several best, the first is picked.

    Args:
        returns: `[days, configurations]` in order of time, every day known for all.
        blocks: an even number, 2 or more.

    Raises:
        DataError: fewer than two configurations, missing returns, an odd number of blocks, or under two days
            a block.

    >>> steady = np.tile([0.01, 0.02, 0.0, 0.01], 20)
    >>> probability_of_overfitting(np.stack([steady, -steady, 0.5 - steady], axis=1), blocks=4).probability
    0.0
    """
    values = np.asarray(returns, dtype=np.float64)
    _check(values, blocks)
    length = len(values) // blocks
    used = values[len(values) - length * blocks :].reshape(blocks, length, -1)
    sums, squares = used.sum(axis=1), (used**2).sum(axis=1)
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    inside = np.zeros((len(halves), blocks))
    np.put_along_axis(inside, halves, 1.0, axis=1)
    n = length * blocks // 2
    chosen_by = _sharpes(inside @ sums, inside @ squares, n)
    judged_by = _sharpes((1.0 - inside) @ sums, (1.0 - inside) @ squares, n)
    best = chosen_by.argmax(axis=1)
    rows = np.arange(len(best))
    won, lost = chosen_by[rows, best], judged_by[rows, best]
    below = (judged_by < lost[:, None]).sum(axis=1)
    tied = (judged_by == lost[:, None]).sum(axis=1)
    rank = below + (tied + 1) / 2
    share = rank / (values.shape[1] + 1)
    year = math.sqrt(PERIODS_PER_YEAR)
    return Overfitting(
        probability=float((share <= 0.5).mean()),
        loss=float((lost < 0.0).mean()),
        chosen=float(won.mean()) * year,
        outside=float(lost.mean()) * year,
        n_configurations=values.shape[1],
        n_days=length * blocks,
        n_splits=len(halves),
    )


def configurations(books: Mapping[str, pl.DataFrame], horizon: int) -> tuple[list[str], Floats]:
    """Lay every model of every run side by side: names `run: model`, net returns `[days, configurations]`.

    Days that one of them lacks are left out, and so is what repeats another to the last bit, such as a
    baseline that the runs share, and the oracle.

    Args:
        books: by run, as `portfolio_returns` returns them.
        horizon: of the books that are compared.

    Raises:
        DataError: no day is shared by all.
    """
    columns = [
        rows.select(DATE, pl.col("net").alias(f"{run}: {model}"))
        for run, frame in books.items()
        for (model,), rows in frame.filter(pl.col("horizon") == horizon).group_by(
            "model", maintain_order=True
        )
        if model != ORACLE
    ]
    if not columns:
        raise DataError(
            f"no run has a model that predicts {horizon} days ahead, so there is nothing to compare"
        )
    shared = columns[0]
    for column in columns[1:]:
        shared = shared.join(column, on=DATE, how="inner")
    if shared.is_empty():
        raise DataError(
            "the runs share no test day, so what was chosen on some days can't be judged on others"
        )
    values = shared.sort(DATE).drop(DATE)
    _, first = np.unique(values.to_numpy(), axis=1, return_index=True)
    kept = values[:, sorted(first.tolist())]
    return kept.columns, kept.to_numpy()


def _check(values: Floats, blocks: int) -> None:
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(
            "the probability of overfitting compares configurations: give daily returns of two or more, "
            f"[days, configurations], not of the shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise DataError("some configuration's return is missing on some day; keep the days that all have")
    if blocks < 2 or blocks % 2:
        raise DataError(f"the days are cut into {blocks} blocks, but half of them must be a whole number")
    if len(values) < 2 * blocks:
        raise DataError(
            f"{len(values)} days are too few for {blocks} blocks of two days or more; use more days"
        )


def _sharpes(total: Floats, squares: Floats, n: int) -> Floats:
    """Sharpe ratios a day from sums over `n` days; 0 without spread."""
    mean = total / n
    variance = np.maximum(squares / n - mean**2, 0.0) * n / (n - 1)
    spread = np.sqrt(variance)
    # Rounding leaves a constant series a spread of about 1e-9 of its size.
    flat = spread <= 1e-8 * np.sqrt(squares / n)
    result: Floats = np.where(flat, 0.0, mean / np.where(flat, 1.0, spread))
    return result

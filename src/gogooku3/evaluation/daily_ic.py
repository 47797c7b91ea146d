"""Daily correlations of predictions with targets: the series that all other scores summarise."""

import polars as pl

from gogooku3.evaluation.metrics import MIN_NAMES

GROUP = ("model", "horizon", "fold")


def daily_ic(table: pl.DataFrame) -> pl.DataFrame:
    """Correlate predictions with targets within every day, for each model, horizon and fold.

    Rows without a target are ignored. A day with fewer than 3 pairs, or with constant predictions or targets,
    has null scores; a day without any pair has no row.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`), in any order.

    Returns:
        `model, horizon, fold, date, ic, rank_ic, hit_rate, n, is_constant`, sorted by the first four: Pearson
        and Spearman (average ranks) correlations; the share of stocks that are on the same side of the day's
        median in both (stocks on a median are ignored; null if all are); the number of pairs; and
        `is_constant`, True where 3 or more predictions are all equal.

    >>> from datetime import date
    >>> table = pl.DataFrame({
    ...     "date": [date(2024, 1, 4)] * 3, "code": ["A", "B", "C"], "fold": 0, "model": "m", "horizon": 1,
    ...     "prediction": [0.1, 0.2, 0.9], "target": [0.01, 0.02, 0.03],
    ... })
    >>> daily_ic(table).select(pl.col("ic").round(3), "rank_ic", "hit_rate", "n").row(0)
    (0.918, 1.0, 1.0, 3)
    """
    prediction, target = pl.col("prediction").cast(pl.Float64), pl.col("target").cast(pl.Float64)
    constant = (prediction.min() == prediction.max()) | (target.min() == target.max())
    usable = (pl.len() >= MIN_NAMES) & ~constant
    ranks = prediction.rank("average"), target.rank("average")
    sides = (prediction - prediction.median()).sign() * (target - target.median()).sign()
    return (
        table.lazy()
        .filter(target.is_finite())
        .group_by(*GROUP, "date")
        .agg(
            ic=pl.when(usable).then(pl.corr(prediction, target)),
            rank_ic=pl.when(usable).then(pl.corr(*ranks)),
            hit_rate=pl.when(usable & (sides != 0).any()).then((sides > 0).sum() / (sides != 0).sum()),
            n=pl.len(),
            is_constant=(prediction.min() == prediction.max()) & (pl.len() >= MIN_NAMES),
        )
        .sort(*GROUP, "date")
        .collect()
    )

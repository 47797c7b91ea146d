"""Mean excess return per quantile of the prediction."""

import polars as pl

from gogooku3.evaluation.prediction_table import by_horizon
from gogooku3.evaluation.significance import mean_test
from gogooku3.schema import DATE

PER_MODEL = ("model", "horizon")


def quantile_of_day(table: pl.DataFrame, n_quantiles: int) -> pl.DataFrame:
    """Mean excess target and mean standardised prediction per day and quantile.

    A stock's quantile is that of its average rank within the day, 1 is the lowest; ties share one. The
    excess is relative to the mean target of the day's stocks. Rows without a target, days with fewer stocks
    than quantiles and days with constant predictions are dropped.

    Args:
        table: prediction table, in any order.
        n_quantiles: 2 or more.

    Returns:
        `model, horizon, date, quantile, excess, score`, sorted by the first four.
    """
    keys = (*PER_MODEL, DATE)
    prediction, target = pl.col("prediction").cast(pl.Float64), pl.col("target").cast(pl.Float64)
    spread = prediction.std(ddof=0).over(keys)
    # Average ranks run from 1 to n, so the middle of a rank is (rank - 1/2) / n.
    share = (prediction.rank("average").over(keys) - 0.5) / pl.len().over(keys)

    def of_one_horizon(rows: pl.DataFrame) -> pl.DataFrame:
        return (
            rows.lazy()
            .filter(target.is_finite())
            .filter((pl.len().over(keys) >= n_quantiles) & (spread > 0))
            .select(
                *keys,
                ((share * n_quantiles).floor() + 1).clip(1, n_quantiles).cast(pl.Int32).alias("quantile"),
                (target - target.mean().over(keys)).alias("excess"),
                ((prediction - prediction.mean().over(keys)) / spread).alias("score"),
            )
            .group_by(*keys, "quantile")
            .agg(pl.col("excess").mean(), pl.col("score").mean())
            .collect()
        )

    return by_horizon(table, of_one_horizon).sort(*keys, "quantile")


def quantile_returns(table: pl.DataFrame, n_quantiles: int = 5) -> pl.DataFrame:
    """Mean excess return per quantile over all days, with its 95 % interval.

    Arguments are those of `quantile_of_day`.

    Returns:
        `model, horizon, quantile, mean, low, high, score, n_days`: `mean` is per horizon (not annualised),
        the interval from `low` to `high` is null for too few days, `score` is the mean standardised
        prediction.

    >>> from datetime import date
    >>> table = pl.DataFrame({
    ...     "date": [date(2024, 1, 4)] * 4, "code": list("ABCD"), "fold": 0, "model": "m", "horizon": 1,
    ...     "prediction": [1.0, 2.0, 3.0, 4.0], "target": [0.00, 0.01, 0.02, 0.05],
    ... })
    >>> quantile_returns(table, 2)["mean"].round(3).to_list()
    [-0.015, 0.015]
    """
    daily = quantile_of_day(table, n_quantiles)
    rows = []
    for (model, horizon, quantile), days in daily.group_by(*PER_MODEL, "quantile", maintain_order=True):
        test = mean_test(days["excess"].to_numpy(), int(horizon))
        score = days["score"].mean()
        rows.append((model, horizon, quantile, test.mean, *test.interval, score, test.n))
    floats = dict.fromkeys(("mean", "low", "high", "score"), pl.Float64)
    schema = {"model": pl.String, "horizon": pl.Int32, "quantile": pl.Int32, **floats, "n_days": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None).sort(*PER_MODEL, "quantile")

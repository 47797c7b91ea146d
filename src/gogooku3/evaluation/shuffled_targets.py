"""Control of the scoring itself: shuffled targets must give an IC of zero."""

import numpy as np
import polars as pl

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.prediction_table import as_enum, by_horizon
from gogooku3.evaluation.significance import mean_test

MAX_ERRORS = 4.0
"""Standard errors from zero beyond which a shuffled IC is not chance, even among many models and horizons."""


def shuffled_target_ic(table: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """IC of predictions with targets shuffled among each day's stocks; zero up to chance.

    A larger IC shows a leak in the scoring. Every fold, model and horizon is shuffled independently; rows
    of the prediction table (`schema.PREDICTION_COLUMNS`) without a target are ignored.

    Returns:
        `model, horizon, ic, low, high, standard_error, days`, sorted by the first two: mean over days with
        its 95 % interval and the standard error of the shuffle itself: the correlation of n
        shuffled pairs has variance 1 / (n - 1) around 0 (Pitman 1937). NaN if no day has a score.

    >>> from datetime import date
    >>> table = pl.DataFrame({
    ...     "date": [date(2024, 1, 4)] * 4 + [date(2024, 1, 5)] * 4, "code": list("ABCDABCD"), "fold": 0,
    ...     "model": "m", "horizon": 1, "prediction": [1.0, 2, 3, 4] * 2, "target": [0.1, 0.2, 0.3, 0.4] * 2,
    ... })
    >>> shuffled_target_ic(table)["ic"].item() < 1
    True
    """
    rng = np.random.default_rng(seed)
    daily = by_horizon(table, lambda rows: daily_ic(_shuffled(rows, rng))).sort("model", "horizon", "date")
    rows = []
    for (model, horizon), days in daily.group_by("model", "horizon", maintain_order=True):
        low, high = mean_test(days["ic"].to_numpy()).interval
        # Days are shuffled independently, so their variances add up. An error estimated from the daily scores
        # would too often be too small in a short test, and chance would look like a leak.
        scored = days.filter(pl.col("ic").is_finite())
        error = (1.0 / (scored["n"].to_numpy() - 1.0)).sum() ** 0.5 / max(scored.height, 1)
        mean, error = (scored["ic"].mean(), error) if scored.height else (float("nan"), float("nan"))
        rows.append((model, horizon, mean, low, high, error, scored.height))
    floats = dict.fromkeys(("ic", "low", "high", "standard_error"), pl.Float64)
    schema = {"model": pl.String, "horizon": pl.Int64, **floats, "days": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _shuffled(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Rows with a target, shuffled within each fold, model, horizon and day."""
    groups = ("model", "horizon", "fold", "date")
    known = table.filter(pl.col("target").is_finite())
    # Enums sort in a fraction of the memory of text.
    known = known.with_columns(as_enum(known["model"]), as_enum(known["code"])).sort(*groups, "code")
    # Polars' own shuffle would give all groups of one size the same permutation.
    draws = pl.Series("draw", rng.random(known.height))
    target = pl.col("target").sort_by("draw").over(groups)
    return known.with_columns(draws).select(
        pl.col("model").cast(pl.String), *groups[1:], "prediction", target
    )


def is_chance(shuffled: pl.DataFrame) -> bool:
    """Return True if every shuffled IC is within `MAX_ERRORS` standard errors of zero."""
    far = pl.col("ic").abs() > MAX_ERRORS * pl.col("standard_error")
    return not bool(shuffled.select((far & pl.col("ic").is_finite()).any()).item())

"""Controls: what a scorer must find where there is nothing to find."""

import numpy as np
import polars as pl

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.prediction_table import as_enum, by_horizon
from gogooku3.evaluation.significance import bootstrap_interval

TOO_FAR = 4.0
"""Standard errors from zero beyond which a shuffled IC is no chance, however many are looked at."""


def shuffled_target_ic(table: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """IC of predictions with the day's targets dealt out anew among the day's stocks: zero, but for chance.

    Anything else shows that scoring finds skill where none can be. Every fold, model and horizon is dealt its
    own; rows without a target stay without.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`).
        seed: of the dealing; the same seed deals the same.

    Returns:
        `model, horizon, ic, low, high, standard_error, days`: mean over days with its 95 % block-bootstrap
        interval and the error that dealing has by itself: the correlation of n dealt pairs has variance
        1 / (n - 1) around 0 (Pitman 1937). Sorted by the first two; NaN where no day has a score.

    >>> from datetime import date
    >>> table = pl.DataFrame({
    ...     "date": [date(2024, 1, 4)] * 4 + [date(2024, 1, 5)] * 4, "code": list("ABCDABCD"), "fold": 0,
    ...     "model": "m", "horizon": 1, "prediction": [1.0, 2, 3, 4] * 2, "target": [0.1, 0.2, 0.3, 0.4] * 2,
    ... })
    >>> shuffled_target_ic(table)["ic"].item() < 1
    True
    """
    rng = np.random.default_rng(seed)
    daily = by_horizon(table, lambda rows: daily_ic(_dealt(rows, rng))).sort("model", "horizon", "date")
    rows = []
    for (model, horizon), days in daily.group_by("model", "horizon", maintain_order=True):
        low, high = bootstrap_interval(days["ic"].to_numpy())
        # Days are dealt apart from one another, so their variances add up. Estimated from the days' own
        # scores, the error of a short test is too small too often, and chance looks like a leak.
        scored = days.filter(pl.col("ic").is_finite())
        error = (1.0 / (scored["n"].to_numpy() - 1.0)).sum() ** 0.5 / max(scored.height, 1)
        rows.append(
            {
                "model": model,
                "horizon": horizon,
                "ic": scored["ic"].mean() if scored.height else float("nan"),
                "low": low,
                "high": high,
                "standard_error": error if scored.height else float("nan"),
                "days": scored.height,
            }
        )
    floats = ("ic", "low", "high", "standard_error")
    schema = {"model": pl.String, "horizon": pl.Int64, **dict.fromkeys(floats, pl.Float64), "days": pl.Int64}
    return pl.DataFrame(rows, schema=schema)


def _dealt(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The rows with a target, dealt out anew within each fold, model, horizon and day."""
    groups = ("model", "horizon", "fold", "date")
    known = table.filter(pl.col("target").is_finite())
    # Numbers in the order of the names, which sort in a fraction of the memory.
    known = known.with_columns(as_enum(known["model"]), as_enum(known["code"])).sort(*groups, "code")
    # Polars' own shuffle deals every group alike, so that days of one size would go wrong together.
    draws = pl.Series("draw", rng.random(known.height))
    dealt = pl.col("target").sort_by("draw").over(groups)
    return known.with_columns(draws).select(pl.col("model").cast(pl.String), *groups[1:], "prediction", dealt)


def is_chance(shuffled: pl.DataFrame) -> bool:
    """Whether every shuffled IC lies within `TOO_FAR` standard errors of zero."""
    far = pl.col("ic").abs() > TOO_FAR * pl.col("standard_error")
    return not bool(shuffled.select((far & pl.col("ic").is_finite()).any()).item())

"""Ensemble of several models: the mean of their prediction ranks within the day."""

from collections.abc import Sequence

import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.schema import DATE, KEYS, require_columns

RANK_AVERAGE = "rank_average"
"""Model name of the rank average of the network and LightGBM."""


def rank_average(predictions: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Average several models' predictions by rank, so that models with a larger scale don't dominate.

    For each column and day, every model's predictions become average ranks with mean 0 and deviation 1, and
    the result is their mean over models. Ties share their rank; a model with constant predictions counts as 0
    on that day. A prediction that one model lacks (null or NaN) is dropped for all models, and null in the
    result.

    Args:
        predictions: one frame per model: `date, code` and the same prediction columns, without repeated rows.

    Returns:
        `date, code` and the prediction columns (Float64), on the rows that every frame has, in the order of
        the first frame. The order of the frames affects only rounding.

    Raises:
        DataError: no frame, frames with different columns, a repeated row, or no row shared by all frames.

    >>> from datetime import date
    >>> keys = {"date": [date(2024, 1, 4)] * 3, "code": ["A", "B", "C"]}
    >>> large = pl.DataFrame({**keys, "prediction_1d": [-90.0, 50.0, 10.0]})
    >>> small = pl.DataFrame({**keys, "prediction_1d": [0.1, 0.2, 0.3]})
    >>> rank_average([large, small])["prediction_1d"].round(4).to_list()
    [-1.2247, 0.6124, 0.6124]
    """
    if not predictions:
        raise DataError("there are no predictions to average; give one frame per model")
    require_columns(predictions[0].columns, KEYS, "a frame of predictions")
    columns = [name for name in predictions[0].columns if name not in KEYS]
    members = range(len(predictions))
    rows = predictions[0].select(*KEYS)
    for member, frame in enumerate(predictions):
        if sorted(frame.columns) != sorted(predictions[0].columns):
            raise DataError(
                f"all models need the same columns, but one has {choices(predictions[0].columns)} and "
                f"another {choices(frame.columns)}"
            )
        if frame.select(*KEYS).is_duplicated().any():
            raise DataError("a model's predictions have more than one row for a stock and day; keep one")
        own = frame.select(*KEYS, *(pl.col(name).alias(f"{member} {name}") for name in columns))
        rows = rows.join(own, on=KEYS, how="inner", maintain_order="left")
    if rows.is_empty():
        raise DataError("the models share no stock and day, so there is nothing to average")
    return rows.select(*KEYS, *(_mean_rank([f"{m} {name}" for m in members]).alias(name) for name in columns))


def _mean_rank(members: Sequence[str]) -> pl.Expr:
    values = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in members]
    known = pl.all_horizontal(value.is_not_null() for value in values)
    # Ranks are multiples of 1/2 with exact sums and squares, so the order of stocks has no effect.
    count = known.sum().over(DATE)
    total = pl.lit(0.0)
    for value in values:
        rank = pl.when(known).then(value).rank("average").over(DATE)
        centred = rank - (count + 1) / 2
        deviation = ((centred**2).sum().over(DATE) / count).sqrt()
        total = total + pl.when(deviation > 0).then(centred / deviation).otherwise(centred)
    return total / len(members)

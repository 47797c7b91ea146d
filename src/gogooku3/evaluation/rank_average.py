"""Several models' predictions as one: the mean of their ranks within the day."""

from collections.abc import Sequence

import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.schema import DATE, KEYS, require_columns

RANK_AVERAGE = "rank_average"
"""The model name of the network and LightGBM averaged."""


def rank_average(predictions: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Average several models' predictions by rank, so that none counts more for speaking louder.

    Column by column and day by day, each model's predictions become average ranks, scaled to mean 0 and
    deviation 1; then the mean over models is taken. A day uses that day's predictions alone. Ties share
    their rank; a day on which a model tells no stock apart counts 0 for that model. A prediction that
    one model lacks (null or NaN) is left out for all of them, and is null in the result.

    Args:
        predictions: a frame a model: `date, code` and the same prediction columns, each row once.

    Returns:
        `date, code` and the prediction columns (Float64), on the rows that every frame has, in the order of
        the first frame. The order of the frames changes nothing but rounding.

    Raises:
        DataError: no frame, other columns than the first frame's, a row that comes twice, or no row that
            all frames share.

    >>> from datetime import date
    >>> keys = {"date": [date(2024, 1, 4)] * 3, "code": ["A", "B", "C"]}
    >>> loud = pl.DataFrame({**keys, "prediction_1d": [-90.0, 50.0, 10.0]})
    >>> quiet = pl.DataFrame({**keys, "prediction_1d": [0.1, 0.2, 0.3]})
    >>> rank_average([loud, quiet])["prediction_1d"].round(4).to_list()
    [-1.2247, 0.6124, 0.6124]
    """
    if not predictions:
        raise DataError("there are no predictions to average; give the frame of one model or more")
    columns = _prediction_columns(predictions)
    members = range(len(predictions))
    rows = predictions[0].select(*KEYS)
    for member, frame in zip(members, predictions, strict=True):
        if frame.select(*KEYS).is_duplicated().any():
            raise DataError("a model's predictions have more than one row for a stock and day; keep one")
        own = frame.select(*KEYS, *(pl.col(name).alias(f"{member} {name}") for name in columns))
        rows = rows.join(own, on=KEYS, how="inner", maintain_order="left")
    if rows.is_empty():
        raise DataError("the models share no stock and day, so there is nothing to average")
    return rows.select(*KEYS, *(_mean_rank([f"{m} {name}" for m in members]).alias(name) for name in columns))


def _prediction_columns(predictions: Sequence[pl.DataFrame]) -> list[str]:
    require_columns(predictions[0].columns, KEYS, "a frame of predictions")
    columns = [name for name in predictions[0].columns if name not in KEYS]
    for frame in predictions[1:]:
        if sorted(frame.columns) != sorted(predictions[0].columns):
            raise DataError(
                f"all models need the same columns, but one has {choices(predictions[0].columns)} and "
                f"another {choices(frame.columns)}"
            )
    return columns


def _mean_rank(members: Sequence[str]) -> pl.Expr:
    values = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in members]
    known = pl.all_horizontal(value.is_not_null() for value in values)
    # Ranks are halves of whole numbers: their sums and squares are exact, so that the order of the stocks
    # changes no bit.
    count = known.sum().over(DATE)
    total = pl.lit(0.0)
    for value in values:
        rank = pl.when(known).then(value).rank("average").over(DATE)
        centred = rank - (count + 1) / 2
        deviation = ((centred**2).sum().over(DATE) / count).sqrt()
        total = total + pl.when(deviation > 0).then(centred / deviation).otherwise(centred)
    return total / len(members)

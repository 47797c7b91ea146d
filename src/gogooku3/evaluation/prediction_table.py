"""Validation of prediction tables, and selection of the rows that all models share."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from gogooku3.errors import DataError
from gogooku3.evaluation.rank_average import RANK_AVERAGE
from gogooku3.schema import CODE, DATE, ONE_DAY_RETURN, PREDICTION_COLUMNS, require_columns

ORACLE = "oracle"
"""Model name of a synthetic market's true expected returns: a reference that does not compete."""

# In this order the models' rows for one stock, day and horizon are adjacent, so checks compare each row with
# the one before.
_ORDER = ("horizon", "fold", DATE, CODE, "model")
FORECAST = ("horizon", DATE, CODE)
"""Columns that identify a forecast; each model has one row per forecast."""


class SharedRows(NamedTuple):
    """The rows that all competing models predict, and the number of rows each model lost."""

    table: pl.DataFrame
    lost: dict[str, int]


def check_predictions(table: pl.DataFrame) -> pl.DataFrame:
    """Validate a prediction table and return it in canonical types and order, missing targets as null.

    Any integer and float widths are accepted; other columns are dropped.

    Returns:
        `date: Date, code: Enum, fold: Int32, model: Enum, horizon: Int32, prediction: Float64,
        target: Float64`, sorted by horizon, fold, date, code, model; and `return_1d: Float64` where given.

    Raises:
        DataError: lists every problem with its count and an example: columns or types, missing keys, missing
            or infinite predictions, infinite targets, horizons below 1, repeated rows of a model, horizon,
            date and code, a date in two folds, or targets that differ between models.
    """
    require_columns(table.columns, PREDICTION_COLUMNS, "a prediction table")
    _check_types(table)
    if table.is_empty():
        raise DataError("the prediction table has no rows; predict at least one day before scoring")
    one_day = [ONE_DAY_RETURN] if ONE_DAY_RETURN in table.columns else []
    canonical = table.select(
        DATE,
        as_enum(table[CODE]),
        pl.col("fold").cast(pl.Int32),
        as_enum(table["model"]),
        pl.col("horizon").cast(pl.Int32),
        pl.col("prediction").cast(pl.Float64),
        pl.col("target", *one_day).cast(pl.Float64).fill_nan(None),
    ).sort(*_ORDER)
    if problems := _problems(canonical):
        raise DataError(
            f"the prediction table can't be scored: {'; '.join(problems)}. Correct the table, or "
            "remove those rows"
        )
    return canonical


def shared_rows(table: pl.DataFrame) -> SharedRows:
    """Keep the rows that every competing model predicts, so that all are scored on the same rows.

    A model without predictions at a horizon doesn't compete there. The oracle competes only if it is the only
    model; otherwise it is restricted to the other models' rows.

    Args:
        table: result of `check_predictions`.

    Raises:
        DataError: no row is shared.
    """
    model = table["model"].cast(pl.String)
    competes = (model != ORACLE).to_numpy()
    if not competes.any():
        competes = ~competes
    forecast = (~same_as_before(table, FORECAST)).cum_sum().to_numpy() - 1
    n_models = np.bincount(forecast[competes], minlength=int(forecast[-1]) + 1)
    rivals = table.filter(pl.Series(competes)).group_by("horizon").agg(pl.col("model").n_unique().alias("n"))
    needed = table["horizon"].replace_strict(rivals["horizon"], rivals["n"], default=0).to_numpy()
    shared = (n_models[forecast] == needed) & (needed > 0)
    if not shared.any():
        raise DataError(
            "no stock and day is predicted by every model, so they can't be compared; score the models "
            "one at a time"
        )
    dropped = model.filter(pl.Series(~shared)).value_counts()
    lost = dict.fromkeys(sorted(model.unique()), 0) | dict(dropped.iter_rows())
    return SharedRows(table if shared.all() else table.filter(pl.Series(shared)), lost)


def model_order(models: Iterable[str]) -> list[str]:
    """Distinct model names in alphabetical order, then the rank average, then the oracle.

    >>> model_order(["oracle", "rank_average", "linear", "lightgbm", "linear"])
    ['lightgbm', 'linear', 'rank_average', 'oracle']
    """
    return sorted(set(models), key=lambda name: (name == ORACLE, name == RANK_AVERAGE, name))


def by_horizon(table: pl.DataFrame, compute: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Apply `compute` to one horizon at a time, to save memory, and concatenate the results."""
    horizons = table["horizon"].drop_nulls().unique().sort()
    return pl.concat([compute(table.filter(horizon=each)) for each in horizons] or [compute(table)])


def as_enum(names: pl.Series) -> pl.Series:
    """Convert text to an Enum in alphabetical order, which sorts and joins much faster."""
    texts = names.cast(pl.String)
    return texts.cast(pl.Enum(texts.drop_nulls().unique().sort()))


def same_as_before(table: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    """Boolean series: each row equals the one before in these columns."""
    values = [pl.col(name).to_physical() for name in columns]
    same = pl.all_horizontal(value == value.shift(1) for value in values)
    return table.select(same.fill_null(False)).to_series()


def _check_types(table: pl.DataFrame) -> None:
    schema = table.schema
    expected = {
        DATE: ("Date", schema[DATE] == pl.Date),
        CODE: ("String", _is_text(schema[CODE])),
        "model": ("String", _is_text(schema["model"])),
        "fold": ("an integer", schema["fold"].is_integer()),
        "horizon": ("an integer", schema["horizon"].is_integer()),
        "prediction": ("Float64", schema["prediction"].is_float()),
        "target": ("Float64", schema["target"].is_float()),
    }
    wrong = [f"{name} is {schema[name]}, not {kind}" for name, (kind, right) in expected.items() if not right]
    if wrong:
        raise DataError(
            f"the prediction table has columns of the wrong type: {'; '.join(wrong)}. Convert them first"
        )
    for name in ("fold", "horizon"):
        too_large = table[name].filter(table[name].cast(pl.Int32, strict=False).is_null()).drop_nulls()
        if len(too_large):
            raise DataError(f"the prediction table has a {name} of {too_large[0]}; use numbers below {2**31}")


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or dtype == pl.Categorical or dtype == pl.Enum


def _problems(table: pl.DataFrame) -> list[str]:
    """Descriptions of all problems, each with its count and an example."""
    prediction, target = pl.col("prediction"), pl.col("target")
    missing_key = pl.any_horizontal(pl.col(*_ORDER).is_null())
    rows = {
        "rows with a missing date, code, fold, model or horizon": missing_key,
        "rows with a horizon below 1": pl.col("horizon") < 1,
        "rows with a missing prediction": prediction.is_null() | prediction.is_nan(),
        "rows with an infinite prediction": prediction.is_infinite(),
        "rows with an infinite target": target.is_infinite(),
    }
    examples = {what: table.filter(check) for what, check in rows.items()}
    examples["rows that repeat a model, horizon, date and code"] = table.filter(same_as_before(table, _ORDER))
    examples["targets that differ from another model's"] = by_horizon(table, _differing_targets)
    problems = [f"{len(bad)} {what} ({_example(bad)})" for what, bad in examples.items() if len(bad)]
    folds = table.group_by(DATE).agg(folds=pl.col("fold").unique().sort())
    several = folds.filter(pl.col("folds").list.len() > 1).sort(DATE)
    if len(several):
        day, numbers = several.row(0)
        problems.append(
            f"{len(several)} dates in more than one fold, but a day may be tested only once "
            f"({day} in the folds {', '.join(map(str, numbers))})"
        )
    return problems


def _differing_targets(table: pl.DataFrame) -> pl.DataFrame:
    """Rows whose target differs from that of the previous model with a known target."""
    known = table.drop_nulls("target")
    target, before = pl.col("target"), pl.col("target").shift(1)
    differs = (target - before).abs() > 1e-6 * (1.0 + target.abs())
    return known.filter(same_as_before(known, FORECAST) & known.select(differs).to_series())


def _example(rows: pl.DataFrame) -> str:
    row = rows.row(0, named=True)
    return f"first: model {row['model']}, horizon {row['horizon']}, {row[DATE]}, code {row[CODE]}"

"""The prediction table at the door: checked, made canonical, and cut to the rows all models share."""

from typing import NamedTuple

import polars as pl

from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, PREDICTION_COLUMNS, require_columns

ORACLE = "oracle"
"""The model name of a synthetic market's true expectations: a reference, never a competitor."""

_KEY = ("model", "horizon", DATE, CODE)
_ORDER = ("model", "horizon", "fold", DATE, CODE)


class SharedRows(NamedTuple):
    """A prediction table cut to common rows, and what each model lost by it."""

    table: pl.DataFrame
    lost: dict[str, int]


def check_predictions(table: pl.DataFrame) -> pl.DataFrame:
    """Check a prediction table and return it in canonical types and order, missing targets as null.

    Integer and float widths may differ from the canonical ones; other columns are dropped.

    Returns:
        `date: Date, code: String, fold: Int32, model: String, horizon: Int32, prediction: Float64,
        target: Float64`, sorted by model, horizon, fold, date, code.

    Raises:
        DataError: naming every problem with its count and an example: columns or types, missing
            keys, predictions missing or infinite, infinite targets, horizons below 1, two rows for
            one model, horizon, date and code, a date in two folds, models whose targets differ.
    """
    require_columns(table.columns, PREDICTION_COLUMNS, "a prediction table")
    _check_types(table.schema)
    if table.is_empty():
        raise DataError("the prediction table has no rows; predict at least one day before scoring")
    canonical = table.select(
        DATE,
        pl.col(CODE).cast(pl.String),
        pl.col("fold").cast(pl.Int32),
        pl.col("model").cast(pl.String),
        pl.col("horizon").cast(pl.Int32),
        pl.col("prediction").cast(pl.Float64),
        pl.col("target").cast(pl.Float64).fill_nan(None),
    ).sort(*_ORDER)
    problems = [*_value_problems(canonical), *_key_problems(canonical)]
    if problems:
        raise DataError("the prediction table can't be scored: " + "; ".join(problems))
    return canonical


def shared_rows(table: pl.DataFrame) -> SharedRows:
    """Keep the rows that every competing model predicts, so that all are scored on the same ones.

    Horizon by horizon: a model that has nothing at a horizon doesn't compete there. The oracle
    follows and takes nothing away from the others; alone in a table, it stands for itself.

    Args:
        table: as `check_predictions` returns it.

    Raises:
        DataError: no row is shared.
    """
    competing = table.filter(pl.col("model") != ORACLE)
    if competing.is_empty():
        competing = table
    key = ["horizon", DATE, CODE]
    models_at = competing.group_by("horizon").agg(needed=pl.col("model").n_unique())
    common = competing.group_by(key).agg(have=pl.len()).join(models_at, on="horizon")
    keys = common.filter(pl.col("have") == pl.col("needed")).select(key)
    if keys.is_empty():
        raise DataError(
            "no stock and day is predicted by every model, so there is nothing to compare; score the "
            "models one at a time"
        )
    kept = table.join(keys, on=key, how="semi", maintain_order="left")
    before, after = (dict(frame.group_by("model").len().iter_rows()) for frame in (table, kept))
    return SharedRows(kept, {model: before[model] - after.get(model, 0) for model in sorted(before)})


def _check_types(schema: pl.Schema) -> None:
    wanted = {
        DATE: ("Date", schema[DATE] == pl.Date),
        CODE: ("String", _is_text(schema[CODE])),
        "model": ("String", _is_text(schema["model"])),
        "fold": ("an integer", schema["fold"].is_integer()),
        "horizon": ("an integer", schema["horizon"].is_integer()),
        "prediction": ("Float64", schema["prediction"].is_float()),
        "target": ("Float64", schema["target"].is_float()),
    }
    wrong = [f"{name} is {schema[name]}, not {kind}" for name, (kind, right) in wanted.items() if not right]
    if wrong:
        raise DataError("the prediction table has columns of another type: " + "; ".join(wrong))


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or dtype == pl.Categorical or dtype == pl.Enum


def _value_problems(table: pl.DataFrame) -> list[str]:
    missing_key = pl.any_horizontal(pl.col(*_ORDER).is_null())
    checks = {
        "a missing date, code, fold, model or horizon": missing_key,
        "a horizon below 1": pl.col("horizon") < 1,
        "a missing prediction": pl.col("prediction").is_null() | pl.col("prediction").is_nan(),
        "an infinite prediction": pl.col("prediction").is_infinite(),
        "an infinite target": pl.col("target").is_infinite(),
    }
    counts = table.select(pl.col(DATE).is_not_null().alias("_"), **checks).select(pl.exclude("_").sum()).row(0)
    return [
        f"{count} rows with {what} ({_example(table.filter(check))})"
        for (what, check), count in zip(checks.items(), counts, strict=True)
        if count
    ]


def _key_problems(table: pl.DataFrame) -> list[str]:
    """Rows that would be counted twice, and models that were not scored on the same truth."""
    problems = []
    # The table is sorted, so that rows of one key in one fold are neighbours; folds are checked by date.
    folds = table.group_by(DATE).agg(folds=pl.col("fold").unique().sort()).filter(pl.col("folds").list.len() > 1)
    if len(folds):
        day, several = folds.sort(DATE).row(0)
        problems.append(
            f"{len(folds)} dates in more than one fold, where a day may be tested once "
            f"({day} in the folds {', '.join(map(str, several))})"
        )
    same = pl.all_horizontal([pl.col(name) == pl.col(name).shift(1) for name in _ORDER])
    repeated = table.filter(same)
    if len(repeated):
        problems.append(
            f"{len(repeated)} rows that repeat a model, horizon, date and code ({_example(repeated)})"
        )
    span = pl.col("target").max() - pl.col("target").min()
    size = pl.col("target").abs().max()
    truths = table.group_by("horizon", DATE, CODE).agg(model=pl.lit("any"), apart=span > 1e-6 * (1 + size))
    apart = truths.filter("apart").sort("horizon", DATE, CODE)
    if len(apart):
        problems.append(f"{len(apart)} targets that differ between models ({_example(apart)})")
    return problems


def _example(rows: pl.DataFrame) -> str:
    row = rows.row(0, named=True)
    return f"first: model {row['model']}, horizon {row['horizon']}, {row[DATE]}, code {row[CODE]}"

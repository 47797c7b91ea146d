"""The prediction table at the door: checked, made canonical, and cut to the rows all models share."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, ONE_DAY_RETURN, PREDICTION_COLUMNS, require_columns

ORACLE = "oracle"
"""The model name of a synthetic market's true expectations: a reference, never a competitor."""

# In this order the models' rows for one stock, day and horizon are neighbours, which makes every check
# below a comparison with the row before.
_ORDER = ("horizon", "fold", DATE, CODE, "model")
FORECAST = ("horizon", DATE, CODE)
"""What the neighbours have in common: the forecast that each model makes."""


class SharedRows(NamedTuple):
    """A prediction table cut to common rows, and what each model lost by it."""

    table: pl.DataFrame
    lost: dict[str, int]


def check_predictions(table: pl.DataFrame) -> pl.DataFrame:
    """Check a prediction table and return it in canonical types and order, missing targets as null.

    Integer and float widths may differ from the canonical ones; other columns are dropped.

    Returns:
        `date: Date, code: Enum, fold: Int32, model: Enum, horizon: Int32, prediction: Float64,
        target: Float64`, sorted by horizon, fold, date, code, model; and `return_1d: Float64` where given.

    Raises:
        DataError: naming every problem with its count and an example: columns or types, missing
            keys, predictions missing or infinite, infinite targets, horizons below 1, two rows for
            one model, horizon, date and code, a date in two folds, models whose targets differ.
    """
    require_columns(table.columns, PREDICTION_COLUMNS, "a prediction table")
    _check_types(table)
    if table.is_empty():
        raise DataError("the prediction table has no rows; predict at least one day before scoring")
    one_day = (
        [pl.col(ONE_DAY_RETURN).cast(pl.Float64).fill_nan(None)] if ONE_DAY_RETURN in table.columns else []
    )
    canonical = table.select(
        DATE,
        as_enum(table[CODE]),
        pl.col("fold").cast(pl.Int32),
        as_enum(table["model"]),
        pl.col("horizon").cast(pl.Int32),
        pl.col("prediction").cast(pl.Float64),
        pl.col("target").cast(pl.Float64).fill_nan(None),
        *one_day,
    ).sort(*_ORDER)
    problems = [*_value_problems(canonical), *_key_problems(canonical)]
    if problems:
        raise DataError(
            f"the prediction table can't be scored: {'; '.join(problems)}. Correct the table, or leave those "
            "rows out"
        )
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
    model = table["model"].cast(pl.String)
    competes = (model != ORACLE).to_numpy()
    if not competes.any():
        competes = ~competes
    # A run is one stock, day and horizon: neighbours in the canonical order.
    run = (~same_as_before(table, FORECAST)).cum_sum().to_numpy() - 1
    have = np.bincount(run[competes], minlength=int(run[-1]) + 1)
    rivals = table.filter(pl.Series(competes)).group_by("horizon").agg(pl.col("model").n_unique().alias("n"))
    needed = table["horizon"].replace_strict(rivals["horizon"], rivals["n"], default=0).to_numpy()
    shared = (have[run] == needed) & (needed > 0)
    if not shared.any():
        raise DataError(
            "no stock and day is predicted by every model, so there is nothing to compare; score the "
            "models one at a time"
        )
    dropped = model.filter(pl.Series(~shared)).value_counts()
    lost = dict.fromkeys(sorted(model.unique()), 0) | dict(dropped.iter_rows())
    return SharedRows(table if shared.all() else table.filter(pl.Series(shared)), lost)


def by_horizon(table: pl.DataFrame, follow: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """What `follow` makes of one horizon after the other, which takes a fraction of the memory."""
    horizons = table["horizon"].unique().sort()
    return pl.concat([follow(table.filter(horizon=each)) for each in horizons] or [follow(table)])


def as_enum(names: pl.Series) -> pl.Series:
    """The same texts as numbers in alphabetical order, which sort and join many times faster."""
    texts = names.cast(pl.String)
    return texts.cast(pl.Enum(texts.drop_nulls().unique().sort()))


def same_as_before(table: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    """Whether each row equals the one before in these columns."""
    values = [pl.col(name).to_physical() for name in columns]
    same = pl.all_horizontal(value == value.shift(1) for value in values)
    return table.select(same.fill_null(False)).to_series()


def _check_types(table: pl.DataFrame) -> None:
    schema = table.schema
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
        raise DataError(
            f"the prediction table has columns of another type: {'; '.join(wrong)}. Convert them first"
        )
    for name in ("fold", "horizon"):
        large = table[name].filter(table[name].cast(pl.Int32, strict=False).is_null()).drop_nulls()
        if len(large):
            raise DataError(f"the prediction table has a {name} of {large[0]}; use numbers below {2**31}")


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
    counts = table.select(check.sum().alias(what) for what, check in checks.items()).row(0)
    return [
        f"{count} rows with {what} ({_example(table.filter(check))})"
        for (what, check), count in zip(checks.items(), counts, strict=True)
        if count
    ]


def _key_problems(table: pl.DataFrame) -> list[str]:
    """Rows that would be counted twice, and models that were not scored on the same truth."""
    problems = []
    folds = table.group_by(DATE).agg(folds=pl.col("fold").unique().sort())
    shared = folds.filter(pl.col("folds").list.len() > 1).sort(DATE)
    if len(shared):
        day, several = shared.row(0)
        problems.append(
            f"{len(shared)} dates in more than one fold, where a day may be tested once "
            f"({day} in the folds {', '.join(map(str, several))})"
        )
    repeated = table.filter(same_as_before(table, _ORDER))
    if len(repeated):
        problems.append(
            f"{len(repeated)} rows that repeat a model, horizon, date and code ({_example(repeated)})"
        )
    apart = by_horizon(table, _targets_apart)
    if len(apart):
        problems.append(f"{len(apart)} targets that differ from another model's ({_example(apart)})")
    return problems


def _targets_apart(table: pl.DataFrame) -> pl.DataFrame:
    """Rows whose target is not that of the model before which knows it."""
    known = table.drop_nulls("target")
    target, before = pl.col("target"), pl.col("target").shift(1)
    differs = (target - before).abs() > 1e-6 * (1.0 + target.abs())
    return known.filter(same_as_before(known, FORECAST) & known.select(differs).to_series())


def _example(rows: pl.DataFrame) -> str:
    row = rows.row(0, named=True)
    return f"first: model {row['model']}, horizon {row['horizon']}, {row[DATE]}, code {row[CODE]}"

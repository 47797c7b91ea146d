"""Values whatever they mean: infinite, NaN, constant, absurd and mostly unknown columns."""

import math
from collections.abc import Iterator, Sequence

import polars as pl

from gogooku3.config.quality import ColumnRules
from gogooku3.data.quality.problem import Problem, at_rows, problem


def missing_shares(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Share of unknown values of each column, NaN counted as unknown."""
    rows = max(frame.height, 1)
    return {name: _unknown(frame[name]) / rows for name in names}


def value_problems(
    frame: pl.DataFrame, names: Sequence[str], role: str, rules: ColumnRules
) -> Iterator[Problem]:
    """What is wrong with the values of numeric columns, from one pass over each.

    Args:
        role: price, feature or target; without a close there is nothing to learn. What makes a target
            useless is for `learning` to say.
    """
    if not names:
        return
    floats = [name for name in names if frame.schema[name].is_float()]
    extremes = frame.select(
        *(pl.col(name).min().alias(f"min {name}") for name in names),
        *(pl.col(name).max().alias(f"max {name}") for name in names),
        *(pl.col(name).is_nan().any().alias(f"nan {name}") for name in floats),
    ).row(0, named=True)
    for name in names:
        column, low, high = frame[name], extremes[f"min {name}"], extremes[f"max {name}"]
        if name in floats and extremes[f"nan {name}"]:
            yield from at_rows("nan", frame, column.is_nan(), name, "read as null; write nulls")
        if low is None or math.isnan(low):
            if role != "target":
                needed = name == "close"
                check = "no_values" if needed else "empty_column"
                advice = "nothing can be learned without it" if needed else "it carries nothing: drop it"
                yield problem(check, name, frame.height, advice, rows=frame.height)
            continue
        if role != "target":
            yield from _extremes(frame, name, low, high, rules.largest_value if role == "feature" else None)
        share = column.null_count() / frame.height
        if share > rules.null_share:
            advice = "look why it is so often unknown"
            yield from at_rows("mostly_null", frame, column.is_null(), name, advice, f"{share:.0%} null")


def _extremes(
    frame: pl.DataFrame, name: str, low: float, high: float, largest: float | None
) -> Iterator[Problem]:
    """What a column's least and greatest value tell."""
    column = frame[name]
    if math.isinf(low) or math.isinf(high):
        advice = "a division by zero, most often: write null instead"
        yield from at_rows("infinite", frame, column.is_infinite(), name, advice)
    elif largest is not None and max(-low, high) > largest:
        advice = "look for units mixed up, or a division by nearly zero"
        yield from at_rows("huge_value", frame, column.abs() > largest, name, advice)
    if low == high:
        advice, check = "it carries nothing: drop it", f"constant (always {low})"
        yield problem("constant", name, frame.height, advice, check=check, rows=frame.height)


def _unknown(column: pl.Series) -> int:
    return column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)

"""Checks that apply to any numeric column: infinite, NaN, constant, implausible and mostly missing values."""

import math
from collections.abc import Iterator, Sequence

import polars as pl

from gogooku3.config.quality import ColumnRules
from gogooku3.data.quality.problem import Problem, problem, problem_at


def missing_shares(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Share of null and NaN per column."""
    rows = max(frame.height, 1)
    return {name: frame[name].fill_nan(None).null_count() / rows for name in names}


def value_problems(
    frame: pl.DataFrame, names: Sequence[str], role: str, rules: ColumnRules
) -> Iterator[Problem]:
    """Problems of the values of numeric columns, from one pass over each.

    Args:
        role: price, feature or target. `target_problems` checks whether a target can be learned.
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
            yield from problem_at("nan", frame, column.is_nan(), name)
        if low is None or math.isnan(low):
            if role != "target":
                check = "no_values" if name == "close" else "empty_column"
                yield problem(check, name, frame.height, rows=frame.height)
            continue
        if role != "target":
            yield from _extremes(frame, name, low, high, rules.largest_value if role == "feature" else None)
        share = column.null_count() / frame.height
        if share > rules.null_share:
            yield from problem_at("mostly_null", frame, column.is_null(), name, f"{share:.0%} null")


def _extremes(
    frame: pl.DataFrame, name: str, low: float, high: float, largest: float | None
) -> Iterator[Problem]:
    """Problems that the smallest and largest value of a column show."""
    column = frame[name]
    if math.isinf(low) or math.isinf(high):
        yield from problem_at("infinite", frame, column.is_infinite(), name)
    elif largest is not None and max(-low, high) > largest:
        yield from problem_at("huge_value", frame, column.abs() > largest, name)
    if low == high:
        yield problem("constant", name, frame.height, check=f"constant (always {low})", rows=frame.height)

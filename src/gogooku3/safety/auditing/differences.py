"""Differences between two output tables: column, size, first day and number of rows."""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import polars as pl

from gogooku3.safety.auditing.findings import ROWS
from gogooku3.schema import DATE

Kind = Literal["changed", "vanished", "appeared"]
_AFTER = " after"


@dataclass(frozen=True)
class Difference:
    """One column that differs, or rows that vanished or appeared; the other attributes as in `Finding`."""

    column: str
    rows: int
    first_day: dt.date
    last_day: dt.date
    kind: Kind = "changed"
    largest: float | None = None
    relative: float | None = None
    example: dict[str, Any] | None = None


def differences(
    before: pl.DataFrame, after: pl.DataFrame, keys: list[str], values: list[str], tolerance: float = 0.0
) -> list[Difference]:
    """Compare two tables made by `output_table`; equal tables give an empty list.

    Rows are matched by key. Missing equals missing, whether null or NaN. Two numbers are within the
    tolerance if they differ by at most `tolerance` x the larger of |before|, |after| and the column's
    standard deviation.

    Args:
        before, after: tables sorted by the keys.
        keys: columns that identify a row, including the date.
        values: columns to compare; one that is missing on one side differs in all rows.
        tolerance: 0 compares bit for bit.
    """
    if before.is_empty() and after.is_empty():
        return []
    same_keys = before.select(keys).equals(after.select(keys))
    found: list[Difference] = []
    if not same_keys:
        found += [*_unmatched(before, after, keys, "vanished"), *_unmatched(after, before, keys, "appeared")]
    shared = [name for name in values if name in before.columns and name in after.columns]
    for name in values:
        if name not in shared:
            kind: Kind = "vanished" if name in before.columns else "appeared"
            days = (before if kind == "vanished" else after)[DATE]
            found.append(Difference(name, len(days), *_span(days), kind))
    first, second = before.select(*keys, *shared), after.select(*keys, *shared)
    if same_keys:
        joined = first.hstack([second[name].alias(name + _AFTER) for name in shared])
    else:
        joined = first.join(second, on=keys, how="inner", suffix=_AFTER, maintain_order="left")
    return [*found, *_changed(joined, keys, shared, tolerance)]


def _unmatched(table: pl.DataFrame, other: pl.DataFrame, keys: list[str], kind: Kind) -> list[Difference]:
    """Rows of a table whose key the other table lacks."""
    rows = table.select(keys).join(other.select(keys), on=keys, how="anti", maintain_order="left")
    if rows.is_empty():
        return []
    example = {name: str(value) for name, value in rows.row(0, named=True).items()}
    return [Difference(ROWS, rows.height, *_span(rows[DATE]), kind, example=example)]


def _changed(joined: pl.DataFrame, keys: list[str], names: list[str], tolerance: float) -> list[Difference]:
    """Columns that differ between matched rows."""
    if joined.is_empty() or not names:
        return []
    masks = joined.select(_differs(joined.schema, name, tolerance).alias(name) for name in names)
    found = []
    for name, count in zip(names, masks.sum().row(0), strict=True):
        if not count:
            continue
        rows = joined.filter(masks[name])
        largest = relative = None
        if joined.schema[name].is_numeric() and joined.schema[name + _AFTER].is_numeric():
            distance = rows[name].cast(pl.Float64) - rows[name + _AFTER].cast(pl.Float64)
            largest = _number(_finite(distance.abs()).max())
            deviation = _number(_finite(joined[name]).std())
            relative = largest / deviation if largest is not None and deviation else None
        example = {key: str(rows[key][0]) for key in keys}
        example |= {"before": rows[name][0], "after": rows[name + _AFTER][0]}
        span = _span(rows[DATE])
        found.append(Difference(name, int(count), *span, "changed", largest, relative, example))
    return found


def _differs(schema: pl.Schema, name: str, tolerance: float) -> pl.Expr:
    """True where the two values of a column differ by more than the tolerance."""
    one, other = (
        pl.col(column).fill_nan(None) if schema[column].is_float() else pl.col(column)
        for column in (name, name + _AFTER)
    )
    exact = one.ne_missing(other)
    if not tolerance or not (schema[name].is_numeric() and schema[name + _AFTER].is_numeric()):
        return exact
    first, second = one.cast(pl.Float64), other.cast(pl.Float64)
    deviation = pl.when(first.is_finite()).then(first).std().fill_null(0.0)
    scale = pl.max_horizontal(first.abs(), second.abs(), deviation)
    near = ((first - second).abs() <= tolerance * scale).fill_null(False)
    # An infinite scale would make any two values near.
    return exact & ~(near & first.is_finite() & second.is_finite())


def _finite(column: pl.Series) -> pl.Series:
    numbers = column.cast(pl.Float64)
    return numbers.filter(numbers.is_finite())


def _span(days: pl.Series) -> tuple[dt.date, dt.date]:
    return cast("dt.date", days.min()), cast("dt.date", days.max())


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

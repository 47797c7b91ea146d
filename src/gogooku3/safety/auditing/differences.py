"""Where two output tables differ: by column, how far, from which day, in how many rows."""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from gogooku3.safety.auditing.findings import ROWS
from gogooku3.schema import DATE

_OTHER = " after"


@dataclass(frozen=True)
class Moved:
    """A column that differs; attributes as in `Finding`. `what`: rows or columns "vanished" or "appeared"."""

    column: str
    rows: int
    first_day: dt.date
    last_day: dt.date
    largest: float | None
    relative: float | None
    example: dict[str, Any]
    what: str = ""


def differences(
    before: pl.DataFrame, after: pl.DataFrame, keys: list[str], values: list[str], tolerance: float = 0.0
) -> list[Moved]:
    """Compare two tables as `output_table` makes them; nothing found is an empty list.

    Rows are matched by key. Missing equals missing, whether null or NaN. With a tolerance, numbers differ
    when they are further apart than it, in units of the larger of the two or of the column's deviation.

    Args:
        before, after: tables, sorted by the keys.
        keys: columns that identify a row, the date among them.
        values: columns to compare; one that is missing on either side has moved altogether.
        tolerance: 0 compares bit for bit.
    """
    if before.is_empty() and after.is_empty():
        return []
    found = [*_rows(before, after, keys, "vanished"), *_rows(after, before, keys, "appeared")]
    shared = [name for name in values if name in before.columns and name in after.columns]
    for name in values:
        if name not in shared:
            days = (before if name in before.columns else after)[DATE]
            gone = "vanished" if name in before.columns else "appeared"
            found.append(Moved(name, len(days), *_span(days), None, None, {}, gone))
    if not before.select(keys).equals(after.select(keys)):
        joined = before.select(*keys, *shared).join(
            after.select(*keys, *shared), on=keys, how="inner", suffix=_OTHER, maintain_order="left"
        )
    else:
        joined = before.select(*keys, *shared).hstack(
            after.select(pl.col(shared).name.suffix(_OTHER)).get_columns() if shared else []
        )
    return [*found, *_values(joined, keys, shared, tolerance)]


def _rows(one: pl.DataFrame, other: pl.DataFrame, keys: list[str], what: str) -> list[Moved]:
    if one.height == other.height and one.select(keys).equals(other.select(keys)):
        return []
    alone = one.select(keys).join(other.select(keys), on=keys, how="anti", maintain_order="left")
    if alone.is_empty():
        return []
    example = {name: str(value) for name, value in alone.row(0, named=True).items()}
    return [Moved(ROWS, alone.height, *_span(alone[DATE]), None, None, example, what)]


def _values(joined: pl.DataFrame, keys: list[str], names: list[str], tolerance: float) -> list[Moved]:
    if joined.is_empty() or not names:
        return []
    masks = joined.select(_differs(joined.schema, name, tolerance).alias(name) for name in names)
    found = []
    for name, count in zip(names, masks.sum().row(0), strict=True):
        if not count:
            continue
        rows = joined.filter(masks[name])
        largest = relative = None
        if joined.schema[name].is_numeric() and joined.schema[name + _OTHER].is_numeric():
            move = (rows[name].cast(pl.Float64) - rows[name + _OTHER].cast(pl.Float64)).abs()
            largest = _number(move.filter(move.is_finite()).max())
            spread = _number(_finite(joined[name]).std())
            relative = largest / spread if largest is not None and spread else None
        example = {key: str(rows[key][0]) for key in keys}
        example |= {"before": rows[name][0], "after": rows[name + _OTHER][0]}
        found.append(Moved(name, int(count), *_span(rows[DATE]), largest, relative, example))
    return found


def _differs(schema: pl.Schema, name: str, tolerance: float) -> pl.Expr:
    one, other = pl.col(name), pl.col(name + _OTHER)
    if schema[name].is_float():
        one = one.fill_nan(None)
    if schema[name + _OTHER].is_float():
        other = other.fill_nan(None)
    exact = one.ne_missing(other)
    if not tolerance or not (schema[name].is_numeric() and schema[name + _OTHER].is_numeric()):
        return exact
    first, second = one.cast(pl.Float64), other.cast(pl.Float64)
    spread = pl.when(first.is_finite()).then(first).std().fill_null(0.0)
    scale = pl.max_horizontal(first.abs(), second.abs(), spread)
    near = ((first - second).abs() <= tolerance * scale).fill_null(False)
    return exact & ~near


def _finite(column: pl.Series) -> pl.Series:
    return column.cast(pl.Float64).filter(column.cast(pl.Float64).is_finite())


def _span(days: pl.Series) -> tuple[dt.date, dt.date]:
    first, last = days.min(), days.max()
    if not (isinstance(first, dt.date) and isinstance(last, dt.date)):
        raise AssertionError("an output table has days")
    return first, last


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

"""Converts pandas frames of client libraries to Polars without pyarrow, with given types."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.errors import DataError, choices

if TYPE_CHECKING:
    import pandas as pd


def to_polars(
    frame: "pd.DataFrame", what: str, dates: Sequence[str] = (), text: Sequence[str] | None = None
) -> pl.DataFrame:
    """Convert a frame column by column, without its index.

    Args:
        what: description of the frame for messages.
        dates: date columns.
        text: text columns; None: all but the dates. The others become numbers. Empty texts become null.

    Raises:
        DataError: a value is not of its column's type.
    """
    columns = []
    for name in map(str, frame.columns):
        values = frame[name]
        if name in dates:
            columns.append(pl.Series(name, values.to_numpy("datetime64[us]")).cast(pl.Date))
        elif text is None or name in text:
            columns.append(_texts(name, values))
        else:
            columns.append(_numbers(name, values, what))
    return pl.DataFrame(columns)


def _texts(name: str, values: Any) -> pl.Series:
    texts = [None if null else str(value) or None for value, null in zip(values, values.isna(), strict=True)]
    return pl.Series(name, texts, dtype=pl.String)


def _numbers(name: str, values: Any, what: str) -> pl.Series:
    if values.dtype.kind in "iuf":
        return pl.Series(name, values.to_numpy("float64"), nan_to_null=True)
    texts = _texts(name, values)
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() > texts.null_count():
        bad = texts.filter(numbers.is_null() & texts.is_not_null()).unique().head(3)
        raise DataError(
            f"{what}: column {name} should hold numbers but has {choices(map(repr, bad))}; "
            "the interface may have changed: the answer was not stored; try a newer gogooku3"
        )
    return numbers

"""pandas frames of client libraries as Polars frames, without pyarrow; types as told, never guessed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.errors import DataError, choices

if TYPE_CHECKING:
    import pandas as pd


def to_polars(
    frame: "pd.DataFrame", what: str, dates: Sequence[str] = (), text: Sequence[str] | None = None
) -> pl.DataFrame:
    """Convert a frame, column by column.

    Args:
        frame: its index is left out.
        what: it is, in words, for messages.
        dates: columns of days.
        text: columns of words; None: all but the days. The others become numbers. Empty texts are null.

    Raises:
        DataError: a value is not of its column's type.
    """
    columns = []
    for name in map(str, frame.columns):
        values = frame[name]
        if name in dates:
            columns.append(pl.Series(name, values.to_numpy("datetime64[us]")).cast(pl.Date))
        elif text is None or name in text:
            columns.append(_words(name, values))
        else:
            columns.append(_numbers(name, values, what))
    return pl.DataFrame(columns)


def _words(name: str, values: Any) -> pl.Series:
    unknown = values.isna()
    kept = [None if lost else str(value) for value, lost in zip(values, unknown, strict=True)]
    series = pl.Series(name, kept, dtype=pl.String)
    return pl.select(pl.when(series != "").then(series).alias(name)).to_series()


def _numbers(name: str, values: Any, what: str) -> pl.Series:
    if values.dtype.kind in "iuf":
        return pl.Series(name, values.to_numpy("float64"), nan_to_null=True)
    words = _words(name, values)
    numbers = words.cast(pl.Float64, strict=False)
    if numbers.null_count() > words.null_count():
        lost = words.filter(numbers.is_null() & words.is_not_null())
        raise DataError(
            f"{what}: column {name} should hold numbers but has {choices(map(repr, lost.unique().head(3)))}; "
            "the interface may have changed: nothing of it was kept"
        )
    return numbers

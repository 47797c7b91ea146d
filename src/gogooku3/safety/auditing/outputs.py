"""Conversion of a pipeline's inputs and outputs: Polars or pandas frames, in one shape to compare.
pandas is imported only for a pipeline that takes pandas frames."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from gogooku3.data.parsing import parse_codes, parse_dates, readable
from gogooku3.errors import DataError, choices
from gogooku3.schema import CODE, DATE, KEYS, map_columns, require_columns

Pipeline = Callable[..., Any]
Library = Literal["polars", "pandas"]

NEIGHBOURS = ("neighbour", "neighbor", "neighbour_code", "neighbor_code")
"""Columns that name the other end of an edge."""
FURTHER_KEYS = (*NEIGHBOURS, "horizon", "model", "fold", "step", "feature")
"""Columns that distinguish rows of one stock and day, where a table has them."""
_OUTPUT = "the pipeline's output"


def output_table(result: Any, keys: Sequence[str] | None = None) -> pl.DataFrame:
    """Convert a pipeline's result to a Polars table: key columns first, sorted by them.

    The result is a Polars frame, or a pandas frame or series with the keys as columns or index. The keys
    are the date (or `as_of`) and the code in their usual spellings, then those of `FURTHER_KEYS` present.

    Args:
        result: return value of the pipeline.
        keys: columns that identify a row in addition to date and code, in place of `FURTHER_KEYS`.

    Raises:
        DataError: the result is not a table, has no date or code, or a key is missing, empty or duplicated.

    >>> output_table(pl.DataFrame({"Date": ["2024-01-04"], "Code": [7203], "x": [1.0]})).row(0)
    (datetime.date(2024, 1, 4), '7203', 1.0)
    """
    frame = as_polars(result, _OUTPUT)
    mapping = map_columns(frame.columns, KEYS)
    if DATE not in mapping.values() and "as_of" in frame.columns:
        mapping["as_of"] = DATE
    require_columns(frame.columns, [key for key in KEYS if key not in mapping.values()], _OUTPUT)
    frame = frame.rename(mapping)
    if keys is not None:
        require_columns(frame.columns, [key for key in keys if key not in KEYS], _OUTPUT)
    further = [name for name in (FURTHER_KEYS if keys is None else keys) if name in frame.columns]
    advice = "give every row a date and a code"
    frame = frame.with_columns(
        readable(parse_dates(frame[DATE]), DATE, _OUTPUT, advice),
        readable(parse_codes(frame[CODE]), CODE, _OUTPUT, advice),
        *(pl.col(name).cast(pl.String) for name in further if name in NEIGHBOURS),
    )
    order = [*KEYS, *(name for name in further if name not in KEYS)]
    if nulls := sum(frame[key].null_count() for key in order):
        raise DataError(f"{_OUTPUT} has {nulls:,} empty cells among {choices(order)}; {advice}")
    frame = frame.select(*order, pl.exclude(order)).sort(order)
    if (repeated := frame.select(order).is_duplicated()).any():
        raise DataError(
            f"{_OUTPUT} has {int(repeated.sum()):,} rows that share {choices(order)}, such as "
            f"{frame.filter(repeated).row(0)[: len(order)]}; name the columns that distinguish them as keys"
        )
    return frame


def as_polars(frame: Any, what: str) -> pl.DataFrame:
    """Convert a Polars or pandas frame (or series) to Polars; named index levels become columns.

    Raises:
        DataError: it is neither; `what` names it in the message.
    """
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(frame, pandas.DataFrame | pandas.Series):
        raise DataError(f"{what} is a {type(frame).__name__}; expected a Polars or pandas frame")
    if isinstance(frame, pandas.Series):
        frame = frame.to_frame(frame.name or "value")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return pl.DataFrame([_column(str(name), frame[name]) for name in frame.columns])


def _column(name: str, column: Any) -> pl.Series:
    """Convert one pandas column without pyarrow."""
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return pl.Series(name, values, nan_to_null=True)
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("datetime64[us]"))
    missing = column.isna().to_numpy()
    return pl.Series(name, [None if gone else value for gone, value in zip(missing, values, strict=True)])


def as_library(frame: pl.DataFrame, library: Library) -> Any:
    """A fresh frame for the pipeline, which may modify it.

    Raises:
        DataError: the pipeline takes pandas frames and pandas is not installed.
    """
    if library == "polars":
        return frame.clone()
    try:
        import pandas
    except ImportError:
        raise DataError("the pipeline takes a pandas frame, but pandas is not installed") from None
    return pandas.DataFrame({column.name: column.to_numpy().copy() for column in frame})


def library_of(pipeline: Pipeline, prices: Any) -> Library | None:
    """The library of the pipeline's annotation, else of pandas prices; None: try both."""
    first = next(iter(parameters(pipeline).values()), None)
    if first is not None and first.annotation is not inspect.Parameter.empty:
        kind = first.annotation
        text = kind if isinstance(kind, str) else f"{getattr(kind, '__module__', '')}.{kind}"
        if "pandas" in text or text.startswith("pd."):
            return "pandas"
        if "polars" in text or text.startswith("pl."):
            return "polars"
    return None if isinstance(prices, pl.DataFrame | pl.LazyFrame) else "pandas"


def parameters(pipeline: Pipeline) -> Mapping[str, inspect.Parameter]:
    """The pipeline's parameters; none for a builtin without a signature."""
    try:
        return inspect.signature(pipeline).parameters
    except (TypeError, ValueError):
        return {}

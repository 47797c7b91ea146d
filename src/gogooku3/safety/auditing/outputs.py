"""What a pipeline is given and what it gives back: Polars or pandas frames, made one shape to compare.

pandas is loaded only for a pipeline that wants it.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
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
"""Columns that tell rows of one stock and day apart, where a table has them."""


def output_table(result: Any, keys: Sequence[str] | None = None) -> pl.DataFrame:
    """What a pipeline returned as a Polars table: keys first, sorted by them.

    A Polars frame, or a pandas frame or series with the keys as columns or index. The keys are the date
    (or `as_of`) and the code in their usual spellings, then those of `FURTHER_KEYS` that are there.

    Args:
        result: what the pipeline returned.
        keys: the columns that identify a row beside date and code, in place of `FURTHER_KEYS`.

    Raises:
        DataError: it is no table, has no date or code, a key is missing or names two rows.

    >>> output_table(pl.DataFrame({"Date": ["2024-01-04"], "Code": [7203], "x": [1.0]})).row(0)
    (datetime.date(2024, 1, 4), '7203', 1.0)
    """
    frame = as_polars(result, "the pipeline's output")
    mapping = map_columns(frame.columns, KEYS)
    if DATE not in mapping.values() and "as_of" in frame.columns:
        mapping["as_of"] = DATE
    if lacking := [key for key in KEYS if key not in mapping.values()]:
        require_columns(frame.columns, lacking, "the pipeline's output")
    frame = frame.rename(mapping)
    further = [name for name in (FURTHER_KEYS if keys is None else keys) if name in frame.columns]
    if keys is not None:
        require_columns(frame.columns, [key for key in keys if key not in KEYS], "the pipeline's output")
    what, advice = "the pipeline's output", "give every row its day and its code"
    frame = frame.with_columns(
        readable(parse_dates(frame[DATE]), DATE, what, advice),
        readable(parse_codes(frame[CODE]), CODE, what, advice),
        *(pl.col(name).cast(pl.String) for name in further if name in NEIGHBOURS),
    )
    order = [*KEYS, *(name for name in further if name not in KEYS)]
    if nulls := sum(frame[key].null_count() for key in order):
        raise DataError(f"the pipeline's output has {nulls:,} empty cells among {choices(order)}; {advice}")
    frame = frame.select(*order, pl.exclude(order)).sort(order)
    repeated = frame.select(order).is_duplicated()
    if repeated.any():
        raise DataError(
            f"the pipeline's output has {int(repeated.sum()):,} rows that share {choices(order)}, such as "
            f"{frame.filter(repeated).row(0)[: len(order)]}; name the columns that tell them apart as keys"
        )
    return frame


def as_polars(frame: Any, what: str) -> pl.DataFrame:
    """A Polars or pandas frame (or series) as Polars; named index levels become columns.

    Raises:
        DataError: it is neither.
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
    """One pandas column, without help from pyarrow."""
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return pl.Series(name, values, nan_to_null=True)
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("datetime64[us]"))
    missing = column.isna().to_numpy()
    return pl.Series(name, [None if gone else value for gone, value in zip(missing, values, strict=True)])


def as_library(frame: pl.DataFrame, library: Library) -> Any:
    """A fresh frame for the pipeline, which may change it.

    Raises:
        DataError: pandas is wanted and not installed.
    """
    if library == "polars":
        return frame.clone()
    try:
        import pandas
    except ImportError:
        raise DataError("the pipeline wants a pandas frame, but pandas is not installed") from None
    return pandas.DataFrame({column.name: column.to_numpy().copy() for column in frame})


def wanted_library(pipeline: Pipeline, given: Any) -> Library | None:
    """Which frame a pipeline takes: by its annotation, else that of the prices; None: to be tried."""
    try:
        first = next(iter(inspect.signature(pipeline).parameters.values()))
    except (TypeError, ValueError, StopIteration):
        first = None
    if first is not None and first.annotation is not inspect.Parameter.empty:
        kind = first.annotation
        text = kind if isinstance(kind, str) else f"{getattr(kind, '__module__', '')}.{kind}"
        if "pandas" in text or text.startswith("pd."):
            return "pandas"
        if "polars" in text or text.startswith("pl."):
            return "polars"
    return None if isinstance(given, pl.DataFrame | pl.LazyFrame) else "pandas"


def takes_targets(pipeline: Pipeline) -> bool:
    """Whether a pipeline has a parameter called `targets`."""
    try:
        return "targets" in inspect.signature(pipeline).parameters
    except (TypeError, ValueError):
        return False

"""Days and codes: can they be read, is there one row for each, in order. Looks at no other column."""

from collections.abc import Iterator, Mapping

import polars as pl

from gogooku3.data.parsing import Parsed, parse_codes, parse_dates
from gogooku3.data.prices import duplicate_rows, is_sorted_by
from gogooku3.data.quality.problem import Problem, at_rows, problem
from gogooku3.schema import CODE, DATE, KEYS


def read_keys(frame: pl.DataFrame, keys: Mapping[str, str]) -> tuple[pl.DataFrame, list[Problem]]:
    """The frame with canonical keys, and what could not be read of them.

    Args:
        keys: `{found: canonical}`.
    """
    frame = frame.rename(keys)
    days, codes = parse_dates(frame[DATE]), parse_codes(frame[CODE])
    problems = [*unreadable(days, DATE, "write days as 2024-01-31"), *unreadable(codes, CODE, "write text")]
    for parsed, key in ((days, DATE), (codes, CODE)):
        if nulls := parsed.values.null_count() - parsed.unreadable.len():
            row = {"row": f"row {(frame[key].is_null().arg_max() or 0) + 1:,}"}
            advice = "fill it in or remove those rows"
            problems.append(problem("no_key", key, nulls, advice, row, rows=frame.height))
    return frame.with_columns(days.values.alias(DATE), codes.values.alias(CODE)), problems


def unreadable(parsed: Parsed, column: str, advice: str) -> Iterator[Problem]:
    """What could not be read of a column."""
    rows = parsed.values.len()
    if parsed.wrong_type is not None:
        value = {"value": f"type {parsed.wrong_type}"}
        yield problem("unreadable", column, rows, advice, value, rows=rows)
    elif count := parsed.unreadable.len():
        texts = parsed.unreadable.unique(maintain_order=True).head(5)
        values = [{"value": repr(text)} for text in texts]
        yield problem("unreadable", column, count, advice, *values, rows=rows)


def key_problems(frame: pl.DataFrame, order: tuple[str, str]) -> Iterator[Problem]:
    """Rows out of order, and two rows for one stock and day."""
    keys = frame.select(KEYS)
    if not is_sorted_by(keys, order):
        advice = f"fine: sorted when read; files sorted by ({', '.join(order)}) load faster"
        yield problem("not_sorted", " and ".join(order), keys.height, advice, rows=keys.height)
        keys = keys.sort(order)
    yield from at_rows("double_key", keys, duplicate_rows(keys), CODE, "keep one row a stock and day")

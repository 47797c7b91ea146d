"""Checks of dates and codes: readable, complete, unique and sorted."""

from collections.abc import Iterator, Mapping

import polars as pl

from gogooku3.data.parsing import DAY_ADVICE, Parsed, parse_codes, parse_dates, second_spellings
from gogooku3.data.prices import duplicate_rows, is_sorted_by
from gogooku3.data.quality.problem import Problem, problem, problem_at
from gogooku3.schema import CODE, DATE, KEYS


def read_keys(
    frame: pl.DataFrame, keys: Mapping[str, str], date_format: str | None = None, guess_order: bool = False
) -> tuple[pl.DataFrame, list[Problem]]:
    """Rename `keys` (column to canonical name) and parse them; returns the frame and the problems found.

    `date_format` and `guess_order` are as for `parse_dates`.
    """
    frame = frame.rename(keys)
    days, codes = parse_dates(frame[DATE], date_format, guess_order), parse_codes(frame[CODE])
    problems = [*unreadable(days, DATE, DAY_ADVICE), *unreadable(codes, CODE, "write text")]
    for parsed, key in ((days, DATE), (codes, CODE)):
        if nulls := parsed.values.null_count() - parsed.unreadable.len():
            row = {"row": f"row {(frame[key].is_null().arg_max() or 0) + 1:,}"}
            problems.append(problem("no_key", key, nulls, examples=[row], rows=frame.height))
    return frame.with_columns(days.values.alias(DATE), codes.values.alias(CODE)), problems


def unreadable(parsed: Parsed, column: str, advice: str) -> Iterator[Problem]:
    """Problem of the values of a column that could not be read."""
    rows = parsed.values.len()
    count, examples = parsed.unreadable.len(), parsed.unreadable.unique(maintain_order=True).head(5)
    values = [{"value": repr(text)} for text in examples]
    if parsed.wrong_type is not None:
        count, values = rows, [{"value": f"type {parsed.wrong_type}"}]
    if values:
        yield problem("unreadable", column, count, examples=values, advice=advice, rows=rows)


def key_problems(frame: pl.DataFrame, order: tuple[str, str]) -> Iterator[Problem]:
    """Problems of rows out of order, and of two rows for one stock and day."""
    keys = frame.select(KEYS)
    if not is_sorted_by(keys, order):
        advice = f"optional: sort the file by ({', '.join(order)}) to load it faster"
        yield problem("not_sorted", " and ".join(order), keys.height, advice=advice, rows=keys.height)
        keys = keys.sort(order)
    yield from problem_at("double_key", keys, duplicate_rows(keys), CODE)


def spelling_problems(frame: pl.DataFrame) -> Iterator[Problem]:
    """Problem of stocks that seem to have two codes."""
    if pairs := second_spellings(frame[CODE]):
        examples = [{CODE: one, "and": other} for one, other in pairs]
        yield problem("two_spellings", CODE, len(pairs), examples=examples)

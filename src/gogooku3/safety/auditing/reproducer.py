"""Shortens a finding to the smallest case that still shows it, and writes that case as a program."""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

from gogooku3.safety.auditing.changes import LATER, PROBES, Change
from gogooku3.safety.auditing.differences import Difference
from gogooku3.safety.auditing.findings import ROWS
from gogooku3.safety.auditing.market import Market
from gogooku3.safety.auditing.outputs import Pipeline
from gogooku3.safety.auditing.runner import Runner

T = TypeVar("T")
MAX_ROWS = 2000
"""No program is written for a case with more rows of prices."""

_PROGRAM = '''"""{title}"""

import datetime as dt
import io
import sys

import polars as pl

from gogooku3.safety import output_table
from gogooku3.safety.auditing.outputs import as_library

{pipeline}

PRICES = """\\
{prices}"""


def read(text: str) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(text), try_parse_dates=True, {overrides})


def outputs(prices: pl.DataFrame) -> pl.DataFrame:
    return output_table(pipeline(as_library(prices, {library!r})))


prices = read(PRICES)
{change}
before, after = outputs(prices), outputs(changed)
{comparison}
'''


@dataclass(frozen=True)
class Case:
    """Prices, a change of them, and the difference it makes."""

    market: Market
    change: Change
    difference: Difference


def shorten(runner: Runner, market: Market, change: Change, column: str, seconds: float) -> Case | None:
    """Find the fewest stocks, days and edited rows that still change a column, within the time limit.

    Removes pieces of halving size (delta debugging, Zeller and Hildebrandt, 2002). A smaller market on
    which the pipeline fails counts as unchanged. Returns None if the column does not change at all.
    """
    deadline = time.monotonic() + seconds
    if (case := _case(runner, market, change, column)) is None:
        return None

    def attempt(trial: Callable[[], tuple[Market, Change]]) -> bool:
        nonlocal case
        if time.monotonic() > deadline:
            return False
        smaller = _case(runner, *trial(), column)
        case = smaller or case
        return smaller is not None

    for _ in range(2):
        codes, days = case.market.codes, case.market.days
        _minimise(codes, lambda some: attempt(lambda: _select(case, some, case.market.days)))
        if change.cut is not None and case.change.edits is not None:
            _minimise(case.change.edits.rows(), lambda some: attempt(lambda: _select_edits(case, some)))
        _minimise(days, lambda some: attempt(lambda: _select(case, case.market.codes, some)))
    return case


def program(case: Case, runner: Runner) -> str | None:
    """A Python program that runs a case and prints the difference; None if it would be too long.

    There is none for a pipeline that takes targets. A pipeline that can't be imported (a lambda, a nested
    function) is left for the reader to fill in.
    """
    market, change = case.market, case.change
    if market.frame.height > MAX_ROWS or runner.targets is not None:
        return None
    kind = market.frame.schema[market.code]
    code_type = "String" if kind in (pl.String, pl.Categorical, pl.Enum) else str(kind)
    return _PROGRAM.format(
        title=_title(change, case.difference),
        pipeline=_import_lines(runner.pipeline),
        prices=market.frame.write_csv(),
        overrides=f"schema_overrides={{{market.code!r}: pl.{code_type}}}",
        library=runner.library,
        change=_change_lines(market, change),
        comparison=_comparison_lines(change, case.difference),
    )


def _case(runner: Runner, market: Market, change: Change, column: str) -> Case | None:
    if market.frame.is_empty():
        return None
    try:
        found = runner.differences(runner.unaltered(market), market, change)
    except Exception:  # A pipeline may fail on a smaller market; then the case is not an example.
        return None
    return next((Case(market, change, each) for each in found if each.column == column), None)


def _select(case: Case, codes: Sequence[object], days: Sequence[dt.date]) -> tuple[Market, Change]:
    """The case with only some of its stocks and days."""
    market, edits = case.market.select(codes, days), case.change.edits
    if edits is not None:
        edits = edits.join(market.frame, on=[market.date, market.code], how="semi", maintain_order="left")
    return market, replace(case.change, edits=edits)


def _select_edits(case: Case, rows: Sequence[tuple[object, ...]]) -> tuple[Market, Change]:
    """The case with only some of its edits."""
    schema = None if case.change.edits is None else case.change.edits.schema
    return case.market, replace(case.change, edits=pl.DataFrame(rows, schema=schema, orient="row"))


def _minimise(items: Sequence[T], holds: Callable[[list[T]], bool]) -> None:
    """Delta debugging: try to drop chunks of halving size; `holds` records each success."""
    kept = list(items)
    size = len(kept) // 2
    while size:
        start = 0
        while start < len(kept):
            rest = kept[:start] + kept[start + size :]
            if rest and holds(rest):
                kept = rest
            else:
                start += size
        size //= 2


def _title(change: Change, difference: Difference) -> str:
    subject = "The set of rows" if difference.column == ROWS else difference.column
    if change.probe not in LATER:
        return f"{subject} changes when {PROBES[change.probe]}."
    count = 0 if change.edits is None else change.edits.height
    rows = "1 later row is" if count == 1 else f"{count} later rows are"
    return f"{subject} up to {change.cut} changes when {rows} {change.probe}."


def _import_lines(pipeline: Pipeline) -> str:
    module, name = getattr(pipeline, "__module__", None), getattr(pipeline, "__qualname__", "")
    if not module or not name.isidentifier() or module == "__main__":
        return "pipeline = ...  # TODO: assign your pipeline; it can't be imported by name"
    return f'sys.path.insert(0, ".")  # Run it where the audit ran.\nfrom {module} import {name} as pipeline'


def _change_lines(market: Market, change: Change) -> str:
    keys = [market.date, market.code]
    if change.probe in ("swapped", "renamed"):
        order = f".sort({list(market.order)!r})" if market.order else ""
        return (
            f"new = {change.new_codes(market)!r}\n"
            f"changed = prices.with_columns(pl.col({market.code!r}).replace_strict(new)){order}"
        )
    if change.edits is None:
        return f"changed = prices.sample(fraction=1, shuffle=True, seed={change.seed})"
    if change.probe in ("removed", "truncated"):
        removed = market.frame.select(keys).join(change.edits, on=keys, how="semi")
        return (
            f'REMOVED = """\\\n{removed.write_csv()}"""\n'
            f"changed = prices.join(read(REMOVED), on={keys!r}, how='anti', maintain_order='left')"
        )
    changed, _ = change.apply(market)
    rows = changed.join(change.edits, on=keys, how="semi")
    return f'ALTERED = """\\\n{rows.write_csv()}"""\nchanged = prices.update(read(ALTERED), on={keys!r})'


def _comparison_lines(change: Change, difference: Difference) -> str:
    lines = []
    if change.probe in ("swapped", "renamed"):
        codes = "{str(b): str(a) for a, b in new.items()}"
        lines.append(f"after = after.with_columns(pl.col('code').replace({codes}))")
    if change.cut is not None:
        day = change.cut
        lines.append(f"past = pl.col('date') <= dt.date({day.year}, {day.month}, {day.day})")
        lines.append("before, after = before.filter(past), after.filter(past)")
    example = difference.example or {}
    keys = {name: value for name, value in example.items() if name not in ("before", "after")}
    if "before" not in example:
        lines.append(f"print(before.height, 'rows became', after.height, {keys!r})")
    else:
        cell = f".filter(**row)[{difference.column!r}].to_list()"
        lines.append(f"row = dict(date=dt.date.fromisoformat({keys['date']!r}), code={keys['code']!r})")
        lines.append(f"print(row, before{cell}, 'became', after{cell})")
    return "\n".join(lines)

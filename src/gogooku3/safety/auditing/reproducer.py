"""The shortest case that still shows a finding, and a small program that runs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

from gogooku3.safety.auditing.changes import Change, Market
from gogooku3.safety.auditing.differences import Moved
from gogooku3.safety.auditing.findings import ROWS
from gogooku3.safety.auditing.outputs import Pipeline
from gogooku3.safety.auditing.runner import Runner

T = TypeVar("T")
MAX_ROWS = 2000
"""A program that would carry more rows of prices is not written."""


@dataclass(frozen=True)
class Case:
    """Prices, a change of them, and what it moves."""

    market: Market
    change: Change
    moved: Moved


def shorten(runner: Runner, market: Market, change: Change, column: str, seconds: float) -> Case | None:
    """The fewest stocks, days and altered rows that still move a column, as far as the time reaches.

    Pieces are left out, by halves first, then by ever smaller pieces (delta debugging, Zeller and
    Hildebrandt, 2002). A pipeline that fails on what is left counts as not moving. None where the column
    does not move at all.
    """
    deadline = time.monotonic() + seconds
    case = _case(runner, market, change, column)
    if case is None:
        return None

    def attempt(trial: Callable[[], tuple[Market, Change]]) -> bool:
        nonlocal case
        if time.monotonic() > deadline:
            return False
        found = _case(runner, *trial(), column)
        case = found or case
        return found is not None

    for _ in range(2):
        codes, days = case.market.codes, case.market.days
        _fewest(codes, lambda some: attempt(lambda: _only(case, codes=some)))
        if change.cut is not None and case.change.edits is not None:
            _fewest(case.change.edits.rows(), lambda some: attempt(lambda: _edited_only(case, some)))
        _fewest(days, lambda some: attempt(lambda: _only(case, days=some)))
    return case


def program(case: Case, runner: Runner) -> str | None:
    """A Python program that runs a case and prints what moved; None where it would be too long.

    There is none for a pipeline that takes targets. One that can't be imported (a lambda, a function within
    another) is left for the reader to fill in.
    """
    pipeline, library = runner.pipeline, runner.frames_of
    market, change, moved = case.market, case.change, case.moved
    if market.frame.height > MAX_ROWS or runner.targets is not None:
        return None
    what = "Which rows there are" if moved.column == ROWS else moved.column
    codes = f"schema_overrides={{{market.code!r}: pl.{_bare(market.frame.schema[market.code])}}}"
    when = f" up to {change.cut}" if change.cut else ""
    lines = [
        f'"""{what}{when} moves when {_in_words(change)}."""',
        "",
        "import datetime as dt",
        "import io",
        "import sys",
        "",
        *(["import pandas as pd"] if library == "pandas" else []),
        "import polars as pl",
        "",
        "from gogooku3.safety import output_table",
        "",
        *_import_of(pipeline),
        "",
        'PRICES = """\\',
        _csv(market.frame) + '"""',
        "",
        "",
        "def read(text: str) -> pl.DataFrame:",
        f"    return pl.read_csv(io.StringIO(text), try_parse_dates=True, {codes})",
        "",
        "",
        "def outputs(prices: pl.DataFrame) -> pl.DataFrame:",
        *_call_of(library),
        "",
        "",
        "prices = read(PRICES)",
        *_change_lines(market, change),
        "before, after = outputs(prices), outputs(changed)",
        *_compare_lines(market, change, moved),
    ]
    return "\n".join(lines) + "\n"


def _case(runner: Runner, market: Market, change: Change, column: str) -> Case | None:
    if market.frame.is_empty():
        return None
    try:
        moves = runner.moved(runner.unaltered(market), market, change)
    except Exception:  # Whatever a pipeline raises on a smaller market, the case is no example.
        return None
    found = next((each for each in moves if each.column == column), None)
    return Case(market, change, found) if found else None


def _only(
    case: Case, codes: Sequence[object] | None = None, days: Sequence[object] | None = None
) -> tuple[Market, Change]:
    """The case with some of its stocks or days."""
    market = case.market
    kept = market.only(market.codes if codes is None else codes, market.days if days is None else days)  # type: ignore[arg-type]
    edits = case.change.edits
    if edits is not None:
        edits = edits.join(kept.frame, on=[market.date, market.code], how="semi", maintain_order="left")
    return kept, replace(case.change, edits=edits)


def _edited_only(case: Case, rows: Sequence[tuple[object, ...]]) -> tuple[Market, Change]:
    """The case with some of its edits."""
    edits = case.change.edits
    if edits is None:
        raise AssertionError("a change without edits has none to leave out")
    some = pl.DataFrame(rows, schema=edits.schema, orient="row")
    return case.market, replace(case.change, edits=some)


def _fewest(items: Sequence[T], holds: Callable[[list[T]], bool]) -> list[T]:
    """As few of the items as still hold; what is left out is halved again and again."""
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
    return kept


def _bare(kind: pl.DataType) -> str:
    return "String" if kind in (pl.String, pl.Categorical, pl.Enum) else str(kind)


def _csv(frame: pl.DataFrame) -> str:
    return frame.write_csv(include_header=True)


def _in_words(change: Change) -> str:
    count = 0 if change.edits is None else change.edits.height
    rows = "one row is " if count == 1 else f"{count} rows are "
    return {
        "altered": f"{rows}altered after it",
        "removed": f"{rows}removed after it",
        "truncated": f"{rows}cut off after it",
        "targets": "targets that are not closed are shuffled",
        "rescaled": "whole price histories are rescaled",
        "swapped": "stocks exchange their rows",
        "renamed": "stocks get other codes in the same order",
        "reordered": "the rows come in another order",
    }[change.probe]


def _import_of(pipeline: Pipeline) -> list[str]:
    module, name = getattr(pipeline, "__module__", None), getattr(pipeline, "__qualname__", "")
    if module and name.isidentifier() and module != "__main__":
        return [
            'sys.path.insert(0, ".")  # Run it where the audit ran.',
            f"from {module} import {name} as pipeline",
        ]
    return ["pipeline = ...  # yours, which can't be imported by name"]


def _call_of(library: str) -> list[str]:
    if library == "pandas":
        return [
            "    frame = pd.DataFrame({column.name: column.to_numpy().copy() for column in prices})",
            "    return output_table(pipeline(frame))",
        ]
    return ["    return output_table(pipeline(prices))"]


def _change_lines(market: Market, change: Change) -> list[str]:
    keys = [market.date, market.code]
    changed, _ = change.apply(market)
    if change.probe in ("swapped", "renamed"):
        new = change.new_codes(market)
        order = f".sort({list(market.order)!r})" if market.order else ""
        return [
            f"new = {new!r}",
            f"changed = prices.with_columns(pl.col({market.code!r}).replace_strict(new)){order}",
        ]
    if change.probe == "reordered":
        return [f"changed = prices.sample(fraction=1, shuffle=True, seed={change.seed})"]
    if change.edits is not None and "_gone" in change.edits.columns:
        gone = market.frame.select(keys).join(change.edits, on=keys, how="semi")
        return [
            f'GONE = """\\\n{_csv(gone)}"""',
            f"changed = prices.join(read(GONE), on={keys!r}, how='anti', maintain_order='left')",
        ]
    rows = changed if change.edits is None else changed.join(change.edits, on=keys, how="semi")
    return [
        f'ALTERED = """\\\n{_csv(rows)}"""',
        f"changed = prices.update(read(ALTERED), on={keys!r})",
    ]


def _compare_lines(market: Market, change: Change, moved: Moved) -> list[str]:
    lines = []
    if change.probe in ("swapped", "renamed"):
        lines.append(
            "after = after.with_columns(pl.col('code').replace({str(b): str(a) for a, b in new.items()}))"
        )
    if change.cut is not None:
        day = change.cut
        lines.append(f"past = pl.col('date') <= dt.date({day.year}, {day.month}, {day.day})")
        lines.append("before, after = before.filter(past), after.filter(past)")
    keys = {name: value for name, value in moved.example.items() if name not in ("before", "after")}
    if "before" not in moved.example:
        return [*lines, f"print(before.height, 'rows became', after.height, {keys!r})"]
    row = f"date=dt.date.fromisoformat({keys['date']!r}), code={keys['code']!r}"
    return [
        *lines,
        f"row = dict({row})",
        f"print(row, before.filter(**row)[{moved.column!r}].to_list(), "
        f"'became', after.filter(**row)[{moved.column!r}].to_list())",
    ]

"""Names every problem of prices or a data set at once: column, count, examples, what to do, what is done.

It mends nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import polars as pl

from gogooku3.config.quality import QualityRules
from gogooku3.data.dataset import resolve_columns
from gogooku3.data.parsing import parse_numbers
from gogooku3.data.prices import COLUMNS, is_sorted_by, price_files
from gogooku3.data.quality import features as feature_checks
from gogooku3.data.quality import prices as price_checks
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.data.quality.days import calendar_problems, day_problems, repeated_days, stocks_by_day
from gogooku3.data.quality.jumps import jump_problems
from gogooku3.data.quality.keys import key_problems, read_keys, unreadable
from gogooku3.data.quality.problem import Problem, problem
from gogooku3.data.quality.report import ValidationReport
from gogooku3.data.quality.trainable import stock_problems, target_problems
from gogooku3.data.quality.values import missing_shares, value_problems
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.tables import collect, scan_table
from gogooku3.schema import CODE, DATE, KEYS, OHLCV, SECTOR, is_target_column, map_columns

__all__ = ["Problem", "ValidationReport", "validate"]

GRAVEST_FIRST = ("error", "warning", "note")
AROUND = 20
"""Days before and after a suspected split or tick whose closes the report keeps."""
PICTURES = 6
"""Of these at most."""


@dataclass(frozen=True)
class _Looked:
    """What was found in a table whose keys could be read, or not (then without a frame)."""

    problems: Iterator[Problem]
    keyed: pl.DataFrame | None = None
    names: Sequence[str] = ()


def validate(
    source: pl.DataFrame | Path | str,
    *,
    target_columns: Mapping[int, str] | None = None,
    calendar: str | None = None,
    rules: QualityRules | None = None,
) -> ValidationReport:
    """Check a data set (it has `target_{h}d` columns, or `target_columns` names them) or else prices.

    Looks at everything before it reports. Errors are what the readers and `train` refuse or what would poison
    training (missing, unreadable, null or double keys, too few stocks, infinities, unknown or constant
    targets, a feature that follows a target, days in the future); warnings are what they repair or let pass;
    notes are facts to know.

    Args:
        source: a frame, a file or a folder.
        target_columns: `{horizon: column}` for targets of other names.
        calendar: an exchange whose sessions the days are compared with, such as XTKS.
        rules: thresholds and other weights; the shipped ones by default.

    Raises:
        ConfigError: an unknown exchange, or the rules weigh a check that doesn't exist.
        DataError: there is no such file, or it cannot be read as a table at all.
    """
    rules = rules or QualityRules()
    if unknown := rules.severity.keys() - CHECKS.keys():
        raise ConfigError(
            f"severity: there is no check {choices(sorted(unknown))}; choose among {choices(CHECKS, 50)}"
        )
    frame = source if isinstance(source, pl.DataFrame) else _read(source)
    is_dataset = bool(target_columns) or any(map(is_target_column, frame.columns))
    looked = _dataset(frame, target_columns, rules) if is_dataset else _prices(frame, rules)
    problems = looked.problems
    if calendar is not None and looked.keyed is not None:
        problems = chain(problems, calendar_problems(looked.keyed, calendar))
    found = [_weighed(each, rules) for each in problems]
    ordered = sorted((p for p in found if p.severity != "off"), key=lambda p: GRAVEST_FIRST.index(p.severity))
    kind: Literal["prices", "dataset"] = "dataset" if is_dataset else "prices"
    if looked.keyed is None:
        return ValidationReport(kind, frame.height, frame.width, tuple(ordered))
    return ValidationReport(
        kind,
        frame.height,
        frame.width,
        tuple(ordered),
        days=stocks_by_day(looked.keyed),
        missing=missing_shares(looked.keyed, looked.names),
        closes=_closes(looked.keyed, ordered),
    )


def _read(path: Path | str) -> pl.DataFrame:
    files = price_files(path)
    frames = [collect(scan_table(file, typed=True), file) for file in files]
    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the {len(files)} files of {path} don't fit together ({str(error).splitlines()[0]}); "
            f"give their columns the same names and types, or check them one by one"
        ) from None


def _weighed(found: Problem, rules: QualityRules) -> Problem:
    severity = rules.severity.get(found.name, found.severity)
    return replace(found, severity=severity, examples=found.examples[: rules.examples])


def _unusable(frame: pl.DataFrame, error: DataError) -> _Looked:
    found = problem("unusable_columns", choices(frame.columns, 4), 1, str(error))
    return _Looked(iter([found]))


def _dataset(frame: pl.DataFrame, target_columns: Mapping[int, str] | None, rules: QualityRules) -> _Looked:
    try:
        columns = resolve_columns(frame.schema, target_columns=target_columns)
    except DataError as error:
        return _unusable(frame, error)
    if frame.is_empty():
        return _Looked(iter([problem("no_rows", "all columns", 0, "write the file again")]))
    keyed, problems = read_keys(frame, columns.keys)
    features, targets = columns.features, list(columns.targets.values())
    ignored = (
        problem(
            "ignored_column",
            name,
            frame.height,
            "fine unless it is a feature",
            check=f"ignored ({frame.schema[name]})",
        )
        for name in columns.ignored
    )
    # As the loader reads them: what overflows Float32 is infinite there.
    learned = keyed.select(*KEYS, pl.col(targets).cast(pl.Float32).fill_nan(None))
    found = chain(
        problems,
        key_problems(keyed, KEYS),
        day_problems(keyed, rules.days),
        value_problems(keyed, features, "feature", rules.columns),
        value_problems(keyed, targets, "target", rules.columns),
        stock_problems(keyed),
        target_problems(learned, targets),
        feature_checks.copy_problems(keyed, features, targets),
        feature_checks.absurd_returns(keyed, targets, rules.columns),
        feature_checks.collinear_problems(keyed, features, rules.columns),
        ignored,
    )
    return _Looked(found, keyed, [*targets, *features])


def _prices(frame: pl.DataFrame, rules: QualityRules) -> _Looked:
    try:
        mapping = map_columns(frame.columns, COLUMNS)
    except DataError as error:
        return _unusable(frame, error)
    problems = [
        problem(
            "missing_column",
            name,
            frame.height,
            f"add it to the prices (found {choices(frame.columns)}); a data set needs a column such as "
            f"target_1d, or dataset.target_columns",
        )
        for name in (*KEYS, *OHLCV)
        if name not in mapping.values()
    ]
    if not set(KEYS) <= set(mapping.values()):
        return _Looked(iter(problems))
    if frame.is_empty():
        problems.append(problem("no_rows", "all columns", 0, "write the file again"))
        return _Looked(iter(problems))
    keys = {found: name for found, name in mapping.items() if name in KEYS}
    others = {found: name for found, name in mapping.items() if name not in KEYS}
    keyed, key_faults = read_keys(frame.select(list(mapping)).rename(others), keys)
    problems += key_faults
    names = [name for name in others.values() if name != SECTOR]
    for name in names:
        parsed = parse_numbers(keyed[name])
        problems += unreadable(parsed, name, "write plain numbers without separators")
        keyed = keyed.with_columns(parsed.values)
    possible = keyed.with_columns(price_checks.possible_only(names))
    found = chain(
        problems,
        key_problems(keyed, (CODE, DATE)),
        day_problems(keyed, rules.days),
        price_checks.impossible_values(keyed, names),
        value_problems(possible, names, "price", rules.columns),
        _price_histories(possible, rules) if set(OHLCV) <= set(names) else (),
    )
    return _Looked(found, possible, names)


def _price_histories(possible: pl.DataFrame, rules: QualityRules) -> Iterator[Problem]:
    """What shows only in the prices of a row together, or of a stock's days one after another."""
    yield from price_checks.contradictory_rows(possible)
    traded = possible.drop_nulls([*KEYS, "close"])
    if not is_sorted_by(traded, (CODE, DATE)):
        traded = traded.sort(CODE, DATE)
    yield from price_checks.wicks(traded, rules.prices)
    yield from jump_problems(traded, rules.prices)
    yield from price_checks.stale_prices(traded, rules.prices)
    yield from repeated_days(traded, rules.days)


def _closes(keyed: pl.DataFrame, problems: Sequence[Problem]) -> dict[str, pl.DataFrame]:
    """Closes around the first suspected splits and bad ticks."""
    shown = [
        (f"{example[CODE]}, {example[DATE]}: {_named(each.name, example)}", example)
        for each in problems
        if each.name in ("suspected_split", "bad_tick")
        for example in each.examples[: PICTURES // 2]
    ]
    pictures = {}
    for title, example in shown:
        own = keyed.filter(pl.col(CODE) == example[CODE]).select(DATE, "close").drop_nulls().sort(DATE)
        place = own[DATE].search_sorted(example[DATE])
        pictures[title] = own.slice(max(0, place - AROUND), min(place, AROUND) + AROUND + 1)
    return pictures


def _named(name: str, example: Mapping[str, object]) -> str:
    return f"split {example['factor']}" if name == "suspected_split" else "bad tick"

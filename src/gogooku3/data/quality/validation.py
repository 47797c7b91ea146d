"""Runs every check on prices or a data set and collects the problems. Changes no data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from gogooku3.config.quality import QualityRules, Weight
from gogooku3.data.dataset import resolve_columns
from gogooku3.data.parsing import NUMBER_ADVICE, Parsed, parse_numbers, spoiled_numbers
from gogooku3.data.price_files import scan_prices
from gogooku3.data.prices import COLUMNS, is_sorted_by
from gogooku3.data.quality import columns as column_checks
from gogooku3.data.quality import prices as price_checks
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.data.quality.days import (
    calendar_problems,
    day_problems,
    repeated_days,
    session_problems,
    stocks_by_day,
)
from gogooku3.data.quality.jumps import jump_problems
from gogooku3.data.quality.keys import key_problems, read_keys, spelling_problems, unreadable
from gogooku3.data.quality.problem import Problem, problem
from gogooku3.data.quality.report import ValidationReport
from gogooku3.data.quality.trainable import stock_problems, target_problems
from gogooku3.data.trading_days import has_utc_times
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.tables import collect, scan_table
from gogooku3.files.year_folder import is_year_folder
from gogooku3.schema import CODE, DATE, KEYS, OHLCV, SECTOR, is_target_column, map_columns

__all__ = ["Problem", "ValidationReport", "validate"]

SEVERITIES: tuple[Weight, ...] = ("error", "warning", "note")
CHART_DAYS = 20
"""Days before and after a suspected split or bad tick whose closes the report keeps."""
CHARTS_PER_CHECK = 3


@dataclass(frozen=True)
class _Findings:
    """Problems of a table; the frame and its numeric columns are missing if its keys could not be read."""

    problems: list[Problem]
    frame: pl.DataFrame | None = None
    columns: Sequence[str] = ()


def validate(
    source: pl.DataFrame | Path | str,
    *,
    target_columns: Mapping[int, str] | None = None,
    calendar: str | None = None,
    rules: QualityRules | None = None,
    date_format: str | None = None,
) -> ValidationReport:
    """Check a data set (it has `target_{h}d` columns, or `target_columns` names them) or else prices.

    Runs every check before it reports. Errors are what the readers and `train` refuse, or what would spoil
    training (missing, unreadable, null or duplicate keys, too few stocks, infinities, unknown or constant
    targets, a feature that follows a target, days in the future). Warnings are what they repair or accept;
    notes are facts to know.

    Args:
        source: a frame, a file or a folder.
        target_columns: `{horizon: column}` for targets of other names.
        calendar: compare the days with the sessions of this exchange, such as XTKS.
        rules: thresholds and severities; the shipped ones by default.
        date_format: form of the days of prices, as for `parse_dates`.

    Raises:
        ConfigError: unknown exchange, or the rules name an unknown check.
        DataError: there is no such file, or it cannot be read as a table at all.
    """
    rules = rules or QualityRules()
    if unknown := rules.severity.keys() - CHECKS.keys():
        raise ConfigError(
            f"severity: there is no check {choices(sorted(unknown))}; choose among {choices(CHECKS, 50)}"
        )
    frame = source if isinstance(source, pl.DataFrame) else _read(source)
    is_dataset = bool(target_columns) or any(map(is_target_column, frame.columns))
    if is_dataset:
        findings = _check_dataset(frame, target_columns, rules)
    else:
        findings = _check_prices(frame, rules, date_format)
    problems = findings.problems
    if calendar is not None and findings.frame is not None:
        problems += calendar_problems(findings.frame, calendar)
    problems = [
        replace(each, severity=severity, examples=each.examples[: rules.examples])
        for severity in SEVERITIES
        for each in problems
        if rules.severity.get(each.name, each.severity) == severity
    ]
    report = ValidationReport(
        "dataset" if is_dataset else "prices", frame.height, frame.width, tuple(problems)
    )
    if findings.frame is None:
        return report
    missing = column_checks.missing_shares(findings.frame, findings.columns)
    closes = _closes(findings.frame, problems)
    return replace(report, days=stocks_by_day(findings.frame), missing=missing, closes=closes)


def _read(path: Path | str) -> pl.DataFrame:
    root = Path(path)
    if is_year_folder(root):
        return collect(scan_table(root), root)
    frames = [collect(scan, file) for file, scan in scan_prices(root, typed=True).scans.items()]
    try:
        return pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the {len(frames)} files of {path} don't fit together ({str(error).splitlines()[0]}); "
            f"give their columns the same names and types, or check them one by one"
        ) from None


def _unusable(frame: pl.DataFrame, error: DataError) -> _Findings:
    return _Findings([problem("unusable_columns", choices(frame.columns, 4), 1, advice=str(error))])


def _check_dataset(
    frame: pl.DataFrame, target_columns: Mapping[int, str] | None, rules: QualityRules
) -> _Findings:
    try:
        columns = resolve_columns(frame.schema, target_columns=target_columns)
    except DataError as error:
        return _unusable(frame, error)
    if frame.is_empty():
        return _Findings([problem("no_rows", "all columns", 0)])
    keyed, problems = read_keys(frame, columns.keys)
    features, targets = columns.features, list(columns.targets.values())
    # The loader reads targets as Float32, in which large values overflow to infinity.
    loaded = keyed.select(*KEYS, pl.col(targets).cast(pl.Float32).fill_nan(None))
    problems += key_problems(keyed, KEYS)
    problems += day_problems(keyed, rules.days)
    problems += column_checks.value_problems(keyed, features, "feature", rules.columns)
    problems += column_checks.value_problems(keyed, targets, "target", rules.columns)
    problems += stock_problems(keyed)
    problems += target_problems(loaded, targets)
    problems += column_checks.copy_problems(keyed, features, targets)
    problems += column_checks.absurd_returns(keyed, targets, rules.columns)
    problems += column_checks.collinear_problems(keyed, features, rules.columns)
    for name in columns.ignored:
        if len(spoiled := spoiled_numbers(frame[name])):
            problems += unreadable(Parsed(frame[name], spoiled), name, NUMBER_ADVICE)
            continue
        check = f"ignored ({frame.schema[name]})"
        problems.append(problem("ignored_column", name, frame.height, check=check))
    return _Findings(problems, keyed, [*targets, *features])


def _check_prices(frame: pl.DataFrame, rules: QualityRules, date_format: str | None) -> _Findings:
    try:
        mapping = map_columns(frame.columns, COLUMNS)
    except DataError as error:
        return _unusable(frame, error)
    canonical = set(mapping.values())
    advice = (
        f"add it to the prices (they have {choices(frame.columns)}); a data set needs a column such as "
        f"target_1d, or dataset.target_columns"
    )
    problems = [
        problem("missing_column", name, frame.height, advice=advice)
        for name in (*KEYS, *OHLCV)
        if name not in canonical
    ]
    if not set(KEYS) <= canonical:
        return _Findings(problems)
    if frame.is_empty():
        return _Findings([*problems, problem("no_rows", "all columns", 0)])
    keys = {column: name for column, name in mapping.items() if name in KEYS}
    others = {column: name for column, name in mapping.items() if name not in KEYS}
    timed = has_utc_times(frame[next(column for column, name in keys.items() if name == DATE)])
    keyed, key_faults = read_keys(frame.select(list(mapping)).rename(others), keys, date_format, True)
    problems += key_faults
    names = [name for name in others.values() if name != SECTOR]
    for name in names:
        parsed = parse_numbers(keyed[name])
        problems += unreadable(parsed, name, NUMBER_ADVICE)
        keyed = keyed.with_columns(parsed.values)
    possible = keyed.with_columns(price_checks.possible_only(names))
    problems += key_problems(keyed, (CODE, DATE))
    problems += spelling_problems(keyed)
    problems += day_problems(keyed, rules.days)
    problems += price_checks.impossible_values(keyed, names)
    problems += column_checks.value_problems(possible, names, "price", rules.columns)
    if set(OHLCV) <= set(names):
        problems += session_problems(possible.drop_nulls([*KEYS, "close"]).select(KEYS), timed)
        problems += _history_problems(possible, rules)
    return _Findings(problems, possible, names)


def _history_problems(possible: pl.DataFrame, rules: QualityRules) -> Iterator[Problem]:
    """Problems between the prices of one row, or between consecutive days of a stock."""
    yield from price_checks.contradictory_rows(possible)
    traded = possible.drop_nulls([*KEYS, "close"])
    if not is_sorted_by(traded, (CODE, DATE)):
        traded = traded.sort(CODE, DATE)
    yield from price_checks.wicks(traded, rules.prices)
    yield from jump_problems(traded, rules.prices)
    yield from price_checks.stale_prices(traded, rules.prices)
    yield from repeated_days(traded, rules.days)


def _closes(frame: pl.DataFrame, problems: Sequence[Problem]) -> dict[str, pl.DataFrame]:
    """Closes around the first suspected splits and bad ticks, by title."""
    closes = {}
    for each in problems:
        if each.name not in ("suspected_split", "bad_tick"):
            continue
        for example in each.examples[:CHARTS_PER_CHECK]:
            event = f"split {example['factor']}" if each.name == "suspected_split" else "bad tick"
            stock = frame.filter(pl.col(CODE) == example[CODE])
            stock = stock.select(DATE, "close").drop_nulls().sort(DATE)
            index = stock[DATE].search_sorted(example[DATE])
            start, days = max(0, index - CHART_DAYS), min(index, CHART_DAYS) + CHART_DAYS + 1
            closes[f"{example[CODE]}, {example[DATE]}: {event}"] = stock.slice(start, days)
    return closes

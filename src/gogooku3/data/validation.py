"""Names every problem of prices or a data set at once: column, count, example, what to do.

It mends nothing.
"""

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import polars as pl

from gogooku3.data.cells import Parsed, parse_codes, parse_dates, parse_numbers
from gogooku3.data.dataset import resolve_columns
from gogooku3.data.exchange_calendar import check_days
from gogooku3.data.sources import (
    COLUMNS,
    PRICES,
    contradictions,
    duplicate_rows,
    is_sorted_by,
    jump_masks,
    price_files,
)
from gogooku3.data.table_file import collect, scan_table
from gogooku3.data.target_copies import copies_in
from gogooku3.errors import DataError, choices
from gogooku3.schema import CODE, DATE, KEYS, OHLCV, SECTOR, is_target_column, map_columns

MIN_STOCKS = 10
"""A day with fewer stocks carries no cross-section worth standardising."""
NULL_SHARE = 0.5
"""A column with more unknown values than this share is worth a look."""
LARGEST_RETURN = 5.0
"""A forward return beyond +500 % is nearly always a split or a bad tick."""
LONGEST_PAUSE = 14
"""Calendar days between two trading days; Tokyo's longest holiday so far left 11."""
LAST_DAY_SHARE = 0.5
"""The last day is incomplete if it has fewer stocks than this share of the 20 days before."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in one column: how often, where first, and what to do."""

    check: str
    column: str
    count: int
    example: dict[str, Any] | None
    """`date, code, value` of the first such row, where there is one."""
    advice: str
    severity: Severity

    def __str__(self) -> str:
        where = ""
        if self.example is not None:
            where = ", such as " + " ".join(
                str(value) for value in self.example.values() if value is not None
            )
        return f"{self.severity}: {self.column}: {self.check} ({self.count:,}{where}); {self.advice}"


@dataclass(frozen=True)
class ValidationReport:
    """All problems of one table. Errors keep it from being used; warnings are worth a look."""

    kind: Literal["prices", "dataset"]
    rows: int
    columns: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def errors(self) -> list[Problem]:
        """The problems of severity error."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON (dates, infinities and NaN in examples as text)."""
        problems = [asdict(problem) | {"example": _plain(problem.example)} for problem in self.problems]
        return {
            "kind": self.kind,
            "rows": self.rows,
            "columns": self.columns,
            "ok": self.ok,
            "problems": problems,
        }

    def raise_if_bad(self) -> None:
        """Raise where there are errors.

        Raises:
            DataError: with every error, one a line.
        """
        if self.errors:
            raise DataError("\n".join([f"the {self.kind} cannot be used:", *map(str, self.errors)]))


def validate(
    source: pl.DataFrame | Path | str,
    *,
    target_columns: Mapping[int, str] | None = None,
    calendar: str | None = None,
) -> ValidationReport:
    """Check a data set (it has `target_{h}d` columns, or `target_columns` names them) or else prices.

    Looks at everything before it reports. Errors are what the readers refuse or what would poison training
    (missing, unreadable, null or double keys, infinities, unknown targets, a feature that follows a
    target, days in the future); warnings are what they repair or let pass.

    Args:
        source: a frame, a file or a folder.
        target_columns: `{horizon: column}` for targets of other names.
        calendar: an exchange whose sessions the days are compared with, such as XTKS.

    Raises:
        ConfigError: an unknown exchange.
        DataError: there is no such file, or it cannot be read as a table at all.
    """
    frame = source if isinstance(source, pl.DataFrame) else _read(source)
    is_dataset = bool(target_columns) or any(map(is_target_column, frame.columns))
    problems = _dataset_problems(frame, target_columns) if is_dataset else _prices_problems(frame)
    kind: Literal["prices", "dataset"] = "dataset" if is_dataset else "prices"
    if calendar is not None:
        problems = chain(problems, _calendar_problems(frame, calendar))
    ordered = sorted(problems, key=lambda problem: problem.severity)
    return ValidationReport(kind, frame.height, frame.width, tuple(ordered))


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


def _dataset_problems(frame: pl.DataFrame, target_columns: Mapping[int, str] | None) -> Iterator[Problem]:
    try:
        columns = resolve_columns(frame.schema, target_columns=target_columns)
    except DataError as error:
        yield Problem("unusable columns", choices(frame.columns, 4), 1, None, str(error), "error")
        return
    if frame.is_empty():
        yield _problem("no rows", "all columns", 0, "write the file again")
        return
    keyed, problems = _read_keys(frame, columns.keys)
    yield from problems
    yield from _key_problems(keyed, KEYS)
    yield from _day_problems(keyed)
    yield from _value_problems(keyed, columns.features, "feature")
    targets = list(columns.targets.values())
    yield from _value_problems(keyed, targets, "target")
    yield from _copy_problems(keyed.filter(pl.col(DATE).is_not_null()), columns.features, targets)
    for target in targets:
        absurd = (keyed[target] > LARGEST_RETURN) | (keyed[target] < -1)
        advice = "check the prices for bad ticks and splits without adjustment"
        yield from _where(keyed, absurd, target, "absurd return", advice, "warning")
    for name in columns.ignored:
        yield _problem(
            f"ignored ({frame.schema[name]})", name, frame.height, "fine unless it is a feature", "warning"
        )


def _copy_problems(frame: pl.DataFrame, features: Sequence[str], targets: Sequence[str]) -> Iterator[Problem]:
    """Features that follow a target as only a copy can."""
    for copy in copies_in(frame, frame[DATE], features, targets):
        both = frame[copy.feature].is_not_null() & frame[copy.target].is_not_null()
        check = f"follows {copy.target}, rank correlation {copy.correlation:.2f}"
        yield _at_rows(frame, both, copy.feature, check, "this is the future itself: remove it")


def _prices_problems(frame: pl.DataFrame) -> Iterator[Problem]:
    try:
        mapping = map_columns(frame.columns, COLUMNS)
    except DataError as error:
        yield Problem("unusable columns", choices(frame.columns, 4), 1, None, str(error), "error")
        return
    for name in (*KEYS, *OHLCV):
        if name not in mapping.values():
            advice = (
                f"add it to the prices (found {choices(frame.columns)}); a data set needs a column such as "
                f"target_1d, or dataset.target_columns"
            )
            yield _problem("missing column", name, frame.height, advice)
    if not set(KEYS) <= set(mapping.values()):
        return
    if frame.is_empty():
        yield _problem("no rows", "all columns", 0, "write the file again")
        return
    keys = {found: name for found, name in mapping.items() if name in KEYS}
    prices = {found: name for found, name in mapping.items() if name not in KEYS}
    keyed, problems = _read_keys(frame.select(list(mapping)).rename(prices), keys)
    yield from problems
    for name in prices.values():
        if name != SECTOR:
            parsed = parse_numbers(keyed[name])
            yield from _unreadable(parsed, name, "write plain numbers without separators")
            keyed = keyed.with_columns(parsed.values)
    yield from _key_problems(keyed, (CODE, DATE))
    yield from _day_problems(keyed)
    yield from _price_value_problems(keyed, [name for name in prices.values() if name != SECTOR])


def _price_value_problems(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[Problem]:
    """Prices and volumes that reading will repair, and those that nobody can."""
    priced = [name for name in names if name != "volume"]
    for name in priced:
        bad = (frame[name] <= 0) | frame[name].is_infinite() | frame[name].is_nan()
        advice = "read as not traded" if name == "close" else "read as unknown"
        yield from _where(frame, bad, name, "zero, negative or not finite", advice, "warning")
    frame = frame.with_columns(
        pl.when((pl.col(n) > 0) & pl.col(n).is_finite()).then(pl.col(n)) for n in priced
    )
    if "volume" in names:
        bad = (frame["volume"] < 0) | frame["volume"].is_infinite() | frame["volume"].is_nan()
        yield from _where(frame, bad, "volume", "negative or not finite", "read as unknown", "warning")
        yield from _where(
            frame, frame["volume"] == 0, "volume", "no volume", "fine for days without trade", "warning"
        )
    yield from _value_problems(frame, names, "price")
    if not set(PRICES) <= set(names):
        return
    for reason, (broken, columns) in contradictions().items():
        mask = frame.select(broken.fill_null(False).alias("broken")).to_series()
        advice = f"{' and '.join(columns)} read as unknown there"
        yield from _where(frame, mask, columns[0], reason, advice, "warning")
    traded = frame.drop_nulls([*KEYS, "close"])
    if not is_sorted_by(traded, (CODE, DATE)):
        traded = traded.sort(CODE, DATE)
    reverting, lasting = jump_masks(traded)
    yield from _where(
        traded, reverting, "close", "jump undone the next day", "likely a bad tick: correct it", "warning"
    )
    yield from _where(
        traded, lasting, "close", "jump that stays", "likely a split without adjustment: adjust it", "warning"
    )


def _read_keys(frame: pl.DataFrame, keys: Mapping[str, str]) -> tuple[pl.DataFrame, list[Problem]]:
    """The frame with canonical keys, and what could not be read of them."""
    frame = frame.rename(keys)
    days, codes = parse_dates(frame[DATE]), parse_codes(frame[CODE])
    problems = [*_unreadable(days, DATE, "write days as 2024-01-31"), *_unreadable(codes, CODE, "write text")]
    for parsed, key in ((days, DATE), (codes, CODE)):
        if nulls := parsed.values.null_count() - parsed.unreadable.len():
            row = f"row {(frame[key].is_null().arg_max() or 0) + 1:,}"
            advice = "fill it in or remove those rows"
            problems.append(Problem("no value", key, nulls, {"row": row}, advice, "error"))
    return frame.with_columns(days.values.alias(DATE), codes.values.alias(CODE)), problems


def _unreadable(parsed: Parsed, column: str, advice: str) -> Iterator[Problem]:
    if parsed.wrong_type is not None:
        example = {"value": f"type {parsed.wrong_type}"}
        yield Problem("cannot be read", column, parsed.values.len(), example, advice, "error")
    elif count := parsed.unreadable.len():
        example = {"value": repr(parsed.unreadable[0])}
        yield Problem("cannot be read", column, count, example, advice, "error")


def _key_problems(frame: pl.DataFrame, order: tuple[str, str]) -> Iterator[Problem]:
    """Rows out of order, and two rows for one stock and day."""
    keys = frame.select(KEYS)
    if not is_sorted_by(keys, order):
        advice = f"fine: sorted when read; files sorted by ({', '.join(order)}) load faster"
        yield _problem("not sorted", " and ".join(order), keys.height, advice, "warning")
        keys = keys.sort(order)
    yield from _where(keys, duplicate_rows(keys), CODE, "double (date, code)", "keep one row a stock and day")


def _day_problems(frame: pl.DataFrame) -> Iterator[Problem]:
    """Thin, incomplete, missing and future days of the market, and days that a stock misses."""
    days = frame.group_by(DATE).agg(stocks=pl.len()).drop_nulls().sort(DATE)
    if days.is_empty():
        return
    thin = days.filter(pl.col("stocks") < MIN_STOCKS)
    if thin.height:
        example = {"date": thin[DATE][0], "value": f"{thin['stocks'][0]} stocks"}
        advice = "cross-sections this thin are not standardised by themselves"
        yield Problem(f"days with under {MIN_STOCKS} stocks", DATE, thin.height, example, advice, "warning")
    usual = days["stocks"].slice(max(0, days.height - 21), min(20, days.height - 1)).median()
    last, stocks = days[DATE][-1], days["stocks"][-1]
    if isinstance(usual, float) and stocks < LAST_DAY_SHARE * usual:
        example = {"date": last, "value": f"{stocks} stocks, usually {usual:.0f}"}
        advice = "leave it out (end_date) or wait until it is complete"
        yield Problem("last day incomplete", DATE, 1, example, advice, "warning")
    pause = days[DATE].diff().dt.total_days()
    if count := int((pause > LONGEST_PAUSE).sum()):
        row = pause.arg_max() or 0
        example = {"date": days[DATE][row], "value": f"{pause[row]} days after the trading day before"}
        yield Problem(
            "market without trading days", DATE, count, example, "check for missing files", "warning"
        )
    future = frame[DATE] > dt.date.today() + dt.timedelta(days=1)
    yield from _where(frame, future, DATE, "day in the future", "correct the year or remove the rows")
    yield from _gaps(frame, days)


def _calendar_problems(frame: pl.DataFrame, exchange: str) -> Iterator[Problem]:
    """Days on which the exchange did not trade, and sessions of it without a row."""
    found = next((name for name, key in map_columns(frame.columns, KEYS).items() if key == DATE), None)
    days = [] if found is None else parse_dates(frame[found]).values.drop_nulls().unique().to_list()
    if not days:
        return
    check = check_days(days, exchange)
    for days_, what, advice in (
        (check.extra, f"no session of {exchange}", "remove these days, or name another calendar"),
        (check.missing, f"session of {exchange} without a row", "check for missing files"),
    ):
        if days_:
            yield Problem(what, DATE, len(days_), {"date": days_[0]}, advice, "warning")


def _gaps(frame: pl.DataFrame, days: pl.DataFrame) -> Iterator[Problem]:
    """Trading days on which a stock has no row though it had one before and after."""
    spans = frame.group_by(CODE).agg(first=pl.col(DATE).min(), last=pl.col(DATE).max(), rows=pl.len())
    calendar = days[DATE]
    first, last = (calendar.search_sorted(spans[end]).cast(pl.Int64) for end in ("first", "last"))
    # Double rows are reported by themselves; here they must not make a gap negative.
    spans = spans.with_columns(missing=(last - first + 1 - spans["rows"].cast(pl.Int64)).clip(lower_bound=0))
    if total := int(spans["missing"].sum()):
        worst = spans.sort(["missing", CODE], descending=[True, False]).row(0, named=True)
        example = {"code": worst[CODE], "value": f"misses {worst['missing']:,} days"}
        yield Problem(
            "stock-days missing in between", CODE, total, example, "fine for suspensions", "warning"
        )


def _value_problems(frame: pl.DataFrame, names: Sequence[str], role: str) -> Iterator[Problem]:
    """Infinite, NaN, constant and mostly unknown columns, from one pass over each."""
    if not names:
        return
    floats = [name for name in names if frame.schema[name].is_float()]
    extremes = frame.select(
        *(pl.col(name).min().alias(f"min {name}") for name in names),
        *(pl.col(name).max().alias(f"max {name}") for name in names),
        *(pl.col(name).is_nan().any().alias(f"nan {name}") for name in floats),
    ).row(0, named=True)
    for name in names:
        low, high = extremes[f"min {name}"], extremes[f"max {name}"]
        if name in floats and extremes[f"nan {name}"]:
            advice = "read as null; write nulls"
            yield _at_rows(frame, frame[name].is_nan(), name, "NaN", advice, "warning")
        if low is None or math.isnan(low):
            unusable = role == "target" or name == "close"
            advice = "nothing can be learned without it" if unusable else "it carries nothing: drop it"
            yield _problem("all null", name, frame.height, advice, "error" if unusable else "warning")
            continue
        if math.isinf(low) or math.isinf(high):
            advice = "a division by zero, most often: write null instead"
            yield _at_rows(frame, frame[name].is_infinite(), name, "infinite", advice)
        if low == high:
            advice = "it carries nothing: drop it"
            yield _problem(f"constant (always {low})", name, frame.height, advice, "warning")
        share = frame[name].null_count() / frame.height
        if share > NULL_SHARE:
            advice = "look why it is so often unknown"
            yield _at_rows(frame, frame[name].is_null(), name, f"{share:.0%} null", advice, "warning")


def _where(
    frame: pl.DataFrame, mask: pl.Series, column: str, check: str, advice: str, severity: Severity = "error"
) -> Iterator[Problem]:
    """A problem with the first row of the mask as its example, if the mask has any."""
    if mask.any():
        yield _at_rows(frame, mask, column, check, advice, severity)


def _at_rows(
    frame: pl.DataFrame, mask: pl.Series, column: str, check: str, advice: str, severity: Severity = "error"
) -> Problem:
    row = mask.fill_null(False).arg_max() or 0
    example = {DATE: frame[DATE][row], CODE: frame[CODE][row]}
    if column not in KEYS:
        example["value"] = frame[column][row]
    return Problem(check, column, int(mask.sum()), example, advice, severity)


def _plain(example: dict[str, Any] | None) -> dict[str, Any] | None:
    if example is None:
        return None
    return {
        name: str(value)
        if isinstance(value, dt.date) or (isinstance(value, float) and not math.isfinite(value))
        else value
        for name, value in example.items()
    }


def _problem(check: str, column: str, count: int, advice: str, severity: Severity = "error") -> Problem:
    return Problem(check, column, count, None, advice, severity)

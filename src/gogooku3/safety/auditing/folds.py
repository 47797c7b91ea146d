"""Checks a table of folds against the market's calendar: label overlaps, order of the parts, embargo.
It recomputes everything from the days in the table and does not use the splitter's arithmetic."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gogooku3.data.parsing import parse_dates, readable
from gogooku3.errors import DataError, choices
from gogooku3.safety.auditing.findings import Finding
from gogooku3.safety.auditing.outputs import as_polars
from gogooku3.schema import CODE, DATE, HORIZONS, require_columns

PARTS = ("train", "validation", "test")
_NEVER = np.iinfo(np.int64).max

_BORDERS = (
    ("train", "test", "training labels close inside the test days"),
    ("validation", "test", "labels that choose the model close inside the test days"),
    ("train", "validation", "training labels close inside the validation days"),
)


@dataclass(frozen=True)
class FoldAudit:
    """Result of checking folds against the calendar: `findings` are leaks."""

    findings: tuple[Finding, ...]
    gaps: tuple[dict[str, Any], ...]
    """One row per border of a fold: `fold, from, to, days`, trading days strictly between."""

    @property
    def smallest_gap_days(self) -> int | None:
        """Fewest trading days between training or validation and a test; None: nothing precedes a test."""
        return min((gap["days"] for gap in self.gaps if gap["to"] == "test"), default=None)


def audit_folds(
    table: Any, calendar: Any = None, horizons: Sequence[int] = HORIZONS, embargo_days: int = 0
) -> FoldAudit:
    """Find leaks between the parts of each fold, and between folds.

    Args:
        table: Polars or pandas, with `date, fold, part` and, if rows of a day differ, `code`. A part is
            "train", "validation" or "test".
        calendar: the market's trading days; None: the days in the table, which must then be complete.
        horizons: label horizons in trading days. A label of day t closes on day t + h.
        embargo_days: trading days promised between the parts of a fold.

    Raises:
        DataError: a column is missing, a part is unknown, or a day is not in the calendar.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 9), eager=True)
    >>> table = pl.DataFrame({"date": days, "fold": 0, "part": ["train"] * 6 + ["test"] * 3})
    >>> [finding.rows for finding in audit_folds(table, horizons=[1, 5]).findings]
    [1, 5]
    """
    rows = _checked(table)
    dates = rows[DATE] if calendar is None else pl.Series(DATE, calendar).cast(pl.Date)
    days = dates.unique().sort().to_numpy()
    if missing := sorted(set(rows[DATE].unique()) - set(dates)):
        raise DataError(f"{len(missing)} days of the folds are not in the calendar, such as {missing[0]}")
    rows = rows.with_columns(day=pl.Series(np.searchsorted(days, rows[DATE].to_numpy())))
    findings: list[Finding] = []
    gaps: list[dict[str, Any]] = []
    for (number,), group in rows.group_by("fold", maintain_order=True):
        parts = {part: np.unique(group.filter(pl.col("part") == part)["day"].to_numpy()) for part in PARTS}
        fold = _Fold(number, parts, days)
        findings += [*fold.label_overlaps(horizons), *fold.days_out_of_order()]
        for gap in fold.gaps():
            gaps.append(gap)
            findings += fold.narrow_gap(gap, embargo_days)
    return FoldAudit((*findings, *_tested_twice(rows)), tuple(gaps))


@dataclass(frozen=True)
class _Fold:
    """Day numbers of each part of a fold, ascending or empty, and the calendar that they index."""

    number: Any
    parts: dict[str, np.ndarray]
    calendar: np.ndarray

    def label_overlaps(self, horizons: Sequence[int]) -> Iterator[Finding]:
        """Days whose label closes on or after a later day of the part that follows."""
        for first, second, problem in _BORDERS:
            days, later = self.parts[first], self.parts[second]
            next_day = np.append(later, _NEVER)[np.searchsorted(later, days, side="right")]
            for horizon in horizons:
                overlap = days[days + horizon >= next_day]
                words = f"{problem} at a horizon of {horizon} days"
                yield from self._finding("label overlap", words, overlap)

    def days_out_of_order(self) -> Iterator[Finding]:
        """Days that are in two parts, and training or validation days after a test day."""
        train, validation, test = (self.parts[part] for part in PARTS)
        for part, days in (("train", train), ("validation", validation)):
            both = np.intersect1d(days, test)
            yield from self._finding("test days used", f"test days are {part} days too", both)
            later = np.setdiff1d(days[days > test.min(initial=_NEVER)], both)
            yield from self._finding("order", f"{part} days come after its first test day", later)
        both = np.intersect1d(train, validation)
        yield from self._finding("validation days used", "validation days are trained on", both)

    def gaps(self) -> Iterator[dict[str, Any]]:
        """Trading days between the parts of the fold, one row per border."""
        for first, second, _ in _BORDERS:
            start = self.parts[second].min(initial=_NEVER)
            before = self.parts[first][self.parts[first] < start]
            if len(before) and start < _NEVER:
                days = int(start - before[-1] - 1)
                yield {"fold": self.number, "from": first, "to": second, "days": days}

    def narrow_gap(self, gap: dict[str, Any], embargo_days: int) -> Iterator[Finding]:
        """A gap that is shorter than the embargo."""
        if gap["days"] < embargo_days:
            border = f"gap of {gap['days']} trading days between {gap['from']} and {gap['to']}"
            problem = f"{border} is shorter than the embargo of {embargo_days}"
            yield from self._finding("embargo", problem, self.parts[gap["to"]][:1])

    def _finding(self, column: str, problem: str, days: np.ndarray) -> Iterator[Finding]:
        """One finding about some days, counted in its sentence; none for no days."""
        if len(days):
            first, last = (self.calendar[day].astype("datetime64[D]").item() for day in (days[0], days[-1]))
            says = f"fold {self.number}: {len(days)} {problem}, from {first} on"
            yield Finding("folds", "leak", column, says, len(days), first, last)


def _checked(table: Any) -> pl.DataFrame:
    """The table with dates parsed; raises DataError for a missing column or an unknown part."""
    frame = as_polars(table, "a table of folds")
    require_columns(frame.columns, (DATE, "fold", "part"), "a table of folds")
    dates = readable(parse_dates(frame[DATE]), DATE, "a table of folds", "write 2024-01-31")
    frame = frame.with_columns(dates)
    if unknown := set(frame["part"].unique()) - set(PARTS):
        raise DataError(f"parts of a fold are {choices(PARTS)}; the table also has {choices(unknown)}")
    return frame


def _tested_twice(rows: pl.DataFrame) -> Iterator[Finding]:
    """Rows (or, without codes, days) that are tested in more than one fold."""
    keys = [name for name in (DATE, CODE) if name in rows.columns]
    tested = rows.filter(pl.col("part") == "test").select(*keys, "fold").unique()
    twice = tested.group_by(keys).len().filter(pl.col("len") > 1).sort(keys)
    if twice.height:
        unit = "rows" if CODE in keys else "days"
        says = f"{twice.height} {unit} are tested in more than one fold, from {twice[DATE][0]} on"
        yield Finding("folds", "leak", "tested twice", says, twice.height, twice[DATE][0], twice[DATE][-1])

"""Checks a table of folds against the calendar: whose labels close where, and which days chose what.

It counts in the market's trading days and trusts nobody's arithmetic, ours included.
"""

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

Days = dict[str, np.ndarray]
"""Day numbers of each part of a fold, ascending."""

_BORDERS = (
    ("train", "test", "training labels close inside the test days"),
    ("validation", "test", "labels that choose the model close inside the test days"),
    ("train", "validation", "training labels close inside the validation days"),
)


@dataclass(frozen=True)
class FoldAudit:
    """What the calendar says of some folds.

    Attributes:
        findings: what leaks.
        gaps: a row a border of a fold: `fold, from, to, days`, trading days strictly between.
    """

    findings: tuple[Finding, ...]
    gaps: tuple[dict[str, Any], ...]

    @property
    def smallest_gap_days(self) -> int | None:
        """Fewest trading days between what is learned from and a test; None: nothing comes before one."""
        return min((gap["days"] for gap in self.gaps if gap["to"] == "test"), default=None)


def audit_folds(
    table: Any, calendar: Any = None, horizons: Sequence[int] = HORIZONS, embargo_days: int = 0
) -> FoldAudit:
    """Count what could leak between the parts of each fold, and between folds.

    Args:
        table: Polars or pandas, `date, fold, part` and, where rows of a day differ, `code`; a part is
            "train", "validation" or "test".
        calendar: the market's trading days; None: the days in the table, which must then leave none out.
        horizons: of the labels, in trading days. A label of day t closes on day t + h.
        embargo_days: trading days promised between the parts of a fold.

    Raises:
        DataError: a column is missing, a part is unknown, or a day is not in the calendar.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 9), eager=True)
    >>> table = pl.DataFrame({"date": days, "fold": 0, "part": ["train"] * 6 + ["test"] * 3})
    >>> [finding.rows for finding in audit_folds(table, horizons=[1, 5]).findings]
    [1, 5]
    """
    rows = _checked(table)
    days = _calendar(rows, calendar)
    rows = rows.with_columns(day=pl.Series(np.searchsorted(days, rows[DATE].to_numpy())))
    findings: list[Finding] = []
    gaps: list[dict[str, Any]] = []
    for (fold,), group in rows.group_by("fold", maintain_order=True):
        parts = {
            name: np.unique(group.filter(pl.col("part") == name)["day"].to_numpy())
            for name in PARTS
            if name in group["part"]
        }
        findings += _overlaps(fold, parts, horizons, days)
        findings += _out_of_order(fold, parts, days)
        for border in _gaps(fold, parts):
            gaps.append(border)
            findings += _too_narrow(border, parts, embargo_days, days)
    return FoldAudit((*findings, *_tested_twice(rows)), tuple(gaps))


def _checked(table: Any) -> pl.DataFrame:
    frame = as_polars(table, "a table of folds")
    require_columns(frame.columns, (DATE, "fold", "part"), "a table of folds")
    frame = frame.with_columns(
        readable(parse_dates(frame[DATE]), DATE, "a table of folds", "write 2024-01-31")
    )
    if unknown := set(frame["part"].unique()) - set(PARTS):
        raise DataError(f"parts of a fold are {choices(PARTS)}; the table also has {choices(unknown)}")
    return frame


def _calendar(rows: pl.DataFrame, calendar: Any) -> np.ndarray:
    given = rows[DATE] if calendar is None else pl.Series(DATE, calendar).cast(pl.Date)
    days = given.unique().sort()
    if missing := sorted(set(rows[DATE].unique()) - set(days)):
        raise DataError(f"{len(missing)} days of the folds are not in the calendar, such as {missing[0]}")
    return days.to_numpy()


def _overlaps(fold: Any, parts: Days, horizons: Sequence[int], days: np.ndarray) -> Iterator[Finding]:
    """Days whose label closes on or after a later day of the part they must not touch."""
    for first, second, what in _BORDERS:
        if first not in parts or second not in parts:
            continue
        here, there = parts[first], parts[second]
        following = np.append(there, np.iinfo(np.int64).max)[np.searchsorted(there, here, side="right")]
        for horizon in horizons:
            late = here[here + horizon >= following]
            if len(late):
                says = (
                    f"fold {fold}: {len(late)} {what} at a horizon of {horizon} days, from {days[late[0]]} on"
                )
                yield _finding("label overlap", says, late, days)


def _out_of_order(fold: Any, parts: Days, days: np.ndarray) -> Iterator[Finding]:
    """Days that are tested and learned from, and days learned from that come after a test."""
    for part in ("train", "validation"):
        if part not in parts or "test" not in parts:
            continue
        both = np.intersect1d(parts[part], parts["test"])
        if len(both):
            says = f"fold {fold}: {len(both)} test days are {part} days too, from {days[both[0]]} on"
            yield _finding("test days used", says, both, days)
        later = np.setdiff1d(parts[part][parts[part] > parts["test"].min()], both)
        if len(later):
            says = f"fold {fold}: {len(later)} {part} days come after its first test day"
            yield _finding("order", says, later, days)
    both = np.intersect1d(parts.get("train", []), parts.get("validation", [])).astype(np.int64)
    if len(both):
        says = f"fold {fold}: {len(both)} validation days are trained on, from {days[both[0]]} on"
        yield _finding("validation days used", says, both, days)


def _gaps(fold: Any, parts: Days) -> Iterator[dict[str, Any]]:
    for first, second, _ in _BORDERS:
        if first in parts and second in parts:
            before = parts[first][parts[first] < parts[second][0]]
            if len(before):
                days = int(parts[second][0] - before[-1] - 1)
                yield {"fold": fold, "from": first, "to": second, "days": days}


def _too_narrow(gap: dict[str, Any], parts: Days, embargo_days: int, days: np.ndarray) -> Iterator[Finding]:
    if gap["days"] < embargo_days:
        says = (
            f"fold {gap['fold']}: {gap['days']} trading days lie between {gap['from']} and {gap['to']}, "
            f"where {embargo_days} are promised"
        )
        yield _finding("embargo", says, parts[gap["to"]][:1], days)


def _tested_twice(rows: pl.DataFrame) -> Iterator[Finding]:
    """Rows (or, without codes, days) that more than one fold tests."""
    keys = [name for name in (DATE, CODE) if name in rows.columns]
    tested = rows.filter(pl.col("part") == "test").select(*keys, "fold").unique()
    twice = tested.group_by(keys).len().filter(pl.col("len") > 1).sort(keys)
    if twice.height:
        what = "rows" if CODE in keys else "days"
        says = f"{twice.height} {what} are tested in more than one fold, from {twice[DATE][0]} on"
        yield Finding("folds", "leak", "tested twice", says, twice.height, twice[DATE][0], twice[DATE][-1])


def _finding(column: str, says: str, found: np.ndarray, days: np.ndarray) -> Finding:
    first, last = (days[place].astype("datetime64[D]").item() for place in (found[0], found[-1]))
    return Finding("folds", "leak", column, says, len(found), first, last)

"""One thing that is wrong with a table, and how it is told. Finds nothing itself."""

import datetime as dt
import math
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from gogooku3.config.quality import Weight
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.schema import CODE, DATE, KEYS

EXAMPLES = 20
"""Rows that are kept of each problem, until the rules ask for fewer."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in one column: how often, where, what to do, and what is done without you."""

    name: str
    """Of the check, as rules spell it."""
    check: str
    """What was found, in words."""
    column: str
    count: int
    examples: tuple[dict[str, Any], ...]
    """`date, code, value` of the first such rows, where there are some; more where the check says more."""
    advice: str
    severity: Weight
    share: float | None = None
    """`count` over the rows of the table; None where it counts no rows."""

    @property
    def example(self) -> dict[str, Any] | None:
        """The first of the examples."""
        return self.examples[0] if self.examples else None

    @property
    def handled(self) -> str:
        """What `build` (prices) or `train` (a data set) does about it."""
        return CHECKS[self.name].handled

    def __str__(self) -> str:
        where = f", such as {spell(self.example)}" if self.example else ""
        return f"{self.severity}: {self.column}: {self.check} ({self.count:,}{where}); {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """The problem as plain values for JSON (dates, infinities and NaN in examples as text)."""
        examples = [_plain(example) for example in self.examples]
        first = examples[0] if examples else None
        return asdict(self) | {"examples": examples, "example": first, "handled": self.handled}


def problem(
    name: str,
    column: str,
    count: int,
    advice: str,
    *examples: dict[str, Any],
    check: str | None = None,
    rows: int | None = None,
) -> Problem:
    """A problem of a check in the catalogue, with its usual words and weight.

    Args:
        rows: of the table, where `count` counts rows.
    """
    usual = CHECKS[name]
    share = count / rows if rows else None
    return Problem(name, check or usual.says, column, count, examples, advice, usual.severity, share)


def at_rows(
    name: str, frame: pl.DataFrame, mask: pl.Series, column: str, advice: str, check: str | None = None
) -> list[Problem]:
    """The problem of the rows that a mask marks, with the first of them as examples; none without any."""
    mask = mask.fill_null(False)
    count = int(mask.sum())
    if not count:
        return []
    names = [*KEYS] if column in KEYS else [*KEYS, column]
    first = frame.select(names)[mask.arg_true().head(EXAMPLES)]
    examples = first.rename({column: "value"} if column not in KEYS else {}).to_dicts()
    return [problem(name, column, count, advice, *examples, check=check, rows=frame.height)]


def spell(example: dict[str, Any]) -> str:
    """An example for people: its values, whole dates and short numbers.

    >>> spell({"date": dt.date(2024, 1, 4), "code": "7203", "value": 10.800000190734863, "note": None})
    '2024-01-04 7203 10.8'
    """
    named = {DATE: "", CODE: "", "value": ""}
    words = [
        f"{named.get(name, name + ' ')}{f'{value:.6g}' if isinstance(value, float) else value}"
        for name, value in example.items()
        if value is not None
    ]
    return " ".join(words)


def _plain(example: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value)
        if isinstance(value, dt.date) or (isinstance(value, float) and not math.isfinite(value))
        else value
        for name, value in example.items()
    }

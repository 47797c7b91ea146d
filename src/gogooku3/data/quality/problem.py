"""One problem of a table: the record, and helpers that build it from the affected rows."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from gogooku3.config.quality import Weight
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.schema import CODE, DATE, KEYS

EXAMPLES = 20
"""Most examples kept per problem; the rules may ask for fewer."""


@dataclass(frozen=True)
class Problem:
    """One problem in one column: count, examples, treatment and advice."""

    name: str
    """Name of the check, as in the rules."""
    check: str
    """The problem in words."""
    column: str
    count: int
    examples: tuple[dict[str, Any], ...]
    """`date, code, value` of the first affected rows, where rows are affected; some checks add fields."""
    advice: str
    severity: Weight
    share: float | None = None
    """`count` over the rows of the table; None where `count` does not count rows."""

    @property
    def example(self) -> dict[str, Any] | None:
        """The first example."""
        return self.examples[0] if self.examples else None

    @property
    def handled(self) -> str:
        """Treatment of the affected rows by `data build` (prices) or `train` (a data set)."""
        return CHECKS[self.name].handled

    def __str__(self) -> str:
        where = f", such as {format_example(self.example)}" if self.example else ""
        return f"{self.severity}: {self.column}: {self.check} ({self.count:,}{where}); {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON (dates, infinities and NaN in examples as text)."""
        examples = [_plain(example) for example in self.examples]
        first = examples[0] if examples else None
        return asdict(self) | {"examples": examples, "example": first, "handled": self.handled}


def problem(
    name: str,
    column: str,
    count: int,
    *,
    examples: Sequence[dict[str, Any]] = (),
    check: str | None = None,
    advice: str | None = None,
    rows: int | None = None,
) -> Problem:
    """Build a problem of a listed check, which gives the default title (`check`) and advice.

    `rows` is the height of the table, if `count` counts rows.
    """
    default = CHECKS[name]
    check, advice = check or default.title, advice or default.advice
    share = count / rows if rows else None
    return Problem(name, check, column, count, tuple(examples), advice, default.severity, share)


def problem_at(
    name: str,
    frame: pl.DataFrame,
    mask: pl.Series,
    column: str,
    check: str | None = None,
    advice: str | None = None,
) -> list[Problem]:
    """Problem of the rows that a mask marks, with the first ones as examples; empty if there are none."""
    mask = mask.fill_null(False)
    keyed = frame.select(*KEYS, *([] if column in KEYS else [pl.col(column).alias("value")]))
    first = keyed[mask.arg_true().head(EXAMPLES)]
    return problem_of(name, column, first, check, advice, count=int(mask.sum()), rows=frame.height)


def problem_of(
    name: str,
    column: str,
    table: pl.DataFrame,
    check: str | None = None,
    advice: str | None = None,
    count: int | None = None,
    rows: int | None = None,
) -> list[Problem]:
    """Problem with the first rows of a table as examples, and its height as count; empty if the table is."""
    if table.is_empty():
        return []
    count = table.height if count is None else count
    examples = table.head(EXAMPLES).to_dicts()
    return [problem(name, column, count, examples=examples, check=check, advice=advice, rows=rows)]


def format_example(example: dict[str, Any]) -> str:
    """Values of an example on one line, with short numbers.

    >>> format_example({"date": dt.date(2024, 1, 4), "code": "7203", "value": 10.80000019, "note": None})
    '2024-01-04 7203 10.8'
    """
    return " ".join(
        f"{'' if name in (DATE, CODE, 'value') else f'{name} '}"
        f"{f'{value:.6g}' if isinstance(value, float) else value}"
        for name, value in example.items()
        if value is not None
    )


def _plain(example: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value)
        if isinstance(value, dt.date) or (isinstance(value, float) and not math.isfinite(value))
        else value
        for name, value in example.items()
    }

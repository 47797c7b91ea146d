"""Result of `validate`: every problem, the verdict, and the numbers that the page draws."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from gogooku3.data.quality.problem import Problem
from gogooku3.errors import DataError

Verdict = Literal["pass", "pass with warnings", "fail"]


@dataclass(frozen=True)
class ValidationReport:
    """All problems of one table. Errors prevent its use, warnings are worth a look, notes are facts."""

    kind: Literal["prices", "dataset"]
    rows: int
    columns: int
    problems: tuple[Problem, ...]
    """Errors first, then warnings, then notes."""
    days: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"date": pl.Date, "stocks": pl.UInt32})
    )
    """`date, stocks`: number of rows per day."""
    missing: dict[str, float] = field(default_factory=dict)
    """Share of unknown values per column; for prices, impossible values such as 0 count too."""
    closes: dict[str, pl.DataFrame] = field(default_factory=dict)
    """`date, close` around some suspected splits and bad ticks, by title."""

    @property
    def ok(self) -> bool:
        """True if there is no error."""
        return not self.errors

    @property
    def errors(self) -> list[Problem]:
        """Problems of severity error."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def counts(self) -> dict[str, int]:
        """Number of problems per severity."""
        counts = Counter(problem.severity for problem in self.problems)
        return {severity: counts[severity] for severity in ("error", "warning", "note")}

    @property
    def verdict(self) -> Verdict:
        """Overall result; notes do not affect it."""
        if self.errors:
            return "fail"
        return "pass with warnings" if self.counts["warning"] else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON (dates, infinities and NaN in examples as text)."""
        return {
            "kind": self.kind,
            "rows": self.rows,
            "columns": self.columns,
            "verdict": self.verdict,
            "ok": self.ok,
            "counts": self.counts,
            "problems": [problem.to_dict() for problem in self.problems],
            "days": len(self.days),
            "missing": self.missing,
        }

    def raise_if_bad(self) -> None:
        """Raise a DataError with one line per error, if there are any."""
        if self.errors:
            raise DataError("\n".join([f"the {self.kind} cannot be used:", *map(str, self.errors)]))

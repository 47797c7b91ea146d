"""What `validate` returns: every problem, a verdict, and the counts that a page draws. Finds nothing."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from gogooku3.data.quality.problem import Problem
from gogooku3.errors import DataError

Verdict = Literal["pass", "pass with warnings", "fail"]


@dataclass(frozen=True)
class ValidationReport:
    """All problems of one table. Errors keep it from use; warnings are worth a look; notes are facts."""

    kind: Literal["prices", "dataset"]
    rows: int
    columns: int
    problems: tuple[Problem, ...]
    """The gravest first."""
    days: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"date": pl.Date, "stocks": pl.UInt32})
    )
    """`date, stocks`: rows of each day."""
    missing: dict[str, float] = field(default_factory=dict)
    """Share of unknown values by column; of prices also those that are none, such as 0."""
    closes: dict[str, pl.DataFrame] = field(default_factory=dict)
    """`date, close` around some suspected splits and bad ticks, by what they are."""

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def errors(self) -> list[Problem]:
        """The problems of severity error."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each severity."""
        found = Counter(problem.severity for problem in self.problems)
        return {severity: found[severity] for severity in ("error", "warning", "note")}

    @property
    def verdict(self) -> Verdict:
        """The whole in a word or three; notes don't count."""
        if not self.ok:
            return "fail"
        return "pass with warnings" if self.counts["warning"] else "pass"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON (dates, infinities and NaN in examples as text)."""
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
        """Raise where there are errors.

        Raises:
            DataError: with every error, one a line.
        """
        if self.errors:
            raise DataError("\n".join([f"the {self.kind} cannot be used:", *map(str, self.errors)]))

"""What an audit found, as values: findings, and the report that gathers them."""

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["leak", "warning"]
Outcome = Literal["clean", "moved", "failed", "skipped"]

ROWS = "(rows)"
"""In place of a column's name: rows appeared or vanished."""


@dataclass(frozen=True)
class Finding:
    """One output that moved though it must not.

    Attributes:
        probe: which change of the prices moved it.
        severity: "leak", or "warning" for what is no look-ahead by itself.
        column: the output's column; `ROWS` where whole rows came or went.
        says: one sentence.
        rows: cells that moved, or rows that came or went, in the worst run.
        first_day, last_day: of the rows that moved.
        largest: the largest move, in the column's unit; None where it has none.
        relative: the same in deviations of the column; None likewise.
        cut: outputs up to this day were compared; None: all of them.
        seed: of the change.
        example: key, value `before` and value `after` of the first cell that moved.
        reproducer: a small program that shows it; None where none was made.
    """

    probe: str
    severity: Severity
    column: str
    says: str
    rows: int = 0
    first_day: dt.date | None = None
    last_day: dt.date | None = None
    largest: float | None = None
    relative: float | None = None
    cut: dt.date | None = None
    seed: int | None = None
    example: dict[str, Any] = field(default_factory=dict)
    reproducer: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, dates as ISO text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class ProbeRun:
    """One probe: how often it was run, what came of it, and the seconds it took."""

    name: str
    meaning: str
    runs: int
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit.

    Attributes:
        name: of what was audited.
        findings: leaks first, then warnings.
        probes: what was tried.
        columns: outputs that were compared.
        ignored: outputs that were not, as targets may look ahead.
        n_stocks, n_days: of the prices that were used.
        cuts: days up to which outputs were compared.
        tolerance: by which they might move; 0: not by a bit.
        seconds: in all.
    """

    name: str
    findings: tuple[Finding, ...]
    probes: tuple[ProbeRun, ...]
    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    n_stocks: int
    n_days: int
    cuts: tuple[dt.date, ...]
    tolerance: float
    seconds: float

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings that are leaks."""
        return tuple(finding for finding in self.findings if finding.severity == "leak")

    @property
    def failed(self) -> tuple[ProbeRun, ...]:
        """Probes that never ran to an end, so that they prove nothing."""
        return tuple(probe for probe in self.probes if probe.outcome == "failed")

    @property
    def verdict(self) -> Literal["leaks", "clean", "incomplete"]:
        """ "incomplete": nothing leaked, but a probe could not be run."""
        return "leaks" if self.leaks else "incomplete" if self.failed else "clean"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
            "probes": [asdict(probe) for probe in self.probes],
            "columns": list(self.columns),
            "ignored": list(self.ignored),
            "n_stocks": self.n_stocks,
            "n_days": self.n_days,
            "cuts": [str(cut) for cut in self.cuts],
            "tolerance": self.tolerance,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        """The verdict and a line a finding."""
        seen = f"{len(self.columns)} outputs, {self.n_stocks} stocks, {self.n_days} days"
        lines = [f"{self.name}: {self.verdict} ({seen})"]
        lines += [f"  {finding.severity}: {finding.says}" for finding in self.findings]
        lines += [f"  not run: {probe.name}: {probe.detail}" for probe in self.failed]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)

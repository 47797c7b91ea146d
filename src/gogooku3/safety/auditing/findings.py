"""Results of an audit: single findings, and the report that collects them."""

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["leak", "warning"]
Outcome = Literal["clean", "moved", "failed", "skipped"]

ROWS = "(rows)"
"""Stands for the column's name where whole rows appeared or vanished."""


@dataclass(frozen=True)
class Finding:
    """One output that changed although it must not.

    Attributes:
        probe: kind of change that caused it.
        severity: "leak", or "warning" for a fragile output that does not look ahead.
        column: the output's column; `ROWS` if whole rows appeared or vanished.
        says: one sentence for the reader.
        rows: number of changed rows in the worst run.
        first_day, last_day: span of the changed rows.
        largest: largest change, in the column's unit; None without one.
        relative: largest change in standard deviations of the column; None without one.
        cut: outputs up to this day were compared; None: all of them.
        seed: seed of the change.
        example: key, value `before` and value `after` of the first changed cell.
        reproducer: a small program that shows the change; None if there is none.
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
    """Outcome of one probe: number of runs, the first error as `detail`, and seconds taken."""

    name: str
    meaning: str
    runs: int
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class AuditReport:
    """Outcome of an audit.

    Attributes:
        name: name of the audited pipeline.
        findings: leaks first, then warnings.
        probes: the probes that ran.
        columns: outputs that were compared.
        ignored: outputs that were not compared, such as targets, which may look ahead.
        n_stocks, n_days: size of the prices used.
        cuts: days up to which outputs were compared.
        tolerance: allowed relative change; 0: bit-identical.
        seconds: total time.
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
        """Probes without a single successful run; they prove nothing."""
        return tuple(probe for probe in self.probes if probe.outcome == "failed")

    @property
    def verdict(self) -> Literal["leaks", "clean", "incomplete"]:
        """ "incomplete": no leak found, but a probe could not run."""
        return "leaks" if self.leaks else "incomplete" if self.failed else "clean"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, dates as ISO text."""
        return {"name": self.name, "verdict": self.verdict, **_plain(asdict(self))}

    def __str__(self) -> str:
        """The verdict, and one line per finding."""
        size = f"{len(self.columns)} outputs, {self.n_stocks} stocks, {self.n_days} days"
        lines = [f"{self.name}: {self.verdict} ({size})"]
        lines += [f"  {finding.severity}: {finding.says}" for finding in self.findings]
        lines += [f"  not run: {probe.name}: {probe.detail}" for probe in self.failed]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)

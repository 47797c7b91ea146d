"""Audits a run's tables for looking ahead: folds, labels, graphs, rows, controls. Recomputes nothing."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from gogooku3.evaluation.shuffled_targets import is_chance, shuffled_target_ic
from gogooku3.runs.folder import SPANS
from gogooku3.safety.auditing.findings import Finding
from gogooku3.safety.auditing.folds import audit_folds
from gogooku3.schema import CODE, DATE

ROW = (DATE, CODE, "model", "horizon")


@dataclass
class RunAudit:
    """Checks and their findings; `to_dict` gives the content of `audit.json`, which the report shows."""

    findings: list[Finding] = field(default_factory=list)
    controls: list[dict[str, str]] = field(default_factory=list)
    probes: list[dict[str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def check(
        self, name: str, meaning: str, findings: Sequence[Finding], detail: str, probe: bool = False
    ) -> None:
        """Add one check and its findings."""
        self.findings += findings
        outcome = "moved" if any(each.severity == "leak" for each in findings) else "clean"
        row = {"name": name, "meaning": meaning, "outcome": outcome, "detail": detail}
        (self.probes if probe else self.controls).append(row)

    def skip(self, name: str, meaning: str, reason: str, probe: bool = False) -> None:
        """Add a check that could not be made."""
        row = {"name": name, "meaning": meaning, "outcome": "failed", "detail": reason}
        (self.probes if probe else self.controls).append(row)

    @property
    def verdict(self) -> str:
        """ "leaks", "incomplete" (no leak, but a check could not be made) or "clean"."""
        if any(finding.severity == "leak" for finding in self.findings):
            return "leaks"
        failed = any(row["outcome"] == "failed" for row in (*self.controls, *self.probes))
        return "incomplete" if failed else "clean"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
            "controls": self.controls,
            "probes": self.probes,
            **self.numbers,
        }


def audit_tables(
    predictions: pl.DataFrame,
    folds: Sequence[Mapping[str, Any]],
    calendar: pl.Series,
    horizons: Sequence[int],
    embargo_days: int,
    graphs: pl.DataFrame | None,
    dropped: Sequence[Mapping[str, Any]],
    rows: int,
) -> RunAudit:
    """Audit a run from its tables and the market's calendar.

    Args:
        predictions: the prediction table.
        folds: of the manifest: `fold`, and `_start` and `_end` of `train`, `validation` and `test`.
        calendar: all trading days of the data set.
        horizons: of the targets, in trading days.
        embargo_days: configured, in trading days.
        graphs: `graphs.parquet`; None without graphs.
        dropped: `step, reason, rows` left out.
        rows: number of rows of the data set.
    """
    audit = RunAudit()
    result = audit_folds(fold_days(folds, calendar), calendar, horizons, embargo_days)
    gap = result.smallest_gap_days
    audit.numbers["smallest_gap_days"] = gap
    audit.check(
        "embargo",
        "counts the trading days between training and test days, and checks where every label closes",
        result.findings,
        f"smallest gap {gap} trading days, embargo {embargo_days}",
    )
    audit.check(
        "test rows",
        "looks for predictions outside their fold's test days, and for duplicate predictions",
        list(_test_rows(predictions, folds)),
        f"{predictions.height:,} predictions",
    )
    if graphs is not None:
        audit.check(
            "graph dates",
            "compares the last day that a month's graph used with the month it serves",
            list(_graph_dates(graphs)),
            f"{graphs.height} monthly graphs",
        )
    _shuffled(audit, predictions)
    shares = [{**drop, "share": drop["rows"] / rows if rows else None} for drop in dropped]
    audit.numbers["dropped"] = shares
    return audit


def fold_days(folds: Sequence[Mapping[str, Any]], calendar: pl.Series) -> pl.DataFrame:
    """`date, fold, part`: one row per day of each part of a fold."""
    parts = []
    for fold in folds:
        for part in SPANS:
            first, last = _span(fold, part)
            days = calendar.filter(calendar.is_between(first, last))
            parts.append(
                pl.DataFrame({DATE: days}).with_columns(
                    fold=pl.lit(fold["fold"], pl.Int64), part=pl.lit(part)
                )
            )
    return pl.concat(parts)


def _span(fold: Mapping[str, Any], part: str) -> tuple[dt.date, dt.date]:
    first, last = (dt.date.fromisoformat(str(fold[f"{part}_{end}"])) for end in ("start", "end"))
    return first, last


def _test_rows(predictions: pl.DataFrame, folds: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for fold in folds:
        first, last = _span(fold, "test")
        outside = predictions.filter((pl.col("fold") == fold["fold"]) & ~pl.col(DATE).is_between(first, last))
        if outside.height:
            says = f"fold {fold['fold']}: {outside.height:,} predictions are outside its test days"
            yield _finding("predictions", says, outside)
    # Compare hashes first: they take a fraction of the memory.
    hashes = predictions.select(pl.struct(ROW).hash()).to_series()
    ordered = hashes.sort()
    suspects = predictions.filter(hashes.is_in(ordered.filter(ordered == ordered.shift(1))))
    twice = suspects.filter(pl.struct(ROW).is_duplicated())
    if twice.height:
        yield _finding("predictions", f"{twice.height:,} rows are predicted more than once", twice)


def _graph_dates(graphs: pl.DataFrame) -> Iterator[Finding]:
    starts = pl.col("month").str.to_date("%Y-%m", strict=False)
    late = graphs.with_columns(starts.alias(DATE)).filter(pl.col("as_of") >= pl.col(DATE))
    if late.height:
        says = f"{late.height} monthly graphs use days of the month they serve, from {late['month'][0]} on"
        yield _finding("graphs", says, late)


def _shuffled(audit: RunAudit, predictions: pl.DataFrame) -> None:
    shuffled = shuffled_target_ic(predictions)
    audit.numbers["shuffled_target_ic"] = shuffled.fill_nan(None).to_dicts()
    finite = shuffled.filter(pl.col("ic").is_finite())
    if finite.is_empty():
        audit.skip("shuffled targets", _SHUFFLED, "no day has enough targets")
        return
    worst = finite.sort(pl.col("ic").abs(), descending=True).row(0, named=True)
    detail = (
        f"largest IC {worst['ic']:+.4f} [{worst['low']:+.4f}, {worst['high']:+.4f}] "
        f"({worst['model']}, {worst['horizon']} days)"
    )
    findings = []
    if not is_chance(finite):
        says = f"the IC with shuffled targets should be zero: {detail}"
        findings = [_finding("shuffled targets", says, predictions.sort(DATE))]
    audit.check("shuffled targets", _SHUFFLED, findings, detail)


_SHUFFLED = "shuffles each day's targets among its stocks, which leaves nothing to predict"


def _finding(column: str, says: str, rows: pl.DataFrame) -> Finding:
    return Finding("run", "leak", column, says, rows.height, rows[DATE].min(), rows[DATE].max())  # type: ignore[arg-type]

"""`audit`: changes what a pipeline must not see, and reports every output that moves.

It finds look-ahead by its effect, whatever the code; it does not read code, and proves nothing about days
or stocks that it did not try.
"""

import datetime as dt
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.safety.auditing.changes import (
    LATER,
    PROBES,
    WARNINGS,
    Change,
    Market,
    choose_cuts,
    plan_changes,
)
from gogooku3.safety.auditing.differences import Moved, differences
from gogooku3.safety.auditing.findings import ROWS, AuditReport, Finding, Outcome, ProbeRun, Severity
from gogooku3.safety.auditing.outputs import Library, Pipeline, as_polars, output_table
from gogooku3.safety.auditing.reproducer import program, shorten
from gogooku3.safety.auditing.runner import Runner, first_run

ROUNDING = 1e-9
"""What a pipeline may differ by from call to call, as a share of its values; more is no rounding."""

Progress = Callable[[str, float], None]
"""Called with the probe's name and the share done, 0 to 1."""


def audit(
    pipeline: Pipeline,
    prices: Any,
    *,
    targets: Any = None,
    probes: Sequence[str] | None = None,
    cuts: int | Sequence[dt.date] = 3,
    seeds: Sequence[int] = (0,),
    tolerance: float = 0.0,
    scale_tolerance: float = 1e-4,
    keys: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    library: Library | None = None,
    max_stocks: int = 60,
    max_days: int = 600,
    reproduce_seconds: float = 5.0,
    name: str | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Find out whether anything that a pipeline returns depends on what it could not have known.

    What was known by the close of a day may be used on that day, other stocks' rows included: a z-score over
    the day's stocks is no leak. A leak is a value or a row up to day t that moves when rows after t are
    altered, removed or not there yet; a value that knows the level of a split-adjusted price; or one that
    depends on which stock's rows stand next to its own.

    Args:
        pipeline: takes a frame of prices, returns a table with a date and a code: features, normalised
            values, predictions, or edges (with a column `neighbour`). With a parameter `targets` it gets
            those too.
        prices: a Polars or pandas frame with date, code, close and what else the pipeline needs.
        targets: `date, code` and a column such as `target_5d` a horizon, for a pipeline that takes them.
        probes: some of `changes.PROBES`; None: all that apply.
        cuts: days t, or how many to choose in the second half of the calendar.
        seeds: of the random changes.
        tolerance: how far outputs before t may move, as a share of their size; 0: not by a bit, unless
            the pipeline itself rounds otherwise from call to call (then `ROUNDING`).
        scale_tolerance: the same where arithmetic may round anew: rescaled, swapped and reordered rows.
        keys: output columns that identify a row beside date and code; None: `neighbour`, `horizon`, `model`,
            `fold`, `step`, `feature`, where they are there.
        ignore: outputs not to compare. Those called `target_{h}d` look ahead by right and never are.
        library: "polars" or "pandas", where the pipeline's annotation doesn't say.
        max_stocks, max_days: of the prices: stocks evenly spread over the codes, and the last days.
        reproduce_seconds: time to look for a shortest example, a probe that finds a leak; 0: none.
        name: of the pipeline, for the report.
        progress: told how far it is.

    Raises:
        DataError: the prices or outputs are no table of stocks and days, the pipeline fails on unaltered
            prices, or gives other values each time it is called.
        ConfigError: an unknown probe, no seed, or a tolerance that is no share.

    >>> prices = pl.DataFrame({"date": pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 2, 9), eager=True)})
    >>> prices = prices.with_columns(code=pl.lit("A"), close=pl.int_range(1, 41) * 1.0)
    >>> leaky = lambda prices: prices.select("date", "code", x=pl.col("close") / pl.col("close").max())
    >>> audit(leaky, prices, probes=["altered"]).verdict
    'leaks'
    """
    started = time.perf_counter()
    if not seeds:
        raise ConfigError("seeds are empty; give the random changes at least one")
    for share, value in (("tolerance", tolerance), ("scale_tolerance", scale_tolerance)):
        # Nothing is farther away than NaN.
        if not 0 <= value < math.inf:
            raise ConfigError(f"{share} is {value}; give a share from 0 up, such as 1e-6")
    market = Market.of(as_polars(prices, "prices")).kept(max_stocks, max_days)
    chosen = choose_cuts(market.days, cuts)
    targets = None if targets is None else output_table(targets)
    wanted = _wanted(probes, targets is not None, len(market.codes))
    options = {
        "targets": targets,
        "keys": keys,
        "ignore": tuple(ignore),
        "tolerance": tolerance,
        "scale_tolerance": scale_tolerance,
    }
    runner, before = first_run(pipeline, prices, market, library, **options)
    _allow_for_unrest(runner, market, before)
    findings: list[Finding] = []
    runs: list[ProbeRun] = []
    for place, probe in enumerate(wanted):
        if progress:
            progress(probe, place / len(wanted))
        changes = plan_changes(market, [probe], chosen, seeds)
        found, run = _probe(runner, market, before, probe, changes)
        findings += _judged(found, findings)
        runs.append(run)
    findings = _with_reproducers(runner, market, findings, reproduce_seconds, chosen, seeds)
    values, ignored = runner.value_columns(before)
    return AuditReport(
        name=name or str(getattr(pipeline, "__qualname__", type(pipeline).__name__)),
        findings=tuple(sorted(findings, key=lambda each: each.severity == "warning")),
        probes=tuple(runs),
        columns=tuple(values),
        ignored=tuple(ignored),
        n_stocks=len(market.codes),
        n_days=len(market.days),
        cuts=chosen,
        tolerance=runner.tolerance,
        seconds=time.perf_counter() - started,
    )


def _wanted(probes: Sequence[str] | None, has_targets: bool, n_stocks: int) -> list[str]:
    """The probes to run, in their order."""
    if unknown := sorted(set(probes or ()) - set(PROBES)):
        raise ConfigError(f"unknown probes: {choices(unknown)}; there are {choices(PROBES)}")
    if "targets" in (probes or ()) and not has_targets:
        raise ConfigError("the probe 'targets' shuffles targets; give the audit a table of them")
    possible = [
        name for name in PROBES if (name != "targets" or has_targets) and (name != "swapped" or n_stocks > 1)
    ]
    # Codes that are read make swapped rows move too, so that is known first.
    order = sorted(possible, key=lambda name: name == "swapped")
    return [name for name in order if probes is None or name in probes]


def _allow_for_unrest(runner: Runner, market: Market, before: pl.DataFrame) -> None:
    """Run again on the same prices: sums may round by how threads share the work, no more may differ.

    Raises:
        DataError: more than rounding differs.
    """
    values, _ = runner.value_columns(before)
    keys, again = runner.key_columns(before), runner.unaltered(market)
    if not differences(before, again, keys, values, runner.tolerance):
        return
    moved = differences(before, again, keys, values, ROUNDING)
    if moved:
        raise DataError(
            f"the pipeline gives other values for the same prices: {choices(each.column for each in moved)}; "
            "fix its seeds, or allow for a tolerance"
        )
    runner.tolerance = max(runner.tolerance, ROUNDING)


def _probe(
    runner: Runner, market: Market, before: pl.DataFrame, probe: str, changes: Sequence[Change]
) -> tuple[list[Finding], ProbeRun]:
    """Run all changes of one kind; the worst of each column is a finding."""
    started = time.perf_counter()
    worst: dict[str, tuple[Moved, Change]] = {}
    done, problem = 0, ""
    for change in changes:
        try:
            moves = runner.moved(before, market, change)
        except Exception as error:  # A pipeline may refuse a shorter history; that is told, not raised.
            problem = problem or f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        done += 1
        for move in moves:
            kept = worst.get(move.column)
            if kept is None or move.rows > kept[0].rows:
                worst[move.column] = (move, change)
    findings = [_finding(move, change, market.days) for move, change in worst.values()]
    outcome: Outcome = "moved" if worst else "clean" if done else "failed"
    seconds = time.perf_counter() - started
    return findings, ProbeRun(probe, PROBES[probe], done, outcome, problem, seconds)


def _finding(move: Moved, change: Change, calendar: Sequence[dt.date]) -> Finding:
    severity: Severity = "warning" if change.probe in WARNINGS else "leak"
    return Finding(
        probe=change.probe,
        severity=severity,
        column=move.column,
        says=_sentence(move, change, calendar),
        rows=move.rows,
        first_day=move.first_day,
        last_day=move.last_day,
        largest=move.largest,
        relative=move.relative,
        cut=change.cut,
        seed=change.seed,
        example=move.example,
    )


def _sentence(move: Moved, change: Change, calendar: Sequence[dt.date]) -> str:
    who = "which rows there are" if move.column == ROWS else f"'{move.column}'"
    count = f"{move.rows:,} rows" if move.rows > 1 else "1 row"
    size = ""
    verb = move.what or "moved"
    if move.largest is not None:
        deviations = "" if move.relative is None else f", {move.relative:.2g} deviations"
        size = f" by up to {move.largest:.3g}{deviations}"
    if change.cut is None:
        why = {
            "rescaled": "tells the level of prices, and so later splits",
            "swapped": "depends on which stock's rows stand next to one's own",
            "renamed": "depends on the codes themselves",
            "reordered": "depends on the order of rows",
        }[change.probe]
        return f"{who} {why}: {count} {verb}{size} when {PROBES[change.probe]}, from {move.first_day} on"
    reach = sum(move.first_day < day <= change.cut for day in calendar)
    what = {
        "altered": "values after {cut} were altered",
        "removed": "rows after {cut} were removed",
        "truncated": "the history ended on {cut}",
        "targets": "targets not closed on {cut} were shuffled",
    }[change.probe].format(cut=change.cut)
    return (
        f"{who} depends on the future: {count} up to {change.cut} {verb}{size} when {what}, "
        f"from {move.first_day} on ({reach} trading days before)"
    )


def _judged(found: Sequence[Finding], before: Sequence[Finding]) -> list[Finding]:
    """Where the codes are read, what follows them when stocks swap is no more than that."""
    reads_codes = {finding.column for finding in before if finding.probe == "renamed"}
    return [
        replace(finding, severity="warning")
        if finding.probe == "swapped" and finding.column in reads_codes
        else finding
        for finding in found
    ]


def _with_reproducers(
    runner: Runner,
    market: Market,
    findings: Sequence[Finding],
    seconds: float,
    cuts: Sequence[dt.date],
    seeds: Sequence[int],
) -> list[Finding]:
    """A shortest example for the first leak of each kind; a column that has one gets no second."""
    shown: set[str] = set()
    probes: set[str] = set()
    told = []
    for finding in findings:
        kind = "later" if finding.probe in LATER else finding.probe
        if seconds and finding.severity == "leak" and kind not in probes and finding.column not in shown:
            changes = plan_changes(market, [finding.probe], cuts, seeds)
            change = next(c for c in changes if (c.cut, c.seed) == (finding.cut, finding.seed))
            case = shorten(runner, market, change, finding.column, seconds)
            text = case and program(case, runner)
            if text:
                probes.add(kind)
                shown.add(finding.column)
                finding = replace(finding, reproducer=text)
        told.append(finding)
    return told

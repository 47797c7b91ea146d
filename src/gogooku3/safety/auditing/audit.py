"""`audit`: perturb data that a pipeline must not use, and report every output that changes. It does not read
code, and proves nothing about days or stocks that were not tried."""

import datetime as dt
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.safety.auditing.changes import LATER, PROBES, WARNINGS, Change, choose_cuts, plan_changes
from gogooku3.safety.auditing.differences import Difference, differences
from gogooku3.safety.auditing.findings import ROWS, AuditReport, Finding, Outcome, ProbeRun
from gogooku3.safety.auditing.market import Market
from gogooku3.safety.auditing.outputs import Library, Pipeline, as_polars, output_table
from gogooku3.safety.auditing.reproducer import program, shorten
from gogooku3.safety.auditing.runner import Runner, first_run

ROUNDING = 1e-9
"""Largest relative difference between two runs on the same prices that counts as rounding."""

_PROBLEMS = {
    "rescaled": "depends on the price level, and so on later splits",
    "swapped": "depends on which stock's rows are next to its own",
    "renamed": "depends on the codes themselves",
    "reordered": "depends on the order of rows",
}


def audit(
    pipeline: Pipeline,
    prices: Any,
    *,
    targets: Any = None,
    probes: Sequence[str] | None = None,
    cuts: int | Sequence[dt.date] = 6,
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
    progress: Callable[[str, float], None] | None = None,
) -> AuditReport:
    """Find outputs of a pipeline that depend on data not known at their time.

    Everything known by the close of a day may be used on that day, including other stocks' rows: a z-score
    over the day's stocks is not a leak. A leak is a value or a row up to day t that changes when rows after t
    are altered or removed; a value that depends on the level of a split-adjusted price; or a value that
    depends on which stock's rows are next to its own.

    Args:
        pipeline: takes a frame of prices, returns a table with a date and a code: features, normalised
            values, predictions, or edges (with a column `neighbour`). A parameter `targets` receives the
            targets.
        prices: a Polars or pandas frame with date, code, close and any other column the pipeline needs.
        targets: `date, code` and one column per horizon, such as `target_5d`, for a pipeline that takes them.
        probes: some of `changes.PROBES`; None: all that apply.
        cuts: days t, or how many `choose_cuts` shall choose.
        seeds: seeds of the random changes.
        tolerance: allowed relative change of outputs before t; 0: bit-identical, unless the pipeline itself
            rounds differently from call to call (then `ROUNDING`).
        scale_tolerance: the same where arithmetic may round differently: rescaled, swapped, reordered rows.
        keys: output columns that identify a row in addition to date and code; None: `neighbour`, `horizon`,
            `model`, `fold`, `step`, `feature`, if present.
        ignore: outputs not to compare, in addition to `target_{h}d`, which look ahead by design.
        library: "polars" or "pandas", if the pipeline has no annotation.
        max_stocks, max_days: limits on the prices: stocks spread evenly over the codes, and the last days.
        reproduce_seconds: time per probe to search for a shortest example of a leak; 0: no search.
        name: name of the pipeline in the report.
        progress: called with each probe's name and the share done, 0 to 1.

    Raises:
        DataError: the prices or outputs are not a table of stocks and days, or the pipeline fails or is not
            repeatable on unaltered prices.
        ConfigError: an unknown probe, no seed, or a tolerance that is negative or not finite.

    >>> prices = pl.DataFrame({"date": pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 2, 9), eager=True)})
    >>> prices = prices.with_columns(code=pl.lit("A"), close=pl.int_range(1, 41) * 1.0)
    >>> leaky = lambda prices: prices.select("date", "code", x=pl.col("close") / pl.col("close").max())
    >>> audit(leaky, prices, probes=["altered"]).verdict
    'leaks'
    """
    started = time.perf_counter()
    if not seeds:
        raise ConfigError("seeds are empty; give the random changes at least one")
    for option, value in (("tolerance", tolerance), ("scale_tolerance", scale_tolerance)):
        if not 0 <= value < math.inf:  # Also refuses NaN.
            raise ConfigError(f"{option} is {value}; give a share from 0 up, such as 1e-6")
    market = Market.from_frame(as_polars(prices, "prices")).limited_to(max_stocks, max_days)
    cuts = choose_cuts(market, cuts)
    targets = None if targets is None else output_table(targets)
    probes = _applicable(probes, targets is not None, len(market.codes))
    runner, before = first_run(
        pipeline,
        prices,
        market,
        library,
        targets=targets,
        keys=keys,
        ignore=tuple(ignore),
        tolerance=tolerance,
        scale_tolerance=scale_tolerance,
    )
    _check_repeatable(runner, market, before)
    found: list[tuple[Finding, Change]] = []
    runs: list[ProbeRun] = []
    for number, probe in enumerate(probes):
        if progress:
            progress(probe, number / len(probes))
        worst, run = _run_probe(runner, market, before, probe, plan_changes(market, probe, cuts, seeds))
        depend_on_codes = {finding.column for finding, _ in found if finding.probe == "renamed"}
        for difference, change in worst:
            # An output that depends on the codes also changes when stocks swap their rows.
            is_warning = probe in WARNINGS or (probe == "swapped" and difference.column in depend_on_codes)
            found.append((_finding(difference, change, market.days, is_warning), change))
        runs.append(run)
    findings = _with_reproducers(runner, market, found, reproduce_seconds)
    values, ignored = runner.value_columns(before)
    return AuditReport(
        name=name or str(getattr(pipeline, "__qualname__", type(pipeline).__name__)),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity == "warning")),
        probes=tuple(runs),
        columns=tuple(values),
        ignored=tuple(ignored),
        n_stocks=len(market.codes),
        n_days=len(market.days),
        cuts=cuts,
        tolerance=runner.tolerance,
        seconds=time.perf_counter() - started,
    )


def _applicable(probes: Sequence[str] | None, has_targets: bool, n_stocks: int) -> list[str]:
    """The probes to run, in their order."""
    if unknown := sorted(set(probes or ()) - set(PROBES)):
        raise ConfigError(f"unknown probes: {choices(unknown)}; choose from {choices(PROBES)}")
    if "targets" in (probes or ()) and not has_targets:
        raise ConfigError("the probe 'targets' shuffles targets; pass a table of them to the audit")
    possible = {"targets": has_targets, "swapped": n_stocks > 1}
    requested = PROBES if probes is None else probes
    return [name for name in PROBES if name in requested and possible.get(name, True)]


def _check_repeatable(runner: Runner, market: Market, before: pl.DataFrame) -> None:
    """Run again on the same prices, and allow `ROUNDING` if results differ: parallel sums may round.

    Raises:
        DataError: results differ by more than rounding.
    """
    values, _ = runner.value_columns(before)
    keys, again = runner.key_columns(before), runner.unaltered(market)
    if not differences(before, again, keys, values, runner.tolerance):
        return
    if found := differences(before, again, keys, values, ROUNDING):
        raise DataError(
            f"the pipeline gives other values for the same prices: {choices(each.column for each in found)}; "
            "fix its seeds, or set a tolerance"
        )
    runner.tolerance = max(runner.tolerance, ROUNDING)


def _run_probe(
    runner: Runner, market: Market, before: pl.DataFrame, probe: str, changes: Sequence[Change]
) -> tuple[list[tuple[Difference, Change]], ProbeRun]:
    """Run all changes of one kind; returns the worst difference of each column."""
    started = time.perf_counter()
    worst: dict[str, tuple[Difference, Change]] = {}
    runs, problem = 0, ""
    for change in changes:
        try:
            found = runner.differences(before, market, change)
        except Exception as error:  # A pipeline may refuse a shorter history: reported, not raised.
            problem = problem or f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        runs += 1
        for difference in found:
            if difference.column not in worst or difference.rows > worst[difference.column][0].rows:
                worst[difference.column] = (difference, change)
    outcome: Outcome = "moved" if worst else "clean" if runs else "failed"
    seconds = time.perf_counter() - started
    return list(worst.values()), ProbeRun(probe, PROBES[probe], runs, outcome, problem, seconds)


def _finding(
    difference: Difference, change: Change, calendar: Sequence[dt.date], is_warning: bool
) -> Finding:
    return Finding(
        probe=change.probe,
        severity="warning" if is_warning else "leak",
        column=difference.column,
        says=_sentence(difference, change, calendar),
        rows=difference.rows,
        first_day=difference.first_day,
        last_day=difference.last_day,
        largest=difference.largest,
        relative=difference.relative,
        cut=change.cut,
        seed=change.seed,
        example=difference.example or {},
    )


def _sentence(difference: Difference, change: Change, calendar: Sequence[dt.date]) -> str:
    """A finding in words: column, problem, number of rows, size, cause and first day."""
    cut = change.cut
    subject = "the set of rows" if difference.column == ROWS else f"'{difference.column}'"
    rows = f"{difference.rows:,} rows" if difference.rows > 1 else "1 row"
    size = ""
    if difference.largest is not None:
        size = f" by up to {difference.largest:.3g}"
        if difference.relative is not None:
            size += f" ({difference.relative:.2g} standard deviations)"
    problem = _PROBLEMS.get(change.probe, "depends on the future")
    cause = PROBES[change.probe].replace("day t", str(cut))
    up_to, reach = "", ""
    if cut is not None:
        days = sum(difference.first_day < day <= cut for day in calendar)
        up_to, reach = f" up to {cut}", f" ({days} trading days earlier)"
    return (
        f"{subject} {problem}: {rows}{up_to} {difference.kind}{size} when {cause}, "
        f"from {difference.first_day} on{reach}"
    )


def _with_reproducers(
    runner: Runner, market: Market, found: Sequence[tuple[Finding, Change]], seconds: float
) -> list[Finding]:
    """Add a shortest example to the first leak of each kind; at most one per column."""
    columns: set[str] = set()
    kinds: set[str] = set()
    result = []
    for finding, change in found:
        kind = "later" if finding.probe in LATER else finding.probe
        if seconds and finding.severity == "leak" and kind not in kinds and finding.column not in columns:
            case = shorten(runner, market, change, finding.column, seconds)
            if text := case and program(case, runner):
                kinds.add(kind)
                columns.add(finding.column)
                finding = replace(finding, reproducer=text)
        result.append(finding)
    return result

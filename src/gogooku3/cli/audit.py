"""`gogooku3 audit`: check a run, or any pipeline, for look-ahead."""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from gogooku3.cli.output import print_table, progress_bar, say, show
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.atomic import check_writable

if TYPE_CHECKING:
    import polars as pl

    from gogooku3.pipeline.audit_tables import RunAudit
    from gogooku3.safety import AuditReport, Finding

EXIT_CODES = {"clean": 0, "incomplete": 2, "leaks": 3}
"""Exit code of each verdict."""
SHOWN = 12
"""Number of findings printed; audit.json and --json have all."""

_VERDICTS = {
    "clean": "clean: no look-ahead found",
    "leaks": "LEAKS: {count} found",
    "incomplete": "incomplete: no leak found, but a check could not run",
}


def audit(
    target: Annotated[
        str, Argument(metavar="RUN_OR_FUNCTION", help="A run's folder, or a pipeline as module:function.")
    ],
    prices: Annotated[
        Path | None, Option(metavar="FILE", help="Prices for the pipeline: CSV or Parquet, or a folder.")
    ] = None,
    as_is: Annotated[bool, Option("--as-is", help="Pass the file's columns, not canonical ones.")] = False,
    targets: Annotated[
        Path | None,
        Option(metavar="FILE", help="Table of date, code, target_{h}d for the parameter targets."),
    ] = None,
    probe: Annotated[list[str] | None, Option(help="Run only this probe; repeatable. Default: all.")] = None,
    cuts: Annotated[
        int, Option(min=1, metavar="N", help="Number of days t to try, at which leaks hide.")
    ] = 6,
    seeds: Annotated[int, Option(min=1, metavar="N", help="Number of random changes of each kind.")] = 1,
    tolerance: Annotated[
        float, Option(min=0.0, metavar="SHARE", help="Allowed relative change before t; 0: bit-identical.")
    ] = 0.0,
    key: Annotated[list[str] | None, Option(help="Output column that is a key, with date and code.")] = None,
    ignore: Annotated[list[str] | None, Option(help="Output column not to compare.")] = None,
    frame: Annotated[str | None, Option(help="polars or pandas, if the pipeline has no annotation.")] = None,
    max_stocks: Annotated[int, Option(min=1, metavar="N", help="Largest number of stocks used.")] = 60,
    max_days: Annotated[int, Option(min=2, metavar="N", help="Number of last days used.")] = 600,
    data: Annotated[Path | None, Option(metavar="FILE", help="A run's data set, if it has moved.")] = None,
    days: Annotated[int, Option(min=1, metavar="N", help="Test days per fold to check a run's models.")] = 3,
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Folder for audit.json and the shortest examples of leaks.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print the whole audit as JSON.")] = False,
) -> None:
    """Perturb data a run or pipeline must not use; report every output that changes.

    RUN: check the embargo, label overlaps and graph dates against the calendar, refit the scalers, compare
    the targets with the data set, and predict again with later rows altered and removed. Writes audit.json
    into the run's folder and updates its report.

    FUNCTION, as module:function: takes a frame of prices (Polars or pandas: date, code, open, high, low,
    close, volume) and returns a table with a date and a code: features, normalised values, predictions, or
    edges with a column `neighbour`. The module may be in the working directory. The probes:

    prices after a day t altered (some by 1/16 to 16), removed, cut off (nothing up to t may change); whole
    histories rescaled (price x k, volume / k); stocks under other codes, in another order, with each other's
    rows; targets shuffled, for a pipeline with a parameter `targets`.

    Exit code 0: clean. 3: a leak was found. 2: the audit could not run completely.

    Example: `gogooku3 audit runs/train/20250101-090000`

    Example: `gogooku3 audit features:make_features --prices prices/ --out audit`
    """
    if ":" not in target or Path(target).is_dir():
        names = ("prices", "targets", "probe", "key", "ignore", "frame", "out")
        values = (prices, targets, probe, key, ignore, frame, out)
        given = [f"--{name}" for name, value in zip(names, values, strict=True) if value]
        if given and Path(target).is_dir():
            raise ConfigError(
                f"{choices(given)} can't be given with a run, whose audit is written into its folder; "
                "remove the options for functions"
            )
        _audit_run(Path(target), data, days, as_json)
        return
    if prices is None:
        raise ConfigError(f"{target} is audited on prices; name a file or folder of them with --prices")
    if frame not in (None, "polars", "pandas"):
        raise ConfigError(f"--frame is '{frame}'; choose polars or pandas")
    if out is not None:
        check_writable(out / "audit.json")
    pipeline = _load_pipeline(target)
    import gogooku3.safety as safety
    from gogooku3.data.prices import read_prices

    rows = _read_table(prices) if as_is else read_prices(prices).frame
    forward = None if targets is None else _read_targets(targets)
    say(f"auditing {target} on {prices}")
    with progress_bar("auditing") as progress:
        report = safety.audit(
            pipeline,
            rows,
            targets=forward,
            probes=probe or None,
            cuts=cuts,
            seeds=range(seeds),
            tolerance=tolerance,
            keys=key or None,
            ignore=ignore or (),
            library=cast(Any, frame),
            max_stocks=max_stocks,
            max_days=max_days,
            name=target,
            progress=progress,
        )
    examples = [finding.reproducer for finding in report.findings if finding.reproducer]
    if out is not None:
        _write(report, examples, out)
    if not as_json:
        _print_report(report, examples, out)
    _finish(report, len(report.leaks), as_json)


def _audit_run(run: Path, data: Path | None, days: int, as_json: bool) -> None:
    """Audit a run's folder; rewrites its `audit.json` and report."""
    if not run.is_dir():
        raise ConfigError(
            f"'{run}' is neither the folder of a run nor a pipeline; name a folder such as "
            "runs/train/20250101-090000, or a function as module:function, such as features:make_features"
        )
    from gogooku3.pipeline.audit_run import audit_run, write_audit

    with progress_bar("auditing") as progress:
        audit = audit_run(run, data, days, progress=progress)
    write_audit(run, audit)
    if not as_json:
        rows = [
            [c["name"], c["meaning"], c["outcome"], c["detail"]] for c in (*audit.controls, *audit.probes)
        ]
        columns = ["check", "what it does", "outcome", "detail"]
        print_table(str(run), columns, rows, text=4, wrapped=("what it does", "detail"))
        _print_findings(audit.findings, "audit.json or --json")
    _finish(audit, len(audit.findings), as_json)


def _load_pipeline(target: str) -> Callable[..., Any]:
    """Import `module:function`, from the working directory first."""
    module, _, name = target.partition(":")
    if not name:
        raise ConfigError(
            f"'{target}' has no function name; name a pipeline as module:function, such as "
            "features:make_features"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not (module == error.name or module.startswith(f"{error.name}.")):
            raise DataError(
                f"{module} can't be imported: it needs {error.name}, which is not installed"
            ) from error
        raise ConfigError(
            f"no module {module} in {Path.cwd()} or among the installed ones; install it, "
            "or change to its folder"
        ) from None
    except Exception as error:
        raise DataError(f"{module} can't be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(value, part):
            public = sorted(each for each in vars(value) if not each.startswith("_"))
            raise ConfigError(f"{module} has no {part}; it has {choices(public)}")
        value = getattr(value, part)
    if not callable(value):
        raise ConfigError(f"{target} is a {type(value).__name__}; name a function of prices")
    return value


def _read_targets(path: Path) -> "pl.DataFrame":
    from gogooku3.schema import KEYS, is_target_column

    table = _read_table(path)
    return table.select(name for name in table.columns if name in KEYS or is_target_column(name))


def _read_table(path: Path) -> "pl.DataFrame":
    """Read one file with its own columns; the keys keep their names and get canonical types."""
    import polars as pl

    from gogooku3.data.parsing import read_keys
    from gogooku3.files.tables import collect, scan_table
    from gogooku3.schema import KEYS, map_columns, require_columns

    if not path.is_file():
        raise DataError(f"no file at {path}; name a CSV or Parquet file")
    table = collect(scan_table(path, typed=True), path)
    keys = {name: column for column, name in map_columns(table.columns, KEYS).items()}
    require_columns(keys, KEYS, f"{path.name} (in any usual spelling)")
    canonical = table.select(pl.col(column).alias(name) for name, column in keys.items())
    return table.with_columns(column.alias(keys[column.name]) for column in read_keys(canonical, path.name))


def _write(report: "AuditReport", examples: Sequence[str], out: Path) -> None:
    """Write `audit.json`, and a program for each shortest example."""
    from gogooku3.files.atomic import write_text_atomic

    write_text_atomic(out / "audit.json", json.dumps(report.to_dict(), indent=2) + "\n")
    for number, program in enumerate(examples, start=1):
        write_text_atomic(out / f"leak_{number}.py", program)


def _print_report(report: "AuditReport", examples: Sequence[str], out: Path | None) -> None:
    size = f"{len(report.columns)} outputs, {report.n_stocks} stocks, {report.n_days} days"
    print_table(
        f"{report.name}: {size}",
        ["Probe", "What changes", "Outcome", "Runs", "Seconds"],
        [[p.name, p.meaning, p.outcome, f"{p.runs}", f"{p.seconds:.1f}"] for p in report.probes],
        text=3,
        wrapped=("What changes",),
    )
    _print_findings(report.findings, "--out DIR or --json")
    for run in report.failed:
        show(f"could not run: {run.name}: {run.detail}")
    if report.ignored:
        show(f"not compared: {choices(report.ignored)}")
    if out is not None:
        show(f"in {out}: audit.json{''.join(f', leak_{i + 1}.py' for i in range(len(examples)))}")
        if examples:
            show(f"to see a leak: PYTHONPATH=. python {out / 'leak_1.py'}")
    elif examples:
        show(f"\nThe shortest example (--out DIR writes all {len(examples)}):\n\n{examples[0]}")


def _print_findings(findings: Sequence["Finding"], where: str) -> None:
    for finding in findings[:SHOWN]:
        show(f"{finding.severity}: {finding.says}")
    if len(findings) > SHOWN:
        show(f"... and {len(findings) - SHOWN} more ({where} has all)")


def _finish(result: "AuditReport | RunAudit", count: int, as_json: bool) -> None:
    """Print the verdict, or everything as JSON; exits with the verdict's code unless clean."""
    if as_json:
        show(json.dumps(result.to_dict(), indent=2))
    else:
        show(_VERDICTS[result.verdict].format(count=count))
    if code := EXIT_CODES[result.verdict]:
        raise typer.Exit(code)

"""`gogooku3 audit`: does a pipeline, ours or anyone's, know what it could not have known?"""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gogooku3.cli.output import print_table, progress_bar, say
from gogooku3.errors import ConfigError, DataError, choices

if TYPE_CHECKING:
    import polars as pl

    from gogooku3.safety import AuditReport

LEAKS, INCOMPLETE = 3, 2
"""Exit codes; 0 is clean."""
SHOWN = 12
"""Findings printed; the file and --json have them all."""

_VERDICTS = {
    "clean": "clean: nothing moved that must not",
    "leaks": "LEAKS: {count} of them",
    "incomplete": "incomplete: nothing leaked, but something could not be tried",
}


def audit(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_FUNCTION", help="A run's folder, or your pipeline, as in features:make_features."
        ),
    ],
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prices to try it on: CSV or Parquet, or a folder.")
    ] = None,
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="Give the pipeline the file's own columns, not the canonical ones."),
    ] = False,
    targets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Table of date, code, target_{h}d for a pipeline that takes targets."
        ),
    ] = None,
    probe: Annotated[
        list[str] | None, typer.Option(help="Try this alone; may be repeated. All by default.")
    ] = None,
    cuts: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many days t the past is compared up to.")
    ] = 3,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="How many random changes of each kind.")] = 1,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SHARE",
            help="How far the past may move, as a share of its size; 0: not by a bit.",
        ),
    ] = 0.0,
    key: Annotated[
        list[str] | None, typer.Option(help="Output column that tells rows of a stock and day apart.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Output column not to compare.")] = None,
    frame: Annotated[
        str | None, typer.Option(help="polars or pandas, where the annotation doesn't say.")
    ] = None,
    max_stocks: Annotated[
        int, typer.Option(min=1, metavar="N", help="Stocks of the prices to use, at most.")
    ] = 60,
    max_days: Annotated[
        int, typer.Option(min=2, metavar="N", help="Last days of the prices to use, at most.")
    ] = 600,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A run's data set, if it lies elsewhere now.")
    ] = None,
    days: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Test days of each fold on which a run's models are tried."),
    ] = 3,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audit.json and the shortest examples there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole audit as JSON.")] = False,
) -> None:
    """Change what a run or a pipeline must not see, and tell every output that moves.

    A run's folder: its embargo and labels are counted by the calendar, its scales and graphs dated, its rows
    compared with the data set, its models tried on a future that was altered and removed. The result is
    audit.json in the folder, and a section of its report.

    A function, as module:function, takes a frame of prices (Polars or pandas: date, code, open, high, low,
    close, volume) and returns a table with a date and a code: features, normalised values, predictions, or
    edges with a column `neighbour`. It is looked for in the working directory, too. What is tried:

    later prices altered, removed, cut off on a day t (nothing up to t may move); whole histories rescaled
    (price x k, volume / k); stocks under other codes, in another order, with each other's rows; targets
    shuffled, for a pipeline with a parameter `targets`.

    Exit code 0: clean. 3: something leaks. 2: it could not be found out.

    Example: `gogooku3 audit runs/train/20250101-090000`

    Example: `gogooku3 audit features:make_features --prices prices/ --out audit`
    """
    if ":" not in target or Path(target).is_dir():
        of_functions: dict[str, object] = {
            "--prices": prices,
            "--targets": targets,
            "--probe": probe,
            "--key": key,
            "--ignore": ignore,
            "--frame": frame,
            "--out": out,
        }
        given = [option for option, value in of_functions.items() if value]
        if given and Path(target).is_dir():
            raise ConfigError(
                f"{choices(given)} can't be given with a run, whose audit is written into its folder; leave "
                "out what is meant for functions"
            )
        _audit_run(Path(target), data, days, as_json)
        return
    if prices is None:
        raise ConfigError(f"{target} is audited on prices; name a file or folder of them with --prices")
    report = _audit_pipeline(
        _load_pipeline(target),
        prices,
        as_is,
        targets,
        probes=probe or None,
        cuts=cuts,
        seeds=range(seeds),
        tolerance=tolerance,
        keys=key or None,
        ignore=ignore or (),
        library=_library(frame),
        max_stocks=max_stocks,
        max_days=max_days,
        name=target,
    )
    if out is not None:
        _write(report, out)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report, out)
    if report.verdict != "clean":
        raise typer.Exit(LEAKS if report.verdict == "leaks" else INCOMPLETE)


def _audit_run(run: Path, data: Path | None, days: int, as_json: bool) -> None:
    """Audit a run's folder; `audit.json` and the report there are written anew."""
    if not run.is_dir():
        raise ConfigError(
            f"'{run}' is neither the folder of a run nor a pipeline; name a folder such as "
            "runs/train/20250101-090000, or a function as module:function, such as features:make_features"
        )
    from gogooku3.pipeline.audit_run import audit_run, write_audit

    with progress_bar("auditing") as progress:
        audit = audit_run(run, data, days, progress=progress)
    write_audit(run, audit)
    if as_json:
        typer.echo(json.dumps(audit.to_dict(), indent=2))
    else:
        rows = [
            [c["name"], c["meaning"], c["outcome"], c["detail"]] for c in (*audit.controls, *audit.probes)
        ]
        columns = ["check", "what it does", "outcome", "detail"]
        print_table(str(run), columns, rows, text=4, wrapped=("what it does", "detail"))
        for finding in audit.findings[:SHOWN]:
            print(f"{finding.severity}: {finding.says}")
        print(_VERDICTS[audit.verdict].format(count=len(audit.findings)))
    if audit.verdict != "clean":
        raise typer.Exit(LEAKS if audit.verdict == "leaks" else INCOMPLETE)


def _load_pipeline(target: str) -> Callable[..., Any]:
    """Import `module:function`, the working directory first."""
    module, _, name = target.partition(":")
    if not name:
        raise ConfigError(
            f"'{target}' is no pipeline; name one as module:function, such as features:make_features"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not (module == error.name or module.startswith(f"{error.name}.")):
            raise DataError(
                f"{module} can't be imported: it needs {error.name}, which isn't there"
            ) from error
        raise ConfigError(
            f"there is no module {module} in {Path.cwd()} or among the installed ones; install it, "
            "or go to the folder where it lies"
        ) from None
    except Exception as error:
        raise DataError(f"{module} can't be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            functions = sorted(each for each in vars(found) if not each.startswith("_"))
            raise ConfigError(f"{module} has no {part}; it has {choices(functions)}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{target} is a {type(found).__name__}; name a function of prices")
    return found


def _library(frame: str | None) -> str | None:
    if frame not in (None, "polars", "pandas"):
        raise ConfigError(f"--frame is '{frame}'; choose polars or pandas")
    return frame


def _audit_pipeline(
    pipeline: Callable[..., Any], prices: Path, as_is: bool, targets: Path | None, **options: Any
) -> "AuditReport":
    import gogooku3.safety as safety
    from gogooku3.data.prices import read_prices

    given = _read_table(prices) if as_is else read_prices(prices).frame
    known = None if targets is None else _read_table(targets)
    if known is not None:
        from gogooku3.schema import KEYS, is_target_column

        known = known.select(name for name in known.columns if name in KEYS or is_target_column(name))
    say(f"auditing {options['name']} on {prices}")
    with progress_bar("auditing") as progress:
        return safety.audit(pipeline, given, targets=known, progress=progress, **options)


def _read_table(path: Path) -> "pl.DataFrame":
    """One file with its own columns; the keys in canonical types, under their own names."""
    from gogooku3.data.parsing import read_keys
    from gogooku3.files.tables import collect, scan_table
    from gogooku3.schema import KEYS, map_columns, require_columns

    if not path.is_file():
        raise DataError(f"no file at {path}; name a CSV or Parquet file")
    table = collect(scan_table(path, typed=True), path)
    keys = {name: found for found, name in map_columns(table.columns, KEYS).items()}
    require_columns(keys, KEYS, f"{path.name} (in any usual spelling)")
    columns = read_keys(table.select(pl_alias(keys)), path.name)
    return table.with_columns(column.alias(keys[column.name]) for column in columns)


def pl_alias(names: dict[str, str]) -> "list[pl.Expr]":
    """Columns under canonical names."""
    import polars as pl

    return [pl.col(found).alias(name) for name, found in names.items()]


def _write(report: "AuditReport", out: Path) -> None:
    """`audit.json`, and a program for each shortest example."""
    from gogooku3.files.atomic import write_text_atomic

    write_text_atomic(out / "audit.json", json.dumps(report.to_dict(), indent=2) + "\n")
    programs = [finding.reproducer for finding in report.findings if finding.reproducer]
    for number, program in enumerate(programs, start=1):
        write_text_atomic(out / f"leak_{number}.py", program)


def _print(report: "AuditReport", out: Path | None) -> None:
    rows = [
        [run.name, run.meaning, run.outcome, f"{run.runs}", f"{run.seconds:.1f}"] for run in report.probes
    ]
    seen = f"{len(report.columns)} outputs, {report.n_stocks} stocks, {report.n_days} days"
    print_table(
        f"{report.name}: {seen}",
        ["Probe", "What changes", "Outcome", "Runs", "Seconds"],
        rows,
        text=3,
        wrapped=("What changes",),
    )
    for finding in report.findings[:SHOWN]:
        print(f"{finding.severity}: {finding.says}")
    if len(report.findings) > SHOWN:
        print(f"... and {len(report.findings) - SHOWN} more (--out DIR or --json has them all)")
    for run in report.failed:
        print(f"not tried: {run.name}: {run.detail}")
    if report.ignored:
        print(f"not compared: {choices(report.ignored)}")
    programs = [finding.reproducer for finding in report.findings if finding.reproducer]
    if programs and out is None:
        print(f"\nThe shortest example (--out DIR writes all {len(programs)}):\n\n{programs[0]}")
    elif out is not None:
        print(f"in {out}: audit.json{''.join(f', leak_{i + 1}.py' for i in range(len(programs)))}")
        if programs:
            print(f"to see a leak: PYTHONPATH=. python {out / 'leak_1.py'}")
    print(_VERDICTS[report.verdict].format(count=len(report.leaks)))

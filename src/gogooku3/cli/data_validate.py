"""`gogooku3 data validate`: every problem of prices or a data set at once, and a verdict."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gogooku3.cli.output import print_table
from gogooku3.errors import DataError

if TYPE_CHECKING:
    from gogooku3.data.quality.report import ValidationReport


def validate(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE_OR_FOLDER", help="Data set to check, or prices before they become one."),
    ],
    calendar: Annotated[
        str | None,
        typer.Option(metavar="EXCHANGE", help="Compare the days with its sessions: XTKS, XNYS, XNAS, XLON."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Thresholds in YAML instead of those of configs/data/quality.yaml."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything found as .json, too.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a page with examples and pictures, as .html."),
    ] = None,
) -> None:
    """Check prices or a data set: keys, days, impossible values, jumps, splits, stale prices, leaks.

    Names every problem with its column, how many rows have it, some of them, and what the builder or the
    trainer does about it. Ends with a verdict: pass, pass with warnings, or fail, with exit code 2 if
    anything is an error (with --strict, or a warning); otherwise it is 0.

    Example: `gogooku3 data validate prices/ --calendar XTKS --report quality.html`
    """
    from gogooku3.config.quality import load_rules
    from gogooku3.data.quality.validation import validate as find_problems
    from gogooku3.files.atomic import check_output, write_text_atomic

    thresholds = load_rules(rules)
    for path, suffix in ((json_file, ".json"), (page, ".html")):
        if path is not None:
            check_output(path, suffix)
    report = find_problems(file, calendar=calendar, rules=thresholds)
    _print(file, report)
    if json_file is not None:
        found = {"path": str(file), **report.to_dict(), "rules": thresholds.model_dump()}
        write_text_atomic(json_file, json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
        typer.echo(f"all of it: {json_file}")
    if page is not None:
        from gogooku3.reporting.quality_page import write_quality_page

        write_quality_page(page, report, file, thresholds)
        typer.echo(f"page: {page}")
    errors, warnings = report.counts["error"], report.counts["warning"]
    if errors:
        raise DataError(f"{file} has {_some(errors, 'error')} and can't be used; mend and check again")
    if strict and warnings:
        raise DataError(
            f"{file} has {_some(warnings, 'warning')}, which --strict lets fail; mend them, or give "
            f"a check another weight with --rules"
        )


def _print(file: Path, report: "ValidationReport") -> None:
    from gogooku3.data.quality.problem import spell

    size = f"{file}: {report.kind}, {report.rows:,} rows x {report.columns} columns"
    if not report.problems:
        typer.echo(f"{size}, no problems")
    else:
        rows = [
            [
                p.severity,
                p.column,
                p.check,
                spell(p.example) if p.example else "",
                p.handled,
                p.advice,
                f"{p.count:,}",
            ]
            for p in report.problems
        ]
        does = "train does" if report.kind == "dataset" else "build does"
        columns = ["severity", "column", "problem", "such as", does, "what to do", "count"]
        print_table(size, columns, rows, text=6, wrapped=("problem", "such as", does, "what to do"))
    counts = ", ".join(_some(n, name) for name, n in report.counts.items() if n)
    typer.echo(f"verdict: {report.verdict}{f' ({counts})' if counts else ''}")


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

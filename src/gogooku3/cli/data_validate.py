"""`gogooku3 data validate`: every problem of prices or a data set, and a verdict."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gogooku3.cli.options import DateFormat
from gogooku3.cli.output import print_left_out, print_table, show
from gogooku3.errors import DataError

if TYPE_CHECKING:
    from gogooku3.data.quality.report import ValidationReport


def validate(
    file: Annotated[Path, Argument(metavar="FILE_OR_FOLDER", help="Data set, or prices to build one from.")],
    calendar: Annotated[
        str | None, Option(metavar="EXCHANGE", help="Compare days with its sessions: XTKS, XNYS, XNAS, XLON.")
    ] = None,
    rules: Annotated[
        Path | None, Option(metavar="FILE", help="Thresholds in YAML, instead of configs/data/quality.yaml.")
    ] = None,
    strict: Annotated[bool, Option("--strict", help="Exit with 2 on warnings, too.")] = False,
    json_file: Annotated[Path | None, Option("--json", metavar="FILE", help="All problems as .json.")] = None,
    page: Annotated[
        Path | None, Option("--report", metavar="FILE", help="Write a page of examples and charts, as .html.")
    ] = None,
    date_format: DateFormat = None,
) -> None:
    """Check prices or a data set: keys, days, impossible values, jumps, splits, stale prices, leaks.

    Lists every problem with its column, the number of affected rows, an example, what the builder or the
    trainer does about it, and what to do. Ends with a verdict: pass, pass with warnings, or fail. The exit
    code is 2 if there are errors (with --strict, also if there are warnings), else 0.

    Example: `gogooku3 data validate prices/ --calendar XTKS --report quality.html`
    """
    from gogooku3.config.quality import load_rules
    from gogooku3.data.parsing import check_date_format
    from gogooku3.data.price_files import left_out
    from gogooku3.data.quality.validation import validate as run_checks
    from gogooku3.files.atomic import check_output, write_text_atomic

    thresholds = load_rules(rules)
    for path, suffix in ((json_file, ".json"), (page, ".html")):
        if path is not None:
            check_output(path, suffix)
    if date_format is not None:
        check_date_format(date_format)
    report = run_checks(file, calendar=calendar, rules=thresholds, date_format=date_format)
    _print(file, report)
    if report.kind == "prices":
        print_left_out(left_out(file))
    if json_file is not None:
        content = {"path": str(file), **report.to_dict(), "rules": thresholds.model_dump()}
        write_text_atomic(json_file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
        show(f"JSON: {json_file}")
    if page is not None:
        from gogooku3.reporting.quality_page import write_quality_page

        write_quality_page(page, report, file, thresholds)
        show(f"page: {page}")
    errors, warnings = report.counts["error"], report.counts["warning"]
    if errors:
        raise DataError(
            f"{file} has {_plural(errors, 'error')} and can't be used; correct it and check again"
        )
    if strict and warnings:
        raise DataError(
            f"{file} has {_plural(warnings, 'warning')}, and --strict does not accept warnings; correct the "
            f"file, or change the severity of a check with --rules"
        )


def _print(file: Path, report: "ValidationReport") -> None:
    from gogooku3.data.quality.problem import format_example

    size = f"{file}: {report.kind}, {report.rows:,} rows x {report.columns} columns"
    if not report.problems:
        show(f"{size}, no problems")
    else:
        rows = []
        for p in report.problems:
            example = format_example(p.example or {})
            rows.append([p.severity, p.column, p.check, example, p.handled, p.advice, f"{p.count:,}"])
        handled = "train does" if report.kind == "dataset" else "build does"
        columns = ["severity", "column", "problem", "such as", handled, "what to do", "count"]
        print_table(size, columns, rows, text=6, wrapped=("problem", "such as", handled, "what to do"))
    counts = ", ".join(_plural(count, severity) for severity, count in report.counts.items() if count)
    show(f"verdict: {report.verdict}{f' ({counts})' if counts else ''}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

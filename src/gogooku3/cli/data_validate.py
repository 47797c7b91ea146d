"""`gogooku3 data validate`: every problem of a data set at once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gogooku3.cli.output import print_table
from gogooku3.errors import DataError


def validate(
    file: Annotated[Path, typer.Argument(help="Data set to check, or prices before they become one.")],
    calendar: Annotated[
        str | None,
        typer.Option(metavar="EXCHANGE", help="Compare the days with its sessions: XTKS, XNYS, XNAS, XLON."),
    ] = None,
) -> None:
    """Check a data set against the data contract: keys, types, missing and impossible values, leaks.

    Names every problem with its column, how many rows have it, and one of them. Exit code 2 if any is an
    error; warnings alone leave it at 0.

    Example: `gogooku3 data validate data/mine.parquet --calendar XTKS`
    """
    from gogooku3.data.validation import validate as find_problems

    report = find_problems(file, calendar=calendar)
    size = f"{file}: {report.kind}, {report.rows:,} rows x {report.columns} columns"
    if not report.problems:
        typer.echo(f"{size}, no problems")
        return
    rows = [
        [p.severity, p.column, p.check, _example(p.example), p.advice, f"{p.count:,}"]
        for p in report.problems
    ]
    columns = ["severity", "column", "problem", "such as", "what to do", "count"]
    print_table(size, columns, rows, text=5, wrapped=("problem", "such as", "what to do"))
    if not report.ok:
        raise DataError(
            f"{file} has {len(report.errors)} errors and can't be used; mend them and check again"
        )


def _example(example: dict[str, Any] | None) -> str:
    return "" if example is None else " ".join(str(value) for value in example.values() if value is not None)

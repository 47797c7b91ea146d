"""`gogooku3 data build`: makes a data set of 139 features and four targets from prices."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gogooku3.cli.output import print_table, progress_bar, split_names

if TYPE_CHECKING:
    from gogooku3.features.build import BuildReport


def build(
    prices: Annotated[
        Path,
        typer.Option(metavar="FILE_OR_FOLDER", help="Daily prices: CSV or Parquet, or a folder of them."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE_OR_FOLDER",
            help="Data set to write: one file NAME.parquet, or a folder NAME with one file per year.",
        ),
    ],
    extra: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILIES",
            help="Feature families beyond the 139, by comma: statements, margin, flows; prices need facts.",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add the days that the data set lacks; create it if it is missing."),
    ] = False,
) -> None:
    """Compute the 139 features and the four targets from daily open, high, low, close and volume.

    Prices need a date, a code and the five numbers, in any usual spelling; sector and index_close are
    optional. Prefer split-adjusted prices. Features use only data up to their day and are independent of the
    price level; targets look 1, 5, 10 and 20 trading days ahead. With --extra, train with
    model.input_dim=null, so that the network takes as many features as there are.

    --append computes only the days that the data set lacks, and the targets that have become known; the
    result is bit-identical to a full rebuild. A file is rewritten whole; of a folder only the years with
    changes. It is refused when older prices have changed, or the data set was built differently.

    Example: `gogooku3 data build --prices prices/ --out data/mine --append`
    """
    from gogooku3.features.build import build_dataset

    with progress_bar("building") as progress:
        report = build_dataset(prices, out, progress=progress, extra=split_names(extra), append=append)
    read = report.prices
    if not report.written:
        typer.echo(f"nothing to add: {out} has every day up to {read.last_date}")
        return
    if report.added_days < report.n_days:
        typer.echo(f"added {report.added_days:,} of {report.n_days:,} days; {_rewritten(report)}")
    size = f"{report.n_stocks:,} stocks x {report.n_days:,} days, {report.n_features} features"
    typer.echo(f"{report.rows:,} rows: {size}, {read.first_date} to {read.last_date}")
    # Dropped rows first, then single values.
    repairs = [*read.dropped.items(), *((f"{what} (value unknown)", n) for what, n in read.nulled.items())]
    rows = [[reason, f"{count:,}"] for reason, count in repairs if count]
    if rows:
        print_table(f"Of {read.rows_read:,} rows read, left out", ["reason", "count"], rows)
    typer.echo(f"{sum(report.seconds.values()):.1f} s: {report.out_path}")
    if report.copied:
        typer.echo("copied next to it: " + ", ".join(path.name for path in report.copied))


def _rewritten(report: "BuildReport") -> str:
    """Files that an append wrote."""
    if report.out_path.is_file():
        return f"rewrote {report.out_path} whole (a folder would rewrite only the years with changes)"
    return f"wrote {', '.join(path.parent.name for path in report.written)}"

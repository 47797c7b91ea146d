"""`gogooku3 data build`: prices in, a data set of 139 features and four targets out."""

from pathlib import Path
from typing import Annotated

import typer

from gogooku3.cli.output import print_table, progress_bar, split_names


def build(
    prices: Annotated[
        Path,
        typer.Option(metavar="FILE_OR_FOLDER", help="Daily prices: CSV or Parquet, or a folder of them."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Data set to write, as .parquet.")],
    extra: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILIES",
            help="Feature families beyond the 139, by comma: statements, margin, flows; prices need facts.",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add the days that FILE lacks; make it if it is not there yet."),
    ] = False,
) -> None:
    """Compute the 139 features and the four targets from daily open, high, low, close and volume.

    Prices need a date, a code and the five numbers, in any usual spelling; sector and index_close are used
    where they are there. Prefer split-adjusted prices. Features know nothing after their day and nothing of
    the price level; targets look 1, 5, 10 and 20 trading days ahead. With --extra, train with
    model.input_dim=null, so that the network takes as many features as there are.

    With --append only the days that the data set lacks are computed, and the targets that have become known:
    the same values as a whole build's, bit for bit, in less time. It is refused when older prices have
    changed, or the data set was built otherwise.

    Example: `gogooku3 data build --prices prices/ --out data/mine.parquet --append`
    """
    from gogooku3.features.build import build_dataset

    with progress_bar("building") as progress:
        report = build_dataset(prices, out, progress=progress, extra=split_names(extra), append=append)
    found = report.prices
    if not report.added_days:
        typer.echo(f"nothing to add: {out} has every day up to {found.last_date}")
        return
    if report.added_days < report.n_days:
        typer.echo(f"added {report.added_days:,} of {report.n_days:,} days")
    size = f"{report.n_stocks:,} stocks x {report.n_days:,} days, {report.n_features} features"
    typer.echo(f"{report.rows:,} rows: {size}, {found.first_date} to {found.last_date}")
    # Rows first, then single values: what the file held and the data set does not.
    repairs = [*found.dropped.items(), *((f"{what} (value unknown)", n) for what, n in found.nulled.items())]
    rows = [[reason, f"{count:,}"] for reason, count in repairs if count]
    if rows:
        print_table(f"Of {found.rows_read:,} rows read, left out", ["reason", "count"], rows)
    typer.echo(f"{sum(report.seconds.values()):.1f} s: {report.out_path}")
    if report.copied:
        typer.echo("beside it: " + ", ".join(path.name for path in report.copied))

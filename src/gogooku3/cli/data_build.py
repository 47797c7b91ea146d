"""`gogooku3 data build`: prices in, a data set of 139 features and four targets out."""

import time
from pathlib import Path
from typing import Annotated

import typer

from gogooku3.cli.output import print_table, progress_bar


def build(
    prices: Annotated[
        Path,
        typer.Option(metavar="FILE_OR_FOLDER", help="Daily prices: CSV or Parquet, or a folder of them."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Data set to write, as .parquet.")],
) -> None:
    """Compute the 139 features and the four targets from daily open, high, low, close and volume.

    Prices need a date, a code and the five numbers, in any usual spelling; sector and index_close are used
    where they are there. Prefer split-adjusted prices. Features know nothing after their day and nothing of
    the price level; targets look 1, 5, 10 and 20 trading days ahead.

    Example: `gogooku3 data build --prices prices/ --out data/mine.parquet`
    """
    from gogooku3.features.build import build_dataset

    start = time.perf_counter()
    with progress_bar("building") as progress:
        report = build_dataset(prices, out, progress=progress)
    seconds = time.perf_counter() - start
    typer.echo(f"{report.rows:,} rows in {seconds:.1f} s: {out}")
    if any(report.dropped.values()):
        rows = [[reason, f"{count:,}"] for reason, count in report.dropped.items()]
        print_table("Left out", ["reason", "rows"], rows)

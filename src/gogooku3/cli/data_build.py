"""`gogooku3 data build`: makes a data set of 139 features and four targets from prices."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from gogooku3.cli.options import DateFormat, ExtraFamilies
from gogooku3.cli.output import print_left_out, print_table, progress_bar, show, split_names
from gogooku3.errors import ConfigError
from gogooku3.schema import OHLCV, adjusted_columns

if TYPE_CHECKING:
    from gogooku3.data.prices import PricesReport

ADJ_CLOSE = "adj-close"


def build(
    prices: Annotated[Path, Option(metavar="FILE_OR_FOLDER", help="Daily prices: CSV, Parquet or a folder.")],
    out: Annotated[
        Path, Option(metavar="FILE_OR_FOLDER", help="NAME.parquet, or folder NAME with one file per year.")
    ],
    extra: ExtraFamilies = None,
    append: Annotated[bool, Option("--append", help="Add the missing days, or create the data set.")] = False,
    adjust: Annotated[
        str | None, Option(metavar="adj-close", help="Scale all four prices by adjusted over raw close.")
    ] = None,
    date_format: DateFormat = None,
) -> None:
    """Compute the 139 features and the four targets from daily open, high, low, close and volume.

    Prices need a date, a code and the five numbers, in any usual spelling; sector and index_close are
    optional. In a folder with one file per stock, the file names are the codes. Prefer split-adjusted prices.
    Features use only data up to their day and are independent of the price level; targets look 1, 5, 10 and
    20 trading days ahead. With --extra, train with model.input_dim=null, so that the network takes as many
    features as there are.

    --append computes only the days that the data set lacks, and the targets that have become known; the
    result is bit-identical to a full rebuild. A file is rewritten whole; of a folder only the years with
    changes. It is refused when older prices have changed, or the data set was built differently.

    Example: `gogooku3 data build --prices prices/ --out data/mine --append`
    """
    from gogooku3.data.parsing import check_date_format
    from gogooku3.features.build import build_dataset

    if adjust not in (None, ADJ_CLOSE):
        raise ConfigError(f"--adjust is '{adjust}', but can only be {ADJ_CLOSE}; leave it out for raw prices")
    if date_format is not None:
        check_date_format(date_format)
    with progress_bar("building") as progress:
        report = build_dataset(
            prices,
            out,
            progress=progress,
            extra=split_names(extra),
            append=append,
            adjust=adjust is not None,
            date_format=date_format,
        )
    read = report.prices
    if not report.written:
        show(f"nothing to add: {out} has every day up to {read.last_date}")
        return
    if report.added_days < report.n_days:
        written = f"wrote {', '.join(path.parent.name for path in report.written)}"
        if report.out_path.is_file():
            written = f"rewrote {report.out_path} whole (a folder would rewrite only the years with changes)"
        show(f"added {report.added_days:,} of {report.n_days:,} days; {written}")
    size = f"{report.n_stocks:,} stocks x {report.n_days:,} days, {report.n_features} features"
    show(f"{report.rows:,} rows: {size}, {read.first_date} to {read.last_date}")
    _print_source(read)
    # Dropped rows first, then single values.
    repairs = [*read.dropped.items(), *((f"{what} (value unknown)", n) for what, n in read.nulled.items())]
    rows = [[reason, f"{count:,}"] for reason, count in repairs if count]
    if rows:
        print_table(f"Of {read.rows_read:,} rows read, left out", ["reason", "count"], rows)
    if any(counts["delisted"] or counts["halted"] for counts in report.labels.values()):
        columns = ["target", "delisted", "halted", "beyond the data"]
        rows = [
            [name, *(f"{count:,}" for count in counts.values())] for name, counts in report.labels.items()
        ]
        print_table("Targets up to an earlier close", columns, rows)
    for finding in report.findings:
        show(f"check: {finding}")
    if report.findings:
        show(f"for all problems: gogooku3 data validate {prices}")
    show(f"{sum(report.seconds.values()):.1f} s: {report.out_path}")
    if report.copied:
        show("copied next to it: " + ", ".join(path.name for path in report.copied))


def _print_source(read: "PricesReport") -> None:
    """Print which columns and files the prices come from, and which were left out."""
    columns = [name for price in OHLCV for name, canonical in read.mapped.items() if canonical == price]
    show(f"prices from {', '.join(columns)}{'; codes from file names' if read.named_by_file else ''}")
    if read.unused:
        advice = f"; --adjust {ADJ_CLOSE} scales all four prices by it"
        lone = len(read.unused) == 1 and "close" in adjusted_columns(read.unused)
        show(f"not used: {', '.join(read.unused)}{advice if lone else ''}")
    print_left_out(read.left_out)

"""`gogooku3 data fetch`: raw data from J-Quants or Yahoo, and the price file made from it."""

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from gogooku3.cli.options import ExtraFamilies, parse_day
from gogooku3.cli.output import print_table, progress_bar, show, split_names
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.schema import CODE, DATE
from gogooku3.settings import settings

if TYPE_CHECKING:
    from gogooku3.data.fetch.jquants import FetchReport

fetch = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Fetch daily prices from a source: jquants (Tokyo), yfinance (any market).",
)

First = Annotated[str, Option("--from", metavar="DAY", help="First day, such as 2016-01-04.")]
Last = Annotated[str | None, Option("--to", metavar="DAY", help="Last day; today by default.")]
Build = Annotated[
    Path | None,
    Option("--build", metavar="FILE", help="Also build the data set of these prices, as .parquet."),
]


@fetch.command()
def jquants(
    first: First,
    last: Last = None,
    out: Annotated[Path | None, Option(metavar="DIR", help="Raw files; data/raw/jquants by default.")] = None,
    plan: Annotated[str, Option(help="Your plan (sets the rate): free, light, standard, premium.")] = "light",
    datasets: Annotated[
        str | None, Option(help="Only these, by comma: bars, master, topix, statements, flows, margin.")
    ] = None,
    build: Build = None,
    extra: ExtraFamilies = None,
) -> None:
    """Fetch the Tokyo market from J-Quants, or update it; only missing data is requested.

    The key comes from JQUANTS_API_KEY, in the environment or a file .env. Raw files keep the answers
    unchanged, one file per day. prices.parquet, in the same folder, has the prices of all domestic stocks
    as known on each day, delisted ones included, with results, margin balances and flows from their
    publication on. Data sets outside your plan are left out and listed. --extra needs --build. An
    interrupted fetch continues with the same command.

    Example, every evening: `gogooku3 data fetch jquants --from 2016-01-04 --build data/tokyo.parquet`
    """
    try:
        from gogooku3.data.fetch.jquants import fetch_jquants, tokyo_today
        from gogooku3.data.fetch.jquants_client import (
            API_URL,
            REQUESTS_PER_MINUTE,
            JQuantsClient,
            find_api_key,
        )
    except ModuleNotFoundError as missing:
        raise _not_installed(missing, "jquants") from None
    from gogooku3.data.fetch.jquants_data import DATASETS
    from gogooku3.data.fetch.known_facts import write_tokyo_prices
    from gogooku3.data.fetch.store import RawStore

    if plan not in REQUESTS_PER_MINUTE:
        raise ConfigError(f"--plan is '{plan}', but the plans are {choices(REQUESTS_PER_MINUTE)}")
    _check_build(build, extra)
    days = parse_day("--from", first), parse_day("--to", last) if last else tokyo_today()
    names = list(DATASETS) if datasets is None else split_names(datasets)
    if not names:
        raise ConfigError(
            f"--datasets names no data set; choose among {choices(DATASETS)}, or leave it out for all"
        )
    client = JQuantsClient(find_api_key(), REQUESTS_PER_MINUTE[plan], url=os.environ.get(API_URL))
    store = RawStore(out or settings.data_dir / "raw" / "jquants")
    with _progress() as on_progress:
        report = fetch_jquants(store, client, *days, datasets=names, on_progress=on_progress)
    _print_report(report, store.folder)
    if missing_data := [name for name in ("bars", "master") if name not in store.datasets()]:
        if build:
            raise DataError(
                f"{store.folder} has no {choices(missing_data)}, so {build} can't be built; "
                "fetch them too: leave --datasets out, or add them to it"
            )
        return
    path = store.folder / "prices.parquet"
    prices = write_tokyo_prices(store, path)
    stocks, trading_days = (prices.frame[name].n_unique() for name in (CODE, DATE))
    show(f"{path}: {prices.frame.height:,} rows, {stocks:,} stocks x {trading_days:,} days")
    for reason, rows in prices.dropped.items():
        show(f"left out: {rows:,} rows, {reason}")
    _build(path, build, extra)


@fetch.command()
def yfinance(
    first: First,
    tickers: Annotated[Path, Option(metavar="FILE", help="One ticker per line, in Yahoo's spelling.")],
    last: Last = None,
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Raw files; data/raw/yfinance by default.")
    ] = None,
    build: Build = None,
) -> None:
    """Fetch daily prices of a list of tickers from Yahoo Finance, for any market it covers.

    Yahoo has no list of delisted stocks. Stocks chosen today have survived, so results will be too good.
    Prices are adjusted for splits. Only new days are requested, after a split all days again. A day
    is stored when the session of its exchange is finished.

    Example: `gogooku3 data fetch yfinance --tickers dow.txt --from 2016-01-04 --build data/dow.parquet`
    """
    try:
        from yfinance import download
    except ModuleNotFoundError as missing:
        raise _not_installed(missing, "yfinance") from None
    from gogooku3.data.fetch.yahoo import fetch_yahoo, read_tickers

    _check_build(build)
    days = parse_day("--from", first), parse_day("--to", last) if last else dt.date.today()
    names = read_tickers(tickers)
    folder = out or settings.data_dir / "raw" / "yfinance"
    with _progress() as on_progress:
        report = fetch_yahoo(folder, names, *days, download, on_progress)
    show(f"{folder}: {report.written:,} stocks fetched, {report.kept:,} already current")
    if report.empty:
        show(f"Yahoo has no data for {choices(report.empty)}; check the spelling and the days")
    if report.behind:
        ends = (f"{name} ({day})" for name, day in report.behind.items())
        show(f"these end before others of their exchange: {choices(ends)}")
    _build(folder, build)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    with progress_bar("fetching", remaining=True) as progress:
        yield lambda done, n: progress(f"{done:,} of {n:,}", done / n)


def _print_report(report: "FetchReport", folder: Path) -> None:
    if report.written:
        rows = [[name, f"{files:,}"] for name, files in report.written.items()]
        print_table(f"{folder}: {report.rows:,} rows fetched", ["data set", "files"], rows)
    else:
        show(f"{folder}: nothing new")
    for name, reason in report.skipped.items():
        show(f"left out: {name}: {reason}")
    for name, units in report.pending.items():
        show(f"not published yet: {name} of {choices(units, 4)}; the next fetch requests them again")


def _build(prices: Path, out: Path | None, extra: str | None = None) -> None:
    """Build the data set, appending days if possible; without `out`, print the command to build it."""
    if out is None:
        show(f"next: gogooku3 data build --prices {prices} --out data/mine.parquet")
        return
    from gogooku3.cli.data_build import build
    from gogooku3.features.append import CannotAppend

    try:
        build(prices, out, extra, append=True)
    except CannotAppend as reason:
        show(f"all days are rebuilt: {reason}")
        build(prices, out, extra, append=False)


def _check_build(out: Path | None, extra: str | None = None) -> None:
    """Refuse an impossible build before the fetch, which may take hours."""
    from gogooku3.features.extra import extra_features
    from gogooku3.files.year_folder import check_table_output

    if out is not None:
        check_table_output(out)
        extra_features(split_names(extra))
    elif extra is not None:
        raise ConfigError("--extra adds features to a data set; name its file with --build, or drop --extra")


def _not_installed(missing: ModuleNotFoundError, extra: str) -> Exception:
    if missing.name and missing.name.startswith("gogooku3"):
        return missing
    return DataError(f"{extra} needs {missing.name}, which is not installed; pip install 'gogooku3[{extra}]'")

"""Finds the price files of a path and opens each as a lazy table with a column of codes."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gogooku3.data.parsing import parse_dates
from gogooku3.errors import DataError, choices
from gogooku3.files.tables import SUFFIXES, scan_table, unreadable_file
from gogooku3.files.year_folder import is_year_folder, table_files
from gogooku3.schema import (
    CODE,
    DATE,
    KEYS,
    OHLCV,
    find_columns,
    is_target_column,
    map_columns,
    unused_prices,
)


@dataclass(frozen=True)
class PriceTables:
    """The price files of a path as lazy tables, and whether their codes are the names of the files."""

    scans: dict[Path, pl.LazyFrame]
    named_by_file: bool


def price_files(path: Path | str) -> list[Path]:
    """The file itself, or the CSV and Parquet files of a folder, sorted by name.

    Raises:
        DataError: no such path, or a folder without such files.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.exists():
        raise DataError(
            f"no prices at {root}; name a CSV or Parquet file or a folder of them, or make a market with "
            f"`gogooku3 data synth`"
        )
    files = [entry for entry in sorted(root.iterdir()) if _is_price_file(entry)]
    if not files and is_year_folder(root):
        return table_files(root)
    if not files:
        raise DataError(
            f"the folder {root} has no price files; expected *.csv, *.csv.gz or *.parquet, found "
            f"{choices(entry.name for entry in sorted(root.iterdir()))}; name the folder that holds them"
        )
    return files


def left_out(path: Path | str) -> list[str]:
    """Entries of a folder of prices that are not read: sub-folders and files of other types, sorted by name.

    Hidden files and oracles, which are no prices, are not listed.
    """
    root = Path(path)
    if not root.is_dir() or price_files(root)[0].parent != root:
        return []
    entries = [entry for entry in sorted(root.iterdir()) if not _is_price_file(entry)]
    return [
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in entries
        if not entry.name.startswith(".") and ".oracle." not in entry.name
    ]


def scan_prices(path: Path | str, *, typed: bool = False) -> PriceTables:
    """Open each price file of a path, as `scan_table` does.

    If no file of a folder has a column of codes, the codes are the files' names without their ending. A CSV
    file with the two header rows of yfinance becomes one row per stock and day.

    Raises:
        DataError: as for `price_files` and `scan_table`; a file has one column per stock or per day; only
            some files of a folder have codes, or a file that should be one stock repeats a day.
    """
    files = price_files(path)
    scans = {file: _scan_file(file, typed) for file in files}
    columns = {file: scan.collect_schema().names() for file, scan in scans.items()}
    for file, names in columns.items():
        _refuse_wide(file, names)
    nameless = [file for file, names in columns.items() if CODE not in map_columns(names, KEYS).values()]
    if not nameless or not Path(path).is_dir():
        return PriceTables(scans, named_by_file=False)
    if len(nameless) < len(files):
        coded = next(file for file in files if file not in nameless)
        raise DataError(
            f"{coded.name} has a column of codes, {nameless[0].name} has none; add it, or keep files with "
            f"one stock each in a folder of their own"
        )
    for file in files:
        find_columns(columns[file], (DATE, *OHLCV), file.name)
        _refuse_repeated_days(file, scans[file])
    named = {file: scan.with_columns(pl.lit(_stem(file)).alias(CODE)) for file, scan in scans.items()}
    return PriceTables(named, named_by_file=True)


def _scan_file(file: Path, typed: bool) -> pl.LazyFrame:
    with_two_headers = _scan_yfinance(file)
    return scan_table(file, typed=typed) if with_two_headers is None else with_two_headers


def _is_price_file(path: Path) -> bool:
    name = path.name
    hidden = name.startswith(".") or name.endswith(".oracle.parquet")
    return path.is_file() and name.lower().endswith(SUFFIXES) and not hidden


def _stem(file: Path) -> str:
    """A file's name without its ending.

    >>> _stem(Path("7203.T.csv.gz"))
    '7203.T'
    """
    name = file.name
    ending = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len)
    return name[: -len(ending)]


def _refuse_repeated_days(file: Path, scan: pl.LazyFrame) -> None:
    """Refuse a file of several stocks without codes."""
    date = next(name for name, canonical in map_columns(scan.collect_schema(), [DATE]).items())
    days = scan.select(pl.col(date)).collect()[date]
    if repeated := len(days.drop_nulls()) - days.drop_nulls().n_unique():
        raise DataError(
            f"{file.name} has no column of codes, and its name can't be one: {repeated:,} rows repeat a day; "
            f"add the code of each row"
        )


def _refuse_wide(file: Path, columns: Sequence[str]) -> None:
    """Refuse a table with one column per stock, or one per day."""
    mapping = map_columns(columns, (*KEYS, *OHLCV))
    # C, V, O, H and L are tickers, too.
    others = [name for name in columns if mapping.get(name) not in KEYS]
    if len(set(mapping.values()) & set(OHLCV)) > 2 or len(others) < 2 or any(map(is_target_column, columns)):
        return
    unit = None
    if parse_dates(pl.Series(others, dtype=pl.String)).unreadable.is_empty():
        unit = "day"
    elif DATE in mapping.values() and CODE not in mapping.values():
        unit = "stock"
    if unit:
        raise DataError(
            f"{file.name} seems to have one column per {unit} ({choices(others, 3)}); write one row per "
            f"stock and day, with the columns date, code, open, high, low, close and volume"
        )


def _scan_yfinance(file: Path) -> pl.LazyFrame | None:
    """Rows of a CSV file that pandas wrote with two header rows, prices and tickers; None for other files."""
    if not file.name.lower().endswith((".csv", ".csv.gz")):
        return None
    head = _first_rows(file)
    if len(head) < 3 or len(head[0]) != len(head[1]) or len(head[0]) < 2:
        return None
    prices = next((row for row in head[:2] if all(map(_is_price, row[1:]))), None)
    if prices is None or head[0][0] not in ("", "Price", "Ticker", "Attributes"):
        return None
    tickers = head[1] if prices is head[0] else head[0]
    if not all(tickers[1:]) or tickers[0] not in ("", "Price", "Ticker", "Symbols"):
        return None
    # Pandas names the index in a third row.
    skipped = 2 + (not any(head[2][1:]))
    table = pl.scan_csv(file, has_header=False, skip_rows=skipped, infer_schema=False, glob=False)
    try:
        names = table.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise unreadable_file(file, error) from None
    if len(names) != len(tickers):
        raise DataError(
            f"{file.name}: the header has {len(tickers)} columns, the rows {len(names)}; write it again"
        )
    return pl.concat(_stocks(table, names, prices, tickers), how="diagonal")


def _stocks(
    table: pl.LazyFrame, fields: Sequence[str], prices: Sequence[str], tickers: Sequence[str]
) -> list[pl.LazyFrame]:
    """One table per ticker: `Date, Ticker` and all prices."""
    columns: dict[str, dict[str, str]] = {ticker: {} for ticker in tickers[1:]}
    for name, price, ticker in zip(fields[1:], prices[1:], tickers[1:], strict=True):
        columns[ticker][name] = price
    date = pl.col(fields[0]).alias("Date")
    return [
        table.select(date, pl.lit(ticker).alias("Ticker"), *own).rename(own)
        for ticker, own in columns.items()
    ]


def _first_rows(file: Path) -> list[list[str]]:
    """The first three rows of a CSV file; none if it is not text."""
    opener = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="") as text:
            return [row for _, row in zip(range(3), csv.reader(text), strict=False)]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error):
        return []


def _is_price(name: str) -> bool:
    return bool(unused_prices([name], [])) or name in ("Dividends", "Stock Splits", "Capital Gains")

"""Reads daily prices as people have them (CSV or Parquet, a file or a folder) into one clean table.

It repairs nothing by looking ahead: a suspicious jump stays, counted, because only the next day would tell.
"""

import datetime as dt
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.schema import (
    CODE,
    DATE,
    INDEX_CLOSE,
    KEYS,
    KNOWN_FACT,
    OHLCV,
    SECTOR,
    map_columns,
    require_columns,
)

logger = logging.getLogger(__name__)

PRICES = ("open", "high", "low", "close")
COLUMNS = (*KEYS, *OHLCV, SECTOR, INDEX_CLOSE)
"""Every column that prices may have, in order; the last two need not be there."""
SUFFIXES = (".parquet", ".csv", ".csv.gz")
MISSING_WORDS = ("", "-", "--", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None")
"""Texts that mean "no value" in a CSV file."""

JUMP = 4.0
"""A price that moves by more than this ratio, up or down, in a day is suspicious."""
REVERSION = 0.8
"""A jump of which the next day undoes more than this share (of logarithms) is likely a bad tick."""
ROUNDING = 1e-6
"""Relative slack of the open/high/low/close relation: float32 and adjustment factors round."""

_PARSER_ERRORS = (pl.exceptions.PolarsError, OSError, UnicodeDecodeError)
_SEPARATED_DAY = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_COMPACT_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})")


@dataclass(frozen=True)
class PricesReport:
    """What reading found and did. Counts are rows (or cells of one column), never shares."""

    files: int
    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    """Rows left out, by reason."""
    nulled: dict[str, int]
    """Values set to null, by column and reason."""
    mapped: dict[str, str]
    """Column in the file -> canonical name."""
    n_stocks: int
    n_days: int
    first_date: dt.date
    last_date: dt.date
    reverting_jumps: int
    """Likely bad ticks, left as they are: the day itself cannot know that the next undoes it."""
    lasting_jumps: int
    """Jumps as large that stay: most often splits without adjustment, or a long hole. Left as they are."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON (dates as ISO text)."""
        return asdict(self) | {
            "first_date": self.first_date.isoformat(),
            "last_date": self.last_date.isoformat(),
        }


@dataclass(frozen=True)
class PricesTable:
    """Prices sorted by (code, date) with unique keys, and the account of how they were read."""

    frame: pl.DataFrame
    report: PricesReport


@dataclass(frozen=True)
class Parsed:
    """A column in its canonical type, and the texts that could not be read (null in `values`)."""

    values: pl.Series
    unreadable: pl.Series


def read_prices(path: Path | str) -> PricesTable:
    """Read daily prices from one CSV or Parquet file, or from every such file of a folder.

    A folder's files are read in the order of their names; hidden files and `*.oracle.parquet` are skipped.
    Result: `date: Date, code: String, open, high, low, close, volume: Float64`, and `sector: String`,
    `index_close: Float64` and facts `known_*: Float64` where a file has them; sorted by (code, date).
    Prices that are zero, negative or not finite become null; a row without a close is "not traded" and
    dropped; a day without volume stays. Where open, high, low and close contradict each other, the close is
    believed and the others become null.

    Raises:
        DataError: no such file, nothing in it, not CSV or Parquet, a missing column, dates, codes or numbers
            that cannot be read, rows without a key, or two rows for one stock and day.
    """
    files = price_files(path)
    parts: list[pl.DataFrame] = []
    mappings: dict[str, dict[str, str]] = {}
    for file in files:
        part, mapping = _read_file(file)
        parts.append(part)
        mappings[file.name] = mapping
    _refuse_mixed_prices(mappings)
    frame = pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]
    rows_read = frame.height
    if rows_read == 0:
        raise DataError(f"{path} has a header but no rows; expected one row a stock and day")
    frame = frame.select(*(name for name in COLUMNS if name in frame.columns), *_facts(frame.columns))
    frame = _sorted_unique(frame, str(path))
    frame, nulled = _clean_values(frame)
    frame = frame.filter(pl.col("close").is_not_null())
    if frame.is_empty():
        raise DataError(
            f"{path}: none of the {rows_read:,} rows has a close above 0; is the right column mapped to "
            f"close? Mapped: {_spell(mappings[files[0].name])}"
        )
    frame, broken = _null_contradictions(frame)
    reverting, lasting = jump_masks(frame)
    report = PricesReport(
        files=len(files),
        rows_read=rows_read,
        rows_kept=frame.height,
        dropped={"not traded (no close)": rows_read - frame.height},
        nulled=nulled | broken,
        mapped={found: name for mapping in mappings.values() for found, name in mapping.items()},
        n_stocks=frame[CODE].n_unique(),
        n_days=frame[DATE].n_unique(),
        first_date=frame[DATE].min(),  # type: ignore[arg-type]
        last_date=frame[DATE].max(),  # type: ignore[arg-type]
        reverting_jumps=int(reverting.sum()),
        lasting_jumps=int(lasting.sum()),
    )
    logger.info("read %s: %s", path, report.to_dict())
    return PricesTable(frame, report)


def price_files(path: Path | str) -> list[Path]:
    """The CSV and Parquet files that `path` stands for, sorted by name.

    Raises:
        DataError: nothing there, or a folder without such files.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.exists():
        raise DataError(
            f"no prices at {root}; name a CSV or Parquet file or a folder of them, or make a market with "
            f"`gogooku3 data synth`"
        )
    files = sorted(
        file
        for file in root.iterdir()
        if file.is_file()
        and file.name.lower().endswith(SUFFIXES)
        and not file.name.startswith(".")
        and not file.name.endswith(".oracle.parquet")
    )
    if not files:
        others = sorted(file.name for file in root.iterdir())
        raise DataError(
            f"the folder {root} has no price files; expected *.csv, *.csv.gz or *.parquet, found "
            f"{choices(others)}"
        )
    return files


def scan_table(path: Path, *, typed: bool = False) -> pl.LazyFrame:
    """A lazy view of one CSV or Parquet file.

    CSV columns are text, so that a code keeps its leading zeros; with `typed`, all columns but the keys get
    the type that all their rows allow (which reads the file twice).

    Raises:
        DataError: the file is empty, truncated, or of another kind.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); write it again")
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path.name}: expected a name ending in {choices(SUFFIXES)}; rename or convert it")
    try:
        if name.endswith(".parquet"):
            frame = pl.scan_parquet(path, glob=False)
        else:
            missing = list(MISSING_WORDS)
            frame = pl.scan_csv(path, infer_schema=False, null_values=missing, glob=False)
            if typed:
                keys = map_columns(frame.collect_schema().names(), KEYS)
                frame = pl.scan_csv(
                    path,
                    schema_overrides=dict.fromkeys(keys, pl.String),
                    infer_schema_length=None,
                    null_values=missing,
                    glob=False,
                )
        frame.collect_schema()
    except _PARSER_ERRORS as error:
        raise unreadable_file(path, error) from None
    return frame


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Run a lazy read of `path`; a parser's failure becomes a `DataError`."""
    try:
        return frame.collect()
    except _PARSER_ERRORS as error:
        raise unreadable_file(path, error) from None


def unreadable_file(path: Path, error: Exception) -> DataError:
    """The error for a file that its parser refuses: the parser's first line, and what to try."""
    kind = "Parquet" if path.name.lower().endswith(".parquet") else "CSV in UTF-8"
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(
        f"{path} cannot be read as {kind} ({reason}); it may be truncated, of another format or encoding: "
        f"write or copy it again"
    )


def parse_dates(column: pl.Series) -> Parsed:
    """Read days from dates, times, integers (20240131) or text (2024-01-31, 2024/1/31, with a time or not).

    A time zone is not converted: the day is the one written. Day-first and month-first texts are not guessed.

    >>> parse_dates(pl.Series(["2024-01-31", "20240201", "01/02/2024"])).unreadable.to_list()
    ['01/02/2024']
    """
    if column.dtype == pl.Date:
        return Parsed(column, _nothing())
    if isinstance(column.dtype, pl.Datetime):
        return Parsed(column.dt.date(), _nothing())
    text = _as_text(column)
    days = {value: _day_of(value) for value in text.unique().drop_nulls()}
    values = text.replace_strict(
        list(days), pl.Series(list(days.values()), dtype=pl.Date), default=None, return_dtype=pl.Date
    )
    return Parsed(values, text.filter(values.is_null() & text.is_not_null()))


def parse_codes(column: pl.Series) -> Parsed:
    """Read stock codes as text without surrounding blanks; whole numbers lose their decimal point.

    >>> parse_codes(pl.Series([7203.0, 130.0])).values.to_list()
    ['7203', '130']
    """
    text = _as_text(column)
    values = pl.select(pl.when(text != "").then(text)).to_series().alias(column.name)
    if column.dtype.is_float():
        whole = values.str.contains(r"^\d+$").fill_null(True)
        return Parsed(values, values.filter(~whole))
    return Parsed(values, _nothing())


def parse_numbers(column: pl.Series) -> Parsed:
    """Read a column as Float64; texts such as "" and "N/A" are null, other texts are unreadable.

    >>> parse_numbers(pl.Series(["1.5", "-", "1,234"])).unreadable.to_list()
    ['1,234']
    """
    if column.dtype.is_numeric():
        return Parsed(column.cast(pl.Float64), _nothing())
    text = _as_text(column)
    values = text.cast(pl.Float64, strict=False)
    lost = values.is_null() & text.is_not_null() & ~text.is_in(MISSING_WORDS)
    return Parsed(values, text.filter(lost))


def readable(parsed: Parsed, column: str, what: str, advice: str) -> pl.Series:
    """The values of a parsed column, if all could be read.

    Raises:
        DataError: with the count, examples and the advice.
    """
    if parsed.unreadable.len():
        examples = choices(map(repr, parsed.unreadable.unique(maintain_order=True).head(3)))
        raise DataError(
            f"{what}: {parsed.unreadable.len():,} values of column '{column}' cannot be read, such as "
            f"{examples}; {advice}"
        )
    return parsed.values.alias(column)


def read_keys(frame: pl.DataFrame, what: str) -> list[pl.Series]:
    """The columns `date` and `code` in their canonical types, none missing.

    Raises:
        DataError: a value cannot be read or is null, with count and example.
    """
    keys = [
        readable(parse_dates(frame[DATE]), DATE, what, "write days as 2024-01-31"),
        readable(parse_codes(frame[CODE]), CODE, what, "write codes as text"),
    ]
    for key in keys:
        if nulls := key.null_count():
            row = (key.is_null().arg_max() or 0) + 1
            raise DataError(
                f"{what}: {nulls:,} rows have no {key.name} (the first is row {row:,}); "
                f"fill it in or remove those rows"
            )
    return keys


def contradictions() -> dict[str, tuple[pl.Expr, tuple[str, ...]]]:
    """Each way in which a row's prices contradict each other, and the columns not to be believed then.

    The close is believed first: it is the one price that every source takes care to get right.
    """
    high, low, close, open_ = (pl.col(name) for name in ("high", "low", "close", "open"))
    above, below = 1 + ROUNDING, 1 - ROUNDING
    return {
        "high below low": (high < low * below, ("high", "low")),
        "close above high": (close > high * above, ("high",)),
        "close below low": (close < low * below, ("low",)),
        "open outside low to high": ((open_ > high * above) | (open_ < low * below), ("open",)),
    }


def jump_masks(frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Rows whose close moved by more than `JUMP` times: those whose next day undoes it, and those that stay.

    For people to look at: the first mask needs the next day, so nothing may be computed from it.
    Expects rows sorted by (code, date).
    """
    move = pl.when(pl.col(CODE) == pl.col(CODE).shift(1)).then(pl.col("close").log().diff())
    jump = (move.abs() > math.log(JUMP)).fill_null(False)
    undone = (-move.shift(-1) / move > REVERSION).fill_null(False)
    masks = frame.select(reverting=jump & undone, lasting=jump & ~undone)
    return masks["reverting"], masks["lasting"]


def _read_file(path: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """One file's canonical columns in canonical types, and `{found: canonical}`."""
    scan = scan_table(path)
    present = scan.collect_schema().names()
    mapping = map_columns(present, COLUMNS) | {name: name for name in _facts(present)}
    lacking = [name for name in (*KEYS, *OHLCV) if name not in mapping.values()]
    if lacking:
        require_columns(present, lacking, f"{path.name} (or another usual spelling of them)")
    raw = collect(scan.select(list(mapping)), path).rename(mapping)
    columns = read_keys(raw, path.name)
    for name in (*OHLCV, INDEX_CLOSE, *_facts(raw.columns)):
        if name in raw.columns:
            parsed = parse_numbers(raw[name])
            columns.append(readable(parsed, name, path.name, "write plain numbers without separators"))
    if SECTOR in raw.columns:
        columns.append(_as_text(raw[SECTOR]))
    return pl.DataFrame(columns), mapping


def _facts(columns: Sequence[str]) -> list[str]:
    """Columns of facts known at the close of their day, which need no other name."""
    return [name for name in columns if name.startswith(KNOWN_FACT)]


def _refuse_mixed_prices(mappings: Mapping[str, Mapping[str, str]]) -> None:
    """Files of one folder must mean the same by a price: adjusted in all of them or in none."""
    first_file, first = next(iter(mappings.items()))
    spelled = {name: found.strip().lower() for found, name in first.items() if name in OHLCV}
    for file, mapping in mappings.items():
        for found, name in mapping.items():
            if name in spelled and found.strip().lower() != spelled[name]:
                raise DataError(
                    f"the files disagree about which column is '{name}': {first_file} has '{spelled[name]}', "
                    f"{file} has '{found}'; give them the same columns"
                )


def _sorted_unique(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """Rows by (code, date), sorted only where they are not yet; one row a stock and day or `DataError`."""
    if not is_sorted_by(frame, (CODE, DATE)):
        frame = frame.sort(CODE, DATE)
    refuse_duplicate_keys(frame, what)
    return frame


def is_sorted_by(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether rows ascend by two keys (equal keys allowed), in one pass and without sorting.

    >>> is_sorted_by(pl.DataFrame({"a": [1, 1, 2], "b": [3, 4, 1]}), ("a", "b"))
    True
    """
    major, minor = (pl.col(key) for key in keys)
    before_major, before_minor = major.shift(1), minor.shift(1)
    ordered = (major > before_major) | ((major == before_major) & (minor >= before_minor))
    return bool(frame.select(ordered.slice(1).all(ignore_nulls=False).fill_null(False)).item())


def duplicate_rows(frame: pl.DataFrame) -> pl.Series:
    """Mask of rows whose (date, code) is the row before's. Expects equal keys side by side."""
    repeated = (pl.col(DATE) == pl.col(DATE).shift(1)) & (pl.col(CODE) == pl.col(CODE).shift(1))
    return frame.select(repeated.fill_null(False).alias("repeated")).to_series()


def refuse_duplicate_keys(frame: pl.DataFrame, what: str) -> None:
    """Raise where a stock has two rows on a day. Expects equal keys side by side.

    Raises:
        DataError: with the count, an example, and whether the rows differ.
    """
    repeated = duplicate_rows(frame)
    count = int(repeated.sum())
    if not count:
        return
    row = repeated.arg_max() or 0
    pair = frame.slice(row - 1, 2)
    same = pair.slice(0, 1).equals(pair.slice(1, 1), null_equal=True)
    advice = (
        "the rows are equal: remove the copies (frame.unique())"
        if same
        else "the rows differ: keep the right one of each pair"
    )
    raise DataError(
        f"{what}: {count:,} rows repeat a (date, code) that must be unique, such as "
        f"{pair[DATE][0]}, {pair[CODE][0]}; {advice}"
    )


def _clean_values(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Impossible values to null, with counts by column."""
    columns = [name for name in (*PRICES, INDEX_CLOSE) if name in frame.columns]
    before = frame.null_count().row(0, named=True)
    cleaned = frame.with_columns(
        *(pl.when(pl.col(name).is_finite() & (pl.col(name) > 0)).then(pl.col(name)) for name in columns),
        pl.when(pl.col("volume").is_finite() & (pl.col("volume") >= 0)).then(pl.col("volume")),
    )
    after = cleaned.null_count().row(0, named=True)
    counts = {f"{name}: zero, negative or not finite": after[name] - before[name] for name in columns}
    counts["volume: negative or not finite"] = after["volume"] - before["volume"]
    return cleaned, {reason: count for reason, count in counts.items() if count}


def _null_contradictions(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Open, high and low to null where they contradict the close or each other, with counts of rows."""
    counts: dict[str, int] = {}
    for reason, (broken, columns) in contradictions().items():
        mask = frame.select(broken.fill_null(False).alias("broken")).to_series()
        if count := int(mask.sum()):
            counts[f"{', '.join(columns)}: {reason}"] = count
            frame = frame.with_columns(pl.when(~mask).then(pl.col(name)) for name in columns)
    return frame, counts


def _day_of(text: str) -> dt.date | None:
    if match := _SEPARATED_DAY.fullmatch(text):
        year, month, day = match.group(1), match.group(3), match.group(4)
    elif match := _COMPACT_DAY.fullmatch(text):
        year, month, day = match.groups()
    else:
        return None
    if not 1900 <= int(year) < 2200:
        return None
    try:
        return dt.date(int(year), int(month), int(day))
    except ValueError:
        return None


def _as_text(column: pl.Series) -> pl.Series:
    """Values as stripped text, whole floating-point numbers without their decimal point."""
    if column.dtype.is_float() and bool((column.floor() == column).all()):
        column = column.cast(pl.Int64)
    return column.cast(pl.String).str.strip_chars()


def _nothing() -> pl.Series:
    return pl.Series([], dtype=pl.String)


def _spell(mapping: Mapping[str, str]) -> str:
    return choices(f"{found} -> {name}" for found, name in mapping.items())

"""Reads daily prices (CSV or Parquet, a file or a folder) into one clean table.

Suspicious jumps are counted and kept: repairing one needs the next day's price, which is a look-ahead.
"""

import datetime as dt
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gogooku3.data.parsing import (
    DAY_ADVICE,
    NUMBER_ADVICE,
    checked_keys,
    parse_codes,
    parse_dates,
    parse_numbers,
    readable,
    second_spellings,
)
from gogooku3.data.price_files import left_out, scan_prices
from gogooku3.data.trading_days import describe_strays, has_utc_times, shifted_days, stray_rows
from gogooku3.errors import DataError, choices
from gogooku3.files.tables import collect
from gogooku3.schema import (
    CODE,
    DATE,
    INDEX_CLOSE,
    KEYS,
    KNOWN_FACT,
    OHLCV,
    SECTOR,
    adjusted_columns,
    find_columns,
    map_columns,
    unused_prices,
)

logger = logging.getLogger(__name__)

PRICES = ("open", "high", "low", "close")
COLUMNS = (*KEYS, *OHLCV, SECTOR, INDEX_CLOSE)
"""Every column that prices may have, in order; the last two are optional."""

JUMP = 4.0
"""A price that moves by more than this ratio, up or down, in a day is suspicious."""
REVERSION = 0.8
"""A jump is a likely bad tick if the next day reverts more than this share of it (in logarithms)."""
ROUNDING = 1e-6
"""Relative tolerance between open, high, low and close: float32 and adjustment factors round."""


@dataclass(frozen=True)
class PricesReport:
    """Counts of what was read, dropped and nulled, in rows or cells of one column."""

    files: int
    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    """Dropped rows, by reason."""
    nulled: dict[str, int]
    """Values set to null, by column and reason."""
    mapped: dict[str, str]
    """Column in the file -> canonical name."""
    unused: tuple[str, ...]
    """Other columns that hold prices by their names."""
    named_by_file: bool
    """The codes are the names of the files."""
    left_out: tuple[str, ...]
    """Sub-folders and files of a folder that were not read."""
    n_stocks: int
    n_days: int
    first_date: dt.date
    last_date: dt.date
    reverting_jumps: int
    """Likely bad ticks, kept: on the day itself it is not known that the next day reverts it."""
    lasting_jumps: int
    """Jumps as large that last, kept: most often splits without adjustment, or a long hole."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON (dates as ISO text)."""
        return asdict(self) | {"first_date": str(self.first_date), "last_date": str(self.last_date)}


@dataclass(frozen=True)
class PricesTable:
    """Prices sorted by (code, date) with unique keys, and the report on reading them."""

    frame: pl.DataFrame
    report: PricesReport


def read_prices(path: Path | str, adjust: bool = False, date_format: str | None = None) -> PricesTable:
    """Read daily prices from one CSV or Parquet file, or from every such file of a folder.

    A folder's files are read in the order of their names; hidden files and `*.oracle.parquet` are skipped.
    If none of them has codes, the codes are their names.
    Result: `date: Date, code: String, open, high, low, close, volume: Float64`, and `sector: String`,
    `index_close: Float64` and facts `known_*: Float64` where a file has them; sorted by (code, date).
    Prices that are zero, negative or not finite become null; a row without a close is "not traded" and
    dropped; a day without volume stays. Where open, high, low and close contradict each other, the close is
    kept and the others become null.

    Args:
        path: a file or a folder.
        adjust: scale open, high, low and close by adjusted over raw close, where only the close has an
            adjusted column; the volume is unchanged.
        date_format: form of the days, as for `parse_dates`.

    Raises:
        DataError: no such file, an empty file, not CSV or Parquet, a missing column, dates, codes or numbers
            that cannot be parsed, rows without a key, one stock under two spellings, rows of another
            market's calendar, or two rows for one stock and day.
    """
    tables = scan_prices(path)
    files = list(tables.scans)
    parts, mappings, unused, timed = zip(
        *(_read_file(file, scan, adjust, date_format) for file, scan in tables.scans.items()), strict=True
    )
    _refuse_mixed_prices({file.name: mapping for file, mapping in zip(files, mappings, strict=True)})
    frame = pl.concat(parts, how="diagonal")
    rows_read = frame.height
    if rows_read == 0:
        raise DataError(f"{path} has a header but no rows; write it again, with one row per stock and day")
    frame = frame.select(*(name for name in COLUMNS if name in frame.columns), *_facts(frame.columns))
    _refuse_second_spellings(frame[CODE], str(path))
    frame = sorted_unique(frame, (CODE, DATE), str(path))
    frame, nulled = _clean_values(frame)
    if frame["close"].null_count():
        frame = frame.filter(pl.col("close").is_not_null())
    if frame.is_empty():
        mapped = choices(f"{name} -> {canonical}" for name, canonical in mappings[0].items())
        raise DataError(
            f"{path}: none of the {rows_read:,} rows has a close above 0; is the right column mapped to "
            f"close? Mapped: {mapped}"
        )
    _refuse_other_sessions(frame.select(KEYS), any(timed), str(path))
    frame, broken = _null_contradictions(frame)
    reverting, lasting = jump_masks(frame)
    report = PricesReport(
        files=len(files),
        rows_read=rows_read,
        rows_kept=frame.height,
        dropped={"not traded (no close)": rows_read - frame.height},
        nulled=nulled | broken,
        mapped={name: canonical for mapping in mappings for name, canonical in mapping.items()},
        unused=tuple(dict.fromkeys(name for names in unused for name in names)),
        named_by_file=tables.named_by_file,
        left_out=tuple(left_out(path)),
        n_stocks=frame[CODE].n_unique(),
        n_days=frame[DATE].n_unique(),
        first_date=frame[DATE].min(),  # type: ignore[arg-type]
        last_date=frame[DATE].max(),  # type: ignore[arg-type]
        reverting_jumps=int(reverting.sum()),
        lasting_jumps=int(lasting.sum()),
    )
    logger.info("read %s: %s", path, report.to_dict())
    return PricesTable(frame, report)


def contradictions() -> dict[str, tuple[pl.Expr, tuple[str, ...]]]:
    """Contradictions between a row's prices, and the columns to null for each.

    The close is kept, because vendors check it most carefully.
    """
    high, low, close, open_ = (pl.col(name) for name in ("high", "low", "close", "open"))
    above, below = 1 + ROUNDING, 1 - ROUNDING
    return {
        "high below low": (high < low * below, ("high", "low")),
        "close above high": (close > high * above, ("high",)),
        "close below low": (close < low * below, ("low",)),
        "open outside low to high": ((open_ > high * above) | (open_ < low * below), ("open",)),
    }


def jump_masks(
    frame: pl.DataFrame, ratio: float = JUMP, reversion: float = REVERSION
) -> tuple[pl.Series, pl.Series]:
    """Masks of rows whose close moved by more than `ratio` times: reverted by the next day, and lasting.

    For reports only: the first mask uses the next day, so no feature may depend on it. Expects rows sorted by
    (code, date).
    """
    close = frame["close"].to_numpy()
    with np.errstate(all="ignore"):
        moved = close[1:] / close[:-1]
    # Logarithms and codes only for rows that moved about as far, or by an unknown ratio.
    about = ratio * (1 - ROUNDING)
    rows = 1 + np.flatnonzero(~((moved < about) & (moved > 1 / about)))
    move = _log_moves(frame, rows)
    back = -_log_moves(frame, np.minimum(rows + 1, frame.height - 1))
    jump = (move.abs() > math.log(ratio)).fill_null(False)
    reverted = (back / move > reversion).fill_null(False)
    masks = np.zeros((2, frame.height), bool)
    masks[0, rows], masks[1, rows] = jump & reverted, jump & ~reverted
    return pl.Series(masks[0]), pl.Series(masks[1])


def _log_moves(frame: pl.DataFrame, rows: np.ndarray) -> pl.Series:
    """Log of the close over the previous row's; null where that is another stock."""
    now, before = (frame.select(CODE, "close")[at] for at in (rows, rows - 1))
    move = now["close"].log() - before["close"].log()
    return pl.select(pl.when(now[CODE] == before[CODE]).then(move)).to_series()


def _read_file(
    path: Path, scan: pl.LazyFrame, adjust: bool, date_format: str | None
) -> tuple[pl.DataFrame, dict[str, str], list[str], bool]:
    """One file's canonical columns in canonical types, `{name in the file: canonical}`, unused prices, and
    whether its days are times in UTC."""
    present = scan.collect_schema().names()
    mapping = map_columns(present, COLUMNS)
    if {DATE, *OHLCV} <= set(mapping.values()) and CODE not in mapping.values():
        raise DataError(
            f"{path.name} has no column of codes, such as code, symbol or ticker; it has {choices(present)}; "
            f"add one, or put one file per stock into a folder, where the file names are the codes"
        )
    find_columns(present, (*KEYS, *OHLCV), path.name)
    mapping |= {name: name for name in _facts(present)}
    adjusted = _adjusted_close(present, mapping, path.name) if adjust else None
    raw = collect(scan.select([*mapping, *([adjusted] if adjusted else [])]), path).rename(mapping)
    advice = f"{DAY_ADVICE}, or give their form with --date-format"
    days = parse_dates(raw[DATE], date_format, guess_order=True)
    columns = checked_keys(days, raw[CODE], path.name, advice)
    for name in (*OHLCV, INDEX_CLOSE, *_facts(raw.columns), *([adjusted] if adjusted else [])):
        if name in raw.columns:
            parsed = parse_numbers(raw[name])
            columns.append(readable(parsed, name, path.name, NUMBER_ADVICE))
    if SECTOR in raw.columns:
        columns.append(readable(parse_codes(raw[SECTOR]), SECTOR, path.name, "write sectors as text"))
    frame, timed = pl.DataFrame(columns), has_utc_times(raw[DATE])
    unused = [name for name in unused_prices(present, mapping) if name != adjusted]
    if adjusted is None:
        return frame, mapping, unused, timed
    mapping = {name: price for name, price in mapping.items() if price != "close"} | {adjusted: "close"}
    return _scale_prices(frame, adjusted, path.name), mapping, unused, timed


def _adjusted_close(present: Sequence[str], mapping: Mapping[str, str], what: str) -> str | None:
    """The column of adjusted closes; None if the mapped prices are adjusted already."""
    adjusted = adjusted_columns(present).get("close", [])
    if any(name in mapping for name in adjusted):
        return None
    if len(adjusted) != 1:
        raise DataError(
            f"{what}: --adjust adj-close needs one column of adjusted closes, such as 'Adj Close', but there "
            f"are {len(adjusted)}; the file has {choices(present)}; leave --adjust out, or add the column"
        )
    return adjusted[0]


def _scale_prices(frame: pl.DataFrame, adjusted: str, what: str) -> pl.DataFrame:
    """Replace the close by the adjusted close, and scale open, high and low by the same factor."""
    lost = int((frame["close"].is_not_null() & frame[adjusted].is_null()).sum())
    if lost:
        raise DataError(
            f"{what}: {lost:,} rows have a close but no '{adjusted}'; fill it in, or leave --adjust out"
        )
    factor = pl.col(adjusted) / pl.col("close")
    scaled = [pl.col(name) * factor for name in PRICES if name != "close"]
    return frame.with_columns(*scaled, pl.col(adjusted).alias("close")).drop(adjusted)


def _facts(columns: Sequence[str]) -> list[str]:
    """Columns of facts known at the close of their day."""
    return [name for name in columns if name.startswith(KNOWN_FACT)]


def _refuse_mixed_prices(mappings: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a folder whose files take a price from different columns, such as raw and adjusted."""
    first_file, first = next(iter(mappings.items()))
    spellings = {price: name.strip().lower() for name, price in first.items() if price in OHLCV}
    for file, mapping in mappings.items():
        for name, price in mapping.items():
            if price in spellings and name.strip().lower() != spellings[price]:
                raise DataError(
                    f"the files disagree about which column is '{price}': {first_file} has "
                    f"'{spellings[price]}', {file} has '{name}'; give them the same columns"
                )


def _refuse_second_spellings(codes: pl.Series, what: str) -> None:
    if pairs := second_spellings(codes):
        examples = choices((f"'{one}' and '{other}'" for one, other in pairs), 3)
        raise DataError(
            f"{what}: {len(pairs):,} stocks seem to have two codes, such as {examples}; "
            "give each stock one code"
        )


def _refuse_other_sessions(keys: pl.DataFrame, timed: bool, what: str) -> None:
    """Refuse rows of another calendar, and days that a time zone has shifted.

    Markets of the Middle East trade on Sundays and not on Fridays, so days without a time are accepted.
    """
    if (strays := stray_rows(keys)) is not None:
        raise DataError(f"{what}: {'; '.join(describe_strays(strays))}")
    if timed and (shifted := shifted_days(keys[DATE])):
        raise DataError(
            f"{what}: these stocks trade on {shifted}, so the times, in UTC or without a zone, seem to be "
            f"those of another zone's sessions; write the days of the exchange"
        )


def is_sorted_by(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Return True if rows ascend by two keys (equal keys allowed), in one pass and without sorting.

    >>> is_sorted_by(pl.DataFrame({"a": [1, 1, 2], "b": [3, 4, 1]}), ("a", "b"))
    True
    """
    major, minor = (pl.col(key) for key in keys)
    before_major, before_minor = major.shift(1), minor.shift(1)
    ordered = (major > before_major) | ((major == before_major) & (minor >= before_minor))
    return bool(frame.select(ordered.slice(1).all(ignore_nulls=False).fill_null(False)).item())


def duplicate_rows(frame: pl.DataFrame) -> pl.Series:
    """Mask of rows with the (date, code) of the previous row. Expects equal keys to be adjacent."""
    repeated = (pl.col(DATE) == pl.col(DATE).shift(1)) & (pl.col(CODE) == pl.col(CODE).shift(1))
    return frame.select(repeated.fill_null(False).alias("repeated")).to_series()


def sorted_unique(frame: pl.DataFrame, keys: Sequence[str], what: str, whole: bool = True) -> pl.DataFrame:
    """Sort rows by date and code, in the order of `keys`, and refuse two rows of one stock and day.

    Args:
        frame: the rows.
        keys: (date, code) or (code, date).
        what: name of the table in the message.
        whole: the frame has all columns, so that the message can compare the rows.

    Raises:
        DataError: a key repeats; with the number of such rows and an example.
    """
    if not is_sorted_by(frame, keys):
        frame = frame.sort(keys)
    repeated = duplicate_rows(frame)
    count = int(repeated.sum())
    if not count:
        return frame
    row = repeated.arg_max() or 0
    pair = frame.slice(row - 1, 2)
    if not whole:
        advice = "keep the right one of each pair"
    elif pair.slice(0, 1).equals(pair.slice(1, 1), null_equal=True):
        advice = "the rows are equal: remove the copies (frame.unique())"
    else:
        advice = "the rows differ: keep the right one of each pair"
    raise DataError(
        f"{what}: {count:,} rows repeat a (date, code) that must be unique, such as "
        f"{pair[DATE][0]}, {pair[CODE][0]}; {advice}"
    )


def _clean_values(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Set impossible values to null; with their counts by column."""
    valid = {name: pl.col(name) > 0 for name in (*PRICES, INDEX_CLOSE) if name in frame.columns}
    valid["volume"] = pl.col("volume") >= 0
    valid = {name: pl.col(name).is_finite() & in_range for name, in_range in valid.items()}
    counts = frame.select((~mask).sum().alias(name) for name, mask in valid.items()).row(0, named=True)
    # Columns without such values, most often all, are not copied.
    cleaned = frame.with_columns(pl.when(valid[name]).then(name) for name, count in counts.items() if count)
    what = {name: "zero, negative or not finite" for name in valid} | {"volume": "negative or not finite"}
    return cleaned, {f"{name}: {what[name]}": count for name, count in counts.items() if count}


def _null_contradictions(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Set open, high and low to null where they contradict the close or each other; with counts of rows."""
    counts: dict[str, int] = {}
    for reason, (broken, columns) in contradictions().items():
        mask = frame.select(broken.fill_null(False).alias("broken")).to_series()
        if count := int(mask.sum()):
            counts[f"{', '.join(columns)}: {reason}"] = count
            frame = frame.with_columns(pl.when(~mask).then(pl.col(name)) for name in columns)
    return frame, counts

"""Opens a CSV or Parquet file, or a folder of Parquet files by year, as a lazy table."""

import codecs
import csv
import gzip
import re
import zlib
from pathlib import Path

import polars as pl
import psutil

from gogooku3.errors import DataError, choices
from gogooku3.files.year_folder import table_files
from gogooku3.schema import KEYS, OHLCV, map_columns

SUFFIXES = (".parquet", ".csv", ".csv.gz")
SHEET_ERRORS = ("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!")
"""Texts of a spreadsheet's cells whose formula failed."""
MISSING_WORDS = (
    *("", "-", "--", "NA", "N/A", "n/a", "<NA>", "nan", "NaN", "null", "NULL", "None"),
    *SHEET_ERRORS,
)
"""Texts that mean "no value" in all columns of a CSV file but the keys: `NA` and `NULL` are tickers."""

_PARSER_ERRORS = (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, EOFError, csv.Error, zlib.error)
_HEAD = 1 << 16
"""Bytes read at the start of a CSV file to recognise another kind of file, and at its end to find a cut."""
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_ENCODINGS = ("EUC-JP", "SHIFT_JIS")
_BLANK = b' \t\r,"'
"""Bytes of a line without values."""
_LEAST_BYTES = 4
"""Bytes that a value takes in memory, or more."""
_TWICE = re.compile(r"(.+)_duplicated_\d+")
"""Polars' name of the second of two CSV columns with one name."""


def scan_table(path: Path, *, typed: bool = False) -> pl.LazyFrame:
    """A lazy view of one CSV or Parquet file, or of a folder of Parquet files by year.

    CSV columns are text, so that a code keeps its leading zeros; with `typed`, all columns but the keys get
    the type that all their rows allow (which reads the file twice). Blank lines at its end are skipped.

    Raises:
        DataError: a file is empty, truncated, or of another kind, two columns have one name, or the files of
            a folder have different columns.
    """
    if path.is_dir():
        return _scan_years(path)
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); write it again")
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path.name}: expected a name ending in {choices(SUFFIXES)}; rename or convert it")
    try:
        is_parquet = name.endswith(".parquet")
        frame = pl.scan_parquet(path, glob=False) if is_parquet else _scan_csv(path, typed)
        columns = frame.collect_schema().names()
        if is_parquet:
            _refuse_rows_beyond_memory(path, frame, columns=1)
    except _PARSER_ERRORS as error:
        raise unreadable_file(path, error) from None
    if patterns := [name for name in columns if name.startswith("^") and name.endswith("$")]:
        # Polars takes such a name for a pattern of names.
        raise DataError(f"{path}: columns named as patterns: {choices(patterns)}; rename them")
    twice = {match[1] for name in columns if (match := _TWICE.fullmatch(name)) and match[1] in columns}
    if twice:
        raise DataError(f"{path}: columns that occur twice: {choices(sorted(twice))}; keep one of each")
    return frame


def _scan_csv(path: Path, typed: bool) -> pl.LazyFrame:
    ends_blank = _check_csv(path)
    text = pl.scan_csv(path, infer_schema=False, glob=False)
    names = text.collect_schema().names()
    keys = list(map_columns(names, KEYS))
    if typed:
        # The keys come from a second scan, because words such as NA are missing values in either all columns
        # of a scan or none.
        values = pl.scan_csv(
            path,
            null_values=list(MISSING_WORDS),
            schema_overrides=dict.fromkeys(keys, pl.String),
            infer_schema_length=None,
            glob=False,
        )
        parts = [text.select(keys), values.drop(keys)] if keys else [values]
        frame = pl.concat(parts, how="horizontal").select(names)
    else:
        others = pl.all().exclude(keys)
        frame = text.with_columns(pl.when(~others.is_in(MISSING_WORDS)).then(others))
    if ends_blank:
        frame = frame.filter(
            ~pl.all_horizontal(pl.all().cast(pl.String).str.strip_chars().fill_null("") == "")
        )
    return frame


def _scan_years(folder: Path) -> pl.LazyFrame:
    files = table_files(folder)
    schemas = {file: dict(scan_table(file).collect_schema()) for file in files}
    for file, schema in schemas.items():
        if differing := sorted({name for name, _ in schemas[files[0]].items() ^ schema.items()}):
            raise DataError(
                f"{file} and {files[0]} differ in the columns {choices(differing, 4)}; build the folder again"
            )
    return pl.scan_parquet(files, glob=False, hive_partitioning=False)


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Run a lazy read of `path`; a parser's failure becomes a `DataError` that names the file."""
    try:
        return frame.collect()
    except (*_PARSER_ERRORS, pl.exceptions.PanicException) as error:
        if path.is_dir():
            # Read file by file to find the damaged one.
            for file in table_files(path):
                collect(scan_table(file), file)
        # Polars panics on pages that contradict the footer.
        panic = isinstance(error, pl.exceptions.PanicException)
        raise unreadable_file(path, ValueError("its pages are damaged") if panic else error) from None


def read_table(path: Path) -> pl.DataFrame:
    """Read one file whole.

    Raises:
        DataError: it does not exist, or cannot be read as a table.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; bring it back, or name another")
    frame = scan_table(path)
    if path.suffix.lower() == ".parquet":
        _refuse_rows_beyond_memory(path, frame, len(frame.collect_schema()))
    return collect(frame, path)


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a CSV file for people; a text that a spreadsheet would run as a formula begins with `'`.

    Numbers are written as they are.
    """
    text = pl.col(pl.String)
    formula = text.str.contains(r"^[=+\-@\t\r]")
    table.with_columns(pl.when(formula).then(pl.lit("'") + text).otherwise(text).name.keep()).write_csv(path)


def _refuse_rows_beyond_memory(path: Path, frame: pl.LazyFrame, columns: int) -> None:
    """Refuse a Parquet file whose footer counts more rows than this machine's memory can hold.

    Equal values take no space in a file, so a small one may hold, or claim, any number of rows.
    """
    rows, memory = collect(frame.select(pl.len()), path).item(), psutil.virtual_memory().total
    if rows * columns * _LEAST_BYTES > memory:
        raise DataError(
            f"{path} has {rows:,} rows by its footer, more than fit in this machine's {memory / 1e9:.0f} GB "
            "of memory; write a smaller file, or copy it again if it is damaged"
        )


def unreadable_file(path: Path, error: Exception) -> DataError:
    """The error for a file that its parser refuses: the parser's first line, and advice."""
    kind = "CSV in UTF-8" if path.name.lower().endswith((".csv", ".csv.gz")) else "Parquet"
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(
        f"{path} cannot be read as {kind} ({reason}); it may be truncated, of another format or encoding: "
        f"write or copy it again"
    )


def _check_csv(path: Path) -> bool:
    """Refuse other encodings, kinds, separators and line ends by the first bytes, and a cut by the last.

    Returns True if the file may end with blank lines.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, path.stat().st_size - _HEAD))
        end = file.read()
    compressed = head.startswith(b"\x1f\x8b")
    if compressed:
        with gzip.open(path) as file:
            # gzip detects a cut by itself.
            head, end = file.read(_HEAD), b""
    _refuse_other_kinds(path, head)
    header = head.decode(errors="replace").lstrip("\ufeff").partition("\n")[0]
    for mark, name in _SEPARATORS.items():
        if mark in header and "," not in header:
            raise DataError(
                f"{path}: the columns are separated by {name}, as in {choices([repr(header.strip())])}; "
                f"export it with commas between columns and points in numbers"
            )
    # A last row with too few columns was cut, maybe within a number.
    last = end.decode(errors="replace").rpartition("\n")[2]
    fields, width = (len(next(csv.reader([line]), [])) for line in (last, header))
    if last.strip() and fields < width:
        raise DataError(
            f"{path} is cut short: its last row has {fields} of {width} columns; write or copy it again"
        )
    return compressed or not end.removesuffix(b"\n").rpartition(b"\n")[2].strip(_BLANK)


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    """Refuse Parquet, binary data, encodings other than UTF-8 and lines that end in CR only."""
    if head.startswith(b"PAR1"):
        raise DataError(f"{path} is a Parquet file by its content, not CSV; rename it to end in .parquet")
    if b"\0" in head:
        raise DataError(
            f"{path} is not text in UTF-8: it has zero bytes, as UTF-16 and binary files do; export it as "
            f"CSV in UTF-8"
        )
    if not _decodes(head, "utf-8"):
        likely = _likely_encodings(head)
        seems = f" but seems to be in {' or '.join(likely)}" if likely else ""
        raise DataError(
            f"{path} is not text in UTF-8{seems}; export it as CSV in UTF-8, or convert it with iconv "
            f"(iconv -f {likely[0] if likely else 'ENCODING'} -t UTF-8 {path.name} > converted.csv)"
        )
    if b"\r" in head and b"\n" not in head:
        raise DataError(
            f"{path} ends its lines with CR only, as old Macintosh programs do; save it with LF or CRLF"
        )


def _likely_encodings(head: bytes) -> list[str]:
    """East Asian encodings in which some bytes are text, the likeliest first; one if the header is known.

    >>> _likely_encodings("日付,終値".encode("euc_jp")), _likely_encodings("日付,終値".encode("cp932"))
    (['EUC-JP'], ['SHIFT_JIS'])
    """
    texts = {name: head.decode(name, "ignore") for name in _ENCODINGS if _decodes(head, name)}
    texts = {name: text for name, text in texts.items() if re.search("[\u3040-\u30fe\u4e00-\u9fff]", text)}
    for name, text in texts.items():
        header = text.partition("\n")[0].strip().split(",")
        if any(not column.isascii() for column in map_columns(header, (*KEYS, *OHLCV))):
            return [name]
    # Chinese text in GBK is also text in EUC-JP.
    return ["EUC-JP", "GBK"] if "EUC-JP" in texts else list(texts)


def _decodes(head: bytes, encoding: str) -> bool:
    """Return True if bytes, maybe cut within a character, are text in an encoding."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return True

"""Parses columns of days, codes and numbers into their canonical types, and returns what it can't parse."""

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.tables import MISSING_WORDS, SHEET_ERRORS
from gogooku3.schema import CODE, DATE

FIRST_DAY, LAST_DAY = dt.date(1900, 1, 1), dt.date(2199, 12, 31)
"""A day outside comes from wrong units or a wrong conversion."""
DAY_ADVICE = "write days as 2024-01-31"
NUMBER_ADVICE = "write plain numbers without separators"

_DAY = re.compile(r"(\d{4})(?:([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?|(\d{2})(\d{2}))", re.ASCII)

_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[T ].*)?", re.ASCII)
_MOSTLY = 0.9
"""Share of numbers from which a column of text is one of numbers with some spoiled values."""
_SHEET_TEXT = (r'^="(.*)"$', r"^'(\S.*)$", r"^(\d+)\.0+$")
"""How spreadsheets write a code: as text (`="7203"`, `'7203`) or as a number (`7203.0`)."""


@dataclass(frozen=True)
class Parsed:
    """A column in its canonical type, and the texts that could not be read (null in `values`)."""

    values: pl.Series
    unreadable: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    wrong_type: pl.DataType | None = None
    """The column's type, where nothing of that type can be read."""


def parse_dates(column: pl.Series, date_format: str | None = None, guess_order: bool = False) -> Parsed:
    """Parse days from dates, times, integers (20240131) or text (2024-01-31, 2024/1/31, time optional).

    A time zone is not converted: the day is the one written. Day-first and month-first texts are unreadable,
    and so are days before 1900 and after 2199.

    Args:
        column: days of one table.
        date_format: form of texts and numbers instead, as for `datetime.strptime`: `%d.%m.%Y`.
        guess_order: read texts such as 1/31/2024 if all are of this kind and one shows whether the month is
            first.

    >>> parse_dates(pl.Series(["2024-01-31", "20240201", "01/02/2024"])).unreadable.to_list()
    ['01/02/2024']
    >>> parse_dates(pl.Series(["1/31/2024", "2/1/2024"]), guess_order=True).values.to_list()
    [datetime.date(2024, 1, 31), datetime.date(2024, 2, 1)]
    """
    if column.dtype in (pl.Date, pl.Datetime):
        return _within_centuries(column)
    text = _as_text(column)
    if text is None:
        return _wrong_type(column, pl.Date)
    texts = text.unique().drop_nulls().to_list()
    if date_format is None:
        days = (_slashed_days(texts) if guess_order else {}) or {value: _day_of(value) for value in texts}
    else:
        days = {value: _formatted_day(value, date_format) for value in texts}
    values = text.replace_strict(
        list(days), pl.Series(list(days.values()), dtype=pl.Date), default=None, return_dtype=pl.Date
    )
    return Parsed(values, text.filter(values.is_null() & text.is_not_null()))


def check_date_format(date_format: str) -> None:
    """Refuse a form of days from which a day can't be read back.

    Raises:
        ConfigError: it lacks year, month or day, or has an unknown directive.
    """
    day = dt.date(2024, 1, 31)
    if _formatted_day(day.strftime(date_format), date_format) != day:
        raise ConfigError(
            f"--date-format is '{date_format}', which does not give a day; write it with %Y, %m and %d, such "
            f"as %d.%m.%Y for 31.01.2024"
        )


def parse_codes(column: pl.Series) -> Parsed:
    """Parse stock codes as text without surrounding blanks and a spreadsheet's marks.

    Whole numbers lose their decimal point, also in text. Spreadsheet errors such as `#N/A` are unreadable.

    >>> parse_codes(pl.Series([7203.0, 130.0])).values.to_list()
    ['7203', '130']
    >>> parse_codes(pl.Series(["7203.0", '="7203"', "'7203", "BRK.B"])).values.unique().sort().to_list()
    ['7203', 'BRK.B']
    """
    text = _as_text(column)
    if text is None:
        return _wrong_type(column, pl.String)
    values = _without_sheet_marks(_where(text != "", text))
    if column.dtype.is_float() or column.dtype.is_decimal():
        unreadable = ~values.str.contains(r"^\d+$")
    else:
        unreadable = values.is_in(SHEET_ERRORS)
    return Parsed(_where(~unreadable, values), values.filter(unreadable.fill_null(False)))


def second_spellings(codes: pl.Series) -> list[tuple[str, str]]:
    """Pairs of codes that most likely name one stock.

    They differ by case, full-width characters or leading zeros, or one is a number and the other the same
    number with an exchange's suffix; or most codes of four characters also occur with a 0 at the end, as
    Tokyo's do in J-Quants.

    >>> second_spellings(pl.Series(["7203", "7203.T", "0301", "301", "aapl", "AAPL", "HEI", "HEI.A"]))
    [('0301', '301'), ('AAPL', 'aapl'), ('7203', '7203.T')]
    """
    spellings: dict[str, list[str]] = {}
    for code in codes.unique().drop_nulls().sort():
        plain = unicodedata.normalize("NFKC", code).casefold()
        spellings.setdefault(re.sub(r"^0+(?=\d)", "", plain), []).append(code)
    pairs = [(group[0], other) for group in spellings.values() for other in group[1:]]
    for plain, group in spellings.items():
        number, _, exchange = plain.partition(".")
        if number.isdigit() and exchange.isalpha() and number in spellings:
            pairs.append((spellings[number][0], group[0]))
    short = [plain for plain in spellings if len(plain) == 4]
    longer = [plain for plain in short if f"{plain}0" in spellings]
    if len(longer) > 1 and 2 * len(longer) >= len(short):
        pairs += [(spellings[plain][0], spellings[f"{plain}0"][0]) for plain in longer]
    return pairs


def parse_numbers(column: pl.Series) -> Parsed:
    """Parse a column as Float64; texts such as "" and "N/A" are null, other texts are unreadable.

    >>> parse_numbers(pl.Series(["1.5", "-", "1,234"])).unreadable.to_list()
    ['1,234']
    """
    if column.dtype.is_numeric():
        return Parsed(column.cast(pl.Float64))
    text = _as_text(column)
    if text is None:
        return _wrong_type(column, pl.Float64)
    values = text.cast(pl.Float64, strict=False)
    lost = values.is_null() & text.is_not_null() & ~text.is_in(MISSING_WORDS)
    return Parsed(values, text.filter(lost))


def spoiled_numbers(column: pl.Series) -> pl.Series:
    """Values that are not numbers in a text column where most are; empty for any other column.

    >>> spoiled_numbers(pl.Series([f"{n}.5" for n in range(20)] + ["1,234"])).to_list()
    ['1,234']
    """
    if column.dtype != pl.String:
        return column.clear()
    parsed = parse_numbers(column)
    spoiled = parsed.unreadable
    numbers = len(column) - parsed.values.null_count()
    return spoiled if numbers > _MOSTLY / (1 - _MOSTLY) * len(spoiled) else spoiled.clear()


def readable(parsed: Parsed, column: str, what: str, advice: str) -> pl.Series:
    """The values of a parsed column.

    Raises:
        DataError: some could not be parsed; with the type, or count and examples, and the advice.
    """
    if parsed.wrong_type is not None:
        raise DataError(f"{what}: column '{column}' is of type {parsed.wrong_type}; {advice}")
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
        DataError: a value cannot be parsed or is null, with count and example.
    """
    return checked_keys(parse_dates(frame[DATE]), frame[CODE], what, DAY_ADVICE)


def checked_keys(days: Parsed, codes: pl.Series, what: str, day_advice: str) -> list[pl.Series]:
    """As `read_keys`, for days that are parsed already."""
    keys = [
        readable(days, DATE, what, day_advice),
        readable(parse_codes(codes), CODE, what, "write codes as text"),
    ]
    for key in keys:
        refuse_missing(key, what)
    return keys


def refuse_missing(key: pl.Series, what: str) -> None:
    """Refuse a key with nulls.

    Raises:
        DataError: there are some; with their count and the first row.
    """
    if nulls := key.null_count():
        row = (key.is_null().arg_max() or 0) + 1
        raise DataError(
            f"{what}: {nulls:,} rows have no {key.name} (the first is row {row:,}); "
            f"fill it in or remove those rows"
        )


def _day_of(text: str) -> dt.date | None:
    match = _DAY.fullmatch(text)
    if match is None:
        return None
    try:
        day = dt.date(int(match[1]), int(match[3] or match[5]), int(match[4] or match[6]))
    except ValueError:
        return None
    return day if FIRST_DAY <= day <= LAST_DAY else None


def _slashed_days(texts: Sequence[str]) -> dict[str, dt.date | None]:
    """Days of texts such as 1/31/2024, in the order that fits all of them; none if both or neither do."""
    matches = {text: match for text in texts if (match := _SLASHED.fullmatch(text))}
    if not matches or len(matches) < len(texts):
        return {}
    month_first, day_first = (
        {text: _day_of(f"{match[3]}-{match[month]}-{match[3 - month]}") for text, match in matches.items()}
        for month in (1, 2)
    )
    orders = [days for days in (month_first, day_first) if all(days.values())]
    return orders[0] if len(orders) == 1 else {}


def _formatted_day(text: str, date_format: str) -> dt.date | None:
    try:
        day = dt.datetime.strptime(text, date_format).date()
    except ValueError:
        return None
    return day if FIRST_DAY <= day <= LAST_DAY else None


def _within_centuries(column: pl.Series) -> Parsed:
    """Days of a column of days or times; those outside `FIRST_DAY` to `LAST_DAY` are unreadable.

    Compared as numbers, because Polars overflows, or panics with a time zone, for times far away.
    """
    edges = pl.Series([FIRST_DAY, LAST_DAY + dt.timedelta(days=1)], dtype=pl.Date)
    unit = column.dtype.time_unit if isinstance(column.dtype, pl.Datetime) else None
    first, after = edges.cast(pl.Datetime(unit)).to_physical() if unit else edges.to_physical()
    numbers = column.to_physical()
    inside = ((numbers >= first) & (numbers < after)).fill_null(True)
    sane = _where(inside, column)
    a_day = (after - first) // (edges[1] - edges[0]).days
    strays = numbers.filter(~inside).cast(pl.Int64) // a_day
    in_calendar = strays.is_between(*pl.Series([dt.date.min, dt.date.max]).to_physical())
    spelled = _where(in_calendar, strays).cast(pl.Int32).cast(pl.Date).cast(pl.String)
    spelled = spelled.fill_null(strays.cast(pl.String) + " days after 1970-01-01")
    return Parsed(sane if unit is None else sane.dt.date(), spelled)


def _as_text(column: pl.Series) -> pl.Series | None:
    """Values as stripped text, whole numbers without a decimal point; None for types without a text form."""
    dtype = column.dtype
    if dtype == pl.Binary:
        # Some writers don't mark text as such.
        try:
            column = column.cast(pl.String)
        except pl.exceptions.ComputeError:
            return None
    elif dtype.is_float() or dtype.is_decimal():
        numbers = column.cast(pl.Float64).fill_nan(None)
        # Floating-point numbers from 2^53 on can't represent every whole number.
        whole = numbers.is_finite() & (numbers.abs() < 2.0**53) & (numbers.floor() == numbers)
        digits = _where(whole, numbers).cast(pl.Int64).cast(pl.String)
        column = digits.fill_null(numbers.cast(pl.String))
    elif not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        return None
    return column.cast(pl.String).str.strip_chars()


def _without_sheet_marks(text: pl.Series) -> pl.Series:
    """Codes without the marks of `_SHEET_TEXT`; the series itself if there are none."""
    codes = text.unique().drop_nulls()
    plain = codes
    for pattern in _SHEET_TEXT:
        plain = plain.str.replace(pattern, "$1").str.strip_chars()
    changed = plain != codes
    if not changed.any():
        return text
    return text.replace(codes.filter(changed), plain.filter(changed))


def _where(mask: pl.Series, column: pl.Series) -> pl.Series:
    """The column with null where the mask is not true."""
    return pl.select(pl.when(mask).then(column).alias(column.name)).to_series()


def _wrong_type(column: pl.Series, canonical: type[pl.DataType]) -> Parsed:
    missing = pl.Series(column.name, [None] * len(column), dtype=canonical)
    texts = pl.Series([str(column.dtype)] * len(column.drop_nulls()), dtype=pl.String)
    return Parsed(missing, texts, column.dtype)

"""Column names shared by all packages, and their usual spellings in files."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gogooku3.errors import DataError, choices, did_you_mean

if TYPE_CHECKING:
    import polars as pl

DATE = "date"
CODE = "code"
KEYS = (DATE, CODE)
HORIZONS = (1, 5, 10, 20)
"""Default prediction horizons, in trading days."""

ONE_DAY = 1
"""Horizon of the returns that portfolios earn from one close to the next."""

MONTH_DAYS = 23
"""Trading days of the longest month."""

MIN_STOCKS = 10
"""Stocks that a day needs to be standardised with its own cross-section."""

OHLCV = ("open", "high", "low", "close", "volume")
SECTOR = "sector"
INDEX_CLOSE = "index_close"
KNOWN_FACT = "known_"
"""Prefix of price columns with facts known at the close of their day, from which features may be computed."""

PREDICTION_COLUMNS = (DATE, CODE, "fold", "model", "horizon", "prediction", "target")
"""The prediction table: one row per stock, day, model and horizon; the only input of scoring."""
ONE_DAY_RETURN = "return_1d"
"""Further column of a prediction table without horizon 1: the realised return of the next trading day."""

BOOK_RETURN = "book_return"
"""Column of a data set that is no feature: the return from a stock's last close before the row to the row's
close, over a halt of any length. Portfolios earn it on the row's day; null on a stock's first day."""

_ALIASES = {
    DATE: ("date", "datetime", "timestamp", "day", "trade_date", "日付"),
    CODE: ("code", "localcode", "local_code", "symbol", "ticker", "instrument", "銘柄コード"),
    "open": ("open", "o", "open_price", "始値"),
    "high": ("high", "h", "high_price", "高値"),
    "low": ("low", "l", "low_price", "安値"),
    "close": ("close", "c", "close_price", "終値"),
    "volume": ("volume", "vol", "v", "vo", "出来高"),
    SECTOR: ("sector", "sector33code", "sector33", "industry", "業種"),
    INDEX_CLOSE: ("index_close", "topix", "benchmark_close"),
}
_ADJUSTED = re.compile(r"(?:split|fully)?(?:adj(?:ust(?:ed|ment)?)?|調整後|調整済み?)")
"""Start or end of a plain name by which vendors mark an adjusted price."""


def target_column(horizon: int) -> str:
    """Name of the forward return over `horizon` trading days.

    >>> target_column(5)
    'target_5d'
    """
    return f"target_{horizon}d"


def is_target_column(name: str) -> bool:
    """Return True if a column has the name of a target.

    >>> is_target_column("target_10d"), is_target_column("returns_5d")
    (True, False)
    """
    return re.fullmatch(r"target_\d+d", name) is not None


def feature_columns(schema: "pl.Schema") -> list[str]:
    """List the columns that can be features: numeric, no key, target or `book_return`, in the table's order.

    >>> import polars as pl
    >>> feature_columns(pl.Schema({"date": pl.Date, "target_1d": pl.Float32, "x": pl.Int8}))
    ['x']
    """
    numeric = [name for name, dtype in schema.items() if dtype.is_numeric()]
    return [name for name in numeric if name not in (*KEYS, BOOK_RETURN) and not is_target_column(name)]


def map_columns(columns: Iterable[str], requested: Sequence[str]) -> dict[str, str]:
    """Map the column names of a file to canonical names: `{name: canonical}`.

    Exact canonical names take precedence, then split-adjusted prices if every price has one, then the
    usual spellings regardless of case, blanks and punctuation. An absent name is not in the result.

    Raises:
        DataError: two columns match the same canonical name.

    >>> map_columns(["Date", "<CODE>", "x"], KEYS)
    {'Date': 'date', '<CODE>': 'code'}
    """
    names = list(columns)
    by_plain: dict[str, list[str]] = {}
    for name in names:
        by_plain.setdefault(_plain(name), []).append(name)
    adjusted = adjusted_columns(names)
    use_adjusted = {"open", "high", "low", "close"} <= set(adjusted)
    mapping: dict[str, str] = {}
    for canonical in requested:
        matches = adjusted.get(canonical, []) if use_adjusted else []
        if not matches and canonical in names and not (use_adjusted and canonical in OHLCV):
            matches = [canonical]
        if not matches:
            spellings = map(_plain, _ALIASES.get(canonical, (canonical,)))
            matches = next((by_plain[spelling] for spelling in spellings if spelling in by_plain), [])
        if len(matches) > 1:
            raise DataError(f"columns {choices(matches)} could each be '{canonical}'; keep one of them")
        mapping |= dict.fromkeys(matches, canonical)
    return mapping


def adjusted_columns(columns: Iterable[str]) -> dict[str, list[str]]:
    """Columns that a vendor adjusted for splits or dividends: `{canonical price: names}`.

    >>> adjusted_columns(["Close", "Adj. Close", "adjVolume", "調整後始値", "AdjFactor"])
    {'close': ['Adj. Close'], 'volume': ['adjVolume'], 'open': ['調整後始値']}
    """
    adjusted: dict[str, list[str]] = {}
    for name in columns:
        plain = _plain(name)
        rests = {_ADJUSTED.sub("", plain, count=1)} if _ADJUSTED.match(plain) else set()
        if ending := re.fullmatch(rf"(.+?){_ADJUSTED.pattern}", plain):
            rests.add(ending[1])
        for price in OHLCV:
            if rests & set(map(_plain, _ALIASES[price])):
                adjusted.setdefault(price, []).append(name)
    return adjusted


def unused_prices(columns: Sequence[str], used: Iterable[str]) -> list[str]:
    """Columns that hold a price or volume by their name, but are not among those used.

    >>> unused_prices(["Date", "Close", "Adj Close", "x"], ["Date", "Close"])
    ['Adj Close']
    """
    adjusted = {name for names in adjusted_columns(columns).values() for name in names}
    raw = {_plain(alias) for price in OHLCV for alias in _ALIASES[price]}
    used = set(used)
    return [name for name in columns if name not in used and (name in adjusted or _plain(name) in raw)]


def _plain(name: str) -> str:
    """A name's letters and digits, in lower case.

    >>> _plain("Adj. Close"), _plain("trade_date")
    ('adjclose', 'tradedate')
    """
    return re.sub(r"[\W_]", "", name.casefold())


def find_columns(columns: Iterable[str], needed: Sequence[str], what: str) -> dict[str, str]:
    """Map the column names of a file to canonical names, none of which may be missing.

    Raises:
        DataError: with the missing and the existing columns, and the names looked for.

    >>> find_columns(["Date", "Price"], KEYS, "p.csv")
    Traceback (most recent call last):
    gogooku3.errors.DataError: p.csv has no column code (looked for code, localcode, local_code, symbol, \
ticker, instrument, 銘柄コード); it has Date, Price
    """
    existing = list(columns)
    mapping = map_columns(existing, needed)
    if missing := [name for name in needed if name not in mapping.values()]:
        names = choices(name for canonical in missing for name in _ALIASES.get(canonical, (canonical,)))
        raise DataError(
            f"{what} has no column{'s' * (len(missing) > 1)} {choices(missing)} (looked for {names})"
            f"{did_you_mean(missing[0], existing, 0.85)} it has {choices(existing)}"
        )
    return mapping


def require_columns(present: Iterable[str], needed: Iterable[str], what: str) -> None:
    """Check that a table has the needed columns.

    Raises:
        DataError: with the missing and the existing columns, and the closest match of the first missing one.
    """
    existing = list(present)
    if missing := [name for name in needed if name not in existing]:
        plural, verb = ("s", "are") if len(missing) > 1 else ("", "is")
        raise DataError(
            f"{what} needs the column{plural} {choices(missing)}, which {verb} missing"
            f"{did_you_mean(missing[0], existing, 0.85)} it has {choices(existing)}"
        )

"""The names of columns and the shapes of tables that rooms hand to one another. No data here."""

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

MIN_STOCKS = 10
"""Stocks that a day's cross-section takes to be standardised by itself."""

OHLCV = ("open", "high", "low", "close", "volume")
SECTOR = "sector"
INDEX_CLOSE = "index_close"
KNOWN_FACT = "known_"
"""Columns of prices that start so hold facts known at the close of their day; features may come of them."""

PREDICTION_COLUMNS = (DATE, CODE, "fold", "model", "horizon", "prediction", "target")
"""The prediction table: one row a stock, day, model and horizon; the only thing scoring reads."""
ONE_DAY_RETURN = "return_1d"
"""Further column of a prediction table without horizon 1: the realised return of the next trading day."""

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
_ADJUSTED = {
    "open": ("adjo", "adjustmentopen", "adj_open"),
    "high": ("adjh", "adjustmenthigh", "adj_high"),
    "low": ("adjl", "adjustmentlow", "adj_low"),
    "close": ("adjc", "adjustmentclose", "adj_close", "adj close"),
    "volume": ("adjvo", "adjustmentvolume", "adj_volume"),
}


def target_column(horizon: int) -> str:
    """Name of the forward return over `horizon` trading days.

    >>> target_column(5)
    'target_5d'
    """
    return f"target_{horizon}d"


def is_target_column(name: str) -> bool:
    """Whether a column is named as a target.

    >>> is_target_column("target_10d"), is_target_column("returns_5d")
    (True, False)
    """
    return re.fullmatch(r"target_\d+d", name) is not None


def feature_columns(schema: "pl.Schema") -> list[str]:
    """Columns that can be features: numeric, neither key nor target, in the table's order.

    >>> import polars as pl
    >>> feature_columns(pl.Schema({"date": pl.Date, "target_1d": pl.Float32, "x": pl.Int8}))
    ['x']
    """
    return [
        name
        for name, dtype in schema.items()
        if dtype.is_numeric() and name not in KEYS and not is_target_column(name)
    ]


def map_columns(columns: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """Map the spellings found in a file to canonical names: `{found: canonical}`.

    Exact canonical names win, then split-adjusted prices where every price has one, then the
    usual spellings regardless of case. A name that is absent is simply not in the result.

    Raises:
        DataError: two columns claim the same canonical name.

    >>> map_columns(["Date", "Code", "x"], KEYS)
    {'Date': 'date', 'Code': 'code'}
    """
    found = list(columns)
    by_lower: dict[str, list[str]] = {}
    for name in found:
        by_lower.setdefault(name.strip().lower(), []).append(name)
    adjusted = all(any(a in by_lower for a in _ADJUSTED[p]) for p in ("open", "high", "low", "close"))
    mapping: dict[str, str] = {}
    for canonical in wanted:
        spellings = _ALIASES.get(canonical, (canonical,))
        if adjusted and canonical in _ADJUSTED:
            spellings = _ADJUSTED[canonical] + spellings
        elif canonical in found:
            mapping[canonical] = canonical
            continue
        for spelling in spellings:
            claims = by_lower.get(spelling, [])
            if len(claims) > 1:
                raise DataError(f"columns {choices(claims)} could each be '{canonical}'; keep one of them")
            if claims:
                mapping[claims[0]] = canonical
                break
    return mapping


def require_columns(present: Iterable[str], needed: Iterable[str], what: str) -> None:
    """Refuse a table that lacks columns, listing those it has.

    Raises:
        DataError: naming the missing and the existing columns, and the one that may be meant.
    """
    have = list(present)
    missing = [name for name in needed if name not in have]
    if missing:
        raise DataError(
            f"{what} needs the column{'s' if len(missing) > 1 else ''} {choices(missing)}, which "
            f"{'are' if len(missing) > 1 else 'is'} not there{did_you_mean(missing[0], have, 0.85)} it has "
            f"{choices(have)}"
        )

"""Returns that a stock earns on its later days, read by row: for comparisons, never as features."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gogooku3.schema import BOOK_RETURN, CODE, DATE, map_columns, target_column

LAST = 20
"""Number of later days compared: the longest default horizon."""


class LaterReturns:
    """The one-day returns of the next `LAST` rows of each stock.

    Args:
        keys: `date, code` of every row, in any order.
        returns: one per row: of the row's own day, or with `ahead` of the stock's next row.
    """

    def __init__(self, keys: pl.DataFrame, returns: pl.Series, ahead: bool) -> None:
        # Sorting integers is twenty times as fast as sorting text.
        codes = keys[CODE].cast(pl.String).cast(pl.Categorical).to_physical().fill_null(strategy="max")
        stock = codes.to_numpy()
        order = np.lexsort((keys[DATE].to_physical().to_numpy(), stock))
        self._stock = stock[order]
        self._order = order
        self._position = np.empty(len(order), np.int64)
        self._position[order] = np.arange(len(order))
        own = returns.cast(pl.Float32).fill_null(float("nan")).to_numpy()[order]
        self._own = np.concatenate([[np.float32("nan")], own[:-1]]) if ahead and len(own) else own
        self._lags = {f"the return on day t+{lag}": lag for lag in range(1, LAST + 1)}

    @property
    def names(self) -> list[str]:
        """Names of the later days' returns, the next one first."""
        return list(self._lags)

    def previous(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers of the same stocks' previous rows; -1 before a stock's first row."""
        position = self._position[rows]
        before = np.maximum(position - 1, 0)
        is_own = (before < position) & (self._stock[before] == self._stock[position])
        return np.where(is_own, self._order[before], -1)

    def take(self, rows: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
        """Returns by row number and name; NaN after a stock's last row."""
        position = self._position[rows]
        columns = {}
        for name in names:
            later = np.minimum(position + self._lags[name], len(self._own) - 1)
            is_own = (later > position) & (self._stock[later] == self._stock[position])
            columns[name] = np.where(is_own, self._own[later], np.float32("nan"))
        return pl.DataFrame(columns)


def return_source(names: Sequence[str]) -> str | None:
    """The first of these columns present: `target_1d`, `book_return`, `ret_1d`, a close."""
    for name in (target_column(1), BOOK_RETURN, "ret_1d"):
        if name in names:
            return name
    return next(iter(map_columns(names, ["close"])), None)


def later_returns(keys: pl.DataFrame, columns: pl.DataFrame) -> LaterReturns | None:
    """Take them from the columns' `return_source`; None without one.

    Args:
        keys: `date, code` of every row.
        columns: other columns of the same rows.
    """
    source = return_source(columns.columns)
    if source is None:
        return None
    if source == target_column(1):
        return LaterReturns(keys, columns[source], ahead=True)
    if source in (BOOK_RETURN, "ret_1d"):
        return LaterReturns(keys, columns[source], ahead=False)
    close = pl.col(source).cast(pl.Float64)
    change = close / close.shift(1).over(CODE, order_by=DATE) - 1
    returns = keys.select(DATE, CODE).with_columns(columns[source]).select(change).to_series()
    return LaterReturns(keys, returns, ahead=False)

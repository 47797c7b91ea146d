"""Prices and the roles of their columns, as an audit needs them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from gogooku3.data.prices import is_sorted_by
from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, KEYS, map_columns, require_columns

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Market:
    """Prices and the roles of their columns.

    Attributes:
        frame: the rows, with the columns as given.
        date, code: names of the key columns.
        prices: columns with a stock's own prices, which scale with its splits.
        volume: column that scales inversely; None if absent.
        index: column with the market index, the same for all stocks of a day; None if absent.
        order: keys that the rows are sorted by; empty if unsorted.
    """

    frame: pl.DataFrame
    date: str
    code: str
    prices: tuple[str, ...]
    volume: str | None
    index: str | None
    order: tuple[str, ...]

    @staticmethod
    def from_frame(frame: pl.DataFrame) -> "Market":
        """Recognise the columns by their usual spellings.

        Raises:
            DataError: a key is missing, empty, duplicated or not a date, or there is no close.
        """
        mapping = map_columns(frame.columns, (*KEYS, *_PRICES, "volume", "index_close"))
        columns = {name: column for column, name in mapping.items()}
        require_columns(columns, (*KEYS, "close"), "prices to audit with (in any usual spelling)")
        date, code = columns[DATE], columns[CODE]
        if not (frame.schema[date] == pl.Date or isinstance(frame.schema[date], pl.Datetime)):
            raise DataError(f"column '{date}' of the prices is {frame.schema[date]}; parse it as a date")
        if nulls := sum(frame[key].null_count() for key in (date, code)):
            raise DataError(f"{nulls:,} rows of the prices have no date or no code; remove them")
        if frame.select(date, code).is_duplicated().any():
            raise DataError("the prices have two rows for one stock and day; keep one")
        prices = tuple(columns[name] for name in _PRICES if name in columns)
        order = next((order for order in ((code, date), (date, code)) if is_sorted_by(frame, order)), ())
        return Market(frame, date, code, prices, columns.get("volume"), columns.get("index_close"), order)

    @property
    def days(self) -> list[dt.date]:
        """Days on which any stock has a row, ascending."""
        return self.frame[self.date].cast(pl.Date).unique().sort().to_list()

    @property
    def codes(self) -> list[object]:
        """The stocks, ascending."""
        return self.frame[self.code].unique().sort().to_list()

    def limited_to(self, max_stocks: int, max_days: int) -> "Market":
        """The last `max_days` days of at most `max_stocks` stocks, spread evenly over the codes."""
        codes = self.codes
        positions = np.linspace(0, len(codes) - 1, min(max_stocks, len(codes))).astype(int)
        return self.select([codes[i] for i in positions], self.days[-max_days:])

    def select(self, codes: Sequence[object], days: Sequence[dt.date]) -> "Market":
        """The rows of the given stocks and days."""
        is_chosen_day = pl.col(self.date).cast(pl.Date).is_in(list(days))
        return replace(self, frame=self.frame.filter(pl.col(self.code).is_in(list(codes)), is_chosen_day))

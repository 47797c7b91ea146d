"""Build a graph of stocks from daily returns.

`build_graph` uses no day after `date_end`. `edges_from_returns` uses all returns it is given; `GraphSchedule`
gives it those before the month.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.graph.correlation import default_min_overlap, masked_correlation
from gogooku3.graph.stock_graph import StockGraph, refuse_repeats
from gogooku3.schema import CODE, DATE, KEYS, is_target_column, map_columns, require_columns

MIN_HISTORY_DAYS = 20
"""Market days that a window needs to have edges (or the whole window, if that is shorter)."""
_ROWS = 128
"""Stocks whose edges are selected at a time: the sorted arrays stay in the cache."""
_RETURN = "ret_1d"
_CLOSE = "close"


@dataclass(frozen=True)
class FinancialGraphBuilder:
    """Connect each stock to the stocks whose returns correlate most with its own, in either direction.

    A stock receives edges from the strongest `max_edges_per_node` stocks with |correlation| at or
    above the threshold; below `min_edges_per_node` edges, the strongest correlations under the
    threshold fill up to that number. Negative correlations keep their sign. A correlation of exactly
    0 makes no edge, and a stock without enough history has none. Ties go to the smaller code, so that
    the order of stocks changes nothing.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    correlation_window: int = 60
    """Market days of returns, up to and including the as-of day: about three months."""
    include_negative_correlation: bool = True
    """Also connect stocks that move against each other."""
    max_edges_per_node: int = 10
    """Largest number of edges a stock receives (`K`)."""
    correlation_threshold: float = 0.5
    """|correlation| at or above which an edge is kept regardless of `min_edges_per_node`."""
    min_edges_per_node: int = 5
    """Edges that a stock receives even below the threshold."""
    return_column: str | None = None
    """Column of daily returns; None: `ret_1d`, or else computed from `close`."""

    def __post_init__(self) -> None:
        _require_whole("correlation_window", self.correlation_window, 3, "two days always correlate")
        _require_whole("max_edges_per_node", self.max_edges_per_node, 1, "a stock needs room for an edge")
        _require_whole("min_edges_per_node", self.min_edges_per_node, 0, "0 leaves it to the threshold")
        if self.min_edges_per_node > self.max_edges_per_node:
            raise ConfigError(
                f"min_edges_per_node is {self.min_edges_per_node} but max_edges_per_node is "
                f"{self.max_edges_per_node}; lower the first or raise the second"
            )
        if not 0.0 <= self.correlation_threshold <= 1.0:
            raise ConfigError(
                f"correlation_threshold is {self.correlation_threshold}; it applies to |correlation|, "
                "so choose a number from 0 to 1"
            )
        if self.return_column == _CLOSE:
            raise ConfigError(
                f"return_column is {_CLOSE!r}, which is a price, not a return; leave it out (null) to "
                "compute returns from it"
            )
        if self.return_column is not None and is_target_column(self.return_column):
            raise ConfigError(
                f"return_column is {self.return_column!r}, a target, which looks into the future; "
                f"name a past daily return such as {_RETURN!r}"
            )

    def build_graph(
        self,
        data: pl.DataFrame,
        stock_codes: Iterable[str] | None = None,
        date_end: str | dt.date | None = None,
        date_window: int | None = None,
    ) -> StockGraph:
        """Build the graph of `stock_codes` as of the last market day up to and including `date_end`.

        A market day is a date on which any stock in `data` has a row. Rows after `date_end`
        change nothing. If fewer days than the window exist, all of them are used.

        Args:
            data: a data set (`date`, `code`, `ret_1d`, ...) or prices (`date`, `code`, `close`;
                returns are close(t) / close(previous market day) - 1).
            stock_codes: nodes, in this order; None for every code in `data`, sorted.
            date_end: a date or "YYYY-MM-DD"; None, or a day past the data, for the last day.
            date_window: market days of returns, in place of `correlation_window`.

        Raises:
            DataError: columns are missing, a code is unknown or repeated, a (date, code) is
                repeated, or `date_end` is before the first day.
        """
        if date_window is not None:
            return replace(self, correlation_window=date_window).build_graph(data, stock_codes, date_end)
        rows, is_price = self._keyed_rows(data)
        codes = _checked_codes(rows, stock_codes)
        # The oldest return needs the price of the day before.
        days = _window_days(rows, date_end, self.correlation_window + is_price)
        values = _dense(rows, days, codes)
        if is_price:
            # NaN on the first day, and unless both days have a price above 0.
            price = np.where(values > 0.0, values, np.nan)
            values = np.full_like(price, np.nan)
            values[1:] = price[1:] / price[:-1] - 1.0
        return self.edges_from_returns(values[-self.correlation_window :], codes, as_of=days[-1])

    def edges_from_returns(
        self, returns: NDArray[np.floating], codes: Sequence[str], as_of: dt.date | None = None
    ) -> StockGraph:
        """Build the graph of one window of returns, `[days, stocks]`, NaN where a stock did not trade.

        A stock needs returns on two thirds of the window's days. A window shorter than
        `MIN_HISTORY_DAYS` (or than `correlation_window`, if that is less) has no edges.

        Raises:
            DataError: `codes` doesn't match the columns, or repeats a code.
        """
        n_days, n_stocks = returns.shape
        if n_stocks != len(codes):
            raise DataError(
                f"returns have {n_stocks} columns but there are {len(codes)} codes; pass one code per column"
            )
        refuse_repeats(codes)
        neighbours = np.repeat(np.arange(n_stocks, dtype=np.int64)[:, None], self.max_edges_per_node, axis=1)
        weights = np.zeros(neighbours.shape, dtype=np.float32)
        # Stocks without history are dropped before the matrix products: a later listing can't change a bit.
        known_days = np.isfinite(returns).sum(axis=0)
        by_code = np.argsort(np.array(list(codes), dtype=np.str_), kind="stable")
        nodes = by_code[known_days[by_code] >= default_min_overlap(n_days)]
        if n_days >= min(MIN_HISTORY_DAYS, self.correlation_window) and len(nodes) >= 2:
            correlation = masked_correlation(returns[:, nodes])
            for start in range(0, len(nodes), _ROWS):
                receivers = nodes[start : start + _ROWS]
                sources, strongest = self._strongest(correlation[start : start + _ROWS], start)
                slots = slice(sources.shape[1])
                neighbours[receivers, slots] = np.where(strongest != 0.0, nodes[sources], receivers[:, None])
                weights[receivers, slots] = strongest
        return StockGraph(tuple(codes), neighbours, weights, weights != 0.0, as_of)

    def _strongest(
        self, correlation: NDArray[np.float32], first: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Sources and signed weights of some stocks' edges, `[rows, k]`, strongest first; weight 0: none.

        `correlation` is `[rows, N]`; its first row belongs to stock `first`.
        """
        n_stocks = correlation.shape[1]
        strength = np.abs(correlation) if self.include_negative_correlation else np.maximum(correlation, 0.0)
        np.copyto(strength, 0.0, where=~np.isfinite(strength))
        np.fill_diagonal(strength[:, first:], 0.0)
        # The bits of a non-negative float32 sort like its value. With the reversed column below them they are
        # unique integers that sort by strength, and ties by the smaller column.
        ranking = strength.view(np.uint32).astype(np.uint64)
        ranking <<= np.uint64(32)
        ranking |= np.arange(n_stocks - 1, -1, -1, dtype=np.uint64)
        n_slots = min(self.max_edges_per_node, n_stocks - 1)
        ranking.partition(n_stocks - n_slots, axis=1)
        best = np.sort(ranking[:, n_stocks - n_slots :], axis=1)[:, ::-1]
        sources = n_stocks - 1 - (best & np.uint64(0xFFFFFFFF)).astype(np.int64)
        best_strength = np.take_along_axis(strength, sources, axis=1)
        accepted = best_strength >= np.float32(self.correlation_threshold)
        accepted[:, : self.min_edges_per_node] = True
        accepted &= best_strength > 0.0
        signed = np.take_along_axis(correlation, sources, axis=1)
        return sources, np.where(accepted, signed, np.float32(0))

    def _keyed_rows(self, data: pl.DataFrame) -> tuple[pl.LazyFrame, bool]:
        """Rows as `date, code, value`, and True if the value is a price."""
        mapping = {canonical: name for name, canonical in map_columns(data.columns, (*KEYS, _CLOSE)).items()}
        require_columns(mapping, KEYS, "a graph")
        column = self.return_column
        if column is None:
            column = _RETURN if _RETURN in data.columns else mapping.get(_CLOSE)
        if column is None or column not in data.columns:
            looked_for = repr(self.return_column) if self.return_column else f"'{_RETURN}' or '{_CLOSE}'"
            raise DataError(
                f"no daily returns: looked for {looked_for} but the frame has {choices(data.columns)}; "
                "name the column of one-day returns with return_column"
            )
        if not data.schema[column].is_numeric():
            raise DataError(f"column {column!r} is {data.schema[column]}, not a number; cast it to Float64")
        date = data.schema[mapping[DATE]]
        if date != pl.Date and not isinstance(date, pl.Datetime):
            raise DataError(f"column {mapping[DATE]!r} is {date}, not a date; parse it with .str.to_date()")
        rows = data.lazy().select(
            pl.col(mapping[DATE]).cast(pl.Date).alias(DATE),
            pl.col(mapping[CODE]).cast(pl.String).alias(CODE),
            pl.col(column).cast(pl.Float64).alias("value"),
        )
        return rows, column not in (self.return_column, _RETURN)


def _require_whole(name: str, value: int, least: int, why: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; choose a whole number from {least} up ({why})")


def _checked_codes(rows: pl.LazyFrame, stock_codes: Iterable[str] | None) -> list[str]:
    """The nodes as strings, each in the frame and named once."""
    existing = rows.select(pl.col(CODE).drop_nulls().unique().sort()).collect()[CODE].to_list()
    if stock_codes is None:
        return existing
    if isinstance(stock_codes, str):
        raise DataError(f"stock_codes is the single string {stock_codes!r}; pass a list of codes")
    codes = [str(code) for code in stock_codes]
    if unknown := sorted(set(codes).difference(existing)):
        raise DataError(
            f"unknown stock codes: {choices(unknown)}; the frame has {choices(existing)}; drop the others"
        )
    if not codes:
        raise DataError("stock_codes is empty; pass some codes, or None for every code in the frame")
    refuse_repeats(codes)
    return codes


def _window_days(rows: pl.LazyFrame, date_end: str | dt.date | None, n_days: int) -> list[dt.date]:
    """The last `n_days` market days up to and including `date_end`."""
    days = rows.select(pl.col(DATE).drop_nulls().unique().sort()).collect()[DATE]
    if days.is_empty():
        raise DataError("the frame has no row with a date; a graph needs daily returns or prices")
    end = date_end.date() if isinstance(date_end, dt.datetime) else date_end
    if isinstance(end, str):
        try:
            end = dt.date.fromisoformat(end)
        except ValueError as error:
            raise DataError(f"date_end is {end!r}; write it as YYYY-MM-DD") from error
    past = days if end is None else days.filter(days <= end)
    if past.is_empty():
        raise DataError(
            f"date_end is {end} but the frame runs from {days[0]} to {days[-1]}; choose a day within it"
        )
    return past.tail(n_days).to_list()


def _dense(rows: pl.LazyFrame, days: list[dt.date], codes: list[str]) -> NDArray[np.float64]:
    """The frame's values as `[days, codes]`; NaN where a row is missing, or its value null or infinite."""
    columns = pl.LazyFrame(
        {CODE: codes, "column": range(len(codes))}, schema={CODE: pl.String, "column": pl.Int64}
    )
    window = (
        rows.filter(pl.col(DATE).is_between(days[0], days[-1]))
        .join(columns, on=CODE, how="inner")
        .with_columns(row=pl.lit(pl.Series(days)).search_sorted(pl.col(DATE)))
        .collect()
    )
    if (repeated := window.select(DATE, CODE).is_duplicated()).any():
        date, code = window.filter(repeated).select(DATE, CODE).row(0)
        raise DataError(f"code {code} has two rows on {date}; keep one row per stock and day")
    dense = np.full((len(days), len(codes)), np.nan)
    dense[window["row"].to_numpy(), window["column"].to_numpy()] = window["value"].to_numpy()
    dense[~np.isfinite(dense)] = np.nan
    return dense

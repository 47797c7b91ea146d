"""Market data as dense arrays `[days, stocks]`: returns, and from prices value traded, size and sector."""

from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import DataError
from gogooku3.evaluation.portfolio_weights import Floats
from gogooku3.evaluation.price_check import DIFFERENCE
from gogooku3.schema import CODE, DATE, KNOWN_FACT, SECTOR, require_columns

RETURN = "return"
TRADED = "traded"
"""Optional column of one-day returns: False on a day on which the stock has no close."""
VALUE_DAYS = 20
"""Trading days over which the value traded is averaged: one month."""
MARKET_CAP = KNOWN_FACT + "market_cap"
"""Column of market value in fetched prices, known at the close of the row's day."""
UNKNOWN_SECTOR = -1

Flags = npt.NDArray[np.bool_]


class Market:
    """One-day returns with their calendar, and data derived from prices.

    Row `d` of every array starts on the calendar's day `d` and ends on the next one. A halted stock earns
    nothing until it trades again, and then its whole move since the last close. A stock that never trades
    again earns `delisting_return` from its last close, and is then gone.

    Args:
        daily_returns: `date, code, return`, the return from the close of `date` to the close of the next
            trading day; its dates are the calendar. With a column `traded`, the returns are complete: a
            stock's days without a row, up to its last one, are a halt.
        prices: `date, code, open, close` and optionally `volume, sector, known_market_cap`. They give the
            returns that `daily_returns` lacks.
        delisting_return: of a stock that never trades again, a fraction.

    Attributes:
        returns: close to close; NaN if unknown.
        night, daytime: close to the next open, and from there to that day's close. Without an opening price,
            or where prices and returns disagree, the night has the whole return: the stock is traded at the
            close. None without prices.
        traded: True where a stock has a close. None if unknown: without prices or column `traded`.
        delisted: True on the day of a delisted stock's last close. None if unknown.
        gone: True after that day. None if unknown.
        value: mean daily value traded over the last 20 days up to the close of the row's day; NaN if unknown.
            None without volumes.
        size: rank within the day from 0 (smallest) to 1, by market value if the prices have any, else by
            `value`; NaN if unknown. None without both.
        sector: number of each stock's latest sector, -1 if unknown, `[stocks]`. None without sectors.

    Raises:
        DataError: columns are missing, a row is repeated, or the prices lack days of the calendar.
    """

    def __init__(
        self,
        daily_returns: pl.DataFrame,
        prices: pl.DataFrame | None = None,
        delisting_return: float = 0.0,
    ) -> None:
        require_columns(daily_returns.columns, (DATE, CODE, RETURN), "daily_returns")
        flag = [TRADED] if TRADED in daily_returns.columns else []
        frame = daily_returns.select(DATE, CODE, pl.col(RETURN).cast(pl.Float64), *flag)
        if frame.select(DATE, CODE).is_duplicated().any():
            raise DataError("daily_returns has more than one row for a stock and day; keep one of each")
        self.dates = frame.select(pl.col(DATE).unique().sort()).with_row_index("day")
        self.codes = frame.select(pl.col(CODE).unique().sort()).with_row_index("stock")
        located = self.locate(frame)
        self.returns: Floats = self._dense(located, RETURN)
        self.night: Floats | None = None
        self.daytime: Floats | None = None
        self.traded: Flags | None = None
        self.delisted: Flags | None = None
        self.gone: Flags | None = None
        self.value: Floats | None = None
        self.size: Floats | None = None
        self.sector: npt.NDArray[np.int64] | None = None
        self.sectors: list[str] = []
        if prices is not None:
            self._add_prices(prices, delisting_return)
        elif flag:
            self.traded = self._dense(located.with_columns(pl.col(TRADED).cast(pl.Float64)), TRADED) == 1.0
            last = np.where(self.traded.any(axis=0), _last_index(self.traded), -1)
            self._bridge(np.zeros_like(self.returns), last, len(self.dates) - 1, delisting_return)

    def locate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the indices `day` and `stock` to a frame; a date or code without returns is a DataError."""
        located = self._indexed(frame)
        missing = frame.filter(located["day"].is_null() | located["stock"].is_null())
        if len(missing):
            example = missing.row(0, named=True)
            raise DataError(
                f"{len(missing)} predictions are for a day or stock without any one-day return, such as "
                f"{example[CODE]} on {example[DATE]}; give returns for all days and stocks predicted"
            )
        return located

    @cached_property
    def average(self) -> Floats:
        """Mean return of all stocks with a known return, `[days]`."""
        known = np.isfinite(self.returns) if self.gone is None else np.isfinite(self.returns) & ~self.gone
        n = known.sum(axis=1)
        total = np.where(known, self.returns, 0.0).sum(axis=1)
        return cast(Floats, np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))

    def _indexed(self, frame: pl.DataFrame) -> pl.DataFrame:
        keyed = frame.with_columns(pl.col(CODE).cast(pl.String).cast(self.codes.schema[CODE], strict=False))
        dated = keyed.join(self.dates, on=DATE, how="left", maintain_order="left")
        return dated.join(self.codes, on=CODE, how="left", maintain_order="left")

    def _dense(self, located: pl.DataFrame, column: str, n_days: int | None = None) -> Floats:
        values: Floats = np.full((n_days or len(self.dates), len(self.codes)), np.nan)
        values[located["day"].to_numpy(), located["stock"].to_numpy()] = located[column].to_numpy()
        return values

    def _bridge(self, moves: Floats, last: npt.NDArray[np.int64], end: int, delisting_return: float) -> None:
        """Fill unknown returns with `moves` up to each stock's `last` close; mark those that end early."""
        day = np.arange(len(self.returns))[:, None]
        # A move on day d shows a close on the day after, even without a price.
        moved = np.nan_to_num(self.returns) != 0.0
        last = np.maximum(last, np.where(moved.any(axis=0), _last_index(moved) + 1, -1))
        ended = last < end
        fill = np.isnan(self.returns) & (day < last)
        self.returns[fill] = moves[fill]
        self.delisted = (day == last) & ended
        self.returns[self.delisted] = delisting_return
        self.gone = (day > last) & ended

    def _add_prices(self, prices: pl.DataFrame, delisting_return: float) -> None:
        require_columns(prices.columns, (DATE, CODE, "open", "close"), "a table of prices")
        if prices.select(DATE, CODE).is_duplicated().any():
            raise DataError("the prices have more than one row for a stock and day; keep one of each")
        require_days(prices, self.dates[DATE])
        self._add_returns(prices, delisting_return)
        located = self._indexed(_derived_columns(prices)).drop_nulls(["day", "stock"])
        if "value" in located.columns:
            self.value = self._dense(located, "value")
        size = self._dense(located, MARKET_CAP) if MARKET_CAP in located.columns else None
        if size is None or not np.isfinite(size).any():
            size = self.value
        if size is not None:
            # Ranks within the row, from 0 to 1; ties are ranked by column.
            known = np.isfinite(size)
            order = np.where(known, size, np.inf).argsort(axis=1, kind="stable")
            last = np.maximum(known.sum(axis=1) - 1, 1)[:, None]
            self.size = np.where(known, order.argsort(axis=1, kind="stable") / last, np.nan)
        if SECTOR in located.columns and located[SECTOR].drop_nulls().n_unique() > 1:
            latest = located.drop_nulls(SECTOR).group_by("stock").agg(pl.col(SECTOR).sort_by("day").last())
            self.sectors = latest[SECTOR].unique().sort().to_list()
            self.sector = np.full(len(self.codes), UNKNOWN_SECTOR)
            number = {name: index for index, name in enumerate(self.sectors)}
            self.sector[latest["stock"].to_numpy()] = [number[name] for name in latest[SECTOR]]

    def _add_returns(self, prices: pl.DataFrame, delisting_return: float) -> None:
        """Set `traded`, `night` and `daytime`, and fill the returns that the daily returns lack."""
        n_days = len(self.dates)
        after = prices[DATE].filter(prices[DATE] > self.dates[DATE][-1]).min()
        days = pl.concat([self.dates, pl.DataFrame({DATE: [after], "day": [n_days]}, self.dates.schema)])
        rows = prices.with_columns(
            pl.col(CODE).cast(pl.String).cast(self.codes.schema[CODE], strict=False),
            pl.col("open", "close").cast(pl.Float64),
        ).filter(pl.col("close").is_finite() & (pl.col("close") > 0.0))
        located = rows.join(days, on=DATE).join(self.codes, on=CODE)
        opens, closes = (self._dense(located, name, n_days + 1) for name in ("open", "close"))
        has_close = np.isfinite(closes)
        self.traded = has_close[:-1]
        # The row of the last known close.
        row = np.maximum.accumulate(np.where(has_close, np.arange(n_days + 1)[:, None], 0), axis=0)
        known = np.take_along_axis(closes, row, axis=0)
        moves = known[1:] / known[:-1] - 1.0
        end = n_days - 1 if after is None else n_days
        with np.errstate(invalid="ignore"):
            differs = np.abs(moves - self.returns) > DIFFERENCE
        latest = rows.group_by(CODE).agg(pl.col(DATE).max())
        later = latest.join(self.codes, on=CODE).filter(pl.col(DATE) > self.dates[DATE][-1])
        last = np.where(has_close.any(axis=0), _last_index(has_close), -1)
        last[later["stock"].to_numpy()] = n_days
        self._bridge(moves, last, end, delisting_return)
        night = opens[1:] / known[:-1] - 1.0
        daytime = closes[1:] / opens[1:] - 1.0
        at_close = differs | ~np.isfinite(night) | ~np.isfinite(daytime)
        self.night = np.where(at_close, self.returns, night)
        self.daytime = np.where(at_close, np.where(np.isnan(self.returns), np.nan, 0.0), daytime)


def require_days(prices: pl.DataFrame, days: pl.Series) -> None:
    """Raise a DataError unless the prices have rows on all days to be scored."""
    missing = days.filter(~days.is_in(prices[DATE].unique().implode()))
    if len(missing):
        raise DataError(
            f"the prices lack {len(missing)} of the {len(days)} days that are scored, such as {missing[0]}; "
            "give the prices that the data set was built from"
        )


def _last_index(flags: Flags) -> npt.NDArray[np.int64]:
    """Last row with a True in each column; the last row of a column without one."""
    return len(flags) - 1 - np.argmax(flags[::-1], axis=0)


def _derived_columns(prices: pl.DataFrame) -> pl.DataFrame:
    """Keys, sector, market value, and `value`: the mean value traded over the last 20 rows of the stock."""
    rows = prices.with_columns(pl.col(CODE).cast(pl.String)).sort(CODE, DATE)
    columns = [SECTOR] if SECTOR in rows.columns else []
    values = []
    if "volume" in rows.columns:
        traded = (pl.col("close") * pl.col("volume")).cast(pl.Float64).fill_nan(None)
        values.append(traded.rolling_mean(VALUE_DAYS, min_samples=1).over(CODE).alias("value"))
    if MARKET_CAP in rows.columns:
        values.append(pl.col(MARKET_CAP).cast(pl.Float64))
    return rows.select(DATE, CODE, *columns, *values)

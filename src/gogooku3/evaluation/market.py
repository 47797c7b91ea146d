"""Market data as dense arrays `[days, stocks]`: returns, and from prices value traded, size and sector."""

from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import DataError
from gogooku3.evaluation.portfolio_weights import Floats
from gogooku3.schema import CODE, DATE, KNOWN_FACT, SECTOR, require_columns

RETURN = "return"
VALUE_DAYS = 20
"""Trading days over which the value traded is averaged: one month."""
MARKET_CAP = KNOWN_FACT + "market_cap"
"""Column of market value in fetched prices, known at the close of the row's day."""
UNKNOWN_SECTOR = -1


class Market:
    """One-day returns with their calendar, and data derived from prices.

    Row `d` of every array starts on the calendar's day `d` and ends on the next one.

    Args:
        daily_returns: `date, code, return`, the return from the close of `date` to the close of the next
            trading day; its dates are the calendar.
        prices: `date, code, open, close` and optionally `volume, sector, known_market_cap`.

    Attributes:
        returns: close to close.
        night, daytime: close to the next open, and from there to that day's close. Without an opening price
            the night has the whole return: the stock is traded at the close. None without prices.
        value: mean daily value traded over the last 20 days up to the close of the row's day; NaN if unknown.
            None without volumes.
        size: rank within the day from 0 (smallest) to 1, by market value if the prices have any, else by
            `value`; NaN if unknown. None without both.
        sector: number of each stock's latest sector, -1 if unknown, `[stocks]`. None without sectors.

    Raises:
        DataError: columns are missing, a row is repeated, or the prices lack days of the calendar.
    """

    def __init__(self, daily_returns: pl.DataFrame, prices: pl.DataFrame | None = None) -> None:
        require_columns(daily_returns.columns, (DATE, CODE, RETURN), "daily_returns")
        frame = daily_returns.select(DATE, CODE, pl.col(RETURN).cast(pl.Float64))
        if frame.select(DATE, CODE).is_duplicated().any():
            raise DataError("daily_returns has more than one row for a stock and day; keep one of each")
        self.dates = frame.select(pl.col(DATE).unique().sort()).with_row_index("day")
        self.codes = frame.select(pl.col(CODE).unique().sort()).with_row_index("stock")
        self.returns: Floats = self._dense(self.locate(frame), RETURN)
        self.night: Floats | None = None
        self.daytime: Floats | None = None
        self.value: Floats | None = None
        self.size: Floats | None = None
        self.sector: npt.NDArray[np.int64] | None = None
        self.sectors: list[str] = []
        if prices is not None:
            self._add_prices(prices)

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

    def average(self) -> Floats:
        """Mean return of all stocks with a known return, `[days]`."""
        known = np.isfinite(self.returns)
        n = known.sum(axis=1)
        total = np.where(known, self.returns, 0.0).sum(axis=1)
        return cast(Floats, np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))

    def _indexed(self, frame: pl.DataFrame) -> pl.DataFrame:
        keyed = frame.with_columns(pl.col(CODE).cast(pl.String).cast(self.codes.schema[CODE], strict=False))
        dated = keyed.join(self.dates, on=DATE, how="left", maintain_order="left")
        return dated.join(self.codes, on=CODE, how="left", maintain_order="left")

    def _dense(self, located: pl.DataFrame, column: str) -> Floats:
        values: Floats = np.full((len(self.dates), len(self.codes)), np.nan)
        values[located["day"].to_numpy(), located["stock"].to_numpy()] = located[column].to_numpy()
        return values

    def _add_prices(self, prices: pl.DataFrame) -> None:
        require_columns(prices.columns, (DATE, CODE, "open", "close"), "a table of prices")
        if prices.select(DATE, CODE).is_duplicated().any():
            raise DataError("the prices have more than one row for a stock and day; keep one of each")
        require_days(prices, self.dates[DATE])
        located = self._indexed(_derived_columns(prices)).drop_nulls(["day", "stock"])
        night, daytime = self._dense(located, "night"), self._dense(located, "daytime")
        at_close = np.isnan(night) | np.isnan(daytime)
        self.night = np.where(at_close, self.returns, night)
        self.daytime = np.where(at_close, np.where(np.isnan(self.returns), np.nan, 0.0), daytime)
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


def require_days(prices: pl.DataFrame, days: pl.Series) -> None:
    """Raise a DataError unless the prices have rows on all days to be scored."""
    missing = days.filter(~days.is_in(prices[DATE].unique().implode()))
    if len(missing):
        raise DataError(
            f"the prices lack {len(missing)} of the {len(days)} days that are scored, such as {missing[0]}; "
            "give the prices that the data set was built from"
        )


def _derived_columns(prices: pl.DataFrame) -> pl.DataFrame:
    """Prices with `night`, `daytime` and `value`; a gap in a stock's days gives null returns."""
    calendar = prices.select(pl.col(DATE).unique().sort()).with_row_index("index")
    rows = prices.with_columns(pl.col(CODE).cast(pl.String)).join(calendar, on=DATE).sort(CODE, DATE)
    follows = pl.col("index").shift(-1).over(CODE) == pl.col("index") + 1
    next_open, next_close = (
        pl.when(follows).then(pl.col(name).cast(pl.Float64).shift(-1).over(CODE))
        for name in ("open", "close")
    )
    night, daytime = next_open / pl.col("close") - 1.0, next_close / next_open - 1.0
    columns = [night.alias("night"), daytime.alias("daytime")]
    if "volume" in rows.columns:
        traded = (pl.col("close") * pl.col("volume")).cast(pl.Float64).fill_nan(None)
        columns.append(traded.rolling_mean(VALUE_DAYS, min_samples=1).over(CODE).alias("value"))
    if MARKET_CAP in rows.columns:
        columns.append(pl.col(MARKET_CAP).cast(pl.Float64))
    sector = [SECTOR] if SECTOR in rows.columns else []
    return rows.select(DATE, CODE, *sector, *columns)

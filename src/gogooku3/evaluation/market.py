"""What the market did, as dense arrays `[days, stocks]`: returns, and where prices are given the night,
the day, the money that changed hands and the sector. It knows no predictions."""

from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import DataError
from gogooku3.evaluation.portfolio_weights import Floats
from gogooku3.schema import CODE, DATE, KNOWN_FACT, SECTOR, require_columns

RETURN = "return"
VALUE_DAYS = 20
"""Trading days over which the value that changes hands is averaged: a month."""
MARKET_CAP = KNOWN_FACT + "market_cap"
"""Market value as the prices of a fetched market have it, known at the close of the row's day."""
UNKNOWN_SECTOR = -1


class Market:
    """One-day returns with their calendar, and what prices add to them.

    Row `d` of every array belongs to the calendar's day `d` and reaches to the next one.

    Args:
        daily_returns: `date, code, return`, the return from the close of `date` to the next trading
            day's; its dates are the calendar.
        prices: `date, code, open, close` and where known `volume, sector, known_market_cap`; null: none of
            what follows.

    Attributes:
        returns: close to close.
        night, daytime: close to the next open, and on to that day's close. Without an opening price the
            night holds the whole return: such a stock is traded at the close. None without prices.
        value: mean money traded a day over the last 20 days up to the close of the row's day; NaN where
            unknown. None without volumes.
        size: rank within the day from 0 (smallest) to 1, by market value where the prices have any, else by
            `value`; NaN where unknown. None with neither.
        sector: number of each stock's latest sector, -1 where unknown, `[stocks]`. None without sectors.

    Raises:
        DataError: columns are missing, a row comes twice, or the prices lack days of the calendar.
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
            self._take_prices(prices)

    def locate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the numbers `day` and `stock` to a frame with dates and codes.

        Raises:
            DataError: a date or code that the returns don't have.
        """
        located = self._numbered(frame)
        lost = frame.filter(located["day"].is_null() | located["stock"].is_null())
        if len(lost):
            example = lost.row(0, named=True)
            raise DataError(
                f"{len(lost)} predictions are for a day or stock without any one-day return, such as "
                f"{example[CODE]} on {example[DATE]}; give returns for all days and stocks predicted"
            )
        return located

    def average(self) -> Floats:
        """The market's own return a day: the mean over all stocks whose return is known; `[days]`."""
        known = np.isfinite(self.returns)
        n = known.sum(axis=1)
        total = np.where(known, self.returns, 0.0).sum(axis=1)
        return cast(Floats, np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))

    def _numbered(self, frame: pl.DataFrame) -> pl.DataFrame:
        keyed = frame.with_columns(pl.col(CODE).cast(pl.String).cast(self.codes.schema[CODE], strict=False))
        return keyed.join(self.dates, on=DATE, how="left", maintain_order="left").join(
            self.codes, on=CODE, how="left", maintain_order="left"
        )

    def _dense(self, located: pl.DataFrame, column: str) -> Floats:
        values: Floats = np.full((len(self.dates), len(self.codes)), np.nan)
        values[located["day"].to_numpy(), located["stock"].to_numpy()] = located[column].to_numpy()
        return values

    def _take_prices(self, prices: pl.DataFrame) -> None:
        require_columns(prices.columns, (DATE, CODE, "open", "close"), "a table of prices")
        if prices.select(DATE, CODE).is_duplicated().any():
            raise DataError("the prices have more than one row for a stock and day; keep one of each")
        refuse_missing_days(prices, self.dates[DATE])
        located = self._numbered(_as_of(prices)).drop_nulls(["day", "stock"])
        night, daytime = self._dense(located, "night"), self._dense(located, "daytime")
        at_close = np.isnan(night) | np.isnan(daytime)
        self.night = np.where(at_close, self.returns, night)
        self.daytime = np.where(at_close, np.where(np.isnan(self.returns), np.nan, 0.0), daytime)
        if "value" in located.columns:
            self.value = self._dense(located, "value")
        worth = self._dense(located, MARKET_CAP) if MARKET_CAP in located.columns else None
        by = self.value if worth is None or not np.isfinite(worth).any() else worth
        if by is not None:
            self.size = _rank_share(by)
        if SECTOR in located.columns and located[SECTOR].drop_nulls().n_unique() > 1:
            latest = located.drop_nulls(SECTOR).group_by("stock").agg(pl.col(SECTOR).sort_by("day").last())
            self.sectors = latest[SECTOR].unique().sort().to_list()
            self.sector = np.full(len(self.codes), UNKNOWN_SECTOR)
            places = {name: place for place, name in enumerate(self.sectors)}
            self.sector[latest["stock"].to_numpy()] = [places[name] for name in latest[SECTOR]]


def refuse_missing_days(prices: pl.DataFrame, days: pl.Series) -> None:
    """Raise where prices have no row on days that are scored.

    Raises:
        DataError: with the count and an example.
    """
    missing = days.filter(~days.is_in(prices[DATE].unique().implode()))
    if len(missing):
        raise DataError(
            f"the prices lack {len(missing)} of the {len(days)} days that are scored, such as {missing[0]}; "
            "give the prices that the data set was built from"
        )


def _as_of(prices: pl.DataFrame) -> pl.DataFrame:
    """Prices with `night`, `daytime` and `value`; a stock's next price must be of the next market day."""
    calendar = prices.select(pl.col(DATE).unique().sort()).with_row_index("at")
    rows = prices.with_columns(pl.col(CODE).cast(pl.String)).join(calendar, on=DATE).sort(CODE, DATE)
    follows = pl.col("at").shift(-1).over(CODE) == pl.col("at") + 1
    opened, closed = (
        pl.when(follows).then(pl.col(name).cast(pl.Float64).shift(-1).over(CODE))
        for name in ("open", "close")
    )
    known = [(opened / pl.col("close") - 1.0).alias("night"), (closed / opened - 1.0).alias("daytime")]
    if "volume" in rows.columns:
        traded = (pl.col("close") * pl.col("volume")).cast(pl.Float64).fill_nan(None)
        known.append(traded.rolling_mean(VALUE_DAYS, min_samples=1).over(CODE).alias("value"))
    if MARKET_CAP in rows.columns:
        known.append(pl.col(MARKET_CAP).cast(pl.Float64))
    sector = [SECTOR] if SECTOR in rows.columns else []
    return rows.select(DATE, CODE, *sector, *known)


def _rank_share(values: Floats) -> Floats:
    """Rank within each row, from 0 to 1; ties by place, missing values none."""
    known = np.isfinite(values)
    order = np.argsort(np.where(known, values, np.inf), axis=1, kind="stable").argsort(axis=1, kind="stable")
    most = np.maximum(known.sum(axis=1) - 1, 1)[:, None]
    return np.where(known, order / most, np.nan)

"""Forward returns, the targets. This is the only module that may read a later day."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.schema import CODE, DATE, HORIZONS, KEYS, require_columns, target_column


def add_targets(frame: pl.DataFrame, horizons: Sequence[int] = HORIZONS) -> pl.DataFrame:
    """Add `target_{h}d = close(t+h) / close(t) - 1` (Float32) for each horizon, in market trading days.

    The market's trading days are the dates on which any stock has a row. If a stock has no close above 0 on
    day t+h, because it is halted or delisted, its last close before counts: dropping such rows would hide the
    stocks that die. A target is null where the stock has no close on day t, or where day t+h is beyond the
    data. It is known at the close of t+h. Rows may come in any order and keep it. Targets that the frame
    already has are replaced.

    Args:
        frame: `date: Date, code, close`, one row per stock and day; other columns pass through.
        horizons: whole numbers of trading days, each at least 1.

    Raises:
        DataError: a column or key is missing, a key is duplicate, or a horizon is not a whole number above 0.

    >>> from datetime import date
    >>> prices = pl.DataFrame({"date": [date(2024, 1, d) for d in (4, 5, 9)], "code": ["7203"] * 3,
    ...                        "close": [100.0, 110.0, 121.0]})
    >>> [round(r, 4) if r else r for r in add_targets(prices, [2])["target_2d"]]
    [0.21, None, None]
    """
    require_columns(frame.columns, (*KEYS, "close"), "a table to add targets to")
    if not horizons or any(h != int(h) or h < 1 for h in horizons) or len(set(horizons)) != len(horizons):
        raise DataError(
            f"horizons are distinct whole numbers of trading days from 1 up, such as 1, 5, 10, 20; "
            f"got {choices(horizons)}"
        )
    if nulls := sum(frame[key].null_count() for key in KEYS):
        raise DataError(f"{nulls:,} rows have no date or no code; remove them before adding targets")
    day, n_days = _dense_numbers(frame[DATE].cast(pl.Date))
    stock, n_stocks = _dense_numbers(frame[CODE].cast(pl.Categorical))
    close = frame["close"].cast(pl.Float64).to_numpy()
    known = np.isfinite(close) & (close > 0)
    # The days after the last one stay NaN: beyond the data.
    grid = np.full((n_days + max(horizons)) * n_stocks, np.nan)
    cell = day * n_stocks + stock
    occupied = np.zeros(grid.size, dtype=bool)
    occupied[cell] = True
    if duplicates := cell.size - np.count_nonzero(occupied):
        row = frame.filter(frame.select(KEYS).is_duplicated()).row(0, named=True)
        raise DataError(
            f"{duplicates:,} rows repeat a (date, code), such as {row[DATE]}, {row[CODE]}; keep one row per "
            f"stock and day"
        )
    grid[cell[known]] = close[known]
    now = grid[cell]
    _fill_forward(grid[: n_days * n_stocks].reshape(n_days, n_stocks))
    forward = {h: (grid[cell + h * n_stocks] / now - 1).astype(np.float32) for h in horizons}
    return frame.with_columns(
        pl.Series(target_column(h), values, nan_to_null=True) for h, values in forward.items()
    )


def _fill_forward(close: np.ndarray) -> None:
    """Replace each NaN by the last close before it, in place; `[days, stocks]`."""
    for day in range(1, len(close)):
        np.copyto(close[day], close[day - 1], where=np.isnan(close[day]))


def _dense_numbers(values: pl.Series) -> tuple[np.ndarray, int]:
    """Index of each row's value among the sorted distinct values, and the number of those.

    Faster than a rank or `np.unique`: days and category numbers are small integers, so a lookup table works.
    """
    number = values.to_physical().to_numpy().astype(np.intp)
    if not number.size:
        return number, 0
    number -= number.min()
    position = np.zeros(int(number.max()) + 1, dtype=np.intp)
    position[number] = 1
    np.cumsum(position, out=position)
    return position[number] - 1, int(position[-1])

"""What a target means where a stock has no close on its last day, and how many rows that concerns.

Reads on which days a stock has rows, never a later value.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import polars as pl

from gogooku3.schema import CODE, DATE, KEYS, target_column

Labels = Literal["last_close", "surviving"]


def adjust_labels(
    frame: pl.DataFrame, horizons: Sequence[int], labels: Labels, delisting_return: float
) -> pl.DataFrame:
    """Apply a run's settings to the targets of a data set.

    Args:
        frame: `date, code` and the targets, one row per stock and day.
        horizons: of the targets, in trading days.
        labels: `last_close` keeps targets up to a stock's last close before day t+h; `surviving` makes
            targets null where the stock has no row on day t+h.
        delisting_return: earned by a stock whose last row is before day t+h, and before the last day of the
            data: its target `r` becomes `(1 + r) (1 + delisting_return) - 1`.
    """
    if labels == "last_close" and delisting_return == 0.0:
        return frame
    columns = []
    for horizon, delisted, missing, _ in _endings(frame, horizons):
        target = frame[target_column(horizon)]
        if labels == "surviving":
            columns.append(target.set(missing, None))
        else:
            paid = ((1.0 + target.cast(pl.Float64)) * (1.0 + delisting_return) - 1.0).cast(target.dtype)
            columns.append(paid.zip_with(delisted, target).alias(target.name))
    return frame.with_columns(columns)


def label_counts(frame: pl.DataFrame, horizons: Sequence[int]) -> dict[str, dict[str, int]]:
    """Rows by horizon (such as `5d`) whose target is not the return to a close on day t+h.

    Args:
        frame: `date, code`, one row per stock and day.
        horizons: of the targets, in trading days.

    Returns:
        `delisted` (the stock's last row is before day t+h), `halted` (it has later rows, but none on day
        t+h), and `beyond_data` (day t+h is after the last day).
    """
    return {
        f"{horizon}d": {
            "delisted": int(delisted.sum()),
            "halted": int((missing & ~delisted).sum()),
            "beyond_data": int(beyond.sum()),
        }
        for horizon, delisted, missing, beyond in _endings(frame, horizons)
    }


def _endings(
    frame: pl.DataFrame, horizons: Sequence[int]
) -> Iterator[tuple[int, pl.Series, pl.Series, pl.Series]]:
    """Rows by horizon: whose stock ends before day t+h, without a row on it, and with t+h beyond the data."""
    calendar = frame.select(pl.col(DATE).unique().sort()).with_row_index("day")
    keys = frame.select(KEYS).join(calendar, on=DATE, how="left", maintain_order="left")
    keys = keys.select(CODE, pl.col("day").cast(pl.Int64)).with_columns(
        pl.col("day").max().over(CODE).alias("last")
    )
    end = len(calendar) - 1
    present = keys.select(CODE, "day", pl.lit(True).alias("present"))
    for horizon in horizons:
        due = keys.with_columns(pl.col("day") + horizon)
        within = due["day"] <= end
        delisted = within & (due["day"] > due["last"])
        found = due.join(present, on=[CODE, "day"], how="left", maintain_order="left")["present"]
        yield horizon, delisted, within & found.is_null(), ~within

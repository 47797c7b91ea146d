"""Trading days between two predictions, from a table's dates."""

import numpy as np
import polars as pl

from gogooku3.errors import DataError

MAX_IRREGULAR = 0.2
"""Share of gaps that may be more than half longer or shorter than the usual one."""


def table_spacing(dates: pl.Series) -> int:
    """Usual number of weekdays from one date of a prediction table to the next; 1 for a daily table.

    Args:
        dates: in any order, with repetitions.

    Raises:
        DataError: the table is not daily and its dates are irregular.

    >>> from datetime import date
    >>> table_spacing(pl.Series([date(2024, 1, day) for day in (5, 12, 19, 26)]))
    5
    """
    days = dates.unique().sort().to_numpy().astype("datetime64[D]")
    if len(days) < 2:
        return 1
    gaps = np.maximum(np.busday_count(days[:-1], days[1:]), 1)
    spacing = round(float(np.median(gaps)))
    irregular = float((np.abs(gaps - spacing) > spacing / 2).mean())
    if spacing > 1 and irregular > MAX_IRREGULAR:
        raise DataError(
            f"the prediction table has dates {gaps.min()} to {gaps.max()} weekdays apart, so a year has no "
            "fixed number of periods; predict at regular intervals or give daily prices (`evaluate --prices`)"
        )
    return spacing


def calendar_spacing(days: np.ndarray) -> int:
    """Usual number of trading days between two numbers of days that are sorted and distinct.

    >>> calendar_spacing(np.array([0, 5, 10, 16]))
    5
    """
    return max(round(float(np.median(np.diff(days)))), 1) if len(days) > 1 else 1

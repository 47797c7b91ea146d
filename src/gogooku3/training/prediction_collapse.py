"""Detect collapsed predictions: nearly equal for all stocks of a day."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.data.panel import PanelSlice
from gogooku3.preprocessing.labels import LabelTreatment
from gogooku3.schema import DATE

COLLAPSED = 0.01
"""Share of the labels' spread below which predictions count as collapsed."""


def daily_spread(values: np.ndarray, day: np.ndarray) -> npt.NDArray[np.float64]:
    """Standard deviation within a day, averaged over days.

    Args:
        values: `[rows, columns]`; NaN is ignored, and so is a day with only NaN.
        day: `[rows]`, any identifier of the day.

    Returns:
        float64 `[columns]`; NaN for a column of NaN.

    >>> daily_spread(np.array([[1.0], [3.0], [7.0], [7.0]]), np.array([0, 0, 1, 1]))
    array([0.5])
    """
    spreads = [spread_by_day(column, day) for column in values.T]
    return np.array([by_day.mean() if len(by_day) else np.nan for by_day in spreads])


def spread_by_day(values: np.ndarray, day: np.ndarray) -> npt.NDArray[np.float64]:
    """Standard deviation within each day with a value, in the order of the days.

    Args:
        values, day: `[rows]`, as for `daily_spread`.
    """
    finite = np.isfinite(values)
    own = values[finite].astype(np.float64)
    number, count = np.unique(day[finite], return_inverse=True, return_counts=True)[1:]
    mean = np.bincount(number, own) / count
    spread: npt.NDArray[np.float64] = np.sqrt(np.bincount(number, (own - mean[number]) ** 2) / count)
    return spread


def prediction_spread(
    wide: pl.DataFrame, train: PanelSlice, label: LabelTreatment
) -> dict[str, float | None]:
    """Spread of a model's predictions within a day, relative to its training labels.

    Args:
        wide: the model's predictions, `date, code, prediction_{h}d`.
        train: its training days.
        label: treatment of their targets; all but "raw" give labels a daily standard deviation of about 1.

    Returns:
        by horizon (as text): mean daily standard deviation, in units of the labels'; None if the training
        days have no label.
    """
    horizons = train.panel.horizons
    columns = wide.select(f"prediction_{horizon}d" for horizon in horizons)
    spread = daily_spread(columns.to_numpy(), wide[DATE].to_numpy())
    if label == "raw":
        day, stock = train.rows()
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = spread / daily_spread(train.panel.targets[day, stock], day)
    return {
        str(horizon): float(share) if np.isfinite(share) else None
        for horizon, share in zip(horizons, spread, strict=True)
    }


def collapse_warning(spread: Mapping[str, float | None], model: str, advice: str) -> str | None:
    """Warning for predictions that hardly differ within a day; None if they differ.

    Args:
        spread: of `prediction_spread`.
        model: fold and name of the model.
        advice: settings to try.

    >>> print(collapse_warning({"1": 0.2, "5": 0.004}, "fold 2, linear", "a lower training.linear_penalty"))
    fold 2, linear predicts nearly the same for every stock of a day (5d: 0.4 % of the labels' spread): its \
predictions have collapsed. Try a lower training.linear_penalty
    >>> collapse_warning({"1": 0.2, "5": 0.1}, "fold 2, linear", "")
    """
    low = {horizon: share for horizon, share in spread.items() if share is not None and share < COLLAPSED}
    if not low:
        return None
    shares = ", ".join(f"{horizon}d: {share:.1%}".replace("%", " %") for horizon, share in low.items())
    return (
        f"{model} predicts nearly the same for every stock of a day ({shares} of the labels' spread): its "
        f"predictions have collapsed. Try {advice}"
    )

"""The market's state by day: the level and dispersion of features that day-wise normalisation removes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gogooku3.errors import DataError
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.schema import MIN_STOCKS

_CLIP = 3.0
_MIN_SPREAD = 1e-6
"""Spread, relative to |centre|, below which a number counts as constant on the training days."""


@dataclass(frozen=True)
class MarketState:
    """Scale each day's cross-sectional mean and log deviation of every feature by the training days.

    Day-wise normalisation removes the market's own move, its volatility and its dispersion from the
    features. These numbers restore them: one set per day for all stocks, known at that day's close.

    Attributes:
        centre, spread: float64 `[2 x features]`, over the training days: means first, then log deviations.
    """

    centre: np.ndarray
    spread: np.ndarray

    @staticmethod
    def fit(statistics: DayStatistics, train: range) -> "MarketState":
        """Scale by the training days only; a number that is constant there is left out (always 0).

        Raises:
            DataError: there are fewer than two training days.
        """
        if len(train) < 2:
            raise DataError(f"a market state needs at least 2 training days, got {len(train)}")
        raw = _raw(statistics)[train.start : train.stop]
        known = np.isfinite(raw)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, raw, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, raw - centre, 0) ** 2).sum(axis=0) / count)
        varies = spread > _MIN_SPREAD * (np.abs(centre) + _MIN_SPREAD)
        return MarketState(centre, np.where(varies, spread, np.inf))

    def transform(self, statistics: DayStatistics) -> np.ndarray:
        """Standard deviations from the training days' mean, clipped at 3; unknown as 0.

        Returns:
            float32 `[days, 2 x features]`; a day's row depends only on that day and the training days.
        """
        scaled = np.clip((_raw(statistics) - self.centre) / self.spread, -_CLIP, _CLIP)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """State that scales later days the same way; a number that is left out has no spread."""
        spread = [float(s) if np.isfinite(s) else None for s in self.spread]
        return {"centre": self.centre.tolist(), "spread": spread}

    @staticmethod
    def from_dict(state: dict[str, Any]) -> "MarketState":
        """Rebuild from `to_dict`."""
        spread = np.array([np.inf if s is None else s for s in state["spread"]])
        return MarketState(np.array(state["centre"]), spread)


def _raw(statistics: DayStatistics) -> np.ndarray:
    """Mean and log deviation of each feature by day, `[days, 2 x features]`; NaN where too few stocks."""
    known = statistics.count >= MIN_STOCKS
    with np.errstate(divide="ignore"):
        deviation = np.log(np.sqrt(statistics.variance))
    mean = np.where(known, statistics.mean, np.nan)
    deviation = np.where(known & np.isfinite(deviation), deviation, np.nan)
    return np.concatenate([mean, deviation], axis=1)

"""The market's state by day: what day-wise normalisation takes out of the features, kept as a few numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gogooku3.errors import DataError
from gogooku3.preprocessing.cross_section import DayStatistics
from gogooku3.schema import MIN_STOCKS

_CLIP = 3.0
_LEAST = 1e-6


@dataclass(frozen=True)
class MarketState:
    """Scales each day's cross-sectional mean and log deviation of every feature by its training days.

    After day-wise normalisation the market's own move, its volatility and its dispersion are gone from the
    features. These numbers bring them back, one set a day for all stocks, known at that day's close.

    Attributes:
        centre, spread: float64 `[2 x features]`, over the training days: means first, then log deviations.
    """

    centre: np.ndarray
    spread: np.ndarray

    @staticmethod
    def fit(statistics: DayStatistics, train: range) -> "MarketState":
        """Scale by the training days alone; a number that hardly moves there is left out (always 0).

        Raises:
            DataError: there are fewer than two training days.
        """
        if len(train) < 2:
            raise DataError(f"a market state needs 2 training days or more to be scaled by, got {len(train)}")
        raw = _raw(statistics)[train.start : train.stop]
        known = np.isfinite(raw)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, raw, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, raw - centre, 0) ** 2).sum(axis=0) / count)
        return MarketState(centre, np.where(spread > _LEAST * (np.abs(centre) + _LEAST), spread, np.inf))

    def transform(self, statistics: DayStatistics) -> np.ndarray:
        """Standard deviations from the training days' mean, clipped at 3; unknown as 0.

        Returns:
            float32 `[days, 2 x features]`; a day's row depends on that day and the training days alone.
        """
        scaled = np.clip((_raw(statistics) - self.centre) / self.spread, -_CLIP, _CLIP)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """What a later day needs to be put on the same scale; a number that is left out has no spread."""
        return {
            "centre": self.centre.tolist(),
            "spread": [float(s) if np.isfinite(s) else None for s in self.spread],
        }

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

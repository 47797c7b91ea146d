"""Treatment of targets before the loss: each day by itself, so nothing crosses days."""

from typing import Literal

import numpy as np

from gogooku3.errors import ConfigError

LabelTreatment = Literal["raw", "zscore", "rank", "blend"]
_CLIP = 5.0
_MAX_PASSES = 8
"""Times a day is clipped and standardised again, so that one bad tick doesn't compress the others."""


def treat_labels(targets: np.ndarray, how: LabelTreatment) -> np.ndarray:
    """Make the targets of a day comparable between days.

    Args:
        targets: float32 `[days, stocks, horizons]`; NaN is unknown and stays NaN.
        how: "raw" keeps returns; "zscore" standardises each day, clips at 5 deviations, and standardises
            the result again; "rank" takes the average rank, scaled to mean 0 and deviation 1; "blend" is
            the mean of "zscore" and "rank": returns keep their sizes, but no single one dominates.

    Returns:
        float32 of the same shape; a day with fewer than two known values, or no spread, is 0.

    Raises:
        ConfigError: an unknown treatment.

    >>> treat_labels(np.array([[[0.1], [0.3], [0.2]]], dtype=np.float32), "rank")[0, :, 0].round(2)
    array([-1.22,  1.22,  0.  ], dtype=float32)
    """
    if how == "raw":
        return targets.astype(np.float32)
    if how == "blend":
        return (treat_labels(targets, "zscore") + treat_labels(targets, "rank")) / np.float32(2)
    if how == "zscore":
        values = targets.astype(np.float64)
    elif how == "rank":
        values = _average_ranks(targets)
    else:
        raise ConfigError(f"label is '{how}'; expected raw, zscore, rank or blend")
    known = np.isfinite(values)
    scaled = _standardized(values, known)
    for _ in range(_MAX_PASSES):
        has_outlier = (np.abs(scaled) > _CLIP).any(axis=1, keepdims=True)
        if not has_outlier.any():
            break
        # Only days with an outlier change, so that a bad tick moves no bit of another day.
        scaled = np.where(has_outlier, _standardized(np.clip(scaled, -_CLIP, _CLIP), known), scaled)
    return np.where(known, np.clip(scaled, -_CLIP, _CLIP), np.nan).astype(np.float32)


def _standardized(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over the known values of each day and horizon; 0 elsewhere."""
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, values, 0)
    centred = np.where(known, filled - filled.sum(axis=1, keepdims=True) / count, 0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # Dividing by infinity makes a day without spread 0.
    return centred / np.where(spread > 1e-12, spread, np.inf)


def _average_ranks(targets: np.ndarray) -> np.ndarray:
    """Average rank within the day, from 1, `[days, stocks, horizons]`; NaN stays NaN."""
    ranks = np.full(targets.shape, np.nan)
    for day in range(targets.shape[0]):
        for horizon in range(targets.shape[2]):
            known = np.flatnonzero(np.isfinite(targets[day, :, horizon]))
            _, group, size = np.unique(targets[day, known, horizon], return_inverse=True, return_counts=True)
            last = np.cumsum(size)
            ranks[day, known, horizon] = (last - (size - 1) / 2)[group]
    return ranks

"""Choose the share of a stage that is added to the stages before it, per horizon."""

import numpy as np

from gogooku3.evaluation.metrics import rank_information_coefficient

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Candidate shares besides 0; of equal scores the largest wins."""
STRETCHES = 4
"""Stretches of the validation days; a share must help in their mean by more than its standard error."""


def choose_shares(before: np.ndarray, added: np.ndarray, targets: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Choose the share of a stage with the best rank IC on validation days, for each horizon.

    Labels of long horizons overlap, so there are few independent ones, and a stage may be noise where the
    stages before it are not. So the validation days are cut into stretches of equal length. A share is
    eligible if its gain over 0, averaged over the stretches, exceeds the standard error of that mean; the
    eligible share with the largest mean gain wins.

    Args:
        before: predictions of the stages before, `[samples, horizons]`.
        added: predictions of the stage, to be added.
        targets: `[samples, horizons]`, NaN unknown.
        day: int `[samples]`, ascending.

    Returns:
        float32 `[horizons]`: 0 or one of `SHARES`; 1 where the stages before predict nothing, or no stretch
        can be scored.
    """
    days = np.unique(day)
    stretch = np.searchsorted(days, day) * STRETCHES // max(len(days), 1)
    chosen = np.ones(before.shape[1], dtype=np.float32)
    for horizon in range(before.shape[1]):
        if not before[:, horizon].any():
            continue
        target = targets[:, horizon]
        without = _scores(before[:, horizon], target, day, stretch)
        gains = np.stack(
            [
                _scores(before[:, horizon] + share * added[:, horizon], target, day, stretch) - without
                for share in SHARES
            ]
        )
        gains = gains[:, np.isfinite(gains).all(axis=0)]
        if not gains.shape[1]:
            continue
        mean = gains.mean(axis=1)
        error = gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1]) if gains.shape[1] > 1 else 0 * mean
        eligible = np.where(mean > error, mean, 0)
        chosen[horizon] = SHARES[int(eligible.argmax())] if eligible.any() else 0.0
    return chosen


def _scores(prediction: np.ndarray, target: np.ndarray, day: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Rank IC on each stretch, `[STRETCHES]`."""
    parts = (stretch == number for number in range(STRETCHES))
    return np.array([rank_information_coefficient(prediction[own], target[own], day[own]) for own in parts])

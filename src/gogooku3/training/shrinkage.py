"""Choose the share of the learned part added to the linear path, per horizon."""

import numpy as np

from gogooku3.evaluation.metrics import rank_information_coefficient

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Candidate shares; of equal scores the largest wins."""


def choose_shares(
    linear: np.ndarray, learned: np.ndarray, targets: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """Choose the share of the learned part with the best rank IC on validation days, for each horizon.

    Labels of long horizons overlap, so there are few independent ones, and the learned part is often noise
    where the linear path is not.

    Args:
        linear, learned: the two parts of the predictions, `[samples, horizons]`.
        targets: `[samples, horizons]`, NaN unknown.
        day: int `[samples]`.

    Returns:
        float32 `[horizons]`, each of `SHARES`; 1 if no day can be scored or there is no linear path.
    """
    chosen = np.ones(linear.shape[1], dtype=np.float32)
    for horizon in range(linear.shape[1]):
        if not linear[:, horizon].any():
            continue
        scores = [
            rank_information_coefficient(
                linear[:, horizon] + share * learned[:, horizon], targets[:, horizon], day
            )
            for share in SHARES
        ]
        if np.isfinite(scores).any():
            chosen[horizon] = SHARES[int(np.nanargmax(scores))]
    return chosen

"""How much of what gradients learned is kept beyond the linear path, horizon by horizon."""

import numpy as np

from gogooku3.evaluation.metrics import rank_information_coefficient

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares that are tried; of equal scores the largest wins."""


def choose_shares(
    linear: np.ndarray, learned: np.ndarray, targets: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """The share of the learned part that ranks validation days best, for each horizon.

    Long horizons overlap, so that little independent truth stands behind many labels: what the network
    learned there is often noise where the linear path is not.

    Args:
        linear, learned: both parts of the predictions, `[samples, horizons]`.
        targets: `[samples, horizons]`, NaN unknown.
        day: int `[samples]`.

    Returns:
        float32 `[horizons]`, each of `SHARES`; 1 where no day can be scored, or there is no linear path.
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

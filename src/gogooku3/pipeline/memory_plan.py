"""What a run will take, estimated before it is allocated; and what it no longer needs, given back."""

import ctypes
import gc
from contextlib import suppress

from gogooku3.errors import ConfigError

_LIBRARIES_GB = 0.7
"""Resident size of Python with torch, Polars and LightGBM loaded, before any data."""

_PREDICTION_BYTES = 145
"""Scoring's peak above the libraries for each row of the prediction table, from 0.8 to 6.8 million rows."""
_SAMPLED_ROWS = 200_000
_SAMPLE_BYTES = 12
"""LightGBM chooses its bins from that many rows, a float64 and an int32 each cell."""


def plan_memory(
    shape: tuple[int, int, int],
    index_bytes: int,
    limit_gb: float,
    predictions: int = 0,
    side_by_side: int = 1,
) -> bool:
    """Whether the cube `[days, stocks, features]` must go to a memory-mapped file.

    The data set is read some rows at a time, so the fullest moment is LightGBM's: beside the cube lie the
    training rows that it copies, a byte for each of their cells, and the sample that its bins come from, or
    another such copy for each model that is boosted at the time.
    Or it is scoring's, when the cube is gone and the predictions of all folds lie in one table.
    The network's activations are not counted; a batch of the full network wants more than all of this.

    Args:
        shape: of the cube, float32.
        index_bytes: keys and targets of the data set.
        limit_gb: memory the run may take, GB (10^9 bytes).
        predictions: rows of the prediction table.
        side_by_side: models that LightGBM boosts at a time.

    Raises:
        ConfigError: even with the cube on disk the run would not fit.

    >>> plan_memory((959, 632, 145), 30_000_000, limit_gb=8.0)
    False
    """
    days, stocks, features = shape
    cells = days * stocks * features
    cube_gb = cells * 4 / 1e9
    sample_gb = min(days * stocks, _SAMPLED_ROWS) * features * _SAMPLE_BYTES / 1e9
    boosting_gb = cells / 1e9 + max(sample_gb, side_by_side * cells / 1e9)
    training = _LIBRARIES_GB + index_bytes / 1e9 + cube_gb + boosting_gb
    scoring = _LIBRARIES_GB + predictions * _PREDICTION_BYTES / 1e9
    least = max(training, scoring)
    if least > limit_gb:
        raise ConfigError(
            f"performance.memory_limit_gb is {limit_gb:g} but this data set needs about {least:.1f} GB even "
            f"with the panel on disk{_why(training, scoring)}; allow {least + 0.1:.1f}, or use fewer days "
            "(dataset.start_date) or features (dataset.feature_columns)"
        )
    return training + cube_gb > limit_gb


def _why(training: float, scoring: float) -> str:
    return " (to score the predictions of all folds)" if scoring > training else ""


def release_memory() -> None:
    """Give what nobody holds any more back to the system.

    A trainer and its parts hold one another, so that only a collection frees them; glibc keeps what is freed
    unless it is asked. Other allocators have no such call, and are left alone.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

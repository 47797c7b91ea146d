"""Estimates the memory of a run before anything is allocated, and releases memory between steps."""

import ctypes
import gc
from contextlib import suppress

from gogooku3.errors import ConfigError

_LIBRARIES_GB = 0.8
"""Resident size of Python with torch, Polars and LightGBM loaded, before any data."""

_PREDICTION_BYTES = 175
"""Peak of scoring per prediction, above the libraries; measured at 8.7 million rows."""
_SAMPLED_ROWS = 200_000
_SAMPLE_BYTES = 12
"""LightGBM chooses its bins from this many rows, with a float64 and an int32 per cell."""


def plan_memory(
    shape: tuple[int, int, int],
    index_bytes: int,
    limit_gb: float,
    predictions: int = 0,
    side_by_side: int = 1,
) -> bool:
    """Return True if the cube `[days, stocks, features]` must be stored in a memory-mapped file.

    The peak is either LightGBM's or scoring's. LightGBM needs the cube, its binned copy of the training rows
    (one byte per cell), and the sample for its bins or one more binned copy per booster trained at a time.
    Scoring needs the predictions of all folds in one table, after the cube is released. The network's
    activations are not counted: a batch of the full network needs more than all of this.

    Args:
        shape: of the cube, float32.
        index_bytes: keys and targets of the data set.
        limit_gb: memory the run may take, GB (10^9 bytes).
        predictions: rows of the prediction table.
        side_by_side: boosters trained at a time.

    Raises:
        ConfigError: the run does not fit even with the cube on disk.

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
        reason = " (to score the predictions of all folds)" if scoring > training else ""
        raise ConfigError(
            f"performance.memory_limit_gb is {limit_gb:g} but this data set needs about {least:.1f} GB even "
            f"with the panel on disk{reason}; allow {least + 0.1:.1f}, or use fewer days "
            "(dataset.start_date) or features (dataset.feature_columns)"
        )
    return training + cube_gb > limit_gb


def release_memory() -> None:
    """Return unused memory to the system.

    A trainer and its parts form reference cycles, so only a collection frees them; glibc keeps freed memory
    until `malloc_trim`. Other allocators have no such call.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

"""What a run will take, estimated before it is allocated."""

from gogooku3.errors import ConfigError

_LIBRARIES_GB = 0.7
"""Resident size of Python with torch, Polars and LightGBM loaded, before any data."""


def plan_memory(shape: tuple[int, int, int], frame_bytes: int, limit_gb: float) -> bool:
    """Whether the cube `[days, stocks, features]` must go to a memory-mapped file.

    Two panels' worth of memory are counted beside the frame: the cube itself, and the training rows
    that LightGBM copies out of it.

    Args:
        shape: of the cube, float32.
        frame_bytes: the loaded data set.
        limit_gb: memory the run may take, GB (10^9 bytes).

    Raises:
        ConfigError: even with the cube on disk the run would not fit.

    >>> plan_memory((959, 632, 145), 350_000_000, limit_gb=8.0)
    False
    """
    days, stocks, features = shape
    cube_gb = days * stocks * features * 4 / 1e9
    frame_gb = frame_bytes / 1e9
    least = _LIBRARIES_GB + max(frame_gb, cube_gb)
    if least > limit_gb:
        raise ConfigError(
            f"performance.memory_limit_gb is {limit_gb:g} but this data set needs about {least:.1f} GB even "
            f"with the panel on disk; allow {least + 0.1:.1f}, or use fewer days (dataset.start_date) or "
            "features (dataset.feature_columns)"
        )
    return _LIBRARIES_GB + max(frame_gb + cube_gb, 2 * cube_gb) > limit_gb

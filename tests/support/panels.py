"""Panels of given values, on consecutive days from a first one."""

import numpy as np

from gogooku3.data.panel import Panel


def make_panel(
    values: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray | None = None,
    features: tuple[str, ...] = (),
    first_day: str = "2024-01-04",
) -> Panel:
    """A panel of values `[days, stocks, features]` and targets `[days, stocks, horizons]` of 1 and 5 days.

    Codes are 0000, 0001, ...; features f0, f1, ... by default; without a mask every stock trades every day.
    """
    n_days, n_stocks, n_features = values.shape
    return Panel(
        dates=np.datetime64(first_day) + np.arange(n_days),
        codes=tuple(f"{stock:04}" for stock in range(n_stocks)),
        features=features or tuple(f"f{i}" for i in range(n_features)),
        values=values.astype(np.float32),
        mask=np.ones((n_days, n_stocks), dtype=bool) if mask is None else mask,
        targets=targets.astype(np.float32),
        horizons=(1, 5)[: targets.shape[2]],
    )

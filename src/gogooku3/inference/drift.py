"""Detects inputs that no longer look like those of training. Reads no targets, changes nothing.

Level: a day's mean, deviation or share of known values is outside the range of the training days. Shape: the
recent standardised values fall into the training deciles in other proportions.
"""

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.schema import MIN_STOCKS

SAMPLE_ROWS = 20_000
"""Most rows used for deciles, evenly spaced, of training and of today."""
BINS = 10
PSI_LIMIT = 0.25
"""Population stability index that counts as a shift in credit scoring, where the index comes from."""
MARGIN = 0.25
"""Share of the training days' range by which a day may be outside it: new extremes occur in any market."""
KNOWN_MARGIN = 0.1
"""Share of known values below the worst training day that counts as drift."""
_LEAST_SHARE = 1e-4


def feature_statistics(panel: Panel, statistics: DayStatistics | None, days: range) -> pl.DataFrame:
    """Statistics of each input on the training days, for `drift`.

    Args:
        panel: normalised.
        statistics: its days' statistics before normalisation; None without normalisation.
        days: the training days.

    Returns:
        one row per feature: `feature`; `mean_low, mean_high, log_deviation_low, log_deviation_high,
        known_low`, the extremes over the days (null where no day has enough stocks; `known_low` counts from
        the feature's first value on); `edges` and `shares`, the inner borders of the deciles of the
        standardised values and the share of rows in each bin.
    """
    day, stock = np.nonzero(panel.mask[days.start : days.stop])
    step = max(1, len(day) // SAMPLE_ROWS)
    values = panel.values[day[::step] + days.start, stock[::step]]
    cuts = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    edges = [np.unique(column).astype(np.float64) for column in cuts.T]
    shares = [_shares(column, borders) for column, borders in zip(values.T, edges, strict=True)]
    levels = {name: by_day[days.start : days.stop] for name, by_day in _levels(panel, statistics).items()}
    # A feature with a lookback has no values on the data's first days; those days set no lower bound.
    started = np.maximum.accumulate(levels["known"] > 0, axis=0)
    bounds = {
        "mean_low": np.fmin.reduce(levels["mean"]),
        "mean_high": np.fmax.reduce(levels["mean"]),
        "log_deviation_low": np.fmin.reduce(levels["log_deviation"]),
        "log_deviation_high": np.fmax.reduce(levels["log_deviation"]),
        "known_low": np.fmin.reduce(np.where(started, levels["known"], np.nan)),
    }
    lists = {"edges": [each.tolist() for each in edges], "shares": [each.tolist() for each in shares]}
    return pl.DataFrame({"feature": panel.features, **lists}).with_columns(
        pl.Series(name, bound, nan_to_null=True) for name, bound in bounds.items()
    )


def drift(table: pl.DataFrame, panel: Panel, statistics: DayStatistics | None, day: int) -> pl.DataFrame:
    """Inputs of a day that do not look like those of training.

    The shape uses the panel's rows up to the day, so the panel should begin with the day's stretch. Its
    limit is `PSI_LIMIT` plus the index that chance produces with so few stocks. A feature that is equal for
    all stocks of the day has no shape.

    Args:
        table: from `feature_statistics`.
        panel: normalised in the same way, with the same features.
        statistics: its days' statistics before normalisation.
        day: position of the day in the panel.

    Returns:
        `feature, what, value, low, high`, the largest deviations first: `what` is "mean", "log_deviation"
        (natural logarithm of the day's deviation over stocks), "known" (share of the day's rows) or "shape"
        (population stability index), and `value` is below `low` or above `high`.
    """
    drifted: list[tuple[str, str, float, float | None, float | None, float]] = []
    psi_limit = PSI_LIMIT + 2 * (BINS - 1) / max(int(panel.mask[day].sum()), 1)
    row_day, row_stock = np.nonzero(panel.mask[: day + 1])
    evenly = np.linspace(0, len(row_day) - 1, min(len(row_day), SAMPLE_ROWS)).round().astype(np.int64)
    values = panel.values[row_day[evenly], row_stock[evenly]]
    levels = {name: by_day[day] for name, by_day in _levels(panel, statistics).items()}
    for index, training in enumerate(table.iter_rows(named=True)):
        name = training["feature"]
        psi = _stability(np.array(training["shares"]), _shares(values[:, index], np.array(training["edges"])))
        standardised = statistics is None or np.isfinite(levels["log_deviation"][index])
        if standardised and psi > psi_limit:
            drifted.append((name, "shape", psi, None, psi_limit, psi / psi_limit))
        for what in ("mean", "log_deviation"):
            low, high = training[f"{what}_low"], training[f"{what}_high"]
            value = float(levels[what][index])
            if low is None or not np.isfinite(value):
                continue
            margin = MARGIN * (high - low) + 1e-6 * (1 + abs(high))
            low, high = low - margin, high + margin
            if not low <= value <= high:
                outside = max(low - value, value - high)
                drifted.append((name, what, value, low, high, 1 + outside / (high - low)))
        if training["known_low"] is not None:
            value, low = float(levels["known"][index]), training["known_low"] - KNOWN_MARGIN
            if value < low:
                drifted.append((name, "known", value, low, None, 1 + (low - value) / KNOWN_MARGIN))
    columns = ("feature", "what", "value", "low", "high", "size")
    schema = {name: pl.String if name in ("feature", "what") else pl.Float64 for name in columns}
    differences = pl.DataFrame(drifted, schema=schema, orient="row")
    return differences.sort("size", descending=True, maintain_order=True).drop("size")


def _levels(panel: Panel, statistics: DayStatistics | None) -> dict[str, np.ndarray]:
    """Mean, log deviation and share of known values, `[days, features]`; NaN where too few stocks have one.

    Without normalisation all are NaN.
    """
    if statistics is None:
        unknown = np.full((panel.n_days, len(panel.features)), np.nan)
        return dict.fromkeys(("mean", "log_deviation", "known"), unknown)
    enough = statistics.count >= MIN_STOCKS
    varies = enough & (statistics.variance > 0)
    rows = np.maximum(panel.mask.sum(axis=1), 1)[:, None]
    with np.errstate(divide="ignore"):
        return {
            "mean": np.where(enough, statistics.mean, np.nan),
            "log_deviation": np.where(varies, 0.5 * np.log(statistics.variance), np.nan),
            "known": statistics.count / rows,
        }


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin between the edges."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    shares: np.ndarray = counts / max(len(values), 1)
    return shares


def _stability(expected: np.ndarray, observed: np.ndarray) -> float:
    """Population stability index: `sum (observed - expected) ln(observed / expected)`; 0 for equal shares.

    >>> round(_stability(np.array([0.5, 0.5]), np.array([0.9, 0.1])), 3)
    0.879
    """
    expected, observed = np.maximum(expected, _LEAST_SHARE), np.maximum(observed, _LEAST_SHARE)
    return float(((observed - expected) * np.log(observed / expected)).sum())

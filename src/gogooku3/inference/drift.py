"""Whether inputs still look like those a fold was trained on. It reads no target and changes nothing.

Two questions. Level: does a day's mean, deviation or share of known values lie outside what training days
showed? Shape: do the standardised values of the last days fall into the training rows' deciles as those did?
"""

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel
from gogooku3.preprocessing.cross_section import DayStatistics
from gogooku3.schema import MIN_STOCKS

SAMPLE_ROWS = 20_000
"""Rows whose values fall into deciles at most, evenly spread, of training and of now: enough for a decile."""
BINS = 10
PSI_LIMIT = 0.25
"""Population stability index that counts as a shift in credit scoring, where the index comes from."""
MARGIN = 0.25
"""Share of the training days' range by which a day may lie outside it: new extremes come in any market."""
KNOWN_MARGIN = 0.1
"""Loss of known values, below the worst training day, that counts."""
_LEAST_SHARE = 1e-4


def feature_statistics(panel: Panel, statistics: DayStatistics | None, days: range) -> pl.DataFrame:
    """What each input looked like on some days, for `drift` to compare later days with.

    Args:
        panel: normalised.
        statistics: what its days said before that; None where nothing was standardised.
        days: the training days.

    Returns:
        a row a feature: `feature`; `mean_low, mean_high, log_deviation_low, log_deviation_high, known_low`,
        the least and the most of any day (null where no day had enough stocks; the least known counts from
        the feature's first value on); `edges` and `shares`, inner
        borders of the deciles of the standardised values and the share of rows in each bin.
    """
    day, stock = np.nonzero(panel.mask[days.start : days.stop])
    step = max(1, len(day) // SAMPLE_ROWS)
    values = panel.values[day[::step] + days.start, stock[::step]]
    cuts = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    edges = [np.unique(cuts[:, place]).astype(np.float64) for place in range(values.shape[1])]
    table = pl.DataFrame(
        {
            "feature": panel.features,
            "edges": [column.tolist() for column in edges],
            "shares": [_shares(values[:, place], column).tolist() for place, column in enumerate(edges)],
        }
    )
    level = {
        name: np.full((len(days), values.shape[1]), np.nan) for name in ("mean", "log_deviation", "known")
    }
    if statistics is not None:
        level = {name: it[days.start : days.stop] for name, it in _levels(panel, statistics).items()}
        # The data's first days know nothing of a feature that looks back; they excuse no later day.
        began = np.maximum.accumulate(level["known"] > 0, axis=0)
        level["known"] = np.where(began, level["known"], np.nan)
    bounds = {
        "mean_low": _bound(np.nanmin, level["mean"]),
        "mean_high": _bound(np.nanmax, level["mean"]),
        "log_deviation_low": _bound(np.nanmin, level["log_deviation"]),
        "log_deviation_high": _bound(np.nanmax, level["log_deviation"]),
        "known_low": _bound(np.nanmin, level["known"]),
    }
    return table.with_columns(pl.Series(name, bound, nan_to_null=True) for name, bound in bounds.items())


def drift(table: pl.DataFrame, panel: Panel, statistics: DayStatistics | None, day: int) -> pl.DataFrame:
    """The inputs of a day that do not look like those of training.

    The shape is that of the panel's rows up to the day, so a panel should begin about a window before it. Its
    limit is `PSI_LIMIT` and what a cross-section of so few stocks shows by chance. A feature that is the same
    for all stocks of the day has no shape.

    Args:
        table: as `feature_statistics` made it.
        panel: normalised likewise, with the same features.
        statistics: what its days said before that.
        day: place of the day in the panel.

    Returns:
        `feature, what, value, low, high`, those farthest out first: `what` is "mean", "log_deviation"
        (natural logarithm of the day's deviation over stocks), "known" (share of the day's rows) or "shape"
        (population stability index), and `value` lies below `low` or above `high`.
    """
    found: list[tuple[str, str, float, float | None, float | None, float]] = []
    stocks = int(panel.mask[day].sum())
    limit = PSI_LIMIT + 2 * (BINS - 1) / max(stocks, 1)
    seen, stock = np.nonzero(panel.mask[: day + 1])
    some = np.linspace(0, len(seen) - 1, min(len(seen), SAMPLE_ROWS)).round().astype(np.int64)
    rows = panel.values[seen[some], stock[some]]
    levels = {} if statistics is None else _levels(panel, statistics)
    for place, row in enumerate(table.iter_rows(named=True)):
        name = row["feature"]
        standardised = not levels or np.isfinite(levels["log_deviation"][day, place])
        index = _stability(np.array(row["shares"]), _shares(rows[:, place], np.array(row["edges"])))
        if standardised and index > limit:
            found.append((name, "shape", index, None, limit, index / limit))
        for what in ("mean", "log_deviation"):
            low, high = row[f"{what}_low"], row[f"{what}_high"]
            value = float(levels[what][day, place]) if levels else float("nan")
            if low is None or not np.isfinite(value):
                continue
            room = MARGIN * (high - low) + 1e-6 * (1 + abs(high))
            low, high = low - room, high + room
            if not low <= value <= high:
                outside = max(low - value, value - high)
                found.append((name, what, value, low, high, 1 + outside / (high - low)))
        if levels and row["known_low"] is not None:
            value, low = float(levels["known"][day, place]), row["known_low"] - KNOWN_MARGIN
            if value < low:
                found.append((name, "known", value, low, None, 1 + (low - value) / KNOWN_MARGIN))
    schema = {"feature": pl.String, "what": pl.String, "value": pl.Float64, "low": pl.Float64}
    schema |= {"high": pl.Float64, "far": pl.Float64}
    table = pl.DataFrame(found, schema=schema, orient="row")
    return table.sort("far", descending=True, maintain_order=True).drop("far")


def _levels(panel: Panel, statistics: DayStatistics) -> dict[str, np.ndarray]:
    """Mean, log deviation and share of known values by day and feature; NaN with too few stocks."""
    enough = statistics.count >= MIN_STOCKS
    varies = enough & (statistics.variance > 0)
    rows = np.maximum(panel.mask.sum(axis=1), 1)[:, None]
    with np.errstate(divide="ignore"):
        return {
            "mean": np.where(enough, statistics.mean, np.nan),
            "log_deviation": np.where(varies, 0.5 * np.log(statistics.variance), np.nan),
            "known": statistics.count / rows,
        }


def _bound(choose: np.ufunc | object, values: np.ndarray) -> np.ndarray:
    """The least or the most by feature; NaN where no day has a value."""
    known = np.isfinite(values).any(axis=0)
    bound = np.full(values.shape[1], np.nan)
    if known.any():
        bound[known] = choose(values[:, known], axis=0)  # type: ignore[operator]
    return bound


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin between the edges."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    shares: np.ndarray = counts / max(len(values), 1)
    return shares


def _stability(expected: np.ndarray, found: np.ndarray) -> float:
    """Population stability index: `sum (found - expected) ln(found / expected)`; 0 for equal shares.

    >>> round(_stability(np.array([0.5, 0.5]), np.array([0.9, 0.1])), 3)
    0.879
    """
    expected, found = np.maximum(expected, _LEAST_SHARE), np.maximum(found, _LEAST_SHARE)
    return float(((found - expected) * np.log(found / expected)).sum())

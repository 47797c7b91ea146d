"""Tests drift detection: unchanged inputs pass; a changed level, shape or share of known values is found."""

from dataclasses import replace

import numpy as np
import pytest
from panels import make_panel

from gogooku3.data.panel import Panel
from gogooku3.inference.drift import drift, feature_statistics
from gogooku3.preprocessing.cross_section import PanelNormalizer
from gogooku3.preprocessing.day_columns import DayStatistics

DAYS, STOCKS = 150, 200


def market(change: str = "", seed: int = 0) -> tuple[Panel, DayStatistics]:
    """A normalised panel of three features; "moved" changes on the last twenty days."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(DAYS, STOCKS, 3)).astype(np.float32)
    values[:, :, 2] = np.arange(DAYS)[:, None] % 5  # the weekday, the same for all stocks
    late = values[-20:, :, 1]
    if change == "level":
        late += 3
    elif change == "scale":
        late *= 20
    elif change == "shape":
        late[:] = np.where(late > 0, 1.0, -1.0) + 0.01 * late
    elif change == "unknown":
        late[:, : STOCKS // 2] = np.nan
    elif change == "gone":
        late[:] = np.nan
        values[:30, :, 1] = np.nan  # as a feature with a lookback, missing on the first days
    panel = make_panel(
        values, np.zeros((DAYS, STOCKS, 1)), features=("calm", "moved", "weekday"), first_day="2024-01-01"
    )
    normalizer = PanelNormalizer(panel)
    normalizer.fit_fold(range(100))
    return panel, normalizer.statistics


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("level", "mean"),
        ("scale", "log_deviation"),
        ("shape", "shape"),
        ("unknown", "known"),
        ("gone", "known"),
    ],
)
def test_only_the_changed_feature_is_reported(change: str, what: str) -> None:
    panel, statistics = market(change)
    table = feature_statistics(panel, statistics, range(100))
    assert drift(table, panel, statistics, 129).is_empty()
    window = slice(DAYS - 20, DAYS)
    recent = replace(panel, values=panel.values[window], mask=panel.mask[window])
    late = DayStatistics(statistics.count[window], statistics.mean[window], statistics.variance[window])
    drifted = drift(table, recent, late, 19)
    assert what in drifted["what"]
    assert set(drifted["feature"]) == {"moved"}


def test_statistics_use_only_the_training_days() -> None:
    calm, moved = (feature_statistics(*market(change), range(100)) for change in ("", "level"))
    assert calm.equals(moved)
    row = calm.to_dicts()[0]
    assert row["mean_low"] < 0 < row["mean_high"]
    assert row["known_low"] == 1
    assert len(row["edges"]) == 9 and row["shares"] == pytest.approx([0.1] * 10, abs=0.001)


def test_without_normalisation_only_the_shape_is_compared() -> None:
    panel, _ = market("shape")
    table = feature_statistics(panel, None, range(100))
    assert table["mean_low"].null_count() == 3
    window = replace(panel, values=panel.values[-20:], mask=panel.mask[-20:])
    drifted = drift(table, window, None, 19)
    assert drifted.filter(what="shape")["feature"].to_list()[:1] == ["moved"]

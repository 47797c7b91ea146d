"""Collapsed predictions are detected, relative to the spread of the labels."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from panels import make_panel

from gogooku3.data.panel import PanelSlice
from gogooku3.training.prediction_collapse import (
    collapse_warning,
    daily_spread,
    prediction_spread,
    spread_by_day,
)

NAN = float("nan")


def labelled(targets: list[list[list[float]]]) -> PanelSlice:
    """Training days with these targets, `[days, stocks, horizons]`."""
    values = np.array(targets, dtype=np.float32)
    days, stocks, _ = values.shape
    panel = make_panel(np.zeros((days, stocks, 1)), values)
    return PanelSlice(panel, range(days))


def test_the_spread_is_the_deviation_within_a_day_not_between_days() -> None:
    values = np.array([[1.0, 0.0], [3.0, 0.0], [100.0, 5.0], [100.0, NAN], [100.0, 9.0]])
    day = np.array([7, 7, 3, 3, 3])
    # 1 and 0 in the first column; 0 and 2 in the second, whose NaN is ignored.
    np.testing.assert_allclose(daily_spread(values, day), [0.5, 1.0])
    assert spread_by_day(values[:, 1], day).tolist() == [2.0, 0.0]
    assert np.isnan(daily_spread(np.full((2, 1), NAN), np.array([0, 1]))).all()


@pytest.mark.parametrize(("label", "expected"), [("zscore", 0.02), ("rank", 0.02), ("raw", 0.5)])
def test_the_spread_is_relative_to_raw_labels_and_absolute_for_treated_ones(label, expected) -> None:
    # Raw one-day targets spread by 0.04 within each day, and 5-day targets are not known.
    train = labelled([[[0.01, NAN], [0.09, NAN]], [[0.0, NAN], [0.08, NAN]]])
    wide = pl.DataFrame(
        {
            "date": [dt.date(2024, 2, 1)] * 2,
            "code": ["0000", "0001"],
            "prediction_1d": [0.01, 0.05],
            "prediction_5d": [0.3, 0.3],
        }
    )
    spread = prediction_spread(wide, train, label)
    assert spread["1"] == pytest.approx(expected)
    assert spread["5"] == (None if label == "raw" else 0.0)


def test_a_spread_below_a_hundredth_of_the_labels_is_a_collapse() -> None:
    warning = collapse_warning(
        {"1": 0.0099, "5": 0.01, "10": None, "20": 0.0}, "fold 3, linear", "fewer training.epochs"
    )
    assert warning is not None
    assert warning.startswith("fold 3, linear predicts nearly the same")
    assert "(1d: 1.0 %, 20d: 0.0 % of the labels' spread)" in warning
    assert warning.endswith("Try fewer training.epochs")
    assert collapse_warning({"1": 0.01, "5": None}, "fold 3, linear", "") is None

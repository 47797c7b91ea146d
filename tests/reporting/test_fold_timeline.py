"""Folds on one axis, by hand, and with missing phases."""

import pytest

from gogooku3.reporting.fold_timeline import fold_timeline, years

FOLD = {
    "fold": 2,
    "embargo_days": 1,
    "train_start": "2023-12-30",
    "train_end": "2024-01-01",
    "validation_start": "2024-01-03",
    "validation_end": "2024-01-04",
    "test_start": "2024-01-06",
    "test_end": "2024-01-09",
}


def test_phases_and_embargoes_are_contiguous():
    (lane,) = fold_timeline([FOLD])
    assert (lane["fold"], lane["embargo_days"]) == (2, 1)
    places = [(phase["name"], phase["left"], phase["width"]) for phase in lane["phases"]]
    assert places == [("train", 0, 20), ("validation", 40, 10), ("test", 70, 30)]
    assert [(gap["left"], gap["width"]) for gap in lane["gaps"]] == [(20, 20), (50, 20)]


def test_folds_share_one_axis_and_missing_phases_leave_no_gap():
    later = {"fold": 3, "test_start": "2024-01-09", "test_end": "2024-01-19"}
    first, second = fold_timeline([FOLD, later])
    assert first["phases"][0]["width"] == 10 and second["phases"][0]["left"] == 50
    assert second["gaps"] == [] and second["embargo_days"] is None


def test_a_year_is_marked_at_its_first_day():
    assert years([FOLD]) == [{"year": 2024, "left": pytest.approx(20)}]
    assert years([]) == [] and list(fold_timeline([])) == []

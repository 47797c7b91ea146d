"""Folds computed by hand, and for any calendar: every training label closes before the first test day."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_table import weekdays

from gogooku3.errors import ConfigError, DataError
from gogooku3.safety.walk_forward import Fold, WalkForwardSplitterV2, plan_folds, split_tail

FIRST_DAY = dt.date(2020, 1, 6)


def rows(n_days: int, seed: int = 0, per_day: int = 3) -> pl.DataFrame:
    """1 to `per_day` rows per day, in random order."""
    rng = np.random.default_rng(seed)
    dates = [day for day in weekdays(n_days, FIRST_DAY) for _ in range(rng.integers(1, per_day + 1))]
    return pl.DataFrame({"date": rng.permutation(np.array(dates, dtype="datetime64[D]")), "x": 1.0})


@st.composite
def splitters(draw: st.DrawFn) -> tuple[WalkForwardSplitterV2, int]:
    """A splitter and a sufficient number of days."""
    horizons = draw(st.lists(st.integers(1, 25), min_size=1, max_size=4, unique=True))
    embargo = max(horizons) + draw(st.integers(0, 10))
    n_splits = draw(st.integers(1, 7))
    min_train = draw(st.integers(1, 60))
    n_days = min_train + embargo + n_splits + draw(st.integers(0, 80))
    return WalkForwardSplitterV2(n_splits, embargo, min_train, horizons), n_days


def test_two_folds_by_hand() -> None:
    # 10 days, 3 to train, embargo 2: days 5 to 9 are tested, the first block has 3 of them.
    assert plan_folds(10, n_splits=2, embargo_days=2, min_train_days=3) == [
        Fold(0, range(0, 3), range(5, 8)),
        Fold(1, range(0, 6), range(8, 10)),
    ]


def test_the_embargo_counts_trading_days_not_calendar_days() -> None:
    splitter = WalkForwardSplitterV2(n_splits=1, embargo_days=20, min_train_days=30)
    dates = weekdays(60, FIRST_DAY)
    ((train, test),) = splitter.split(pl.DataFrame({"date": dates}))
    assert dates[test[0]] - dates[train[-1]] == dt.timedelta(days=31)
    assert test[0] - train[-1] - 1 == 20


@settings(max_examples=200, deadline=None)
@given(splitters())
def test_every_training_label_closes_before_its_folds_first_test_day(
    case: tuple[WalkForwardSplitterV2, int],
) -> None:
    splitter, n_days = case
    folds = splitter.folds(n_days)
    assert [fold.number for fold in folds] == list(range(splitter.n_splits))
    for fold in folds:
        for horizon in splitter.horizons:
            assert (fold.train.stop - 1) + horizon < fold.test.start
        assert fold.gap_days == splitter.embargo_days
        assert fold.test.start - (fold.train.stop - 1) - 1 == splitter.embargo_days
        assert fold.train.start == 0
        assert len(fold.train) >= splitter.min_train_days
        assert len(fold.test) >= 1


@settings(max_examples=100, deadline=None)
@given(splitters())
def test_test_folds_are_disjoint_ordered_and_reach_the_last_day(
    case: tuple[WalkForwardSplitterV2, int],
) -> None:
    splitter, n_days = case
    folds = splitter.folds(n_days)
    tested = [day for fold in folds for day in fold.test]
    assert tested == list(range(splitter.min_train_days + splitter.embargo_days, n_days))
    lengths = [len(fold.test) for fold in folds]
    assert max(lengths) - min(lengths) <= 1
    stops = [fold.train.stop for fold in folds]
    assert stops == sorted(set(stops))


@settings(max_examples=100, deadline=None)
@given(
    start=st.integers(0, 50),
    length=st.integers(2, 300),
    fraction=st.floats(0.01, 0.9),
    embargo=st.integers(0, 40),
)
def test_validation_days_follow_the_fit_days_after_an_embargo(
    start: int, length: int, fraction: float, embargo: int
) -> None:
    days = range(start, start + length)
    expected = max(1, round(length * fraction))
    if length - expected - embargo < 1:
        with pytest.raises(DataError, match="leave none to fit"):
            split_tail(days, fraction, embargo)
        return
    fit, validation = split_tail(days, fraction, embargo)
    assert fit.start == start
    assert validation.stop == days.stop
    assert len(validation) == expected
    assert validation.start - (fit.stop - 1) - 1 == embargo
    assert len(fit) >= 1


@settings(max_examples=25, deadline=None)
@given(case=splitters(), seed=st.integers(0, 1000))
def test_row_positions_equal_a_slow_reference_on_unsorted_rows(
    case: tuple[WalkForwardSplitterV2, int], seed: int
) -> None:
    splitter, n_days = case
    frame = rows(n_days, seed)
    dates = frame["date"].to_list()
    days = sorted(set(dates))
    for (train, test), fold in zip(splitter.split(frame), splitter.folds(n_days), strict=True):
        train_dates = {days[i] for i in fold.train}
        test_dates = {days[i] for i in fold.test}
        assert train.tolist() == [i for i, date in enumerate(dates) if date in train_dates]
        assert test.tolist() == [i for i, date in enumerate(dates) if date in test_dates]


@settings(max_examples=40, deadline=None)
@given(case=splitters(), seed=st.integers(0, 1000))
def test_a_valid_split_has_no_overlaps_and_reports_its_gap(
    case: tuple[WalkForwardSplitterV2, int], seed: int
) -> None:
    splitter, n_days = case
    result = splitter.validate_split(rows(n_days, seed))
    assert result["overlaps"] == []
    assert result["smallest_gap_days"] == splitter.embargo_days
    assert len(result["folds"]) == splitter.n_splits


def test_a_leaking_split_is_found_from_its_rows() -> None:
    class Leaky(WalkForwardSplitterV2):
        """Leaves only 3 days between training and test."""

        def folds(self, n_days: int) -> list[Fold]:
            return plan_folds(n_days, self.n_splits, 3, self.min_train_days)

    result = Leaky(n_splits=1, embargo_days=20, min_train_days=10).validate_split(rows(40))
    assert result["smallest_gap_days"] == 3
    # Horizon 1 closes in time; 5, 10 and 20 reach into the test.
    assert [entry["label_closes"] - entry["first_test"] for entry in result["overlaps"]] == [1, 6, 16]


def test_the_dates_of_folds_are_reported() -> None:
    splitter = WalkForwardSplitterV2(n_splits=1, embargo_days=1, min_train_days=2, horizons=[1])
    result = splitter.validate_split(pl.DataFrame({"date": weekdays(5, FIRST_DAY)}))
    assert result["folds"] == [
        {"fold": 0, "train": ("2020-01-06", "2020-01-07"), "test": ("2020-01-09", "2020-01-10")}
    ]


def test_an_embargo_shorter_than_the_longest_horizon_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="embargo_days is 5 trading days but the longest horizon is 20"):
        WalkForwardSplitterV2(embargo_days=5)
    WalkForwardSplitterV2(embargo_days=5, horizons=[1, 5])


@pytest.mark.parametrize("setting", [{"n_splits": 0}, {"min_train_days": 0}])
def test_settings_out_of_range_are_refused_by_name(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        WalkForwardSplitterV2(**setting)


def test_too_short_a_calendar_is_refused_with_the_number_needed() -> None:
    splitter = WalkForwardSplitterV2(n_splits=3, embargo_days=20, min_train_days=30)
    assert len(splitter.folds(53)) == 3
    with pytest.raises(DataError, match=r"52 trading days are too few.* need 53"):
        list(splitter.split(pl.DataFrame({"date": weekdays(52)})))


def test_rows_without_dates_are_refused() -> None:
    splitter = WalkForwardSplitterV2()
    with pytest.raises(DataError, match="groups=dates"):
        list(splitter.split(np.zeros((10, 2))))
    with pytest.raises(DataError, match="needs the column date"):
        list(splitter.split(pl.DataFrame({"day": [1]})))
    with pytest.raises(DataError, match="no rows"):
        list(splitter.split(pl.DataFrame({"date": []}, schema={"date": pl.Date})))
    with pytest.raises(DataError, match="1 rows to split have no date"):
        list(splitter.split(pl.DataFrame({"date": [*weekdays(400), None]})))


def test_groups_accept_dates_of_any_type() -> None:
    splitter = WalkForwardSplitterV2(n_splits=2, embargo_days=5, min_train_days=10, horizons=[5])
    frame = rows(40)
    expected = list(splitter.split(frame))
    times = frame["date"].cast(pl.Datetime) + pl.Series([dt.timedelta(minutes=n) for n in range(len(frame))])
    in_tokyo = times.dt.replace_time_zone("Asia/Tokyo")
    dates = [frame["date"], times, in_tokyo]
    for groups in (*dates, frame["date"].to_numpy(), times.to_numpy(), frame["date"].to_list()):
        for (train, test), (group_train, group_test) in zip(
            expected, splitter.split(np.zeros(len(frame)), groups=groups), strict=True
        ):
            np.testing.assert_array_equal(train, group_train)
            np.testing.assert_array_equal(test, group_test)


def test_the_splitter_is_a_scikit_learn_cv() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    linear = pytest.importorskip("sklearn.linear_model")
    splitter = WalkForwardSplitterV2(n_splits=3, embargo_days=5, min_train_days=10, horizons=[1, 5])
    frame = rows(60)
    x = np.arange(len(frame), dtype=float)[:, None]
    scores = selection.cross_val_score(
        linear.LinearRegression(), x, 2 * x[:, 0], cv=splitter, groups=frame["date"].to_numpy()
    )
    np.testing.assert_allclose(scores, 1)
    assert splitter.get_n_splits(x) == len(scores) == 3


def test_scikit_learn_accepts_a_frame_with_dates() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    dummy = pytest.importorskip("sklearn.dummy")
    splitter = WalkForwardSplitterV2(n_splits=2, embargo_days=5, min_train_days=10, horizons=[1, 5])
    frame = rows(40)
    indices = selection.cross_validate(
        dummy.DummyRegressor(), frame, np.zeros(len(frame)), cv=splitter, return_indices=True
    )["indices"]
    for (train, test), cv_train, cv_test in zip(
        splitter.split(frame), indices["train"], indices["test"], strict=True
    ):
        np.testing.assert_array_equal(train, cv_train)
        np.testing.assert_array_equal(test, cv_test)

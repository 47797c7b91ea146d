"""Checks of fold tables against the calendar: the splitter's folds are clean, known faulty splits are not."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_table import weekdays

from gogooku3.errors import DataError
from gogooku3.safety import audit_folds
from gogooku3.safety.walk_forward import plan_folds, split_tail


def spans(days: list[dt.date], **parts: range) -> pl.DataFrame:
    """One fold as a table."""
    rows = [(days[number], 0, part) for part, numbers in parts.items() for number in numbers]
    return pl.DataFrame(rows, schema=["date", "fold", "part"], orient="row")


@settings(max_examples=25, deadline=None)
@given(n_splits=st.integers(1, 5), embargo=st.integers(20, 40), n_days=st.integers(320, 500))
def test_folds_of_the_splitter_are_clean(n_splits: int, embargo: int, n_days: int) -> None:
    days = weekdays(n_days)
    tables = []
    for fold in plan_folds(n_days, n_splits, embargo, 252):
        fit, validation = split_tail(fold.train, 0.15, embargo)
        table = spans(days, train=fit, validation=validation, test=fold.test)
        tables.append(table.with_columns(fold=pl.lit(fold.number, pl.Int64)))
    audited = audit_folds(pl.concat(tables), days, embargo_days=embargo)
    assert audited.findings == ()
    assert audited.smallest_gap_days == embargo


def test_a_gap_of_20_calendar_days_is_too_short_for_20_day_labels() -> None:
    days = weekdays(100)
    first_test = next(i for i, day in enumerate(days) if day > days[59] + dt.timedelta(days=20))
    audited = audit_folds(spans(days, train=range(60), test=range(first_test, 100)), days, embargo_days=20)
    assert audited.smallest_gap_days == first_test - 60 == 14
    # Labels of the last 20 - 14 training days close on the first test day or after it.
    assert [(f.column, f.rows) for f in audited.findings] == [("label overlap", 6), ("embargo", 1)]


def test_a_split_without_a_purge_is_found() -> None:
    """skfolio's WalkForward with a date offset."""
    days = weekdays(100)
    audited = audit_folds(spans(days, train=range(60), test=range(60, 100)), days, horizons=[1, 5])
    assert audited.smallest_gap_days == 0
    assert [finding.rows for finding in audited.findings] == [1, 5]
    assert "5 training labels close inside the test days at a horizon of 5 days" in audited.findings[1].says


def test_validation_without_a_gap_before_it_is_found() -> None:
    """Qlib's RollingGen: a gap before the test, but none before validation."""
    days = weekdays(120)
    parts = {"train": range(50), "validation": range(50, 70), "test": range(91, 120)}
    audited = audit_folds(spans(days, **parts), days, horizons=[20])
    (finding,) = audited.findings
    assert finding.rows == 20 and "close inside the validation days" in finding.says


def test_a_split_by_series_tests_its_training_days() -> None:
    """pytorch-forecasting's data module splits at random by series."""
    days = weekdays(30)
    table = pl.DataFrame({"date": days}).join(pl.DataFrame({"code": ["A", "B", "C"]}), how="cross")
    part = pl.when(pl.col("code") == "C").then(pl.lit("test")).otherwise(pl.lit("train"))
    audited = audit_folds(table.with_columns(fold=0, part=part), days, horizons=[1])
    used = [finding for finding in audited.findings if finding.column == "test days used"]
    assert [finding.rows for finding in used] == [30]


def test_training_after_the_test_and_rows_tested_twice_are_found() -> None:
    days = weekdays(40)
    late = spans(days, train=range(20, 40), test=range(10))
    assert [f.column for f in audit_folds(late, days, horizons=[1]).findings] == ["order"]
    twice = pl.concat(
        [
            spans(days, train=range(5), test=range(20, 30)),
            spans(days, test=range(25, 35)).with_columns(fold=pl.lit(1, pl.Int64)),
        ]
    )
    (finding,) = audit_folds(twice, days, horizons=[1]).findings
    assert (finding.column, finding.rows, finding.first_day) == ("tested twice", 5, days[25])


def test_an_invalid_table_of_folds_is_refused() -> None:
    days = weekdays(10)
    with pytest.raises(DataError, match="needs the column part"):
        audit_folds(pl.DataFrame({"date": days, "fold": 0}))
    with pytest.raises(
        DataError, match="parts of a fold are train, validation, test; the table also has fit"
    ):
        audit_folds(spans(days, fit=range(5)))
    with pytest.raises(DataError, match="days of the folds are not in the calendar"):
        audit_folds(spans(days, train=range(5)), days[:3])

"""Validation reports every problem at once, with column, count and an example."""

import datetime as dt
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.data.prices import read_prices
from gogooku3.data.quality.validation import Problem, ValidationReport, validate
from gogooku3.errors import DataError

START = dt.date(2024, 1, 1)


def days(n: int) -> list[dt.date]:
    return [START + dt.timedelta(days=d) for d in range(n)]


def dataset(n_days: int = 30, n_stocks: int = 12) -> pl.DataFrame:
    random = np.random.default_rng(0)
    codes = pl.DataFrame({"code": [str(1300 + i) for i in range(n_stocks)]})
    keys = pl.DataFrame({"date": days(n_days)}).join(codes, how="cross")
    names = ("target_1d", "target_5d", "ret_1d", "volume_z")
    return keys.with_columns(**{n: pl.Series(random.normal(0, 0.02, keys.height)) for n in names})


def prices(n_days: int = 30, n_stocks: int = 12) -> pl.DataFrame:
    close = 100 * (1 + dataset(n_days, n_stocks)["ret_1d"])
    frame = dataset(n_days, n_stocks).select("date", "code").with_columns(close=close)
    frame = frame.with_columns(
        open=pl.col("close"),
        high=pl.col("close") * 1.01,
        low=pl.col("close") * 0.99,
        volume=1000.0 + pl.int_range(pl.len()),
    )
    return frame.select("date", "code", "open", "high", "low", "close", "volume").sort("code", "date")


def at(frame: pl.DataFrame, row: int, column: str, value: object) -> pl.DataFrame:
    literal = pl.lit(value, dtype=frame.schema[column])
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(literal).otherwise(pl.col(column)).alias(column)
    )


def found(report: ValidationReport, check: str) -> Problem:
    matches = [problem for problem in report.problems if check in problem.check]
    assert len(matches) == 1, [str(problem) for problem in report.problems]
    return matches[0]


def test_clean_tables_have_no_problems() -> None:
    for frame, kind in ((dataset(), "dataset"), (prices(), "prices")):
        report = validate(frame)
        assert report.problems == ()
        assert report.ok
        assert report.kind == kind
        report.raise_if_bad()


def test_all_problems_of_a_data_set_are_in_one_report() -> None:
    frame = dataset().with_columns(
        empty=pl.lit(None, pl.Float64),
        flat=pl.lit(3.0),
        leak=pl.col("target_5d"),
        rare=pl.when(pl.int_range(pl.len()) < 100).then(pl.col("ret_1d")),
        note=pl.lit("x"),
    )
    frame = at(at(at(frame, 7, "ret_1d", math.inf), 8, "volume_z", math.nan), 9, "target_1d", 7.5)
    report = validate(frame)
    checks = {(p.check.split(" (")[0], p.column, p.severity) for p in report.problems}
    assert checks == {
        ("infinite", "ret_1d", "error"),
        ("follows target_5d, rank correlation 1.00", "leak", "error"),
        ("NaN", "volume_z", "warning"),
        ("all null", "empty", "warning"),
        ("constant", "flat", "warning"),
        ("72% null", "rare", "warning"),
        ("2 nearly identical features", "ret_1d, rare", "note"),
        ("implausible return", "target_1d", "warning"),
        ("ignored", "note", "warning"),
    }
    assert found(report, "infinite").example == {"date": START, "code": "1307", "value": math.inf}
    with pytest.raises(DataError) as caught:
        report.raise_if_bad()
    assert len(str(caught.value).splitlines()) == 3


def test_duplicate_unsorted_and_missing_keys_are_reported_with_an_example() -> None:
    frame = pl.concat([dataset(), dataset().slice(14, 1)])
    frame = at(at(frame, 0, "code", None), 1, "date", None)
    report = validate(frame)
    assert found(report, "not sorted").severity == "warning"
    assert found(report, "duplicate").example == {"date": dt.date(2024, 1, 2), "code": "1302"}
    assert {p.column for p in report.problems if p.check == "missing key"} == {"date", "code"}
    assert not report.ok


def test_unreadable_dates_are_errors_and_the_rest_is_still_checked() -> None:
    frame = at(dataset().with_columns(pl.col("date").cast(pl.String)), 3, "date", "31/12/24")
    report = validate(at(frame, 5, "ret_1d", math.inf))
    assert found(report, "unreadable values").example == {"value": "'31/12/24'"}
    assert found(report, "infinite").count == 1


def test_thin_incomplete_future_and_missing_days_are_reported() -> None:
    frame = dataset().filter((pl.col("date") < days(30)[-1]) | (pl.col("code") < "1303"))
    report = validate(frame)
    assert found(report, "fewer than 10 stocks").example == {"date": days(30)[-1], "value": "3 stocks"}
    assert "3 stocks, usually 12" in str(found(report, "last day incomplete"))
    shifted = pl.when(pl.col("date") > days(15)[-1]).then(pl.col("date").dt.offset_by("150y"))
    report = validate(dataset().with_columns(shifted.otherwise(pl.col("date")).alias("date")))
    assert found(report, "future").severity == "error"
    assert found(report, "long gap between trading days").count == 1


def test_a_stocks_missing_days_are_counted_between_its_first_and_last() -> None:
    hole = (pl.col("code") == "1305") & pl.col("date").is_between(days(12)[-1], days(14)[-1])
    late = (pl.col("code") == "1306") & (pl.col("date") < days(10)[-1])
    report = validate(dataset().filter(~hole & ~late))
    gap = found(report, "missing days of a stock")
    assert (gap.count, gap.example) == (3, {"code": "1305", "value": "misses 3 days"})


def test_prices_that_reading_repairs_are_warnings() -> None:
    frame = at(at(at(prices(), 3, "open", 0.0), 40, "close", -1.0), 50, "volume", 0.0)
    frame = at(at(at(frame, 60, "high", 1.0), 70, "volume", -3.0), 80, "low", math.nan)
    report = validate(frame)
    assert report.ok
    counts = {(p.column, p.check): p.count for p in report.problems}
    assert counts[("open", "zero, negative or not finite")] == 1
    assert counts[("close", "zero, negative or not finite")] == 1
    assert counts[("low", "zero, negative or not finite")] == 1
    assert counts[("volume", "zero volume")] == 1
    assert counts[("volume", "negative or not finite")] == 1
    assert counts[("high", "high below low")] == 1
    assert found(report, "zero volume").example == {"date": days(21)[-1], "code": "1301", "value": 0.0}


def test_bad_ticks_and_splits_differ_in_the_following_days() -> None:
    tick = at(prices(), 10, "close", 1000.0)
    split = prices().with_columns(
        pl.when((pl.col("code") == "1303") & (pl.col("date") > days(9)[-1]))
        .then(pl.col("close") / 10)
        .otherwise(pl.col("close"))
        .alias("close")
    )
    assert "bad tick" in found(validate(tick), "reversed the next day").advice
    assert "split" in found(validate(split), "jump not reversed").advice


def test_equal_prices_with_other_volumes_every_day_are_not_stale() -> None:
    steady = prices().with_columns(open=10.0, high=10.0, low=10.0, close=10.0)
    assert not [p for p in validate(steady).problems if p.name == "stale_price"]
    frozen = validate(steady.with_columns(volume=300.0))
    assert found(frozen, "same four prices for 5 days or more, with repeated volume").count == 360


def test_a_first_day_without_limits_is_no_wick() -> None:
    wild = at(prices(), 0, "high", 500.0)
    assert not [p for p in validate(wild).problems if p.name == "wick"]
    assert found(validate(at(prices(), 1, "high", 500.0)), "high more than 2 times").count == 1


def test_each_missing_price_column_is_reported() -> None:
    report = validate(prices().drop("high", "volume"))
    assert {p.column for p in report.errors if p.check == "missing column"} == {"high", "volume"}
    assert not validate(pl.DataFrame({"x": [1]})).ok


def test_targets_of_other_names_are_named_by_the_caller() -> None:
    frame = dataset().rename({"target_1d": "label"}).drop("target_5d")
    assert validate(frame).kind == "prices"
    report = validate(frame, target_columns={1: "label"})
    assert report.kind == "dataset"
    assert report.ok
    assert not validate(frame, target_columns={1: "nothing"}).ok


def test_targets_that_are_all_unknown_are_an_error() -> None:
    report = validate(dataset().with_columns(target_5d=pl.lit(None, pl.Float32)))
    assert found(report, "unknown in all 360 rows").severity == "error"


def test_files_and_folders_are_validated_like_frames(tmp_path: Path) -> None:
    dataset().write_parquet(tmp_path / "d.parquet")
    assert validate(tmp_path / "d.parquet").kind == "dataset"
    folder = tmp_path / "prices"
    folder.mkdir()
    for part in range(2):
        half = prices().filter(pl.col("date").dt.day() % 2 == part).rename(str.title)
        half.write_csv(folder / f"{part}.csv")
    report = validate(folder)
    assert (report.kind, report.rows, report.ok) == ("prices", 360, True)
    assert read_prices(folder).report.rows_kept == 360
    with pytest.raises(DataError, match="no prices at"):
        validate(tmp_path / "nowhere")


def test_unreadable_numbers_in_a_csv_are_reported_not_raised(tmp_path: Path) -> None:
    frame = prices().with_columns(pl.col("open").cast(pl.String))
    at(frame, 4, "open", "1,000").write_csv(tmp_path / "p.csv")
    problem = found(validate(tmp_path / "p.csv"), "unreadable values")
    assert (problem.column, problem.count) == ("open", 1)


def test_a_report_is_json_and_a_problem_is_one_line() -> None:
    report = validate(at(dataset(), 7, "ret_1d", math.inf))
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["problems"][0]["example"] == {"date": "2024-01-01", "code": "1307", "value": "inf"}
    assert plain["ok"] is False
    where = "error: ret_1d: infinite (1, such as 2024-01-01 1307 inf)"
    assert str(report.problems[0]) == f"{where}; often a division by zero: write null instead"


def test_empty_tables_are_errors() -> None:
    assert found(validate(dataset().clear()), "no rows").severity == "error"
    assert found(validate(prices().clear()), "no rows").severity == "error"


def test_days_are_compared_with_the_sessions_of_an_exchange() -> None:
    days = [dt.date(2020, 9, 30), dt.date(2020, 10, 1), dt.date(2020, 10, 5)]
    rows = [(day, code) for day in days for code in ("A", "B")]
    frame = pl.DataFrame(rows, schema=["date", "code"], orient="row").with_columns(
        pl.lit(1.0).alias(name) for name in ("open", "high", "low", "close", "volume")
    )
    found = {p.check: p.example for p in validate(frame, calendar="XTKS").problems if "XTKS" in p.check}
    assert found == {
        "not a session of XTKS": {"date": dt.date(2020, 10, 1)},
        "session of XTKS without rows": {"date": dt.date(2020, 10, 2)},
    }
    assert not [p for p in validate(frame).problems if "XTKS" in p.check]

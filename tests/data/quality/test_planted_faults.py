"""`validate` finds every planted fault at the right stock and day, and none in a clean market."""

from pathlib import Path

import polars as pl
import pytest
from spoiled_market import Fault, clean_market, spoil

from gogooku3.config.quality import QualityRules, load_rules
from gogooku3.data.prices import read_prices
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.data.quality.problem import Problem
from gogooku3.data.quality.report import ValidationReport
from gogooku3.data.quality.validation import validate
from gogooku3.errors import ConfigError

CLEAN = clean_market()
SPOILED, FAULTS = spoil(CLEAN)


@pytest.fixture(scope="module")
def report() -> ValidationReport:
    return validate(SPOILED)


def names(problem: Problem, fault: Fault) -> bool:
    """Return True if an example of the problem is the fault."""
    expected = {"code": fault.code, "date": fault.day, "factor": fault.factor}
    expected = {key: value for key, value in expected.items() if value is not None}
    return any(expected.items() <= example.items() for example in problem.examples)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name} {fault.column} {fault.code}")
def test_a_planted_fault_is_reported_with_stock_day_and_factor(
    fault: Fault, report: ValidationReport
) -> None:
    of_check = [p for p in report.problems if (p.name, p.column) == (fault.name, fault.column)]
    assert any(names(problem, fault) for problem in of_check), of_check


def test_a_clean_market_has_only_notes() -> None:
    report = validate(CLEAN)
    assert report.verdict == "pass"
    assert {problem.name for problem in report.problems} <= {"missing_stock_days", "no_volume"}


def test_only_planted_jumps_are_reported(report: ValidationReport) -> None:
    for name in ("bad_tick", "suspected_split", "lasting_jump", "stale_price", "repeated_day", "wick"):
        planted = sum(fault.name == name for fault in FAULTS)
        assert sum(len(p.examples) for p in report.problems if p.name == name) == planted, name


def test_the_verdict_is_that_of_the_most_severe_problem() -> None:
    assert validate(SPOILED).verdict == "fail"
    days = CLEAN["date"].unique().sort()
    thin = CLEAN.filter((pl.col("date") != days[50]) | (pl.col("code") < "1400"))
    assert validate(thin).verdict == "pass with warnings"


def test_prices_are_read_as_the_check_list_describes(tmp_path: Path) -> None:
    prices = SPOILED.unique(["date", "code"])
    prices.write_parquet(tmp_path / "prices.parquet")
    read = read_prices(tmp_path / "prices.parquet").frame
    kept = {
        f"{row[0]}": row[1:]
        for row in read.filter(pl.col("date") == FAULTS[0].day)
        .select("code", "open", "high", "low", "close", "volume")
        .rows()
    }
    unknown = {"open": 0, "high": 1, "low": 2, "volume": 4}
    for fault in FAULTS:
        if fault.name in ("bad_price", "bad_volume"):
            assert CHECKS[fault.name].handled.startswith("set to null")
            # A row without a close is dropped.
            assert (
                (fault.code not in kept)
                if fault.column == "close"
                else kept[fault.code][unknown[fault.column]] is None
            )
        elif fault.name in ("bad_tick", "suspected_split", "lasting_jump", "stale_price", "wick"):
            assert CHECKS[fault.name].handled.startswith("kept")
            before = SPOILED.filter((pl.col("code") == fault.code) & (pl.col("date") == fault.day))
            assert kept[fault.code][3] == before["close"][0]


def test_the_shipped_rules_are_the_defaults() -> None:
    assert load_rules() == QualityRules()


def test_rules_change_thresholds_and_severities(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "prices: {stale_days: 9}\nexamples: 2\n"
        "severity: {bad_tick: error, suspected_split: off, wick: note}\n"
    )
    report = validate(SPOILED, rules=load_rules(file))
    found = {problem.name: problem for problem in report.problems}
    assert "stale_price" not in found and "suspected_split" not in found
    assert (found["bad_tick"].severity, found["wick"].severity) == ("error", "note")
    assert max(len(problem.examples) for problem in report.problems) == 2
    assert found["bad_tick"].count == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prices: {stale_day: 3}", "prices.stale_day.*did you mean 'stale_days'"),
        ("days: {min_stocks: few}", "days.min_stocks"),
        ("prices: {tick: 0.5}", "prices.tick"),
        ("severity: {bad_tick: grave}", "severity"),
        ("price: !!python/name:os.system", "quality|rules|tag"),
        ("- a\n- b", "rules.yaml|mapping|quality"),
    ],
)
def test_wrong_rules_are_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_rules(file)


def test_a_severity_for_an_unknown_check_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no check '?bad_tock"):
        validate(CLEAN, rules=QualityRules.from_mapping({"severity": {"bad_tock": "note"}}))


def test_nearly_identical_features_are_grouped() -> None:
    size = 500
    base = pl.Series(range(size)).shuffle(seed=1).cast(pl.Float32)
    frame = pl.DataFrame(
        {
            "date": pl.Series([0] * size).cast(pl.Date).dt.offset_by("19000d"),
            "code": [f"{i:04d}" for i in range(size)],
            "target_1d": pl.Series(range(size)).shuffle(seed=2).cast(pl.Float32) / size,
            "one": base,
            "again": base * 3 - 1,
            "turned": -base,
            "other": base.shuffle(seed=3),
        }
    )
    (group,) = [p for p in validate(frame).problems if p.name == "collinear"]
    assert group.column == "one, again, turned" and group.severity == "note"

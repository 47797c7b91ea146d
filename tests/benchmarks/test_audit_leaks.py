"""The audit finds every invented leak and accuses no clean pipeline, on one of the benchmark's markets."""

import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from audit_leaks import CLEAN, LEAKS, later_probes, market, try_pipeline


@pytest.fixture(scope="module")
def prices() -> pl.DataFrame:
    return market(seed=0)


@pytest.mark.parametrize("name", LEAKS)
def test_each_invented_leak_is_found(name: str, prices: pl.DataFrame) -> None:
    assert later_probes(try_pipeline(LEAKS[name], prices))


@pytest.mark.parametrize("name", CLEAN)
def test_no_clean_pipeline_is_accused(name: str, prices: pl.DataFrame) -> None:
    report = try_pipeline(CLEAN[name], prices)
    assert (report.verdict, report.findings) == ("clean", ())


def test_there_are_at_least_twenty_leaks_and_ten_clean_pipelines() -> None:
    assert (len(LEAKS), len(CLEAN)) == (28, 12)

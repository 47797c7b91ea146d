"""A table in which no stock ever ends is called one of survivors."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.cli.main import main
from gogooku3.config import RunConfig
from gogooku3.data.quality.survivors import survivorship_warning
from gogooku3.pipeline.input_checks import check_inputs
from gogooku3.pipeline.prepare_data import load_frame
from gogooku3.pipeline.step_log import StepLog


def keys(n_stocks: int, years: int, ended: int = 0) -> pl.DataFrame:
    """Weekly rows; `ended` stocks end after half of the time."""
    days = [dt.date(2020, 1, 1) + dt.timedelta(7 * week) for week in range(53 * years)]
    rows = [
        (day, f"{stock:03}")
        for stock in range(n_stocks)
        for day in (days[: len(days) // 2] if stock < ended else days)
    ]
    return pl.DataFrame(rows, schema=["date", "code"], orient="row")


def test_years_without_an_end_are_reported_with_their_effect():
    warning = survivorship_warning(keys(30, 3))
    assert warning.startswith("none of the 30 stocks ends in 3.0 years: the data seem to hold only survivors")
    assert "come out too high" in warning


@pytest.mark.parametrize("table", [keys(30, 1), keys(10, 3), keys(30, 3, ended=1), keys(30, 3).clear()])
def test_short_or_small_tables_and_those_with_an_end_are_not(table):
    assert survivorship_warning(table) is None


@pytest.mark.parametrize("ended", [0, 1])
def test_describe_and_build_print_the_warning_and_a_run_logs_it(
    ended: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = keys(30, 3, ended)
    close = pl.Series("close", 100 + np.random.default_rng(0).normal(size=table.height).round(2))
    prices = tmp_path / "prices.parquet"
    table.with_columns(close, open=close, high=close + 1, low=close - 1, volume=pl.lit(1000)).write_parquet(
        prices
    )
    out = tmp_path / "data.parquet"
    for arguments in (
        ["describe", str(prices)],
        ["build", "--prices", str(prices), "--out", str(out)],
        ["describe", str(out)],
    ):
        with pytest.raises(SystemExit) as exited:
            main(["data", *arguments])
        assert not exited.value.code
        printed = " ".join("".join(capsys.readouterr()).split())
        assert ("none of the 30 stocks ends in 3.0 years" in printed) == (not ended)
    split = {"n_splits": 1, "min_train_days": 30}
    config = {"dataset": {"data_path": out}, "model": {"input_dim": None}, "split": split}
    log = StepLog()
    load_frame(check_inputs(RunConfig.from_mapping(config)), log)
    assert any("none of the 30 stocks ends" in warning for warning in log.warnings) == (not ended)

"""Unusable inputs are refused by names, types, days and stocks, before heavy libraries are imported."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.bad_input.harness import data_set

from gogooku3.config import RunConfig
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.errors import ConfigError, DataError
from gogooku3.pipeline.input_checks import check_inputs, plan_panel
from gogooku3.system import available_cores


def config(path: Path, **groups: Any) -> RunConfig:
    plain = {"model": {"input_dim": None}, "split": {"n_splits": 2, "min_train_days": 30}, **groups}
    return RunConfig.from_mapping(plain | {"dataset": {"data_path": path} | groups.get("dataset", {})})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data_set().write_parquet(tmp_path / "d.parquet")
    return tmp_path / "d.parquet"


def test_the_extent_counts_the_rows_that_are_loaded(data: Path) -> None:
    for bounds in ({}, {"start_date": "2022-02-01"}, {"start_date": "2022-02-01", "end_date": "2022-03-01"}):
        loader = ProductionDatasetV3(data, **bounds)
        frame = loader.load_index()
        assert loader.extent() == (frame.height, frame["date"].n_unique(), frame["code"].n_unique())


def test_the_extent_counts_times_but_not_text(tmp_path: Path) -> None:
    at_noon = pl.col("date").cast(pl.Datetime) + dt.timedelta(hours=12)
    data_set().with_columns(date=at_noon).write_parquet(tmp_path / "t.parquet")
    assert ProductionDatasetV3(tmp_path / "t.parquet", end_date="2022-01-04").extent() == (24, 2, 12)
    data_set().write_csv(tmp_path / "d.csv")
    assert ProductionDatasetV3(tmp_path / "d.csv").extent() is None


def test_the_plan_counts_the_predictions_of_every_model_and_horizon(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = check_inputs(config(data)).loader
    planned: list[tuple[Any, ...]] = []
    monkeypatch.setattr("gogooku3.pipeline.input_checks.plan_memory", lambda *a: bool(planned.append(a)))
    plan_panel(loader, config(data), 1080, 90, 12)
    # 90 days less 30 to train on and an embargo of 20: 40 tested days x 12 stocks x 4 horizons x 4 models.
    assert planned == [((90, 12, 9), 1080 * 40, 8.0, 40 * 12 * 4 * 4, min(4, available_cores()))]
    data.with_suffix(".oracle.parquet").touch()
    plan_panel(loader, config(data), 1080, 90, 12)
    assert planned[-1][3] == 40 * 12 * 4 * 5


def test_usable_inputs_pass_and_unusable_ones_are_refused(data: Path, tmp_path: Path) -> None:
    check_inputs(config(data))
    with pytest.raises(ConfigError, match=r"memory_limit_gb is 0\.5"):
        check_inputs(config(data, performance={"memory_limit_gb": 0.5}))
    with pytest.raises(DataError, match="90 trading days"):
        check_inputs(config(data, split={"n_splits": 2, "min_train_days": 80}))
    with pytest.raises(DataError, match="does not exist"):
        check_inputs(config(tmp_path / "no.parquet"))


def test_a_refusal_imports_no_training_library(data: Path) -> None:
    script = f"""
import sys
from gogooku3.cli.main import main
try:
    main(["train", "--data", {str(data)!r}, "--memory-limit", "0.5", "model.input_dim=null",
          "split.n_splits=2", "split.min_train_days=30"])
except SystemExit as stop:
    assert stop.code == 2, stop.code
print([name for name in ("torch", "lightgbm", "lightning", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "memory_limit_gb is 0.5" in done.stderr
    assert done.stdout == "[]\n"

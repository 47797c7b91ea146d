"""Shared fixtures: one thread, one seed, and a small synthetic market, built once per session."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market
from gogooku3.features.build import build_dataset

SMALL_MARKET = SyntheticMarketConfig(n_stocks=30, n_days=230, seed=5, n_sectors=4)

SMALL_RUN = {
    "model": {"hidden_dim": 16, "num_heads": 2, "num_layers": 1},
    "training": {"epochs": 1, "batch_size": 256, "progress_bar": False},
    "time_series": {"sequence_length": 20},
    "split": {"min_train_days": 100},
    "lightgbm": {"num_boost_round": 20, "min_data_in_leaf": 20},
    "logging": {"tensorboard": False},
}
"""Settings that train in seconds; every other setting is the shipped default."""

TINY_RUN = {
    **SMALL_RUN,
    "dataset": {"feature_columns": ["ret_1d", "ret_5d", "vol_20d"]},
    "model": {**SMALL_RUN["model"], "input_dim": None},
    "time_series": {"sequence_length": 10, "prediction_horizons": [1, 5]},
}
"""Few features and horizons: for tests of what a run does around its models."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Make results independent of the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Make results independent of the tests that ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prices of 30 stocks over 230 days, with the oracle's file in the same folder."""
    path = tmp_path_factory.mktemp("market") / "prices.parquet"
    write_market(generate_market(SMALL_MARKET), path)
    return path


@pytest.fixture(scope="session")
def small_dataset(small_prices: Path) -> Path:
    """The data set built from `small_prices`."""
    path = small_prices.with_name("ml_dataset_full.parquet")
    build_dataset(small_prices, path)
    return path


@pytest.fixture(scope="session")
def small_frame(small_dataset: Path) -> pl.DataFrame:
    """The rows of `small_dataset`."""
    return pl.read_parquet(small_dataset)


@pytest.fixture(scope="session")
def trained_results(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of a run with two seeds, a graph and the market state; treat its folder as read-only."""
    from gogooku3.training import SafeTrainingPipeline

    config = {**SMALL_RUN, "training": {**SMALL_RUN["training"], "seeds": [0, 1]}}
    pipeline = SafeTrainingPipeline(
        "trained", small_dataset, config, runs_dir=tmp_path_factory.mktemp("runs")
    )
    return pipeline.run_pipeline(n_splits=1)


@pytest.fixture(scope="session")
def trained_run(trained_results: dict[str, Any]) -> Path:
    """The folder of `trained_results`."""
    return Path(trained_results["run_dir"])

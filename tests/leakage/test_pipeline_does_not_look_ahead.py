"""From prices to predictions: changing the future changes no bit of the past."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import SMALL_RUN

from gogooku3.features.build import build_dataset
from gogooku3.training import SafeTrainingPipeline


def predictions(prices: pl.DataFrame, folder: Path) -> pl.DataFrame:
    folder.mkdir()
    prices.write_parquet(folder / "prices.parquet")
    build_dataset(folder / "prices.parquet", folder / "data.parquet")
    pipeline = SafeTrainingPipeline("leak", folder / "data.parquet", SMALL_RUN, runs_dir=folder)
    with pytest.MonkeyPatch.context() as patch:
        # The report is drawn from the predictions, which are compared.
        patch.setattr("gogooku3.pipeline.score_run.write_report", lambda *_: None)
        results = pipeline.run_pipeline(n_splits=1)
    return pl.read_parquet(results["predictions_path"]).drop("target")


@pytest.fixture(scope="module")
def prices(small_prices: Path) -> pl.DataFrame:
    return pl.read_parquet(small_prices)


@pytest.fixture(scope="module")
def before(prices: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return predictions(prices, tmp_path_factory.mktemp("before") / "run")


@pytest.mark.parametrize("change", ["altered", "removed"])
def test_later_prices_change_no_prediction(
    change: str, prices: pl.DataFrame, before: pl.DataFrame, tmp_path: Path
) -> None:
    as_of = prices["date"].unique().sort()[-25]
    assert before.filter(pl.col("date") <= as_of)["date"].n_unique() > 50
    later = pl.col("date") > as_of
    if change == "altered":
        noise = np.random.default_rng(0).uniform(0.5, 2, prices.height)
        changed = prices.with_columns(
            pl.when(later).then(pl.col(name) * noise).otherwise(pl.col(name))
            for name in ("open", "high", "low", "close", "volume")
        )
        changed = changed.with_columns(
            high=pl.max_horizontal("open", "high", "low", "close"),
            low=pl.min_horizontal("open", "high", "low", "close"),
        )
    else:
        # One stock keeps trading, so that the calendar and the fold keep their length.
        changed = prices.filter(~later | (pl.col("code") == prices["code"][0]))
    after = predictions(changed, tmp_path / "run")
    past = pl.col("date") <= as_of
    assert after.filter(past).equals(before.filter(past))
    assert not after.filter(~past).equals(before.filter(~past))

"""Explanations are read from the folders of a run, and sectors from the data set."""

from pathlib import Path

import polars as pl
from tests.training.test_explanations import TEST, noise, panel, untrained

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.pipeline.explanations import read_explanations, read_sectors
from gogooku3.training.explanations import explain_days


def test_explanations_of_all_folds_are_joined_with_lightgbms_gains(tmp_path: Path) -> None:
    market = panel(noise(), noise(1)[:, :, 0])
    model, batches = untrained(market)
    explained = explain_days(model, batches, market, TEST, max_days=1)
    for fold in (0, 10):
        explained.write(tmp_path / f"fold_{fold}" / "net" / "seed_1" / "explanations")
    gains = pl.DataFrame({"feature": ["f0"], "horizon": [1], "importance": [1.0]})
    (tmp_path / "fold_0" / "trees").mkdir()
    gains.write_parquet(tmp_path / "fold_0" / "trees" / "importance.parquet")
    (tmp_path / "fold_0.bak").mkdir()
    tables = read_explanations(tmp_path, "net", "trees")
    assert set(tables) == set(vars(explained))
    assert tables["embeddings"].filter(pl.col("fold") == 10).drop("fold").equals(explained.embeddings)
    assert tables["features"].columns == ["fold", "model", "feature", "horizon", "importance"]
    assert tables["features"].group_by("model").len().sort("model").rows() == [("net", 24), ("trees", 1)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_run_without_explanations_has_no_tables(tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    assert read_explanations(tmp_path, "net", "trees") == {}


def test_each_codes_newest_sector_in_the_data_set_is_used(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    table = pl.DataFrame(
        {
            "Date": ["2024-01-04", "2024-01-05", "2024-01-04"],
            "Code": ["7203", "7203", "8306"],
            "Industry": ["old", "cars", None],
            "target_1d": [0.1, 0.2, 0.3],
            "ret_1d": [1.0, 2.0, 3.0],
        }
    )
    table.write_parquet(path)
    assert read_sectors(ProductionDatasetV3(path)) == {"7203": "cars"}
    table.drop("Industry").write_parquet(path)
    assert read_sectors(ProductionDatasetV3(path)) == {}

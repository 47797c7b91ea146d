"""Tests the data path benchmark on a small data set; asserts no times."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import harness
import polars as pl
from data_path import grown
from run_all import HERE


def test_the_benchmark_measures_every_step_and_twice_the_rows(small_dataset: Path, tmp_path: Path) -> None:
    options = ["--tiny", "--json", "--rounds", "1", "--data", str(small_dataset), "--scratch", str(tmp_path)]
    run = harness.run_process([sys.executable, str(HERE / "data_path.py"), *options])
    figures = harness.from_json(run.result)
    rows = pl.scan_parquet(small_dataset).select(pl.len()).collect().item()
    by_name = {figure.name: figure for figure in figures}
    whole = by_name[f"data path, {rows:,} rows: processor time"]
    assert whole.ours and whole.theirs == 2.4 and by_name["frame to batches: wall time"].ours
    for step in ("read into the panel", "quality features, normalise by day", "graphs"):
        assert f"{step} " in whole.note
    assert by_name[f"data path, {2 * rows:,} rows: processor time per row"].ours
    assert not list(tmp_path.iterdir())


def test_grown_data_repeats_the_days_at_later_dates(small_dataset: Path, tmp_path: Path) -> None:
    one, three = pl.read_parquet(small_dataset), pl.read_parquet(grown(small_dataset, 3, tmp_path))
    assert three.select("date", "code").is_duplicated().sum() == 0 and three["date"].is_sorted()
    assert three["date"].n_unique() == 3 * one["date"].n_unique()
    assert three.tail(one.height).drop("date").equals(one.drop("date"))

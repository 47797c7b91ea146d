"""From nothing to a scored run, with commands only, on a small market."""

import json
from pathlib import Path

import polars as pl
import pytest

from gogooku3.cli.main import main

SMALL = [
    "model.hidden_dim=8",
    "model.num_heads=2",
    "model.num_layers=1",
    "time_series.sequence_length=10",
    "split.min_train_days=80",
    "lightgbm.num_boost_round=5",
    "lightgbm.min_data_in_leaf=20",
    "training.progress_bar=false",
    "logging.tensorboard=false",
]


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small market's data set, set.parquet."""
    monkeypatch.chdir(tmp_path)
    run("data", "synth", "--stocks", "16", "--days", "200", "--out", "prices.parquet")
    run("data", "build", "--prices", "prices.parquet", "--out", "set.parquet")
    return tmp_path


def train(home: Path, *arguments: str) -> Path:
    """Folder of a run of one fold and one epoch."""
    run(
        "train",
        "--data",
        "set.parquet",
        "--epochs",
        "1",
        "--n-splits",
        "1",
        "--out",
        "all runs",
        *SMALL,
        *arguments,
    )
    (folder,) = (home / "all runs" / "train").iterdir()
    return folder


def test_evaluate_gives_the_scores_of_the_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(home, "time_series.prediction_horizons=[1,5]")
    text = capsys.readouterr().out
    assert (folder / "report.html").is_file()
    assert f"report: {home}/all runs/train/{folder.name}/report.html" in text
    assert "Oracle" in text
    run("evaluate", str(folder), "--json")
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "metrics.json").read_text())


def test_one_horizon_is_trained_scored_and_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(home, "time_series.prediction_horizons=[5]")
    assert (folder / "report.html").is_file()
    table = pl.read_parquet(folder / "predictions.parquet")
    assert table["horizon"].unique().to_list() == [5]
    data = pl.read_parquet("set.parquet").select("date", "code", "target_1d")
    returns = table.join(data, on=["date", "code"], how="left", maintain_order="left")
    assert returns["return_1d"].equals(returns["target_1d"].rename("return_1d"))
    scores = json.loads((folder / "metrics.json").read_text())
    for model in ("lightgbm", "atft_gat_fan", "rank_average", "oracle"):
        assert list(scores["models"][model]["horizons"]) == ["5"]
        assert scores["models"][model]["pooled_sharpe_net"] is not None
    capsys.readouterr()
    run("evaluate", str(folder), "--json")
    assert json.loads(capsys.readouterr().out) == scores
    run("audit", str(folder))
    run("runs", "--out", "all runs")

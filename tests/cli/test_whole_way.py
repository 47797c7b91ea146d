"""From nothing to a scored run with the commands alone, on a market of a few stocks."""

import json
from pathlib import Path

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


def test_prices_become_a_run_whose_file_scores_as_the_run_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("data", "synth", "--stocks", "16", "--days", "200", "--out", "prices.parquet")
    run("data", "build", "--prices", "prices.parquet", "--out", "set.parquet")
    run("train", "--data", "set.parquet", "--epochs", "1", "--n-splits", "1", "--out", "all runs", *SMALL)
    text = capsys.readouterr().out
    (folder,) = (tmp_path / "all runs" / "train").iterdir()
    assert (folder / "report.html").is_file()
    assert f"report: {tmp_path}/all runs/train/{folder.name}/report.html" in text
    assert "Oracle" in text
    run("evaluate", str(folder), "--json")
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "metrics.json").read_text())

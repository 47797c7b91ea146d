"""A run leaves a complete, self-explanatory folder, or refuses its inputs."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import SMALL_RUN, TINY_RUN

from gogooku3.config import load_config
from gogooku3.errors import ConfigError, DataError
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.evaluation.scores import score_predictions
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model
from gogooku3.training import SafeTrainingPipeline


@pytest.fixture(scope="module")
def results(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pipeline = SafeTrainingPipeline(
        "small", small_dataset, SMALL_RUN, runs_dir=tmp_path_factory.mktemp("runs")
    )
    return pipeline.run_pipeline(n_splits=2)


def test_the_results_have_every_key_of_the_contract(results: dict[str, Any]) -> None:
    assert results["total_duration"] > 0
    assert 0.1 < results["peak_memory_gb"] < 8
    assert isinstance(results["best_sharpe"], float)
    assert Path(results["model_path"]).suffix == ".safetensors"
    assert [step["name"] for step in results["steps"]] == [
        "load data",
        "quality features, normalise by day",
        "split walk-forward",
        "build graphs",
        "train LightGBM",
        "solve the linear model",
        "train ATFT-GAT-FAN",
        "score and report",
    ]


def test_the_scores_are_computed_from_the_written_predictions(results: dict[str, Any]) -> None:
    table = pl.read_parquet(results["predictions_path"])
    returns = pl.read_parquet(Path(results["run_dir"]) / "returns.parquet")
    again = score_predictions(table, daily_returns=returns)
    assert json.loads((Path(results["run_dir"]) / "metrics.json").read_text()) == json.loads(
        json.dumps(again)
    )
    assert set(again["models"]) == {"lightgbm", "linear", "atft_gat_fan", "rank_average", "oracle"}


def test_all_models_are_scored_on_the_same_rows(results: dict[str, Any]) -> None:
    table = pl.read_parquet(results["predictions_path"])
    rows = {
        model: table.filter(pl.col("model") == model).select("date", "code", "horizon", "target")
        for model in ("lightgbm", "linear", "atft_gat_fan", "rank_average")
    }
    assert rows["lightgbm"].equals(rows["atft_gat_fan"])
    assert rows["lightgbm"].equals(rows["rank_average"])
    assert rows["lightgbm"].equals(rows["linear"])
    assert results["scores"]["rows"]["lost_by_model"].keys() == {*rows, "oracle"}
    assert not any(results["scores"]["rows"]["lost_by_model"].values())


def test_the_rank_average_of_network_and_lightgbm_is_scored_as_a_model(results: dict[str, Any]) -> None:
    table = pl.read_parquet(results["predictions_path"])
    keys = ["date", "code", "horizon"]
    by_model = {name: table.filter(model=name) for name in ("atft_gat_fan", "lightgbm", "rank_average")}
    for horizon in (1, 20):
        network, baseline, found = (
            each.filter(horizon=horizon).select("date", "code", "prediction") for each in by_model.values()
        )
        expected = rank_average([network, baseline]).with_columns(pl.col("prediction").cast(pl.Float32))
        assert found.equals(expected)
    assert by_model["rank_average"].join(by_model["lightgbm"], on=keys, how="anti").is_empty()
    assert results["best_sharpe"] == results["scores"]["models"]["atft_gat_fan"]["best_fold_sharpe"]


def test_every_test_day_of_every_fold_is_predicted_once(results: dict[str, Any]) -> None:
    manifest = json.loads((Path(results["run_dir"]) / "manifest.json").read_text())
    table = pl.read_parquet(results["predictions_path"]).filter(
        (pl.col("model") == "lightgbm") & (pl.col("horizon") == 1)
    )
    assert not table.select("date", "code").is_duplicated().any()
    for fold in manifest["folds"]:
        days = table.filter(pl.col("fold") == fold["fold"])["date"]
        assert (str(days.min()), str(days.max())) == (fold["test_start"], fold["test_end"])
        assert fold["gap_days"] == fold["embargo_days"] == 20
        assert fold["train_end"] < fold["validation_start"] <= fold["validation_end"] < fold["test_start"]


def test_the_run_folder_explains_itself(results: dict[str, Any]) -> None:
    run = Path(results["run_dir"])
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["data"]["rows"] > 6000
    assert manifest["data"]["prices"]["rows_read"] > 6000
    assert {"torch", "polars", "gogooku3"} <= set(manifest["versions"])
    assert any("window" in entry["reason"] for entry in manifest["dropped"])
    assert "hidden_dim: 16" in (run / "config.yaml").read_text()
    assert "<html" in (run / "report.html").read_text(encoding="utf-8")
    assert pl.read_parquet(run / "graphs.parquet").height >= 10
    for fold in manifest["folds"]:
        edges = pl.read_parquet(
            run / f"fold_{fold['fold']}" / "atft_gat_fan" / "explanations" / "edges.parquet"
        )
        assert str(edges["date"][0]) == fold["test_end"]
    assert 'id="explain-importance"' in (run / "report.html").read_text(encoding="utf-8")
    assert not list(run.rglob("*.tmp")) and not (run / "panel.f32").exists()


def test_the_saved_state_is_enough_to_predict_a_later_day(results: dict[str, Any]) -> None:
    model, state = load_model(Path(results["model_path"]).parent, ATFTGATFANModel)
    assert model.settings["hidden_dim"] == 16
    assert len(state["features"]) == 145
    assert state["normalizer"]["columns"] == state["features"]


def test_the_manifest_records_the_spread_of_the_predictions(results: dict[str, Any]) -> None:
    run = Path(results["run_dir"])
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["seeds"] == [42]
    for fold in manifest["folds"]:
        training = json.loads((run / f"fold_{fold['fold']}" / "atft_gat_fan" / "fit.json").read_text())
        assert fold["prediction_spread"] == training["prediction_spread"]
        assert fold["prediction_spread"].keys() == {"1", "5", "10", "20"}
        assert all(share > 0 for share in fold["prediction_spread"].values())


def test_several_seeds_are_one_model_of_the_table(trained_results: dict[str, Any]) -> None:
    fold = Path(trained_results["run_dir"]) / "fold_0" / "atft_gat_fan"
    assert Path(trained_results["model_path"]) == fold / "seed_1" / "model.safetensors"
    members = [pl.read_parquet(fold / f"seed_{seed}" / "predictions.parquet") for seed in (0, 1)]
    table = pl.read_parquet(trained_results["predictions_path"]).filter(model="atft_gat_fan", horizon=5)
    expected = rank_average(members)["prediction_5d"].cast(pl.Float32)
    assert table["prediction"].equals(expected, check_names=False)
    manifest = json.loads((Path(trained_results["run_dir"]) / "manifest.json").read_text())
    assert manifest["seeds"] == [0, 1]
    models = {"lightgbm", "linear", "atft_gat_fan", "rank_average", "oracle"}
    assert set(trained_results["scores"]["models"]) == models


def test_a_panel_on_disk_changes_no_prediction(
    results: dict[str, Any], small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gogooku3.pipeline.prepare_data.plan_panel", lambda *_: True)
    monkeypatch.setattr("gogooku3.pipeline.score_run.write_report", lambda *_: None)
    mapped = SafeTrainingPipeline("mapped", small_dataset, SMALL_RUN, runs_dir=tmp_path).run_pipeline(
        n_splits=2
    )
    assert pl.read_parquet(mapped["predictions_path"]).equals(pl.read_parquet(results["predictions_path"]))


def test_a_memory_limit_too_small_for_any_panel_is_refused_with_a_sufficient_one(
    small_dataset: Path, tmp_path: Path
) -> None:
    pipeline = SafeTrainingPipeline("tight", small_dataset, SMALL_RUN, runs_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"memory_limit_gb is 0\.1 .* allow 0\.9"):
        pipeline.run_pipeline(n_splits=2, memory_limit_gb=0.1)


def test_too_few_days_are_refused_with_the_days_needed(small_dataset: Path, tmp_path: Path) -> None:
    pipeline = SafeTrainingPipeline(
        "short", small_dataset, {**SMALL_RUN, "split": {"min_train_days": 252}}, runs_dir=tmp_path
    )
    with pytest.raises(DataError, match="230 trading days are too few"):
        pipeline.run_pipeline(n_splits=2)
    assert not list(tmp_path.iterdir()), "a refused run leaves no folder"


def test_a_failure_is_recorded_in_the_run_folder(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("gogooku3.pipeline.score_run.score_series", explode)
    with pytest.raises(OSError, match="no space left"):
        SafeTrainingPipeline("broken", small_dataset, TINY_RUN, runs_dir=tmp_path).run_pipeline(n_splits=1)
    (folder,) = (tmp_path / "broken").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["error"]) == ("failed", "OSError: no space left")
    assert (folder / "predictions.parquet").is_file(), "what was finished is kept"


def test_a_chart_that_fails_does_not_fail_the_run(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise KeyError("6982")

    monkeypatch.setattr("gogooku3.reporting.explanation_charts.graph_picture", explode)
    pipeline = SafeTrainingPipeline("chart", small_dataset, TINY_RUN, runs_dir=tmp_path)
    outcome = pipeline.run_pipeline(n_splits=1)
    manifest = json.loads((Path(outcome["run_dir"]) / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert any("no explanations: KeyError: '6982'" in line for line in manifest["warnings"])
    report = Path(outcome["report_path"]).read_text(encoding="utf-8")
    assert "no explanations" in report and 'id="explanations"' not in report


def test_an_embargo_shorter_than_the_longest_horizon_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    pipeline = SafeTrainingPipeline("leaky", small_dataset, SMALL_RUN, runs_dir=tmp_path)
    with pytest.raises(ConfigError, match="embargo_days is 5 trading days but the longest horizon is 20"):
        pipeline.run_pipeline(n_splits=2, embargo_days=5)


def test_a_wrong_number_of_features_names_the_right_setting(small_dataset: Path, tmp_path: Path) -> None:
    config = {**SMALL_RUN, "dataset": {"feature_columns": ["ret_1d", "ret_5d", "vol_20d"]}}
    pipeline = SafeTrainingPipeline("narrow", small_dataset, config, runs_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"set model\.input_dim=9"):
        pipeline.run_pipeline(n_splits=2)
    assert not list(tmp_path.iterdir())


def test_a_graph_without_returns_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    config = {
        **SMALL_RUN,
        "dataset": {"feature_columns": ["ret_5d", "vol_20d"]},
        "model": {**SMALL_RUN["model"], "input_dim": 8},
    }
    pipeline = SafeTrainingPipeline("blind", small_dataset, config, runs_dir=tmp_path)
    with pytest.raises(DataError, match=r"'ret_1d'.*graph\.return_column"):
        pipeline.run_pipeline(n_splits=2)


def test_a_run_without_graph_with_few_features_and_a_short_fold_warns(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        **SMALL_RUN,
        "dataset": {"feature_columns": ["ret_5d", "vol_20d"]},
        "model": {**SMALL_RUN["model"], "input_dim": None},
        "training": {**SMALL_RUN["training"], "ema_decay": 0.9},
        "graph": {"enabled": False},
        "normalization": {"cross_sectional": {"enabled": False}},
        "split": {"min_train_days": 195},
    }
    outcome = SafeTrainingPipeline("plain", small_dataset, config, runs_dir=tmp_path).run_pipeline(n_splits=1)
    assert Path(outcome["report_path"]).is_file()
    assert load_config(Path(outcome["run_dir"]) / "config.yaml").model.input_dim == 8
    manifest = json.loads((Path(outcome["run_dir"]) / "manifest.json").read_text())
    assert any("fewer than the longest horizon of 20" in line for line in manifest["warnings"])
    assert "warning: a fold tests 15 days" in capsys.readouterr().err

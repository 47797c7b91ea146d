"""The Python examples of the user's guide: names, arguments and defaults, on the embedded market."""

import datetime as dt
import warnings
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.conftest import TINY_RUN

from gogooku3 import (
    ATFTCore,
    ATFTTrainer,
    CrossSectionalNormalizerV2,
    FinancialGraphAttention,
    FinancialGraphBuilder,
    FrequencyAdaptiveNorm,
    LightGBMFinancialBaseline,
    MultiHorizonFinancialLoss,
    ProductionDatasetV3,
    QualityFinancialFeaturesGenerator,
    WalkForwardSplitterV2,
    compute_max_drawdown,
    compute_sharpe_ratio,
    information_coefficient,
    rank_information_coefficient,
    settings,
)
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market
from gogooku3.features.build import build_dataset
from gogooku3.models import ATFTGATFANModel
from gogooku3.training import SafeTrainingPipeline


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty stocks over 330 days: long enough for five folds after a year of training."""
    folder = tmp_path_factory.mktemp("seed")
    market = generate_market(
        SyntheticMarketConfig(n_stocks=60, n_days=330, seed=3, start_date=dt.date(2023, 10, 2))
    )
    write_market(market, folder / "prices.parquet")
    build_dataset(folder / "prices.parquet", folder / "ml_dataset_full.parquet")
    return folder / "ml_dataset_full.parquet"


@pytest.fixture(scope="module")
def data(data_path: Path) -> pl.DataFrame:
    loader = ProductionDatasetV3(data_path=data_path, use_lazy_scan=True, column_projection=True)
    return loader.load_data()


def test_quality_features_take_139_features_to_145(data: pl.DataFrame) -> None:
    generator = QualityFinancialFeaturesGenerator(use_cross_sectional_quantiles=True, sigma_threshold=2.0)
    enhanced = generator.generate_quality_features(data)
    assert enhanced.shape[1] - data.shape[1] == 6
    assert data.width == 2 + 4 + 139


def test_normaliser_splitter_and_graph_run_as_written(data: pl.DataFrame) -> None:
    splitter = WalkForwardSplitterV2(n_splits=5, embargo_days=20, min_train_days=252)
    folds = list(splitter.split(data))
    assert len(folds) == 5 and splitter.validate_split(data)["overlaps"] == []
    train_idx, test_idx = folds[0]
    train_data, test_data = data[train_idx], data[test_idx]
    normalizer = CrossSectionalNormalizerV2(cache_stats=True, robust_clip=5.0)
    normalizer.fit(train_data)
    assert normalizer.transform(train_data).shape == train_data.shape
    assert normalizer.validate_transform(normalizer.transform(test_data))["ok"]

    graph_builder = FinancialGraphBuilder(
        correlation_window=60, include_negative_correlation=True, max_edges_per_node=10
    )
    stock_codes = data["code"].unique()[:50]
    graph = graph_builder.build_graph(data, stock_codes, date_end="2024-12-31")
    assert graph["n_nodes"] == 50 and 100 < graph["n_edges"] <= 500
    looser = FinancialGraphBuilder(
        correlation_threshold=0.3, min_edges_per_node=3, include_negative_correlation=True
    )
    assert looser.build_graph(data, stock_codes, date_end="2024-12-31")["n_edges"] >= 150


def test_the_baseline_runs_as_written(data: pl.DataFrame) -> None:
    baseline = LightGBMFinancialBaseline(
        prediction_horizons=[1, 5, 10, 20], embargo_days=20, normalize_features=True
    )
    baseline.fit(data)
    performance = baseline.evaluate_performance()
    assert list(performance) == [1, 5, 10, 20]
    for metrics in performance.values():
        assert -1 <= metrics["mean_ic"] <= 1 and -1 <= metrics["mean_rank_ic"] <= 1


def test_the_default_network_trains_as_written(data: pl.DataFrame) -> None:
    enhanced = QualityFinancialFeaturesGenerator().generate_quality_features(data)
    days = enhanced["date"].unique().sort()
    train_data = enhanced.filter(pl.col("date").is_between(days[100], days[163]))
    test_data = enhanced.filter(pl.col("date").is_between(days[200], days[262]))
    normalizer = CrossSectionalNormalizerV2().fit(train_data)
    graph = FinancialGraphBuilder().build_graph(data, data["code"].unique(), date_end=days[99])
    model = ATFTGATFANModel(
        input_dim=145,
        hidden_dim=256,
        num_heads=8,
        num_layers=4,
        prediction_horizons=[1, 5, 10, 20],
        graph_info=graph,
    )
    trainer = ATFTTrainer(
        model=model,
        train_data=normalizer.transform(train_data),
        val_data=normalizer.transform(test_data),
        config={
            "epochs": 1,
            "batch_size": 512,
            "learning_rate": 1e-3,
            "mixed_precision": True,
            "gradient_clip": 1.0,
            "progress_bar": False,
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        training_results = trainer.fit()
    assert 5.55e6 <= training_results["n_parameters"] <= 5.65e6
    assert training_results["epochs"] == 1 and "val/rank_ic_5d" in training_results["history"][0]


def test_the_parts_of_the_network_take_the_arguments_of_the_document() -> None:
    core = ATFTCore(input_dim=12, hidden_dim=16, num_heads=2, sequence_length=60)
    assert core(torch.randn(3, 60, 12))[0].shape == (3, 16)
    aggregated, attention_weights = FinancialGraphAttention(in_features=16, out_features=8, num_heads=2)(
        torch.randn(3, 16), torch.rand(3, 3)
    )
    assert aggregated.shape == (3, 16) and attention_weights.shape == (2, 3, 3)
    assert FrequencyAdaptiveNorm(num_features=12, num_frequencies=5)(torch.randn(3, 60, 12)).shape == (
        3,
        60,
        12,
    )
    loss = MultiHorizonFinancialLoss(horizon_weights={1: 1.0, 5: 0.7, 10: 0.5, 20: 0.5})
    assert float(loss(torch.zeros(3, 4), torch.ones(3, 4))) == pytest.approx(2.7 / 4)


def test_the_metrics_take_predictions_and_returns() -> None:
    predictions, returns = torch.randn(40, 25).numpy(), torch.randn(40, 25).numpy() * 0.01
    for score in (information_coefficient, rank_information_coefficient):
        assert abs(score(predictions, returns)) < 0.3
    assert abs(compute_sharpe_ratio(predictions, returns)) < 10
    assert 0 <= compute_max_drawdown(predictions, returns) < 1


def test_the_safe_training_pipeline_runs_as_written(
    data: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.data_dir.name == "data"
    monkeypatch.chdir(tmp_path)
    data.select(data.columns[:16]).filter(pl.col("code").rank("dense") <= 20).write_parquet("few.parquet")
    small = {**TINY_RUN, "dataset": {}, "split": {"min_train_days": 252}}
    pipeline = SafeTrainingPipeline(
        experiment_name="production_training", data_path="few.parquet", model_config=small, verbose=True
    )
    results = pipeline.run_pipeline(n_splits=5, embargo_days=20, memory_limit_gb=8.0)
    assert f"{results['total_duration']:.1f}" and f"{results['best_sharpe']:.3f}"
    assert Path(results["model_path"]).is_file()

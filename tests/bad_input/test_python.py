"""Unusable arguments of the Python API raise our errors, with messages like those of the commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.bad_input.harness import data_set, message_problems

import gogooku3
from gogooku3.errors import GogookuError
from gogooku3.training import SafeTrainingPipeline


def pipeline(data: Path | str = "d.parquet", **settings: Any) -> SafeTrainingPipeline:
    return SafeTrainingPipeline("mine", data, {"model": {"input_dim": None}, **settings})


def splitter(**arguments: Any) -> gogooku3.WalkForwardSplitterV2:
    return gogooku3.WalkForwardSplitterV2(**({"n_splits": 2, "min_train_days": 30} | arguments))


def dataset(**arguments: Any) -> gogooku3.ProductionDatasetV3:
    return gogooku3.ProductionDatasetV3("d.parquet", **arguments)


def normalizer(**arguments: Any) -> gogooku3.CrossSectionalNormalizerV2:
    return gogooku3.CrossSectionalNormalizerV2(**arguments)


def builder(**arguments: Any) -> gogooku3.FinancialGraphBuilder:
    return gogooku3.FinancialGraphBuilder(**arguments)


def network(**arguments: Any) -> Any:
    return gogooku3.ATFTGATFANModel(
        **({"input_dim": 9, "hidden_dim": 8, "num_heads": 2, "num_layers": 1} | arguments)
    )


FRAME = data_set()

CASES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "a missing file": (lambda: pipeline("no.parquet").run_pipeline(), ("no.parquet", "data build")),
    "no folds": (lambda: pipeline().run_pipeline(n_splits=0), ("split.n_splits", "0")),
    "folds below nothing": (lambda: pipeline().run_pipeline(n_splits=-2), ("split.n_splits", "-2")),
    "half a fold": (lambda: pipeline().run_pipeline(n_splits=1.5), ("split.n_splits", "1.5")),  # type: ignore[arg-type]
    "an embargo too short": (lambda: pipeline().run_pipeline(embargo_days=19), ("embargo_days", "19", "20")),
    "no memory": (lambda: pipeline().run_pipeline(memory_limit_gb=0), ("memory_limit_gb", "0")),
    "memory that isn't a number": (
        lambda: pipeline().run_pipeline(memory_limit_gb=float("nan")),
        ("memory_limit_gb", "nan"),
    ),
    "too few days": (lambda: pipeline().run_pipeline(), ("90 trading days", "277")),
    "an unknown setting": (lambda: pipeline(modle={}), ("modle",)),
    "a setting of another type": (lambda: pipeline(model={"num_heads": "many"}), ("model.num_heads", "many")),
    "a configuration that isn't there": (
        lambda: SafeTrainingPipeline("mine", "d.parquet", "no.yaml"),
        ("no.yaml", "model/atft/train"),
    ),
    "a name that is a path": (
        lambda: SafeTrainingPipeline("../x", "d.parquet", {"model": {"input_dim": None}}).run_pipeline(),
        ("../x",),
    ),
    "nothing to resume": (lambda: SafeTrainingPipeline.resume("no"), ("no", "config.yaml")),
    "a data set that isn't there": (lambda: gogooku3.ProductionDatasetV3("no.parquet"), ("no.parquet",)),
    "a feature that isn't there": (lambda: dataset(feature_columns=["z"]), ("z",)),
    "a target as a feature": (lambda: dataset(feature_columns=["target_1d"]), ("target_1d (a target)",)),
    "a target that isn't there": (lambda: dataset(target_columns={7: "z"}), ("{7: z}",)),
    "days turned round": (
        lambda: dataset(start_date="2022-02-01", end_date="2022-01-01"),
        ("2022-02-01", "2022-01-01"),
    ),
    "a day that isn't": (lambda: dataset(start_date="2022-02-31"), ("2022-02-31",)),
    "days that aren't covered": (lambda: dataset(start_date="2030-01-01").load_data(), ("2030-01-01",)),
    "a splitter without folds": (lambda: splitter(n_splits=0), ("n_splits", "0")),
    "a splitter with a short embargo": (lambda: splitter(embargo_days=5), ("embargo_days", "5", "20")),
    "a splitter of too few days": (lambda: list(splitter(min_train_days=80).split(FRAME)), ("90", "80")),
    "a splitter of no rows": (lambda: list(splitter().split(FRAME.clear())), ("no rows",)),
    "a splitter without days": (lambda: list(splitter().split(FRAME.drop("date"))), ("date",)),
    "a splitter of arrays": (lambda: list(splitter().split(np.zeros((90, 3)))), ("date",)),
    "a clip of nothing": (lambda: normalizer(robust_clip=0.0), ("robust_clip", "0")),
    "a normaliser not fitted": (lambda: normalizer().transform(FRAME), ("fit",)),
    "a normaliser without days": (lambda: normalizer().fit(FRAME.drop("date")), ("date",)),
    "a normaliser of other columns": (lambda: normalizer().fit(FRAME).transform(FRAME.drop("x")), ("x",)),
    "a normaliser of no rows": (lambda: normalizer().fit(FRAME.clear()), ("rows",)),
    "quality of nothing": (
        lambda: gogooku3.QualityFinancialFeaturesGenerator().generate_quality_features(
            FRAME.select("date", "code")
        ),
        ("date, code",),
    ),
    "quality twice": (
        lambda: (g := gogooku3.QualityFinancialFeaturesGenerator()).generate_quality_features(
            g.generate_quality_features(FRAME)
        ),
        ("quality_coverage",),
    ),
    "quality beyond no deviation": (
        lambda: gogooku3.QualityFinancialFeaturesGenerator(sigma_threshold=-1),
        ("sigma_threshold", "-1"),
    ),
    "a graph of no window": (lambda: builder(correlation_window=1), ("correlation_window", "1")),
    "a graph of no edge": (lambda: builder(max_edges_per_node=0), ("max_edges_per_node", "0")),
    "a graph beyond correlation": (
        lambda: builder(correlation_threshold=1.5),
        ("correlation_threshold", "1.5"),
    ),
    "a graph of fewer edges than it keeps": (
        lambda: builder(min_edges_per_node=20),
        ("min_edges_per_node", "20", "10"),
    ),
    "a graph of no stocks": (lambda: builder().build_graph(FRAME, [], "2022-03-01"), ("stock_codes",)),
    "a graph of unknown stocks": (lambda: builder().build_graph(FRAME, ["none"], "2022-03-01"), ("none",)),
    "a graph of a day before all": (
        lambda: builder().build_graph(FRAME, ["1301"], "2020-01-01"),
        ("2020-01-01",),
    ),
    "a network of unequal heads": (lambda: network(num_heads=3), ("8", "3")),
    "a network of no features": (lambda: network(input_dim=0), ("input_dim", "0")),
    "a network of no horizons": (lambda: network(prediction_horizons=[]), ("horizons",)),
    "weights for no horizon": (lambda: gogooku3.MultiHorizonFinancialLoss({}), ("horizon",)),
    "weights below nothing": (lambda: gogooku3.MultiHorizonFinancialLoss({1: -1.0}), ("-1",)),
    "a baseline with a short embargo": (
        lambda: gogooku3.LightGBMFinancialBaseline(embargo_days=1),
        ("embargo_days", "1", "20"),
    ),
    "a baseline of no horizon": (
        lambda: gogooku3.LightGBMFinancialBaseline(prediction_horizons=[]),
        ("horizon",),
    ),
    "a baseline not fitted": (lambda: gogooku3.LightGBMFinancialBaseline().evaluate_performance(), ("fit",)),
    "a correlation of unequal lengths": (
        lambda: gogooku3.information_coefficient(np.zeros(3), np.zeros(4)),
        ("3", "4"),
    ),
    "a rank correlation of text": (
        lambda: gogooku3.rank_information_coefficient(["a"], ["b"]),
        ("numbers",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_unusable_arguments_are_refused_with_advice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, words = CASES[name]
    FRAME.write_parquet(tmp_path / "d.parquet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GogookuError) as refused:
        call()
    message = " ".join(str(refused.value).split())
    assert not list(message_problems(message, words)), message
    assert [path.name for path in tmp_path.iterdir()] == ["d.parquet"]

"""One network a seed in a fold, saved apart, averaged by rank; one network is taken as it is."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tests.training.test_trainer import STEPS, TEST, TRAIN, VALIDATION, market, network, settings, trainer

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model
from gogooku3.pipeline.step_log import StepLog
from gogooku3.pipeline.train_network import NetworkFold, NetworkResult, network_seeds, train_networks
from gogooku3.runs.folder import RunFolder
from gogooku3.training.trainer import ATFTTrainer


def config(**training: Any) -> RunConfig:
    """Settings of the small network, with these of training."""
    plain = trainer().config.model_dump()
    plain["training"] |= training
    return RunConfig.from_mapping(plain)


def train(panel: Panel, folder: Path, log: StepLog | None = None, **training: Any) -> NetworkResult:
    fold = NetworkFold(
        number=2,
        train=PanelSlice(panel, TRAIN),
        validation=PanelSlice(panel, VALIDATION),
        test=PanelSlice(panel, TEST),
        market=None,
        schedule=None,
        returns=None,
        saved={"features": list(panel.features)},
        sectors={},
    )
    run = RunFolder(folder, "x")
    return train_networks(fold, config(**training), FinancialGraphBuilder(), run, log or StepLog())


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> NetworkResult:
    return train(market(), tmp_path_factory.mktemp("ensemble"), seeds=[3, 0])


def fold_folder(result: NetworkResult) -> Path:
    return next(folder for folder in result.model_path.parents if folder.name == "fold_2")


def test_an_ensemble_is_the_rank_average_of_its_members_files_bit_for_bit(ensemble: NetworkResult) -> None:
    fold = fold_folder(ensemble)
    members = [pl.read_parquet(fold / f"seed_{seed}" / "predictions.parquet") for seed in (3, 0)]
    assert ensemble.predictions.equals(rank_average(members))
    assert not members[0].equals(members[1])
    assert members[0].columns == ensemble.predictions.columns
    assert ensemble.predictions.select("date", "code").equals(PanelSlice(market(), TEST).keys(STEPS))


def test_every_member_lies_in_a_folder_of_its_own(ensemble: NetworkResult) -> None:
    fold = fold_folder(ensemble)
    assert sorted(path.name for path in fold.iterdir()) == ["explanations", "seed_0", "seed_3"]
    for seed in (0, 3):
        files = sorted(path.name for path in (fold / f"seed_{seed}").iterdir())
        assert files == ["model.json", "model.safetensors", "predictions.parquet", "training.json"]
    assert ensemble.model_path == fold / "seed_0" / "model.safetensors", "the last one given"


def test_a_member_is_the_network_that_its_seed_alone_gives(ensemble: NetworkResult, tmp_path: Path) -> None:
    alone = train(market(), tmp_path, seed=3)
    member = fold_folder(ensemble) / "seed_3"
    assert alone.predictions.equals(pl.read_parquet(member / "predictions.parquet"))
    assert sorted(path.name for path in fold_folder(alone).iterdir()) == [
        "explanations",
        "model.json",
        "model.safetensors",
        "predictions.parquet",
        "training.json",
    ]
    first, second = (
        load_model(folder, ATFTGATFANModel)[0].state_dict() for folder in (member, alone.model_path.parent)
    )
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


def test_one_seed_in_a_list_is_one_network(tmp_path: Path) -> None:
    first, second = train(market(), tmp_path, seeds=[3]), train(market(), tmp_path, seed=3)
    assert first.predictions.equals(second.predictions)
    assert first.model_path.parent.name == "fold_2"
    assert network_seeds(config(seeds=[5, 1])) == (5, 1)
    assert network_seeds(config(seed=9)) == (9,)


def test_the_spread_is_recorded_and_that_of_an_ensemble_is_the_least(ensemble: NetworkResult) -> None:
    spreads = [
        json.loads((fold_folder(ensemble) / f"seed_{seed}" / "training.json").read_text())[
            "prediction_spread"
        ]
        for seed in (3, 0)
    ]
    assert set(ensemble.prediction_spread) == {"1", "5"}
    for horizon, share in ensemble.prediction_spread.items():
        assert share == min(spread[horizon] for spread in spreads) > 0.01
    predictions = pl.read_parquet(fold_folder(ensemble) / "seed_3" / "predictions.parquet")
    by_day = predictions.group_by("date").agg(pl.col("prediction_1d").cast(pl.Float64).std(ddof=0))
    assert spreads[0]["1"] == pytest.approx(by_day["prediction_1d"].mean())


def test_collapsed_predictions_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict = ATFTTrainer.predict

    def constant(self: ATFTTrainer, data: PanelSlice) -> pl.DataFrame:
        return predict(self, data).with_columns(pl.lit(0.1, pl.Float32).alias("prediction_5d"))

    monkeypatch.setattr(ATFTTrainer, "predict", constant)
    log = StepLog()
    result = train(market(), tmp_path, log)
    (warning,) = log.warnings
    assert warning.startswith(
        "fold 2: the network predicts nearly the same for every stock of a day (5d: 0.0"
    )
    assert warning in capsys.readouterr().err
    assert result.prediction_spread["5"] == pytest.approx(0, abs=1e-6)


def test_later_days_change_no_earlier_prediction_of_an_ensemble() -> None:
    panel = market()
    members = [trainer(network(seed), panel, settings(seed=seed)) for seed in (0, 1)]
    for member in members:
        member.fit()
    before = rank_average([member.predict(PanelSlice(panel, TEST)) for member in members])
    panel.values[85:] = 7
    panel.targets[85:] = -7
    after = rank_average([member.predict(PanelSlice(panel, TEST)) for member in members])
    past = before["date"] < panel.dates[85].item()
    assert after.filter(past).equals(before.filter(past))
    assert not after.filter(~past).equals(before.filter(~past))

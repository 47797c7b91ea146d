"""Every model of the plan is trained, saved and read back through one interface."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.training.test_trainer import STEPS, TEST, TRAIN, VALIDATION, market, network, settings, trainer

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.forecaster import LIGHTGBM, LINEAR, NETWORK, FoldData, Workspace
from gogooku3.models.lightgbm_forecaster import LightGBMForecaster
from gogooku3.models.linear_forecaster import LinearForecaster
from gogooku3.models.saving import load_model
from gogooku3.pipeline.fit import FitResult, run_fits
from gogooku3.pipeline.plan import Fit, new_forecaster, plan
from gogooku3.pipeline.run import _least_spread
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.folder import RunFolder
from gogooku3.training.network_forecaster import NetworkForecaster
from gogooku3.training.stop_signals import StopSignals
from gogooku3.training.trainer import ATFTTrainer

CLASSES = {LIGHTGBM: LightGBMForecaster, LINEAR: LinearForecaster, NETWORK: NetworkForecaster}


def config(**training: Any) -> RunConfig:
    """Settings of the small network, with these of training."""
    plain = trainer().config.model_dump()
    plain["training"] |= training
    plain["lightgbm"] |= {"num_boost_round": 10, "min_data_in_leaf": 20}
    plain["split"]["embargo_days"] = 5
    return RunConfig.from_mapping(plain)


def fold_data(panel: Panel) -> FoldData:
    train = range(TRAIN.start, VALIDATION.stop)
    state = {"features": list(panel.features)}
    return FoldData(2, panel, STEPS, train, TRAIN, VALIDATION, TEST, state=state)


def fits_of(model: str, settings: RunConfig) -> list[Fit]:
    return [fit for fit in plan(settings, folds=3) if (fit.model, fit.fold) == (model, 2)]


def train(
    panel: Panel, run: RunFolder, log: StepLog | None = None, model: str = NETWORK, **training: Any
) -> list[FitResult]:
    own = config(**training)
    fold = fold_data(panel)
    return list(run_fits(fits_of(model, own), lambda number: fold, own, run, log or StepLog(), StopSignals()))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FitResult]]:
    """The folder of the fold's networks, and their results."""
    run = RunFolder(tmp_path_factory.mktemp("ensemble"), "x")
    return run.path / "fold_2" / NETWORK, train(market(), run, seeds=[3, 0])


def test_the_plan_lists_every_model_fold_and_seed_once() -> None:
    fits = plan(config(seeds=[5, 1]), folds=2)
    assert len({fit.folder for fit in fits}) == len(fits) == 2 * (1 + 1 + 2)
    assert [(fit.fold, fit.seed, fit.last_seed) for fit in fits if fit.model == NETWORK] == [
        *((0, 5, False), (0, 1, True)),
        *((1, 5, False), (1, 1, True)),
    ]
    assert fits[-1].folder == Path("fold_1/atft_gat_fan/seed_1")
    assert LINEAR not in {fit.model for fit in plan(config(linear_penalty=None), folds=1)}


@pytest.mark.parametrize("model", CLASSES)
def test_a_saved_model_predicts_what_the_trained_one_did(model: str, tmp_path: Path) -> None:
    fold, own = fold_data(market()), config()
    forecaster = new_forecaster(fits_of(model, own)[0], own)
    forecaster.fit(fold, Workspace(tmp_path))
    predictions = forecaster.predict(fold)
    assert predictions.columns == ["date", "code", "prediction_1d", "prediction_5d"]
    assert predictions.select("date", "code").equals(fold.slice(TEST).keys(STEPS))
    files = forecaster.save(tmp_path)
    assert files and all(path.is_file() for path in files)
    again = CLASSES[model].load(tmp_path).predict(fold)
    for column in ("prediction_1d", "prediction_5d"):
        np.testing.assert_allclose(again[column], predictions[column], atol=1e-6)


@pytest.mark.parametrize("model", CLASSES)
def test_a_model_does_not_read_test_targets(model: str, tmp_path: Path) -> None:
    tables = []
    for target in (0.0, 7.0):
        panel = market()
        panel.targets[TEST.start :] = target
        run = RunFolder(tmp_path, f"t{target:.0f}")
        tables.append(train(panel, run, model=model)[0].predictions)
    assert tables[0].equals(tables[1])


def test_the_linear_model_is_the_networks_linear_path(tmp_path: Path) -> None:
    fold, own = fold_data(market()), config()
    forecaster = LinearForecaster(own)
    forecaster.fit(fold, Workspace(tmp_path))
    trained = trainer(config=own)
    trained.fit()
    weights = forecaster.weights.drop("feature").to_numpy()
    np.testing.assert_array_equal(weights, trained.model.linear.weight.numpy())


def test_a_complete_fit_is_read_back_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path, "x")
    first = train(market(), run)
    monkeypatch.setattr("gogooku3.pipeline.fit.run_fit", lambda *_: pytest.fail("trained again"))
    again = train(market(), run)
    assert again[0].predictions.equals(first[0].predictions)
    assert again[0].prediction_spread == first[0].prediction_spread


@pytest.mark.parametrize("name", ["predictions.parquet", "training.json", "model.safetensors", "model.json"])
def test_a_changed_file_of_a_complete_fit_is_refused(name: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "x")
    train(market(), run)
    path = run.path / "fold_2" / NETWORK / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} has changed .* delete"):
        train(market(), run)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name} is missing"):
        train(market(), run)


def test_several_networks_are_stored_in_separate_folders(
    ensemble: tuple[Path, list[FitResult]],
) -> None:
    folder, results = ensemble
    files = {"fit.json", "model.json", "model.safetensors", "predictions.parquet", "training.json"}
    assert sorted(path.name for path in folder.iterdir()) == ["seed_0", "seed_3"]
    assert {path.name for path in (folder / "seed_3").iterdir()} == files
    assert {path.name for path in (folder / "seed_0").iterdir()} == files | {"explanations"}, "the last one"
    for result in results:
        own = pl.read_parquet(folder / f"seed_{result.fit.seed}" / "predictions.parquet")
        assert own.equals(result.predictions)
    assert not results[0].predictions.equals(results[1].predictions)


def test_a_member_of_an_ensemble_equals_the_network_trained_from_its_seed(
    ensemble: tuple[Path, list[FitResult]], tmp_path: Path
) -> None:
    folder, results = ensemble
    run = RunFolder(tmp_path, "x")
    (single,) = train(market(), run, seed=3)
    assert single.predictions.equals(results[0].predictions)
    first, second = (
        load_model(path, ATFTGATFANModel)[0].state_dict()
        for path in (folder / "seed_3", run.path / "fold_2" / NETWORK)
    )
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


def test_one_seed_in_a_list_is_one_network(tmp_path: Path) -> None:
    first, second = (
        train(market(), RunFolder(tmp_path, name), **own)
        for name, own in (("list", {"seeds": [3]}), ("single", {"seed": 3}))
    )
    assert first[0].predictions.equals(second[0].predictions)
    assert first[0].fit.folder == second[0].fit.folder == Path("fold_2/atft_gat_fan")


def test_the_spread_is_recorded_and_that_of_an_ensemble_is_the_least(
    ensemble: tuple[Path, list[FitResult]],
) -> None:
    folder, results = ensemble
    spreads = [
        json.loads((folder / f"seed_{seed}" / "fit.json").read_text())["prediction_spread"] for seed in (3, 0)
    ]
    least = _least_spread(results)
    assert set(least) == {"1", "5"}
    for horizon, share in least.items():
        assert share == min(spread[horizon] for spread in spreads) > 0.01
    by_day = results[0].predictions.group_by("date").agg(pl.col("prediction_1d").cast(pl.Float64).std(ddof=0))
    assert spreads[0]["1"] == pytest.approx(by_day["prediction_1d"].mean())


def test_collapsed_predictions_cause_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict = ATFTTrainer.predict

    def constant(self: ATFTTrainer, data: PanelSlice) -> pl.DataFrame:
        return predict(self, data).with_columns(pl.lit(0.1, pl.Float32).alias("prediction_5d"))

    monkeypatch.setattr(ATFTTrainer, "predict", constant)
    log = StepLog()
    (result,) = train(market(), RunFolder(tmp_path, "x"), log)
    (warning,) = log.warnings
    assert warning.startswith(
        "fold 2, atft_gat_fan predicts nearly the same for every stock of a day (5d: 0.0"
    )
    assert "training.learning_rate" in warning
    assert warning in capsys.readouterr().err
    assert result.prediction_spread["5"] == pytest.approx(0, abs=1e-6)


def test_constant_trees_cause_a_warning(tmp_path: Path) -> None:
    own = config()
    own = own.model_copy(update={"lightgbm": own.lightgbm.model_copy(update={"min_data_in_leaf": 100_000})})
    log, fold = StepLog(), fold_data(market())
    run = RunFolder(tmp_path, "x")
    list(run_fits(fits_of(LIGHTGBM, own), lambda number: fold, own, run, log, StopSignals()))
    (warning,) = log.warnings
    assert warning.startswith("fold 2, lightgbm predicts nearly the same for every stock")
    assert "lightgbm.min_data_in_leaf" in warning


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

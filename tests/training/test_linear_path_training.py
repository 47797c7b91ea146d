"""The trainer's linear path uses its own days only, is exact before the first step, and is what is left."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.test_trainer import (
    FEATURES,
    STEPS,
    TEST,
    TRAIN,
    UNTOUCHED,
    VALIDATION,
    market,
    network,
    settings,
    trainer,
)

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model, save_model
from gogooku3.preprocessing.labels import treat_labels
from gogooku3.training.callbacks import copy_weights
from gogooku3.training.trainer import ATFTTrainer


def still(refit: bool = False, **changes: Any) -> dict[str, Any]:
    """Steps too small to change a weight, in snapshot and windows."""
    snapshot = {"refit": refit, "passes": 0.1, "learning_rate": 1e-30}
    return settings(learning_rate=1e-30, weight_decay=0.0, snapshot=snapshot, **changes)


def ridge(panel: Panel, penalty: float, days: tuple[int, ...]) -> np.ndarray:
    """Closed form over the samples of some days, one stock and day at a time."""
    labels = treat_labels(panel.targets, "zscore")
    weights = []
    for horizon in range(2):
        gram, moment, rows = np.zeros((FEATURES, FEATURES)), np.zeros(FEATURES), 0
        for day in days:
            for stock in np.flatnonzero(panel.mask[day] & (day >= STEPS - 1)):
                label = labels[day, stock, horizon]
                if np.isnan(label):
                    continue
                x = panel.values[day, stock].astype(float)
                gram += np.outer(x, x)
                moment += label * x
                rows += 1
        weights.append(np.linalg.solve(gram + rows * penalty * np.eye(FEATURES), moment))
    return np.stack(weights, axis=1)


def linear_weight(panel: Panel, **changes: Any) -> torch.Tensor:
    fitted = trainer(panel=panel, config=still(**changes))
    fitted.fit()
    return fitted.model.linear.weight


def predictions(fitted: ATFTTrainer, days: range) -> np.ndarray:
    table = fitted.predict(PanelSlice(fitted.panel, days))
    return table.select("prediction_1d", "prediction_5d").to_numpy()


def today(fitted: ATFTTrainer, days: range) -> np.ndarray:
    """What linear path and snapshot predict."""
    rows = fitted.batches.rows(days)
    with torch.no_grad():
        return fitted.model.today_rows(*fitted.batches.today(rows)).numpy()


def holed() -> Panel:
    """A market in which some targets of traded stocks are unknown, others at each horizon."""
    panel = market()
    panel.targets[np.random.default_rng(1).random(panel.targets.shape) < 0.2] = np.nan
    return panel


# --- its days ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("penalty", "refit", "days"),
    [(1.0, False, (*TRAIN,)), (0.01, False, (*TRAIN,)), (0.1, True, (*TRAIN, *VALIDATION))],
)
def test_it_is_the_ridge_regression_on_training_samples_and_after_a_refit_on_validation_too(
    penalty: float, refit: bool, days: tuple[int, ...]
) -> None:
    panel = holed()
    weight = linear_weight(panel, linear_penalty=penalty, refit=refit)
    np.testing.assert_allclose(weight.numpy(), ridge(panel, penalty, days), atol=1e-5)


def test_later_data_do_not_change_it() -> None:
    panel = holed()
    values, targets, mask = panel.values.copy(), panel.targets.copy(), panel.mask.copy()
    rng = np.random.default_rng(9)
    targets[TRAIN.stop :] = np.where(rng.random(targets[TRAIN.stop :].shape) < 0.5, -100, np.nan)
    mask[TRAIN.stop :] = True
    values[TRAIN.stop :] = rng.normal(size=values[TRAIN.stop :].shape)
    changed = replace(panel, values=values, targets=targets, mask=mask)
    assert torch.equal(linear_weight(changed), linear_weight(panel))


# --- exact, and kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_without_a_trained_rest_the_network_predicts_x_w_in_full_precision(
    mixed_precision: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gogooku3.training.trainer.bfloat16_runs_fast", lambda device: True)
    fitted = trainer(config=still(mixed_precision=mixed_precision))
    fitted.fit()
    day, stock = PanelSlice(fitted.panel, TEST).rows(STEPS)
    expected = fitted.panel.values[day, stock] @ fitted.model.linear.weight.numpy()
    found = predictions(fitted, TEST)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(found[:, 0])) > 0.99 * len(found), "no ties: nothing was rounded to bfloat16"


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_training_adds_to_it_and_never_changes_it(ema_decay: float) -> None:
    fitted = trainer(config=settings(linear_penalty=0.5, ema_decay=ema_decay, **UNTOUCHED))
    fitted.fit()
    expected = ridge(fitted.panel, 0.5, (*TRAIN,))
    np.testing.assert_allclose(fitted.model.linear.weight.numpy(), expected, atol=1e-5)
    assert np.abs(predictions(fitted, TEST) - today(fitted, TEST)).max() > 0.01


@pytest.mark.parametrize("off", [{"linear_penalty": None}, {"model": {"use_linear_path": False}}], ids=str)
def test_without_a_penalty_or_switched_off_there_is_no_path(off: dict[str, Any]) -> None:
    fitted = trainer(network(**off.get("model", {})), config=settings(**off))
    results = fitted.fit()
    assert torch.equal(fitted.model.linear.weight, torch.zeros(FEATURES, 2))
    assert "linear" not in results["stages"]
    assert predictions(fitted, TEST).std() > 0


# --- shares of windows and graph ---------------------------------------------------------------------------


def diverged(**changes: Any) -> ATFTTrainer:
    """Windows and graph trained at a learning rate so high that they learn only noise."""
    fitted = trainer(config=settings(epochs=2, learning_rate=3.0, gradient_clip_val=0.0, **changes))
    fitted.fit()
    return fitted


def test_a_failed_stage_is_left_out_and_the_share_is_saved(tmp_path: Path) -> None:
    kept, shrunk = diverged(**UNTOUCHED), diverged()
    assert kept.model.windows_share.tolist() == [1.0, 1.0]
    assert np.abs(predictions(kept, TEST) - today(kept, TEST)).mean() > 0.1
    assert shrunk.model.windows_share.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(predictions(shrunk, TEST), today(shrunk, TEST), rtol=1e-5, atol=1e-6)
    save_model(tmp_path, shrunk.model)
    again = trainer(load_model(tmp_path, ATFTGATFANModel)[0], shrunk.panel)
    assert again.model.windows_share.tolist() == [0.0, 0.0]
    assert np.array_equal(predictions(again, TEST), predictions(shrunk, TEST))
    again.config = trainer(config=settings(**UNTOUCHED)).config
    assert again.fit()["windows_share"] == [1.0, 1.0], "another fit resets the shares"


def test_a_signal_that_only_windows_hold_is_kept() -> None:
    """The label is yesterday's feature."""
    panel = market()
    panel.targets[1:] = np.where(panel.mask[1:, :, None], panel.values[:-1, :, :1], np.nan)
    results = trainer(panel=panel, config=settings(epochs=5)).fit()
    assert max(results["stages"]["snapshot"].values()) < 0.2
    assert min(results["stages"]["shrunk"].values()) > 0.5
    assert min(results["windows_share"]) >= 0.75


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_feature_that_is_not_finite_is_refused_before_any_step(value: float) -> None:
    panel, model = market(), network()
    panel.values[30] = value
    before = copy_weights(model)
    with pytest.raises(DataError, match=r"features or labels of 2024-02-03 are not finite, .*linear path"):
        trainer(model, panel).fit()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_horizon_without_training_labels_is_refused() -> None:
    panel = market()
    panel.targets[: TRAIN.stop, :, 1] = np.nan
    with pytest.raises(DataError, match="needs labels at every horizon"):
        trainer(panel=panel).fit()

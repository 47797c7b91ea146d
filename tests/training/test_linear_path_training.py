"""The trainer's linear path uses training days only, is exact before the first step, and is the fallback."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from panels import make_panel
from tests.training.test_trainer import (
    FEATURES,
    STEPS,
    TEST,
    TRAIN,
    VALIDATION,
    market,
    network,
    settings,
    trainer,
)

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import information_coefficient
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model, save_model
from gogooku3.preprocessing.labels import treat_labels
from gogooku3.training.callbacks import copy_weights
from gogooku3.training.trainer import ATFTTrainer

STILL = {"learning_rate": 1e-30, "weight_decay": 0.0}
"""Steps too small to change a weight."""


def ridge(panel: Panel, penalty: float) -> np.ndarray:
    """Closed form over the samples of the training days, one stock and day at a time."""
    labels = treat_labels(panel.targets[TRAIN.start : TRAIN.stop], "zscore")
    weights = []
    for horizon in range(2):
        gram, moment, rows = np.zeros((FEATURES, FEATURES)), np.zeros(FEATURES), 0
        for day in range(STEPS - 1, TRAIN.stop):
            for stock in np.flatnonzero(panel.mask[day]):
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
    fitted = trainer(panel=panel, config=settings(**STILL, **changes))
    fitted.fit()
    return fitted.model.linear.weight


def tilt(panel: Panel, days: range, weight: torch.Tensor) -> np.ndarray:
    day, stock = PanelSlice(panel, days).rows(STEPS)
    return panel.values[day, stock] @ weight.numpy()


def predictions(fitted: ATFTTrainer, days: range) -> np.ndarray:
    table = fitted.predict(PanelSlice(fitted.panel, days))
    return table.select("prediction_1d", "prediction_5d").to_numpy()


def holed() -> Panel:
    """A market in which some targets of traded stocks are unknown, others at each horizon."""
    panel = market()
    panel.targets[np.random.default_rng(1).random(panel.targets.shape) < 0.2] = np.nan
    return panel


# --- training days only ------------------------------------------------------------------------------------


def test_it_is_the_ridge_regression_on_the_training_samples() -> None:
    panel = holed()
    for penalty in (1.0, 0.01):
        weight = linear_weight(panel, linear_penalty=penalty)
        np.testing.assert_allclose(weight.numpy(), ridge(panel, penalty), atol=1e-5)


def targets_after(panel: Panel) -> Panel:
    targets = panel.targets.copy()
    targets[TRAIN.stop :] *= -100
    return replace(panel, targets=targets)


def features_after(panel: Panel) -> Panel:
    values = panel.values.copy()
    values[TRAIN.stop :] = np.random.default_rng(9).normal(size=values[TRAIN.stop :].shape)
    return replace(panel, values=values)


def stocks_after(panel: Panel) -> Panel:
    mask = panel.mask.copy()
    mask[TRAIN.stop :] = True
    return replace(panel, mask=mask)


def unknown_after(panel: Panel) -> Panel:
    targets = panel.targets.copy()
    targets[VALIDATION.start :, ::2] = np.nan
    return replace(panel, targets=targets)


@pytest.mark.parametrize("change", [targets_after, features_after, stocks_after, unknown_after])
def test_later_data_do_not_change_it(change: Callable[[Panel], Panel]) -> None:
    panel = holed()
    assert torch.equal(linear_weight(change(panel)), linear_weight(panel))


def test_days_before_the_first_full_window_are_not_used() -> None:
    panel = market()
    targets = panel.targets.copy()
    targets[: STEPS - 1] *= -100
    assert torch.equal(linear_weight(replace(panel, targets=targets)), linear_weight(panel))
    targets[STEPS - 1] *= -1
    assert not torch.equal(linear_weight(replace(panel, targets=targets)), linear_weight(panel))


# --- exact, and near the optimum ---------------------------------------------------------------------------


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_an_untrained_network_predicts_x_w_in_full_precision(
    mixed_precision: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gogooku3.training.trainer.bfloat16_runs_fast", lambda device: True)
    fitted = trainer(config=settings(mixed_precision=mixed_precision))
    fitted._solve_linear_path(1.0)
    day, stock = PanelSlice(fitted.panel, TEST).rows(STEPS)
    today = torch.from_numpy(fitted.panel.values[day, stock])
    expected = (today @ fitted.model.linear.weight).numpy()
    found = predictions(fitted, TEST)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert len(np.unique(found[:, 0])) > 0.99 * len(found), "no ties: nothing was rounded to bfloat16"


def test_in_a_planted_linear_market_it_is_near_the_oracle_before_any_step() -> None:
    """Targets are 0.3 of a linear signal plus noise; the oracle has an IC of about 0.3."""
    rng = np.random.default_rng(4)
    days, stocks = 150, 120
    values = rng.normal(size=(days, stocks, FEATURES)).astype(np.float32)
    true = rng.normal(size=FEATURES)
    signal = values @ (true / np.linalg.norm(true))
    targets = 0.3 * signal[:, :, None] + np.sqrt(1 - 0.3**2) * rng.normal(size=(days, stocks, 2))
    panel = make_panel(values, targets)
    parts = PanelSlice(panel, range(80)), PanelSlice(panel, range(80, 100))
    fitted = ATFTTrainer(network(), *parts, settings())
    fitted._solve_linear_path(1.0)
    test = range(110, 150)
    day, stock = PanelSlice(panel, test).rows(STEPS)
    oracle = information_coefficient(signal[day, stock], panel.targets[day, stock, 0], day)
    assert oracle == pytest.approx(0.3, abs=0.04)
    found = predictions(fitted, test)
    for horizon in range(2):
        best = information_coefficient(signal[day, stock], panel.targets[day, stock, horizon], day)
        score = information_coefficient(found[:, horizon], panel.targets[day, stock, horizon], day)
        assert score > 0.97 * best


def test_training_adds_to_it_and_never_changes_it() -> None:
    fitted = trainer(config=settings(epochs=2, linear_penalty=0.5))
    fitted.fit()
    np.testing.assert_allclose(fitted.model.linear.weight.numpy(), ridge(fitted.panel, 0.5), atol=1e-5)
    linear = tilt(fitted.panel, TEST, fitted.model.linear.weight)
    assert np.abs(predictions(fitted, TEST) - linear).max() > 0.01


def test_an_average_of_weights_keeps_it() -> None:
    fitted = trainer(config=settings(epochs=2, linear_penalty=0.5, ema_decay=0.9))
    fitted.fit()
    np.testing.assert_allclose(fitted.model.linear.weight.numpy(), ridge(fitted.panel, 0.5), atol=1e-5)


def test_without_a_penalty_there_is_no_path() -> None:
    fitted = trainer(config=settings(linear_penalty=None, shrink_on_validation=True))
    results = fitted.fit()
    assert torch.equal(fitted.model.linear.weight, torch.zeros(FEATURES, 2))
    assert results["learned_share"] == [1.0, 1.0], "there is no linear path to fall back on"
    assert predictions(fitted, TEST).std() > 0


# --- shrinkage ---------------------------------------------------------------------------------------------


def diverged(model: ATFTGATFANModel | None = None, **changes: Any) -> ATFTTrainer:
    """Trained at a learning rate so high that it learns only noise."""
    config = settings(epochs=2, learning_rate=3.0, gradient_clip_val=0.0, **changes)
    fitted = trainer(model, config=config)
    fitted.fit()
    return fitted


def test_shrinkage_falls_back_to_the_linear_path_when_training_fails() -> None:
    kept, shrunk = diverged(), diverged(shrink_on_validation=True)
    linear = tilt(shrunk.panel, TEST, shrunk.model.linear.weight)
    assert np.abs(predictions(kept, TEST) - linear).mean() > 0.1
    assert kept.model.learned_share.tolist() == [1.0, 1.0]
    assert shrunk.model.learned_share.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(predictions(shrunk, TEST), linear, rtol=1e-5, atol=1e-6)


def test_the_shares_depend_only_on_validation_days() -> None:
    panel = market()
    shares = []
    for own in (panel, targets_of_test_turned(panel)):
        fitted = trainer(panel=own, config=settings(epochs=2, shrink_on_validation=True))
        shares.append(fitted.fit()["learned_share"])
    assert shares[0] == shares[1]


def targets_of_test_turned(panel: Panel) -> Panel:
    targets, values = panel.targets.copy(), panel.values.copy()
    targets[VALIDATION.stop :] *= -100
    values[VALIDATION.stop :] = 9
    return replace(panel, targets=targets, values=values)


def test_shrinkage_keeps_a_learned_signal() -> None:
    """The label is a product of two features, which a linear path cannot express."""
    panel = market()
    product = panel.values[:, :, 0] * panel.values[:, :, 1]
    panel.targets[:] = np.where(panel.mask, product + 0.1 * panel.values[:, :, 2], np.nan)[:, :, None]
    fitted = trainer(panel=panel, config=settings(epochs=12, shrink_on_validation=True))
    results = fitted.fit()
    assert results["best_score"] > 0.3
    assert min(results["learned_share"]) >= 0.75


def test_another_fit_resets_the_shares() -> None:
    fitted = diverged(shrink_on_validation=True)
    assert fitted.model.learned_share.tolist() == [0.0, 0.0]
    again = trainer(fitted.model, config=settings())
    assert again.fit()["learned_share"] == [1.0, 1.0]


def test_shares_and_path_come_back_with_the_same_predictions(tmp_path: Path) -> None:
    fitted = diverged(shrink_on_validation=True)
    save_model(tmp_path, fitted.model)
    again = trainer(load_model(tmp_path, ATFTGATFANModel)[0], fitted.panel)
    assert again.model.learned_share.tolist() == [0.0, 0.0]
    assert np.array_equal(predictions(again, TEST), predictions(fitted, TEST))


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

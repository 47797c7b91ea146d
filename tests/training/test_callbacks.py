"""The callback scores each epoch with the evaluation's metrics and keeps the best."""

from typing import Any

import numpy as np
import pytest
import torch
from panels import make_panel

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.evaluation.metrics import (
    compute_max_drawdown,
    compute_sharpe_ratio,
    information_coefficient,
    rank_information_coefficient,
)
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.callbacks import FinancialMetricsCallback, financial_scores
from gogooku3.training.trainer import ATFTTrainer

DAYS, STOCKS, FEATURES, STEPS = 70, 12, 4, 6


def market(seed: int = 0) -> Panel:
    """A normalised market whose first feature is the day's return."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)).astype(np.float32)
    targets = 0.02 * (0.6 * values[:, :, :1] + 0.8 * rng.normal(size=(DAYS, STOCKS, 2)))
    return make_panel(values, targets)


def trainer(panel: Panel, **changes: Any) -> ATFTTrainer:
    torch.manual_seed(0)
    model = ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=STEPS, dropout=0.0)
    config = {
        "epochs": 1,
        "batch_size": 48,
        "learning_rate": 1e-2,
        "mixed_precision": False,
        "progress_bar": False,
        "logging": {"tensorboard": False},
        "snapshot": {"passes": 0.1, "refit": False},
        "shrink_on_validation": False,
        **changes,
    }
    train, validation = PanelSlice(panel, range(45)), PanelSlice(panel, range(50, 70))
    return ATFTTrainer(model, train, validation, config)


# --- scores ------------------------------------------------------------------------------------------------


def test_scores_equal_those_of_evaluation() -> None:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(8), 10)
    predictions, targets = rng.normal(size=(80, 2)), 0.01 * rng.normal(size=(80, 2))
    targets[rng.random((80, 2)) < 0.1] = np.nan
    scores = financial_scores(predictions, targets, day, (1, 5))
    for column, name in enumerate(("1d", "5d")):
        prediction = predictions[:, column]
        assert scores[f"ic_{name}"] == information_coefficient(prediction, targets[:, column], day)
        assert scores[f"rank_ic_{name}"] == rank_information_coefficient(prediction, targets[:, column], day)
        # A portfolio on the 5-day prediction earns one-day returns, so that no day counts twice.
        assert scores[f"sharpe_{name}"] == compute_sharpe_ratio(prediction, targets[:, 0], day)
        assert scores[f"drawdown_{name}"] == compute_max_drawdown(prediction, targets[:, 0], day)
        spread = np.mean([prediction[day == d].std() for d in range(8)])
        assert scores[f"spread_{name}"] == pytest.approx(spread)


def test_a_mean_over_horizons_counts_a_horizon_without_a_score_as_no_skill() -> None:
    rng = np.random.default_rng(3)
    day = np.repeat(np.arange(5), 8)
    predictions, targets = rng.normal(size=(40, 2)), 0.01 * rng.normal(size=(40, 2))
    both = financial_scores(predictions, targets, day, (1, 5))
    for name in ("ic", "rank_ic", "sharpe"):
        assert both[name] == pytest.approx((both[f"{name}_1d"] + both[f"{name}_5d"]) / 2)
    predictions[:, 1] = 0.2
    one = financial_scores(predictions, targets, day, (1, 5))
    assert np.isnan(one["ic_5d"]) and one["ic"] == one["ic_1d"] / 2
    none = financial_scores(np.zeros((40, 2)), targets, day, (1, 5))
    assert np.isnan(none["ic"]) and np.isnan(none["rank_ic"])


@pytest.mark.parametrize("monitor", ["val/ic", "val/rank_ic", "val/sharpe", "val/loss"])
def test_a_mean_over_horizons_or_the_loss_chooses_the_epoch_where_asked(monitor: str) -> None:
    results = trainer(market(), epochs=4, learning_rate=0.05, early_stopping={"monitor": monitor}).fit()
    scores = [epoch[monitor] for epoch in results["history"]]
    best, choose = (min, np.argmin) if monitor == "val/loss" else (max, np.argmax)
    assert results["best_epoch"] == int(choose(scores))
    assert results["best_score"] == best(scores)
    last = results["history"][-1]
    if monitor != "val/loss":
        assert last[monitor] == pytest.approx((last[f"{monitor}_1d"] + last[f"{monitor}_5d"]) / 2, abs=1e-6)


def test_perfect_predictions_score_one_and_collapsed_ones_nothing() -> None:
    day = np.repeat(np.arange(4), 6)
    targets = np.random.default_rng(1).normal(size=(24, 1))
    perfect = financial_scores(targets, targets, day, (1,))
    assert perfect["ic_1d"] == pytest.approx(1)
    assert perfect["rank_ic_1d"] == pytest.approx(1)
    collapsed = financial_scores(np.full((24, 1), 0.3), targets, day, (1,))
    assert collapsed["spread_1d"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(collapsed["ic_1d"])


def test_the_history_holds_every_score_of_every_epoch_and_its_last_are_those_of_the_weights() -> None:
    panel = market()
    fitted = trainer(panel, epochs=2, early_stopping={"enabled": False})
    history = fitted.fit()["history"]
    names = {
        f"val/{score}_{h}d" for score in ("ic", "rank_ic", "sharpe", "drawdown", "spread") for h in (1, 5)
    }
    names |= {"val/ic", "val/rank_ic", "val/sharpe"}
    assert [epoch["epoch"] for epoch in history] == [0, 1]
    for epoch in history:
        assert set(epoch) == {"epoch", "train/loss", "val/loss", *names}
    part = PanelSlice(panel, range(50, 70))
    predictions = fitted.predict(part)
    day, stock = part.rows(STEPS)
    expected = information_coefficient(predictions["prediction_5d"], panel.targets[day, stock, 1], day)
    assert history[1]["val/ic_5d"] == pytest.approx(expected, abs=1e-5)


def test_the_training_loss_does_not_shrink_with_accumulated_batches() -> None:
    def loss(batches: int) -> float:
        results = trainer(market(), learning_rate=1e-12, accumulate_grad_batches=batches).fit()
        return float(results["history"][0]["train/loss"])

    assert loss(4) == pytest.approx(loss(1), rel=1e-4)


@pytest.mark.parametrize(
    ("monitor", "scores", "best"),
    [
        ("val/rank_ic_5d", [0.1, 0.3, 0.2], 1),
        ("val/loss", [0.3, 0.1, 0.2], 1),
        ("val/rank_ic_5d", [float("nan"), -0.2, -0.3], 1),
        ("val/rank_ic_5d", [0.1, float("nan"), 0.1], 0),
        ("val/rank_ic_5d", [float("nan"), float("nan")], 0),
    ],
)
def test_the_best_epoch_is_the_first_maximum_and_ignores_nan(
    monitor: str, scores: list[float], best: int
) -> None:
    callback = FinancialMetricsCallback(monitor)
    chosen = 0
    for epoch, score in enumerate(scores):
        if callback._improves(score):
            chosen, callback.best_score, callback.best_weights = epoch, score, {}
    assert chosen == best

"""The callbacks score each epoch as evaluation would, keep the best, and keep the graph as of each day."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import (
    compute_max_drawdown,
    compute_sharpe_ratio,
    information_coefficient,
    rank_information_coefficient,
)
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.callbacks import (
    DynamicGraphCallback,
    FinancialMetricsCallback,
    financial_scores,
    returns_on,
)
from gogooku3.training.trainer import ATFTTrainer

DAYS, STOCKS, FEATURES, STEPS = 70, 12, 4, 6


def market(seed: int = 0) -> Panel:
    """A normalised market; its first feature stands for the day's return."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)).astype(np.float32)
    targets = 0.02 * (0.6 * values[:, :, :1] + 0.8 * rng.normal(size=(DAYS, STOCKS, 2)))
    return Panel(
        dates=np.datetime64("2024-01-04") + np.arange(DAYS),
        codes=tuple(f"{s:04}" for s in range(STOCKS)),
        features=tuple(f"f{i}" for i in range(FEATURES)),
        values=values,
        mask=np.ones((DAYS, STOCKS), dtype=bool),
        targets=targets.astype(np.float32),
        horizons=(1, 5),
    )


def trainer(
    panel: Panel, callbacks: tuple[Any, ...] = (), run_dir: Path | None = None, **changes: Any
) -> ATFTTrainer:
    torch.manual_seed(0)
    model = ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=STEPS, dropout=0.0)
    config = {
        "epochs": 1,
        "batch_size": 48,
        "learning_rate": 1e-2,
        "mixed_precision": False,
        "progress_bar": False,
        "logging": {"tensorboard": False},
        **changes,
    }
    train, validation = PanelSlice(panel, range(45)), PanelSlice(panel, range(50, 70))
    return ATFTTrainer(model, train, validation, config, run_dir=run_dir, callbacks=callbacks)


def builder() -> FinancialGraphBuilder:
    return FinancialGraphBuilder(correlation_window=10, max_edges_per_node=2, min_edges_per_node=2)


# --- scores ------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_evaluations_functions() -> None:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(8), 10)
    predictions, targets = rng.normal(size=(80, 2)), 0.01 * rng.normal(size=(80, 2))
    targets[rng.random((80, 2)) < 0.1] = np.nan
    scores = financial_scores(predictions, targets, day, (1, 5))
    for column, name in enumerate(("1d", "5d")):
        mine = predictions[:, column]
        assert scores[f"ic_{name}"] == information_coefficient(mine, targets[:, column], day)
        assert scores[f"rank_ic_{name}"] == rank_information_coefficient(mine, targets[:, column], day)
        # A book on the 5-day prediction still earns one-day returns, so that no day is counted twice.
        assert scores[f"sharpe_{name}"] == compute_sharpe_ratio(mine, targets[:, 0], day)
        assert scores[f"drawdown_{name}"] == compute_max_drawdown(mine, targets[:, 0], day)
        spread = np.mean([mine[day == d].std() for d in range(8)])
        assert scores[f"spread_{name}"] == pytest.approx(spread)


def test_perfect_predictions_score_one_and_collapsed_ones_nothing() -> None:
    day = np.repeat(np.arange(4), 6)
    targets = np.random.default_rng(1).normal(size=(24, 1))
    perfect = financial_scores(targets, targets, day, (1,))
    assert perfect["ic_1d"] == pytest.approx(1)
    assert perfect["rank_ic_1d"] == pytest.approx(1)
    collapsed = financial_scores(np.full((24, 1), 0.3), targets, day, (1,))
    assert collapsed["spread_1d"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(collapsed["ic_1d"])


def test_the_history_holds_every_score_of_every_epoch() -> None:
    results = trainer(market(), epochs=2).fit()
    names = {
        f"val/{score}_{h}d" for score in ("ic", "rank_ic", "sharpe", "drawdown", "spread") for h in (1, 5)
    }
    assert [epoch["epoch"] for epoch in results["history"]] == [0, 1]
    for epoch in results["history"]:
        assert set(epoch) == {"epoch", "train/loss", "val/loss", *names}


def test_the_last_scores_are_those_of_the_weights_they_belong_to() -> None:
    panel = market()
    fitted = trainer(panel)
    history = fitted.fit()["history"][0]
    part = PanelSlice(panel, range(50, 70))
    predictions = fitted.predict(part)
    day, stock = part.rows(STEPS)
    expected = information_coefficient(predictions["prediction_5d"], panel.targets[day, stock, 1], day)
    assert history["val/ic_5d"] == pytest.approx(expected, abs=1e-5)


def test_the_training_loss_does_not_shrink_with_accumulated_batches() -> None:
    def loss(batches: int) -> float:
        results = trainer(market(), learning_rate=1e-12, accumulate_grad_batches=batches).fit()
        return float(results["history"][0]["train/loss"])

    assert loss(4) == pytest.approx(loss(1), rel=1e-4)


def test_a_loss_is_minimised_and_a_score_maximised() -> None:
    results = trainer(market(), epochs=4, learning_rate=0.05, early_stopping={"monitor": "val/loss"}).fit()
    losses = [epoch["val/loss"] for epoch in results["history"]]
    assert results["best_score"] == min(losses)
    assert results["best_epoch"] == int(np.argmin(losses))


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
def test_the_best_epoch_is_the_first_best_whatever_is_unknown(
    monitor: str, scores: list[float], best: int
) -> None:
    callback = FinancialMetricsCallback(monitor)
    chosen = 0
    for epoch, score in enumerate(scores):
        if callback._improves(score):
            chosen, callback.best_score, callback.best_weights = epoch, score, {}
    assert chosen == best


def test_the_file_holds_the_best_weights(tmp_path: Path) -> None:
    fitted = trainer(market(), epochs=3, learning_rate=0.1, run_dir=tmp_path)
    fitted.fit()
    weights = load_file(tmp_path / "best.safetensors")
    assert weights.keys() == fitted.model.state_dict().keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in fitted.model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


# --- the graph ---------------------------------------------------------------------------------------------


class CountingBuilder(FinancialGraphBuilder):
    """Counts the snapshots it was asked for."""

    calls = 0

    def edges_from_returns(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return super().edges_from_returns(*args, **options)


def test_the_graph_is_made_at_the_start_and_again_every_few_epochs() -> None:
    panel = market()
    counting = CountingBuilder(correlation_window=10, max_edges_per_node=2, min_edges_per_node=2)
    callback = DynamicGraphCallback(counting, panel.values[:, :, 0], every_n_epochs=2)
    trainer(panel, (callback,), epochs=5, early_stopping={"patience": 9}).fit()
    months = 3
    assert counting.calls == 3 * months, "at the start, before epoch 2 and before epoch 4"


def test_every_day_is_served_by_the_snapshot_of_its_month() -> None:
    panel = market()
    callback = DynamicGraphCallback(builder(), panel.values[:, :, 0])
    fitted = trainer(panel, (callback,))
    fitted.fit()
    expected = GraphSchedule.build(panel.dates, panel.codes, panel.values[:, :, 0], builder())
    assert callback.schedule is not None
    assert callback.schedule.graphs == expected.graphs
    for day in (20, 40, 69):
        own = expected.graph_for(panel.dates[day])
        batch = fitted.batches.gather([day])
        np.testing.assert_array_equal(batch.neighbours.valid, own.valid)
        np.testing.assert_array_equal(batch.neighbours.index[own.valid], own.neighbours[own.valid])
        assert own.as_of is None or own.as_of < panel.dates[day].item()


def test_later_returns_change_no_graph_of_an_earlier_day() -> None:
    panel = market()
    changed = panel.values[:, :, 0].copy()
    changed[50:] = np.random.default_rng(9).normal(size=changed[50:].shape)
    batches = []
    for returns in (panel.values[:, :, 0], changed):
        fitted = trainer(panel, (DynamicGraphCallback(builder(), returns),))
        fitted.fit()
        batches.append(fitted.batches)
    for day in range(STEPS, 51):
        first, second = (own.gather([day]).neighbours for own in batches)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_standing_graph_knows_nothing_after_the_month_in_which_training_ends() -> None:
    panel = market()
    fitted = trainer(panel, (DynamicGraphCallback(builder(), panel.values[:, :, 0]),))
    fitted.fit()
    standing = fitted.model.graph_info
    last = panel.dates[fitted.train_data.days.stop - 1]
    assert standing is not None and standing.as_of is not None
    assert standing.as_of < last.item() < panel.dates[-1].item()
    expected = GraphSchedule.build(panel.dates, panel.codes, panel.values[:, :, 0], builder())
    assert standing == expected.graph_for(last)


def as_frame(panel: Panel, days: range, column: str = "ret_1d") -> pl.DataFrame:
    day, stock = PanelSlice(panel, days).rows()
    return PanelSlice(panel, days).keys().with_columns(pl.Series(column, panel.values[day, stock, 0]))


def test_returns_may_come_as_a_frame() -> None:
    panel = market()
    schedules = []
    for data in (
        panel.values[:, :, 0],
        as_frame(panel, range(DAYS)).sample(fraction=1, shuffle=True, seed=1),
    ):
        callback = DynamicGraphCallback(builder(), data)
        trainer(panel, (callback,)).fit()
        assert callback.schedule is not None
        schedules.append(callback.schedule.graphs)
    assert schedules[0] == schedules[1]


def test_the_returns_of_a_frame_are_laid_on_the_panels_days_and_stocks() -> None:
    panel = market()
    frame = as_frame(panel, range(10, 20)).filter(pl.col("code") != "0003")
    other = pl.DataFrame({"date": [dt.date(2030, 1, 4), dt.date(2024, 1, 20)], "code": ["0001", "9999"]})
    returns = returns_on(
        panel, pl.concat([frame, other.with_columns(ret_1d=pl.lit(7.0, pl.Float32))]), "ret_1d"
    )
    expected = np.full((DAYS, STOCKS), np.nan, dtype=np.float32)
    expected[10:20] = panel.values[10:20, :, 0]
    expected[:, 3] = np.nan
    np.testing.assert_array_equal(returns, expected)


def test_returns_of_another_market_or_without_the_column_are_refused() -> None:
    panel = market()
    with pytest.raises(DataError, match="needs the column ret_1d"):
        returns_on(panel, as_frame(panel, range(5), "other"), "ret_1d")
    stranger = as_frame(panel, range(5)).with_columns(pl.lit("9999").alias("code")).unique("date")
    with pytest.raises(DataError, match="share no day or no stock"):
        returns_on(panel, stranger, "ret_1d")

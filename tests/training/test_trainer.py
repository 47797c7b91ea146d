"""The trainer finds a planted signal, keeps the best epoch, is reproducible, and never uses test days."""

import datetime as dt
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import polars as pl
import pytest
import torch
from panels import make_panel
from safetensors.torch import load_file
from tests.training.test_batches import one_day

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import ConfigError, DataError
from gogooku3.evaluation.metrics import information_coefficient, rank_information_coefficient
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.callbacks import copy_weights
from gogooku3.training.module import ATFTModule
from gogooku3.training.snapshot_stage import train_snapshot
from gogooku3.training.trainer import ATFTTrainer

DAYS, STOCKS, FEATURES, STEPS = 90, 24, 8, 8
TRAIN, VALIDATION, TEST = range(0, 55), range(60, 75), range(80, 90)


def market(seed: int = 0, strength: float = 0.6) -> Panel:
    """A normalised market whose targets follow today's first feature; not every stock trades every day."""
    rng = np.random.default_rng(seed)
    mask = rng.random((DAYS, STOCKS)) < 0.9
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)) * mask[:, :, None]
    noise = rng.normal(size=(DAYS, STOCKS, 2))
    targets = 0.02 * (strength * values[:, :, :1] + np.sqrt(1 - strength**2) * noise)
    return make_panel(values, np.where(mask[:, :, None], targets, np.nan), mask)


def network(seed: int = 0, **changes: Any) -> ATFTGATFANModel:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"sequence_length": STEPS, "dropout": 0.1, **changes}
    return ATFTGATFANModel(FEATURES, 16, 2, 1, [1, 5], **settings)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "epochs": 1,
        "batch_size": 128,
        "learning_rate": 1e-2,
        "mixed_precision": False,
        "progress_bar": False,
        "logging": {"tensorboard": False},
        **changes,
        "snapshot": {"passes": 1.0, "batch_size": 256, **changes.get("snapshot", {})},
    }


def trainer(
    model: ATFTGATFANModel | None = None, panel: Panel | None = None, config: Any = None, **options: Any
) -> ATFTTrainer:
    panel = panel or market()
    return ATFTTrainer(
        model or network(),
        PanelSlice(panel, TRAIN),
        PanelSlice(panel, VALIDATION),
        config or settings(),
        **options,
    )


def frame(panel: Panel, days: range) -> pl.DataFrame:
    """Rows of a panel as a normalised data set."""
    day, stock = PanelSlice(panel, days).rows()
    return (
        PanelSlice(panel, days)
        .keys()
        .with_columns(
            *(pl.Series(f"target_{h}d", panel.targets[day, stock, i]) for i, h in enumerate(panel.horizons)),
            *(pl.Series(name, panel.values[day, stock, i]) for i, name in enumerate(panel.features)),
        )
    )


def same_weights(first: ATFTGATFANModel, second: ATFTGATFANModel) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


UNTOUCHED = {"shrink_on_validation": False, "snapshot": {"refit": False}}
"""Settings that leave the network as the epochs left it."""


class Watcher(lightning.Callback):
    """Records days and stocks of each epoch's steps, and its weights."""

    def __init__(self) -> None:
        self.trained: list[list[tuple[int, int]]] = []
        self.validated: list[int] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.trained.append([])

    def on_train_batch_end(self, trainer: lightning.Trainer, *rest: Any) -> None:
        self.trained[-1] += [
            (day, stock) for block in rest[2] for stock in block.stocks.tolist() for day in block.days
        ]

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        self.validated.append(trainer.current_epoch)
        self.weights.append(copy_weights(pl_module.model))


# --- learning ----------------------------------------------------------------------------------------------


def test_it_learns_a_planted_signal() -> None:
    panel = market()
    fitted = trainer(panel=panel, config=settings(epochs=2))
    results = fitted.fit()
    assert results["best_score"] > 0.2
    assert results["history"][results["best_epoch"]]["val/ic_1d"] > 0.2
    assert results["epochs"] == len(results["history"]) == 2
    assert results["samples_per_s"] > 0 and results["duration_s"] > 0
    assert results["n_parameters"] == fitted.model.n_parameters
    assert results["precision"] == "32-true"
    assert list(results["stages"]) == ["linear", "snapshot", "windows", "shrunk"]
    for scores in results["stages"].values():
        assert list(scores) == [1, 5] and min(scores.values()) > 0.2
    assert results["windows_share"] == fitted.model.windows_share.tolist()
    assert set(results["windows_share"]) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    json.dumps(results)

    predictions = fitted.predict(PanelSlice(panel, TEST))
    assert predictions.columns == ["date", "code", "prediction_1d", "prediction_5d"]
    assert predictions.select("date", "code").equals(PanelSlice(panel, TEST).keys(STEPS))
    day, stock = PanelSlice(panel, TEST).rows(STEPS)
    score = information_coefficient(predictions["prediction_1d"], panel.targets[day, stock, 0], day)
    assert score > 0.2


def test_every_stage_is_scored_on_validation_days() -> None:
    panel = market()
    fitted = trainer(panel=panel, config=settings(learning_rate=1e-2, **UNTOUCHED))
    results = fitted.fit()
    day, stock = PanelSlice(panel, VALIDATION).rows(STEPS)
    rows = fitted.batches.rows(fitted._served(VALIDATION))
    x, ranks = fitted.batches.today(rows)
    table = fitted.predict(PanelSlice(panel, VALIDATION))
    predicted = table.select("prediction_1d", "prediction_5d").to_torch()
    with torch.no_grad():
        scores = {
            "linear": fitted.model.linear(x),
            "snapshot": fitted.model.linear(x) + fitted.model.snapshot(x, ranks),
            "windows": predicted,
        }
    assert results["stages"].keys() == scores.keys()
    for name, predictions in scores.items():
        for column, horizon in enumerate((1, 5)):
            target = panel.targets[day, stock, column]
            expected = rank_information_coefficient(predictions[:, column], target, day)
            assert results["stages"][name][horizon] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("memory", [{}, {"accumulate_grad_batches": 3, "gradient_checkpointing": True}])
def test_every_epoch_serves_every_training_sample_once_in_a_new_order(memory: dict[str, Any]) -> None:
    watcher = Watcher()
    fitted = trainer(config=settings(epochs=2, **memory), callbacks=[watcher])
    assert fitted.model.gradient_checkpointing == bool(memory)
    fitted.fit()
    assert watcher.validated == [0, 1]
    samples = fitted.batches.samples
    expected = [(int(day), int(stock)) for day, stock in np.argwhere(samples) if day in TRAIN]
    for served in watcher.trained:
        assert sorted(own for own in served if samples[own]) == expected
    assert watcher.trained[0] != watcher.trained[1]


@pytest.mark.parametrize("stops_early", [True, False])
def test_the_model_ends_with_the_best_epoch_or_without_early_stopping_the_last(
    stops_early: bool, tmp_path: Path
) -> None:
    # The learning rate is so high that the last epoch is not the best; early stopping would end after one.
    stopping = {} if stops_early else {"enabled": False, "patience": 0, "min_delta": 0.5}
    config = settings(epochs=4, learning_rate=0.5, early_stopping=stopping, **UNTOUCHED)
    watcher, model = Watcher(), network()
    results = trainer(model, config=config, callbacks=[watcher], run_dir=tmp_path).fit()
    scores = [epoch["val/rank_ic_5d"] for epoch in results["history"]]
    assert len(scores) == 4 and int(np.argmax(scores)) != 3
    kept = int(np.argmax(scores)) if stops_early else 3
    assert (results["best_epoch"], results["best_score"]) == (kept, scores[kept])
    saved = load_file(tmp_path / "best.safetensors")
    assert saved.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, watcher.weights[kept][name]) and torch.equal(weight, saved[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]
    assert not model.training


def test_training_stops_early_when_the_score_no_longer_improves() -> None:
    config = settings(epochs=9, learning_rate=1e-9, early_stopping={"patience": 1, "min_delta": 0.5})
    results = trainer(config=config).fit()
    assert results["stopped_early"]
    assert results["epochs"] == 2


def test_the_seed_determines_the_weights() -> None:
    first, second, other = network(), network(), network()
    trainer(first, config=settings(epochs=2)).fit()
    torch.rand(100)
    trainer(second, config=settings(epochs=2)).fit()
    trainer(other, config=settings(epochs=2, seed=7)).fit()
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_nothing_is_written_without_a_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer(config=settings(logging={"tensorboard": True})).fit()
    assert not list(tmp_path.iterdir())


# --- what may not matter -----------------------------------------------------------------------------------


def test_labels_outside_training_and_validation_days_are_never_loaded() -> None:
    fitted = trainer()
    for day in range(STEPS - 1, DAYS):
        labels = one_day(fitted.batches, day).labels
        assert labels.isfinite().any() == (day in TRAIN or day in VALIDATION)


def test_test_days_change_no_weight() -> None:
    panel, model, other = market(), network(), network()
    targets, values = panel.targets.copy(), panel.values.copy()
    targets[VALIDATION.stop :] *= -100
    values[VALIDATION.stop :] = 9
    # Targets between training and validation are not loaded either.
    targets[TRAIN.stop : VALIDATION.start] *= -100
    trainer(model, panel, settings(epochs=2)).fit()
    trainer(other, replace(panel, targets=targets, values=values), settings(epochs=2)).fit()
    assert same_weights(model, other)


def test_predictions_of_a_day_do_not_depend_on_later_days() -> None:
    panel = market()
    values, mask = panel.values.copy(), panel.mask.copy()
    values[85:] = 7
    mask[85:] = True
    fitted = trainer(panel=panel)
    changed = trainer(fitted.model, replace(panel, values=values, mask=mask))
    until = pl.col("date") < panel.dates[85].item()
    before = fitted.predict(PanelSlice(fitted.panel, TEST)).filter(until)
    after = changed.predict(PanelSlice(changed.panel, TEST)).filter(until)
    assert before.select("date", "code").equals(after.select("date", "code"))
    for name in ("prediction_1d", "prediction_5d"):
        np.testing.assert_allclose(before[name], after[name], atol=1e-6)


def test_without_a_refit_validation_days_choose_but_do_not_train() -> None:
    panel, model, other = market(), network(), network()
    changed = replace(panel, targets=panel.targets.copy())
    changed.targets[VALIDATION.start :] *= -100
    config = settings(epochs=2, early_stopping={"enabled": False}, **UNTOUCHED)
    for own, market_of in ((model, panel), (other, changed)):
        trainer(own, market_of, config).fit()
    assert same_weights(model, other)


def test_a_refit_takes_validation_days_into_linear_path_and_snapshot_only() -> None:
    panel, model, plain = market(), network(), network()
    fitted = trainer(model, panel, settings())
    results = fitted.fit()
    before = trainer(plain, panel, settings(snapshot={"refit": False})).fit()
    assert results["stages"] == before["stages"], "scored before the refit"
    kept, refitted = plain.state_dict(), model.state_dict()
    changed = {name for name, weight in refitted.items() if not torch.equal(weight, kept[name])}
    assert "linear.weight" in changed
    assert all(name.startswith(("linear.", "snapshot.")) for name in changed)
    days = [*fitted._served(TRAIN), *fitted._served(VALIDATION)]
    plain.linear.load_state_dict(model.linear.state_dict())
    train_snapshot(plain, fitted.batches, days, fitted.config, fitted._precision())
    assert all(torch.equal(weight, refitted[name]) for name, weight in plain.state_dict().items())


def test_loss_weights_are_matched_to_horizons_by_key() -> None:
    model, other = network(), network()
    trainer(model, config=settings(loss={"horizon_weights": {1: 1.0, 5: 0.1}})).fit()
    trainer(other, config=settings(loss={"horizon_weights": {5: 0.1, 1: 1.0}})).fit()
    assert same_weights(model, other)


# --- frames ------------------------------------------------------------------------------------------------


def test_frames_train_as_in_the_users_guide() -> None:
    panel, model = market(), network()
    results = ATFTTrainer(
        model=model,
        train_data=frame(panel, TRAIN).sample(fraction=1, shuffle=True, seed=1),
        val_data=frame(panel, range(60, 85)),
        config={
            "epochs": 2,
            "batch_size": 512,
            "learning_rate": 1e-2,
            "mixed_precision": True,
            "gradient_clip": 1.0,
            "progress_bar": False,
        },
    ).fit()
    assert results["epochs"] == 2
    assert results["history"][1]["val/ic_1d"] > 0.1


def test_windows_do_not_cross_the_gap_between_frames() -> None:
    panel = market()
    fitted = ATFTTrainer(network(), frame(panel, TRAIN), frame(panel, range(60, 85)), settings())
    served = np.flatnonzero(fitted.batches.samples_by_day)
    border = len(TRAIN)
    assert served.tolist() == [*range(STEPS - 1, border), *range(border + STEPS - 1, border + 25)]


def test_a_null_feature_of_a_frame_is_the_days_mean() -> None:
    panel = market()
    holed = frame(panel, TRAIN).with_columns(
        pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("f3").alias("f3")
    )
    fitted = ATFTTrainer(network(), holed, frame(panel, range(60, 85)), settings())
    assert np.isfinite(fitted.panel.values).all()
    assert np.isfinite(fitted.fit()["history"][0]["val/loss"])


# --- settings ----------------------------------------------------------------------------------------------


def test_short_names_and_groups_resolve_to_a_full_configuration() -> None:
    config = trainer(
        config=settings(gradient_clip=0.5, scheduler={"type": "one_cycle"}, training={"weight_decay": 0.3})
    ).config
    assert isinstance(config, RunConfig)
    assert config.training.gradient_clip_val == 0.5
    assert config.training.weight_decay == 0.3
    assert config.training.epochs == 1
    assert config.scheduler.type == "one_cycle"
    assert config.model.hidden_dim == 16
    assert config.time_series.sequence_length == STEPS
    assert config.loss.horizon_weights == {1: 1.0, 5: 0.7}


def test_a_full_configuration_is_used_unchanged() -> None:
    config = trainer().config
    assert trainer(config=config).config is config
    with pytest.raises(ConfigError, match="config has sequence_length 8 but the model was built with 9"):
        trainer(network(sequence_length=9), config=config)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"learning_rat": 1.0}, "learning_rat"),
        ({"scheduler": {"tmax": 3}}, "tmax"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": "many"}, "epochs"),
        ({"split": {"embargo_days": 3}}, "embargo_days is 3 trading days but the longest horizon is 5"),
        ({"early_stopping": {"monitor": "val/rank_ic_20d"}}, "monitor"),
        ({"loss": {"horizon_weights": {1: 1.0}}}, "horizon_weights"),
        ({"model": {"hidden_dim": 32}}, "config has hidden_dim 32 but the model was built with 16"),
        ({"time_series": {"sequence_length": 9}}, "config has sequence_length 9 .* built with 8"),
        ({"scheduler": "one_cycle"}, "'scheduler' is a group of settings"),
        ({"seeds": [0, 1]}, r"seeds is \[0, 1\], but a trainer trains one network"),
    ],
)
def test_an_unknown_or_contradictory_setting_is_refused_by_name(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        trainer(config=settings(**changes))


def test_without_a_five_day_horizon_the_first_horizon_chooses_the_epoch() -> None:
    panel = market()
    panel = replace(panel, targets=panel.targets[:, :, :1], horizons=(1,))
    torch.manual_seed(0)
    model = ATFTGATFANModel(FEATURES, 16, 2, 1, [1], sequence_length=STEPS)
    fitted = trainer(model, panel)
    assert fitted.config.early_stopping.monitor == "val/rank_ic_1d"
    results = fitted.fit()
    assert results["best_score"] == results["history"][0]["val/rank_ic_1d"]


# --- data that does not fit --------------------------------------------------------------------------------


def test_validation_before_training_is_refused() -> None:
    panel = market()
    with pytest.raises(DataError, match="after training"):
        ATFTTrainer(network(), PanelSlice(panel, VALIDATION), PanelSlice(panel, TRAIN), settings())
    with pytest.raises(DataError, match="validation must come after training"):
        ATFTTrainer(network(), frame(panel, VALIDATION), frame(panel, TRAIN), settings())
    with pytest.raises(DataError, match="validation must come after training"):
        ATFTTrainer(network(), frame(panel, range(0, 50)), frame(panel, range(49, 80)), settings())


def test_another_number_of_features_is_refused() -> None:
    panel = market()
    narrow = replace(panel, values=panel.values[:, :, :5].copy(), features=panel.features[:5])
    with pytest.raises(DataError, match="takes 8 features but the data has 5; build it with input_dim=5"):
        trainer(panel=narrow)


def test_other_horizons_and_two_panels_are_refused() -> None:
    panel = market()
    with pytest.raises(DataError, match=r"horizons \[1, 20\] and the model \[1, 5\]"):
        trainer(panel=replace(panel, horizons=(1, 20)))
    with pytest.raises(DataError, match="slices of two panels"):
        ATFTTrainer(network(), PanelSlice(panel, TRAIN), PanelSlice(market(1), VALIDATION), settings())
    with pytest.raises(DataError, match="both be frames or both be panel slices"):
        ATFTTrainer(network(), PanelSlice(panel, TRAIN), frame(panel, VALIDATION), settings())
    with pytest.raises(DataError, match="got 0 and"):
        ATFTTrainer(network(), frame(panel, range(0)), frame(panel, VALIDATION), settings())


def test_days_without_a_full_window_are_refused() -> None:
    panel = market()
    with pytest.raises(DataError, match="no training day has a full window of 8 days"):
        ATFTTrainer(network(), PanelSlice(panel, range(5)), PanelSlice(panel, VALIDATION), settings()).fit()
    with pytest.raises(DataError, match="no validation day has a full window of 8 days"):
        ATFTTrainer(network(), frame(panel, TRAIN), frame(panel, range(60, 66)), settings()).fit()


def test_predicting_days_of_another_panel_or_without_a_window_is_refused() -> None:
    fitted = trainer()
    with pytest.raises(DataError, match="another panel"):
        fitted.predict(PanelSlice(market(1), TEST))
    with pytest.raises(DataError, match="no day to predict has a full window"):
        fitted.predict(PanelSlice(fitted.panel, range(4)))


def test_a_non_finite_loss_of_the_windows_stops_before_the_step_and_names_it() -> None:
    panel, model = market(), network()
    # Days before the first full window are in windows only.
    panel.values[2] = np.nan
    before = copy_weights(model)
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step \d+ \(days between 2024-01-"):
        trainer(model, panel, settings(batch_size=2000)).fit()
    for name, weight in model.state_dict().items():
        assert name.startswith(("linear.", "snapshot.")) or torch.equal(weight, before[name]), name


# --- graphs ------------------------------------------------------------------------------------------------


def ring(as_of: dt.date) -> StockGraph:
    """Each stock has the next one as neighbour."""
    neighbours = (np.arange(STOCKS)[:, None] + 1) % STOCKS
    codes = tuple(f"{s:04}" for s in range(STOCKS))
    ones = np.ones((STOCKS, 1), dtype=np.float32)
    return StockGraph(codes, neighbours, ones, ones.astype(bool), as_of)


def test_a_standing_graph_from_the_middle_of_training_warns() -> None:
    model = network(graph_info=ring(dt.date(2024, 2, 1)))
    with pytest.warns(UserWarning, match=r"as of 2024-02-01 .*: 28 training days before have no neighbours"):
        fitted = trainer(model)
    assert not one_day(fitted.batches, 27).inputs.neighbours.valid.any()
    assert one_day(fitted.batches, 28).inputs.neighbours.valid.any()


def test_a_known_standing_graph_and_monthly_graphs_serve_without_a_warning() -> None:
    panel = market()
    builder = FinancialGraphBuilder(correlation_window=10, max_edges_per_node=2, min_edges_per_node=2)
    graphs = GraphSchedule.build(panel.dates, panel.codes, panel.values[:, :, 1], builder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        standing = trainer(network(graph_info=ring(dt.date(2024, 1, 4))), panel)
        monthly = trainer(network(graph_info=ring(dt.date(2024, 3, 1))), panel, graphs=graphs)
        assert one_day(standing.batches, 10).inputs.neighbours.valid.any()
        assert one_day(monthly.batches, 40).inputs.neighbours.index.shape[1] == 2
        assert standing.fit()["epochs"] == 1


# --- the optimiser -----------------------------------------------------------------------------------------

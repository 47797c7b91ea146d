"""Every day uses its month's graph in training and prediction; graphs are rebuilt only on changes."""

import datetime as dt
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from panels import make_panel
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.training.test_batches import one_day

from gogooku3.config import load_config
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import ConfigError, DataError
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.models import ATFTGATFANModel
from gogooku3.training import ATFTTrainer, DynamicGraphCallback
from gogooku3.training.batches import PanelBatches
from gogooku3.training.graph_callback import returns_on

DAYS, STOCKS, FEATURES, STEPS = 70, 12, 4, 6
MONTHS = 3


def market(seed: int = 0) -> Panel:
    """A normalised market whose first feature is the return; half the stocks move against the others."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)).astype(np.float32)
    values[:, :, 0] += rng.normal(size=(DAYS, 1)) * np.where(np.arange(STOCKS) % 2, -1, 1)
    targets = 0.02 * rng.normal(size=(DAYS, STOCKS, 2))
    return make_panel(values, targets)


def trainer(panel: Panel, *callbacks: Any, run_dir: Path | None = None, **changes: Any) -> ATFTTrainer:
    torch.manual_seed(0)
    model = ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=STEPS, dropout=0.0)
    config = {
        "epochs": 1,
        "batch_size": 48,
        "learning_rate": 1e-2,
        "mixed_precision": False,
        "progress_bar": False,
        "early_stopping": {"patience": 9},
        "logging": {"tensorboard": run_dir is not None},
        "snapshot": {"passes": 0.1, "refit": False},
    }
    graphs = changes.pop("graphs", None)
    train, validation = PanelSlice(panel, range(45)), PanelSlice(panel, range(50, 70))
    return ATFTTrainer(
        model,
        train,
        validation,
        {**config, **changes},
        graphs=graphs,
        run_dir=run_dir,
        callbacks=callbacks,
    )


def builder(**changes: Any) -> FinancialGraphBuilder:
    rules = {"correlation_window": 10, "max_edges_per_node": 2, "min_edges_per_node": 2, **changes}
    return FinancialGraphBuilder(**rules)


def schedule_of(panel: Panel, rules: FinancialGraphBuilder, returns: Any = None) -> GraphSchedule:
    returns = panel.values[:, :, 0] if returns is None else returns
    return GraphSchedule.build(panel.dates, panel.codes, returns, rules)


class CountingBuilder(FinancialGraphBuilder):
    """Counts the snapshots built."""

    calls = 0

    def edges_from_returns(self, *args: Any, **options: Any) -> Any:
        type(self).calls += 1
        return super().edges_from_returns(*args, **options)


@pytest.fixture
def counting() -> CountingBuilder:
    CountingBuilder.calls = 0
    return CountingBuilder(correlation_window=10, max_edges_per_node=2, min_edges_per_node=2)


class AtEpoch(DynamicGraphCallback):
    """Sets an attribute before an epoch, as a user may."""

    change: tuple[int, str, Any] = (-1, "", None)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        epoch, name, value = self.change
        if trainer.current_epoch == epoch:
            setattr(self, name, value)
        super().on_train_epoch_start(trainer, pl_module)


# --- as of -------------------------------------------------------------------------------------------------


def test_every_day_is_served_by_the_snapshot_of_its_month() -> None:
    panel = market()
    callback = DynamicGraphCallback(builder(), panel.values[:, :, 0])
    fitted = trainer(panel, callback)
    fitted.fit()
    expected = schedule_of(panel, builder())
    assert callback.schedule is not None
    assert callback.schedule.graphs == expected.graphs
    for day in (20, 40, 69):
        own = expected.graph_for(panel.dates[day])
        neighbours = one_day(fitted.batches, day).inputs.neighbours
        np.testing.assert_array_equal(neighbours.valid, own.valid)
        np.testing.assert_array_equal(neighbours.index[own.valid], own.neighbours[own.valid])
        assert own.as_of is None or own.as_of < panel.dates[day].item()


def test_a_day_is_predicted_with_the_graph_of_its_own_month() -> None:
    """Returns change from day 35 on: after February's graph, before March's (day 57 on)."""
    panel = market()
    changed = panel.values[:, :, 0].copy()
    changed[35:] = np.random.default_rng(9).normal(size=changed[35:].shape)
    predictions = []
    for returns in (panel.values[:, :, 0], changed):
        own = trainer(panel, graphs=schedule_of(panel, builder(), returns))
        for head in own.model.heads.values():
            torch.nn.init.ones_(head[-1].weight)  # heads are zero at the start
        predictions.append(own.predict(PanelSlice(panel, range(50, 70))))
    before, after = (p.with_columns(march=pl.col("date") >= dt.date(2024, 3, 1)) for p in predictions)
    assert before.filter(~pl.col("march")).height > 0
    assert before.filter(~pl.col("march")).equals(after.filter(~pl.col("march"))), "bit for bit"
    assert not before.filter("march").equals(after.filter("march"))


def test_the_standing_graph_uses_no_data_after_training() -> None:
    panel = market()
    fitted = trainer(panel, DynamicGraphCallback(builder(), panel.values[:, :, 0]))
    fitted.fit()
    standing = fitted.model.graph_info
    last = panel.dates[fitted.train_data.days.stop - 1]
    assert standing is not None and standing.as_of is not None
    assert standing.as_of < last.item() < panel.dates[-1].item()
    assert standing == schedule_of(panel, builder()).graph_for(last)


# --- made when it must be ----------------------------------------------------------------------------------


def test_unchanged_graphs_are_built_once(counting: CountingBuilder, caplog: pytest.LogCaptureFixture) -> None:
    panel = market()
    callback = DynamicGraphCallback(counting, panel.values[:, :, 0], every_n_epochs=2)
    with caplog.at_level(logging.INFO, "gogooku3.training.graph_callback"):
        trainer(panel, callback, epochs=5).fit()
    assert counting.calls == MONTHS
    messages = [line for line in caplog.messages if "graphs stay" in line]
    assert [line.split(":")[0] for line in messages] == ["epoch 2", "epoch 4"]


def test_a_given_schedule_is_used_unchanged(counting: CountingBuilder) -> None:
    panel = market()
    schedule = schedule_of(panel, counting)
    callback = DynamicGraphCallback(counting, panel.values[:, :, 0], every_n_epochs=1, schedule=schedule)
    fitted = trainer(panel, callback, epochs=2)
    fitted.fit()
    assert counting.calls == MONTHS and callback.schedule is schedule
    own = schedule.graph_for(panel.dates[60])
    np.testing.assert_array_equal(one_day(fitted.batches, 60).inputs.neighbours.valid, own.valid)


def test_new_rules_between_epochs_rebuild_the_graphs_and_log_the_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    panel = market()
    denser = builder(max_edges_per_node=4, min_edges_per_node=4)
    callback = AtEpoch(builder(), panel.values[:, :, 0], every_n_epochs=2)
    callback.change = (1, "graph_builder", denser)
    with caplog.at_level(logging.INFO, "gogooku3.training.graph_callback"):
        fitted = trainer(panel, callback, epochs=4)
        fitted.fit()
    expected = schedule_of(panel, denser)
    assert callback.schedule is not None and callback.schedule.graphs == expected.graphs
    assert fitted.model.graph_info == expected.graphs[1]
    assert len(one_day(fitted.batches, 60).inputs.neighbours.index[0]) == 4
    # Both strongest neighbours stay, two of four are new: half of the larger graph, in each month with edges.
    assert expected.edge_turnover(schedule_of(panel, builder())) == pytest.approx(0.5 * 2 / 3)
    (message,) = [line for line in caplog.messages if "changed" in line and "graphs stay" not in line]
    assert message.startswith("epoch 2: 3 monthly graphs of 12 stocks, 2 with edges: 48 edges on average")
    assert message.endswith("33% changed")


def test_new_returns_between_epochs_rebuild_the_graphs() -> None:
    panel = market()
    others = np.random.default_rng(4).normal(size=(DAYS, STOCKS))
    callback = AtEpoch(builder(), panel.values[:, :, 0], every_n_epochs=1)
    callback.change = (1, "data", others)
    trainer(panel, callback, epochs=2).fit()
    assert callback.schedule is not None
    assert callback.schedule.graphs == schedule_of(panel, builder(), others).graphs


def test_a_callback_may_serve_another_market_afterwards(counting: CountingBuilder) -> None:
    panel = market()
    shorter = replace(
        panel, **{name: getattr(panel, name)[:65] for name in ("dates", "values", "mask", "targets")}
    )
    callback = DynamicGraphCallback(counting, as_frame(panel, range(DAYS)))
    for own in (panel, panel, shorter):
        torch.manual_seed(0)
        model = ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=STEPS, dropout=0.0)
        parts = PanelSlice(own, range(45)), PanelSlice(own, range(50, 65))
        settings = {"epochs": 1, "progress_bar": False, "logging": {"tensorboard": False}}
        ATFTTrainer(model, *parts, settings, callbacks=(callback,)).fit()
    assert counting.calls == 2 * MONTHS, "for the first market, and for the shorter one"
    assert callback.schedule is not None and len(callback.schedule.snapshot_index) == 65


def test_a_schedule_of_other_rules_or_another_market_is_refused() -> None:
    panel = market()
    schedule, returns = schedule_of(panel, builder()), panel.values[:, :, 0]
    with pytest.raises(ConfigError, match="the schedule was built by FinancialGraphBuilder"):
        DynamicGraphCallback(builder(correlation_threshold=0.3), returns, schedule=schedule)
    shorter = GraphSchedule.build(panel.dates[:60], panel.codes, returns[:60], builder())
    fewer = GraphSchedule.build(panel.dates, panel.codes[:11], returns[:, :11], builder())
    for wrong, size in ((shorter, "12 stocks on 60 days"), (fewer, "11 stocks on 70 days")):
        with pytest.raises(DataError, match=f"{size}, not for the panel's 12 stocks on 70 days"):
            trainer(panel, DynamicGraphCallback(builder(), returns, schedule=wrong)).fit()


def test_size_and_turnover_are_logged_every_epoch(tmp_path: Path) -> None:
    panel = market()
    callback = AtEpoch(builder(), panel.values[:, :, 0], every_n_epochs=2)
    callback.change = (2, "graph_builder", builder(max_edges_per_node=3))
    trainer(panel, callback, run_dir=tmp_path, epochs=3).fit()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()

    def logged(name: str) -> list[float]:
        return [event.value for event in events.Scalars(f"graph/{name}")]

    first, second = schedule_of(panel, builder()), schedule_of(panel, builder(max_edges_per_node=3))
    days = range(45)
    for name in ("edges", "turnover", "negative_share", "mean_abs_correlation", "isolated"):
        expected = [first.means(days)[name]] * 2 + [second.means(days)[name]]
        assert logged(name) == pytest.approx(expected), name
    assert logged("edges")[0] == 2 * STOCKS
    assert 0.2 < logged("negative_share")[0] < 0.8
    assert logged("rebuilt") == pytest.approx([0, 0, second.edge_turnover(first)])


# --- signs and settings, from the configuration to the message ---------------------------------------------


def configured(*overrides: str) -> FinancialGraphBuilder:
    """A run's builder with these overrides."""
    graph = load_config("model/atft/train", ["graph.correlation_window=20", *overrides]).graph
    return FinancialGraphBuilder(**graph.model_dump(exclude={"enabled", "rebuild_every_epochs"}))


def test_a_negative_edge_flips_the_sign_of_the_message() -> None:
    panel = market()
    # Two mirrored stocks have weight -1, two identical ones weight 1.
    returns = np.random.default_rng(1).normal(size=(DAYS, STOCKS))
    returns[:, 1], returns[:, 3] = -returns[:, 0], returns[:, 2]
    rules = configured("graph.max_edges_per_node=1", "graph.min_edges_per_node=1")
    schedule = schedule_of(panel, rules, returns)
    neighbours = one_day(PanelBatches(panel, panel.targets, STEPS, schedule), 40).inputs.neighbours
    torch.testing.assert_close(neighbours.weight[:4, 0], torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    assert neighbours.index[:4, 0].tolist() == [1, 0, 3, 2]
    graph = ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=STEPS).graph
    assert graph is not None
    states = torch.randn(STOCKS, 8)
    aggregated, attention = graph(states, neighbours)
    own, other = attention[:, :, 0, None], attention[:, :, 1, None]
    message = graph.W(states).view(STOCKS, 2, 4)
    torch.testing.assert_close(aggregated[0].view(2, 4), own[0] * message[0] - other[0] * message[1])
    torch.testing.assert_close(aggregated[2].view(2, 4), own[2] * message[2] + other[2] * message[3])


def test_without_negative_correlation_no_batch_holds_a_negative_edge() -> None:
    panel = market()
    both = schedule_of(panel, configured())
    kept = schedule_of(panel, configured("graph.include_negative_correlation=false"))
    for schedule, negative in ((both, True), (kept, False)):
        neighbours = one_day(PanelBatches(panel, panel.targets, STEPS, schedule), 30).inputs.neighbours
        assert neighbours.valid.any() and (neighbours.weight < 0).any() == negative
    assert both.means()["negative_share"] > 0.3 and kept.means()["negative_share"] == 0


def test_a_lower_threshold_and_more_forced_edges_add_edges() -> None:
    """Of unrelated stocks, few correlations reach 0.5, more reach 0.3, but not three for every stock."""
    panel = market()
    returns = np.random.default_rng(2).normal(size=(DAYS, STOCKS))

    def graphs(threshold: float, least: int) -> GraphSchedule:
        rules = (f"graph.correlation_threshold={threshold}", f"graph.min_edges_per_node={least}")
        return schedule_of(panel, configured(*rules), returns)

    strict, loose, looser, default = graphs(0.5, 0), graphs(0.3, 0), graphs(0.3, 3), graphs(0.5, 5)
    for month in range(1, MONTHS):
        own = [schedule.graphs[month] for schedule in (strict, loose, looser, default)]
        numbers = [graph.n_edges for graph in own]
        assert numbers[0] < numbers[1] < numbers[2] < numbers[3]
        assert [graph.valid.sum(axis=1).min() for graph in own[2:]] == [3, 5]
        assert 0.3 <= np.abs(own[1].edge_weight).min() < 0.5 <= np.abs(own[0].edge_weight).min()


# --- returns as a frame ------------------------------------------------------------------------------------


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
        trainer(panel, callback).fit()
        assert callback.schedule is not None
        schedules.append(callback.schedule.graphs)
    assert schedules[0] == schedules[1]


def test_the_returns_of_a_frame_are_aligned_to_the_panel() -> None:
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

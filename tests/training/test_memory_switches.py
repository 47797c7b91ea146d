"""Gradient checkpointing, smaller batches and accumulation take less memory and give the same gradients."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from networks import random_network
from panels import make_panel
from torch import Tensor

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.models import ATFTGATFANModel
from gogooku3.models import temporal as temporal_module
from gogooku3.training import ATFTTrainer, MultiHorizonFinancialLoss
from gogooku3.training.batches import PanelBatches

DAYS, STOCKS, FEATURES, STEPS, MARKET = 60, 12, 5, 10, 3
BENCHMARK = Path(__file__).parents[2] / "benchmarks/memory_switches.py"
Gradients = dict[str, Tensor]


def market(known: float = 1.0) -> Panel:
    """A normalised market of noise, of which a share of the labels is known."""
    rng = np.random.default_rng(0)
    mask = rng.random((DAYS, STOCKS)) < 0.9 if known < 1 else np.ones((DAYS, STOCKS), dtype=bool)
    targets = rng.normal(size=(DAYS, STOCKS, 2)).astype(np.float32)
    targets[rng.random(targets.shape) >= known] = np.nan
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)).astype(np.float32) * mask[:, :, None]
    return make_panel(values, targets, mask)


def schedule(panel: Panel) -> GraphSchedule:
    rules = FinancialGraphBuilder(correlation_window=20, max_edges_per_node=3, min_edges_per_node=3)
    return GraphSchedule.build(panel.dates, panel.codes, panel.values[:, :, 0], rules)


def network(dropout: float = 0.0, checkpointing: bool = False) -> ATFTGATFANModel:
    """A network in training mode."""
    return random_network(
        std=0.2,
        sequence_length=STEPS,
        dropout=dropout,
        market_dim=MARKET,
        gradient_checkpointing=checkpointing,
    ).train()


def batches(panel: Panel) -> PanelBatches:
    state = np.random.default_rng(3).normal(size=(DAYS, MARKET)).astype(np.float32)
    return PanelBatches(panel, panel.targets, STEPS, schedule(panel), market=state)


def step_loss(
    model: ATFTGATFANModel, gathers: PanelBatches, days: list[int], correlation_weight: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The loss of some days, and how many labels of each horizon are known."""
    batch = gathers.gather(days)
    predicted = model(batch.x, batch.step_mask, batch.day_index, batch.neighbours, batch.n_days, batch.market)
    criterion = MultiHorizonFinancialLoss({1: 1.0, 5: 0.7}, correlation_weight)
    loss: Tensor = criterion(predicted, batch.labels, batch.day_index, batch.n_days)
    return loss, (~batch.labels.isnan()).sum(dim=0)


def gradients(model: ATFTGATFANModel) -> Gradients:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found: Gradients, expected: Gradients) -> None:
    """Equal to rounding: a millionth of the largest gradient."""
    assert found.keys() == expected.keys()
    scale = max(float(g.abs().max()) for g in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-6 * scale, rtol=1e-4, msg=name)


def of_one_batch(panel: Panel, days: list[int], correlation_weight: float = 0.0, **options: Any) -> Gradients:
    model = network(**options)
    step_loss(model, batches(panel), days, correlation_weight)[0].backward()
    return gradients(model)


# --- gradient checkpointing --------------------------------------------------------------------------------


def test_checkpointing_gives_the_same_gradients_with_absent_steps_and_the_markets_state() -> None:
    panel, days = market(known=0.8), [30, 31, 40]
    expected = of_one_batch(panel, days)
    assert len(expected) == len(list(network().parameters()))
    assert_same(of_one_batch(panel, days, checkpointing=True), expected)


def test_recomputation_draws_the_same_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin runs the same chunks without recomputing; another mask would differ far more."""
    panel, days = market(), [30, 31]
    torch.manual_seed(7)
    found = of_one_batch(panel, days, dropout=0.4, checkpointing=True)
    again = of_one_batch(panel, days, dropout=0.4, checkpointing=True)
    kept = lambda function, *inputs, **_: function(*inputs)  # noqa: E731
    monkeypatch.setattr(temporal_module, "checkpoint", kept)
    assert_same(found, again)
    assert_same(found, of_one_batch(panel, days, dropout=0.4, checkpointing=True))


def test_checkpointing_leaves_evaluation_as_it_is() -> None:
    panel = market()
    losses = [
        step_loss(network(checkpointing=checkpointing).eval(), batches(panel), [30])[0]
        for checkpointing in (False, True)
    ]
    assert torch.equal(*losses)


# --- accumulation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_days_with_equally_many_labels_accumulate_to_the_gradients_of_one_batch(weight: float) -> None:
    """Also with the correlation in the loss, which is computed per day."""
    panel, days = market(), [30, 31, 40, 41]
    expected = of_one_batch(panel, days, weight)
    for size in (1, 2):
        model, gathers = network(checkpointing=size == 2), batches(panel)
        for start in range(0, 4, size):
            (step_loss(model, gathers, days[start : start + size], weight)[0] * size / 4).backward()
        assert_same(gradients(model), expected)


def test_accumulation_weights_batches_equally_and_one_batch_weights_labels_equally() -> None:
    """A horizon's loss over all labels is the mean of the days' losses, weighted by their known labels."""
    panel, days = market(known=0.6), [30, 31, 40, 41]
    model, gathers = network(), batches(panel)
    whole, counts = step_loss(model, gathers, days)
    by_day = [step_loss(model, gathers, [day]) for day in days]
    assert sum(count for _, count in by_day).tolist() == counts.tolist()
    assert len({tuple(count.tolist()) for _, count in by_day}) > 1

    accumulated = torch.stack([loss.detach() for loss, _ in by_day]).mean()
    assert float(accumulated) != pytest.approx(float(whole.detach()), rel=1e-4)
    for day in days:
        batch = gathers.gather([day])
        predicted = model(batch.x, batch.step_mask, batch.day_index, batch.neighbours, 1, batch.market)
        parts = []
        for column, weight in enumerate((1.0, 0.7)):
            label = batch.labels[:, [column]]
            own = MultiHorizonFinancialLoss({1: weight})(predicted[:, [column]], label)
            parts.append(own / 2 * (~label.isnan()).sum() / counts[column])
        torch.stack(parts).sum().backward()
    assert_same(gradients(model), of_one_batch(panel, days))


class FirstGradients(pl.Callback):
    """Records the gradients of the first optimiser step."""

    found: Gradients | None = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if self.found is None:
            self.found = gradients(pl_module.model)


def test_the_trainers_switches_give_the_gradients_of_the_whole_batch() -> None:
    """Four days at once; one day at a time, accumulated; and each with checkpointing."""

    def first_gradients(batch_size: int, accumulated: int, checkpointing: bool) -> Gradients:
        panel, callback = market(), FirstGradients()
        ATFTTrainer(
            ATFTGATFANModel(**network().settings),
            PanelSlice(panel, range(STEPS, 40)),
            PanelSlice(panel, range(40, 50)),
            {
                "epochs": 1,
                "batch_size": batch_size,
                "accumulate_grad_batches": accumulated,
                "gradient_checkpointing": checkpointing,
                "gradient_clip_val": 0.0,
                "mixed_precision": False,
                "progress_bar": False,
                "logging": {"tensorboard": False},
            },
            graphs=schedule(panel),
            callbacks=(callback,),
        ).fit()
        assert callback.found is not None
        return callback.found

    expected = first_gradients(4 * STOCKS, 1, checkpointing=False)
    assert_same(first_gradients(STOCKS, 4, checkpointing=False), expected)
    assert_same(first_gradients(2 * STOCKS, 2, checkpointing=True), expected)


# --- what they save ----------------------------------------------------------------------------------------


def held_for_backward(checkpointing: bool) -> int:
    """Bytes saved for the backward pass, each storage once, without weights."""
    model, gathers = network(checkpointing=checkpointing), batches(market())
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = step_loss(model, gathers, [30, 31, 40, 41])
    assert loss.requires_grad
    return sum(held.values())


def test_checkpointing_keeps_less_than_half_for_the_backward_pass() -> None:
    assert held_for_backward(checkpointing=True) < 0.5 * held_for_backward(checkpointing=False)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's peak mark is Linux's")
def test_the_benchmark_measures_every_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    spec = importlib.util.spec_from_file_location("memory_switches", BENCHMARK)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for arm in benchmark.ARMS:
        found = benchmark.measure(arm, rows=32, hidden=16, steps=21, features=8, repeats=1)
        assert found["arm"] == arm and found["ms_per_row"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's peak mark is Linux's")
def test_the_benchmark_runs_an_arm_in_a_separate_process() -> None:
    command = [sys.executable, str(BENCHMARK), "--arm", "both", "--rows", "32", "--hidden", "16"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout).keys() == {"arm", "peak_mb", "ms_per_row"}

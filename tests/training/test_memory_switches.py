"""Gradient checkpointing, smaller batches and accumulation take less memory and give the same gradients."""

import importlib.util
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
from gogooku3.training.batches import Block, PanelBatches

DAYS, STOCKS, FEATURES, STEPS, MARKET = 60, 16, 5, 10, 3
BENCHMARK = Path(__file__).parents[2] / "benchmarks/memory_switches.py"
Gradients = dict[str, Tensor]
GROUPS = np.arange(STOCKS).reshape(4, 4)
BLOCKS = [Block(range(30, 45), own) for own in GROUPS]
"""Four blocks of equal size, in February 2024."""


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
    model: ATFTGATFANModel, gathers: PanelBatches, blocks: list[Block], correlation_weight: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The loss of some blocks, and how many labels of each horizon are known."""
    batch = gathers.gather(blocks)
    predicted = model(*batch.inputs)
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


def of_one_batch(panel: Panel, blocks: list[Block] = BLOCKS, **options: Any) -> Gradients:
    model = network(**options)
    step_loss(model, batches(panel), blocks)[0].backward()
    return gradients(model)


# --- gradient checkpointing --------------------------------------------------------------------------------


def test_checkpointing_gives_the_same_gradients_with_absent_steps_and_gaps() -> None:
    panel = market(known=0.8)
    blocks = [*BLOCKS[:2], Block(range(25, 27), GROUPS[3]), Block(range(10, 20), GROUPS[0])]
    expected = of_one_batch(panel, blocks)
    assert len(expected) == len(list(network().parameters()))
    assert_same(of_one_batch(panel, blocks, checkpointing=True), expected)


def test_recomputation_draws_the_same_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin runs the same chunks without recomputing; another mask would differ far more."""
    panel = market()
    found = of_one_batch(panel, dropout=0.4, checkpointing=True)
    kept = lambda function, *inputs, **_: function(*inputs)  # noqa: E731
    monkeypatch.setattr(temporal_module, "checkpoint", kept)
    assert_same(found, of_one_batch(panel, dropout=0.4, checkpointing=True))


# --- accumulation ------------------------------------------------------------------------------------------


def test_accumulation_weights_batches_equally_and_one_batch_weights_labels_equally() -> None:
    """A horizon's loss over all labels is the mean of the blocks' losses, weighted by their known labels."""
    model, gathers = network(), batches(market(known=0.6))
    whole, counts = step_loss(model, gathers, BLOCKS)
    by_block = [step_loss(model, gathers, [block]) for block in BLOCKS]
    assert sum(count for _, count in by_block).tolist() == counts.tolist()
    assert len({tuple(count.tolist()) for _, count in by_block}) > 1
    accumulated = torch.stack([loss.detach() for loss, _ in by_block]).mean()
    assert float(accumulated) != pytest.approx(float(whole.detach()), rel=1e-4)
    by_label = torch.zeros(())
    for block, (_, count) in zip(BLOCKS, by_block, strict=True):
        batch = gathers.gather([block])
        for column, weight in enumerate((1.0, 0.7)):
            own = MultiHorizonFinancialLoss({1: weight})
            loss = own(model(*batch.inputs)[:, [column]], batch.labels[:, [column]])
            by_label = by_label + loss / 2 * count[column] / counts[column]
    torch.testing.assert_close(by_label, whole)


class FirstGradients(pl.Callback):
    """Records the gradients of the first optimiser step."""

    found: Gradients | None = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if self.found is None:
            self.found = gradients(pl_module.model)


def test_the_trainers_switches_give_the_gradients_of_the_whole_batch() -> None:
    """A month in one step of two blocks; a block at a time, accumulated; and smaller, with checkpointing."""

    def first_gradients(batch_size: int, accumulated: int, checkpointing: bool) -> Gradients:
        panel, callback = market(), FirstGradients()
        panel.mask[:STEPS] = panel.mask[:, 12:] = False
        ATFTTrainer(
            ATFTGATFANModel(**network().settings),
            PanelSlice(panel, range(28, 51)),  # in February
            PanelSlice(panel, range(51, 60)),
            {
                "epochs": 1,
                "batch_size": batch_size,
                "accumulate_grad_batches": accumulated,
                "gradient_checkpointing": checkpointing,
                "gradient_clip_val": 0.0,
                "mixed_precision": False,
                "progress_bar": False,
                "logging": {"tensorboard": False},
                "snapshot": {"passes": 0.1, "refit": False},
            },
            callbacks=(callback,),
        ).fit()
        assert callback.found is not None
        return callback.found

    month = 23
    expected = first_gradients(12 * month, 1, checkpointing=False)
    assert_same(first_gradients(6 * month, 2, checkpointing=False), expected)
    assert_same(first_gradients(3 * month, 4, checkpointing=True), expected)


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
        loss, _ = step_loss(model, gathers, BLOCKS)
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

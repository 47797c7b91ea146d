"""A training step never reads a value on the host, which would wait for a GPU."""

from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from tests.training.test_trainer import market, network, settings, trainer
from torch.utils._python_dispatch import TorchDispatchMode

from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.training import module as module_file
from gogooku3.training.nan_guard import NanGuard

HOST_READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "unique")
"""Operators that return a value to the host, or whose output shape depends on values."""


class NoHostReads(TorchDispatchMode):
    """Refuses operators that wait for a GPU, and counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name.startswith(HOST_READS) or by_mask:
            raise AssertionError(f"{func} makes the host wait for the device")
        self.seen += 1
        return func(*args, **(kwargs or {}))


class Watched(lightning.Callback):
    """Runs every training batch under `NoHostReads`, including Lightning's part."""

    def __init__(self) -> None:
        self.mode: NoHostReads | None = None
        self.seen: list[int] = []

    def on_train_batch_start(self, *rest: Any) -> None:
        self.mode = NoHostReads()
        self.mode.__enter__()

    def on_train_batch_end(self, *rest: Any) -> None:
        assert self.mode is not None
        self.mode.__exit__(None, None, None)
        self.seen.append(self.mode.seen)


@pytest.mark.parametrize("read", ["loss.item()", "bool(loss > 0)", "many[many > 0]", "many.nonzero()"])
def test_the_dispatch_mode_detects_host_reads(read: str) -> None:
    loss, many = torch.tensor(1.0), torch.ones(3)
    with pytest.raises(AssertionError, match="makes the host wait"), NoHostReads():
        eval(read, {"loss": loss, "many": many})


@pytest.mark.parametrize("correlation_weight", [0.0, 1.0])
def test_a_training_step_never_waits_for_the_device(
    correlation_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gather, forward and backward pass, loss, clipping, optimiser, schedule, logging: the whole step."""
    monkeypatch.setattr(module_file, "NanGuard", lambda device: NanGuard(device, every=1000))
    panel, watched = market(), Watched()
    builder = FinancialGraphBuilder(correlation_window=10, max_edges_per_node=3, min_edges_per_node=1)
    graphs = GraphSchedule.build(panel.dates, panel.codes, panel.values[:, :, 0], builder)
    rng = np.random.default_rng(0)
    config = settings(epochs=1, loss={"correlation_weight": correlation_weight})
    fitted = trainer(
        network(market_dim=2),
        panel,
        config,
        graphs=graphs,
        market=rng.normal(size=(panel.n_days, 2)).astype(np.float32),
        callbacks=[watched],
    )
    fitted.fit()
    assert len(watched.seen) > 1 and min(watched.seen) > 100

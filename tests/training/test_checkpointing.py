"""A training that is cut off at any batch goes on to the bits of an unbroken one."""

import shutil
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from tests.training.test_trainer import market, network, settings, trainer

from gogooku3.data.panel import Panel
from gogooku3.errors import Interrupted
from gogooku3.training import checkpoint_store
from gogooku3.training.checkpoint_store import CheckpointStore
from gogooku3.training.checkpointing import Resumption
from gogooku3.training.stop_signals import StopSignals

ALWAYS = 1e-9
"""Minutes between checkpoints, so that there is one after every step."""


def fit(
    panel: Panel, folder: Path, config: dict[str, Any], stop: StopSignals | None = None, **options: Any
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights and the history of a training that goes on from the checkpoints in a folder."""
    kept = Resumption(CheckpointStore(folder, pytest.fail), ALWAYS, stop or StopSignals())
    trained = trainer(network(dropout=0.3), panel, config, resumption=kept, **options)
    outcome = trained.fit()
    del outcome["duration_s"], outcome["samples_per_s"]
    return trained.model.state_dict(), outcome


def configuration(**changes: Any) -> dict[str, Any]:
    return settings(epochs=2, ema_decay=0.9, scheduler={"warmup_steps": 3}, **changes)


@pytest.mark.parametrize(("accumulate", "batch_size"), [(1, 256), (3, 128)])
def test_from_every_checkpoint_the_end_is_the_same(
    accumulate: int, batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_store, "KEPT", 1000)
    panel = market()
    config = configuration(accumulate_grad_batches=accumulate, batch_size=batch_size)
    weights, outcome = fit(panel, tmp_path / "all", config)
    numbers = sorted(path.stem for path in (tmp_path / "all").glob("*.json"))
    assert len(numbers) > 3
    for number in numbers:
        only = tmp_path / number
        only.mkdir()
        for suffix in (".json", ".safetensors"):
            shutil.copy(tmp_path / "all" / f"{number}{suffix}", only)
        again, history = fit(panel, only, config)
        assert history == outcome, number
        assert all(torch.equal(weights[name], weight) for name, weight in again.items()), number


def test_a_request_to_stop_writes_a_checkpoint_at_the_next_batch(tmp_path: Path) -> None:
    panel = market()
    stop = StopSignals()

    class Request(lightning.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            stop.requested = signal.SIGTERM

    with pytest.raises(Interrupted) as stopped:
        fit(panel, tmp_path / "cut", configuration(), stop, callbacks=[Request()])
    assert stopped.value.exit_code == 143
    found = CheckpointStore(tmp_path / "cut", pytest.fail).newest()
    assert found is not None and (found[1]["epoch"], found[1]["batch"]) == (0, 1)
    whole, cut = (
        fit(panel, tmp_path / "whole", configuration()),
        fit(panel, tmp_path / "cut", configuration()),
    )
    assert whole[1] == cut[1]
    assert all(torch.equal(cut[0][name], weight) for name, weight in whole[0].items())

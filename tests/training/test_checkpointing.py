"""A training interrupted at any batch ends bit-identical to an uninterrupted one; damaged checkpoints."""

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
from gogooku3.training import checkpointing
from gogooku3.training.checkpointing import CheckpointFolder
from gogooku3.training.stop_signals import StopSignals

ALWAYS = 1e-9
"""Minutes between checkpoints, so that there is one after every step."""


def fit(
    panel: Panel, folder: Path, config: dict[str, Any], stop: StopSignals | None = None, **options: Any
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and history of a training that resumes from the checkpoints in a folder."""
    kept = CheckpointFolder(folder, pytest.fail)
    trained = trainer(network(dropout=0.3), panel, config, checkpoints=kept, stop=stop, **options)
    outcome = trained.fit()
    del outcome["duration_s"], outcome["samples_per_s"]
    return trained.model.state_dict(), outcome


def configuration(**changes: Any) -> dict[str, Any]:
    return settings(
        epochs=2, ema_decay=0.9, scheduler={"warmup_steps": 3}, checkpoint_minutes=ALWAYS, **changes
    )


@pytest.mark.parametrize(("accumulate", "batch_size"), [(1, 256), (3, 128)])
def test_resuming_from_every_checkpoint_gives_identical_results(
    accumulate: int, batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "KEPT", 1000)
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
    found = CheckpointFolder(tmp_path / "cut", pytest.fail).newest()
    assert found is not None and (found[1]["epoch"], found[1]["batch"]) == (0, 1)
    whole, cut = (
        fit(panel, tmp_path / "whole", configuration()),
        fit(panel, tmp_path / "cut", configuration()),
    )
    assert whole[1] == cut[1]
    assert all(torch.equal(cut[0][name], weight) for name, weight in whole[0].items())


# --- the folder --------------------------------------------------------------------------------------------


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path, warnings: list[str]) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints", warnings.append)


def save(folder: CheckpointFolder, number: int) -> None:
    folder.save({"weight": torch.full((3,), float(number))}, {"epoch": number, "score": 0.1 + 0.2})


def test_the_newest_checkpoint_round_trips_and_two_are_kept(folder: CheckpointFolder) -> None:
    assert folder.newest() is None
    for number in (1, 2, 3):
        save(folder, number)
    newest = folder.newest()
    assert newest is not None
    assert newest[0]["weight"].tolist() == [3.0, 3.0, 3.0]
    assert newest[1] == {"epoch": 3, "score": 0.1 + 0.2}
    names = sorted(path.name for path in folder.folder.iterdir())
    assert names == ["000002.json", "000002.safetensors", "000003.json", "000003.safetensors"]


@pytest.mark.parametrize("name", ["000002.json", "000002.safetensors"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_is_used(
    name: str, damage: str, folder: CheckpointFolder, warnings: list[str]
) -> None:
    save(folder, 1)
    save(folder, 2)
    path = folder.folder / name
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:middle]), "emptied": b""}[damage])
    newest = folder.newest()
    assert newest is not None and newest[1]["epoch"] == 1
    assert len(warnings) == 1 and "000002.json: this checkpoint is damaged" in warnings[0]
    save(folder, 3)
    assert folder.newest() is not None and len(warnings) == 1


def test_tensors_without_their_json_are_not_a_checkpoint(
    folder: CheckpointFolder, warnings: list[str]
) -> None:
    save(folder, 1)
    save(folder, 2)
    (folder.folder / "000002.json").unlink()
    newest = folder.newest()
    assert newest is not None and newest[1]["epoch"] == 1
    assert not warnings

"""A training interrupted in any stage ends bit-identical to an uninterrupted one; damaged checkpoints."""

import shutil
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from tests.training.test_trainer import market, network, settings, trainer

from gogooku3.data.panel import Panel
from gogooku3.errors import Interrupted
from gogooku3.training import checkpointing
from gogooku3.training.checkpointing import CheckpointFolder
from gogooku3.training.stop_signals import StopSignals
from gogooku3.training.trainer import REFITTED, SNAPSHOT

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


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class StopAt(StopSignals):
    """A signal at some call of `check`; counts the calls."""

    def __init__(self, call: int | None = None) -> None:
        super().__init__()
        self.call, self.calls = call, 0

    def check(self) -> None:
        self.calls += 1
        if self.calls == self.call:
            self.requested = signal.SIGTERM
        super().check()


@pytest.mark.parametrize(("accumulate", "batch_size"), [(1, 512), (3, 128)])
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
        for name in (
            f"{number}.json",
            f"{number}.safetensors",
            f"{SNAPSHOT}.safetensors",
            f"{SNAPSHOT}.sha256",
        ):
            shutil.copy(tmp_path / "all" / name, only)
        again, history = fit(panel, only, config)
        assert history == outcome, number
        assert same(weights, again), number


def test_a_stop_in_any_stage_is_resumed_to_identical_results(tmp_path: Path) -> None:
    """`check` is called after each step of the snapshot, of the epochs, and of the refitted snapshot."""
    panel, config = market(), configuration(batch_size=512)
    counted = StopAt()
    weights, outcome = fit(panel, tmp_path / "whole", config, counted)
    stages = set()
    for call in np.linspace(1, counted.calls, 7).round().astype(int).tolist():
        folder = tmp_path / str(call)
        with pytest.raises(Interrupted) as stopped:
            fit(panel, folder, config, StopAt(call))
        assert stopped.value.exit_code == 143
        names = {path.stem for path in folder.glob("*.safetensors")}
        stages.add("snapshot" if SNAPSHOT not in names else "refit" if call > counted.calls - 3 else "epochs")
        assert REFITTED not in names
        again, history = fit(panel, folder, config)
        assert history == outcome, call
        assert same(weights, again), call
    assert stages == {"snapshot", "epochs", "refit"}
    finished, history = fit(panel, tmp_path / "whole", config)
    assert history == outcome and same(weights, finished)


def test_a_request_to_stop_writes_a_checkpoint_after_the_batch(tmp_path: Path) -> None:
    stop = StopSignals()

    class Request(lightning.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            stop.requested = signal.SIGTERM

    with pytest.raises(Interrupted):
        fit(market(), tmp_path, configuration(), stop, callbacks=[Request()])
    found = CheckpointFolder(tmp_path, pytest.fail).newest()
    assert found is not None and (found[1]["epoch"], found[1]["batch"]) == (0, 1)


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


def test_the_tensors_of_a_stage_round_trip_and_damaged_ones_are_trained_again(
    folder: CheckpointFolder, warnings: list[str]
) -> None:
    assert folder.read_part(SNAPSHOT) is None
    folder.write_part(SNAPSHOT, {"weight": torch.arange(3.0)})
    save(folder, 1)
    found = folder.read_part(SNAPSHOT)
    assert found is not None and found["weight"].tolist() == [0.0, 1.0, 2.0]
    assert folder.newest() is not None and not warnings
    path = folder.folder / f"{SNAPSHOT}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.read_part(SNAPSHOT) is None
    assert len(warnings) == 1 and "training the stage again" in warnings[0]


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

"""Checkpoints of one training: an interrupted training continues bit-identically from the newest one.

Tensors are safetensors, everything else JSON, both with checksums; nothing is unpickled.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from gogooku3.config.groups import TrainingConfig
from gogooku3.files.atomic import write_text_atomic
from gogooku3.models.saving import write_tensors
from gogooku3.training.block_sampler import BlockSampler
from gogooku3.training.callbacks import FinancialMetricsCallback
from gogooku3.training.module import ATFTModule
from gogooku3.training.stop_signals import StopSignals

KEPT = 2
"""Checkpoints kept: the newest, and the previous one in case the newest is damaged."""

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and the JSON state."""


class CheckpointFolder:
    """Numbered checkpoints in one folder.

    The JSON file is written last and holds the checksums of both files, so a checkpoint counts only when it
    is complete.

    Args:
        folder: created by the first `save`.
        warn: called with a message for every damaged checkpoint.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, then delete the oldest ones beyond `KEPT`.

        Args:
            tensors: by name.
            state: JSON values; floats round-trip exactly, NaN included.

        Raises:
            DataError: the disk is full, read-only or gone; the previous checkpoints stay.
        """
        numbers = self._numbers()
        number = max(numbers, default=0) + 1
        checksum = _checksum(write_tensors(self._tensors(number), tensors).read_bytes())
        text = json.dumps(dict(state))
        content = {"tensors": checksum, "state": _checksum(text.encode()), "content": text}
        write_text_atomic(self._state(number), json.dumps(content) + "\n")
        for old in numbers[: max(0, len(numbers) + 1 - KEPT)]:
            self._state(old).unlink(missing_ok=True)
            self._tensors(old).unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """Read the newest undamaged checkpoint; None if there is none."""
        for number in reversed(self._numbers()):
            try:
                return self._read(number)
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                self._warn(
                    f"{self._state(number)}: this checkpoint is damaged ({reason}); using the previous one"
                )
                self._state(number).unlink(missing_ok=True)
        return None

    def write_part(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write the tensors of a finished stage under a name.

        Raises:
            DataError: the disk is full, read-only or gone.
        """
        checksum = _checksum(write_tensors(self._part(name), tensors).read_bytes())
        write_text_atomic(self._part(name).with_suffix(".sha256"), checksum + "\n")

    def read_part(self, name: str) -> dict[str, Tensor] | None:
        """Read what `write_part` wrote; None if it is missing or damaged."""
        from safetensors.torch import load

        path = self._part(name)
        if not path.with_suffix(".sha256").is_file() or not path.is_file():
            return None
        content = path.read_bytes()
        if _checksum(content) != path.with_suffix(".sha256").read_text(encoding="utf-8").strip():
            self._warn(f"{path}: this checkpoint is damaged (checksum mismatch); training the stage again")
            return None
        return load(content)

    def _part(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _read(self, number: int) -> Checkpoint:
        from safetensors.torch import load

        content = json.loads(self._state(number).read_text(encoding="utf-8"))
        weights, text = self._tensors(number).read_bytes(), content["content"]
        if _checksum(weights) != content["tensors"] or _checksum(text.encode()) != content["state"]:
            raise ValueError("checksum mismatch")
        return load(weights), json.loads(text)

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdecimal())

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"

    def _tensors(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"


class CheckpointCallback(pl.Callback):
    """Writes checkpoints during Lightning's loop, and moves the loop to the newest one at the start.

    The position is an epoch and a number of batches, because the order of batches derives from (seed, epoch).
    A checkpoint also holds the weights, their average and the best ones, optimiser, learning-rate schedule,
    every random generator, score history and early stopping. Lightning's own checkpoints are pickles, so they
    are not used.

    Args:
        folder: holds the checkpoints.
        stop: signals, checked after each batch.
        training: `checkpoint_minutes` between two checkpoints within an epoch, which are written between
            optimiser steps (of `accumulate_grad_batches`); the end of an epoch always writes one.
        sampler: training batches.
        metrics: holds score history and best weights.
        stopping: counts the epochs without improvement.

    Attributes:
        finished: the newest checkpoint is of a finished training.
        seconds: training time before the interruption.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        stop: StopSignals,
        training: TrainingConfig,
        sampler: BlockSampler,
        metrics: FinancialMetricsCallback,
        stopping: EarlyStopping,
    ) -> None:
        self._folder, self._stop, self._training = folder, stop, training
        self._sampler, self._metrics, self._stopping = sampler, metrics, stopping
        self._started = self._written = time.monotonic()
        self._pending = self._folder.newest()
        self.finished, self.seconds = False, 0.0
        if self._pending is not None:
            tensors, state = self._pending
            self.finished, self.seconds = bool(state["finished"]), float(state["seconds"])
            metrics.history = list(state["history"])
            metrics.best_epoch, metrics.best_score = state["best_epoch"], state["best_score"]
            metrics.best_weights = _without_prefix("best", tensors) or None
            stopping.best_score, stopping.wait_count = tensors["stopping"], state["waited"]
            # Lightning creates the first epoch's loader before any hook runs.
            sampler.skip(state["epoch"], state["batch"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop.install()
        if self._pending is None:
            return
        assert isinstance(pl_module, ATFTModule)
        tensors, state = self._pending
        epoch, steps = state["epoch"], state["steps"]
        pl_module.model.load_state_dict(_without_prefix("model", tensors))
        if pl_module.average is not None:
            pl_module.average.load_state_dict(_without_prefix("average", tensors))
        _restore_optimizer(trainer.optimizers[0], tensors, state["learning_rates"])
        trainer.lr_scheduler_configs[0].scheduler.load_state_dict(state["schedule"])
        loop = trainer.fit_loop
        done = {"ready": epoch, "started": epoch, "processed": epoch, "completed": epoch}
        loop.epoch_progress.load_state_dict({"total": done, "current": done})
        optimizer_steps = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        optimizer_steps.load_state_dict({"ready": steps, "completed": steps})
        loop.epoch_loop.on_load_checkpoint({"_batches_that_stepped": steps})

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._pending is None:
            if trainer.current_epoch:
                self._save(trainer, pl_module)
        elif not self._pending[1]["batch"]:
            # Creating the epoch's loader draws a random number, so the generators are restored before.
            _restore_generators(*self._pending)
            self._pending = None
        self._stop.check()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._pending is None:
            return
        tensors, state = self._pending
        self._pending = None
        done = state["batch"]
        loop = trainer.fit_loop.epoch_loop
        loop.batch_progress.current.load_state_dict(
            {"ready": done + 1, "started": done, "processed": done, "completed": done}
        )
        loop.batch_progress.is_last_batch = done + 1 == len(self._sampler)
        assert trainer.fit_loop._data_fetcher is not None
        trainer.fit_loop._data_fetcher.fetched += done
        self._metrics.train_losses = list(tensors["train_losses"])
        _restore_generators(tensors, state)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        due = time.monotonic() - self._written >= 60 * self._training.checkpoint_minutes
        if self._stop.requested is None and not due:
            return
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        # Validation follows the last batch, so that checkpoint waits for the end of the epoch.
        if done < len(self._sampler) and done % self._training.accumulate_grad_batches == 0:
            self._save(trainer, pl_module, done)
            self._stop.check()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, pl_module, finished=True)

    def _save(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: int = 0, finished: bool = False
    ) -> None:
        assert isinstance(module, ATFTModule)
        module.check_losses()
        optimizer = trainer.optimizers[0]
        stopping, metrics = self._stopping, self._metrics
        tensors = {
            **_with_prefix("model", module.model.state_dict()),
            **_with_prefix("average", module.average.state_dict() if module.average else {}),
            **_with_prefix("best", metrics.best_weights or {}),
            "stopping": torch.as_tensor(stopping.best_score),
            "generator.torch": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            tensors["generator.cuda"] = torch.cuda.get_rng_state()
        for number, parameter_state in optimizer.state_dict()["state"].items():
            tensors |= _with_prefix(f"optimizer.{number}", parameter_state)
        if batch:
            tensors["train_losses"] = torch.stack(metrics.train_losses)
        numpy_state: Any = np.random.get_state()
        state = {
            "epoch": trainer.current_epoch,
            "batch": batch,
            "steps": trainer.global_step,
            "finished": finished,
            "seconds": self.seconds + time.monotonic() - self._started,
            "learning_rates": [group["lr"] for group in optimizer.param_groups],
            "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "history": metrics.history,
            "best_epoch": metrics.best_epoch,
            "best_score": metrics.best_score,
            "waited": stopping.wait_count,
            "numpy": [numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]],
            "python": random.getstate(),
        }
        self._folder.save(tensors, state)
        self._written = time.monotonic()


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies under longer names; safetensors refuses tensors that share memory."""
    return {f"{prefix}/{name}": tensor.detach().clone() for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): each.clone() for name, each in tensors.items() if name.startswith(start)
    }


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], learning_rates: list[float]
) -> None:
    state = optimizer.state_dict()
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameter_states = {number: _without_prefix(f"optimizer.{number}", tensors) for number in numbers}
    state["state"] = {number: own for number, own in parameter_states.items() if own}
    for group, rate in zip(state["param_groups"], learning_rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict(state)


def _restore_generators(tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["generator.torch"])
    if "generator.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["generator.cuda"])
    np.random.set_state(state["numpy"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""A training that goes on where it was cut off, to the bit: what is kept, when, and how it returns."""

import random
import time
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from gogooku3.training.batches import DayBatchSampler
from gogooku3.training.callbacks import FinancialMetricsCallback
from gogooku3.training.checkpoint_store import CheckpointStore
from gogooku3.training.module import ATFTModule
from gogooku3.training.stop_signals import StopSignals


@dataclass(frozen=True)
class Resumption:
    """Where a training keeps its checkpoints, how often within an epoch, and who may stop it.

    Attributes:
        store: of the checkpoints.
        minutes: between two within an epoch; every epoch ends with one besides.
        stop: asked after each batch.
    """

    store: CheckpointStore
    minutes: float
    stop: StopSignals


class ResumableTraining(pl.Callback):
    """Keeps checkpoints while Lightning's loop runs, and takes the loop to where the newest one was written.

    Order derives from (seed, epoch), so a place in the training is an epoch and a number of batches. With it
    go the weights, their average and the best ones, optimiser, schedule, every random generator, history and
    early stopping. Lightning's own checkpoints are pickles, and are not used.

    Args:
        resumption: where and how often.
        packs: the training batches.
        metrics: holds history and best weights.
        stopping: counts the epochs without improvement.
        accumulate: batches a step of the optimiser; within an epoch, checkpoints are written between steps.

    Attributes:
        finished: whether the newest checkpoint is of a training that had ended.
        seconds: that the training took before it was cut off.
    """

    def __init__(
        self,
        resumption: Resumption,
        packs: DayBatchSampler,
        metrics: FinancialMetricsCallback,
        stopping: EarlyStopping,
        accumulate: int,
    ) -> None:
        self._store, self._stop = resumption.store, resumption.stop
        self._seconds = 60 * resumption.minutes
        self._packs, self._metrics, self._stopping = packs, metrics, stopping
        self._accumulate = accumulate
        self._written = time.monotonic()
        self._found = self._store.newest()
        self._started = time.monotonic()
        self.finished = bool(self._found and self._found[1]["finished"])
        self.seconds = float(self._found[1]["seconds"]) if self._found else 0.0
        if self._found:
            self._restore_scores(*self._found)
            # Before Lightning's loop is set up, for it makes the first epoch's loader then.
            packs.skip(self._found[1]["epoch"], self._found[1]["batch"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop.install()
        if self._found is None:
            return
        assert isinstance(pl_module, ATFTModule)
        tensors, state = self._found
        epoch, steps = state["epoch"], state["steps"]
        _restore_module(pl_module, tensors)
        _restore_optimizer(trainer.optimizers[0], tensors, state["learning_rates"])
        trainer.lr_scheduler_configs[0].scheduler.load_state_dict(state["schedule"])
        loop = trainer.fit_loop
        for counted in (loop.epoch_progress.total, loop.epoch_progress.current):
            counted.__dict__.update(ready=epoch, started=epoch, processed=epoch, completed=epoch)
        loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.__dict__.update(
            ready=steps, completed=steps
        )
        loop.epoch_loop._batches_that_stepped = steps

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._found is None:
            if trainer.current_epoch:
                self._save(trainer, pl_module, trainer.current_epoch)
        elif not self._found[1]["batch"]:
            # Before the loader of the epoch is made, which draws a random number.
            _restore_generators(*self._found)
            self._found = None
        self._stop.check()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._found is None:
            return
        tensors, state = self._found
        self._found = None
        done = state["batch"]
        loop = trainer.fit_loop.epoch_loop
        loop.batch_progress.current.__dict__.update(
            ready=done + 1, started=done, processed=done, completed=done
        )
        loop.batch_progress.is_last_batch = done + 1 == len(self._packs)
        assert trainer.fit_loop._data_fetcher is not None
        trainer.fit_loop._data_fetcher.fetched += done
        self._metrics.train_losses = list(tensors["train_losses"])
        _restore_generators(tensors, state)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        wanted = self._stop.requested is not None
        if not wanted and time.monotonic() - self._written < self._seconds:
            return
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        # After the last batch comes validation; the checkpoint then waits for the epoch's end.
        if done < len(self._packs) and done % self._accumulate == 0:
            self._save(trainer, pl_module, trainer.current_epoch, done)
            self._stop.check()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, pl_module, trainer.current_epoch, finished=True)

    def _save(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        epoch: int,
        batch: int = 0,
        finished: bool = False,
    ) -> None:
        assert isinstance(module, ATFTModule)
        module.look_at_losses()
        optimizer = trainer.optimizers[0]
        stopping, metrics = self._stopping, self._metrics
        tensors = {
            **_named("model", module.model.state_dict()),
            **_named("average", module.average.state_dict() if module.average else {}),
            **_named("best", metrics.best_weights or {}),
            "stopping": torch.as_tensor(stopping.best_score),
            **_generators(),
        }
        for number, held in optimizer.state_dict()["state"].items():
            tensors |= _named(f"optimizer.{number}", held)
        if batch:
            tensors["train_losses"] = torch.stack(metrics.train_losses)
        state = {
            "epoch": epoch,
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
            "numpy": _numpy_state(),
            "python": random.getstate(),
        }
        self._store.save(tensors, state)
        self._written = time.monotonic()

    def _restore_scores(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self._metrics.history = list(state["history"])
        self._metrics.best_epoch, self._metrics.best_score = state["best_epoch"], state["best_score"]
        self._metrics.best_weights = _taken("best", tensors) or None
        self._stopping.best_score = tensors["stopping"]
        self._stopping.wait_count = state["waited"]


def _named(prefix: str, tensors: Any) -> dict[str, Tensor]:
    """Copies by longer names: safetensors wants no two tensors to share memory."""
    return {f"{prefix}/{name}": tensor.detach().clone() for name, tensor in tensors.items()}


def _taken(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): each.clone() for name, each in tensors.items() if name.startswith(start)
    }


def _restore_module(module: ATFTModule, tensors: dict[str, Tensor]) -> None:
    module.model.load_state_dict(_taken("model", tensors))
    if module.average is not None:
        module.average.load_state_dict(_taken("average", tensors))


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], learning_rates: list[float]
) -> None:
    plain = optimizer.state_dict()
    numbers = [number for group in plain["param_groups"] for number in group["params"]]
    plain["state"] = {number: held for number in numbers if (held := _taken(f"optimizer.{number}", tensors))}
    for group, rate in zip(plain["param_groups"], learning_rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict(plain)


def _generators() -> dict[str, Tensor]:
    found = {
        "generator.torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found["generator.cuda"] = torch.cuda.get_rng_state()
    return found


def _numpy_state() -> dict[str, Any]:
    """NumPy's generator, as JSON can hold it."""
    found: dict[str, Any] = dict(np.random.get_state(legacy=False))
    return {**found, "state": {"key": found["state"]["key"].tolist(), "pos": int(found["state"]["pos"])}}


def _restore_generators(tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["generator.torch"])
    if "generator.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["generator.cuda"])
    np.random.set_state(state["numpy"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))

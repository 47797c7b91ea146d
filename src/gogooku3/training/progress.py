"""Progress display of a training, and an estimate of its duration."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from gogooku3.models.atft_gat_fan import ATFTGATFANModel

USUAL_MONTH_DAYS = 21
"""Trading days of a usual month."""
_CPU_FLOPS_A_CORE = 2e10
"""Float operations per second of one CPU core in training; an order of magnitude."""


class EpochBar(TQDMProgressBar):
    """One bar per epoch, counted from 1, with the time left and the monitored score."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *rest: Any) -> None:
        super().on_train_epoch_start(trainer, *rest)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def init_validation_tqdm(self) -> Tqdm:
        """Disabled: validation takes seconds, and a second bar would only flicker."""
        return Tqdm(disable=True)


class EpochLines(ProgressBar):
    """One line per epoch, for a file or a pipe, where a bar would print thousands of lines."""

    _started = 0.0

    def on_train_epoch_start(self, *rest: Any) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        scores = self.get_metrics(trainer, pl_module)
        scores.pop("v_num", None)
        text = "".join(f", {name} {score:.4g}" for name, score in scores.items())
        seconds = time.monotonic() - self._started
        line = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {seconds:.0f} s{text}"
        print(line, file=sys.stderr, flush=True)


def progress_display() -> ProgressBar:
    """A bar on a terminal or in a notebook, lines otherwise."""
    return EpochBar() if _has_bars() else EpochLines()


@contextmanager
def snapshot_progress(shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A function to report a snapshot's steps, as a bar on a terminal or in a notebook, or as one line."""
    started = time.monotonic()
    with Tqdm(desc="snapshot", disable=not (shown and _has_bars())) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
    if shown and not _has_bars():
        print(f"snapshot: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _has_bars() -> bool:
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def cpu_hours(model: ATFTGATFANModel, samples: int, cores: int) -> float:
    """Rough hours for `samples` training samples (all epochs together) on CPU cores.

    Six operations per use of a parameter. The projection and the LSTM run over a month and the window before
    it, for all days of the month together.

    >>> cpu_hours(ATFTGATFANModel(), samples=10_000_000, cores=2) > 1
    True
    """
    every_step = sum(p.numel() for p in model.temporal.lstm.parameters()) + sum(
        p.numel() for p in model.temporal.input_projection.parameters()
    )
    steps = model.temporal.sequence_length / USUAL_MONTH_DAYS + 1
    uses = every_step * steps + (model.n_parameters - every_step)
    return 6 * uses * samples / (_CPU_FLOPS_A_CORE * cores) / 3600

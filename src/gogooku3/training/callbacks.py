"""Callbacks that observe a fold's training: financial scores by epoch, and the graph kept current."""

import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import polars
import torch
from torch import Tensor

from gogooku3.atomic import atomic_path
from gogooku3.data.panel import Panel
from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import (
    PERIODS_PER_YEAR,
    compute_max_drawdown,
    compute_sharpe_ratio,
    information_coefficient,
    rank_information_coefficient,
)
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.training.batches import stack_graphs
from gogooku3.training.checkpoint import copy_weights
from gogooku3.training.module import ATFTModule

logger = logging.getLogger(__name__)


def financial_scores(
    predictions: np.ndarray, targets: np.ndarray, day: np.ndarray, horizons: tuple[int, ...]
) -> dict[str, float]:
    """Scores of one validation pass, by day: `ic_{h}d`, `rank_ic_{h}d`, `sharpe_{h}d`, `drawdown_{h}d`,
    and `spread_{h}d`.

    Sharpe and drawdown are those of a book re-formed daily on the h-day prediction and earning
    the return of the shortest horizon, before costs. `spread` is the mean deviation of the
    predictions within a day: near zero, they have collapsed.

    Args:
        predictions, targets: `[samples, horizons]`; a NaN target is unknown.
        day: int `[samples]`.
    """
    scores: dict[str, float] = {}
    periods = PERIODS_PER_YEAR // horizons[0]
    number = np.unique(day, return_inverse=True)[1]
    count = np.bincount(number)
    for position, horizon in enumerate(horizons):
        mine = predictions[:, position].astype(np.float64)
        scores[f"ic_{horizon}d"] = information_coefficient(mine, targets[:, position], day)
        scores[f"rank_ic_{horizon}d"] = rank_information_coefficient(mine, targets[:, position], day)
        scores[f"sharpe_{horizon}d"] = compute_sharpe_ratio(
            mine, targets[:, 0], day, periods_per_year=periods
        )
        scores[f"drawdown_{horizon}d"] = compute_max_drawdown(mine, targets[:, 0], day)
        mean = np.bincount(number, mine) / count
        variance = np.bincount(number, (mine - mean[number]) ** 2) / count
        scores[f"spread_{horizon}d"] = float(np.sqrt(variance).mean())
    return scores


class FinancialMetricsCallback(pl.Callback):
    """Scores every validation epoch and keeps the weights of the best one.

    Logs `val/ic_{h}d`, `val/rank_ic_{h}d`, `val/sharpe_{h}d`, `val/drawdown_{h}d` and
    `val/spread_{h}d` to whatever loggers the run has.

    Args:
        monitor: the score that chooses the best epoch, as logged ("val/rank_ic_5d"; "val/loss" is
            minimised, everything else maximised).
        checkpoint_path: file that holds the best weights (safetensors), rewritten whole at every
            improvement; None keeps them in memory alone.

    Attributes:
        history: one mapping an epoch: the epoch and its scores.
        best_epoch, best_score, best_weights: of the best epoch so far.
    """

    def __init__(self, monitor: str = "val/rank_ic_5d", checkpoint_path: Path | None = None) -> None:
        self.monitor = monitor
        self.checkpoint_path = checkpoint_path
        self.history: list[dict[str, float]] = []
        self.best_epoch: int | None = None
        self.best_score = float("nan")
        self.best_weights: dict[str, Tensor] | None = None
        self._outputs: list[dict[str, Tensor]] = []
        self._train_losses: list[Tensor] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._train_losses = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        # Lightning hands the loss over as it was accumulated: divided by the number of batches.
        self._train_losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._outputs = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any, **more: Any
    ) -> None:
        self._outputs.append(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        predictions, day, stock = (
            torch.cat([output[name] for output in self._outputs]).cpu().numpy()
            for name in ("predictions", "day", "stock")
        )
        panel = pl_module.panel
        scores = financial_scores(predictions, panel.targets[day, stock], day, panel.horizons)
        for name, value in scores.items():
            pl_module.log(
                f"val/{name}",
                value,
                prog_bar=f"val/{name}" == self.monitor,
                logger=bool(np.isfinite(value)),
                batch_size=len(day),
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        logged = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")
        }
        train_loss = float(torch.stack(self._train_losses).mean())
        self.history.append({"epoch": trainer.current_epoch, "train/loss": train_loss, **logged})
        score = logged.get(self.monitor, float("nan"))
        if self._improves(score):
            self.best_epoch, self.best_score = trainer.current_epoch, score
            self.best_weights = copy_weights(pl_module.model)
            if self.checkpoint_path is not None:
                self._write(self.checkpoint_path)

    def _improves(self, score: float) -> bool:
        if self.best_weights is None:
            return True
        if np.isnan(self.best_score):
            return not np.isnan(score)
        return score < self.best_score if self.monitor == "val/loss" else score > self.best_score

    def _write(self, path: Path) -> None:
        from safetensors.torch import save_file

        assert self.best_weights is not None
        with atomic_path(path) as temporary:
            save_file({name: w.cpu().contiguous() for name, w in self.best_weights.items()}, temporary)


class DynamicGraphCallback(pl.Callback):
    """Keeps the graph current: a snapshot a month along the calendar, all rebuilt every few epochs.

    A day is served by the snapshot made of returns before its month; no day sees a later one. The
    model's standing graph becomes the snapshot that serves the last training day.

    Args:
        graph_builder: rules for edges; its settings may be changed between epochs.
        data: daily returns, as a data set frame with `ret_1d` (or the builder's `return_column`), or
            float `[days, stocks]` on the panel's calendar and stocks.
        every_n_epochs: epochs between two rebuilds.

    Attributes:
        schedule: the snapshots in use.
    """

    def __init__(
        self,
        graph_builder: FinancialGraphBuilder,
        data: polars.DataFrame | np.ndarray,
        every_n_epochs: int = 10,
    ) -> None:
        self.graph_builder = graph_builder
        self.data = data
        self.every_n_epochs = every_n_epochs
        self.schedule: GraphSchedule | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._rebuild(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch and trainer.current_epoch % self.every_n_epochs == 0:
            self._rebuild(pl_module)
        assert self.schedule is not None
        edges = sum(graph.n_edges for graph in self.schedule.graphs) / len(self.schedule.graphs)
        pl_module.log("graph/edges", edges, on_step=False, on_epoch=True, batch_size=1)

    def _rebuild(self, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        panel = pl_module.panel
        returns = self.data
        if isinstance(returns, polars.DataFrame):
            returns = returns_on(panel, returns, self.graph_builder.return_column or "ret_1d")
        self.schedule = GraphSchedule.build(panel.dates, panel.codes, returns, self.graph_builder)
        pl_module.batches.set_graphs(stack_graphs(self.schedule))
        last_day = pl_module.train_days.stop - 1
        pl_module.model.update_graph(self.schedule.graphs[self.schedule.snapshot_index[last_day]])


def returns_on(panel: Panel, frame: polars.DataFrame, column: str) -> np.ndarray:
    """Daily returns of a frame on a panel's calendar and stocks, `[days, stocks]`, NaN where missing.

    Raises:
        DataError: the frame lacks the column, or none of its rows is in the panel.
    """
    own = Panel.from_frame(frame, [column], horizons=())
    days = np.isin(panel.dates, own.dates)
    stocks = np.isin(np.array(panel.codes), np.array(own.codes))
    if not days.any() or not stocks.any():
        raise DataError("the returns for the graph share no day or no stock with the panel")
    returns = np.full((panel.n_days, panel.n_stocks), np.nan, dtype=np.float32)
    own_days = np.searchsorted(own.dates, panel.dates[days])
    own_stocks = np.searchsorted(np.array(own.codes), np.array(panel.codes)[stocks])
    returns[np.ix_(days, stocks)] = own.values[np.ix_(own_days, own_stocks)][:, :, 0]
    return returns

"""Callback that scores each validation epoch with the evaluation's metrics and keeps the best weights."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from gogooku3.evaluation.metrics import (
    PERIODS_PER_YEAR,
    compute_max_drawdown,
    compute_sharpe_ratio,
    information_coefficient,
    rank_information_coefficient,
)
from gogooku3.models.saving import write_tensors
from gogooku3.training.batches import Predictions
from gogooku3.training.module import ATFTModule
from gogooku3.training.prediction_collapse import daily_spread


def financial_scores(
    predictions: np.ndarray, targets: np.ndarray, day: np.ndarray, horizons: tuple[int, ...]
) -> dict[str, float]:
    """Scores of one validation pass, computed by day.

    Per horizon `ic_{h}d`, `rank_ic_{h}d`, `sharpe_{h}d`, `drawdown_{h}d` and `spread_{h}d`; `ic`, `rank_ic`
    and `sharpe` are means over horizons. Sharpe and drawdown are of a portfolio rebalanced daily on the h-day
    prediction that earns the return of the shortest horizon, before costs. `spread` is the mean standard
    deviation of the predictions within a day; near zero they have collapsed. In a mean over horizons, a
    missing score counts as 0 (no skill); if every score is missing, the mean is NaN.

    Args:
        predictions, targets: `[samples, horizons]`; a NaN target is unknown.
        day: int `[samples]`.
    """
    scores: dict[str, float] = {}
    periods = PERIODS_PER_YEAR // horizons[0]
    spread = daily_spread(predictions, day)
    for position, horizon in enumerate(horizons):
        prediction, target = predictions[:, position].astype(np.float64), targets[:, position]
        scores[f"ic_{horizon}d"] = information_coefficient(prediction, target, day)
        scores[f"rank_ic_{horizon}d"] = rank_information_coefficient(prediction, target, day)
        scores[f"sharpe_{horizon}d"] = compute_sharpe_ratio(
            prediction, targets[:, 0], day, periods_per_year=periods
        )
        scores[f"drawdown_{horizon}d"] = compute_max_drawdown(prediction, targets[:, 0], day)
        scores[f"spread_{horizon}d"] = float(spread[position])
    for name in ("ic", "rank_ic", "sharpe"):
        by_horizon = np.array([scores[f"{name}_{horizon}d"] for horizon in horizons])
        scores[name] = float("nan") if np.isnan(by_horizon).all() else float(np.nan_to_num(by_horizon).mean())
    return scores


class FinancialMetricsCallback(pl.Callback):
    """Score every validation epoch and keep the weights of the best one.

    Logs `val/ic_{h}d`, `val/rank_ic_{h}d`, `val/sharpe_{h}d`, `val/drawdown_{h}d` and
    `val/spread_{h}d`, and the means over horizons `val/ic`, `val/rank_ic` and `val/sharpe`, to the run's
    loggers. With a moving average of the weights, the average is scored and kept.

    Args:
        monitor: logged score that selects the best epoch ("val/rank_ic_5d"; "val/loss" is minimised,
            everything else maximised).
        checkpoint_path: file of the best weights (safetensors), rewritten at every improvement; None keeps
            them in memory only.
        keep_last: the latest epoch counts as the best, whatever its score.

    Attributes:
        history: one mapping per epoch: the epoch and its scores.
        best_epoch, best_score, best_weights: of the best epoch so far.
        train_losses: of the current epoch's batches so far.
        validated: the latest validation pass; None before the first.
    """

    def __init__(
        self, monitor: str = "val/rank_ic_5d", checkpoint_path: Path | None = None, keep_last: bool = False
    ) -> None:
        self.monitor = monitor
        self.checkpoint_path = checkpoint_path
        self.keep_last = keep_last
        self.history: list[dict[str, float]] = []
        self.best_epoch: int | None = None
        self.best_score = float("nan")
        self.best_weights: dict[str, Tensor] | None = None
        self._outputs: list[dict[str, Tensor]] = []
        self.train_losses: list[Tensor] = []
        self.validated: Predictions | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.train_losses = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        # Lightning passes the loss divided by the number of accumulated batches.
        self.train_losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any, **more: Any
    ) -> None:
        self._outputs.append(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        self.validated, self._outputs = Predictions.join(self._outputs), []
        predictions, day, stock = self.validated
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
        train_loss = float(torch.stack(self.train_losses).mean())
        self.history.append({"epoch": trainer.current_epoch, "train/loss": train_loss, **logged})
        score = logged.get(self.monitor, float("nan"))
        if self._improves(score):
            self.best_epoch, self.best_score = trainer.current_epoch, score
            self.best_weights = copy_weights(pl_module.scored_model)
            if self.checkpoint_path is not None:
                write_tensors(self.checkpoint_path, self.best_weights)

    def _improves(self, score: float) -> bool:
        if self.keep_last or self.best_weights is None:
            return True
        if np.isnan(self.best_score):
            return not np.isnan(score)
        return score < self.best_score if self.monitor == "val/loss" else score > self.best_score


def copy_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the weights in memory."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

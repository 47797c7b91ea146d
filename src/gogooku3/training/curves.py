"""The callback that adds to the curves: learning rate, and histograms of weights and of the predictions."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger

from gogooku3.training.callbacks import FinancialMetricsCallback
from gogooku3.training.module import ATFTModule
from gogooku3.training.prediction_collapse import spread_by_day
from gogooku3.training.tensorboard import rank_ic_figure


class CurvesCallback(pl.Callback):
    """Tells every logger the learning rate, and TensorBoard once an epoch what the network became.

    Logs `train/learning_rate`; and, to TensorBoard, histograms `weights/{parameter}` and `spread/{h}d`: how
    far a validation day's predictions lie apart, a value a day; and the figure `validation/rank_ic`, daily
    rank ICs added up. Draws no random number and changes nothing.

    Args:
        metrics: scores the same validation passes, and stands before this one in the list of callbacks.
    """

    def __init__(self, metrics: FinancialMetricsCallback) -> None:
        self._metrics = metrics

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log("train/learning_rate", rate, on_step=True, on_epoch=False, batch_size=1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                self._draw(logger.experiment, pl_module, trainer.current_epoch)

    def _draw(self, writer: Any, module: ATFTModule, epoch: int) -> None:
        for name, weight in module.model.named_parameters():
            # TensorBoard refuses a histogram without a single finite value.
            if bool(weight.isfinite().any()):
                writer.add_histogram(f"weights/{name}", weight.detach().float().cpu(), epoch)
        assert self._metrics.validated is not None
        predictions, day, stock = self._metrics.validated
        panel = module.panel
        figure = rank_ic_figure(predictions, panel.targets[day, stock], panel.dates[day], panel.horizons)
        writer.add_figure("validation/rank_ic", figure, epoch)
        for position, horizon in enumerate(panel.horizons):
            spread = spread_by_day(predictions[:, position], day)
            if np.isfinite(spread).any():
                writer.add_histogram(f"spread/{horizon}d", spread, epoch)

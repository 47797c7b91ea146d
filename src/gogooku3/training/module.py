"""Lightning module of the network: training, validation and prediction steps, optimiser, weight average."""

from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.batches import Block, PanelBatches, of_samples, predict_batch
from gogooku3.training.losses import MultiHorizonFinancialLoss
from gogooku3.training.lr_schedule import build_schedule
from gogooku3.training.nan_guard import NanGuard

LAG_RATE = 8.0
"""Learning rate of attention's lag biases, relative to all other parameters.

A head that attends to one day of many must raise its bias by four or five; at the common rate the schedule
can end before. On the planted market where only the 40th day back counts, 10 of 13 seeds found it at 1, all
at 8.
"""


class ATFTModule(pl.LightningModule):
    """Gather the blocks that the loader names, run windows and graph, and compute the loss.

    The linear path and the snapshot are fixed: their part of the predictions comes with the batch.

    Args:
        model: the network.
        panel: the market; callbacks read returns and dates from it.
        batches: gathers from the panel; moved to the module's device when a loop starts.
        config: training, scheduler and loss settings.
        steps_per_epoch: optimiser steps per epoch, for the schedule.
        train_days: training days of the panel.

    Attributes:
        average: moving average of the weights, `training.ema_decay`; None outside training, or without decay.
    """

    def __init__(
        self,
        model: ATFTGATFANModel,
        panel: Panel,
        batches: PanelBatches,
        config: RunConfig,
        steps_per_epoch: int,
        train_days: range,
    ) -> None:
        super().__init__()
        self.model = model
        self.panel = panel
        self.batches = batches
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.train_days = train_days
        weights = config.loss.horizon_weights
        self.loss = MultiHorizonFinancialLoss(
            {h: weights[h] for h in model.prediction_horizons}, config.loss.correlation_weight
        )
        self.average: AveragedModel | None = None
        self.guard = NanGuard(torch.device("cpu"))

    @property
    def scored_model(self) -> ATFTGATFANModel:
        """Network that is validated, saved and predicts: the average of the weights if there is one."""
        return self.model if self.average is None else cast(ATFTGATFANModel, self.average.module)

    # Lightning calls these once the module is on its device; `setup` comes too early for that.
    def on_fit_start(self) -> None:
        self.batches.to(self.device)
        self.guard = NanGuard(self.device)
        # A fused optimiser skips its step where `found_inf` is 1.
        self.trainer.optimizers[0].found_inf = self.guard.stop  # type: ignore[attr-defined]
        if self.config.training.ema_decay:
            self.average = weight_average(self.model, self.config.training.ema_decay)

    def on_predict_start(self) -> None:
        self.batches.to(self.device)

    def on_validation_start(self) -> None:
        self.check_losses()

    def check_losses(self) -> None:
        """Check the losses since the last check, before anything is saved or scored.

        Raises:
            FloatingPointError: a loss was not finite; names the loss, the step and its dates.
        """
        self.guard.check(self.panel.dates)

    def training_step(self, blocks: list[Block], batch_idx: int) -> Tensor:
        batch = self.batches.gather(blocks)
        predictions = batch.base + self.model.windows(batch.inputs)
        loss: Tensor = self.loss(predictions, batch.labels, batch.day_index, batch.n_days)
        first, last = min(block.days.start for block in blocks), max(block.days.stop for block in blocks)
        self.guard.record(loss, self.global_step, range(first, last), self.panel.dates)
        samples = sum(len(block.stocks) * len(block.days) for block in blocks)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=samples)
        return loss

    def validation_step(self, blocks: list[Block], batch_idx: int) -> dict[str, Tensor]:
        batch = self.batches.gather(blocks)
        predictions = predict_batch(self.scored_model, batch)
        loss = self.loss(predictions, batch.labels, batch.day_index, batch.n_days)
        self.log("val/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.day))
        return of_samples(predictions, batch)

    def predict_step(self, blocks: list[Block], batch_idx: int) -> dict[str, Tensor]:
        batch = self.batches.gather(blocks)
        return of_samples(predict_batch(self.scored_model, batch), batch)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip for a fused optimiser under mixed precision because of loss scaling, which
        # bfloat16 does not use.
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        settings = self.config.training
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.learning_rate, settings.weight_decay),
            fused=self.device.type in ("cuda", "cpu"),
        )
        schedule = build_schedule(
            optimizer, self.config.scheduler, settings.learning_rate, self.steps_per_epoch, settings.epochs
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the blocks unchanged; `gather` runs on the panel's device."""
        return batch


def weight_average(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a network's weights; call `update_parameters` after each step.

    It starts at the current weights. At step 1, 2, ... it keeps `min(decay, (1 + step) / (10 + step))` of
    itself, so that the first, untrained weights are soon forgotten.

    >>> model = nn.Linear(1, 1)
    >>> average = weight_average(model, decay=0.99)
    >>> before = model.weight.item()
    >>> with torch.no_grad(): _ = model.weight.add_(1.1)
    >>> average.update_parameters(model)
    >>> round(average.module.weight.item() - before, 4)
    0.9
    """

    def update(averaged: Any, current: Any, step: Tensor | int) -> None:
        keep = min(decay, (1 + int(step)) / (10 + int(step)))
        get_ema_multi_avg_fn(keep)(averaged, current, step)

    average = AveragedModel(model, multi_avg_fn=update)
    # The first update copies the weights, so that `AveragedModel` passes 1 as the first step to `update`.
    average.update_parameters(model)
    return average.requires_grad_(False)


def parameter_groups(model: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser.

    Weight decay applies to matrices only, not to biases, norms, other vectors or the FAN's weights, which are
    neutral at one. Attention's lag biases learn at `LAG_RATE` times the learning rate.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    lag_biases: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("lag_bias"):
            lag_biases.append(parameter)
        elif parameter.ndim < 2 or name.endswith("frequency_weights"):
            undecayed.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "lr": learning_rate},
        {"params": undecayed, "weight_decay": 0.0, "lr": learning_rate},
        {"params": lag_biases, "weight_decay": 0.0, "lr": LAG_RATE * learning_rate},
    ]
    return [group for group in groups if group["params"]]

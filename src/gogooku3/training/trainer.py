"""ATFTTrainer: fit the network, select the epoch on validation days, predict any days."""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import polars
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from gogooku3.config import RunConfig
from gogooku3.data.panel import PanelSlice
from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import rank_information_coefficient
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.preprocessing.labels import treat_labels
from gogooku3.training.batches import Block, PanelBatches, Predictions, standing_graph
from gogooku3.training.block_sampler import BlockSampler, MonthSampler
from gogooku3.training.callbacks import FinancialMetricsCallback
from gogooku3.training.checkpointing import CheckpointCallback, CheckpointFolder
from gogooku3.training.loggers import open_loggers
from gogooku3.training.module import ATFTModule
from gogooku3.training.progress import progress_display, snapshot_progress
from gogooku3.training.reproducibility import bfloat16_runs_fast, seed_everything
from gogooku3.training.shrinkage import choose_shares
from gogooku3.training.snapshot_stage import train_snapshot
from gogooku3.training.stop_signals import StopSignals
from gogooku3.training.tensorboard import TensorBoardCallback
from gogooku3.training.trainer_inputs import check_fit, join_frames, resolve_config

SNAPSHOT, REFITTED = "snapshot", "refitted"
"""Names of the finished snapshots beside the checkpoints."""
_TODAY_ROWS = 16_384
"""Rows whose part of today is predicted at a time."""


class ATFTTrainer:
    """Train the network in stages, each on what the ones before leave of the labels.

    1. the linear path, in closed form (`training.linear_penalty`);
    2. the snapshot, on today's features of shuffled rows (`training.snapshot_stage`);
    3. windows and graph, with Lightning: steps of many months (`training.block_sampler`), and early stopping
       on a financial score. With `training.shrink_on_validation`, a share of the stage is chosen for each
       horizon on validation days; it may be 0.

    With `snapshot.refit`, linear path and snapshot are then fitted again on training and validation days.

    Args:
        model: the network; `fit` leaves it with the weights of its best validation epoch, or of the last
            one without early stopping.
        train_data, val_data: consecutive slices of one normalised panel, or two normalised data set
            frames, validation after training. Days may be missing between frames, so a validation sample
            needs a full window in its own frame; the states before it read on from the training frame.
        config: a `RunConfig`, or a mapping of training settings (`epochs`, `batch_size`,
            `learning_rate`, `mixed_precision`, `gradient_clip`, ...) and of other groups
            (`{"scheduler": {...}}`).
        graphs: monthly as-of snapshots for the panel's stocks; None uses the model's standing graph for the
            months that start on its as-of day or later.
        market: float32 `[days, market_dim]`, the market's state on each day of the panel, for the model's
            regime; None: unknown, all 0.
        run_dir: folder for logs and the best weights; None writes nothing.
        callbacks: further Lightning callbacks.
        checkpoints: where checkpoints are written and the training resumes from; None writes none.
        stop: signals that stop a training with checkpoints after a batch.

    Raises:
        ConfigError: an unknown or contradictory setting.
        DataError: data and model do not match, or validation is not after training.
    """

    def __init__(
        self,
        model: ATFTGATFANModel,
        train_data: PanelSlice | polars.DataFrame,
        val_data: PanelSlice | polars.DataFrame,
        config: RunConfig | Mapping[str, Any] | None = None,
        *,
        graphs: GraphSchedule | None = None,
        market: np.ndarray | None = None,
        run_dir: Path | None = None,
        callbacks: Sequence[pl.Callback] = (),
        checkpoints: CheckpointFolder | None = None,
        stop: StopSignals | None = None,
    ) -> None:
        self.model = model
        self.checkpoints, self.stop = checkpoints, stop or StopSignals()
        self.config = resolve_config(config, model)
        self.run_dir = run_dir
        length = self.config.time_series.sequence_length
        if isinstance(train_data, PanelSlice) and isinstance(val_data, PanelSlice):
            self.train_data, self.val_data = train_data, val_data
            samples = train_data.panel.sample_mask(length)
        elif isinstance(train_data, polars.DataFrame) and isinstance(val_data, polars.DataFrame):
            self.train_data, self.val_data, samples = join_frames(
                train_data, val_data, model.prediction_horizons, length
            )
        else:
            raise DataError("train_data and val_data must both be frames or both be panel slices")
        self.panel = self.train_data.panel
        check_fit(model, self.train_data, self.val_data, market)
        self.model.gradient_checkpointing = self.config.training.gradient_checkpointing
        self.batches = PanelBatches(self.panel, self._labels(), length, samples=samples, market=market)
        if graphs is not None:
            self.batches.set_graphs(graphs)
        elif model.graph_info is not None:
            self._use_standing_graph(model.graph_info)
        self.callbacks = list(callbacks)

    def fit(self) -> dict[str, Any]:
        """Train, and leave the model with the weights of its best validation epoch, or of the last one.

        With `training.ema_decay`, these are moving averages of the weights, as validated.

        Returns:
            `epochs`, `best_epoch`, `best_score` (of the monitored score), `history` (scores per
            epoch), `stopped_early`, `duration_s`, `samples_per_s` (of the epochs), `n_parameters`,
            `precision`, `windows_share` (share of windows and graph, by horizon), `stages` (rank IC on the
            validation days by horizon after each stage).
        """
        training, stops_early = self.config.training, self.config.early_stopping.enabled
        seed_everything(training.seed)
        train_sampler = self._train_sampler()
        val_sampler = self._score_sampler(self.val_data.days, "validation day")
        self.model.windows_share.fill_(1)
        started = time.perf_counter()
        days = self._served(self.train_data.days)
        with self._on_device():
            self._fit_today(days, SNAPSHOT)
            self._set_base([*days, *self._served(self.val_data.days)])
        steps = -(-len(train_sampler) // training.accumulate_grad_batches)
        module = ATFTModule(self.model, self.panel, self.batches, self.config, steps, self.train_data.days)
        metrics = FinancialMetricsCallback(
            self.config.early_stopping.monitor,
            self.run_dir / "best.safetensors" if self.run_dir else None,
            keep_last=not stops_early,
        )
        stopping = _early_stopping(self.config)
        callbacks = [metrics, *self.callbacks, *([stopping] if stops_early else [])]
        checkpoint = None
        if self.checkpoints is not None:
            checkpoint = CheckpointCallback(
                self.checkpoints, self.stop, training, train_sampler, metrics, stopping
            )
            callbacks.append(checkpoint)
        epochs_started = time.perf_counter()
        with open_loggers(self.config.logging, self.run_dir) as loggers:
            if loggers:
                callbacks.append(TensorBoardCallback(metrics))
            lightning = self._lightning(callbacks, loggers)
            if checkpoint is None or not checkpoint.finished:
                with _quiet_lightning():
                    lightning.fit(module, _loader(train_sampler), _loader(val_sampler))
        before = checkpoint.seconds if checkpoint else 0
        epoch_seconds = time.perf_counter() - epochs_started + before
        if lightning.interrupted:
            raise KeyboardInterrupt
        if metrics.best_weights is not None:
            self.model.load_state_dict(metrics.best_weights)
        self.model.eval()
        stages = self._stages()
        if self.config.snapshot.refit:
            self._refit_today()
        samples = int(self.batches.samples_by_day[days].sum())
        epochs = len(metrics.history)
        return {
            "epochs": epochs,
            "best_epoch": metrics.best_epoch,
            "best_score": metrics.best_score,
            "history": metrics.history,
            "stopped_early": epochs < training.epochs,
            "duration_s": time.perf_counter() - started + before,
            "samples_per_s": samples * epochs / epoch_seconds,
            "n_parameters": self.model.n_parameters,
            "precision": str(lightning.precision),
            "windows_share": self.model.windows_share.tolist(),
            "stages": stages,
        }

    def predict(self, data: PanelSlice) -> polars.DataFrame:
        """Predict every sample of some days of the same panel.

        Returns:
            `date, code, prediction_{h}d` (Float32), ordered by date, then code.

        Raises:
            DataError: the days are of another panel, or none has a full window.
        """
        if data.panel is not self.panel:
            raise DataError("the days to predict are of another panel than the trainer's; slice its panel")
        predictions, day, stock = self._predict(data.days, "day to predict")
        horizons = self.model.prediction_horizons
        return polars.DataFrame(
            {
                "date": polars.Series(self.panel.dates[day], dtype=polars.Date),
                "code": np.array(self.panel.codes)[stock],
                **{f"prediction_{h}d": predictions[:, i] for i, h in enumerate(horizons)},
            }
        )

    def _predict(self, days: range, kind: str) -> Predictions:
        module = ATFTModule(self.model, self.panel, self.batches, self.config, 1, self.train_data.days)
        sampler = self._score_sampler(days, kind)
        with _quiet_lightning():
            outputs: Any = self._lightning([]).predict(module, _loader(sampler))
        return Predictions.join(outputs)

    def _served(self, days: range) -> list[int]:
        """Days with samples."""
        return [day for day in days if self.batches.samples_by_day[day]]

    def _fit_today(self, days: Sequence[int], kept: str) -> None:
        """Fit the linear path and the snapshot; a finished snapshot is read back when a training resumes."""
        training = self.config.training
        if training.linear_penalty is not None and self.model.settings["use_linear_path"]:
            self.model.linear.solve(map(self._finite_day, days), training.linear_penalty)
        snapshot = self.checkpoints.read_part(kept) if self.checkpoints else None
        if snapshot is None:
            with snapshot_progress(training.progress_bar) as progress:

                def step(done: int, total: int) -> None:
                    progress(done, total)
                    self.stop.check()

                train_snapshot(self.model, self.batches, days, self.config, self._precision(), step)
            if self.checkpoints:
                self.checkpoints.write_part(kept, self.model.snapshot.state_dict())
        else:
            self.model.snapshot.load_state_dict(snapshot)

    def _refit_today(self) -> None:
        """Fit linear path and snapshot again, now on training and validation days."""
        with self._on_device():
            self._fit_today(
                [*self._served(self.train_data.days), *self._served(self.val_data.days)], REFITTED
            )
        self.model.eval()

    @torch.no_grad()
    def _set_base(self, days: Sequence[int]) -> None:
        """Compute the part of the predictions that reads only today's features, which stays fixed."""
        self.model.eval()
        with self._precision():
            parts = [
                self.model.today_rows(*self.batches.today(rows)).float()
                for rows in self.batches.rows(days).split(_TODAY_ROWS)
            ]
        self.batches.set_base(days, torch.cat(parts))
        self.model.snapshot.requires_grad_(False)

    def _finite_day(self, day: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and labels of a training day; refuses values that are not finite."""
        rows = self.batches.rows([day])
        features, labels = self.batches.features(rows), self.batches.labels(rows)
        if not bool(features.isfinite().all()) or bool(labels.isinf().any()):
            raise DataError(
                f"features or labels of {self.panel.dates[day]} are not finite, so the linear path can't be "
                "solved; nothing was updated. Normalise the panel, with unknown features as 0 and unknown "
                "labels as NaN"
            )
        return features, labels

    def _stages(self) -> dict[str, dict[int, float]]:
        """Rank IC on the validation days by horizon after each stage; chooses `windows_share` if asked to."""
        predictions, day, stock = self._predict(self.val_data.days, "validation day")
        targets = self.panel.targets[day, stock]
        linear = self.panel.values[day, stock] @ self.model.linear.weight.cpu().numpy()
        today = self.batches.base_of(day, stock)
        windows = predictions - today
        stages = {"linear": linear} if linear.any() else {}
        stages |= {"snapshot": today, "windows": predictions}
        if self.config.training.shrink_on_validation:
            shares = choose_shares(today, windows, targets, day)
            self.model.windows_share.copy_(torch.from_numpy(shares))
            stages["shrunk"] = today + shares * windows
        horizons = self.model.prediction_horizons
        return {
            name: {
                horizon: rank_information_coefficient(scores[:, i], targets[:, i], day)
                for i, horizon in enumerate(horizons)
            }
            for name, scores in stages.items()
        }

    def _labels(self) -> np.ndarray:
        """Treated labels of training and validation days; NaN on all other days."""
        labels = np.full(self.panel.targets.shape, np.nan, dtype=np.float32)
        for part in (self.train_data, self.val_data):
            days = slice(part.days.start, part.days.stop)
            labels[days] = treat_labels(self.panel.targets[days], self.config.training.label)
        return labels

    def _use_standing_graph(self, graph: StockGraph) -> None:
        stacked = standing_graph(graph, self.panel)
        self.batches.set_graphs(stacked)
        days = slice(self.train_data.days.start, self.train_data.days.stop)
        unserved = int((stacked.snapshot_index[days] < 0).sum())
        if unserved:
            warnings.warn(
                f"the model's graph is as of {graph.as_of} and serves the months from then on: {unserved} "
                "training days before have no neighbours, because a graph may not look ahead. Pass "
                "graphs=GraphSchedule.build(...) or a DynamicGraphCallback for one snapshot per month",
                stacklevel=3,
            )

    def _train_sampler(self) -> BlockSampler:
        training = self.config.training
        sampler = BlockSampler(self.batches, self.train_data.days, training.batch_size, training.seed)
        self._require_samples(len(sampler), "training day")
        return sampler

    def _score_sampler(self, days: range, kind: str) -> MonthSampler:
        sampler = MonthSampler(self.batches, days)
        self._require_samples(len(sampler), kind)
        return sampler

    def _require_samples(self, count: int, kind: str) -> None:
        if not count:
            raise DataError(
                f"no {kind} has a full window of {self.batches.sequence_length} days; bring more days, or "
                "lower time_series.sequence_length"
            )

    def _device(self) -> torch.device:
        accelerator = self.config.training.accelerator
        if accelerator != "cpu" and torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if accelerator == "mps" else "cpu")

    def _mixed(self) -> bool:
        return self.config.training.mixed_precision and bfloat16_runs_fast(self._device().type)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device().type, dtype=torch.bfloat16, enabled=self._mixed())

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Move the model and the panel to the training's device; the model comes back afterwards."""
        home = next(self.model.parameters()).device
        device = self._device()
        self.model.to(device)
        self.batches.to(device)
        try:
            yield
        finally:
            self.model.to(home)

    def _lightning(self, callbacks: list[pl.Callback], loggers: list[Logger] | None = None) -> pl.Trainer:
        """Lightning's trainer; `loggers` None: for prediction."""
        predicting = loggers is None
        training = self.config.training
        if training.progress_bar and not predicting:
            callbacks = [*callbacks, progress_display()]
        with _quiet_lightning():
            return pl.Trainer(
                accelerator=training.accelerator,
                devices=1,
                precision="bf16-mixed" if self._mixed() else "32-true",
                max_epochs=training.epochs,
                gradient_clip_val=training.gradient_clip_val or None,
                accumulate_grad_batches=training.accumulate_grad_batches,
                callbacks=callbacks,
                logger=loggers or False,
                enable_progress_bar=training.progress_bar and not predicting,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                log_every_n_steps=10,
                default_root_dir=self.run_dir,
                deterministic="warn" if self._device().type == "cuda" else None,
            )


def _early_stopping(config: RunConfig) -> EarlyStopping:
    stopping = config.early_stopping
    return EarlyStopping(
        stopping.monitor,
        min_delta=stopping.min_delta,
        patience=stopping.patience,
        mode="min" if stopping.monitor == "val/loss" else "max",
        check_finite=False,
    )


def _loader(sampler: BlockSampler | MonthSampler) -> DataLoader[Any]:
    """Loader of lists of blocks; a `sampler`, because Lightning sets the epoch of no batch sampler."""
    return DataLoader(_Blocks(), sampler=sampler, batch_size=None, collate_fn=list, num_workers=0)


class _Blocks(torch.utils.data.Dataset[list[Block]]):
    """Identity data set: the panel is already on the device."""

    def __getitem__(self, blocks: list[Block]) -> list[Block]:
        return blocks


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's messages about hardware and loaders."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)

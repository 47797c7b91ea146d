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
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import ConfigError, DataError
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.preprocessing.labels import treat_labels
from gogooku3.schema import feature_columns
from gogooku3.system import freed_memory_kept
from gogooku3.training.batches import DayBatchSampler, PanelBatches, standing_graph
from gogooku3.training.callbacks import FinancialMetricsCallback, Predictions
from gogooku3.training.checkpointing import CheckpointCallback, CheckpointFolder
from gogooku3.training.loggers import open_loggers
from gogooku3.training.losses import DEFAULT_HORIZON_WEIGHTS
from gogooku3.training.module import ATFTModule
from gogooku3.training.progress import progress_display
from gogooku3.training.reproducibility import bfloat16_runs_fast, seed_everything
from gogooku3.training.shrinkage import choose_shares
from gogooku3.training.stop_signals import StopSignals
from gogooku3.training.tensorboard import TensorBoardCallback

_SCORING_BATCHES = 4
"""Batch size of validation and prediction, in training batches; without gradients more rows fit."""


class ATFTTrainer:
    """Train the network with Lightning: day batches, and early stopping on a financial score.

    Args:
        model: the network; `fit` leaves it with the weights of its best validation epoch, or of the last
            one without early stopping.
        train_data, val_data: consecutive slices of one normalised panel, or two normalised data set
            frames, validation after training. Days may be missing between frames, so validation windows do
            not reach into the training frame.
        config: a `RunConfig`, or a mapping of training settings (`epochs`, `batch_size`,
            `learning_rate`, `mixed_precision`, `gradient_clip`, ...) and of other groups
            (`{"scheduler": {...}}`).
        graphs: monthly as-of snapshots for the panel's stocks; None uses the model's standing graph from its
            as-of day on.
        market: float32 `[days, market_dim]`, the market's state on each day of the panel, for the model's
            regime; None: the regime reads only the day's stocks.
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
        self.config = _resolve_config(config, model)
        self.run_dir = run_dir
        length = self.config.time_series.sequence_length
        if isinstance(train_data, PanelSlice) and isinstance(val_data, PanelSlice):
            self.train_data, self.val_data = train_data, val_data
            samples = train_data.panel.sample_mask(length)
        elif isinstance(train_data, polars.DataFrame) and isinstance(val_data, polars.DataFrame):
            self.train_data, self.val_data, samples = _join_frames(
                train_data, val_data, model.prediction_horizons, length
            )
        else:
            raise DataError("train_data and val_data must both be frames or both be panel slices")
        self.panel = self.train_data.panel
        _check_fit(model, self.train_data, self.val_data, market)
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
            epoch), `stopped_early`, `duration_s`, `samples_per_s`, `n_parameters`, `precision`,
            `learned_share` (share of the learned part, by horizon).
        """
        training, stops_early = self.config.training, self.config.early_stopping.enabled
        seed_everything(training.seed)
        train_sampler = self._sampler(self.train_data.days, "training day", training.seed)
        val_sampler = self._sampler(self.val_data.days, "validation day")
        self.model.learned_share.fill_(1)
        if training.linear_penalty is not None:
            self._solve_linear_path(training.linear_penalty)
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
        started = time.perf_counter()
        with open_loggers(self.config.logging, self.run_dir) as loggers:
            if loggers:
                callbacks.append(TensorBoardCallback(metrics))
            lightning = self._lightning(callbacks, loggers)
            if checkpoint is None or not checkpoint.finished:
                with _quiet_lightning(), freed_memory_kept():
                    lightning.fit(module, _loader(train_sampler), _loader(val_sampler))
        duration = time.perf_counter() - started + (checkpoint.seconds if checkpoint else 0)
        if lightning.interrupted:
            raise KeyboardInterrupt
        if metrics.best_weights is not None:
            self.model.load_state_dict(metrics.best_weights)
        self.model.eval()
        if training.shrink_on_validation:
            self._shrink()
        samples = int(self.batches.samples_by_day[train_sampler.days].sum())
        epochs = len(metrics.history)
        return {
            "epochs": epochs,
            "best_epoch": metrics.best_epoch,
            "best_score": metrics.best_score,
            "history": metrics.history,
            "stopped_early": epochs < training.epochs,
            "duration_s": duration,
            "samples_per_s": samples * epochs / duration,
            "n_parameters": self.model.n_parameters,
            "precision": str(lightning.precision),
            "learned_share": self.model.learned_share.tolist(),
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
        sampler = self._sampler(days, kind)
        with _quiet_lightning():
            outputs: Any = self._lightning([]).predict(module, _loader(sampler))
        return Predictions.join(outputs)

    def _solve_linear_path(self, penalty: float) -> None:
        """Fit the linear path: ridge regression on the training samples."""
        days = [day for day in self.train_data.days if self.batches.samples_by_day[day]]
        self.model.linear.to(self.batches.device).solve(map(self._finite_day, days), penalty)

    def _finite_day(self, day: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and labels of a training day; refuses values that are not finite."""
        features, labels = self.batches.today(day)
        if not bool(features.isfinite().all()) or bool(labels.isinf().any()):
            raise DataError(
                f"features or labels of {self.panel.dates[day]} are not finite, so the linear path can't be "
                "solved; nothing was updated. Normalise the panel, with unknown features as 0 and unknown "
                "labels as NaN"
            )
        return features, labels

    def _shrink(self) -> None:
        """Choose `learned_share` on validation days."""
        predictions, day, stock = self._predict(self.val_data.days, "validation day")
        weight = self.model.linear.weight.cpu().numpy()
        linear = self.panel.values[day, stock] @ weight
        shares = choose_shares(linear, predictions - linear, self.panel.targets[day, stock], day)
        self.model.learned_share.copy_(torch.from_numpy(shares))

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
                f"the model's graph is as of {graph.as_of}: {unserved} training days before it have no "
                "neighbours, because a graph may not look ahead. Pass graphs=GraphSchedule.build(...) or a "
                "DynamicGraphCallback for a snapshot a month",
                stacklevel=3,
            )

    def _sampler(self, days: range, kind: str, seed: int | None = None) -> DayBatchSampler:
        """Batches of some days: in random order for training, in larger batches without a seed."""
        rows = self.config.training.batch_size * (_SCORING_BATCHES if seed is None else 1)
        sampler = DayBatchSampler(self.batches.samples_by_day, days, rows, seed)
        if not len(sampler):
            raise DataError(
                f"no {kind} has a full window of {self.batches.sequence_length} days; bring more days, or "
                "lower time_series.sequence_length"
            )
        return sampler

    def _lightning(self, callbacks: list[pl.Callback], loggers: list[Logger] | None = None) -> pl.Trainer:
        """Lightning's trainer; `loggers` None: for prediction."""
        predicting = loggers is None
        training = self.config.training
        accelerator = training.accelerator
        on_gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
        mixed = training.mixed_precision and bfloat16_runs_fast("cuda" if on_gpu else "cpu")
        if training.progress_bar and not predicting:
            callbacks = [*callbacks, progress_display()]
        with _quiet_lightning():
            return pl.Trainer(
                accelerator=accelerator,
                devices=1,
                precision="bf16-mixed" if mixed else "32-true",
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
                deterministic="warn" if on_gpu else None,
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


def _resolve_config(config: RunConfig | Mapping[str, Any] | None, model: ATFTGATFANModel) -> RunConfig:
    """Resolve a configuration or a mapping, and check that it matches the model."""
    if not isinstance(config, RunConfig):
        config = RunConfig.from_mapping(_as_groups(config or {}, model), "the trainer's config")
    if config.training.seeds is not None:
        raise ConfigError(
            f"training.seeds is {list(config.training.seeds)}, but a trainer trains one network; give it "
            "training.seed, or use SafeTrainingPipeline, which trains one network a seed and averages them"
        )
    configured = {**config.model.model_dump(), **config.time_series.model_dump()}
    configured["prediction_horizons"] = list(configured["prediction_horizons"])
    for name, built in model.settings.items():
        if name != "market_dim" and configured[name] != built:
            raise ConfigError(
                f"the config has {name} {configured[name]} but the model was built with {built}; make them "
                "equal"
            )
    return config


def _as_groups(config: Mapping[str, Any], model: ATFTGATFANModel) -> dict[str, Any]:
    """Nest the settings of a mapping into groups; missing ones follow from the model."""
    built = dict(model.settings)
    horizons, length = built["prediction_horizons"], built.pop("sequence_length")
    del built["market_dim"]
    groups: dict[str, Any] = {
        "training": {},
        "model": built,
        "time_series": {"sequence_length": length, "prediction_horizons": horizons},
        "loss": {"horizon_weights": {h: DEFAULT_HORIZON_WEIGHTS.get(h, 0.5) for h in horizons}},
        "split": {"embargo_days": max(20, *horizons)},
        "early_stopping": {} if 5 in horizons else {"monitor": f"val/rank_ic_{horizons[0]}d"},
    }
    for key, value in config.items():
        if key not in RunConfig.model_fields:
            groups["training"]["gradient_clip_val" if key == "gradient_clip" else key] = value
        elif isinstance(value, Mapping):
            groups[key] = {**groups.get(key, {}), **value}
        else:
            raise ConfigError(f"'{key}' is a group of settings; give it a mapping, not {value!r}")
    return groups


def _join_frames(
    train: polars.DataFrame, val: polars.DataFrame, horizons: Sequence[int], sequence_length: int
) -> tuple[PanelSlice, PanelSlice, np.ndarray]:
    """Two frames as slices of one panel, and the rows whose window is within their own frame."""
    if train.is_empty() or val.is_empty():
        raise DataError(f"expected rows to train and to validate on, got {train.height} and {val.height}")
    training_ends, validation_starts = train["date"].sort()[-1], val["date"].sort()[0]
    if training_ends >= validation_starts:
        raise DataError(
            f"validation must come after training, but it starts on {validation_starts} and training ends "
            f"on {training_ends}"
        )
    features = feature_columns(train.schema)
    panel = Panel.from_frame(polars.concat([train, val], how="diagonal_relaxed"), features, horizons)
    panel.values[np.isnan(panel.values)] = 0
    border = train["date"].n_unique()
    samples = panel.sample_mask(sequence_length)
    samples[border : border + sequence_length - 1] = False
    return PanelSlice(panel, range(border)), PanelSlice(panel, range(border, panel.n_days)), samples


def _check_fit(model: ATFTGATFANModel, train: PanelSlice, val: PanelSlice, market: np.ndarray | None) -> None:
    width = len(train.panel.features)
    if width != model.settings["input_dim"]:
        raise DataError(
            f"the model takes {model.settings['input_dim']} features but the data has {width}; build it with "
            f"input_dim={width}, or choose dataset.feature_columns"
        )
    if market is not None and market.shape != (train.panel.n_days, model.settings["market_dim"]):
        raise DataError(
            f"market is {list(market.shape)}; a model with market_dim={model.settings['market_dim']} needs "
            f"[{train.panel.n_days} days, {model.settings['market_dim']}]"
        )
    if train.panel is not val.panel:
        raise DataError("train_data and val_data are slices of two panels; take both from one")
    if train.panel.horizons != model.prediction_horizons:
        raise DataError(
            f"the panel has the horizons {list(train.panel.horizons)} and the model "
            f"{list(model.prediction_horizons)}; make them equal"
        )
    if train.days.stop > val.days.start:
        raise DataError("validation days must come after training days")


def _loader(sampler: DayBatchSampler) -> DataLoader[Any]:
    """Loader of day-number lists; a `sampler`, because Lightning sets the epoch of no batch sampler."""
    return DataLoader(_Days(), sampler=sampler, batch_size=None, collate_fn=list, num_workers=0)


class _Days(torch.utils.data.Dataset[list[int]]):
    """Identity data set: the panel is already on the device."""

    def __getitem__(self, days: list[int]) -> list[int]:
        return days


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

"""ATFT-GAT-FAN as a forecaster: one network, trained from one seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch

from gogooku3.config import RunConfig
from gogooku3.files.atomic import write_json_atomic
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.forecaster import NETWORK, FoldData, Workspace, prediction_frame
from gogooku3.models.saving import SETTINGS, load_model, save_model
from gogooku3.runs.json_file import require_json
from gogooku3.training.batches import PanelBatches, predict_days
from gogooku3.training.checkpointing import CheckpointFolder
from gogooku3.training.explanations import explain_days
from gogooku3.training.graph_callback import DynamicGraphCallback
from gogooku3.training.loggers import TENSORBOARD
from gogooku3.training.reproducibility import seed_everything
from gogooku3.training.stop_signals import StopSignals
from gogooku3.training.tensorboard import write_explanation_figures
from gogooku3.training.trainer import ATFTTrainer

CHECKPOINTS = "checkpoints"
"""Subfolder with checkpoints; it exists only while the training is unfinished."""
TRAINING = "training.json"
EXPLANATIONS = "explanations"


def new_network(config: RunConfig, market_dim: int = 0) -> ATFTGATFANModel:
    """An untrained network of the configured size."""
    return ATFTGATFANModel(
        **config.model.model_dump(exclude={"name", "prediction_horizons"}),
        prediction_horizons=config.time_series.prediction_horizons,
        market_dim=market_dim,
        sequence_length=config.time_series.sequence_length,
    )


def stages_line(outcome: Mapping[str, Any]) -> str:
    """What each stage of a training added, for people.

    >>> stages = {"snapshot": {1: 0.02, 5: 0.04}, "windows": {1: 0.03, 5: 0.03}, "shrunk": {1: 0.03, 5: 0.04}}
    >>> stages_line({"stages": stages, "windows_share": [1.0, 0.0]})
    'rank IC on the validation days: snapshot +0.0300, windows +0.0300, shrunk +0.0350; windows_share 1, 0'
    """
    means = (f"{name} {np.mean(list(by.values())):+.4f}" for name, by in outcome["stages"].items())
    shares = ", ".join(f"{share:g}" for share in outcome["windows_share"])
    return f"rank IC on the validation days: {', '.join(means)}; windows_share {shares}"


class NetworkForecaster:
    """The network with the settings of `model`, `training`, `scheduler`, `loss` and `early_stopping`.

    Args:
        config: of the run.
        seed: of weights, dropout and the order of batches.
        explain: also save what the network attends to on the test days.
    """

    name: ClassVar[str] = NETWORK
    collapse_advice: ClassVar[str] = (
        "a lower training.learning_rate, scheduler.warmup_steps, fewer training.epochs, or "
        "loss.correlation_weight=1"
    )

    def __init__(self, config: RunConfig, seed: int, explain: bool = True) -> None:
        training = config.training.model_copy(update={"seed": seed, "seeds": None})
        self.config = config.model_copy(update={"training": training})
        self.label = config.training.label
        self.explain = explain
        self.model: ATFTGATFANModel
        self._fold: FoldData
        self._trainer: ATFTTrainer | None = None
        self._outcome: dict[str, Any] = {}

    def fit(self, fold: FoldData, workspace: Workspace) -> None:
        """Train, or continue from the newest checkpoint in the workspace."""
        config, stop = self.config, workspace.stop or StopSignals()
        self._fold = fold
        seed_everything(config.training.seed)
        self.model = new_network(config, 0 if fold.market is None else fold.market.shape[1])
        workspace.say(f"   {self.model.n_parameters:,} parameters")
        callbacks = []
        if fold.returns is not None:
            rules = config.graph.model_dump(exclude={"enabled", "rebuild_every_epochs"})
            every = config.graph.rebuild_every_epochs
            callbacks.append(
                DynamicGraphCallback(FinancialGraphBuilder(**rules), fold.returns, every, fold.schedule)
            )
        self._trainer = ATFTTrainer(
            self.model,
            fold.slice(fold.fit),
            fold.slice(fold.validation),
            config,
            graphs=fold.schedule,
            market=fold.market,
            run_dir=workspace.folder,
            callbacks=callbacks,
            checkpoints=CheckpointFolder(workspace.folder / CHECKPOINTS, workspace.warn),
            stop=stop,
        )
        with stop.deferred():
            self._outcome = self._trainer.fit()
        workspace.say(f"   {stages_line(self._outcome)}")

    def predict(self, fold: FoldData) -> pl.DataFrame:
        """Predict the test days; a loaded network agrees with the trained one to rounding."""
        if self._trainer is not None:
            return self._trainer.predict(fold.slice(fold.test))
        batches = PanelBatches(
            fold.panel, fold.panel.targets, fold.sequence_length, fold.schedule, market=fold.market
        )
        half = str(self._outcome.get("precision", "")).startswith("bf16")
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            scores = predict_days(self.model, batches, fold.test)
        return prediction_frame(fold.slice(fold.test), fold.sequence_length, scores)

    def save(self, folder: Path) -> list[Path]:
        """Write weights, settings, the training history and, if asked for, explanations."""
        assert self._trainer is not None, "only a trained network is saved"
        written = [folder / TRAINING]
        if self.explain:
            panel, test = self._fold.panel, self._fold.test
            explained = explain_days(self.model, self._trainer.batches, panel, test, self._fold.sectors)
            explained.write(folder / EXPLANATIONS)
            written += sorted((folder / EXPLANATIONS).glob("*.parquet"))
            if self.config.logging.tensorboard:
                write_explanation_figures(folder / TENSORBOARD, explained, self._outcome["best_epoch"])
        write_json_atomic(folder / TRAINING, self._outcome)
        weights = save_model(folder, self.model, dict(self._fold.state))
        (folder / "best.safetensors").unlink(missing_ok=True)
        return [*written, weights, folder / SETTINGS]

    @classmethod
    def load(cls, folder: Path) -> "NetworkForecaster":
        """Read the network; `fit` needs a forecaster made from a configuration."""
        loaded = cls.__new__(cls)
        loaded.model, _ = load_model(folder, ATFTGATFANModel)
        loaded._trainer = None
        loaded._outcome = require_json(folder / TRAINING, {"precision": str}, "copy the run again")
        return loaded

"""The networks of one fold: one a seed, trained on the same days; their predictions become one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from gogooku3.config import RunConfig
from gogooku3.data.panel import PanelSlice
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.files.tables import read_table
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import save_model
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.folder import RunFolder
from gogooku3.training.checkpointing import CheckpointFolder, CheckpointSettings
from gogooku3.training.explanations import explain_days
from gogooku3.training.graph_callback import DynamicGraphCallback
from gogooku3.training.loggers import TENSORBOARD
from gogooku3.training.prediction_collapse import collapse_warning, prediction_spread
from gogooku3.training.reproducibility import seed_everything
from gogooku3.training.stop_signals import StopSignals
from gogooku3.training.tensorboard import write_explanation_figures
from gogooku3.training.trainer import ATFTTrainer

PREDICTIONS = "predictions.parquet"
"""In a network's folder: its own predictions of the test days."""


@dataclass(frozen=True)
class NetworkFold:
    """What the networks of a fold are trained on, chosen by and tested on.

    Attributes:
        number: of the fold.
        train, validation, test: days of one normalised panel.
        market: float32 `[days, market_dim]`, the market's state by day; None: not used.
        schedule: monthly as-of graphs; None: every stock alone.
        returns: `[days, stocks]`, raw one-day returns, from which the graphs are rebuilt; None: never.
        saved: what is kept beside the weights, so that a later day can be predicted.
        sectors: sector by code, for the explanations' picture of the stocks; empty: not known.
    """

    number: int
    train: PanelSlice
    validation: PanelSlice
    test: PanelSlice
    market: np.ndarray | None
    schedule: GraphSchedule | None
    returns: np.ndarray | None
    saved: Mapping[str, Any]
    sectors: Mapping[str, str]


class NetworkResult(NamedTuple):
    """A fold's predictions of its test days, where the weights lie, and how far the predictions spread.

    `predictions` is `date, code, prediction_{h}d`. Of several networks, `model_path` is the last one's, and
    `prediction_spread` (by horizon, see `training.collapse`) the least.
    """

    predictions: pl.DataFrame
    model_path: Path
    prediction_spread: dict[str, float | None]


def network_seeds(config: RunConfig) -> tuple[int, ...]:
    """Seeds of the networks of a fold, one each."""
    return config.training.seeds or (config.training.seed,)


def new_network(config: RunConfig, market_dim: int = 0) -> ATFTGATFANModel:
    """An untrained network of the configured size."""
    return ATFTGATFANModel(
        **config.model.model_dump(exclude={"name", "prediction_horizons"}),
        prediction_horizons=config.time_series.prediction_horizons,
        market_dim=market_dim,
        sequence_length=config.time_series.sequence_length,
    )


def train_networks(
    fold: NetworkFold,
    config: RunConfig,
    builder: FinancialGraphBuilder,
    folder: RunFolder,
    log: StepLog,
    stop: StopSignals | None = None,
) -> NetworkResult:
    """Train one network a seed, save each, and predict the test days once.

    One network's predictions are taken as they are; those of several are averaged by rank within the day.
    A network that the folder already holds is read back; one that was cut off goes on from its checkpoint.

    Args:
        fold: the days.
        config: of the run.
        builder: rules for the edges of graphs.
        folder: of the run. A single network's files lie in `fold_k/`, those of several in `fold_k/seed_s/`,
            each with its own predictions; what the last one looks at, in `fold_k/explanations/`.
        log: hears of collapsed predictions.
        stop: asked after each batch; None: signals do what they always do.

    Raises:
        Interrupted: a signal came; a checkpoint is written.
    """
    stop = stop or StopSignals()
    seeds = network_seeds(config)
    if len(seeds) == 1:
        place = folder.fold(fold.number)
        return _network(fold, _with_seed(config, seeds[0]), builder, folder, place, log, stop, explain=True)
    members = []
    for seed in seeds:
        place = folder.fold(fold.number, seed)
        own, last = _with_seed(config, seed), seed == seeds[-1]
        members.append(_network(fold, own, builder, folder, place, log, stop, explain=last))
    return NetworkResult(
        rank_average([member.predictions for member in members]),
        members[-1].model_path,
        _least([member.prediction_spread for member in members]),
    )


def _network(
    fold: NetworkFold,
    config: RunConfig,
    builder: FinancialGraphBuilder,
    folder: RunFolder,
    place: Path,
    log: StepLog,
    stop: StopSignals,
    explain: bool,
) -> NetworkResult:
    """The network of `training.seed`, from its folder where it is finished, else trained."""
    who = str(place.relative_to(folder.path)).replace("_", " ").replace("/", ", ")
    if is_finished(place):
        log.say(f"   {who}: read back")
        result = _read_back(place)
    else:
        result = _train_one(fold, config, builder, folder, place, log, stop, explain)
    if warning := collapse_warning(result.prediction_spread, who):
        log.warn(warning)
    return result


def _train_one(
    fold: NetworkFold,
    config: RunConfig,
    builder: FinancialGraphBuilder,
    folder: RunFolder,
    place: Path,
    log: StepLog,
    stop: StopSignals,
    explain: bool,
) -> NetworkResult:
    """Train one network, predict the test days, explain that, and save it in `place`, its settings last."""
    seed_everything(config.training.seed)
    model = new_network(config, 0 if fold.market is None else fold.market.shape[1])
    callbacks = []
    if fold.returns is not None:
        every = config.graph.rebuild_every_epochs
        callbacks.append(DynamicGraphCallback(builder, fold.returns, every, fold.schedule))
    log.say(f"   {place.relative_to(folder.path)}: {model.n_parameters:,} parameters")
    checkpoints = CheckpointFolder(place / "checkpoints", log.warn)
    trainer = ATFTTrainer(
        model,
        fold.train,
        fold.validation,
        config,
        graphs=fold.schedule,
        market=fold.market,
        run_dir=place,
        callbacks=callbacks,
        checkpoints=CheckpointSettings(checkpoints, config.training.checkpoint_minutes, stop),
    )
    with stop.deferred():
        outcome = trainer.fit()
    predictions = trainer.predict(fold.test)
    spread = prediction_spread(predictions, fold.train, config.training.label)
    if explain:
        explained = explain_days(model, trainer.batches, fold.test.panel, fold.test.days, fold.sectors)
        explained.write(folder.fold(fold.number) / "explanations")
        if config.logging.tensorboard:
            write_explanation_figures(place / TENSORBOARD, explained, outcome["best_epoch"])
    folder.write_json(place / "training.json", {**outcome, "prediction_spread": spread})
    folder.write_table(place / PREDICTIONS, predictions)
    path = save_model(place, model, dict(fold.saved))
    (place / "best.safetensors").unlink(missing_ok=True)
    checkpoints.clear()
    return NetworkResult(predictions, path, spread)


def is_finished(place: Path) -> bool:
    """Whether a network's folder holds all that training it leaves; `model.json` is written last."""
    return (place / "model.json").is_file()


def _read_back(place: Path) -> NetworkResult:
    spread = json.loads((place / "training.json").read_text(encoding="utf-8"))["prediction_spread"]
    CheckpointFolder(place / "checkpoints", print).clear()
    (place / "best.safetensors").unlink(missing_ok=True)
    return NetworkResult(read_table(place / PREDICTIONS), place / "model.safetensors", spread)


def _with_seed(config: RunConfig, seed: int) -> RunConfig:
    """The configuration of one network."""
    training = config.training.model_copy(update={"seed": seed, "seeds": None})
    return config.model_copy(update={"training": training})


def _least(spreads: list[dict[str, float | None]]) -> dict[str, float | None]:
    """The least spread by horizon; None where no network has one."""
    found = {}
    for horizon in spreads[0]:
        known = [share for spread in spreads if (share := spread[horizon]) is not None]
        found[horizon] = min(known, default=None)
    return found

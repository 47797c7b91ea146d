"""Runs one fit of the plan: train, predict the test days, save. Reads back a fit that is complete."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from gogooku3.config import RunConfig
from gogooku3.files.tables import read_table
from gogooku3.models.forecaster import FoldData, Workspace
from gogooku3.pipeline.plan import Fit, new_forecaster
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.folder import PREDICTIONS, RunFolder
from gogooku3.runs.seal import is_sealed, read_seal, write_seal
from gogooku3.training.network_forecaster import CHECKPOINTS
from gogooku3.training.prediction_collapse import collapse_warning, prediction_spread
from gogooku3.training.stop_signals import StopSignals


@dataclass(frozen=True)
class FitResult:
    """Outcome of one fit.

    Attributes:
        fit: its place in the plan.
        predictions: of the test days: `date, code, prediction_{h}d`.
        prediction_spread: by horizon, see `training.prediction_collapse`.
    """

    fit: Fit
    predictions: pl.DataFrame
    prediction_spread: Mapping[str, float | None]


def run_fits(
    fits: Iterable[Fit],
    fold_data: Callable[[int], FoldData],
    config: RunConfig,
    run: RunFolder,
    log: StepLog,
    stop: StopSignals,
) -> Iterator[FitResult]:
    """Run fits one after the other on this machine; complete ones are read back.

    Args:
        fits: part of the plan.
        fold_data: returns the data of a fold, by number.
        config: of the run.
        run: its folder.
        log: receives progress and warnings.
        stop: checked before each fit and between a network's batches.

    Raises:
        Interrupted: a signal came; complete fits and checkpoints are kept.
        DataError: a file of a complete fit was changed.
    """
    for fit in fits:
        stop.check()
        if is_sealed(run.path / fit.folder):
            log.say(f"   {fit}: read back")
            yield read_back(fit, run)
        else:
            yield run_fit(fit, fold_data(fit.fold), config, run, log, stop)


def run_fit(
    fit: Fit, fold: FoldData, config: RunConfig, run: RunFolder, log: StepLog, stop: StopSignals
) -> FitResult:
    """Train one model, predict the test days once, and write `fit.folder`, its seal last.

    The result depends on the arguments only, so fits may run in any order and on any machine.
    """
    folder = run.path / fit.folder
    folder.mkdir(parents=True, exist_ok=True)
    forecaster = new_forecaster(fit, config)
    log.say(f"   {fit}")
    forecaster.fit(fold, Workspace(folder, log.say, log.warn, stop))
    predictions = forecaster.predict(fold)
    spread = prediction_spread(predictions, fold.slice(fold.fit), forecaster.label)
    if warning := collapse_warning(spread, str(fit), forecaster.collapse_advice):
        log.warn(warning)
    files = [*forecaster.save(folder), run.write_table(folder / PREDICTIONS, predictions)]
    facts = {"model": fit.model, "fold": fit.fold, "seed": fit.seed, "prediction_spread": spread}
    write_seal(folder, files, facts)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return FitResult(fit, predictions, spread)


def read_back(fit: Fit, run: RunFolder) -> FitResult:
    """The result of a complete fit, from its folder.

    Raises:
        DataError: one of its files was changed.
    """
    folder = run.path / fit.folder
    facts = read_seal(folder)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return FitResult(fit, read_table(folder / PREDICTIONS), facts["prediction_spread"])

"""One run: prepare the data, run the plan of fits, score what they predicted. Everything is in one folder.

Test days choose nothing: epochs and numbers of trees are chosen on the tail of each fold's training days,
after an embargo.
"""

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gogooku3.data.book_returns import daily_returns
from gogooku3.data.panel import PanelSlice
from gogooku3.errors import GogookuError, Interrupted, file_error
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.models.forecaster import NETWORK
from gogooku3.pipeline.fit import FitResult, run_fits
from gogooku3.pipeline.input_checks import CheckedInputs
from gogooku3.pipeline.memory_plan import release_memory
from gogooku3.pipeline.plan import Fit, network_seeds, plan
from gogooku3.pipeline.prediction_table import long_tables
from gogooku3.pipeline.prepare_data import (
    PANEL_FILE,
    PreparedData,
    build_panel,
    load_frame,
    prepare,
)
from gogooku3.pipeline.resume import InterruptedRun
from gogooku3.pipeline.run_record import RunRecord
from gogooku3.pipeline.score_run import score_run
from gogooku3.pipeline.scoring_settings import check_prices
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.folder import CONFIG, PREDICTIONS, REPORT, RunFolder
from gogooku3.runs.manifest import write_manifest
from gogooku3.runs.seal import CHECKSUMS, is_sealed, run_checksums
from gogooku3.system import available_cores
from gogooku3.training.loggers import require_clients
from gogooku3.training.network_forecaster import new_network
from gogooku3.training.progress import cpu_hours
from gogooku3.training.reproducibility import require_accelerator, seed_everything, use_threads
from gogooku3.training.stop_signals import StopSignals

_STEPS = {"lightgbm": "train LightGBM", "linear": "solve the linear model", NETWORK: "train ATFT-GAT-FAN"}


def start_run(
    inputs: CheckedInputs, experiment: str, runs_dir: Path, verbose: bool = False
) -> dict[str, Any]:
    """Execute a new run on checked inputs; arguments as of `Run`, result as of `Run.execute`."""
    run = Run(inputs, experiment, runs_dir, verbose)
    with run.folder.locked():
        return run.execute()


class Run:
    """One execution of the pipeline in a locked folder.

    Args:
        inputs: data set and settings, checked.
        experiment: name of the experiment.
        runs_dir: folder of all runs.
        verbose: print what each step does.
        interrupted: the run to finish, in `folder`; None starts a new one.
        folder: of that run.

    Raises:
        ConfigError: a logger or an accelerator is not available.
        DataError: the data set has changed since the run was started.
    """

    def __init__(
        self,
        inputs: CheckedInputs,
        experiment: str,
        runs_dir: Path,
        verbose: bool = False,
        interrupted: InterruptedRun | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.inputs, self.config = inputs, inputs.config
        require_clients(self.config.logging)
        require_accelerator(self.config.training.accelerator)
        threads = use_threads((interrupted and interrupted.threads) or self.config.performance.threads)
        self.log = StepLog(verbose)
        self.record = RunRecord(self.config, experiment, self.log, threads)
        if interrupted:
            interrupted.refuse_other_data(inputs.loader.fingerprint)
            self.record.continue_from(interrupted.manifest)
        self.folder = folder or RunFolder(runs_dir, experiment)
        self.stop = StopSignals()
        self._fitted = False

    def execute(self) -> dict[str, Any]:
        """Run all steps. An error before the first fit leaves no folder; a later one is recorded in it.

        Returns:
            as `SafeTrainingPipeline.run_pipeline`.

        Raises:
            DataError: the data set is invalid, or the disk is full.
            Interrupted: SIGINT or SIGTERM came; the message says how to resume.
        """
        try:
            with self.stop.listening():
                return self._steps()
        except BaseException as error:
            reported = self._record_failure(error)
            if reported is error:
                raise
            raise reported from error

    def _steps(self) -> dict[str, Any]:
        started = time.perf_counter()
        seed_everything(self.config.training.seed)
        if self.record.resumed:
            self._report_complete_fits()
        else:
            self.folder.write_text(CONFIG, self.config.to_yaml())
        tables, calendar, returns = self._fit_all()
        # The panel is released before the scores need memory.
        release_memory()
        with self.log.step("score and report"):
            self.stop.check()
            scores = score_run(self.record, self.inputs.splitter, self.folder, tables, calendar, returns)
        # A memory-mapped panel holds nothing that the data set does not.
        (self.folder.path / PANEL_FILE).unlink(missing_ok=True)
        results = self._results(scores, time.perf_counter() - started)
        complete = self.record.manifest("complete", results["total_duration"])
        write_manifest(self.folder, {**complete, CHECKSUMS: run_checksums(self.folder.path)})
        return results

    def _fit_all(self) -> tuple[list[pl.DataFrame], pl.Series, pl.DataFrame]:
        """Prediction tables of all models, the trading days, and the daily returns that portfolios earn."""
        with self.log.step("load data"):
            frame, self.record.data = load_frame(self.inputs, self.log)
            write_manifest(self.folder, self.record.manifest("running"))
            panel = build_panel(self.inputs, frame, self.folder, self.log)
            returns = daily_returns(frame)
            folds = self.inputs.splitter.folds(panel.n_days)
            tested = np.concatenate([panel.dates[fold.test.start : fold.test.stop] for fold in folds])
            check_prices(self.config.evaluation, frame, pl.Series(tested), panel.horizons[0])
            del frame
        data = prepare(self.inputs, panel, self.folder, self.log)
        self.record.folds = data.fold_facts
        self._warn_if_slow(data)
        tables: list[pl.DataFrame] = []
        for model, fits in groupby(plan(self.config, len(data.folds)), lambda fit: fit.model):
            with self.log.step(_STEPS[model]):
                tables += self._fit_model(data, list(fits))
        return tables, pl.Series(panel.dates), returns

    def _fit_model(self, data: PreparedData, fits: list[Fit]) -> Iterator[pl.DataFrame]:
        """Fit one model on all folds; yields its prediction tables. Several seeds are averaged by rank."""
        results = run_fits(fits, data.fold, self.config, self.folder, self.log, self.stop)
        for number, of_fold in groupby(results, lambda result: result.fit.fold):
            members = list(of_fold)
            self._fitted = True
            model = members[0].fit.model
            if model == NETWORK:
                self.record.folds[number]["prediction_spread"] = _least_spread(members)
            frames = [member.predictions for member in members]
            wide = frames[0] if len(frames) == 1 else rank_average(frames)
            test = PanelSlice(data.panel, data.folds[number].test)
            yield from long_tables(wide, test, self.config.time_series.sequence_length, number, model)

    def _record_failure(self, error: BaseException) -> BaseException:
        """Write the failure into the manifest, or remove an empty folder; return the error for the user."""
        with suppress(OSError):
            (self.folder.path / PANEL_FILE).unlink(missing_ok=True)
        signalled = self.stop.requested or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else None)
        if signalled is None:
            reported = error if isinstance(error, GogookuError) else file_error(error) or error
            if isinstance(reported, GogookuError) and not self._fitted and not self.record.resumed:
                self.folder.discard()
                return reported
            status = {"status": "failed", "error": f"{type(reported).__name__}: {reported}"}
        else:
            reported = Interrupted(
                signalled,
                f"stopped; finished work is in {self.folder.path}\n"
                f"go on with: gogooku3 train --resume {shlex.quote(str(self.folder.path))}",
            )
            status = {"status": "interrupted"}
        # On a full disk this fails too; the first failure is the one to report.
        with suppress(OSError, GogookuError):
            write_manifest(self.folder, self.record.manifest("failed") | status)
        return reported

    def _report_complete_fits(self) -> None:
        fits = plan(self.config, self.config.split.n_splits)
        complete = sum(is_sealed(self.folder.path / fit.folder) for fit in fits)
        print(
            f"resuming {self.folder.path}: {complete} of {len(fits)} models are complete; data, "
            "normalisation and graphs are computed again",
            file=sys.stderr,
            flush=True,
        )

    def _warn_if_slow(self, data: PreparedData) -> None:
        """Warn if a CPU will take hours."""
        training, networks = self.config.training, len(network_seeds(self.config))
        if training.accelerator == "gpu" or (training.accelerator == "auto" and torch.cuda.is_available()):
            return
        by_day = data.panel.sample_mask(self.config.time_series.sequence_length).sum(axis=1)
        samples = sum(int(by_day[: data.fit_days(fold)[0].stop].sum()) for fold in data.folds)
        hours = cpu_hours(new_network(self.config), samples * training.epochs * networks, available_cores())
        if hours > 2:
            times = f", {networks} times," if networks > 1 else ""
            self.log.warn(
                f"training {samples:,} samples for up to {training.epochs} epochs{times} may take about "
                f"{hours:.0f} hours on this CPU; use a GPU, or start small: model.hidden_dim=64 "
                "training.epochs=3"
            )

    def _results(self, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
        network = scores["models"][NETWORK]
        fits = plan(self.config, len(self.record.folds))
        last_network = [fit for fit in fits if fit.model == NETWORK][-1]
        path = self.folder.path
        return {
            "total_duration": seconds,
            "best_sharpe": network["best_fold_sharpe"],
            "pooled_sharpe": network["pooled_sharpe_net"],
            "peak_memory_gb": self.log.peak_memory_gb,
            "run_dir": str(path),
            "model_path": str(path / last_network.folder / "model.safetensors"),
            "report_path": str(path / REPORT),
            "predictions_path": str(path / PREDICTIONS),
            "scores": scores,
            "steps": self.log.steps,
            "dropped": self.log.dropped,
        }


def _least_spread(members: list[FitResult]) -> dict[str, float | None]:
    """The least prediction spread of several networks by horizon; None if no network has one."""
    spreads = [member.prediction_spread for member in members]
    return {
        horizon: min((value for spread in spreads if (value := spread[horizon]) is not None), default=None)
        for horizon in spreads[0]
    }
